"""A process that confines itself as a sink does, then tries to get out; prints what came of each try as JSON.

python -m tests.sinks.confined DATA_DIR SECRET
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sinks.embedded import Embedded
from sinks.sandbox import SandboxError, confine
from tests.sinks.rows import signal, signals


def outcome(attempt: Callable[[], object]) -> str:
    """The kind of error, or what was reached."""
    try:
        return str(attempt())
    except OSError as error:
        return f"errno {error.errno}"
    except SandboxError as error:
        return f"SandboxError {error}"
    except Exception as error:
        return f"{type(error).__name__} {error} {getattr(error, 'detail', '')}"


def main() -> None:
    data, secret = Path(sys.argv[1]), sys.argv[2]
    key = data / "keys" / "edge" / "2026-09-21"
    directory = data / "clickhouse"
    directory.mkdir()
    held = confine([], [directory], closed=[data / "keys", data / "sites.json"])
    found: dict[str, object] = {"confined": held}
    found["key"] = outcome(key.read_text)
    found["key through proc"] = outcome(lambda: Path(f"/proc/self/root{key}").read_text())
    found["sites"] = outcome((data / "sites.json").read_text)
    found["listing"] = outcome(lambda: os.listdir(data))
    found["writing"] = outcome(lambda: (data / "x").write_text("x"))
    found["accounts"] = outcome(lambda: Path("/etc/passwd").read_text())
    found["parent"] = outcome(lambda: Path(f"/proc/{os.getppid()}/environ").read_text())
    found["program"] = outcome(lambda: os.execv("/bin/true", ["true"]))

    engine = Embedded(directory)
    engine.migrate()
    engine.insert(signals([signal(1)]))
    found["stored"] = engine.insert_missing(signals([signal(1), signal(2)]))
    found["sql scalar"] = outcome(lambda: engine.select(f"SELECT file('{key}')"))
    found["sql table"] = outcome(lambda: engine.select(f"SELECT * FROM file('{key}', LineAsString)"))
    found["sql glob"] = outcome(lambda: engine.select(f"SELECT * FROM file('{data}/keys/*/*', LineAsString)", "TSV"))
    found["sql outfile"] = outcome(lambda: engine.select(f"SELECT 1 INTO OUTFILE '{data}/x'"))
    engine.close()
    found["again"] = outcome(lambda: confine([], []))
    assert secret
    print(json.dumps(found))


if __name__ == "__main__":
    main()
