"""The attack: which records a crowd was made of, whose they were, and which label each of them became. Pure.

Every record of the labeled topic is somebody's by the signals that were received at its moment; where signals have
requests of their own, it may be anybody's whose signals came within the usual time after it. A batch of released
labels is made of the records between two commits (or two scrapes). Content then weighs which label is which record: how
many strokes went with an answer of that length; where the hand was last seen before, and first seen after, that button
was the answer; how far it went and how long that took; how long the record is; how long ago the session's last request
was. The weights are learned from half of the batches, of which the attacker is told all; naive Bayes. Each batch is a
matching of labels and records: Sinkhorn's iterations make marginals of it, summed over sessions.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from attacks.linkage.attackers import nearest
from attacks.linkage.bounds import Share, share
from attacks.linkage.traffic import ANSWERS
from attacks.logs.holdings import Holdings, LoggedDay, Told, Truth
from processors.masking.canonical import canonical
from unjoin.simulator.sdk_signals import REST_MS

MARGIN = 0.01
CONFIDENCE = 0.995  # of each side, for an interval of 99 %
RECEIVED_TO_APPENDED_MS = 4.0
# Signals whose median is nearer than this to a record's moment are taken to have come with it.
TOGETHER_MS_MAX = 20.0
CELL_PX = 64
STEP_MS = 80.0
LENGTHS_MAX, STROKES_SHOWN_MAX = 60, 80
SMOOTHING = 2.0
ROUNDS = 12

FEATURES = ("place", "left", "far", "last far", "left far", "took", "ways", "strokes", "since", "size")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Batch(msgspec.Struct, frozen=True):
    """Labels that left together, and the records that they were made of, as the attacker sees it.

    Attributes:
        rows: indices of labels.
        records: indices of records of the labeled topic.
    """

    rows: Ints
    records: Ints


class Outcome(msgspec.Struct, frozen=True):
    """What came of one attack.

    Attributes:
        bar: what it may reach at most: what knowing the members alone gives, and a point.
    """

    attack: str
    found: Share
    bar: float

    @property
    def holds(self) -> bool:
        """Whether the upper 99 % bound is at the bar."""
        return self.found.upper <= self.bar

    @property
    def leaks(self) -> bool:
        """Whether the lower 99 % bound is above the bar."""
        return self.found.lower > self.bar


class Candidates:
    """Of each record, the told moments that may be of the page which gave it: one a session, each as likely.

    Attributes:
        told, record: indices, a pair each, by record.
        prior: logarithm of how likely the pair is before any content is weighed.
    """

    def __init__(self, holdings: Holdings) -> None:
        told = holdings.told
        at = np.array([one.received_at_ms for one in told])
        order = np.argsort(at, kind="stable")
        wanted = np.array([entry.appended_at_ms for entry in holdings.entries]) - RECEIVED_TO_APPENDED_MS
        close: Ints = order[nearest(at[order], wanted)]
        found: list[list[int]] = [[index] for index in close.tolist()]
        if np.median(np.abs(at[close] - wanted)) > TOGETHER_MS_MAX:
            apart = _since_last(told)
            window_ms = float(np.quantile(apart[np.isfinite(apart)], 0.99))
            first, last = np.searchsorted(at[order], wanted), np.searchsorted(at[order], wanted + window_ms)
            for record, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
                soonest: dict[str, int] = {}
                for index in order[begin:end].tolist():
                    soonest.setdefault(told[index].session, index)
                found[record] = list(soonest.values()) or found[record]
        counts = np.array([len(some) for some in found])
        self._begins = np.concatenate([[0], np.cumsum(counts)])
        self.told: Ints = np.array([index for some in found for index in some])
        self.record: Ints = np.repeat(np.arange(len(found)), counts)
        self.prior: Floats = -np.log(np.repeat(counts, counts))

    def of(self, records: Ints) -> Ints:
        """Places of the pairs of these records."""
        return np.concatenate([np.arange(self._begins[one], self._begins[one + 1]) for one in records.tolist()])


class Attacker:
    """Holds a day's logs, and is told the truth of every second batch to learn from."""

    def __init__(self, day: LoggedDay) -> None:
        self._day = day
        self._candidates = Candidates(day.holdings)
        names = [one.session for one in day.holdings.told]
        self._sessions, session_of_told = np.unique(names, return_inverse=True)
        self._session_of: Ints = session_of_told[self._candidates.told]

    def outcomes(self) -> list[Outcome]:
        """Every attack."""
        holdings = self._day.holdings
        commits, scrapes = batches_by_offset(holdings), batches_by_time(holdings)
        return [
            self.voters(),
            self.by_reading(commits),
            self.by_times("released batches, commits, times", commits),
            self.by_content("the same and intervals between a session's requests", commits, ("since",)),
            self.by_content("the same and content of signals", commits),
            self.by_content("scrapes every second, times and content", scrapes),
        ]

    def voters(self) -> Outcome:
        """Voter -> session by the times of requests; where no voter can be read, none is joined."""
        votes: dict[str, Counter[str]] = {}
        entries = self._day.holdings.entries
        for record, session in zip(self._candidates.record.tolist(), self._session_of.tolist(), strict=True):
            if voter := entries[record].voter:
                votes.setdefault(voter, Counter())[str(self._sessions[session])] += 1
        truth = self._day.truth.owner_of_voter
        right = sum(counted.most_common(1)[0][0] == truth[voter] for voter, counted in votes.items())
        return Outcome(
            "append times + received_at: voter to session",
            share(right, len(votes) or len(self._sessions), CONFIDENCE),
            MARGIN,
        )

    def by_reading(self, batches: Sequence[Batch]) -> Outcome:
        """Label -> record with the same task and answer in its range -> session; else the busiest of the range."""
        holdings = self._day.holdings

        def guess(batch: Batch) -> Ints:
            of: dict[tuple[str, str], Counter[int]] = {}
            pairs = self._candidates.of(batch.records)
            for record, session in zip(
                self._candidates.record[pairs].tolist(), self._session_of[pairs].tolist(), strict=True
            ):
                entry = holdings.entries[record]
                if entry.task:
                    of.setdefault((entry.task, canonical(entry.answer)), Counter())[session] += 1
            busiest = self._busiest(pairs)
            keys = [(holdings.rows[row].task, holdings.rows[row].answer) for row in batch.rows.tolist()]
            return np.array([of[key].most_common(1)[0][0] if key in of else busiest for key in keys])

        return self._judged("append times + crowd ranges: label to session", batches, guess)

    def by_times(self, name: str, batches: Sequence[Batch]) -> Outcome:
        """The session with most records in the range: times alone."""
        return self._judged(
            name,
            batches,
            lambda batch: np.full(len(batch.rows), self._busiest(self._candidates.of(batch.records))),
        )

    def by_content(self, name: str, batches: Sequence[Batch], features: Sequence[str] = FEATURES) -> Outcome:
        """The session that the content makes most likely, by some features of it."""
        learned = [batch for number, batch in enumerate(batches) if number % 2 == 0]
        weights = Weights(self._day, self._candidates, learned, features)

        def guess(batch: Batch) -> Ints:
            pairs = self._candidates.of(batch.records)
            prior = self._candidates.prior[pairs]
            odds = marginals(weights.of(batch) + prior, np.exp(prior))
            members, place = np.unique(self._session_of[pairs], return_inverse=True)
            summed = np.array([np.bincount(place, row, len(members)) for row in odds])
            return members[summed.argmax(axis=1)]

        return self._judged(name, batches, guess)

    def _busiest(self, pairs: Ints) -> int:
        return int(np.bincount(self._session_of[pairs], np.exp(self._candidates.prior[pairs])).argmax())

    def _judged(self, name: str, batches: Sequence[Batch], guess: Callable[[Batch], Ints]) -> Outcome:
        owner = self._day.truth.owner
        right, tries, largest = 0, 0, 0
        for batch in list(batches)[1::2]:
            owners = [owner[row] for row in batch.rows.tolist()]
            guesses = self._sessions[guess(batch)].tolist()
            right += sum(one == other for one, other in zip(owners, guesses, strict=True))
            tries += len(owners)
            largest += max(Counter(owners).values())
        assert tries, "too few batches left: more answers, or a smaller target"
        return Outcome(name, share(right, tries, CONFIDENCE), largest / tries + MARGIN)


class Weights:
    """Logarithms of how much likelier each pair of label and record is for being one, by what told batches taught."""

    def __init__(
        self, day: LoggedDay, candidates: Candidates, batches: Sequence[Batch], features: Sequence[str]
    ) -> None:
        holdings, truth = day.holdings, day.truth
        told = holdings.told
        self._candidates = candidates
        answer = np.array([_closed(row.kind, row.answer) for row in holdings.rows])
        self._length = np.array([min(len(row.answer), LENGTHS_MAX) for row in holdings.rows])
        self._typed = np.where(answer == len(ANSWERS), self._length // 4, -1) + 1
        strokes = np.array([one.strokes for one in told]).clip(0, STROKES_SHOWN_MAX)
        following = _following(told)
        first = [one.places[0][1:] if one.places else None for one in told]
        ways = [_ways(one) for one in told]
        size = np.unique([entry.value_bytes for entry in holdings.entries], return_inverse=True)[1]
        of_told = {
            "place": (answer, np.array([_cell(one.places[-1][1:] if one.places else None) for one in told])),
            "left": (answer, np.array([_cell(first[next_one]) if next_one >= 0 else 0 for next_one in following])),
            "far": (answer, np.array([_bucket(max((way[0] for way in one), default=-1), CELL_PX) for one in ways])),
            "last far": (answer, np.array([_bucket(one[-1][0] if one else -1, CELL_PX) for one in ways])),
            "left far": (
                answer,
                np.array(
                    [
                        _bucket(ways[next_one][0][0] if next_one >= 0 and ways[next_one] else -1, CELL_PX)
                        for next_one in following
                    ]
                ),
            ),
            "took": (answer, np.array([_bucket(one[-1][1] if one else -1, STEP_MS) for one in ways])),
            "ways": (self._typed, np.array([min(len(one), 29) for one in ways])),
            "strokes": (self._typed, strokes // 4),
            "since": (self._typed, np.array([_bucket(ms, 500) for ms in _since_last(told)])),
        }
        self._strokes = strokes[candidates.told]
        pairs = {name: (rows, values[candidates.told]) for name, (rows, values) in of_told.items()}
        pairs["size"] = (self._typed, np.minimum(size, LENGTHS_MAX)[candidates.record])
        self._tables = {
            name: (_Table(rows.max() + 1, values.max() + 1), rows, values)
            for name, (rows, values) in pairs.items()
            if name in features
        }
        self._surplus = _Table(STROKES_SHOWN_MAX + LENGTHS_MAX + 1, 1) if "strokes" in features else None
        for batch in batches:
            among = candidates.of(batch.records)
            rows, one = self._pairs_that_are_one(batch, told, truth)
            for table, of_row, of_pair in self._tables.values():
                table.learn(of_row[rows], of_pair[one], of_pair[among])
            if self._surplus:
                is_typed = self._typed[rows] > 0
                differences = self._strokes[one] - self._length[rows] + LENGTHS_MAX
                any_pair = self._strokes[among][:, None] - self._length[rows[is_typed]][None, :] + LENGTHS_MAX
                self._surplus.learn_differences(differences[is_typed], any_pair.ravel())

    def of(self, batch: Batch) -> Floats:
        """(labels, pairs of record and told moment)."""
        among = self._candidates.of(batch.records)
        weight = np.zeros((len(batch.rows), len(among)))
        for table, of_row, of_pair in self._tables.values():
            weight += table.weight()[np.ix_(of_row[batch.rows], of_pair[among])]
        if self._surplus:
            is_typed = self._typed[batch.rows] > 0
            differences = self._strokes[among][None, :] - self._length[batch.rows][:, None] + LENGTHS_MAX
            # Strokes of typed answers are weighed exactly instead of by bucket: the finer of the two counts.
            weight[is_typed] += self._surplus.weight_of_differences()[differences[is_typed]]
        return weight

    def _pairs_that_are_one(self, batch: Batch, told: Sequence[Told], truth: Truth) -> tuple[Ints, Ints]:
        rows, pairs = [], []
        for row in batch.rows.tolist():
            for pair in self._candidates.of(np.array([truth.entry[row]])).tolist():
                if told[self._candidates.told[pair]].session == truth.owner[row]:
                    rows.append(row)
                    pairs.append(pair)
        return np.array(rows, int), np.array(pairs, int)


class _Table:
    """Counts of pairs that are one, and of pairs that only might be."""

    def __init__(self, rows: int, columns: int) -> None:
        self._one = np.zeros((rows, columns))
        self._any_record = np.zeros(columns)
        self._any_difference = np.zeros(rows)

    def learn(self, row: Ints, record: Ints, any_record: Ints) -> None:
        np.add.at(self._one, (row, record), 1)
        np.add.at(self._any_record, any_record, 1)

    def learn_differences(self, one: Ints, any_pair: Ints) -> None:
        np.add.at(self._one, (one, 0), 1)
        np.add.at(self._any_difference, any_pair, 1)

    def weight(self) -> Floats:
        base = (self._any_record + 1e-9) / (self._any_record.sum() + 1e-9)
        given = (self._one + SMOOTHING * base) / (self._one.sum(axis=1, keepdims=True) + SMOOTHING)
        weights: Floats = np.log(given / base)
        return weights

    def weight_of_differences(self) -> Floats:
        base = (self._any_difference + 1e-9) / (self._any_difference.sum() + 1e-9)
        given = (self._one[:, 0] + SMOOTHING * base) / (self._one.sum() + SMOOTHING)
        weights: Floats = np.log(given / base)
        return weights


def marginals(weight: Floats, share_of: Floats | None = None) -> Floats:
    """Of each label, how likely it is each pair, given that no two labels are one record.

    Args:
        share_of: of a record, that each pair may take; 1 each without.
    """
    odds = np.exp(weight - weight.max(axis=1, keepdims=True)) + 1e-12
    most = np.ones(odds.shape[1]) if share_of is None else share_of
    for _ in range(ROUNDS):
        odds /= odds.sum(axis=1, keepdims=True)
        columns = odds.sum(axis=0) * most.sum() / (odds.shape[0] * most)
        odds /= np.maximum(columns, 1e-12)
    return odds / odds.sum(axis=1, keepdims=True)


def batches_by_offset(holdings: Holdings) -> list[Batch]:
    """The records of each released batch: from the commit before it to its own, on its partition."""
    places: dict[int, list[tuple[int, int]]] = {}
    for index, entry in enumerate(holdings.entries):
        places.setdefault(entry.partition, []).append((entry.offset, index))
    begun = dict.fromkeys(places, -1)
    batches = []
    for moment in holdings.committed:
        inside = [index for offset, index in places[moment.partition] if begun[moment.partition] <= offset < moment.end]
        begun[moment.partition] = moment.end
        if moment.rows and inside:
            batches.append(Batch(np.array(moment.rows), np.array(inside)))
    return batches


def batches_by_time(holdings: Holdings) -> list[Batch]:
    """The records of each released batch: what was appended since the batch before it was seen."""
    at = np.array([entry.appended_at_ms for entry in holdings.entries])
    batches, begun = [], -np.inf
    for moment in holdings.scraped:
        inside = np.flatnonzero((at >= begun) & (at < moment.at_ms))
        begun = moment.at_ms
        if moment.rows and len(inside):
            batches.append(Batch(np.array(moment.rows), inside))
    return batches


def _following(told: Sequence[Told]) -> list[int]:
    """Of each, what its session told next, as an index: where the hand was seen leaving; -1 for nothing."""
    found = [-1] * len(told)
    previous: dict[str, int] = {}
    for index in sorted(range(len(told)), key=lambda index: told[index].received_at_ms):
        before = previous.get(told[index].session)
        if before is not None:
            found[before] = index
        previous[told[index].session] = index
    return found


def _since_last(told: Sequence[Told]) -> Floats:
    """Of each, milliseconds since its session told something before; infinite for the first."""
    since = np.full(len(told), np.inf)
    for before, index in enumerate(_following(told)):
        if index >= 0:
            since[index] = told[index].received_at_ms - told[before].received_at_ms
    return since


def _ways(told: Told) -> list[tuple[float, float]]:
    """Of each movement between two rests, how far it went, pixels, and how long that took, milliseconds."""
    ways: list[list[tuple[float, float, float]]] = []
    for place in told.places:
        if ways and place[0] - ways[-1][-1][0] < REST_MS:
            ways[-1].append(place)
        else:
            ways.append([place])
    return [(math.hypot(way[-1][1] - way[0][1], way[-1][2] - way[0][2]), way[-1][0] - way[0][0]) for way in ways]


def _bucket(value: float, step: float) -> int:
    """0 for what is not there, then a number for each step, at most 29."""
    return 0 if value < 0 else 1 + min(28, int(min(value, 1e9) // step))


def _cell(place: tuple[float, float] | None) -> int:
    """A place on the page as a number; 0 where none was told."""
    if place is None:
        return 0
    x, y = place
    return 1 + int(np.clip(x // CELL_PX, 0, 29)) + 30 * int(np.clip(y // CELL_PX, 0, 19))


def _closed(kind: str, answer: str) -> int:
    """Which button an answer was; one past the last for what is typed."""
    return ANSWERS.index(answer) if kind == "image_label" and answer in ANSWERS else len(ANSWERS)
