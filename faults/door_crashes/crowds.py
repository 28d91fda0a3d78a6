"""What the door had to release, computed from the log alone, and whether what it released is that. Pure.

The crowds are those of `processors/door/release.py`, replayed without a crash from the log's beginning. That each of
them is a crowd is counted here anew, from the voters in the log.
"""

import datetime
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

import msgspec

from processors.door.crowd import Crowd, CrowdRule
from processors.door.deidentify import Mask, row_id
from processors.door.records import labeled_of, released_partition
from processors.door.release import Door
from processors.door.verdicts import JudgedVoters
from schemas.events import DeidentifiedLabel, IdentifiedVerdict, Unopened
from schemas.outcomes import DecodeError, Suppression
from schemas.seal import Opener, place_of
from schemas.topics import LABELED


class Logged(msgspec.Struct, frozen=True):
    """One record of the labeled topic."""

    partition: int
    offset: int
    appended_at_ms: int
    value: bytes | None


class ExpectedCrowd(msgspec.Struct, frozen=True):
    """A crowd and the range of the labeled topic that it is.

    Attributes:
        first, end: offsets; `end` is one past the record that completed it.
        voters: of each label.
    """

    partition: int
    first: int
    end: int
    labels: tuple[DeidentifiedLabel, ...]
    voters: tuple[bytes, ...]


class Expected(msgspec.Struct):
    """What the log comes to.

    Attributes:
        crowds: in the order of each labeled partition.
        owner: row_id -> (labeled partition, voter), of every vote in the log.
        verdicts: (labeled partition, voter) -> (offset, human), ascending.
        open_from: labeled partition -> the offset that must be committed: where what is held begins, or the end.
        boundaries: labeled partition -> every offset that may be committed: where nothing before it is held.
        undecodable: values that become dead letters.
    """

    crowds: list[ExpectedCrowd] = []
    owner: dict[str, tuple[int, bytes]] = {}
    verdicts: dict[tuple[int, bytes], list[tuple[int, bool]]] = {}
    suppressed: Counter[Suppression] = Counter()
    labels: int = 0
    held: int = 0
    open_from: dict[int, int] = {}
    boundaries: dict[int, set[int]] = {}
    undecodable: set[bytes | None] = set()

    def close(self, partition: int, offset: int) -> None:
        """Nothing below `offset` is held."""
        self.open_from[partition] = offset
        self.boundaries.setdefault(partition, {0}).add(offset)

    @property
    def row_ids(self) -> set[str]:
        """Row ids of every vote that has to leave."""
        return {label.row_id for crowd in self.crowds for label in crowd.labels}


class Findings(msgspec.Struct, kw_only=True):
    """What was found; the first seven are the bar, and zero.

    Attributes:
        incomplete: released labels that are in no complete crowd.
        too_small: released crowds with too few voters, or one who gave more than half.
        differing: places at which a released partition neither goes on nor repeats a crowd from its beginning.
        unfinished: crowds that were cut by a kill and never left whole.
        lost, doubled: votes.
        bots: labels that left although the last verdict on their voter before said that it is not human.
        cut: crowds that a kill cut, and that left again whole.
        repeats: times that a released partition began to repeat.
    """

    incomplete: int = 0
    too_small: int = 0
    differing: int = 0
    unfinished: int = 0
    lost: int = 0
    doubled: int = 0
    bots: int = 0
    crowds: int = 0
    votes: int = 0
    records_released: int = 0
    cut: int = 0
    repeats: int = 0

    @property
    def holds(self) -> bool:
        """Whether all that must be zero is."""
        zeros = (self.incomplete, self.too_small, self.differing, self.unfinished, self.lost, self.doubled, self.bots)
        return not any(zeros)


def expected_of(
    log: Iterable[Logged], epoch_keys: Callable[[datetime.date], bytes], mask: Mask, rule: CrowdRule
) -> Expected:
    """The crowds of a log whose partitions are in offset order each."""
    expected = Expected()
    opener = Opener(epoch_keys)
    doors: dict[int, Door] = {}
    firsts: dict[int, int] = {}
    for record in log:
        if record.partition not in doors:
            crowd = Crowd(rule)
            doors[record.partition] = Door(epoch_keys, mask, crowd, partition=record.partition, judged=JudgedVoters())
        door = doors[record.partition]
        try:
            said = labeled_of(record.value, record.appended_at_ms, place_of(LABELED, record.partition), opener)
            assert not isinstance(said, Unopened)
        except DecodeError:
            expected.undecodable.add(record.value)
            if door.crowd.empty:
                expected.close(record.partition, record.offset + 1)
            continue
        if door.crowd.empty:
            firsts[record.partition] = record.offset
        if isinstance(said, IdentifiedVerdict):
            key = (record.partition, said.voter)
            expected.verdicts.setdefault(key, []).append((record.offset, said.human))
        else:
            expected.labels += 1
            vote = str(row_id(said.voter, said.task, epoch_keys(said.day)))
            expected.owner[vote] = (record.partition, said.voter)
        step = door.receive(record.offset, record.appended_at_ms, said)
        expected.suppressed.update(step.suppressed)
        if step.labels:
            voters = tuple(expected.owner[label.row_id][1] for label in step.labels)
            first = firsts[record.partition]
            expected.crowds.append(ExpectedCrowd(record.partition, first, record.offset + 1, step.labels, voters))
        if door.crowd.empty:
            expected.close(record.partition, record.offset + 1)
    expected.held = sum(door.crowd.labels for door in doors.values())
    return expected


def findings_of(
    expected: Expected,
    released: Mapping[int, Sequence[DeidentifiedLabel]],
    crowd_min: int,
    follow: "Follow | None" = None,
) -> Findings:
    """Holds the released topic against the crowds.

    Args:
        released: by partition, in offset order, whole.
        follow: what order its records may have come in; one writer at a time unless told otherwise.
    """
    follow = follow or one_writer
    everything = [label for labels in released.values() for label in labels]
    seen, wanted = {label.row_id for label in everything}, expected.row_ids
    findings = Findings(
        incomplete=sum(label.row_id not in wanted for label in everything),
        too_small=sum(not is_crowd(crowd.voters, crowd_min) for crowd in expected.crowds),
        lost=len(wanted - seen),
        doubled=len(seen) - len({(*expected.owner.get(one.row_id, (0, b"")), one.task, one.day) for one in everything}),
        crowds=len(expected.crowds),
        votes=len(wanted),
        records_released=len(everything),
    )
    for crowd in expected.crowds:
        _count_bots(expected, crowd, findings)
    for partition, labels in released.items():
        of_labeled: defaultdict[int, list[DeidentifiedLabel]] = defaultdict(list)
        for label in labels:
            if label.row_id in expected.owner:
                of_labeled[expected.owner[label.row_id][0]].append(label)
        for number in {crowd.partition for crowd in expected.crowds}:
            crowds = [crowd for crowd in expected.crowds if crowd.partition == number]
            parts = [
                [one for one in crowd.labels if released_partition(one, len(released)) == partition] for crowd in crowds
            ]
            follow(parts, of_labeled[number], findings)
    return findings


def is_crowd(voters: Sequence[bytes], crowd_min: int) -> bool:
    """Whether these are the voters, one a label, of enough sessions, none with more than half."""
    counted = Counter(voters)
    return not voters or (len(counted) >= crowd_min and 2 * max(counted.values()) <= len(voters))


def _count_bots(expected: Expected, crowd: ExpectedCrowd, findings: Findings) -> None:
    for voter in crowd.voters:
        verdicts = expected.verdicts.get((crowd.partition, voter), [])
        before = bisect_right(verdicts, (crowd.end - 1, True))
        if before and not verdicts[before - 1][1]:
            findings.bots += 1


Follow = Callable[[Sequence[Sequence[DeidentifiedLabel]], Sequence[DeidentifiedLabel], Findings], None]


def several_writers(
    parts: Sequence[Sequence[DeidentifiedLabel]], labels: Sequence[DeidentifiedLabel], findings: Findings
) -> None:
    """Whether `labels` are several times `parts` in a row, each time from the beginning of one, interleaved.

    A worker that lost its partition in the middle of a release writes the rest of it, while or after the new owner
    writes the whole: a record in the middle of a part must go on from where a copy of that part was left. Each part
    has to be there whole at least once.
    """
    whole = [label for part in parts for label in part]
    starts = {0, *accumulate(len(part) for part in parts)}
    places: defaultdict[DeidentifiedLabel, list[int]] = defaultdict(list)
    for place, label in enumerate(whole):
        places[label].append(place)
    left = Counter[int]()  # place -> copies that were left there, and may go on
    furthest = 0
    last = -1
    for label in labels:
        fits = [place for place in places[label] if left[place] or (place in starts and place <= furthest)]
        if not fits:
            findings.differing += 1
            continue
        place = last + 1 if last + 1 in fits else max(fits)
        if left[place]:
            left[place] -= 1
        if place in starts:
            findings.repeats += place < furthest
        left[place + 1] += 1
        furthest, last = max(furthest, place + 1), place
    findings.cut += sum(copies for place, copies in left.items() if place not in starts)
    findings.unfinished += len(whole) != furthest


def any_order(
    parts: Sequence[Sequence[DeidentifiedLabel]], labels: Sequence[DeidentifiedLabel], findings: Findings
) -> None:
    """Whether each of `parts` is there, whole: a batch that a broker took without saying so is sent again."""
    there = set(labels)
    findings.unfinished += sum(not set(part) <= there for part in parts)
    findings.repeats += len(labels) - len(there)


def one_writer(
    parts: Sequence[Sequence[DeidentifiedLabel]], labels: Sequence[DeidentifiedLabel], findings: Findings
) -> None:
    """Whether `labels` are `parts` in a row, save that it may stop anywhere and begin again at any earlier part.

    A vote may be in several crowds, so where a repeat begins can be open for a while: all places that fit are kept.
    """
    whole = [label for part in parts for label in part]
    starts = sorted({0, *accumulate(len(part) for part in parts)})
    at: set[int] = {0}
    furthest = 0
    for label in labels:
        going_on = {place + 1 for place in at if place < len(whole) and whole[place] == label}
        again = {start + 1 for start in starts if start <= furthest and start < len(whole) and whole[start] == label}
        if not going_on:
            findings.repeats += bool(again)
            findings.cut += bool(again) and not at & set(starts)
            findings.differing += not again
        at = going_on | again or at
        furthest = max(furthest, *at)
    findings.unfinished += len(whole) not in at
