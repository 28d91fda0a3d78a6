"""What the door's counts tell, and when."""

import urllib.error
import urllib.request

import pytest
from prometheus_client import generate_latest

from processors.door.crowd import VOTE_BYTES, Crowd, Held
from processors.faust_app.metrics import DoorMetrics
from schemas.outcomes import Suppression
from testkit.door_config import crowd_rule
from tests.processors.door.test_crowd import label
from unjoin.host.kafka import free_port

HERE, THERE = ("events.labeled", 0), ("events.labeled", 1)
NOW_MS = 1_900_000_000_000
NOTHING = {"released": 0, "dead_lettered": 0, "verdicts": 0, "suppressed": {}, "left": ()}


def crowd_with(voters: int, answer: str = "yes") -> Crowd:
    crowd = Crowd(crowd_rule(20))
    for voter in range(voters):
        crowd.add(b"%d" % voter, "t", Held(NOW_MS - 150_000 + voter, label(voter, 0, answer=answer)))
    return crowd


def metrics_now() -> DoorMetrics:
    return DoorMetrics(crowd_rule(20, crowd_target=200), now_s=lambda: NOW_MS / 1_000)


def shown(metrics: DoorMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"unjoin_door_{name}")


def test_what_was_noted_is_shown_at_whole_minutes_and_no_earlier() -> None:
    """Between two scrapes a second apart, a count that grew by one is somebody who answered in that second."""
    metrics = metrics_now()
    before = generate_latest(metrics.registry)
    crowds = {HERE: crowd_with(7)}
    noted = {**NOTHING, "dead_lettered": 2, "verdicts": 3, "suppressed": {Suppression.NOT_HUMAN: 5}}
    metrics.note(**noted, crowds=crowds)
    metrics.note_suppressed({Suppression.EXPIRED: 4})
    assert generate_latest(metrics.registry) == before
    metrics.show(lag=11)
    metrics.show(lag=11)
    names = ("dead_lettered_total", "verdicts_total", "held_labels", "held_voters", "lag_records")
    assert [shown(metrics, name) for name in names] == [2, 3, 7, 7, 11]
    reasons = {
        reason: metrics.registry.get_sample_value("unjoin_door_suppressed_total", {"reason": reason})
        for reason in ("not_human", "expired")
    }
    assert reasons == {"not_human": 5, "expired": 4}
    assert (shown(metrics, "crowd_min"), shown(metrics, "crowd_target")) == (20, 200)
    assert shown(metrics, "crowd_wait_seconds") == 3_600


def test_crowd_that_left_is_shown_at_once_and_nothing_beside_it() -> None:
    """The released topic says as much; what has come since does not show before the minute is over."""
    metrics = metrics_now()
    crowds = {HERE: crowd_with(7), THERE: crowd_with(5)}
    metrics.note(**NOTHING, crowds=crowds)
    metrics.show(0)
    crowds = {HERE: crowd_with(3), THERE: crowd_with(6)}
    left = {**NOTHING, "released": 40, "left": (HERE,), "suppressed": {Suppression.OVER_SHARE: 9}, "verdicts": 1}
    metrics.note(**left, crowds=crowds)
    assert [shown(metrics, name) for name in ("released_total", "held_labels", "verdicts_total")] == [40, 5, 0]
    metrics.show(0)
    assert [shown(metrics, name) for name in ("released_total", "held_labels", "verdicts_total")] == [40, 9, 1]


def test_bytes_and_waits_are_too_coarse_to_tell_an_answer_or_a_moment() -> None:
    """The bytes of one minute of a quiet site would be the length of one session's answers."""
    metrics = metrics_now()
    for answer, mebibytes in (("yes", 0), ("x" * 400_000, 2)):
        crowd = crowd_with(7, answer)
        metrics.note(**NOTHING, crowds={HERE: crowd})
        metrics.show(0)
        assert shown(metrics, "held_bytes") == mebibytes << 20
        assert crowd.bytes_held == 7 * (VOTE_BYTES + len(answer))
    assert shown(metrics, "oldest_wait_seconds") == 120


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_lies_beside_the_metrics(ready: bool, status: int) -> None:
    """Whoever routes or restarts asks this; whoever draws asks the other."""
    metrics, port = metrics_now(), free_port()
    metrics.serve(port, "127.0.0.1", lambda: ready)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"unjoin_door_held_labels 0.0" in answer.read()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
        error.close()
    assert found == status
