"""What a run found: a row a round, summed up a fault and part."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from faults.chaos.freshness import percentile
from faults.chaos.judge import Finding


class RoundResult(msgspec.Struct, kw_only=True):
    """One round.

    Attributes:
        acknowledged, stored: events first sent in it; both as of the scenario's end.
        unacknowledged: events never answered, stored or not.
        rejected: events answered with a reason.
        lost, doubled: as `judge` says.
        seconds_to_recover: from the fault, or from its end where it lasts, to the first marker of every table that was
            sent after that and came through in normal time; None where none did.
        last_table: the one whose marker came last.
        end_to_end_s: of the markers sent in the 60 s after the fault began, until the next one; to a tenth.
        resent: batches sent more than once.
    """

    seed: int
    number: int
    part: str
    fault: str
    environment: str
    crowd_min: int
    note: str = ""
    acknowledged: int = 0
    unacknowledged: int = 0
    rejected: int = 0
    resent: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    seconds_to_recover: float | None = None
    last_table: str = ""
    seconds: float = 0.0
    end_to_end_s: list[float] = []


def line_of(result: RoundResult) -> dict[str, object]:
    """A round as a line of chaos.csv, its times end to end as `0.4x12`: twelve markers took 0.4 s."""
    times = Counter(result.end_to_end_s)
    line = msgspec.to_builtins(result)
    return {**line, "end_to_end_s": " ".join(f"{seconds:.1f}x{times[seconds]}" for seconds in sorted(times))}


def round_of(line: Mapping[str, str]) -> RoundResult:
    """A line of chaos.csv as a round."""
    counted = (cell.split("x") for cell in line["end_to_end_s"].split())
    times = [float(seconds) for seconds, count in counted for _ in range(int(count))]
    filled = {name: cell for name, cell in line.items() if cell}
    return msgspec.convert({**filled, "end_to_end_s": times}, RoundResult, strict=False)


class Run(msgspec.Struct, kw_only=True):
    """Everything that one call found.

    Attributes:
        normal_seconds: per scenario, within which a marker counts as in time; from the load before the first fault.
        audits: what `unjoin audit` said at the end of each scenario.
        merged_parts: parts that a merge made, of tables whose merges were held still: none, or doubles may have hidden.
        restarts: what ended by itself and was started again, in a cluster.
        failures: whatever else was not as it must be.
    """

    seed: int
    rounds_asked: int
    stop_seconds: float
    rate: float
    rounds: list[RoundResult] = []
    findings: list[Finding] = []
    failures: list[str] = []
    normal_seconds: list[float] = []
    merged_parts: int = 0
    physical_rows: int = 0
    records: int = 0
    server_rows: int = 0
    statuses: dict[str, int] = {}
    skipped: list[str] = []
    audits: list[str] = []
    restarts: list[str] = []
    seconds: float = 0.0
    machine: str = ""

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing doubled, everything recovered."""
        return not self.findings and not self.failures and not self.merged_parts


def kills_end_to_end_p95(run: Run) -> float | None:
    """Seconds, of all markers sent within 60 s of a SIGKILL and before the next fault.

    Two brokers of three are another matter: nothing comes through for as long as they are away.
    """
    kills = [found for found in run.rounds if found.fault == "SIGKILL" and found.part != "majority"]
    return percentile([one for found in kills for one in found.end_to_end_s], 95)


class Row(msgspec.Struct, kw_only=True):
    """One fault of one part, over its rounds; or all of them."""

    part: str
    fault: str
    rounds: int
    acknowledged: int
    stored: int
    lost: int
    doubled: int
    recover_median: float | None
    recover_p95: float | None
    recover_max: float | None
    end_to_end_p95: float | None

    @property
    def bound(self) -> float | None:
        """With 95 % confidence at most this share of such rounds loses or doubles anything, where none did.

        None where one did, and of three rounds or fewer, which say nothing about a share.

        Source: the rule of three, Hanley and Lippman-Hand, 1983.
        """
        return 3 / self.rounds if self.rounds > 3 and not self.lost and not self.doubled else None


def rows_of(run: Run) -> list[Row]:
    """A row a part and fault, in the order of the plan's kinds, and all of them last."""
    of_kind: defaultdict[tuple[str, str], list[RoundResult]] = defaultdict(list)
    for one in run.rounds:
        of_kind[one.part, one.fault].append(one)
    rows = [_row(part, fault, rounds) for (part, fault), rounds in sorted(of_kind.items())]
    return [*rows, _row("all", "", run.rounds)] if run.rounds else []


def _row(part: str, fault: str, rounds: Iterable[RoundResult]) -> Row:
    rounds = list(rounds)
    recovered = [math.inf if one.seconds_to_recover is None else one.seconds_to_recover for one in rounds]
    return Row(
        part=part,
        fault=fault,
        rounds=len(rounds),
        acknowledged=sum(one.acknowledged for one in rounds),
        stored=sum(one.stored for one in rounds),
        lost=sum(one.lost for one in rounds),
        doubled=sum(one.doubled for one in rounds),
        recover_median=percentile(recovered, 50),
        recover_p95=percentile(recovered, 95),
        recover_max=percentile(recovered, 100),
        end_to_end_p95=percentile([seconds for one in rounds for seconds in one.end_to_end_s], 95),
    )
