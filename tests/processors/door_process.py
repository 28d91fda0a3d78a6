"""A processor as a process of its own, so that tests can kill it. Usage: door_process.py KEYS CONFIG_JSON

KEYS says how the epoch keys behave: `given`, `destroyed`, `lost` (as a keyring that misses one), `hang` (the event loop
stops for good).
"""

import datetime
import hashlib
import json
import logging
import sys
import threading

from processors.faust_app import watchdog
from processors.main import run
from schemas.outcomes import UnjoinError
from testkit.door_config import door_config
from testkit.unmasked import unmasked


def epoch_key(day: datetime.date) -> bytes:
    """A key that the test can compute as well."""
    return hashlib.sha256(day.isoformat().encode()).digest()


def key_destroyed(day: datetime.date) -> None:
    return None


def key_lost(day: datetime.date) -> bytes:
    raise UnjoinError("the key of the day is missing")


def key_hangs(day: datetime.date) -> bytes:
    threading.Event().wait()
    raise AssertionError


KEYS = {"given": epoch_key, "destroyed": key_destroyed, "lost": key_lost, "hang": key_hangs}

if __name__ == "__main__":
    # DEBUG everywhere: whatever the libraries would log of a record must stay out all the same.
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
    watchdog.ANSWER_S_MAX = 3.0  # and then it says that its broker is away
    config = door_config(**json.loads(sys.argv[2]))
    sys.exit(run(config, KEYS[sys.argv[1]], mask=unmasked, on_ready=lambda: print("READY", flush=True)))
