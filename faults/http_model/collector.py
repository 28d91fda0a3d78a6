"""`python -m faults.http_model.collector FOLDER`: a collector whose durable store is a file of event ids."""

import asyncio
import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from ingest.access.sites import write_development_sites
from ingest.encode.records import Record
from ingest.process.server import serve
from schemas.seal import public_key_of
from unjoin.host.kafka import free_port
from unjoin.roles import collector_config
from unjoin.settings import Settings

IDS, PORTS = "ids", "ports"


class FileProducer:
    """Durable is whose id is in the file."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self, deadline_s: float) -> None:
        """Nothing to do."""

    def ready(self) -> bool:
        """Always."""
        return True

    def congested(self) -> bool:
        """Never."""
        return False

    async def produce(self, records: Sequence[Record], seconds_max: float | None = None) -> None:
        """Appends the ids."""
        if values := [record.value for record in records]:
            # Confluent header, then the id: its length as a zigzag varint, one byte for so short a text.
            os.write(self._file, b"".join(value[6 : 6 + value[5] // 2] + b"\n" for value in values))


def _key_of(day: datetime.date) -> bytes:
    return day.isoformat().encode().ljust(32)


def main(folder: Path) -> None:
    """Serves until SIGTERM; writes its port and that of its metrics once it listens."""
    write_development_sites(folder / "sites.json", ["https://shop.example"])
    metrics_port = free_port()
    config = msgspec.structs.replace(
        collector_config(Settings()), sites_file=folder / "sites.json", port=0, metrics_port=metrics_port
    )

    def listening(_: str, port: int) -> None:
        draft = folder / "draft"
        draft.write_text(f"{port} {metrics_port}")
        draft.rename(folder / PORTS)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        producer = FileProducer(folder / IDS)
        runner.run(serve(config, _key_of, lambda day: public_key_of(_key_of(day)), producer, on_listening=listening))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
