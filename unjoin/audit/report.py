"""Shows an audit to people, or as JSON to programs."""

import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unjoin.audit.balance import Audit, Line
from unjoin.terminal import escaped

COLUMNS = (
    *("accepted", "stored", "passed_on", "verdicts", "collapsed", "dead_lettered"),
    *("suppressed", "expired", "erased", "held", "difference"),
)


def show(audit: Audit, console: Console) -> None:
    """A table, then where to look, what could not be told, and the verdict."""
    table = Table("", *(column.replace("_", " ") for column in COLUMNS))
    for column in table.columns[1:]:
        column.justify = "right"
    for line in audit.lines:
        counts = (getattr(line, column) for column in COLUMNS)
        table.add_row(Text(escaped(line.name)), *(f"{count:,}" if count else "0" for count in counts))
    console.print(table)

    def say(text: str, style: str = "") -> None:
        console.print(escaped(text), style=style, markup=False, highlight=False, soft_wrap=True)

    for note in audit.notes:
        say(f"note: {note}")
    for doubt in audit.doubts:
        say(f"could not be told: {doubt}", "yellow")
    for finding in audit.findings:
        say(f"wrong: {finding.what}", "bold red")
        for where in finding.where:
            say(f"    {where}")
    match audit.exit_code:
        case 0:
            say("difference 0: every accepted record is accounted for", "bold green")
        case 1:
            say(f"difference {audit.difference}: see what is wrong above", "bold red")
        case _:
            say("nothing is wrong as far as it could be told", "bold yellow")


def write_json(audit: Audit) -> None:
    """One object on standard output."""
    shown = {
        "difference": audit.difference,
        "told": not audit.doubts,
        "lines": [_columns(line) for line in audit.lines],
        "findings": audit.findings,
        "doubts": audit.doubts,
        "notes": audit.notes,
    }
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(shown)) + b"\n")


def _columns(line: Line) -> dict[str, int | str]:
    columns = {column: getattr(line, column) for column in COLUMNS}
    return {"name": line.name, **columns, "missing": line.missing, "excess": line.excess, "left_the_log": line.before}
