"""The tables as the migrations make them, and as they might be: a variant is a few words of the definitions replaced.

Nothing here may change what a row is told apart by, so no key becomes smaller. Left out on purpose: partitions by
month, for a resend of the next month would never collapse; projections, for `FINAL`, which analysts have by default,
does not use them; Float32, for values are stored as they were sent.
"""

import re
from collections.abc import Callable

import msgspec

from sinks.clickhouse.migrate import migrations

SAMPLES = ("t", "x", "y", "z", "force", "t_up")
TABLES = ("signals", "analytics", "labels")


class Variant(msgspec.Struct, frozen=True):
    """One way to define the tables.

    Attributes:
        change: of the text of a statement; called with its table and the text.
        tables: those that it changes.
    """

    name: str
    change: Callable[[str, str], str]
    tables: tuple[str, ...] = TABLES


def definitions(database: str, variant: Variant, before: int | None = None) -> list[str]:
    """Statements that make the variant's tables in a database of their own.

    Args:
        before: migrations up to this one, not with it; None for all.
    """
    found = migrations()[: None if before is None else before - 1]
    return [
        # Wide parts however small, for only they tell the size of each column.
        variant.change(table, statement)
        .replace("unjoin.", f"{database}.")
        .replace("\nSETTINGS ", "\nSETTINGS min_bytes_for_wide_part = 0, ")
        for migration in found
        for statement in migration.statements
        if (table := _table(statement)) in TABLES
    ]


def _table(statement: str) -> str:
    match = re.match(r"(?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) unjoin\.(\w+)", statement)
    return match[1] if match else ""


def codec(columns: tuple[str, ...], text: str) -> Callable[[str, str], str]:
    """These columns with another codec."""

    def change(_table: str, statement: str) -> str:
        for column in columns:
            statement = re.sub(
                rf"(?m)^(\s+{column} [^\n]*?)CODEC\((?:[^()]|\([^()]*\))*\)",
                lambda m: f"{m[1]}CODEC({text})",
                statement,
            )
        return statement

    return change


def kind(columns: tuple[str, ...], old: str, new: str) -> Callable[[str, str], str]:
    """These columns with another type, and without a codec of their own."""

    def change(_table: str, statement: str) -> str:
        for column in columns:
            statement = re.sub(rf"(?m)^(\s+{column}) {old}(?: CODEC\([^\n]*?\))?(,?)$", rf"\1 {new}\2", statement)
        return statement

    return change


def order(table: str, key: str) -> Callable[[str, str], str]:
    """This table sorted otherwise."""

    def change(of: str, statement: str) -> str:
        return re.sub(r"ORDER BY \([^)]*\)", f"ORDER BY ({key})", statement) if of == table else statement

    return change


def unchanged(_table: str, statement: str) -> str:
    """The table's statement as the migrations have it."""
    return statement


VARIANTS = (
    Variant("the same again", unchanged),
    Variant("samples ZSTD(3)", codec(SAMPLES, "ZSTD(3)"), ("signals",)),
    Variant("samples ZSTD(6)", codec(SAMPLES, "ZSTD(6)"), ("signals",)),
    Variant("samples Gorilla, ZSTD(1)", codec(SAMPLES, "Gorilla(8), ZSTD(1)"), ("signals",)),
    Variant("samples Delta, ZSTD(1)", codec(SAMPLES, "Delta(8), ZSTD(1)"), ("signals",)),
    Variant("samples FPC, ZSTD(1)", codec(SAMPLES, "FPC(12), ZSTD(1)"), ("signals",)),
    Variant("samples ALP (beta), ZSTD(1)", codec(SAMPLES, "ALP, ZSTD(1)"), ("signals",)),
    Variant("samples LZ4", codec(SAMPLES, "LZ4"), ("signals",)),
    Variant("times DoubleDelta", codec(("ts", "received_at"), "DoubleDelta, ZSTD(1)"), ("signals", "analytics")),
    Variant("times T64", codec(("ts", "received_at"), "T64, ZSTD(1)"), ("signals", "analytics")),
    Variant("sorted by type", order("signals", "site, type, session, event_id"), ("signals",)),
    Variant(
        "agents, pages LowCardinality",
        kind(("user_agent", "url", "referrer"), "String", "LowCardinality(String)"),
        ("analytics",),
    ),
    Variant("properties ZSTD(3)", codec(("properties", "url", "user_agent"), "ZSTD(3)"), ("analytics",)),
    Variant("kinds of samples apart", order("signals", "site, session, type, event_id"), ("signals",)),
)
