"""`python -m unjoin`."""

import sys

from unjoin.cli import main

sys.exit(main())
