"""A request's body: the rest of a statement, or a form of fields and files; compressed or not.

Source: ClickHouse documentation, "HTTP Interface"; RFC 7578.
"""

import asyncio
import re
from typing import NamedTuple

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError

from sinks.http.compression import NotCompressed, TooLong, decoded, from_blocks
from sinks.http.refusals import CANNOT_DECOMPRESS, INCORRECT_DATA, READONLY, REQUEST_TOO_LARGE, NotAllowed
from sinks.http.request_fields import flag

BODY_BYTES_MAX = 1_048_576
SENT_BYTES_MAX = BODY_BYTES_MAX + 65_536  # with what a form or a coding adds
_PIECE_BYTES = 65_536


class Asked(NamedTuple):
    """What a request consists of.

    Attributes:
        sql: the statement: of the URL's field, the form's and the body, a line break between them.
        fields: of the URL and the form.
        files: of the form, by name.
    """

    sql: str
    fields: dict[str, str]
    files: dict[str, bytes]


async def asked_by(request: web.Request) -> Asked:
    """Reads a request to its end.

    Raises:
        NotAllowed: its body is too long, no text, or not what its headers say.
    """
    url = dict(request.query.items())
    if request.method != "POST":
        return Asked(url.get("query", ""), url, {})
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    try:
        body = _decoded(request, await request.read())
        if request.content_type == "multipart/form-data":
            fields, files = await _form(request, body)
            body = b""
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError, ValueError, AssertionError):
        # Their texts may quote the body.
        raise NotAllowed(INCORRECT_DATA, "The body is not what its headers say. (INCORRECT_DATA)") from None
    statement = (url.get("query"), fields.get("query"), _text(_from_blocks(request, body, fields | url)))
    return Asked("\n".join(filter(None, statement)), fields | url, files)


def _decoded(request: web.Request, body: bytes) -> bytes:
    """The body as it was before its content coding: aiohttp would take one that is cut short for a whole one."""
    form = request.content_type == "multipart/form-data"
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    try:
        body = decoded(body, coding, SENT_BYTES_MAX if form else BODY_BYTES_MAX)
    except TooLong:
        raise _too_large() from None
    except NotCompressed as error:
        raise NotAllowed(CANNOT_DECOMPRESS, f"The compressed body {error}. (CANNOT_DECOMPRESS)") from None
    if len(body) > BODY_BYTES_MAX and not form:
        raise _too_large()
    return body


def _from_blocks(request: web.Request, body: bytes, fields: dict[str, str]) -> bytes:
    """The body as it was before ClickHouse's blocks."""
    if not flag(fields, "decompress"):
        return body
    if request.content_type == "multipart/form-data":
        raise NotAllowed(CANNOT_DECOMPRESS, "A form is not read with `decompress`. (CANNOT_DECOMPRESS)")
    try:
        return from_blocks(body, BODY_BYTES_MAX)
    except NotCompressed as error:
        raise NotAllowed(CANNOT_DECOMPRESS, f"The compressed body {error}. (CANNOT_DECOMPRESS)") from None


async def _form(request: web.Request, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Fields and files of a form, all of them together at most `BODY_BYTES_MAX`."""
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    left = BODY_BYTES_MAX
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), SENT_BYTES_MAX, loop=loop)
    content.feed_data(body)
    content.feed_eof()
    form = MultipartReader(request.headers, content)
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise NotAllowed(INCORRECT_DATA, "A form's parts have to be fields and files. (INCORRECT_DATA)")
        value = bytearray()
        while piece := await part.read_chunk(_PIECE_BYTES):
            value += piece
            left -= len(piece)
            if left < 0:
                raise _too_large()
        name = part.name or ""
        # clickhouse-go sends its tables with an empty file name, which aiohttp does not tell from none.
        if re.search(r";\s*filename\*?=", part.headers.get("Content-Disposition", ""), re.IGNORECASE):
            files[name] = bytes(value)
        else:
            fields[name] = _text(bytes(value))
    return fields, files


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise NotAllowed(
            READONLY,
            "Cannot execute query in readonly mode: its body is no UTF-8 text; write other bytes with unhex('…'). "
            "(READONLY)",
        ) from None


def _too_large() -> NotAllowed:
    return NotAllowed(REQUEST_TOO_LARGE, f"The body is over {BODY_BYTES_MAX} bytes. (TOO_MANY_BYTES)")
