"""Sessions that answer, seeded: the edge's own records, so that whose each of them is can be computed. Pure."""

from random import Random

from ingest.encode.pseudonym import EdgeKeys
from ingest.encode.records import Record, Sender, records_of
from ingest.encode.seals import Seals
from schemas.events import AnyEvent, ImageLabel, TextAnswer, Verdict

SITE = "dev"
ACTIVE_SESSIONS = 120
ANSWERS_MAX = 8
TASKS = 400
BOT_SHARE = 0.15
NEW_SESSION_SHARE = 0.08
AGAIN_SHARE = 0.06
GARBAGE_SHARE = 0.003
BUSY_SHARE = 0.25
BUSY_POSTS = 150
ANSWERS = ("beagle", "a red bus", "kein Hund", "犬", "ask jo.doe@example.com", "call +49 30 901820 now", "")
LONG_ANSWER, LONG_SHARE = "x" * 30_000, 0.12  # so that a release is several batches, and a kill falls between two


class Answers:
    """Posts of many sessions: a few busy ones, votes that are given twice, bots that are found out, and garbage.

    Args:
        rng: decides everything.
        edge_keys: of the collector whose records these are.
        seals: its own as well.
    """

    def __init__(self, rng: Random, edge_keys: EdgeKeys, seals: Seals) -> None:
        self._rng = rng
        self._edge_keys = edge_keys
        self._seals = seals
        self._sessions = 0
        self._active = [self._new_session() for _ in range(ACTIVE_SESSIONS)]
        self._given: dict[str, list[str]] = {}
        self._posts = 0
        self._busy = self._active[0]

    def post(self, now_ms: int) -> list[tuple[int, bytes]]:
        """The next post's records, partition and value: 1 to 8 answers of a session, a verdict, or bytes of nobody."""
        rng = self._rng
        self._posts += 1
        if self._posts % BUSY_POSTS == 0:
            self._busy = rng.choice(self._active)
        if rng.random() < GARBAGE_SHARE:
            return [(self._seals.partition_of(rng.randbytes(32)), rng.randbytes(rng.randint(0, 40)))]
        if rng.random() < NEW_SESSION_SHARE:
            self._active[rng.randrange(ACTIVE_SESSIONS)] = self._new_session()
        # Some are much more active than others, and for a while one of them gives a quarter of everything.
        session = self._busy if rng.random() < BUSY_SHARE else self._active[int(ACTIVE_SESSIONS * rng.random() ** 2)]
        if is_bot(session) and rng.random() < 0.2:
            return self._records(
                "service", [Verdict(id="v", ts=now_ms, session=session, human=rng.random() < 0.1)], now_ms
            )
        return self._records(
            session, [self._answer(session, now_ms) for _ in range(rng.randint(1, ANSWERS_MAX))], now_ms
        )

    def _answer(self, session: str, now_ms: int) -> AnyEvent:
        rng = self._rng
        given = self._given.setdefault(session, [])
        task = rng.choice(given) if given and rng.random() < AGAIN_SHARE else f"task-{rng.randrange(TASKS)}"
        given.append(task)
        kind = rng.choice((ImageLabel, TextAnswer))
        return kind(
            id="e", ts=now_ms, task=task, answer=LONG_ANSWER if rng.random() < LONG_SHARE else rng.choice(ANSWERS)
        )

    def _records(self, session: str, events: list[AnyEvent], now_ms: int) -> list[tuple[int, bytes]]:
        sender = Sender(SITE, session, now_ms, "", "")
        records: list[Record]
        records, _ = records_of(enumerate(events), sender, self._edge_keys, self._seals)
        return [(record.partition or 0, record.value) for record in records]

    def _new_session(self) -> str:
        self._sessions += 1
        kind = "bot" if self._rng.random() < BOT_SHARE else "human"
        return f"{kind}-{self._sessions}"


def is_bot(session: str) -> bool:
    """Whether its name says so; the door never sees it."""
    return session.startswith("bot-")
