"""The processor that is killed: as `unjoin process`, with a short session. Usage: door.py CONFIG_JSON

A child, so that SIGKILL takes nothing else. SIGUSR1 hangs its loop for good, while threads, the consumer's with its
heartbeats among them, go on.
"""

import json
import logging
import signal
import sys
import threading
from pathlib import Path

from processors.main import run
from processors.masking.mask import mask
from testkit.door_config import door_config
from unjoin.keys.keyring import Keyring

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGUSR1, lambda *_: threading.Event().wait())  # type: ignore[arg-type, return-value]
    given = json.loads(sys.argv[1])
    keyring = Keyring(Path(given.pop("epoch_keys_dir")))
    config = door_config(**given)
    sys.exit(run(config, keyring.key_of, mask=mask, on_ready=lambda: print("READY", flush=True)))
