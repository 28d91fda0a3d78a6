"""How many bytes may be on their way to Kafka."""

from ingest.kafka.congestion import MEMORY_SECONDS, TARGET_SECONDS, WINDOW_BYTES_MIN, AckWindow


def steady(window: AckWindow, bytes_per_second: float, seconds: float, since: float = 0.0) -> float:
    """Acknowledges at a steady rate, a hundred times a second; gives the time at the end."""
    for _ in range(int(100 * seconds)):
        since += 0.01
        window.note(int(bytes_per_second / 100), since)
    return since


def test_window_is_what_kafka_acknowledges_in_the_target_time() -> None:
    """Little's law: then a record waits for the target time, however much is offered."""
    window = AckWindow(1.0)
    now = steady(window, 40e6, 10 * MEMORY_SECONDS)
    assert 0.95 < window.bytes_max(now) / (40e6 * TARGET_SECONDS) < 1.05


def test_window_follows_a_kafka_that_gets_slower_and_one_that_gets_faster() -> None:
    """Within a few of its memory's lengths; a full window grows because what is acknowledged sooner counts as more."""
    window = AckWindow(1.0)
    now = steady(window, 40e6, 10 * MEMORY_SECONDS)
    now = steady(window, 20e6, 6 * MEMORY_SECONDS, now)
    assert window.bytes_max(now) < 1.1 * 20e6 * TARGET_SECONDS
    now = steady(window, 80e6, 6 * MEMORY_SECONDS, now)
    assert window.bytes_max(now) > 0.9 * 80e6 * TARGET_SECONDS


def test_there_is_always_room_to_begin_with() -> None:
    """After a quiet night as at the start."""
    window = AckWindow(1.0)
    assert window.bytes_max(0.0) == WINDOW_BYTES_MIN
    now = steady(window, 40e6, 1.0)
    assert window.bytes_max(now + 3_600.0) == WINDOW_BYTES_MIN


def test_kafka_is_away_once_it_has_acknowledged_nothing_for_as_long_as_a_request_waits() -> None:
    """Then requests must not wait for their turn: the spool takes them."""
    window = AckWindow(1.0)
    assert not window.acknowledging(0.0)
    window.note(1_000, 5.0)
    assert window.acknowledging(5.9)
    assert not window.acknowledging(6.1)
