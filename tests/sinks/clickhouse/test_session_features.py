"""A session's signals as numbers: what the view says, beside the same computed in numpy."""

import itertools
import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.clickhouse.embedded import Embedded
from sinks.rows.dictionary import DICTIONARY
from testkit.feature_oracle import features_of
from testkit.sink_records import NOW_MS, signal, signals

Row = dict[str, Any]
NOTHING: Row = {"t": [], "x": [], "y": [], "z": [], "force": [], "t_up": []}
COLUMNS = {
    **{"pointer": ("t", "x", "y"), "scroll": ("t", "x", "y"), "touch": ("t", "x", "y", "force")},
    **{"key": ("t", "t_up"), "gyroscope": ("t", "x", "y", "z"), "accelerometer": ("t", "x", "y", "z")},
}
# Every number of them that docs/features.md calls kept, of how a hand moves.
KEPT = ("interval_ms", "turn_rad", "straightness", "speed_variation", "peak_time", "jerk_cost")


def event(number: int, session: str, kind: str, at_ms: int, **samples: Sequence[float]) -> Row:
    return signal(number, session=session, type=kind, ts=at_ms, received_at=at_ms, **{**NOTHING, **samples})


def stored(engine: Embedded, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Stores the rows, and gives the features of their sessions."""
    engine.insert(signals(list(rows)))
    sessions = ", ".join({f"'{row['session']}'" for row in rows})
    answer = engine.select(f"SELECT * FROM unjoin.session_features WHERE session IN ({sessions})", "JSONEachRow")
    return {row["session"]: row for row in map(json.loads, answer.splitlines())}


def oracle(rows: Sequence[Row]) -> dict[str, Any]:
    return features_of([{**row, "at_ms": row["received_at"]} for row in rows])


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    numbers = {name: value for name, value in found.items() if name not in ("site", "session", "first_at", "last_at")}
    assert numbers.keys() == expected.keys()
    for name, value in numbers.items():
        wanted = expected[name]
        assert (value is None) == (wanted is None), name
        if wanted is not None:
            assert math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9), (name, value, wanted)


# What an odd or a hostile client sends; JSON has neither of the last two, and Avro has.
ODD = [0.0, -0.0, 5e-324, 1e-9, -1e9, 1e5, 1e308, -1.7e308, math.inf, math.nan]
PLACES = st.lists(
    st.integers(-40, 40).map(lambda quarters: quarters / 4) | st.sampled_from(ODD), min_size=27, max_size=27
)
STEPS_MS = st.sampled_from([8.0, 16.0, 40.0, 0.125, 249.0]) | st.sampled_from([0.0, 250.0, 1_000.0, -5.0, *ODD])
RUNS = itertools.count()


@st.composite
def events(draw: st.DrawFn) -> Row:
    """One event, of any type and odd in any way that the table can hold."""
    kind = draw(st.sampled_from(sorted(COLUMNS)))
    t = list(itertools.accumulate(draw(st.lists(STEPS_MS, min_size=1, max_size=9))))
    places = draw(PLACES)
    row: Row = {"type": kind, "at_ms": NOW_MS + draw(st.integers(0, 10_000_000)), "t": t}
    for number, column in enumerate(COLUMNS[kind][1:]):
        row[column] = places[number :: len(COLUMNS[kind])][: len(t)]
    if kind == "key":
        row["t_up"] = [down + 20 * place for down, place in zip(t, row["t_up"], strict=True)]
    elif draw(st.integers(0, 9)) == 0:
        row["y"] = row["y"][:-1]  # of lengths that differ, as no collector lets in
    return row


@given(sessions=st.lists(st.lists(events(), min_size=1, max_size=3), min_size=1, max_size=6))
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_number_is_what_numpy_says(embedded: Embedded, sessions: list[list[Row]]) -> None:
    """Whatever a client sends, and none of it is infinite or not a number."""
    run = next(RUNS)
    rows = [
        event(100 * place + number, f"{run}-{place}", row["type"], row["at_ms"], **{
            name: values for name, values in row.items() if name not in ("type", "at_ms")
        })
        for place, session in enumerate(sessions)
        for number, row in enumerate(session)
    ]  # fmt: skip
    found = stored(embedded, rows)
    assert len(found) == len(sessions)
    for session, told in found.items():
        assert_same(told, oracle([row for row in rows if row["session"] == session]))
        assert all(math.isfinite(value) for value in told.values() if isinstance(value, float))


def test_events_without_anything_to_measure_give_null_and_zero(engine: Embedded) -> None:
    """One sample, equal times, no length: a row all the same, since that it sent so little tells something."""
    rows = [
        event(1, "one-sample", "pointer", NOW_MS, t=[0.0], x=[5.0], y=[5.0]),
        event(2, "equal-times", "pointer", NOW_MS, t=[7.0] * 9, x=[1.0] * 9, y=list(map(float, range(9)))),
        event(3, "no-length", "pointer", NOW_MS, t=[16.0 * n for n in range(9)], x=[3.0] * 9, y=[4.0] * 9),
        event(4, "huge", "pointer", NOW_MS, t=[16.0 * n for n in range(9)], x=[(-1) ** n * 1.7e308 for n in range(9)], y=[0.0] * 9),  # noqa: E501
    ]  # fmt: skip
    found = stored(engine, rows)
    for session in ("one-sample", "equal-times", "huge"):
        told = found[session]
        assert told["hand_samples"] in (1, 9)
        assert (told["hand_movements"], told["hand_path_px"], told["gap_s_max"]) == (0, 0, None)
        assert {told[f"hand_{name}_q50"] for name in (*KEPT, "speed_px_s")} == {None}
    still = found["no-length"]
    assert (still["hand_still_share"], still["hand_speed_px_s_q90"], still["hand_movements"]) == (1, 0, 0)
    assert (still["hand_straightness_q50"], still["hand_turn_rad_q50"]) == (None, None)


def test_what_the_sdk_turns_and_scales_leaves_what_is_said_to_be_kept(engine: Embedded) -> None:
    """A model that stands on these sees the same of a page's SDK as of a whole path."""
    rng = Random(3)
    whole, told = [], []
    for number in range(30):
        t = [0.0]
        for _ in range(7):
            t.append(t[-1] + rng.uniform(38, 60))
        places = [complex(rng.gauss(30 * n, 9), rng.gauss(0, 9)) for n in range(8)]
        factor = 4 ** (rng.random() - 0.5) * complex(math.cos(angle := rng.uniform(0, math.tau)), math.sin(angle))
        for session, into in (("whole", whole), ("told", told)):
            moved = places if session == "whole" else [(place - places[0]) * factor for place in places]
            xy = {"x": [place.real for place in moved], "y": [place.imag for place in moved]}
            into.append(event(number, session, "pointer", NOW_MS + number, t=t, **xy))
    found = stored(engine, whole + told)
    for name in KEPT:
        for quantile in ("q10", "q50", "q90"):
            before, after = (found[session][f"hand_{name}_{quantile}"] for session in ("whole", "told"))
            assert math.isclose(before, after, rel_tol=1e-6), name
    assert found["whole"]["hand_speed_px_s_q90"] != pytest.approx(found["told"]["hand_speed_px_s_q90"], rel=0.01)
    assert (found["whole"]["hand_from_zero_share"], found["told"]["hand_from_zero_share"]) == (0, 1)


@pytest.mark.usefixtures("unmerged")
def test_an_event_that_came_twice_counts_once_and_sites_are_apart(engine: Embedded) -> None:
    """A copy computed as rows come would count it twice."""
    row = event(1, "s", "key", NOW_MS, t=[0.0, 100.0], t_up=[60.0, 190.0])
    for again in (row, {**row, "received_at": NOW_MS + 5}, {**row, "site": "other"}):
        engine.insert(signals([again]))
    answer = engine.select(
        "SELECT site, events, key_strokes, key_flight_ms_q50 FROM unjoin.session_features ORDER BY site", "TSV"
    )
    assert answer == b"dev\t1\t2\t40\nother\t1\t2\t40\n"


def test_every_number_says_what_of_it_the_sdk_tells() -> None:
    """A model that learned from whole paths would take the SDK's own clock for a person's."""
    columns = DICTIONARY["session_features"].columns
    told = {name for name, column in columns.items() if "Of the SDK: " in column.doc}
    assert columns.keys() - told == {"site", "session", "first_at", "last_at"}
