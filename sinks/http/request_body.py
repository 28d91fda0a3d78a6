"""A request's body: the rest of a statement, or a form of fields and files; compressed or not.

Source: ClickHouse documentation, "HTTP Interface"; RFC 7578.
"""

import re
from typing import NamedTuple

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from sinks.http.compression import NotCompressed, from_blocks, from_lz4
from sinks.http.refusals import CANNOT_DECOMPRESS, INCORRECT_DATA, READONLY, REQUEST_TOO_LARGE, NotAllowed

BODY_BYTES_MAX = 1_048_576
_PIECE_BYTES = 65_536
_BY_AIOHTTP = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})


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
    body = b""
    try:
        if request.content_type == "multipart/form-data":
            fields, files = await _form(request)
        else:
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError, AssertionError):
        # Their texts may quote the body.
        raise NotAllowed(INCORRECT_DATA, "The body is not what its headers say. (INCORRECT_DATA)") from None
    statement = (url.get("query"), fields.get("query"), _text(_decompressed(request, body, fields | url)))
    return Asked("\n".join(filter(None, statement)), fields | url, files)


def _decompressed(request: web.Request, body: bytes, fields: dict[str, str]) -> bytes:
    """The body as it was before ClickHouse's blocks and before a coding that aiohttp does not know."""
    coding = request.headers.get("Content-Encoding", "").lower()
    blocks = fields.get("decompress", "0").lower() not in ("", "0", "false")
    form = request.content_type == "multipart/form-data"
    if coding not in _BY_AIOHTTP and (coding != "lz4" or form):
        raise NotAllowed(
            CANNOT_DECOMPRESS,
            "Bodies are read here in gzip, deflate, br, zstd and, where they are no forms, lz4. (CANNOT_DECOMPRESS)",
        )
    if blocks and form:
        raise NotAllowed(CANNOT_DECOMPRESS, "A form is not read with `decompress`. (CANNOT_DECOMPRESS)")
    try:
        body = from_lz4(body, BODY_BYTES_MAX) if coding == "lz4" else body
        return from_blocks(body, BODY_BYTES_MAX) if blocks else body
    except NotCompressed as error:
        raise NotAllowed(CANNOT_DECOMPRESS, f"The compressed body {error}. (CANNOT_DECOMPRESS)") from None


async def _form(request: web.Request) -> tuple[dict[str, str], dict[str, bytes]]:
    """Fields and files of a form, all of them together at most `BODY_BYTES_MAX`."""
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    left = BODY_BYTES_MAX
    form: MultipartReader = await request.multipart()
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
            READONLY, "Cannot execute query in readonly mode: its body is no UTF-8 text. (READONLY)"
        ) from None


def _too_large() -> NotAllowed:
    return NotAllowed(REQUEST_TOO_LARGE, f"The body is over {BODY_BYTES_MAX} bytes. (TOO_MANY_BYTES)")
