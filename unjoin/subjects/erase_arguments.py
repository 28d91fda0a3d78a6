"""The options of `unjoin erase`."""

import argparse
from pathlib import Path

from unjoin.output import add_format
from unjoin.subjects.arguments import add_search_arguments, add_selector_arguments


def add_erase_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom, or `--list`, or `--verify` with whom."""
    add_selector_arguments(parser)
    parser.add_argument(
        "--from", dest="file", type=Path, metavar="FILE",
        help='many at once: a line each, as {"session": "…", "site": "…"}, {"account": "…"} or {"email": "…"}',
    )  # fmt: skip
    parser.add_argument("--reference", default="", metavar="TEXT", help="your word for the request: a ticket, no name")
    parser.add_argument("--yes", action="store_true", help="also where nothing is stored, or most of a table would go")
    parser.add_argument("--no-wait", action="store_true", help="return once the request is written down")
    parser.add_argument("--list", action="store_true", help="show every request and how far it is")
    add_format(parser)
    parser.add_argument(
        "--verify", metavar="ID",
        help="search every place for the person of a request, who is named once more: 0 where nothing is left, else 1",
    )  # fmt: skip
    add_search_arguments(parser, "--verify")
