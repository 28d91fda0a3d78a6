"""A client that trusts nothing: it reads answers by their framing alone, and holds them to the model."""

import asyncio
import socket
from typing import Any

from faults.http_model.grammar import Exchange, Script

SECONDS_MAX = 20.0
_BODILESS = {204, 304}


class Broken(Exception):
    """The wire is not what the model says.

    Args:
        kind: for the figures: hang, reset, surplus answer, …
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {text}")


async def run_script(host: str, port: int, script: Script, seconds_max: float = SECONDS_MAX) -> None:
    """Plays one script.

    Raises:
        Broken: an answer is missing, another one, or one too many; or the connection does not end.
    """
    reader, writer = await asyncio.open_connection(host, port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sending = asyncio.create_task(_send(writer, script))
    try:
        async with asyncio.timeout(seconds_max):
            for exchange in script.answered:
                await _expect(reader, exchange)
            rest = await reader.read(65_536)
            if rest:
                raise Broken("surplus", f"after the last answer came {rest[:200]!r}")
    except TimeoutError:
        raise Broken("hang", f"no end after {seconds_max} s") from None
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Broken("reset", type(error).__name__) from None
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, script: Script) -> None:
    sent, start = script.sent, 0
    try:
        for cut in [*script.cuts, len(sent)]:
            writer.write(sent[start:cut])
            await writer.drain()
            await asyncio.sleep(0)
            start = cut
        if script.half_closes:
            writer.write_eof()
    except (ConnectionError, OSError):
        pass  # it was refused, and what comes back says why


async def _expect(reader: asyncio.StreamReader, exchange: Exchange) -> None:
    status, headers = await read_head(reader)
    while status == 100:
        status, headers = await read_head(reader)
    await read_body(reader, status, headers, head_only=exchange.head_only)
    if status != exchange.status:
        raise Broken(f"{status} for {exchange.status}", f"{exchange.kind}: {exchange.sent[:300]!r}")
    closes = headers.get("connection") == "close"
    if exchange.ends is not None and closes != exchange.ends:
        raise Broken("closes" if closes else "stays open", f"{exchange.kind}: {exchange.sent[:300]!r}")


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = head[0].partition(" ")
    if version != "HTTP/1.1":
        raise Broken("no answer", head[0][:100])
    pairs = [line.partition(":") for line in head[1:] if line]
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, status: int, headers: dict[str, Any], *, head_only: bool) -> bytes:
    """The body of an answer, by its framing."""
    if head_only or status in _BODILESS:
        return b""
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return b"".join(parts)
    return await reader.readexactly(int(headers.get("content-length", 0)))
