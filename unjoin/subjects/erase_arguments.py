"""The options of `unjoin erase`."""

import argparse
from pathlib import Path

from unjoin.output import add_format
from unjoin.subjects.arguments import (
    SELECTORS,
    OnceOnly,
    OptionsError,
    add_search_arguments,
    add_selector_arguments,
    refuse_others,
)


def add_erase_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom, or `--list`, or `--verify` with whom."""
    add_selector_arguments(parser)
    parser.add_argument(
        "--from", dest="file", type=Path, action=OnceOnly, metavar="FILE",
        help='many at once: a line each, as {"session": "…", "site": "…"}, {"account": "…"} or {"email": "…"}',
    )  # fmt: skip
    parser.add_argument("--reference", metavar="TEXT", help="your word for the request: a ticket, no name")
    parser.add_argument("--yes", action="store_true", help="also where nothing is stored, or most of a table would go")
    parser.add_argument("--no-wait", action="store_true", help="return once the request is written down")
    parser.add_argument("--list", action="store_true", help="show every request and how far it is")
    add_format(parser)
    parser.add_argument(
        "--verify", metavar="ID", action=OnceOnly,
        help="search every place for the person of a request, who is named once more: 0 where nothing is left, else 1",
    )  # fmt: skip
    add_search_arguments(parser, "--verify")


def refuse_ignored_of_erase(options: argparse.Namespace) -> None:
    """Refuses what a mode would pass over: `--list`, or `--verify` with any value, or else an erasure.

    Raises:
        OptionsError: an option has no meaning beside the others.
    """
    if options.list:
        refuse_others(
            options, "--list", (*SELECTORS, "from", "reference", "yes", "no_wait", "verify", "also", "report")
        )
    elif options.verify is not None:
        refuse_others(options, "--verify", ("from", "reference", "yes", "no_wait"))
        if not options.verify:
            raise OptionsError("--verify needs the request's id, as `unjoin erase --list` shows it; nothing was done")
    else:
        refuse_others(options, "a call without --verify", ("also", "report"))
        if options.file is not None:
            refuse_others(options, "--from, which names everybody in its file", SELECTORS)
