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


def day_of_posts(
    rng: Random,
    *,
    sessions: int,
    answers: int,
    tasks: int,
    changed: float = 0.0,
    in_turn: bool = False,
) -> list[Post]:
    """The day's batches in the order in which they happen.

    Args:
        answers: of all sessions together; activity is log-normal, so that the busiest gives several times the median.
        tasks: in the common pool; more than the busiest session answers.
        changed: share of the answers that their session gives again, otherwise, at some other time of the day.
        in_turn: tasks are handed out in the order of their names to whoever is there, instead of at random.
    """
    weights = [rng.lognormvariate(0, 0.8) for _ in range(sessions)]
    total = sum(weights)
    bouts: list[tuple[float, tuple[Answer, ...]]] = []
    truth = {f"task-{number:06d}": rng.choice(ANSWERS) for number in range(tasks)}
    for number, weight in enumerate(weights):
        session = f"s-{number:03d}"
        wanted = max(1, round(answers * weight / total))
        assert wanted <= tasks, "more tasks are needed than the busiest session answers"
        given = [_answer(rng, session, task, truth[task]) for task in rng.sample(sorted(truth), wanted)]
        given += [
            _answer(rng, session, one.task, rng.choice(ANSWERS))
            for one in given[:]
            if changed and rng.random() < changed
        ]
        while given:
            size = rng.randint(1, BOUT_ANSWERS)
            bout, given = given[:size], given[size:]
            start = rng.random()
            bouts += [(start + step * 1e-5, tuple(bout[step : step + 3])) for step in range(0, len(bout), 3)]
    posts = [Post(bout[0].session, bout) for _, bout in sorted(bouts, key=lambda one: one[0])]
    return _handed_out_in_turn(rng, posts, truth) if in_turn else posts


def _answer(rng: Random, session: str, task: str, true_answer: str) -> Answer:
    answer = true_answer if rng.random() < 0.9 else rng.choice(ANSWERS)
    return Answer(session, task, answer, KINDS[hash_of(task) % 3])


def _handed_out_in_turn(rng: Random, posts: list[Post], truth: dict[str, str]) -> list[Post]:
    """The same posts with other tasks: each session gets the first task that lacks votes and has none of its own."""
    names = sorted(truth)
    votes = -(-sum(len(post.answers) for post in posts) // len(names))
    voters: dict[str, set[str]] = {name: set() for name in names}
    lacking = names[:]
    handed_out = []
    for post in posts:
        given = []
        for one in post.answers:
            task = next((name for name in lacking if one.session not in voters[name]), None)
            if task is None:
                continue
            voters[task].add(one.session)
            if len(voters[task]) == votes:
                lacking.remove(task)
            given.append(_answer(rng, one.session, task, truth[task]))
        handed_out.append(Post(post.session, tuple(given)))
    return handed_out


def hash_of(text: str) -> int:
    """A number that is the same in every run, unlike `hash`."""
    return sum((index + 1) * ord(letter) for index, letter in enumerate(text))


def closing_posts(number: int, answers: int) -> list[Post]:
    """Other sessions, who come when the day is over, so that its last crowd is complete."""
    return [
        Post(session, tuple(Answer(session, f"closing-{task}", ANSWERS[0], KINDS[0]) for task in range(answers)))
        for session in (f"x-{one:03d}" for one in range(number))
    ]
