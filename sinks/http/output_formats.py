"""Pure: which Content-Type an answer has, and which output formats are not given.

Source: the answers of a ClickHouse server of the pinned version, in each format that it has.
"""

import re

from sinks.http.refusals import UNKNOWN_FORMAT, NotAllowed

_TEXT = "text/plain; charset=UTF-8"
_TYPES = {
    r"csv": "text/csv; charset=UTF-8; header=absent",
    r"csvwithnames\w*": "text/csv; charset=UTF-8; header=present",
    r"(?:tsv|tabseparated|lineasstring)\w*|raw(?:withnames\w*)?|tskv": "text/tab-separated-values; charset=UTF-8",
    r"json(?:compact)?(?:strings)?(?:eachrowwithprogress)?": "application/json; charset=UTF-8",
    r"json(?:compact)?columns(?:withmetadata)?|jsonobjecteachrow": "application/json; charset=UTF-8",
    r"json(?:strings)?eachrow|(?:pretty)?(?:jsoneachrow|jsonlines|ndjson)|jsonl": (
        "application/x-ndjson; charset=UTF-8"
    ),
    r"geojson": "application/geo+json; charset=UTF-8",
    r"xml": "application/xml; charset=UTF-8",
    r"prometheus": "text/plain; version=0.0.4; charset=UTF-8",
    r"png": "image/png",
    r"native|rowbinary\w*|arrow|arrowstream|parquet|orc|avro|npy|msgpack|bsoneachrow|buffers|mysqlwire|postgresqlwire"
    r"|odbcdriver2": "application/octet-stream",
}

# Formats that want what no request can give here, a file of the engine's folder or another server.
_FILE = "it needs a schema file, and this port has none"
_NOT_GIVEN = {
    **dict.fromkeys(("protobuf", "protobuflist", "protobufsingle", "capnproto"), _FILE),
    "template": "it needs a template file, and this port has none",
    "avroconfluent": "it needs a schema registry, and this port reaches none",
}


def content_type(output_format: str) -> str:
    """The Content-Type of an answer, as a server sends it.

    Args:
        output_format: its name, in any case.
    """
    name = output_format.lower()
    return next((kind for pattern, kind in _TYPES.items() if re.fullmatch(pattern, name)), _TEXT)


def check_format(output_format: str) -> None:
    """Raises where a format cannot be given here.

    Raises:
        NotAllowed: UNKNOWN_FORMAT; the text says what to do instead.
    """
    if why := _NOT_GIVEN.get(output_format.lower()):
        raise NotAllowed(
            UNKNOWN_FORMAT,
            f"Format {output_format} is not given here: {why}. Ask for one that carries its own schema, as Parquet, "
            "Avro, Native or RowBinaryWithNamesAndTypes. (UNKNOWN_FORMAT)",
        )
