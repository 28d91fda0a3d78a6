"""What `session_features` says of a session, computed in plain numpy from its rows of `signals`; pure.

Written from the comments of the view's columns and not from its SQL, one step at a time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Features = dict[str, float | None]

SHOWN = {"q10": 0.1, "q50": 0.5, "q90": 0.9, "max": 1.0}


class Step:
    """From a sample to the next: milliseconds and pixels; NaN for a speed where it does not count."""

    def __init__(self, before: Sequence[float], after: Sequence[float]) -> None:
        self.ms = after[0] - before[0]
        self.across, self.down = after[1] - before[1], after[2] - before[2]
        self.px = float(np.hypot(self.across, self.down))
        self.counts = 0.1 <= self.ms < 250 and self.px <= 100_000
        self.speed = 1_000 * self.px / self.ms if self.counts else math.nan


def features_of(rows: Sequence[Mapping[str, Any]]) -> Features:
    """Every number of the view but the times, of the rows of one session; None for NULL."""
    found: Features = {"events": len(rows)}
    for kind in ("pointer", "touch", "scroll", "key", "gyroscope", "accelerometer"):
        found[f"{kind}_events"] = sum(row["type"] == kind for row in rows)
    times = sorted(row["at_ms"] for row in rows)
    _told(found, "gap_s", [(after - before) / 1_000 for before, after in pairwise(times)], "q50", "max")
    with np.errstate(all="ignore"):
        _hands(found, [row for row in rows if row["type"] in ("pointer", "touch") and _has(row, "x", "y")])
        _scrolling(found, [row for row in rows if row["type"] == "scroll" and _has(row, "x", "y")])
        _motion(found, rows)
    forces = [force for row in rows if row["type"] == "touch" for force in row["force"] if 0 <= force <= 1]
    _told(found, "touch_force", forces)
    _keys(found, [row for row in rows if row["type"] == "key" and _has(row, "t_up")])
    return found


def _hands(found: Features, rows: Sequence[Mapping[str, Any]]) -> None:
    values: dict[str, list[float]] = {name: [] for name in (
        "interval_ms", "pause_ms", "speed_px_s", "acceleration_px_s2", "jerk_px_s3", "turn_rad", "straightness",
        "speed_variation", "peak_time", "jerk_cost",
    )}  # fmt: skip
    path, starts, from_zero = 0.0, 0, 0
    places = [place for row in rows for place in zip(row["x"], row["y"], strict=True)]
    for row in rows:
        samples, steps = _walk(row)
        for place, sample in enumerate(samples):
            if place == 0 or not steps[place - 1].counts:
                starts += 1
                from_zero += sample[1] == 0 and sample[2] == 0
        values["pause_ms"] += [step.ms for step in steps if 250 <= step.ms <= 3_600_000]
        for run in _runs(steps):
            path += sum(step.px for step in run)
            values["interval_ms"] += [step.ms for step in run]
            values["speed_px_s"] += [step.speed for step in run]
            changes = [2_000 * (b.speed - a.speed) / (a.ms + b.ms) for a, b in pairwise(run)]
            jerks = [1_000 * (after - before) / step.ms for (before, after), step in zip(pairwise(changes), run[1:], strict=False)]  # fmt: skip # noqa: E501
            values["acceleration_px_s2"] += changes
            values["jerk_px_s3"] += [abs(jerk) for jerk in jerks]
            values["turn_rad"] += [_turn(a, b) for a, b in pairwise(run) if a.speed > 0 and b.speed > 0]
            if len(run) >= 3 and sum(step.px for step in run) >= 1:
                for name, value in _movement(run, jerks).items():
                    values[name].append(value)
    found["hand_samples"], found["hand_path_px"] = len(places), path
    found["hand_movements"], found["hand_pauses"] = len(values["jerk_cost"]), len(values["pause_ms"])
    found["hand_from_zero_share"] = _share(from_zero, starts)
    whole = sum(bool(x == np.floor(x) and y == np.floor(y)) for x, y in places)
    found["hand_whole_share"] = _share(whole, len(places))
    found["hand_still_share"] = _share(sum(speed == 0 for speed in values["speed_px_s"]), len(values["speed_px_s"]))
    found["hand_straight_share"] = _share(sum(turn < 0.02 for turn in values["turn_rad"]), len(values["turn_rad"]))
    _told(found, "hand_pause_ms", values.pop("pause_ms"), "q50", "q90")
    for name, each in values.items():
        _told(found, f"hand_{name}", each)


def _movement(run: Sequence[Step], jerks: Sequence[float]) -> dict[str, float]:
    speeds, length, ms = [step.speed for step in run], sum(step.px for step in run), sum(step.ms for step in run)
    peak, chord = max(speeds), np.hypot(sum(step.across for step in run), sum(step.down for step in run))
    fastest = speeds.index(peak)
    return {
        "straightness": min(1.0, chord / length),
        "speed_variation": float(np.std(speeds) / np.mean(speeds)),
        "peak_time": (sum(step.ms for step in run[:fastest]) + run[fastest].ms / 2) / ms,
        "jerk_cost": (ms / 1_000) ** 3
        * sum((jerk / peak) ** 2 * step.ms / 1_000 for jerk, step in zip(jerks, run[1:], strict=False)),
    }


def _scrolling(found: Features, rows: Sequence[Mapping[str, Any]]) -> None:
    runs = [run for row in rows for run in _runs(_walk(row)[1])]
    steps = [step for run in runs for step in run]
    found["scroll_path_px"] = sum((step.px for step in steps), 0.0)
    _told(found, "scroll_speed_px_s", [step.speed for step in steps])
    _told(found, "scroll_interval_ms", [step.ms for step in steps], "q50", "q90")
    pairs = [a.down * b.down for run in runs for a, b in pairwise(run) if a.down * b.down != 0]
    found["scroll_reversal_share"] = _share(sum(pair < 0 for pair in pairs), len(pairs))


def _keys(found: Features, rows: Sequence[Mapping[str, Any]]) -> None:
    pairs = [list(zip(row["t"], row["t_up"], strict=True)) for row in rows]
    dwells = [up - down for strokes in pairs for down, up in strokes if 0 <= up - down <= 10_000]
    following = [both for strokes in pairs for both in pairwise(strokes) if 0 <= both[1][0] - both[0][0] <= 5_000]
    presses = [after[0] - before[0] for before, after in following]
    flights = [after[0] - before[1] for before, after in following if abs(after[0] - before[1]) <= 5_000]
    found["key_strokes"] = sum(map(len, pairs))
    for name, values in (("dwell", dwells), ("flight", flights), ("press", presses)):
        _told(found, f"key_{name}_ms", values)
    for name, values in (("dwell", dwells), ("press", presses)):
        told = bool(values) and np.mean(values) > 0
        found[f"key_{name}_variation"] = float(np.std(values) / np.mean(values)) if told else None
    found["key_rollover_share"] = _share(sum(flight < 0 for flight in flights), len(flights))


def _motion(found: Features, rows: Sequence[Mapping[str, Any]]) -> None:
    for kind, unit in (("gyroscope", "deg_s"), ("accelerometer", "m_s2")):
        chosen = [row for row in rows if row["type"] == kind and _has(row, "x", "y", "z")]
        sizes = [float(np.hypot(np.hypot(*place[:2]), place[2])) for row in chosen
                 for place in zip(row["x"], row["y"], row["z"], strict=True)]  # fmt: skip
        norms = [size for size in sizes if size <= 10_000]
        found[f"{kind}_samples"] = len(sizes)
        _told(found, f"{kind}_{unit}", norms, "q50", "q90")
        if kind == "gyroscope":
            found["gyroscope_energy_deg2_s2"] = float(np.mean(np.square(norms))) if norms else None
        else:
            found["accelerometer_energy_m2_s4"] = float(np.var(norms)) if norms else None


def _has(row: Mapping[str, Any], *columns: str) -> bool:
    return all(len(row[column]) == len(row["t"]) for column in columns)


def _walk(row: Mapping[str, Any]) -> tuple[list[tuple[float, ...]], list[Step]]:
    samples = list(zip(row["t"], row["x"], row["y"], strict=True))
    return samples, [Step(before, after) for before, after in pairwise(samples)]


def _runs(steps: Iterable[Step]) -> list[list[Step]]:
    runs: list[list[Step]] = [[]]
    for step in steps:
        if step.counts:
            runs[-1].append(step)
        else:
            runs.append([])
    return [run for run in runs if run]


def _turn(before: Step, after: Step) -> float:
    crossed = before.across * after.down - after.across * before.down
    return abs(math.atan2(crossed, before.across * after.across + before.down * after.down))


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


def _told(found: Features, name: str, values: Sequence[float], *shown: str) -> None:
    for suffix in shown or ("q10", "q50", "q90"):
        found[f"{name}_{suffix}"] = float(np.quantile(values, SHOWN[suffix])) if values else None
