"""The attacker of all logs, who is told how good every session is and sees what its labels left with. Pure.

He weighs each pair of a label and a record by what attacks.logs knows, and by how likely the record's session is to
give a label of that level.
"""

from random import Random

import msgspec
import numpy as np

from attacks.logs.evidence import FEATURES, Attacker, Batch, Outcome, Weights, batches_by_offset, marginals
from attacks.logs.holdings import LoggedDay
from attacks.logs.traffic import HOUR_MS, Telling, posts_of_day
from attacks.logs.virtual_day import virtual_day
from attacks.weights.votes import Floats, Ints

ANSWERS_A_SESSION, TASKS = 12, 3_000
NEVER = 1e-12


class LevelAttacker(Attacker):
    """Knows of each session how likely its labels leave with each level; none of a session that never gets a label out.

    Args:
        level: of each row.
        odds: session -> of each level.
    """

    def __init__(self, day: LoggedDay, level: Ints, odds: dict[str, Floats]) -> None:
        super().__init__(day)
        self._level = level
        self._odds = np.log(np.array([odds[session] for session in self._sessions.tolist()]) + NEVER)

    def by_everything(self, *, sees_level: bool) -> Outcome:
        """Times, content of signals, and what each label left with."""
        batches = batches_by_offset(self._day.holdings)
        weights = Weights(self._day, self._candidates, batches[::2], FEATURES)

        def guess(batch: Batch) -> Ints:
            pairs = self._candidates.of(batch.records)
            prior = self._candidates.prior[pairs]
            weight = weights.of(batch) + prior
            if sees_level:
                weight += self._odds[self._session_of[pairs]][:, self._level[batch.rows]].T
            odds = marginals(weight, np.exp(prior))
            members, place = np.unique(self._session_of[pairs], return_inverse=True)
            summed = np.array([np.bincount(place, row, len(members)) for row in odds])
            best: Ints = members[summed.argmax(axis=1)]
            return best

        return self._judged("everything, and the level" if sees_level else "everything", batches, guess)


def day_of(seed: int, *, hours: float, sessions_an_hour: int, crowd_target: int) -> LoggedDay:
    """A day of people whose pages send what the SDK sends, its labels sealed."""
    rng = Random(seed)
    posts = posts_of_day(
        rng, Telling.REDUCED, sessions=round(sessions_an_hour * hours), answers=ANSWERS_A_SESSION,
        span_ms=hours * HOUR_MS, tasks=TASKS,
    )  # fmt: skip
    return virtual_day(posts, rng, crowd_target=crowd_target, is_sealed=True)


def with_levels(day: LoggedDay, odds_of_level: Floats, shares: Floats, rng: np.random.Generator) -> LevelAttacker:
    """Draws how good each session is, and what its labels leave with.

    Args:
        odds_of_level: (qualities, levels) how likely a label of a session of each quality leaves with each level.
        shares: (qualities,) of sessions.
    """
    sessions = sorted({one.session for one in day.holdings.told} | set(day.truth.owner))
    quality = dict(zip(sessions, rng.choice(len(shares), len(sessions), p=shares).tolist(), strict=True))
    of_row = odds_of_level[[quality[owner] for owner in day.truth.owner]]
    level = (rng.random(len(of_row))[:, None] >= of_row.cumsum(axis=1).round(12)).sum(axis=1)
    return LevelAttacker(day, level, {session: odds_of_level[one] for session, one in quality.items()})


def without_failing(day: LoggedDay, share: float, rng: np.random.Generator) -> LevelAttacker:
    """Draws who fails, whose labels never leave; the attacker is told who that is."""
    sessions = sorted({one.session for one in day.holdings.told} | set(day.truth.owner))
    fails = dict(zip(sessions, (rng.random(len(sessions)) < share).tolist(), strict=True))
    owner = day.truth.owner
    committed = [
        msgspec.structs.replace(moment, rows=tuple(row for row in moment.rows if not fails[owner[row]]))
        for moment in day.holdings.committed
    ]
    left = msgspec.structs.replace(day, holdings=msgspec.structs.replace(day.holdings, committed=committed))
    odds = {session: np.array([0.0 if is_failing else 1.0]) for session, is_failing in fails.items()}
    return LevelAttacker(left, np.zeros(len(owner), dtype=np.int64), odds)
