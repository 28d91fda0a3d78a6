"""Pure: what is exported, as SQL, and the columns of the files.

The rule of `label_export` and `label_export_votes` is in the views (sinks/migrations), so that analysts who ask them
get the same. An increment counts the votes of some closed days alone, which no view can be told.
"""

import datetime

import msgspec
import pyarrow as pa


class View(msgspec.Struct, frozen=True):
    """What is exported.

    Attributes:
        name: of the data set, as a manifest and a file's notes have it.
        rows: SELECT of the rows; `{k}` and `{days}`, a condition on `day`, are filled in.
        schema: of the files.
        order: says nothing that the columns do not.
        unit: what a row stands for, and what is counted as left out.
    """

    name: str
    rows: str
    schema: pa.Schema
    order: str
    unit: str


def _schema(*columns: tuple[str, pa.DataType], null: str = "") -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name == null) for name, kind in columns])


TEXT, COUNT, SHARE = pa.string(), pa.uint64(), pa.float64()

CONSENSUS = View(
    name="label_export",
    rows=(
        "SELECT task, kind, answer, votes, total, agreement, agreement_low, agreement_high, tied "
        "FROM unjoin.label_export(k = {k})"
    ),
    schema=_schema(
        *(("task", TEXT), ("kind", TEXT), ("answer", TEXT), ("votes", COUNT), ("total", COUNT)),
        *(("agreement", SHARE), ("agreement_low", SHARE), ("agreement_high", SHARE), ("tied", pa.bool_())),
    ),
    order="task, kind",
    unit="tasks",
)
# `row_id` is left out: it stays the same from file to file, so it would join exports, and it teaches nothing.
VOTES = View(
    name="label_export_votes",
    rows="SELECT task, kind, answer, day FROM unjoin.label_export_votes(k = {k})",
    schema=_schema(("task", TEXT), ("kind", TEXT), ("answer", TEXT), ("day", pa.date32()), null="day"),
    order="task, kind, answer, day",
    unit="votes",
)
# Every answer that k votes of these days gave, so that the files of a folder can be added up.
INCREMENT = View(
    name="labels",
    rows=(
        "SELECT task, kind, answer, votes, total FROM (SELECT task, kind, answer, count() AS votes, "
        "sum(votes) OVER (PARTITION BY task, kind) AS total FROM unjoin.labels FINAL WHERE {days} "
        "GROUP BY task, kind, answer) WHERE votes >= {k}"
    ),
    schema=_schema(("task", TEXT), ("kind", TEXT), ("answer", TEXT), ("votes", COUNT), ("total", COUNT)),
    order="task, kind, answer",
    unit="votes",
)


class Days(msgspec.Struct, frozen=True):
    """Whole UTC days that follow each other, both included; `first` is None from the first day that there is."""

    first: datetime.date | None
    last: datetime.date

    @property
    def condition(self) -> str:
        """On the column `day`."""
        since = f"day >= toDate('{self.first}') AND " if self.first else ""
        return f"{since}day <= toDate('{self.last}')"


def query_of(view: View, k: int, days: Days | None = None) -> str:
    """All rows of the view, as the notes of a file quote it."""
    return view.rows.format(k=k, days="1" if days is None else days.condition)


def statement(view: View, k: int, after: str | None, until: str | None, days: Days | None = None) -> str:
    """The rows of the tasks after one and up to another, both in hexadecimal; None for no bound."""
    bounds = [f"task > unhex('{after}')"] * (after is not None) + [f"task <= unhex('{until}')"] * (until is not None)
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    return f"SELECT * FROM ({query_of(view, k, days)}){where} ORDER BY {view.order}"  # noqa: S608  all our own
