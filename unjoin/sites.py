"""`unjoin sites`: adds, lists, rotates and revokes the keys of sites."""

import argparse
from pathlib import Path

from rich.console import Console

from ingest.access.grants import Kind
from ingest.access.sites import SitesFile
from unjoin.output import print_table, say


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
        _list(sites, options.format)
    return 0


def _list(sites: SitesFile, form: str) -> None:
    rows = [
        {
            "site": site.name,
            "key": key.key if key.kind == "browser" or form != "table" else f"{key.key}…",
            "kind": key.kind,
            "categories": sorted(key.categories),
            "origins": site.origins,
            "state": "revoked" if key.revoked else "in use",
            "consent": [
                *(f"{name} necessary" for name in sorted(site.necessary)),
                *(f"{name} opt-in" for name in sorted(site.opt_in)),
            ],
        }
        for site in sites.list()
        for key in site.keys
    ]
    if not rows and form == "table":
        say("no sites yet: `unjoin sites add NAME --origin URL` makes one")
        return
    names = ("site", "key", "kind", "categories", "origins", "state", "consent")
    cells = ([*list(row.values())[:3], ", ".join(row["categories"]), *list(row.values())[4:]] for row in rows)
    print_table(names, cells, form, document=rows)


def _rules(sites: SitesFile, name: str) -> str:
    """What a site stores of visitors who decline, in words."""
    (site,) = (site for site in sites.list() if site.name == name)
    rules = [f"{category} whatever a visitor says" for category in sorted(site.necessary)]
    rules += [f"{category} after a yes alone" for category in sorted(site.opt_in)]
    return f"{name} stores {', '.join(rules) or 'what nobody declined'}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
