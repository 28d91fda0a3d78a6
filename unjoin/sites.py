"""`unjoin sites`: adds, lists, rotates and revokes the keys of sites."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.access.grants import Kind
from ingest.access.sites import SitesFile
from unjoin.terminal import escaped


def run_sites(options: argparse.Namespace, sites_file: Path, console: Console) -> int:
    """Carries out one action; running collectors see the change within a second.

    Raises:
        SitesError: what was asked cannot be done; the text says why.
    """
    sites = SitesFile(sites_file)
    if options.action == "add":
        categories = _names(options.categories) if options.categories else None
        kind: Kind = "server" if options.server else "browser"
        key = sites.add(options.name, options.origin, categories, kind)
        if not options.server and categories and {"labeled", "analytics"} <= set(categories):
            console.print(
                "note: with this key one session can answer prompts and send analytics, which carry its address; "
                "give a widget signals,labeled only",
                style="yellow",
            )
        console.print(key, markup=False, highlight=False, soft_wrap=True)
    elif options.action == "consent":
        sites.set_consent(options.name, _names(options.necessary), _names(options.opt_in))
        console.print(f"{_rules(sites, options.name)}; collectors follow it within a second", highlight=False)
    elif options.action == "rotate":
        console.print(sites.rotate(options.name, options.key), markup=False, highlight=False, soft_wrap=True)
    elif options.action == "revoke":
        sites.revoke(options.name, options.key)
        console.print("revoked; collectors refuse it within a second", highlight=False)
    else:
        console.print(_table(sites))
        for site in sites.list():
            if site.necessary or site.opt_in:
                console.print(escaped(_rules(sites, site.name)), markup=False, highlight=False, soft_wrap=True)
    return 0


def _rules(sites: SitesFile, name: str) -> str:
    """What a site stores of visitors who decline, in words."""
    (site,) = (site for site in sites.list() if site.name == name)
    rules = [f"{category} whatever a visitor says" for category in sorted(site.necessary)]
    rules += [f"{category} after a yes alone" for category in sorted(site.opt_in)]
    return f"{name} stores {', '.join(rules) or 'what nobody declined'}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _table(sites: SitesFile) -> Table:
    table = Table("site", "key", "kind", "categories", "origins", "consent", "state")
    for site in sites.list():
        for key in site.keys:
            shown = key.key if key.kind == "browser" else f"{key.key}…"
            state = "revoked" if key.revoked else "in use"
            rules = [*(f"{name} necessary" for name in sorted(site.necessary))]
            rules += [f"{name} opt-in" for name in sorted(site.opt_in)]
            origins, consent = "\n".join(site.origins), "\n".join(rules)
            cells = (site.name, shown, key.kind, ", ".join(sorted(key.categories)), origins, consent, state)
            table.add_row(*(Text(escaped(cell)) for cell in cells))
    return table
