"""How an operator names one person on the command line."""

import argparse
from pathlib import Path

from ingest.decode.segment_event import fitted
from schemas.subjects.selectors import Selector, selector_of

SESSION_CHARACTERS_MAX = 64


def add_selector_arguments(parser: argparse.ArgumentParser) -> None:
    """`--session S --site X`, `--account A` and `--email E`, of which a call names one."""
    parser.add_argument("--session", metavar="S", help="an End-User's session, with its --site")
    parser.add_argument("--site", metavar="X", help="the site whose session it is, as `unjoin sites list` names it")
    parser.add_argument("--account", metavar="A", help="an Integrator's or Customer's account, at every site")
    parser.add_argument("--email", metavar="E", help="an e-mail address, in any case, of an account or a labeler")


def add_search_arguments(parser: argparse.ArgumentParser, option: str) -> None:
    """What a search of every place is told besides whom; it is asked for by the option."""
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="TEXT",
        help=f"with {option}: look for this too (may be repeated)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help=f"with {option}: write what was found as JSON")


def selector_named(options: argparse.Namespace) -> Selector:
    """The one selector that a call names.

    Raises:
        SelectorError: none, more than one, or one that no event could carry.
    """
    session: str | None = options.session
    if session and session.isprintable() and len(session) > SESSION_CHARACTERS_MAX:
        session = fitted(session, SESSION_CHARACTERS_MAX)  # as the anonymousId of a Segment SDK is stored
    return selector_of(session, options.site, options.account, options.email)


def named(selector: Selector) -> dict[str, str]:
    """The selector's fields by their options, for a document that its reader asked for."""
    return {name: getattr(selector, name) for name in selector.__struct_fields__}
