"""What became of simulated traffic, counted as answers come in. Pure."""

import math
from collections import Counter

import msgspec

from schemas.events import AudioTranscript, ImageLabel, TextAnswer, Verdict
from unjoin.simulator.traffic import SimulatedBatch


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent and what was acknowledged; sent = accepted + rejected + unknown.

    Attributes:
        started_ms: Unix milliseconds; no event is later.
        unknown: events of batches that nobody acknowledged: they may or may not be stored.
        accepted: events, by category; verdicts are of category `labeled`.
        accepted_by_type: events, by type.
        votes: distinct (session, task, UTC day) among accepted answers: the rows of `labels`.
        votes_judged_bot: those of them whose session a verdict of that day calls not human: the door drops them.
        tasks: distinct tasks among accepted answers.
        sessions: those with an accepted event; the server's own is not counted.
        requests: posts of a batch, resends included.
        retries: requests, by HTTP status or `no_answer`.
        latency_ms: p50, p95, p99 and max of acknowledged posts, from sending to the whole answer.
        last_acknowledged_ms: Unix milliseconds, 0 for never.
    """

    started_ms: int
    sent: int
    unknown: int
    accepted: dict[str, int]
    accepted_total: int
    accepted_by_type: dict[str, int]
    rejected: dict[str, int]
    rejected_total: int
    votes: int
    votes_judged_bot: int
    tasks: int
    sessions: int
    requests: int
    retries: dict[str, int]
    retries_total: int
    duration_seconds: float
    events_per_second: float
    latency_ms: dict[str, float]
    last_acknowledged_ms: int


class TrafficCounts:
    """Counts one run."""

    def __init__(self, started_ms: int) -> None:
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.answered = 0
        self._started_ms = started_ms
        self._by_type: Counter[str] = Counter()
        self._votes: set[tuple[str, str, int]] = set()
        self._judged: set[tuple[str, int]] = set()
        self._sessions: set[str] = set()
        self._latencies: list[float] = []
        self._sent = 0
        self._last_acknowledged_ms = 0

    def send(self, batch: SimulatedBatch) -> None:
        """A batch is on its way for the first time."""
        self._sent += len(batch.events)

    def retry(self, cause: str) -> None:
        """A post was not acknowledged and the batch goes again."""
        self.retries[cause] += 1

    def acknowledge(self, batch: SimulatedBatch, refused: dict[int, str], latency_seconds: float, now_ms: int) -> None:
        """A batch was answered.

        Args:
            refused: index in the batch to reason.
        """
        self.answered += len(batch.events)
        self.rejected.update(refused.values())
        self._latencies.append(latency_seconds)
        self._last_acknowledged_ms = max(self._last_acknowledged_ms, now_ms)
        for index, event in enumerate(batch.events):
            if index in refused:
                continue
            self.accepted[event.category] += 1
            self._by_type[str(event.__struct_config__.tag)] += 1
            if isinstance(event, ImageLabel | AudioTranscript | TextAnswer):
                self._votes.add((batch.session, event.task, _day(event.ts)))
            elif isinstance(event, Verdict) and not event.human:
                self._judged.add((event.session, _day(event.ts)))
        if batch.key == "browser" and len(refused) < len(batch.events):
            self._sessions.add(batch.session)

    def summary(self, duration_seconds: float) -> Summary:
        """The figures so far."""
        latencies = sorted(self._latencies)
        return Summary(
            started_ms=self._started_ms,
            sent=self._sent,
            unknown=self._sent - self.answered,
            accepted=dict(sorted(self.accepted.items())),
            accepted_total=self.accepted.total(),
            accepted_by_type=dict(sorted(self._by_type.items())),
            rejected=dict(sorted(self.rejected.items())),
            rejected_total=self.rejected.total(),
            votes=len(self._votes),
            votes_judged_bot=sum((session, day) in self._judged for session, _, day in self._votes),
            tasks=len({task for _, task, _ in self._votes}),
            sessions=len(self._sessions),
            requests=len(latencies) + self.retries.total(),
            retries=dict(sorted(self.retries.items())),
            retries_total=self.retries.total(),
            duration_seconds=round(duration_seconds, 3),
            events_per_second=round(self.answered / max(duration_seconds, 1e-3), 1),
            latency_ms={
                name: round(1_000 * _percentile(latencies, share), 2)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
            },
            last_acknowledged_ms=self._last_acknowledged_ms,
        )


def summary_rows(summary: Summary) -> list[tuple[str, str | int | float, str]]:
    """The summary for people: what, how many, and a note."""
    p50, p95 = summary.latency_ms["p50"], summary.latency_ms["p95"]
    return [
        ("sent", summary.sent, f"{summary.sessions:,} sessions, {summary.requests:,} requests"),
        *((f"accepted {category}", count, "") for category, count in summary.accepted.items()),
        ("votes", summary.votes, f"distinct session, task and day; {summary.tasks:,} tasks"),
        *([("votes of bots", summary.votes_judged_bot, "of these, judged not human")] * bool(summary.votes_judged_bot)),
        *((f"rejected {reason}", count, "") for reason, count in summary.rejected.items()),
        *((f"resent after {cause}", count, "requests") for cause, count in summary.retries.items()),
        *([("unknown", summary.unknown, "never acknowledged: stored or not")] * bool(summary.unknown)),
        ("seconds", round(summary.duration_seconds, 1), f"{summary.events_per_second:,.0f} events/s"),
        ("ms to an answer, p50", round(p50, 1), f"p95 {p95:,.1f} ms"),
    ]


def summary_figures(summary: Summary) -> list[tuple[str, str, int | float]]:
    """The summary for programs: a member, of what where it has several figures, and each figure."""
    rows: list[tuple[str, str, int | float]] = []
    for name, value in msgspec.structs.asdict(summary).items():
        rows += [(name, of, figure) for of, figure in value.items()] if isinstance(value, dict) else [(name, "", value)]
    return rows


def _day(ts: int) -> int:
    """The UTC day of Unix milliseconds, counted from 1970."""
    return ts // 86_400_000


def _percentile(ordered: list[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
