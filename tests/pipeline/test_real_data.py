"""Real answers and real mouse movements through the running stack: nothing lost, nothing changed, nothing decided anew.

Source of the answers and of how many majorities are right: Zheng et al., "Truth Inference in Crowdsourcing: Is the
Problem Solved?", PVLDB 10(5), 2017. Source of the mouse sessions: Fülöp et al., Balabit Mouse Dynamics Challenge data
set, 2016.
"""

import csv
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from testkit.running_stack import RunningStack

pytestmark = [pytest.mark.kafka, pytest.mark.datasets]

EVENTS_MAX = 500
SAMPLES_MAX = 1_024
CLOSING_SESSIONS = 50
Majorities = dict[str, tuple[str, int, int, bool]]
"""Task -> answer with most votes (of a tie the smallest), its votes, all votes, whether there is a tie."""


@pytest.fixture(scope="module")
def own_stack(datasets: Path, kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that nobody else's labels get into."""
    running = RunningStack(kafka_home, tmp_path_factory.mktemp("stack"))
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("name", "sessions", "tasks", "right"), [("product", 176, 8_315, 7_455), ("bluebirds", 39, 108, 82)]
)
def test_majorities_of_real_answers_are_the_same_behind_the_door(
    own_stack: RunningStack, datasets: Path, name: str, sessions: int, tasks: int, right: int
) -> None:
    """The door must not cost the labels' use: every task's majority, and the published share of right ones, remain."""
    answers = rows_of(datasets / "crowd_labels" / f"{name}_answers.csv")
    truth = {row["question"]: row["truth"] for row in rows_of(datasets / "crowd_labels" / f"{name}_truth.csv")}
    of_worker = defaultdict(list)
    for row in answers:
        of_worker[row["worker"]].append((f"{name}:{row['question']}", row["answer"]))
    assert len(of_worker) == sessions
    for worker, given in of_worker.items():
        post_answers(own_stack, worker, given)
    let_the_last_crowd_leave(own_stack, name, largest=max(len(given) for given in of_worker.values()))

    stored = f"SELECT count() FROM labels WHERE startsWith(task, '{name}:')"
    assert own_stack.wait_for_count(stored, len(answers)) == len(answers)
    before = majorities((f"{name}:{row['question']}", row["answer"]) for row in answers)
    columns = "task, answer, votes, total, tied"
    after = {
        row["task"]: (row["answer"], row["votes"], row["total"], bool(row["tied"]))
        for row in own_stack.rows(f"SELECT {columns} FROM label_consensus WHERE startsWith(task, '{name}:')")
    }
    assert after == before
    assert len(after) == len(truth) == tasks
    assert not any(tied for _, _, _, tied in after.values()), "the published counts would depend on how ties break"
    assert sum(after[f"{name}:{question}"][0] == answer for question, answer in truth.items()) == right


def test_recorded_mouse_sessions_arrive_sample_for_sample(own_stack: RunningStack, datasets: Path) -> None:
    """Whoever trains on movements needs the recorded floats, not some that are close to them."""
    files = sorted((datasets / "mouse").glob("*.csv"))
    recorded = {file.stem: [samples_of(row) for row in rows_of(file)] for file in files}
    assert (len(recorded), sum(map(len, recorded.values()))) == (16, 16_691)
    for session, samples in recorded.items():
        post_movements(own_stack, session, samples)
    arrays = "FROM signals WHERE type = 'pointer'"
    assert own_stack.wait_for_count(f"SELECT sum(length(t)) {arrays}", 16_691) == 16_691
    arrived = defaultdict(list)
    for row in own_stack.rows(f"SELECT session, t, x, y {arrays}"):
        arrived[row["session"]] += zip(row["t"], row["x"], row["y"], strict=True)
    assert {session: sorted(samples) for session, samples in arrived.items()} == {
        session: sorted(samples) for session, samples in recorded.items()
    }


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def samples_of(row: dict[str, str]) -> tuple[float, float, float]:
    """Milliseconds from the start of the session, unrounded, and a position."""
    return float(row["client timestamp"]) * 1000, float(row["x"]), float(row["y"])


def majorities(answers: Iterable[tuple[str, str]]) -> Majorities:
    """What the view must say, counted here from the answers as they were posted."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for task, answer in answers:
        counted[task][answer] += 1
    of_task = {}
    for task, votes in counted.items():
        most = max(votes.values())
        leading = [answer for answer, number in votes.items() if number == most]
        of_task[task] = (min(leading), most, votes.total(), len(leading) > 1)
    return of_task


def post_answers(stack: RunningStack, session: str, given: list[tuple[str, str]]) -> None:
    """Every answer one event, with an id that a resend would repeat."""
    now_ms = time.time_ns() // 1_000_000
    post(
        stack,
        session,
        [
            {"id": f"{session}:{task}", "type": "image_label", "ts": now_ms, "task": task, "answer": answer}
            for task, answer in given
        ],
        EVENTS_MAX,
    )


def let_the_last_crowd_leave(stack: RunningStack, name: str, largest: int) -> None:
    """Answers of many other sessions to other tasks, twice as many as the largest session gave: it may be held last."""
    for number in range(CLOSING_SESSIONS):
        answers = [(f"closing:{name}:{task}", "0") for task in range(2 * largest // CLOSING_SESSIONS + 1)]
        post_answers(stack, f"closing-{name}-{number}", answers)


def post_movements(stack: RunningStack, session: str, samples: list[tuple[float, float, float]]) -> None:
    """The session as its widget would send it: pointer events of as many samples as fit."""
    started_ms = time.time_ns() // 1_000_000
    events = []
    for at in range(0, len(samples), SAMPLES_MAX):
        t, x, y = map(list, zip(*samples[at : at + SAMPLES_MAX], strict=True))
        events.append({"id": f"{session}:{at}", "type": "pointer", "ts": started_ms, "t": t, "x": x, "y": y})
    post(stack, session, events, 20)


def post(stack: RunningStack, session: str, events: list[dict[str, Any]], batch_max: int) -> None:
    for _, batch in groupby(enumerate(events), lambda numbered: numbered[0] // batch_max):
        sent = {"session": session, "events": [event for _, event in batch]}
        assert stack.post(sent) == (200, {"accepted": len(sent["events"]), "rejected": []})
