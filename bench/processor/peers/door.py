"""The product: `python -m bench.processor.peers.door CONFIG_JSON` is a processor with keys that need no folder."""

import json
import sys

from bench.processor.peers.work import epoch_key
from processors.main import run
from processors.masking.mask import mask
from testkit.door_config import door_config

if __name__ == "__main__":
    config = door_config(**json.loads(sys.argv[1]))
    sys.exit(run(config, epoch_key, mask=mask, on_ready=lambda: print("READY", flush=True)))
