"""`unjoin replay` on a running pipeline: what goes back, what does not, and that it ends."""

import asyncio
import datetime
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Message
from rich.console import Console

from schemas import codec
from schemas.dead_letters import TRUNCATED_FROM, dead_letter_headers
from schemas.kafka_access import KafkaAccess
from schemas.outcomes import DeadLetterReason
from schemas.topics import DEAD_LETTERS, DEIDENTIFIED, LABELED, LABELED_DEAD_LETTERS, SIGNALS
from testkit.kafka_node import stored_records
from testkit.running_stack import RunningStack
from testkit.seals import sealed_value
from tests.pipeline.garbage import deliver, good, whole
from unjoin.host.kafka import free_port
from unjoin.keys.keyring import Keyring
from unjoin.replay import ReplayOptions, replay

pytestmark = pytest.mark.kafka
REFUSED = DeadLetterReason.REFUSED


@pytest.fixture
def mark() -> str:
    return f"replay-{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def nothing_waits(stack: RunningStack) -> None:
    """Every test begins where the last one's letters are replayed."""
    replayed(stack)


def replayed(stack: RunningStack, reason: str = REFUSED, topics: str = "", **how: Any) -> dict[str, int]:
    """What a call counts; what the pipeline itself sets aside in other tests has other reasons than these."""
    options = ReplayOptions(
        kafka=KafkaAccess(stack.bootstrap),
        today=datetime.datetime.now(datetime.UTC).date(),
        reasons=frozenset({reason}),
        topics=frozenset({topics} - {""}),
        **how,
    )
    counts = asyncio.run(replay(options, Console(quiet=True)))
    return {what: count for what, count in counts.items() if what != "skipped"}


def set_aside(
    stack: RunningStack,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None]],
    letters: str = DEAD_LETTERS,
    partition: int = 1,
) -> None:
    """Dead letters as a sink whose engine refused these rows leaves them."""
    deliver(stack.bootstrap, letters, records, dead_letter_headers(REFUSED, topic, partition, 7))


def signal_of(mark: str, number: int) -> bytes:
    return codec.encode(f"{SIGNALS}-value", good(SIGNALS, mark, number))


def records_with(stack: RunningStack, topic: str, content: str) -> list[Message]:
    return [
        record
        for record in stored_records(stack.bootstrap, topic)
        if content.encode() in (record.value() or b"") + (record.key() or b"")
    ]


def test_a_dead_letter_goes_back_byte_for_byte_and_becomes_its_row(stack: RunningStack, mark: str) -> None:
    """Key and partition too: what shares a key shares its order."""
    value = signal_of(mark, 1)
    set_aside(stack, SIGNALS, [(mark.encode(), value)])
    assert replayed(stack) == {"replayed": 1}
    (back,) = records_with(stack, SIGNALS, mark)
    assert (back.key(), back.value(), back.partition(), back.headers()) == (mark.encode(), value, 1, None)
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = '{mark}-1'", 1) == 1


def test_a_second_call_goes_on_after_the_first(stack: RunningStack, mark: str) -> None:
    """Whoever calls it every hour must not replay the whole week every hour."""
    for number in (1, 2):
        set_aside(stack, SIGNALS, [(b"k", signal_of(mark, number))])
        assert replayed(stack) == {"replayed": 1}
        assert replayed(stack) == {}
    assert len(records_with(stack, SIGNALS, mark)) == 2


def test_replaying_twice_makes_no_second_row(stack: RunningStack, mark: str) -> None:
    """The table's key is a function of the event; a call that was cut off may simply be made again."""
    set_aside(stack, SIGNALS, [(b"k", signal_of(mark, number)) for number in range(5)])
    for _ in range(3):
        replayed(stack, from_start=True)
    last = signal_of(f"last-{mark}", 0)
    set_aside(stack, SIGNALS, [(b"k", last)])
    assert replayed(stack) == {"replayed": 1}
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = 'last-{mark}-0'", 1) == 1
    assert len(records_with(stack, SIGNALS, mark)) == 16
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE startsWith(event_id, '{mark}')", 5) == 5


def test_filters_leave_the_others_for_calls_without_them(stack: RunningStack, mark: str) -> None:
    """A position shared by all calls would make what one filter left out look as if it had been replayed."""
    replayed(stack, topics=SIGNALS)
    set_aside(stack, SIGNALS, [(b"k", signal_of(mark, 1))])
    set_aside(
        stack, "events.personal", [(b"k", codec.encode("events.personal-value", good("events.personal", mark, 2)))]
    )
    assert replayed(stack, topics=SIGNALS, dry_run=True) == {"replayed": 1}
    assert replayed(stack, topics=SIGNALS) == {"replayed": 1}
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = '{mark}-1'", 1) == 1
    assert records_with(stack, "events.personal", mark) == []
    assert replayed(stack) == {"replayed": 2}
    assert stack.wait_for_count(f"SELECT count() FROM personal WHERE event_id = '{mark}-2'", 1) == 1


def test_a_dry_run_writes_nothing_and_moves_nothing(stack: RunningStack, mark: str) -> None:
    """It is what somebody does before they dare."""
    set_aside(stack, SIGNALS, [(b"k", signal_of(mark, 1))])
    assert [replayed(stack, dry_run=True) for _ in range(2)] == [{"replayed": 1}] * 2
    assert records_with(stack, SIGNALS, mark) == []
    assert replayed(stack) == {"replayed": 1}


def test_garbage_that_is_replayed_is_set_aside_again_and_the_call_ends(stack: RunningStack, mark: str) -> None:
    """It comes back while the call still reads; whoever reads on would never be done."""
    garbage = [(mark.encode(), f"{mark} {number}".encode()) for number in range(300)]
    deliver(stack.bootstrap, SIGNALS, garbage)
    for call in (1, 2):
        wait_for_letters(stack, mark, 300 * call)
        assert replayed(stack, DeadLetterReason.NOT_CONFLUENT, topics=SIGNALS)["replayed"] >= 300
        # Nothing of what came back is lost to the next call.
        found = Counter(record.value() for record in records_with(stack, SIGNALS, mark))
        assert found == Counter(value for _, value in garbage * (call + 1))


def wait_for_letters(stack: RunningStack, content: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while (found := len(records_with(stack, DEAD_LETTERS, content))) != count:
        assert time.monotonic() < deadline, f"{found} dead letters instead of {count}"


def test_empty_records_go_back_empty(stack: RunningStack, mark: str) -> None:
    """A value that is null, one that is empty, and a record of nothing at all are three things."""
    records: list[tuple[bytes | None, bytes | None]] = [(None, None), (None, b""), (b"", None), (b"", b"")]
    before = len(stored_records(stack.bootstrap, "events.labelers"))
    set_aside(stack, "events.labelers", records, partition=0)
    assert replayed(stack) == {"replayed": 4}
    back = stored_records(stack.bootstrap, "events.labelers")[before:]
    assert [(record.key(), record.value()) for record in back] == records


def test_a_released_label_goes_back_under_the_stamp_of_its_day(stack: RunningStack, mark: str) -> None:
    """When somebody replayed it is nobody's business, and the door would not have said so either."""
    value = codec.encode(f"{DEIDENTIFIED}-value", good(DEIDENTIFIED, mark, 1))
    set_aside(stack, DEIDENTIFIED, [(None, value), (None, mark.encode())])
    assert replayed(stack) == {"replayed": 2}
    back = records_with(stack, DEIDENTIFIED, mark)
    assert {record.timestamp()[1] % 86_400_000 for record in back} == {0}
    assert {(record.key(), record.headers() and 1) for record in back} == {(None, None)}
    day = good(DEIDENTIFIED, mark, 1)["day"]
    assert isinstance(day, datetime.date)
    assert stack.wait_for_count(f"SELECT count() FROM labels WHERE task = '{mark}' AND day = '{day}'", 1) == 1


def test_headers_that_somebody_forged_send_nothing_anywhere_else(stack: RunningStack, mark: str) -> None:
    """An identified label may go back to its short-lived topic only, and dead letters to no topic of dead letters."""
    record = [(b"k", mark.encode())]
    for letters, topic in (
        (DEAD_LETTERS, LABELED),
        (LABELED_DEAD_LETTERS, SIGNALS),
        (DEAD_LETTERS, DEAD_LETTERS),
        (LABELED_DEAD_LETTERS, LABELED_DEAD_LETTERS),
        (DEAD_LETTERS, "__consumer_offsets"),
        (DEAD_LETTERS, f"no-such-{mark}"),
    ):
        set_aside(stack, topic, record, letters)
    assert replayed(stack) == {"unreadable": 6}
    for topic in (LABELED, SIGNALS):
        assert records_with(stack, topic, mark) == []
    assert len(records_with(stack, DEAD_LETTERS, mark)) == 4


def test_label_goes_back_once_it_can_be_read_and_not_before(stack: RunningStack, mark: str) -> None:
    """Put back on end, labels that nobody can read would halt the door in front of everybody else's."""
    label = whole(LABELED, mark, 1)  # of the version before labels were sealed
    for value in (label, label + mark.encode(), mark.encode()):
        set_aside(stack, LABELED, [(b"k", value)], LABELED_DEAD_LETTERS, partition=0)
    assert replayed(stack) == {"replayed": 1, "still": 2}
    (back,) = records_with(stack, LABELED, mark)
    assert (back.key(), back.value()) == (b"k", label)


def test_sealed_label_goes_back_as_ciphertext_to_the_partition_it_is_sealed_to(stack: RunningStack, mark: str) -> None:
    """Its dead letter tells no more than itself; what does not open stays, where the door's keys are here to tell."""
    keyring = Keyring(stack.data_dir / "keys" / "epoch")
    datum = good(LABELED, mark, 1)
    key = keyring.key_of(datum["day"])
    sealed = sealed_value(datum, key)
    elsewhere = sealed_value(datum, key, partition=1)
    for value in (sealed, elsewhere, sealed[:-1]):
        set_aside(stack, LABELED, [(None, value)], LABELED_DEAD_LETTERS, partition=0)
    assert replayed(stack, epoch_keys=keyring.existing_key_of) == {"replayed": 1, "still": 2}
    (back,) = [one for one in stored_records(stack.bootstrap, LABELED) if one.value() == sealed]
    assert (back.key(), back.partition()) == (None, 0)
    assert records_with(stack, LABELED, mark) == []


def test_a_cut_letter_stays_where_it_is(stack: RunningStack, mark: str) -> None:
    """Half a record is not the record."""
    cut = [*dead_letter_headers(REFUSED, SIGNALS, 0, 7), (TRUNCATED_FROM, b"99999")]
    deliver(stack.bootstrap, DEAD_LETTERS, [(b"k", mark.encode())], cut)
    assert replayed(stack) == {"cut": 1}
    assert records_with(stack, SIGNALS, mark) == []


def test_a_partition_that_the_topic_does_not_have_is_replaced(stack: RunningStack, mark: str) -> None:
    """A topic may have been made anew with fewer of them; the record still has to go somewhere."""
    set_aside(stack, SIGNALS, [(b"k", signal_of(mark, 1))], partition=4_000)
    assert replayed(stack) == {"replayed": 1}
    assert stack.wait_for_count(f"SELECT count() FROM signals WHERE event_id = '{mark}-1'", 1) == 1


def test_the_command_says_what_it_did(stack: RunningStack, mark: str) -> None:
    """Numbers, and no traceback; a filter that can match nothing is refused, for "0 replayed" would mislead."""
    set_aside(stack, SIGNALS, [(b"k", signal_of(mark, 1))])
    done = stack.command("replay", "--reason", REFUSED, "--dry-run")
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ("1 would be replayed\n", "")
    for option, value in (("--reason", "trailing"), ("--topic", "signals")):
        done = stack.command("replay", option, value)
        assert done.returncode == 1
        assert f"is called {value}" in done.stderr
        assert "Traceback" not in done.stderr


def test_kafka_away_is_one_sentence() -> None:
    """No traceback, and no endless wait."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNJOIN_")}
    environment = {**kept, "UNJOIN_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}"}
    command = [sys.executable, "-m", "unjoin", "replay"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("unjoin: Kafka")
    assert "Traceback" not in done.stderr
