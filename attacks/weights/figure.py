"""The frontier as a picture: what a rule adds to the consensus, over what it adds to the attack that it helps most."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attacks.weights.frontier import Figure
from attacks.weights.leaks import MARGIN
from attacks.weights.quality import Memory, Source
from testkit.figures import COLOURS, drawn

GAIN_SHOWN_MIN = 5e-4
SHOWN = [f"{source}, memory of {Memory.DAY}" for source in (Source.GOLD, Source.AGREEMENT)]
FAMILIES = {
    "exact levels": ("o", COLOURS[1]),
    "levels with noise": (".", COLOURS[2]),
    "levels, 20 voters each": ("s", COLOURS[3]),
    "door's answer to a task": ("^", "#6c4ab6"),
    "suppressed": ("D", COLOURS[0]),
}


def family_of(figure: Figure) -> str | None:
    """Which kind of rule it is; None for what is not shown."""
    if figure.source not in SHOWN:
        return None
    if "suppressed" in figure.name:
        return "suppressed"
    if "door" in figure.name:
        return "door's answer to a task"
    if "epsilon" in figure.name:
        return "levels with noise"
    return "levels, 20 voters each" if "voters a level" in figure.name else "exact levels"


def draw(found: Mapping[str, Sequence[Figure]], file: Path) -> None:
    """Draws a panel a data set; left of the line no attack gains a point, above 0 the consensus is better."""
    with drawn(file, 1, len(found), size=(5 * len(found), 4.0)) as (_, panels):
        for panel, (name, figures) in zip(panels, found.items(), strict=True):
            for family, (marker, colour) in FAMILIES.items():
                some = [one for one in figures if family_of(one) == family]
                panel.errorbar(
                    [100 * max(*one.gains, GAIN_SHOWN_MIN) for one in some],
                    [100 * one.gain for one in some],
                    yerr=[
                        [100 * (one.gain - one.low) for one in some],
                        [100 * (one.high - one.gain) for one in some],
                    ],
                    fmt=marker,
                    color=colour,
                    markersize=4,
                    linewidth=0.5,
                    label=family,
                )
            ids = next(one for one in figures if "ids" in one.name)
            panel.axhline(100 * ids.gain, color="#8a929b", linestyle=":", linewidth=1)
            panel.axhline(0, color="#24292f", linewidth=0.5)
            panel.axvline(100 * MARGIN, color="#24292f", linestyle="--", linewidth=1)
            panel.set_xscale("log")
            panel.set_title(f"{name} (dotted: Dawid-Skene with ids)")
            panel.set_xlabel("points that the attack gains which gains most")
            panel.set_ylabel("points that the consensus gains")
        panels[0].legend(fontsize=7, loc="center")
