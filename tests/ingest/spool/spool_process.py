"""A process that spools until it is killed; prints the number of each request once it is durable.

python -m tests.ingest.spool.spool_process FOLDER FIRST [--clients N] [--requests N] [--file-bytes-max N]
"""

import argparse
import asyncio
import resource
from pathlib import Path

from ingest.encode.records import Record
from ingest.spool.file import SpoolError
from ingest.spool.writer import Spool
from tests.ingest.configs import spool_config


def request(number: int) -> list[Record]:
    """Records whose content is told by the number alone."""
    return [
        Record("events.signals", b"%d" % number, b"%d/%d" % (number, i) * 20, number) for i in range(number % 40 + 1)
    ]


async def main(folder: Path, first: int, clients: int, requests: int, file_bytes_max: int | None) -> None:
    spool = Spool(spool_config(folder))
    await spool.start()
    numbers = iter(range(first, first + requests))
    if file_bytes_max:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, resource.RLIM_INFINITY))

    async def client() -> None:
        for number in numbers:
            try:
                await spool.append(request(number), 10.0)
            except SpoolError as error:
                print("refused", type(error).__name__, flush=True)
                break
            print(number, flush=True)

    await asyncio.gather(*(client() for _ in range(clients)))
    if file_bytes_max:  # the disk has room again
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await spool.append(request(next(numbers)), 10.0)
        print("recovered", flush=True)
    await spool.stop(5.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=90_000)
    parser.add_argument("--file-bytes-max", type=int)
    asyncio.run(main(**vars(parser.parse_args())))
