"""How many bytes may be on their way to Kafka."""

from ingest.kafka.congestion import LATENCY_SECONDS_TARGET, RATE_DECAY_SECONDS, WINDOW_BYTES_MIN, CongestionWindow


def steady(window: CongestionWindow, bytes_per_second: float, seconds: float, since: float = 0.0) -> float:
    """Acknowledges at a steady rate, a hundred times a second; gives the time at the end."""
    for _ in range(int(100 * seconds)):
        since += 0.01
        window.note_acknowledged(int(bytes_per_second / 100), since)
    return since


def test_window_is_what_kafka_acknowledges_in_the_target_time() -> None:
    """Little's law: then a record waits for the target time, however much is offered."""
    window = CongestionWindow(1.0)
    now = steady(window, 40e6, 10 * RATE_DECAY_SECONDS)
    assert 0.95 < window.bytes_max(now) / (40e6 * LATENCY_SECONDS_TARGET) < 1.05


def test_window_follows_a_kafka_that_gets_slower_and_one_that_gets_faster() -> None:
    """Within a few of its memory's lengths; a full window grows because what is acknowledged sooner counts as more."""
    window = CongestionWindow(1.0)
    now = steady(window, 40e6, 10 * RATE_DECAY_SECONDS)
    now = steady(window, 20e6, 6 * RATE_DECAY_SECONDS, now)
    assert window.bytes_max(now) < 1.1 * 20e6 * LATENCY_SECONDS_TARGET
    now = steady(window, 80e6, 6 * RATE_DECAY_SECONDS, now)
    assert window.bytes_max(now) > 0.9 * 80e6 * LATENCY_SECONDS_TARGET


def test_there_is_always_room_to_begin_with() -> None:
    """After a quiet night as at the start."""
    window = CongestionWindow(1.0)
    assert window.bytes_max(0.0) == WINDOW_BYTES_MIN
    now = steady(window, 40e6, 1.0)
    assert window.bytes_max(now + 3_600.0) == WINDOW_BYTES_MIN


def test_kafka_is_away_once_it_has_acknowledged_nothing_for_as_long_as_a_request_waits() -> None:
    """Then requests must not wait for their turn: the spool takes them."""
    window = CongestionWindow(1.0)
    assert not window.acknowledging(0.0)
    window.note_acknowledged(1_000, 5.0)
    assert window.acknowledging(5.9)
    assert not window.acknowledging(6.1)
