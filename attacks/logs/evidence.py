"""The attack: which records a crowd was made of, whose they were, and which label each of them became. Pure.

Every record of the labeled topic is somebody's by the signals that were received at its moment. A batch of released
labels is made of the records between two commits (or two scrapes). Content then weighs which label is which record: how
many strokes went with an answer of that length; where the hand was last seen before, and first seen after, that button
was the answer; how long the record is. The weights are learned from half of the batches, of which the attacker is told
all; naive Bayes. Each batch is a matching of labels and records: Sinkhorn's iterations make marginals of it, summed
over sessions.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from attacks.linkage.attackers import nearest
from attacks.linkage.bounds import Share, share
from attacks.linkage.traffic import ANSWERS
from attacks.logs.holdings import Holdings, LoggedDay, Told
from processors.masking.canonical import canonical

MARGIN = 0.01
CONFIDENCE = 0.995  # of each side, for an interval of 99 %
RECEIVED_TO_APPENDED_MS = 4.0
CELL_PX = 64
LENGTHS_MAX, STROKES_SHOWN_MAX = 60, 80
SMOOTHING = 2.0
ROUNDS = 12
NOWHERE = -1

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


class Attacker:
    """Holds a day's logs, and is told the truth of every second batch to learn from."""

    def __init__(self, day: LoggedDay) -> None:
        self._day = day
        self._told_index = _nearest_told(day.holdings)
        self._sessions, self._session_of = np.unique(
            [day.holdings.told[index].session for index in self._told_index.tolist()], return_inverse=True
        )

    def outcomes(self) -> list[Outcome]:
        """Every attack."""
        holdings = self._day.holdings
        commits, scrapes = batches_by_offset(holdings), batches_by_time(holdings)
        return [
            self.voters(),
            self.by_reading(commits),
            self.by_times("released batches, commits, times", commits),
            self.by_content("the same and content of signals", commits),
            self.by_content("scrapes every second, times and content", scrapes),
        ]

    def voters(self) -> Outcome:
        """Voter -> session by the times of requests; where no voter can be read, none is joined."""
        votes: dict[str, Counter[str]] = {}
        for entry, session in zip(self._day.holdings.entries, self._session_of.tolist(), strict=True):
            if entry.voter:
                votes.setdefault(entry.voter, Counter())[str(self._sessions[session])] += 1
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
            for record in batch.records.tolist():
                entry = holdings.entries[record]
                if entry.task:
                    of.setdefault((entry.task, canonical(entry.answer)), Counter())[int(self._session_of[record])] += 1
            busiest = _busiest(self._session_of[batch.records])
            keys = [(holdings.rows[row].task, holdings.rows[row].answer) for row in batch.rows.tolist()]
            return np.array([of[key].most_common(1)[0][0] if key in of else busiest for key in keys])

        return self._judged("append times + crowd ranges: label to session", batches, guess)

    def by_times(self, name: str, batches: Sequence[Batch]) -> Outcome:
        """The session with most records in the range: times alone."""
        return self._judged(
            name, batches, lambda batch: np.full(len(batch.rows), _busiest(self._session_of[batch.records]))
        )

    def by_content(self, name: str, batches: Sequence[Batch]) -> Outcome:
        """The session that the content makes most likely."""
        weights = Weights(
            self._day, self._told_index, [batch for number, batch in enumerate(batches) if number % 2 == 0]
        )

        def guess(batch: Batch) -> Ints:
            odds = marginals(weights.of(batch))
            members, place = np.unique(self._session_of[batch.records], return_inverse=True)
            summed = np.zeros((len(batch.rows), len(members)))
            np.add.at(summed.T, place, odds.T)
            return members[summed.argmax(axis=1)]

        return self._judged(name, batches, guess)

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

    def __init__(self, day: LoggedDay, told_index: Ints, batches: Sequence[Batch]) -> None:
        holdings, truth = day.holdings, day.truth
        told = holdings.told
        strokes = np.array([told[index].strokes for index in told_index.tolist()]).clip(0, STROKES_SHOWN_MAX)
        self._strokes = strokes
        following = _following(told)
        self._place = np.array([_cell(told[index].last) for index in told_index.tolist()])
        self._left = np.array([_cell(following[index]) for index in told_index.tolist()])
        self._size = np.unique([entry.value_bytes for entry in holdings.entries], return_inverse=True)[1]
        self._size = np.minimum(self._size, LENGTHS_MAX)
        self._answer = np.array([_closed(row.kind, row.answer) for row in holdings.rows])
        self._length = np.array([min(len(row.answer), LENGTHS_MAX) for row in holdings.rows])
        self._typed = np.where(self._answer == len(ANSWERS), self._length // 4, -1) + 1
        self._surplus = _Table(STROKES_SHOWN_MAX + LENGTHS_MAX + 1, 1)
        self._tables = {
            "place": (_Table(self._answer.max() + 1, self._place.max() + 1), self._answer, self._place),
            "left": (_Table(self._answer.max() + 1, self._left.max() + 1), self._answer, self._left),
            "strokes": (_Table(self._typed.max() + 1, 22), self._typed, strokes // 4),
            "size": (_Table(self._typed.max() + 1, self._size.max() + 1), self._typed, self._size),
        }
        for batch in batches:
            rows, records = batch.rows, np.array([truth.entry[row] for row in batch.rows.tolist()])
            for table, of_row, of_record in self._tables.values():
                table.learn(of_row[rows], of_record[records], of_record[batch.records])
            is_typed = self._typed[rows] > 0
            differences = strokes[records] - self._length[rows] + LENGTHS_MAX
            any_pair = strokes[batch.records][:, None] - self._length[rows[is_typed]][None, :] + LENGTHS_MAX
            self._surplus.learn_differences(differences[is_typed], any_pair.ravel())

    def of(self, batch: Batch) -> Floats:
        """(labels, records)."""
        weight = np.zeros((len(batch.rows), len(batch.records)))
        for table, of_row, of_record in self._tables.values():
            weight += table.weight()[np.ix_(of_row[batch.rows], of_record[batch.records])]
        is_typed = self._typed[batch.rows] > 0
        differences = self._strokes[batch.records][None, :] - self._length[batch.rows][:, None] + LENGTHS_MAX
        # Strokes of typed answers are weighed exactly instead of by bucket: the finer of the two counts.
        weight[is_typed] += self._surplus.weight_of_differences()[differences[is_typed]]
        return weight


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


def marginals(weight: Floats) -> Floats:
    """Of each label, how likely it is each record, given that no two labels are one record."""
    odds = np.exp(weight - weight.max(axis=1, keepdims=True)) + 1e-12
    for _ in range(ROUNDS):
        odds /= odds.sum(axis=1, keepdims=True)
        columns = odds.sum(axis=0, keepdims=True) * odds.shape[1] / odds.shape[0]
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


def _nearest_told(holdings: Holdings) -> Ints:
    """Of each record, the signals received nearest to the moment at which it must have been."""
    order = np.argsort([told.received_at_ms for told in holdings.told], kind="stable")
    times = np.array([told.received_at_ms for told in holdings.told])[order]
    wanted = np.array([entry.appended_at_ms for entry in holdings.entries]) - RECEIVED_TO_APPENDED_MS
    found: Ints = order[nearest(times, wanted)]
    return found


def _busiest(sessions: Ints) -> int:
    return int(np.bincount(sessions).argmax())


def _following(told: Sequence[Told]) -> list[tuple[float, float] | None]:
    """Of each, the first place that its session told next: where the hand was seen leaving."""
    found: list[tuple[float, float] | None] = [None] * len(told)
    previous: dict[str, int] = {}
    for index in sorted(range(len(told)), key=lambda index: told[index].received_at_ms):
        before = previous.get(told[index].session)
        if before is not None:
            found[before] = told[index].first
        previous[told[index].session] = index
    return found


def _cell(place: tuple[float, float] | None) -> int:
    """A place on the page as a number; 0 where none was told."""
    if place is None:
        return 0
    x, y = place
    return 1 + int(np.clip(x // CELL_PX, 0, 29)) + 30 * int(np.clip(y // CELL_PX, 0, 19))


def _closed(kind: str, answer: str) -> int:
    """Which button an answer was; one past the last for what is typed."""
    return ANSWERS.index(answer) if kind == "image_label" and answer in ANSWERS else len(ANSWERS)
