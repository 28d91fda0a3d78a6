"""Compares the ledger and the log with the rows, after a round and at a scenario's end."""

from collections.abc import Iterable, Iterator, Sequence

from faults.chaos.judge import Finding, doubled, lost, unstored
from faults.chaos.ledger import TABLES, Batch, Ledger, round_of
from faults.chaos.log import LogTail
from faults.chaos.results import RoundResult, Run
from faults.chaos.rows import RowCounts


class Comparison:
    """Compares within one scenario; every finding goes to the run once."""

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self._run, self._ledger = run, ledger
        self._noted: set[tuple[str, str, str, str]] = set()

    def note_doubles(self, log: LogTail, counts: RowCounts, seen_twice: Iterable[str] = ()) -> None:
        """Notes events of `counts` that have more rows than records.

        Args:
            seen_twice: answer to `seen_twice_sql` in TabSeparated.
        """
        for table in TABLES:
            records = log.records[table]
            for event, copy in doubled(records, counts[table]):
                positions = records.get(event, {}).get(copy, [])
                rows = counts[table][event][copy]
                self._note("doubled", table, event, f"{rows} rows of {len(positions)} records", positions)
        for line in seen_twice:
            table, event, seen = line.split("\t")
            positions = _flat(log.records[table].get(event, {}).values())
            self._note("doubled", table, event, f"{seen} rows with FINAL", positions)

    def note_lost(self, log: LogTail, counts: RowCounts) -> None:
        """Notes what is missing; called once everything had time to arrive."""
        for table in TABLES:
            records = log.records[table]
            gone = set(lost(_acknowledged(self._ledger.batches, table), counts[table]))
            for event in sorted(gone):
                positions = _flat(records.get(event, {}).values())
                where = "on its topic" if positions else "not on its topic"
                self._note("lost", table, event, f"acknowledged; {where}", positions)
            for event, copy in unstored(records, counts[table]):
                if event not in gone:
                    self._note("lost", table, event, "a record without a row", records[event][copy])

    def note_server(self, log: LogTail, rows: dict[str, int]) -> None:
        """The second sink's server, whose table tells no copies apart.

        Args:
            rows: physical ones, by event.
        """
        for event in _acknowledged(self._ledger.batches, "signals"):
            if event not in rows:
                self._note("lost", "server", event, "acknowledged; not on the server", [])
        for event, count in rows.items():
            copies = len(_flat(log.records["signals"].get(event, {}).values()))
            if count > copies:
                self._note("doubled", "server", event, f"{count} rows of {copies} records", [])

    def add_up(self, results: Sequence[RoundResult], counts: RowCounts) -> None:
        """Fills in what became of the events that were first sent in each round."""
        of_round = {result.number: result for result in results}
        for batch in self._ledger.batches:
            if (result := of_round.get(batch.round)) is None:
                continue
            result.resent += batch.tries > 1
            result.rejected += batch.rejected
            if batch.acknowledged_at is None:
                result.unacknowledged += batch.size
            else:
                result.acknowledged += batch.size
                result.stored += batch.size - missing_of(batch, counts)
        for finding in self._run.findings:
            if (result := of_round.get(finding.round)) is not None:
                result.lost += finding.what == "lost"
                result.doubled += finding.what == "doubled"

    def _note(self, what: str, table: str, event: str, detail: str, positions: list[tuple[int, int]]) -> None:
        if (what, table, event, detail) not in self._noted:
            self._noted.add((what, table, event, detail))
            number = 0 if event.startswith("z.") else round_of(event)
            self._run.findings.append(Finding(what, table, number, detail, tuple(positions)))


def missing_of(batch: Batch, counts: RowCounts) -> int:
    """How many events of a batch have no row."""
    return sum(event not in counts[table] for table, ids in batch.ids.items() for event in ids)


def _acknowledged(batches: Iterable[Batch], table: str) -> Iterator[str]:
    for batch in batches:
        if batch.acknowledged_at is not None:
            yield from batch.ids.get(table, ())


def _flat(found: Iterable[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    return [one for positions in found for one in positions]
