"""`unjoin export`: which way is gone, and what is said at its end."""

import argparse
import datetime
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from unjoin.export.by_day import export_by_day
from unjoin.export.days import last_closed_day
from unjoin.export.files import ExportError
from unjoin.export.increments import export_increment
from unjoin.export.labels import Advance, Names, export_labels
from unjoin.export.signal_views import FEATURES, SIGNALS
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
    closed = last_closed_day(datetime.datetime.now(datetime.UTC), settings.labeled_retention_hours)
    with source_of(settings) as source, _progress(console, "votes") as advance:
        added = export_increment(source, k, options.target, closed, advance, names)
    file = None if added.path is None else str(options.target / added.path)
    sentence = f"nothing new: of the days until {closed}, the last that is closed, all are in {options.target}"
    if file is not None:
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


def _by_day(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    dataset = SIGNALS if options.dataset == "signals" else FEATURES
    try:
        with source_of(settings) as source, _progress(console, "days") as advance:
            added = export_by_day(source, dataset, options.target, datetime.datetime.now(datetime.UTC), advance)
    except OSError as error:
        raise ExportError(f"{options.target} cannot be written: {error.strerror or error}") from None
    sentence = (
        f"nothing new: of the days until {added.closed}, the last that is over, all are in {options.target}; "
        f"`unjoin query` shows the {dataset.unit} of younger ones"
    )
    if added.files:
        sentence = (
            f"{added.rows} {dataset.unit} in {added.files} new files of {options.target}\n"
            "identified: they name site and session, and neither retention nor erasure reaches these files"
        )
    if added.late:
        sentence += f"\nnote: {added.late} {dataset.unit} of days before came later; no file will have them"
    print_report(
        sentence,
        options.format,
        folder=str(options.target),
        dataset=options.dataset,
        rows=added.rows,
        files=added.files,
        closed=added.closed,
        late=added.late,
    )
    return 0


@contextmanager
def _progress(console: Console, unit: str) -> Iterator[Advance]:
    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress_on(console, *columns) as progress:
        bar = progress.add_task(unit, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)
