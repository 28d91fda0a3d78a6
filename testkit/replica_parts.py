"""Gives another replica the parts of a replicated table, which clickhouse-local, unlike a server, gives nobody.

    the replica that fetches ──POST /?endpoint=DataPartsExchange:/…/replicas/r1&part=all_0_0_0──▶ this
                             ◀──────── its files, each with its hash, in version 3 of the exchange ────────

ClickHouse's own code decides what is fetched, checks every hash and takes the part in; this only reads files. The data
folder is that of the process it runs in, so both die together.

Source: ClickHouse, src/Storages/MergeTree/DataPartsExchange.cpp.
"""

import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from clickhouse_cityhash.cityhash import CityHash128WithSeed

PREFIX = "DataPartsExchange:"
VERSION = 3  # of a part: its size, its times to live, its type, its files
HASHED_BYTES = 2_048  # ClickHouse hashes a file in blocks, each with the hash before as its seed


class NoPart(Exception):
    """The part is not here, or no longer."""


def serve_parts(data: Path, host: str, port: int) -> None:
    """Answers other replicas in a thread until the process ends.

    Args:
        data: the data folder; tables lie on Keeper below …/DATABASE/TABLE/replicas/REPLICA.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which says that a body may come

        def do_POST(self) -> None:
            asked = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
            try:
                body = part_of(data, asked["endpoint"].removeprefix(PREFIX), asked["part"])
                status = 200
            except (NoPart, OSError):
                body, status = b"no such part", 404
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.send_header("Set-Cookie", f"server_protocol_version={VERSION}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    listener = ThreadingHTTPServer((host, port), Handler)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, daemon=True).start()


def part_of(data: Path, replica_path: str, part: str) -> bytes:
    """A part as the exchange carries it.

    Raises:
        NoPart: it is not there.
    """
    database, table, *_ = replica_path.split("/")[-4:]
    folder = data / "data" / database / table / part
    files = {one.name: one.read_bytes() for one in sorted(folder.iterdir()) if one.is_file()}
    if "checksums.txt" not in files:
        raise NoPart
    times = files.get("ttl.txt", b"ttl format version: 1\n{}")
    # A part of one file for all columns is compact.
    kind = b"Compact" if "data.bin" in files else b"Wide"
    head = struct.pack("<Q", sum(map(len, files.values()))) + _text(times) + _text(kind)
    return head + struct.pack("<Q", len(files)) + b"".join(_file(name, held) for name, held in files.items())


def _file(name: str, held: bytes) -> bytes:
    seed = 0
    for at in range(0, len(held), HASHED_BYTES):
        seed = CityHash128WithSeed(held[at : at + HASHED_BYTES], seed)
    return _text(name.encode()) + struct.pack("<Q", len(held)) + held + _hash(seed)


def _hash(value: int) -> bytes:
    return struct.pack("<QQ", value >> 64, value & (1 << 64) - 1)


def _text(value: bytes) -> bytes:
    length, number = b"", len(value)
    while number > 0x7F:
        length += bytes([number & 0x7F | 0x80])
        number >>= 7
    return length + bytes([number]) + value
