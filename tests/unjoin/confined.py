"""A process that confines itself as its role does, then tries to get out; prints what came of each try as JSON.

python -m tests.unjoin.confined ROLE DATA_DIR
"""

import datetime
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sinks.clickhouse.embedded import Embedded
from sinks.http.external_tables import ExternalTable
from testkit.sink_records import signal, signals
from unjoin.confine.allowed_paths import Role, confine_role
from unjoin.confine.landlock import SandboxError, confine
from unjoin.keys.keyring import Keyring, KeyringError
from unjoin.settings import Settings

DAY = datetime.date(2026, 11, 24)


def outcome(attempt: Callable[[], object]) -> str:
    """The kind of error, or what was reached."""
    try:
        return str(attempt())
    except OSError as error:
        return f"errno {error.errno}"
    except (SandboxError, KeyringError) as error:
        return f"{type(error).__name__} {error}"
    except Exception as error:
        return f"{type(error).__name__} {error} {getattr(error, 'detail', '')}"


def keys_used(folder: Path) -> str:
    """A key read, one made and one destroyed, as a role does every day."""
    keyring = Keyring(folder)
    keyring.key_of(DAY)
    keyring.key_of(DAY + datetime.timedelta(days=1))
    keyring.destroy(DAY)
    return f"{len(keyring.days())} left of {len(keyring.history())} events"


def try_engine(settings: Settings, key: Path) -> dict[str, Any]:
    """What a sink does, and what SQL can reach."""
    found: dict[str, Any] = {}
    engine = Embedded(settings.clickhouse_dir)
    engine.migrate()
    engine.insert(signals([signal(1)]))
    found["stored"] = engine.insert_missing(signals([signal(1), signal(2)]))
    found["sql scalar"] = outcome(lambda: engine.select(f"SELECT file('{key}')"))
    found["sql table"] = outcome(lambda: engine.select(f"SELECT * FROM file('{key}', LineAsString)"))
    keys = settings.edge_keys_dir.parent
    found["sql glob"] = outcome(lambda: engine.select(f"SELECT * FROM file('{keys}/*/*', LineAsString)", "TSV"))
    found["sql outfile"] = outcome(lambda: engine.select(f"SELECT 1 INTO OUTFILE '{settings.data_dir}/x'"))
    table = ExternalTable("ext", (("a", "UInt8"),), "TSV", b"44\n1\n", 100_000_000)
    asked = ("SELECT sum(a) FROM ext", "TSV", {"readonly": "1"}, {}, "unjoin", 99, (table,))
    found["external table"] = outcome(lambda: bytes(engine.read_bounded(*asked).body))
    engine.close()
    return found


def main() -> None:
    role: Role = sys.argv[1]  # type: ignore[assignment]
    data = Path(sys.argv[2])
    settings = Settings(data_dir=data)
    found: dict[str, object] = {"confined": confine_role(role, settings)}
    key = settings.edge_keys_dir / f"{DAY}.key"
    found["edge key"] = outcome(key.read_bytes)
    found["edge key through proc"] = outcome(lambda: Path(f"/proc/self/root{key}").read_bytes())
    found["epoch key"] = outcome((settings.epoch_keys_dir / f"{DAY}.key").read_bytes)
    found["sites"] = outcome(lambda: len(json.loads(settings.sites_file.read_text())["sites"]))
    found["sites changed"] = outcome(lambda: settings.sites_file.write_text("{}"))
    found["stored rows"] = outcome(lambda: os.listdir(settings.clickhouse_dir))
    found["records"] = outcome(lambda: os.listdir(data / "kafka"))
    found["listing"] = outcome(lambda: os.listdir(data))
    found["writing"] = outcome(lambda: (data / "x").write_text("x"))
    found["accounts"] = outcome(lambda: Path("/etc/passwd").read_text())
    found["parent"] = outcome(lambda: Path(f"/proc/{os.getppid()}/environ").read_text())
    found["program"] = outcome(lambda: os.execv("/bin/true", ["true"]))
    found["edge keys used"] = outcome(lambda: keys_used(settings.edge_keys_dir))
    found["epoch keys used"] = outcome(lambda: keys_used(settings.epoch_keys_dir))
    if role == "sink":
        found |= try_engine(settings, key)
        found["again"] = outcome(lambda: confine([], []))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
