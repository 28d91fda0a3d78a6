"""Pure: what the fields of a request mean, those of the URL and of a form alike.

Each is honoured, or is known to change nothing here (`HARMLESS` says why), or is refused by name. What is none of these
is a setting, and `read_only.py` decides about it.

Source: ClickHouse documentation, "HTTP Interface"; src/Server/HTTPHandler.cpp.
"""

import re
from collections.abc import Mapping

import msgspec

from sinks.http.compression import chosen_coding
from sinks.http.external_tables import ExternalTable, external_tables
from sinks.http.native_blocks import CUSTOM_SERIALIZATION
from sinks.http.refusals import (
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    SESSION_NOT_FOUND,
    SYNTAX_ERROR,
    UNKNOWN_FORMAT,
    UNKNOWN_ROLE,
    NotAllowed,
)

_NOBODY = "nobody logs in: who reaches the port may read"
_NO_SESSION = (
    "a request is a session of its own; what a session would keep (SET, temporary tables) is refused by itself"
)
_WHOLE = "an answer is sent when it is complete, and its status is known"
_NOTHING_WRITTEN = "nothing is written"
_OWN_BOUNDS = "the port has its own time limits"
HARMLESS = {
    "user": _NOBODY,
    "password": _NOBODY,
    "quota_key": "there are no quotas",
    "readonly": "every request is read-only",
    "session_id": _NO_SESSION,
    "session_timeout": _NO_SESSION,
    "wait_end_of_query": _WHOLE,
    "buffer_size": _WHOLE,
    "http_wait_end_of_query": _WHOLE,
    "http_response_buffer_size": _WHOLE,
    "send_progress_in_http_headers": _WHOLE,
    "http_headers_progress_interval_ms": _WHOLE,
    "http_write_exception_in_output_format": _WHOLE,
    "cancel_http_readonly_queries_on_client_close": "a query ends by its time limit",
    "stacktrace": "an error has no stack trace",
    "log_comment": "no query is logged",
    "log_queries": "no query is logged",
    "async_insert": _NOTHING_WRITTEN,
    "wait_for_async_insert": _NOTHING_WRITTEN,
    "network_compression_method": "a block names its method, which is always LZ4",
    "network_zstd_compression_level": "a block names its method, which is always LZ4",
    "http_receive_timeout": _OWN_BOUNDS,
    "http_send_timeout": _OWN_BOUNDS,
}
_FLAGS = frozenset(
    {
        *("wait_end_of_query", "http_wait_end_of_query", "send_progress_in_http_headers", "stacktrace", "log_queries"),
        *("http_write_exception_in_output_format", "cancel_http_readonly_queries_on_client_close"),
        *("async_insert", "wait_for_async_insert"),
    }
)
_NUMBERS = frozenset(
    {
        *("session_timeout", "buffer_size", "http_response_buffer_size", "http_headers_progress_interval_ms"),
        *("network_zstd_compression_level", "http_receive_timeout", "http_send_timeout"),
    }
)
HONOURED = frozenset(
    {
        *("query", "database", "default_format", "query_id", "compress", "decompress", "client_protocol_version"),
        *("enable_http_compression", "http_zlib_compression_level", "session_check", "role", "add_http_cors_header"),
    }
)


def harmless_table() -> str:
    """`HARMLESS` as the documentation shows it, in Markdown."""
    fields: dict[str, list[str]] = {}
    for name, why in HARMLESS.items():
        fields.setdefault(why, []).append(f"`{name}`")
    return "\n".join(("| field | why |", "|---|---|", *(f"| {', '.join(of)} | {why} |" for why, of in fields.items())))


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request, understood.

    Attributes:
        parameters: values of `{name:Type}` placeholders.
        settings: what is none of the interface's own fields.
        output_format: where the statement names none.
        blocks: the answer goes in ClickHouse's compressed blocks.
        coding: the answer's content coding; None for none.
        version: of Native in the answer; 0 for that of HTTP.
    """

    sql: str
    parameters: dict[str, str]
    settings: dict[str, str]
    output_format: str
    database: str
    tables: tuple[ExternalTable, ...]
    blocks: bool
    coding: str | None
    coding_level: int
    version: int


def question_of(
    sql: str, fields: Mapping[str, str], headers: Mapping[str, str], files: Mapping[str, bytes]
) -> Question:
    """What a request asks.

    Args:
        sql: the statement of URL, form and body together.
        fields: of the URL and the form.
        headers: by names in any case, as aiohttp has them.
        files: the files of the form.

    Raises:
        NotAllowed: a field that cannot be honoured, has no sense, or is missing; the text names it.
    """
    if not sql.strip():
        raise NotAllowed(
            SYNTAX_ERROR,
            "Empty query: the request has no statement. Give it as `query` in the URL, or as the body of a POST. "
            "(SYNTAX_ERROR)",
        )
    tables, fields = external_tables(files, fields)
    for name, value in fields.items():
        check_harmless(name, value)
    flag(fields, "decompress")
    if flag(fields, "session_check"):
        raise NotAllowed(
            SESSION_NOT_FOUND, "There are no sessions here, so `session_check` finds none. (SESSION_NOT_FOUND)"
        )
    if fields.get("role"):
        raise NotAllowed(UNKNOWN_ROLE, "There are no roles here: leave `role` out. (UNKNOWN_ROLE)")
    if flag(fields, "add_http_cors_header"):
        raise NotAllowed(
            NOT_IMPLEMENTED, "`add_http_cors_header` is not given: this port answers no web pages. (NOT_IMPLEMENTED)"
        )
    output_format = fields.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated"
    if not re.fullmatch(r"\w{1,64}", output_format):
        raise NotAllowed(UNKNOWN_FORMAT, "Unknown format. (UNKNOWN_FORMAT)")
    blocks = flag(fields, "compress")
    coding = None
    if not blocks and flag(fields, "enable_http_compression", default="1"):
        coding = chosen_coding(headers.get("Accept-Encoding", ""))
    return Question(
        sql=sql,
        parameters={name.removeprefix("param_"): value for name, value in fields.items() if name.startswith("param_")},
        settings={
            name: value
            for name, value in fields.items()
            if name not in HONOURED and name not in HARMLESS and not name.startswith("param_")
        },
        output_format=output_format,
        database=fields.get("database") or headers.get("X-ClickHouse-Database") or "unjoin",
        tables=tables,
        blocks=blocks,
        coding=coding,
        coding_level=_number(fields, "http_zlib_compression_level", 3, 1, 9),
        version=_version(fields),
    )


def _version(fields: Mapping[str, str]) -> int:
    version = _number(fields, "client_protocol_version", 0, 0, 1_000_000)
    if 0 < version < CUSTOM_SERIALIZATION:
        raise NotAllowed(
            NOT_IMPLEMENTED,
            f"`client_protocol_version` below {CUSTOM_SERIALIZATION} is not implemented here: leave it out. "
            "(NOT_IMPLEMENTED)",
        )
    return version


def check_harmless(name: str, value: str) -> None:
    """Raises where a field that changes nothing has a value that it cannot have: somebody meant something else.

    Raises:
        NotAllowed: BAD_ARGUMENTS; the text names the field.
    """
    if name in _FLAGS:
        flag({name: value}, name)
    elif name in _NUMBERS and not re.fullmatch(r"(?:[0-9]{1,20}(?:\.[0-9]{1,9})?)?", value, re.ASCII):
        raise NotAllowed(BAD_ARGUMENTS, f"`{name}` has to be a number, not negative. (BAD_ARGUMENTS)")
    elif name == "readonly" and value not in ("", "0", "1", "2"):
        raise NotAllowed(BAD_ARGUMENTS, "`readonly` has to be 0, 1 or 2. (BAD_ARGUMENTS)")


def flag(fields: Mapping[str, str], name: str, default: str = "0") -> bool:
    """Whether a field that is a switch is on.

    Raises:
        NotAllowed: BAD_ARGUMENTS, it is neither on nor off; the text names it.
    """
    match fields.get(name, default).lower():
        case "" | "0" | "false":
            return False
        case "1" | "true":
            return True
    raise NotAllowed(BAD_ARGUMENTS, f"`{name}` has to be 0 or 1. (BAD_ARGUMENTS)")


def _number(fields: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = fields.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,7}", text) or not least <= int(text) <= most:
        raise NotAllowed(BAD_ARGUMENTS, f"`{name}` has to be a number from {least} to {most}. (BAD_ARGUMENTS)")
    return int(text)
