"""docker-compose.yml as its tests see it: variables filled in, anchors merged, checked against the specification."""

import re
from pathlib import Path
from typing import Any

from compose_spec import PyOptions

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def variables() -> dict[str, tuple[str, str]]:
    """Every variable of the file: its name, and what stands where it has no value (`-` a default, `?` an error)."""
    return {match[1]: (match[2] or "", match[3] or "") for match in VARIABLE.finditer(FILE.read_text())}


def environment() -> dict[str, str]:
    """A value for each variable without a default."""
    return {name: f"set-{name.lower()}" for name, (kind, _) in variables().items() if kind != "-"}


def document(given: dict[str, str]) -> dict[str, Any]:
    """The file with variables given, as the Compose specification reads it.

    Raises:
        ValueError: it breaks the specification.
        KeyError: a required variable is not given.
    """

    def fill(match: re.Match[str]) -> str:
        name, kind, default = match[1], match[2], match[3]
        return given.get(name, default) if kind == "-" else given[name]

    options = PyOptions()
    options.apply_merge = True
    composed = options.from_yaml(VARIABLE.sub(fill, FILE.read_text()))
    composed.validate()
    return composed.to_dict()
