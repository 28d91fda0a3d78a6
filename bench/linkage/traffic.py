"""A day of a hundred sessions of unequal activity, and who gave which answer. Pure.

Sessions come and go in bouts, as people do; within a bout, motion signals and answers alternate. Every session sees
tasks from one common pool, never the same task twice, and answers about as well as any other: what is measured is what
the pipeline gives away, not what somebody's spelling does (docs/privacy.md says so).
"""

from random import Random
from typing import Any

import msgspec

ANSWERS = ("beagle", "poodle", "husky", "terrier", "collie")
KINDS = ("image_label", "text_answer", "audio_transcript")
BOUT_ANSWERS = 12


class Answer(msgspec.Struct, frozen=True):
    """One answer as its session gave it."""

    session: str
    task: str
    answer: str
    kind: str


class Post(msgspec.Struct, frozen=True):
    """One batch of one session: a few motion samples and a few answers, at one moment."""

    session: str
    answers: tuple[Answer, ...]

    def batch(self, now_ms: int, number: int) -> dict[str, Any]:
        """The body to post, stamped with now."""
        events: list[dict[str, Any]] = [
            {"id": f"m-{number}", "type": "pointer", "ts": now_ms, "t": [0, 16], "x": [1, 2], "y": [3, 4]}
        ]
        for position, answer in enumerate(self.answers):
            events.append(
                {
                    "id": f"a-{number}-{position}",
                    "type": answer.kind,
                    "ts": now_ms,
                    "task": answer.task,
                    "answer": answer.answer,
                }
            )
        return {"sent_at": now_ms, "session": self.session, "events": events}


def day_of_posts(rng: Random, *, sessions: int, answers: int, tasks: int) -> list[Post]:
    """The day's batches in the order in which they happen.

    Args:
        answers: of all sessions together; activity is log-normal, so that the busiest gives several times the median.
        tasks: in the common pool; more than the busiest session answers.
    """
    weights = [rng.lognormvariate(0, 0.8) for _ in range(sessions)]
    total = sum(weights)
    posts: list[tuple[float, Post]] = []
    truth = {f"task-{number}": rng.choice(ANSWERS) for number in range(tasks)}
    for number, weight in enumerate(weights):
        session = f"s-{number:03d}"
        wanted = max(1, round(answers * weight / total))
        assert wanted <= tasks, "more tasks are needed than the busiest session answers"
        chosen = rng.sample(sorted(truth), wanted)
        given = [
            Answer(session, task, truth[task] if rng.random() < 0.9 else rng.choice(ANSWERS), KINDS[hash_of(task) % 3])
            for task in chosen
        ]
        while given:
            size = min(len(given), rng.randint(1, BOUT_ANSWERS))
            start = rng.random()
            bout, given = given[:size], given[size:]
            for step in range(0, size, 3):
                posts.append((start + step * 1e-5, Post(session, tuple(bout[step : step + 3]))))
    posts.sort(key=lambda post: post[0])
    return [post for _, post in posts]


def hash_of(text: str) -> int:
    """A number that is the same in every run, unlike `hash`."""
    return sum((index + 1) * ord(letter) for index, letter in enumerate(text))


def closing_posts(number: int, answers: int) -> list[Post]:
    """Other sessions, who come when the day is over, so that its last crowd is complete."""
    return [
        Post(session, tuple(Answer(session, f"closing-{task}", ANSWERS[0], KINDS[0]) for task in range(answers)))
        for session in (f"x-{one:03d}" for one in range(number))
    ]
