"""A small model on `session_features`: which columns it looks at, and how it is fitted. Pure."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# How a hand moves and keys are struck, whoever sent it; how much there was of it says more of a client than of a hand.
MEASURES = (
    *("hand_interval_ms", "hand_turn_rad", "hand_straightness", "hand_speed_variation", "hand_peak_time"),
    *("hand_jerk_cost", "touch_force", "scroll_interval_ms", "key_dwell_ms", "key_flight_ms", "key_press_ms"),
)
ALONE = (
    *("hand_straight_share", "hand_whole_share", "scroll_reversal_share", "key_dwell_variation", "key_press_variation"),
    *("key_rollover_share", "gyroscope_energy_deg2_s2", "accelerometer_energy_m2_s4"),
)


def lacking(*packages: str) -> str:
    """Which packages are not installed, and what installs them; empty where all are. They are imported when used."""
    missing = [name for name in packages if find_spec(name) is None]
    return f"{', '.join(missing)}: scripts/setup test" * bool(missing)


def inputs_of(features: pd.DataFrame) -> pd.DataFrame:
    """The columns that a model can learn from, float64, a row a session; NaN where nothing was told."""
    names = [name for name in features.columns if name.rpartition("_q")[0] in MEASURES or name in ALONE]
    return features[names].astype("float64").dropna(axis=1, how="all")


def fitted(features: pd.DataFrame, is_bot: NDArray[np.bool_], seed: int = 1) -> Any:
    """A random forest, people and bots weighing the same; it takes NaN as it is. Source: Breiman 2001."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

    model = RandomForestClassifier(200, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    return model.fit(inputs_of(features), is_bot)


def scores_of(model: Any, features: pd.DataFrame) -> Floats:
    """How much each session looks like a bot's, 0 to 1."""
    scores: Floats = model.predict_proba(features[model.feature_names_in_].astype("float64"))[:, 1]
    return scores
