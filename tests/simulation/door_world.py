"""The door's protocol from labeled records to released ones: crowds leave whole, the same on every replay."""

import datetime
import json
from collections import Counter, defaultdict
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from processors.door.crowd import CrowdRule
from processors.door.deidentify import deidentify, rank
from processors.door.records import stored_verdict_of
from schemas.codec import decode, encode
from schemas.dead_letters import origin_of
from schemas.events import DeidentifiedLabel, IdentifiedLabel
from schemas.topics import DEIDENTIFIED, LABELED, LABELED_DEAD_LETTERS, VERDICTS
from testkit.door_config import crowd_rule
from testkit.seals import CONTENT_SUBJECT, seals_of, unsealed_value
from testkit.unmasked import unmasked
from tests.simulation.broker import Broker, check
from tests.simulation.clock import Universe
from tests.simulation.door_process import DOOR_GROUP, DoorProcess, epoch_key_of
from tests.simulation.processes import Chaos, Supervisor, broker_away

NOW_MS = 1_790_000_000_000
DAY = datetime.date(2026, 9, 21)
REST_SECONDS_MAX = 400.0


class Ranges:
    """The crowds that one partition's log has to come to, counted anew and plainly from its beginning.

    Attributes:
        crowds: (first offset of its range, one past the last, its rows), in order.
        first: where the range that is held begins, while somebody's vote waits in it.
        judged: the offsets of verdicts that changed what was known of a voter, ascending.
    """

    def __init__(self, rule: CrowdRule) -> None:
        self._rule = rule
        self.crowds: list[tuple[int, int, frozenset[tuple[str, int]]]] = []
        self._votes: dict[bytes, dict[str, tuple[int, DeidentifiedLabel]]] = {}  # voter -> task -> since when, row
        self._bots: set[bytes] = set()
        self._now_ms = 0
        self.first: int | None = None
        self.garbage: set[int] = set()
        self.judged: list[int] = []

    def add(self, offset: int, at_ms: int, voter: bytes, label: IdentifiedLabel | None, *, human: bool = True) -> None:
        """One more record: an answer, or where there is none a verdict."""
        self._now_ms = max(self._now_ms, at_ms) if self._votes else at_ms
        if label is None:
            if human == (voter in self._bots):
                self.judged.append(offset)
            self._bots.discard(voter)
            if not human:
                self._bots.add(voter)
                self._votes.pop(voter, None)
        elif voter not in self._bots:
            self._vote(voter, label)
        if self._votes and self.first is None:
            self.first = offset
        if self._is_complete():
            rows = frozenset((row.row_id, row.version) for row in self._leaving())
            assert self.first is not None
            self.crowds.append((self.first, offset + 1, rows))
            self._votes = {}
        if not self._votes:
            self.first = None

    def _vote(self, voter: bytes, label: IdentifiedLabel) -> None:
        row = deidentify(label, epoch_key_of(label.day), unmasked)
        votes = self._votes.setdefault(voter, {})
        since, earlier = votes.get(label.task, (self._now_ms, row))
        votes[label.task] = (since, max(earlier, row, key=lambda one: one.version))
        while sum(map(len, self._votes.values())) > self._rule.labels_max:
            largest = min(self._votes, key=lambda one: (-len(self._votes[one]), one))
            del self._votes[largest][self._by_rank(largest)[0]]

    def _by_rank(self, voter: bytes) -> list[str]:
        return sorted(self._votes[voter], key=lambda task: rank(voter, task, epoch_key_of(DAY)))

    def _is_complete(self) -> bool:
        sizes = [len(votes) for votes in self._votes.values()]
        if len(sizes) < self._rule.voters_min:
            return False
        if len(sizes) >= self._rule.voters_target and 2 * max(sizes) <= sum(sizes):
            return True
        oldest = min(since for votes in self._votes.values() for since, _ in votes.values())
        return self._now_ms - oldest >= self._rule.wait_ms

    def _leaving(self) -> list[DeidentifiedLabel]:
        rows = []
        for voter, votes in self._votes.items():
            others = sum(len(given) for other, given in self._votes.items() if other != voter)
            rows += [votes[task][1] for task in self._by_rank(voter)[max(0, len(votes) - others) :]]
        return rows


class DoorLedger:
    """Every labeled record against what was released."""

    def __init__(self, broker: Broker, rule: CrowdRule) -> None:
        self._broker = broker
        self.ranges = [Ranges(rule) for _ in broker.topics[LABELED]]
        self._read: Counter[int] = Counter()
        self.released: Counter[tuple[str, int]] = Counter()
        self._checked: Counter[int] = Counter()
        self._stored_at: list[tuple[int, int]] = []
        broker.group(DOOR_GROUP).on_commit = self._check_commit

    def _look(self) -> None:
        """Reads what was released since the last look."""
        for log in self._broker.topics[DEIDENTIFIED]:
            for record in log.records[self._read[log.partition] :]:
                check(record.key is None and not record.headers, "a released record carries a key or headers")
                row = decode(record.value, "labels.deidentified-value")
                self.released[str(row["row_id"]), row["version"] % (1 << 64)] += 1
            self._read[log.partition] = len(log.records)

    def _check_commit(self, partition: TopicPartition, offset: int, metadata: str) -> None:
        """A commit lies at the edge of a range, and all that left below it is acknowledged."""
        self._look()
        ranges = self.ranges[partition.partition]
        if ranges.first is not None:
            check(offset <= ranges.first, f"committed {offset} within what is held from {ranges.first} on")
        for first, end, rows in ranges.crowds[self._checked[partition.partition] :]:
            if end > offset:
                check(offset <= first, f"committed {offset} within the crowd of [{first}, {end})")
                break
            check(all(self.released[row] for row in rows), f"committed {offset}, a crowd below it has not left whole")
            self._checked[partition.partition] += 1
        stored = self._stored_verdicts()
        unsaid = [one for one in ranges.judged if one < offset and (partition.partition, one) not in stored]
        check(not unsaid, f"committed {offset}, and the verdicts at {unsaid[:3]} below it are not stored")
        said = json.loads(metadata) if metadata else None
        if said is not None:
            counted = sum(value for name, value in said.items() if name != "suppressed")
            counted += sum(said.get("suppressed", {}).values())
            check(counted == offset, f"committed {offset}, but the tally beside it counts {counted} records")

    def _stored_verdicts(self) -> set[tuple[int, int]]:
        """Partition and offset of each that doors have stored."""
        for record in self._broker.topics[VERDICTS][0].records[len(self._stored_at) :]:
            verdict = stored_verdict_of(record.value)
            self._stored_at.append((verdict.partition, verdict.offset))
        return set(self._stored_at)

    def check_at_rest(self) -> None:
        """All crowds have left, nobody else has, and the commit lies where what is held begins."""
        self._look()
        wanted = {row for ranges in self.ranges for _, _, rows in ranges.crowds for row in rows}
        check(not wanted - self.released.keys(), f"{len(wanted - self.released.keys())} votes of crowds never left")
        check(not self.released.keys() - wanted, f"{len(self.released.keys() - wanted)} labels left without a crowd")
        letters = self._letters()
        for number, ranges in enumerate(self.ranges):
            check(letters[number] == ranges.garbage, "dead letters are not the records that nobody can read")

    def _letters(self) -> defaultdict[int, set[int]]:
        letters: defaultdict[int, set[int]] = defaultdict(set)
        for record in self._broker.topics[LABELED_DEAD_LETTERS][0].records:
            origin = origin_of(record.headers)
            assert origin is not None
            letters[origin.partition].add(origin.offset)
        return letters

    def rests(self) -> bool:
        """Whether the commits are where they must come to rest, and all that nobody can read is set aside."""
        letters = self._letters()
        if any(ranges.garbage - letters[number] for number, ranges in enumerate(self.ranges)):
            return False
        commits = self._broker.group(DOOR_GROUP).committed
        for log, ranges in zip(self._broker.topics[LABELED], self.ranges, strict=True):
            wanted = log.end if ranges.first is None else ranges.first
            found, _ = commits.get(TopicPartition(LABELED, log.partition), (0, ""))
            if found != wanted:
                return False
        return True


def rule_of(universe: Universe, crowd_min: int) -> CrowdRule:
    """Crowds that leave at their minimum, at more, or after a short wait; and now and then a bound that is reached."""
    random = universe.random
    return crowd_rule(
        crowd_min,
        crowd_target=crowd_min + random.choice([0, 1, 3]),
        crowd_wait_ms=random.choice([500, 3_000, 3_600_000]),
        crowd_labels_max=random.choice([3 * crowd_min, 100_000, 100_000]),
    )


class Votes:
    """Sessions that answer, change their minds, are bots or give most of all; and records that nobody can read."""

    def __init__(self, universe: Universe, voters: int, partitions: int) -> None:
        self._random = universe.random
        self._partitions = partitions
        self._seals = seals_of(epoch_key_of, partitions)
        self._voters = [b"%032d" % number for number in range(voters)]
        self._of_the_busy = self._random.choice([0.0, 0.0, 0.5, 0.9])

    def next(self) -> tuple[bytes, int, bytes, IdentifiedLabel | None, bool]:
        """Voter, partition, value, what it says (None for a verdict), human."""
        random = self._random
        voter = self._voters[int(len(self._voters) * random.random() ** 2)]
        if random.random() < self._of_the_busy:
            voter = self._voters[0]
        if random.random() < 0.05:
            human = random.random() < 0.3
            act: Any = ("unjoin.Verdict", {"human": human})
            return voter, *self._labeled(voter, act), None, human
        task, answer = (
            f"task-{random.randrange(6 if voter != self._voters[0] else 60)}",
            random.choice(["beagle", "bus", "", "1234567890," * 300]),
        )
        label = IdentifiedLabel(voter=voter, day=DAY, kind="image_label", task=task, answer=answer)
        act = ("unjoin.Answer", {"kind": label.kind, "task": task, "answer": answer})
        return voter, *self._labeled(voter, act), label, True

    def _labeled(self, voter: bytes, act: Any) -> tuple[int, bytes]:
        """Partition and value; some as the version before labels were sealed wrote them."""
        datum = {"voter": voter, "day": DAY, "act": act}
        number = voter[-1] % self._partitions
        if self._random.random() < 0.1:
            return number, unsealed_value(datum)
        return number, self._seals.sealed(encode(CONTENT_SUBJECT, datum), DAY, number)


class DoorWorld:
    """One run."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        random = universe.random
        self.broker = broker = Broker(universe)
        universe.broker = broker  # type: ignore[attr-defined]
        self.partitions = random.choice([1, 1, 2, 3])
        broker.create_topic(LABELED, self.partitions)
        broker.create_topic(DEIDENTIFIED, random.choice([1, 4]))
        broker.create_topic(VERDICTS, 1)
        broker.create_topic(LABELED_DEAD_LETTERS, 1)
        crowd_min = random.choice([2, 3, 8])
        rule = rule_of(universe, crowd_min)
        self.ledger = DoorLedger(broker, rule)
        self._votes = Votes(universe, crowd_min * random.choice([2, 3]), self.partitions)
        self.chaos_s = random.uniform(2, 40)
        broker.lossy = random.choice([0.0, 0.01, 0.05])
        self._produce()
        self.doors = [
            Supervisor(universe, lambda: DoorProcess(universe, rule=rule, partitions=self.partitions))
            for _ in range(random.choice([1, 1, 2, 3]))
        ]
        hurt = [(2.0, lambda one=one: one.hurt()) for one in self.doors]
        blows = [*hurt, (1.0, partial(broker_away, universe, self.broker))]
        Chaos(universe, blows, random.choice([1.0, 4.0, 15.0]), self.chaos_s).begin()

    def run(self) -> None:
        """Until everything rests; raises Violation."""
        universe = self.universe
        at_rest = universe.come_to_rest(self.chaos_s, self._at_rest, REST_SECONDS_MAX)
        for supervisor in self.doors:
            check(not supervisor.crashes, "a process crashed:", supervisor.crashes[:1])
        check(at_rest, "no rest: it does not make progress any more")
        check(not universe.bugs(), "nobody caught:", universe.bugs()[:1])
        self.ledger.check_at_rest()

    def _at_rest(self) -> bool:
        return all(one.running for one in self.doors) and self.ledger.rests()

    def _produce(self) -> None:
        random, universe = self.universe.random, self.universe
        if universe.now >= self.chaos_s:
            return
        for _ in range(random.choice([1, 3, 12])):
            voter, number, value, label, human = self._votes.next()
            log, ranges = self.broker.topics[LABELED][number], self.ledger.ranges[number]
            garbage = random.random() < 0.02
            stamp = NOW_MS + int(universe.now * 1_000)
            offset = log.append([(None, b"garbage" if garbage else value, stamp, ())])
            if garbage:
                ranges.garbage.add(offset)
            else:
                ranges.add(offset, stamp, voter, label, human=human)
        universe.later(random.expovariate(1.5), self._produce)
