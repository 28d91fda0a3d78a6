"""Pure: the SQL that looks for the rows of requests and deletes them.

A row's digest is computed as `schemas/subjects/selectors.py` computes it, so that no statement names a person: the
engine keeps the text of a mutation in a file beside the parts, and a server in its logs. HMAC (RFC 2104) is written out
as two SHA-256, for the engine's own function takes seven times as long (measured with 26.9).
"""

from collections.abc import Sequence

from schemas.subjects.erasures import SELECTOR_OF, Erasure, Kind
from schemas.subjects.selectors import EXPRESSIONS

# Names of tables are our own, and values are hexadecimal: hence S608 is off below.

BLOCK_BYTES = 64  # of SHA-256
# So many digests are some 150 KB of a statement, which may have 256 KiB.
DIGESTS_MAX = 2_000
NOTED_MAX = 500


def digest_sql(table: str, kind: Kind, salt: bytes) -> str:
    """The digest of a row of the table, as an expression."""
    selector = SELECTOR_OF[kind]
    inner, outer = (bytes(byte ^ pad for byte in salt.ljust(BLOCK_BYTES, b"\0")).hex() for pad in (0x36, 0x5C))
    framed = "".join(f", toString(length({field})), ' ', {field}" for field in EXPRESSIONS[selector][table])
    message = f"'{len(selector.__name__)} {selector.__name__}'{framed}"
    return f"SHA256(concat(unhex('{outer}'), SHA256(concat(unhex('{inner}'), {message}))))"


def count(table: str, erasures: Sequence[Erasure], parts: Sequence[str] | None = None) -> str:
    """Counts the rows of a table by digest: rows of `digest` and `rows`. Without `final`, replaced rows count, too.

    Args:
        erasures: of one kind and one salt, at most `DIGESTS_MAX`.
        parts: only these; None for all.
    """
    among = f" AND _part IN ({', '.join(map(_text, parts))})" if parts is not None else ""
    digest = f"{_digest(table, erasures)} AS row_digest"
    return (
        f"SELECT lower(hex(row_digest)) AS digest, count() AS rows FROM (SELECT {digest} FROM unjoin.{table} "  # noqa: S608
        f"WHERE row_digest IN ({_digests(erasures)}){among}) GROUP BY digest"
    )


def delete(table: str, erasures: Sequence[Erasure]) -> str:
    """Rewrites every part that holds such a row, in the background.

    Args:
        erasures: as `count` takes them.
    """
    return (
        f"ALTER TABLE unjoin.{table} DELETE WHERE {_digest(table, erasures)} IN ({_digests(erasures)}) "
        "SETTINGS mutations_sync = 0"
    )


def mutating(tables: Sequence[str]) -> str:
    """How many mutations are not done, and what failed last, if anything did: rows of `left` and `failed`."""
    return (
        "SELECT count() AS left, max(latest_fail_error_code_name) AS failed FROM system.mutations "  # noqa: S608
        f"WHERE database = 'unjoin' AND table IN ({', '.join(map(_text, tables))}) AND NOT is_done"
    )


def active_parts(table: str) -> str:
    """The parts that queries read: rows of `name`."""
    return f"SELECT name FROM system.parts WHERE database = 'unjoin' AND active AND table = {_text(table)}"  # noqa: S608


def left_on_disk(tables: Sequence[str], until_s: int) -> str:
    """What may still hold rows that were deleted by then, Unix seconds: rows of `inactive`, `detached` and `up_s`.

    An engine that has just started does not know all of the parts that it no longer needs.
    """
    among = ", ".join(map(_text, tables))
    return (
        f"SELECT (SELECT count() FROM system.parts WHERE database = 'unjoin' AND NOT active AND table IN ({among}) "  # noqa: S608
        f"AND modification_time <= fromUnixTimestamp({until_s})) AS inactive, (SELECT count() FROM "
        f"system.detached_parts WHERE database = 'unjoin' AND table IN ({among})) AS detached, uptime() AS up_s"
    )


def noted(erasures: Sequence[Erasure]) -> str:
    """Writes down how far requests are; of a request's rows in the table the newest stays.

    Args:
        erasures: at most `NOTED_MAX`.
    """
    rows = ", ".join(map(_noted, erasures))
    return (
        "INSERT INTO unjoin.erasures (id, reference, kind, asked_at, state, state_at, deleted) SELECT noted.1, "  # noqa: S608
        "unhex(noted.2), noted.3, fromUnixTimestamp64Milli(noted.4), noted.5, fromUnixTimestamp64Milli(noted.6), "
        f"CAST((noted.7, noted.8), 'Map(String, UInt64)') FROM (SELECT arrayJoin([{rows}]) AS noted)"
    )


def _noted(erasure: Erasure) -> str:
    tables = ", ".join(_text(table) for table in sorted(erasure.deleted))
    rows = ", ".join(f"toUInt64({erasure.deleted[table]})" for table in sorted(erasure.deleted))
    at_ms = max(erasure.at_ms.values(), default=erasure.asked_at_ms)
    return (
        f"({_text(erasure.id)}, '{erasure.reference.encode().hex()}', {_text(erasure.kind)}, "
        f"toInt64({erasure.asked_at_ms}), {_text(erasure.state)}, toInt64({at_ms}), "
        f"CAST([{tables}], 'Array(String)'), CAST([{rows}], 'Array(UInt64)'))"
    )


def _digest(table: str, erasures: Sequence[Erasure]) -> str:
    return digest_sql(table, erasures[0].kind, bytes.fromhex(erasures[0].salt))


def _digests(erasures: Sequence[Erasure]) -> str:
    return ", ".join(f"unhex('{erasure.digest}')" for erasure in erasures)


def _text(name: str) -> str:
    assert name.replace("_", "").replace("-", "").isalnum()
    return f"'{name}'"
