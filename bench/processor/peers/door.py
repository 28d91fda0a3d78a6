"""The product: `python -m bench.processor.peers.door CONFIG_JSON` is a processor with keys that need no folder."""

import json
import sys
from pathlib import Path

from bench.processor.peers.work import epoch_key
from processors.main import ProcessorConfig, run
from processors.masking.mask import mask

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    config = ProcessorConfig(**{**given, "data_dir": Path(given["data_dir"])})
    sys.exit(run(config, epoch_key, mask=mask, on_ready=lambda: print("READY", flush=True)))
