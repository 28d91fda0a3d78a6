"""How an operator names one person on the command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ingest.decode.segment_event import fitted
from schemas.outcomes import UnjoinError
from schemas.subjects.selectors import Selector, selector_of

SESSION_CHARACTERS_MAX = 64
SELECTORS = ("session", "site", "account", "email")
_DESTINATIONS = {"from": "file"}


class OptionsError(UnjoinError):
    """Options that do not go together; the text names them, and nothing was done."""


class OnceOnly(argparse.Action):
    """Keeps the option's value, and refuses a second one, which would take the place of the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        """Wrong usage where there is one already."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} is given twice")
        setattr(namespace, self.dest, values)


def add_selector_arguments(parser: argparse.ArgumentParser) -> None:
    """`--session S --site X`, `--account A` and `--email E`, of which a call names one."""
    for option, metavar, text in (
        ("--session", "S", "an End-User's session, with its --site"),
        ("--site", "X", "the site whose session it is, as `unjoin sites list` names it"),
        ("--account", "A", "an Integrator's or Customer's account, at every site"),
        ("--email", "E", "an e-mail address, in any case, of an account or a labeler"),
    ):
        parser.add_argument(option, metavar=metavar, help=text, action=OnceOnly)


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
    return selector_as_stored(options.session, options.site, options.account, options.email)


def selector_as_stored(session: str | None, site: str | None, account: str | None, email: str | None) -> Selector:
    """The one selector of these words; a long session, an anonymousId of a Segment SDK, by the hash that is stored.

    Raises:
        SelectorError: none, more than one, or one that no event could carry.
    """
    if session and session.isprintable() and len(session) > SESSION_CHARACTERS_MAX:
        session = fitted(session, SESSION_CHARACTERS_MAX)
    return selector_of(session, site, account, email)


def refuse_others(options: argparse.Namespace, mode: str, names: Sequence[str]) -> None:
    """Refuses options that the mode would pass over: whoever gave them believes that they do something.

    Args:
        names: options that have no meaning in this mode; one that was not given is None, False or an empty list.

    Raises:
        OptionsError: one of them was given, be it as an empty text.
    """
    given = [name for name in names if getattr(options, _DESTINATIONS.get(name, name)) not in (None, False, [])]
    if given:
        said = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise OptionsError(f"{said} {'goes' if len(given) == 1 else 'go'} not with {mode}; nothing was done")


def named(selector: Selector) -> dict[str, str]:
    """The selector's fields by their options, for a document that its reader asked for."""
    return {name: getattr(selector, name) for name in selector.__struct_fields__}


def refuse_ignored_of_subject(options: argparse.Namespace) -> None:
    """Refuses what `unjoin subject` would pass over.

    Raises:
        OptionsError: an option has no meaning beside the others.
    """
    if options.search:
        refuse_others(options, "--search", ("export",))
        return
    refuse_others(options, "a call without --search", ("also", "report"))
    if options.export == "-" and options.format != "table":
        raise OptionsError("--format goes not with --export -: the document is the output, and always JSON")
