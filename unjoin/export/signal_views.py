"""Pure: signals and their features by day, as SQL. Identified: both name site and session.

A day is one of the collector's clock, which no client sets: a signal's is that of its `received_at`, and a session's
that of its first signal. It has a day to end in before its features are written.
"""

import datetime

import msgspec
import pyarrow as pa

from unjoin.export.views import COUNT, TEXT

SLICE_SAMPLES = 400_000
"""Samples a slice, of which a row has 32 too many: an answer over HTTP is bounded. A session is never cut."""
_SAMPLES_OF_A_ROW = 32

TIME = pa.timestamp("ms", tz="UTC")
_TYPES = {
    **{"String": TEXT, "LowCardinality(String)": TEXT, "Int64": pa.int64(), "UInt64": COUNT},
    **{"Float64": pa.float64(), "Nullable(Float64)": pa.float64(), "Array(Float64)": pa.list_(pa.float64())},
    "DateTime64(3, 'UTC')": TIME,
}
COLUMNS = pa.schema([("name", TEXT), ("type", TEXT)])
BY_DAY = pa.schema([("day", pa.date32()), ("units", COUNT)])
SLICES = pa.schema([("site", TEXT), ("last", TEXT), ("units", COUNT)])

# Of each session, on which day it is in a file of features; else each row on its own.
_FIRST_DAYS = "SELECT site, session, toDate(min(received_at)) AS day, sum(length(t) + {row}) AS n, 1 AS units"
_DAYS = "SELECT site, session, toDate(received_at) AS day, sum(length(t) + {row}) AS n, count() AS units"


class ByDay(msgspec.Struct, frozen=True):
    """A data set of which a folder has a file a day.

    Attributes:
        table: also the data set's name.
        days: SELECT of what there is on which day: `site`, `session`, `day`, `n` samples, `units`.
        rows: SELECT of a slice's rows of `{day}`; `{where}` is a condition on site and session.
        closed_after: how long after a day's end its file is written.
        unit: what a row is.
    """

    table: str
    days: str
    rows: str
    closed_after: datetime.timedelta
    unit: str


class Slice(msgspec.Struct, frozen=True):
    """Sessions of one site that follow each other: after one, up to another, in hexadecimal; None for no bound."""

    site: str
    after: str | None
    last: str

    @property
    def condition(self) -> str:
        """On `site` and `session`. Names are in hexadecimal, since port 8123 refuses some words in any literal."""
        after = "" if self.after is None else f" AND session > unhex('{self.after}')"
        return f"site = unhex('{self.site}'){after} AND session <= unhex('{self.last}')"


SIGNALS = ByDay(
    table="signals",
    days=f"{_DAYS.format(row=_SAMPLES_OF_A_ROW)} FROM unjoin.signals FINAL GROUP BY site, session, day",
    rows=(
        "SELECT {columns} FROM unjoin.signals FINAL WHERE {where} AND toDate(received_at) = toDate('{day}') "
        "ORDER BY site, session, event_id"
    ),
    closed_after=datetime.timedelta(hours=1),
    unit="signals",
)
FEATURES = ByDay(
    table="session_features",
    days=f"{_FIRST_DAYS.format(row=_SAMPLES_OF_A_ROW)} FROM unjoin.signals FINAL GROUP BY site, session",
    rows=(
        "SELECT {columns} FROM unjoin.session_features WHERE {where} AND (site, session) IN (SELECT site, session "
        "FROM unjoin.signals FINAL WHERE {where} GROUP BY site, session "
        "HAVING toDate(min(received_at)) = toDate('{day}')) ORDER BY site, session"
    ),
    closed_after=datetime.timedelta(hours=25),
    unit="sessions",
)


def last_closed_day(dataset: ByDay, now: datetime.datetime) -> datetime.date:
    """The last UTC day whose file can be written."""
    return (now - dataset.closed_after).date() - datetime.timedelta(days=1)


def closes_at(dataset: ByDay, day: datetime.date) -> datetime.datetime:
    """The moment, UTC, from which on a day's file can be written."""
    end = datetime.datetime.combine(day + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
    return end + dataset.closed_after


def columns_query(dataset: ByDay) -> str:
    """The columns that there are, which have no alias, in order."""
    return (
        "SELECT name, toString(type) AS type FROM system.columns WHERE database = 'unjoin' "  # noqa: S608
        f"AND table = '{dataset.table}' AND default_kind != 'ALIAS' ORDER BY position"
    )


def schema_of(columns: pa.Table) -> pa.Schema:
    """Of the file, for the answer to `columns_query`."""
    return pa.schema(
        [pa.field(one["name"], _TYPES[one["type"]], "Nullable" in one["type"]) for one in columns.to_pylist()]
    )


def by_day_query(dataset: ByDay) -> str:
    """How many units each day has."""
    return f"SELECT day, sum(units) AS units FROM ({dataset.days}) GROUP BY day ORDER BY day"  # noqa: S608


def slices_query(dataset: ByDay, day: datetime.date, slice_samples: int = SLICE_SAMPLES) -> str:
    """Where to cut a day: site and last session of each slice, in hexadecimal, in order."""
    number = f"intDiv(sum(n) OVER (PARTITION BY site ORDER BY session) - n, {slice_samples})"
    cut = f"SELECT site, session, units, {number} AS slice FROM ({dataset.days}) WHERE day = toDate('{day}')"  # noqa: S608
    return (
        f"SELECT hex(site) AS site, hex(max(session)) AS last, sum(units) AS units FROM ({cut}) "  # noqa: S608
        "GROUP BY site, slice ORDER BY site, slice"
    )


def slices_of(cuts: pa.Table) -> list[Slice]:
    """Of the answer to `slices_query`."""
    found: list[Slice] = []
    for row in cuts.to_pylist():
        before = found[-1] if found and found[-1].site == row["site"] else None
        found.append(Slice(row["site"], before.last if before else None, row["last"]))
    return found


def rows_query(dataset: ByDay, schema: pa.Schema, day: datetime.date, where: str) -> str:
    """The rows of a slice."""
    return dataset.rows.format(columns=", ".join(schema.names), day=day, where=where)
