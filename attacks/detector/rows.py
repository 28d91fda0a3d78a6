"""A play as rows of `signals`: as whole paths, which other clients and older SDKs send, or as the SDK tells. Pure."""

from collections.abc import Sequence
from typing import Any

from attacks.detector.features import PAGE_END_MS
from attacks.detector.plays import Play
from schemas.events import SAMPLES_MAX
from unjoin.simulator.rng import Rng
from unjoin.simulator.sdk_signals import SIGNALS_MS, PiecedHand, PlainHand, PlainKeys, Sample, SampledKeys, Stroke

STROKES_MAX = 16
"""Of a `key` event, the collector keeps so many."""


def rows_of(play: Play, session: str, rng: Rng, began_ms: int, *, is_reduced: bool) -> list[dict[str, Any]]:
    """The session's rows; of a play without hands and keys there are none.

    Args:
        began_ms: Unix milliseconds.
        is_reduced: as the SDK tells it, once in 20 seconds; else an event for each answer, with every thinned sample.
    """
    hand = PiecedHand(rng) if is_reduced else PlainHand()
    keys = SampledKeys(rng) if is_reduced else PlainKeys()
    rows: list[dict[str, Any]] = []

    def send(at: float) -> None:
        places, strokes = hand.take(), keys.take()
        for first in range(0, len(places), SAMPLES_MAX):
            rows.append(_row("pointer", session, began_ms, at, _places(places[first : first + SAMPLES_MAX])))
        if strokes:
            rows.append(_row("key", session, began_ms, at, _strokes(strokes[:STROKES_MAX])))

    due = rng.random() * SIGNALS_MS
    for turn in play.turns:
        keys.type(turn.strokes)
        for sample in turn.way:
            while is_reduced and sample.t >= due:
                send(due)
                due += SIGNALS_MS
            hand.move([sample])
        if not is_reduced:
            send(turn.at)
    if is_reduced:
        send(play.turns[-1].at + PAGE_END_MS)
    for number, row in enumerate(rows):
        row["event_id"] = f"{session}-{number}"
    return rows


def _row(kind: str, session: str, began_ms: int, at: float, samples: dict[str, list[float]]) -> dict[str, Any]:
    nothing: dict[str, list[float]] = {"x": [], "y": [], "z": [], "force": [], "t_up": []}
    ts = began_ms + round(at)
    return {"site": "dev", "session": session, "type": kind, "ts": ts, "received_at": ts, **nothing, **samples}


def _places(places: Sequence[Sample]) -> dict[str, list[float]]:
    began = places[0].t
    return {
        "t": [sample.t - began for sample in places],
        **{n: [float(getattr(s, n)) for s in places] for n in ("x", "y")},
    }


def _strokes(strokes: Sequence[Stroke]) -> dict[str, list[float]]:
    began = strokes[0].down
    return {"t": [stroke.down - began for stroke in strokes], "t_up": [stroke.up - began for stroke in strokes]}
