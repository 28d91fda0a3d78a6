"""`python -m attacks.linkage`: what `unjoin attack` runs."""

import sys

from attacks.linkage.command import run_attack
from schemas.outcomes import UnjoinError

if __name__ == "__main__":
    try:
        sys.exit(run_attack(sys.argv[1:]))
    except UnjoinError as error:
        sys.exit(f"unjoin attack: {error}")
