"""Runbooks, tried: their commands on running stacks, and the audit after each.

python -m faults.runbooks                       every drill
python -m faults.runbooks --only keys           one
python -m faults.runbooks --only upgrade --only rollback --from COMMIT    from that commit's code, and back to it

Exit code 0 where each ended as its runbook says. A drill prints how long it took, waiting included.
"""

import argparse
import sys
import time
from collections.abc import Callable

from faults.runbooks import moving, one_host, rolling

DRILLS: dict[str, Callable[[str], str]] = {
    "restore": one_host.clickhouse_restored,
    "keys": one_host.keys,
    "poison": one_host.poisoned,
    "partitions": one_host.partitions,
    "site-keys": one_host.site_keys,
    "wrong-label": one_host.wrong_label,
    "moving": moving.one_host_to_cluster,
    "kafka": rolling.kafka_away,
    "upgrade": rolling.upgrade,
    "rollback": rolling.rollback,
    "schema": rolling.schema_change,
    "schema-too-early": rolling.schema_too_early,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], choices=DRILLS)
    parser.add_argument("--from", dest="commit", default="HEAD~20", help="of the other version")
    options = parser.parse_args()
    failed = False
    for name in options.only or DRILLS:
        began = time.monotonic()
        try:
            said = DRILLS[name](options.commit)
        except Exception as error:
            failed, said = True, f"FAILED: {type(error).__name__}: {error}"[:2_000]
        sys.stdout.write(f"{name}: {said} ({time.monotonic() - began:.0f} s)\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
