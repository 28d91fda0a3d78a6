"""Shows an audit, to people or to programs."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from unjoin.audit.balance import Audit, Line
from unjoin.audit.snapshot import AuditError
from unjoin.output import print_json, print_table, say

COLUMNS = (
    *("accepted", "stored", "passed_on", "verdicts", "collapsed", "dead_lettered"),
    *("suppressed", "expired", "erased", "held", "difference"),
)


def show(audit: Audit, form: str) -> None:
    """A row an outcome and a column a topic, then where to look, what could not be told, and the verdict.

    Programs get a row a topic, or the whole audit as JSON.
    """
    rows = [(line.name, *(getattr(line, column) for column in COLUMNS)) for line in audit.lines]
    if form == "table":
        print_table(("", *(column.replace("_", " ") for column in COLUMNS)), _with_spaces(rows), transposed=True)
        _say_the_rest(audit)
    elif form == "csv":
        print_table(tuple(_columns(Line(name=""))), (list(_columns(line).values()) for line in audit.lines), form)
    else:
        print_json(_document(audit))


def _with_spaces(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Long names break between words."""
    return [(name.replace("_", " "), *counts) for name, *counts in rows]


def _say_the_rest(audit: Audit) -> None:
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


def _document(audit: Audit) -> dict[str, object]:
    return {
        "difference": audit.difference,
        "told": not audit.doubts,
        "lines": [_columns(line) for line in audit.lines],
        "findings": audit.findings,
        "doubts": audit.doubts,
        "notes": audit.notes,
    }


def write_textfile(audit: Audit, file: Path, now_s: float) -> None:
    """The verdict as metrics, in a file that node_exporter's textfile collector shows; it appears whole.

    Args:
        now_s: Unix time.

    Raises:
        AuditError: it cannot be written.
    """
    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(f"unjoin_audit_{name}", text, registry=registry).set(value)

    difference = Gauge("unjoin_audit_difference", "Records not accounted for.", ["line"], registry=registry)
    for line in audit.lines:
        difference.labels(line.name).set(line.difference)
    gauge("findings", "What the last audit found wrong.", len(audit.findings))
    gauge("told", "1 where the last audit could tell of everything.", float(not audit.doubts))
    gauge("finished_seconds", "Unix time at which the last audit ended.", int(now_s))
    try:
        write_to_textfile(str(file), registry)
    except OSError as error:
        raise AuditError(f"{file} cannot be written: {error.strerror}") from None


def _columns(line: Line) -> dict[str, int | str]:
    columns = {column: getattr(line, column) for column in COLUMNS}
    return {"name": line.name, **columns, "missing": line.missing, "excess": line.excess, "left_the_log": line.before}
