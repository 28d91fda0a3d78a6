"""`unjoin export`: which way is gone, and what is said at its end."""

import argparse
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from unjoin.export import days, signal_views
from unjoin.export.arguments import meant_by
from unjoin.export.by_day import Added, export_by_day
from unjoin.export.files import ExportError
from unjoin.export.increments import Increment, export_increment
from unjoin.export.labels import Advance, Names, export_labels
from unjoin.export.signal_views import FEATURES, SIGNALS, ByDay
from unjoin.export.source import source_of
from unjoin.export.views import CONSENSUS, INCREMENT, VOTES
from unjoin.output import print_report, progress_on
from unjoin.person_names import NameFinder
from unjoin.settings import Settings


def run_export(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    """Carries out the export of one data set.

    Raises:
        ExportError, QueryError: the text says what to do.
    """
    if options.dataset != "labels":
        return _by_day(options, settings, console)
    if options.unnamed and (meant := meant_by(options)):
        raise ExportError(meant)
    k = settings.export_k if options.k is None else options.k
    names = None
    if options.without_names:
        if not options.votes and not options.since_last:
            raise ExportError("--without-names goes with --votes or --since-last: a consensus is what many said")
        names = NameFinder().names_a_person
    try:
        if options.since_last:
            _increment(options, settings, k, names, console)
        else:
            _file(options, settings, k, names, console)
    except OSError as error:
        raise ExportError(f"{options.target} cannot be written: {error.strerror or error}") from None
    return 0


def _file(options: argparse.Namespace, settings: Settings, k: int, names: Names | None, console: Console) -> None:
    view = VOTES if options.votes else CONSENSUS
    with source_of(settings) as source, _progress(console, view.unit) as advance:
        exported = export_labels(source, view, k, options.target, advance, names)
    named = f", {exported.named} because they name a person" if names else ""
    print_report(
        f"{exported.rows} {view.unit} in {options.target}; "
        f"{exported.left_out} left out, for fewer than {k} votes say so{named}",
        options.format,
        file=str(options.target),
        dataset=view.name,
        rows=exported.rows,
        k=k,
        fewer_than_k=exported.left_out,
        names_a_person=exported.named,
    )


def _increment(options: argparse.Namespace, settings: Settings, k: int, names: Names | None, console: Console) -> None:
    if options.votes:
        raise ExportError("--since-last counts the votes of each answer; leave --votes out")
    now = datetime.datetime.now(datetime.UTC)
    closed = days.last_closed_day(now, settings.labeled_retention_hours)
    with source_of(settings) as source, _progress(console, "votes") as advance:
        added = export_increment(source, k, options.target, closed, advance, names)
    file = None if added.path is None else str(options.target / added.path)
    if file is None:
        opens = days.closes_at(now.date(), settings.labeled_retention_hours)
        sentence = nothing_of_closed_days(added, closed, opens, options.target)
    else:
        named = f", {added.exported.named} because they name a person" if names else ""
        left = f"{added.exported.left_out} for answers that fewer than {k} gave{named}"
        sentence = f"{added.exported.rows} answers in {file}; votes left out: {left}"
    if added.late:
        sentence += f"\nnote: {added.late} votes of days that are in files came later; no file will have them"
    print_report(
        sentence,
        options.format,
        file=file,
        dataset=INCREMENT.name,
        rows=added.exported.rows,
        k=k,
        fewer_than_k=added.exported.left_out,
        names_a_person=added.exported.named,
        mark=added.mark,
        closed=closed,
        rows_of_all=added.rows_of_all,
        late=added.late,
    )


def nothing_of_closed_days(
    added: Increment, closed: datetime.date, today_closes: datetime.datetime, target: Path
) -> str:
    """Pure: why an increment added no file, and when the first one comes."""
    until = f"until {closed}, the last that is closed"
    if added.mark is None:
        return f"nothing yet: there are no votes of days {until}; {_exported_from('votes', today_closes)}"
    if added.mark < closed:
        return f"nothing new: no votes of days {until}, are stored any more; those until {added.mark} are in {target}"
    return f"nothing new: of the days {until}, all are in {target}"


def nothing_of_days(added: Added, dataset: ByDay, today_closes: datetime.datetime, target: Path) -> str:
    """Pure: why an export by day added no file, and when the first one comes."""
    until = f"until {added.closed}, the last that is over"
    shown = f"`unjoin query` shows the {dataset.unit} of younger ones"
    if added.mark is None:
        return (
            f"nothing yet: there are no {dataset.unit} of days {until}; "
            f"{_exported_from(dataset.unit, today_closes)}; {shown}"
        )
    return f"nothing new: of the days {until}, all are in {target}; {shown}"


def _exported_from(unit: str, today_closes: datetime.datetime) -> str:
    return f"today's {unit} can be exported from {today_closes:%Y-%m-%d %H:%M} UTC on"


def _by_day(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    dataset = SIGNALS if options.dataset == "signals" else FEATURES
    now = datetime.datetime.now(datetime.UTC)
    try:
        with source_of(settings) as source, _progress(console, "days") as advance:
            added = export_by_day(source, dataset, options.target, now, advance)
    except OSError as error:
        raise ExportError(f"{options.target} cannot be written: {error.strerror or error}") from None
    sentence = nothing_of_days(added, dataset, signal_views.closes_at(dataset, now.date()), options.target)
    if added.files:
        sentence = (
            f"{added.rows} {dataset.unit} in {added.files} new files of {options.target}\n"
            "identified: they name site and session, and neither retention nor erasure reaches these files"
        )
    if added.late:
        sentence += f"\nnote: {added.late} {dataset.unit} of days before came later; no file will have them"
    if added.missing:
        sentence += f"\nnote: {added.missing} files of {options.target} were deleted; their days are in no other file"
    print_report(
        sentence,
        options.format,
        folder=str(options.target),
        dataset=options.dataset,
        rows=added.rows,
        files=added.files,
        closed=added.closed,
        late=added.late,
        mark=added.mark,
        missing=added.missing,
    )
    return 0


@contextmanager
def _progress(console: Console, unit: str) -> Iterator[Advance]:
    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_on(console, *columns) as progress:
        bar = progress.add_task(unit, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)
