"""`unjoin erase`: asks that everything of a person is deleted, everywhere, and shows how far such requests are.

The call only writes the request down, durably; sinks do what it asks, also after this process has ended, and collectors
refuse what is still sent. Two requests about one person, or one request written twice, do no harm.

    UnjoinError
    └── EraseError   nothing was asked for: the text says what is missing, and never names the person
"""

import argparse
import asyncio
import datetime
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.status import Status

from schemas.outcomes import UnjoinError
from schemas.subjects.erasures import MEANS, SALT_BYTES, TABLES, Erasure, State, erasure_of
from schemas.subjects.selectors import Selector, SelectorError
from sinks.erasure.rows import Rows
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.output import Cell, print_table, say
from unjoin.query import QueryError
from unjoin.settings import Settings
from unjoin.subjects.arguments import selector_as_stored, selector_named
from unjoin.subjects.requests import Requests, requests_of
from unjoin.subjects.stored_rows import SelectJson, SubjectError, iso, rows_of
from unjoin.terminal import escaped

FOLLOW_SECONDS = 0.5
LINES_MAX = 100_000
LINES_SHOWN_MAX = 20
WHY_LABELS_STAY = (
    "Answers to tasks stay: what ties one to a person was replaced by a number of a day's key before it was stored, "
    "and the key is destroyed, so that nobody can tell whose they are. On their way there they live for hours."
)
OUT_OF_REACH = "Out of reach: events that wait in an SDK, backups, and what others were given."


class EraseError(UnjoinError):
    """Nothing was asked for."""


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One person of a file, as JSON: a session with its site, an account, or an e-mail."""

    session: str | None = None
    site: str | None = None
    account: str | None = None
    email: str | None = None


def run_erase(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    """Asks for an erasure, or lists them; the exit code.

    Raises:
        EraseError, SelectorError, RequestsError: nothing was asked for.
    """
    if options.list:
        _show(asyncio.run(_listed(settings)), options.format)
        return 0
    selectors = _selectors(options)
    if options.format != "table":
        console = Console(stderr=True)
    made = asyncio.run(_erase(settings, selectors, options, console))
    if options.format != "table":
        _show(made, options.format)
    return 0


def _selectors(options: argparse.Namespace) -> dict[Selector, int]:
    """Whom a call is about, each with the number of the line that names them first; 0 without a file."""
    if options.file is None:
        return {selector_named(options): 0}
    try:
        lines = options.file.read_bytes().splitlines()
    except OSError as error:
        raise EraseError(f"{options.file} cannot be read: {error.strerror}") from None
    if len(lines) > LINES_MAX:
        raise EraseError(f"{options.file} has more than {LINES_MAX} lines; split it")
    found: dict[Selector, int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                one = msgspec.json.decode(line, type=Line)
                found.setdefault(selector_as_stored(one.session, one.site, one.account, one.email), number)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise EraseError(f"line {number} of {options.file} is no JSON object of a selector") from None
            except SelectorError as error:
                raise EraseError(f"line {number} of {options.file}: {error}") from None
    if not found:
        raise EraseError(f"{options.file} names nobody")
    return found


async def _listed(settings: Settings) -> list[Erasure]:
    async with requests_of(kafka_access_of(settings)) as requests:
        return sorted(requests.newest.values(), key=lambda one: (one.asked_at_ms, one.id))


async def _erase(
    settings: Settings, selectors: Mapping[Selector, int], options: argparse.Namespace, console: Console
) -> list[Erasure]:
    def say(text: str) -> None:
        console.print(escaped(text), markup=False, highlight=False, soft_wrap=True)

    async with requests_of(kafka_access_of(settings)) as requests:
        # One salt for all, so that whoever looks a person up computes one digest.
        salts = [one.salt for one in requests.newest.values() if one.salt]
        salt = bytes.fromhex(salts[-1]) if salts else secrets.token_bytes(SALT_BYTES)
        now_ms = time.time_ns() // 1_000_000
        made = [
            erasure_of(one, id=secrets.token_hex(8), reference=options.reference or "", salt=salt, now_ms=now_ms)
            for one in selectors
        ]
        lines = {request.id: line for request, line in zip(made, selectors.values(), strict=True)}
        for text in _confirmed(settings, made, lines, sure=options.yes):
            say(text)
        await requests.add(made)
        for one in made[:1]:
            more = f" and {len(made) - 1} more" * (len(made) > 1)
            say(f"accepted: request {one.id}{more}; `unjoin erase --list` says how far")
        if not options.no_wait:
            await _follow(requests, {one.id for one in made}, console)
            deleted = [requests.newest[one.id].deleted for one in made]
            say(f"deleted: {_counts(_sums(deleted)) or 'no rows'}. {MEANS[State.ROWS_DELETED].capitalize()}")
        say(WHY_LABELS_STAY)
        say(OUT_OF_REACH)
        return [requests.newest.get(one.id, one) for one in made]


def _confirmed(settings: Settings, made: Sequence[Erasure], lines: Mapping[str, int], *, sure: bool) -> list[str]:
    """What would go, as sentences.

    Args:
        lines: by id, the line of a file that a request comes from; 0 where there is none.

    Raises:
        EraseError: one matches nothing, or it is most of a table, or cannot be told, and nobody said that it may be so.
    """
    try:
        with rows_of(settings) as select:
            found = Rows(lambda sql: select(sql.removesuffix(" SETTINGS final = 0"))).find(made)
            rows = _sums(list(found.values()))
            wide = [table for table, count in rows.items() if 2 * count > _total(select, table)]
    except (QueryError, SubjectError) as error:
        if not sure:
            raise EraseError(f"how much would go cannot be told: {error}; with --yes it is asked for anyway") from None
        return ["how much will go cannot be told, since ClickHouse does not answer"]
    people = f"{len(made)} selectors match" if len(made) > 1 else "the selector matches"
    nowhere = [one for one in made if not any(found.get(one.id, {}).values())]
    tables = sorted({table for one in nowhere for table in TABLES[one.kind]})
    said = [f"{people} {_counts(rows) or 'no row of ' + ', '.join(tables)}"]
    if nowhere and len(made) > 1:
        said.append(f"{_lines([lines[one.id] for one in nowhere])} no row of {', '.join(tables)}")
    why = []
    if nowhere:
        why.append("is it spelled as it was sent? With --yes it is asked for anyway, for what is still on its way")
    if wide:
        why.append(f"more than half of {', '.join(wide)}; --yes says that it may be so")
    if why and not sure:
        raise EraseError(f"{'; '.join(said)}: {'. And '.join(why)}")
    return said


def _lines(numbers: Sequence[int]) -> str:
    """Lines of a file as the subject of a sentence whose object follows."""
    if len(numbers) == 1:
        return f"line {numbers[0]} matches"
    more = f" and {len(numbers) - LINES_SHOWN_MAX} more" * (len(numbers) > LINES_SHOWN_MAX)
    return f"lines {', '.join(map(str, numbers[:LINES_SHOWN_MAX]))}{more} match"


def _total(select: SelectJson, table: str) -> int:
    return int(msgspec.json.decode(select(f"SELECT count() AS n FROM unjoin.{table}"))["n"])  # noqa: S608  our own name


async def _follow(requests: Requests, ids: set[str], console: Console) -> None:
    """Returns once no row of theirs is left; whoever does not want to wait may leave."""
    text = "deleting rows; the request stands, whether this waits or not"
    with Status(text, console=console):
        while any(requests.newest[one].state is State.ACCEPTED for one in ids):
            await asyncio.sleep(FOLLOW_SECONDS)
            await requests.read()


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    tables = sorted({table for one in counts for table in one})
    sums = {table: sum(one.get(table, 0) for one in counts) for table in tables}
    return {table: count for table, count in sums.items() if count}


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count} row{'s' * (count != 1)} of {table}" for table, count in rows.items())


def _show(erasures: Sequence[Erasure], form: str) -> None:
    """A row a request: `since` when it is in its state, and how many rows are gone; JSON says more of each."""
    fields = [field for field in Erasure.__struct_fields__ if field != "salt"]
    document = []
    cells: list[list[Cell]] = []
    why: Counter[tuple[State, str]] = Counter()
    for one in erasures:
        since = one.at_ms.get(str(one.state), one.asked_at_ms)
        gone = sum(one.deleted.values())
        why[one.state, one.waits_for] += 1
        figures = {"since": iso(since), "rows_gone": gone}
        document.append({**{name: getattr(one, name) for name in fields}, "means": MEANS[one.state], **figures})
        shown = _time(since) if form == "table" else iso(since)
        more = [one.waits_for, MEANS[one.state]] if form == "csv" else []  # a table says it once, below
        cells.append([one.id, one.reference, one.kind, str(one.state), shown, gone, *more])
    names = ["request", "reference", "about", "state", "since (UTC)", "rows gone"]
    if form == "csv":
        names = ["id", "reference", "kind", "state", "since", "rows_gone", "waits_for", "means"]
    print_table(names, cells, form, document=document)
    if form == "table":
        for (state, waits_for), count in why.items():
            say(f"{count} {state}: {MEANS[state]}{f'; waiting for {waits_for}' * bool(waits_for)}")


def _time(unix_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(unix_ms / 1_000, datetime.UTC):%Y-%m-%d %H:%M:%S}"
