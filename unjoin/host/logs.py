"""What a role says: lines for people on a terminal, elsewhere one JSON object a line; docs/logs.md names the fields.

Neither ever holds a payload. Of an exception that nobody foresaw, JSON has type and place: its text may hold input.
"""

import datetime
import json
import logging
import sys
from typing import Any

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
STAYING = ("up", "collect", "process", "sink")
"""Commands that go on while Kafka is away: a log is all they say of it. Others end, and say why in a sentence."""
ROLE_OF_COMMAND = {"collect": "collector", "process": "processor", "sink": "sink"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON, in ASCII, so that no character of it can steer a terminal or break a line."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The line; `extra={"fields": {…}}` of the call joins it."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            line["error"] = type(error).__name__
            line["place"] = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        return json.dumps(line)


class TextLines(logging.Formatter):
    """A record as people read it, with its fields behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = getattr(record, "fields", {})
        return super().format(record) + "".join(f" {name}={value}" for name, value in fields.items())


def is_json(command: str) -> bool:
    """Whether a command is a role that nobody watches on a terminal."""
    return command in ROLE_OF_COMMAND and not sys.stderr.isatty()


def start_logging(command: str) -> None:
    """Sends what a command's process says to standard error, in the form that fits there."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(ROLE_OF_COMMAND[command]) if is_json(command) else TextLines(TEXT_FORMAT))
    stays = command in STAYING
    logging.basicConfig(level=logging.INFO if stays or command == "migrate" else logging.WARNING, handlers=[handler])
    # At DEBUG they log keys and values. A command says by itself, once and in a sentence, that brokers are away.
    for noisy in ("aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING if stays else logging.CRITICAL)


def event_of(line: str) -> str:
    """What a line of a log says, for people: a line of JSON without what stands around it."""
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return line
