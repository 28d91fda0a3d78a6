"""`unjoin sites`: adds, lists, rotates and revokes the keys of sites, and sets their quotas."""

import argparse
import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ingest.access.grants import Kind, SiteKey
from ingest.access.sites import SitesFile
from unjoin.output import print_table, say

QUOTA_MAX = 1_000_000_000
OVERLAP_HOURS_MAX = 24 * 366


def _whole_number(maximum: int, unit: str) -> Callable[[str], int]:
    def parsed(text: str) -> int:
        if text.isascii() and text.isdigit() and int(text[:12]) <= maximum and len(text) <= 12:
            return int(text)
        raise argparse.ArgumentTypeError(f"write a whole number of {unit}, 0 to {maximum}")

    return parsed


quota = _whole_number(QUOTA_MAX, "events a second")
overlap_hours = _whole_number(OVERLAP_HOURS_MAX, "hours")


def run_sites(options: argparse.Namespace, sites_file: Path, console: Console) -> int:
    """Carries out one action; running collectors see the change within a second.

    Raises:
        SitesError: what was asked cannot be done; the text says why.
    """
    sites = SitesFile(sites_file)
    if options.action == "add":
        categories = _names(options.categories) if options.categories else None
        kind: Kind = "server" if options.server else "browser"
        key = sites.add(options.name, options.origin, categories, kind, options.quota)
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
        fresh = sites.rotate(options.name, _copied(options.key), options.overlap_hours * 3_600)
        if options.overlap_hours:
            console.print("the old key can be used as well until its time is over:", highlight=False)
            _list(sites, "table")
        console.print(fresh, markup=False, highlight=False, soft_wrap=True)
    elif options.action == "revoke":
        sites.revoke(options.name, _copied(options.key))
        console.print("revoked; collectors refuse it within a second", highlight=False)
    elif options.action == "quota":
        sites.set_quota(options.name, _copied(options.key), options.quota)
        said = f"{options.quota} events a second" if options.quota else "the collectors' own setting"
        console.print(f"{said}, in force within a second; each worker counts for itself", highlight=False)
    else:
        _list(sites, options.format)
    return 0


def _copied(key: str) -> str:
    """A key's first characters as `list` shows them, without the mark that it is cut."""
    return key.removesuffix("…")


def _list(sites: SitesFile, form: str) -> None:
    now_s = time.time()
    rows: list[dict[str, Any]] = [
        {
            "site": site.name,
            "key": key.key if key.kind == "browser" or form != "table" else f"{key.key}…",
            "kind": key.kind,
            "categories": sorted(key.categories),
            "origins": site.origins,
            "events_per_second": key.events_per_second or None,
            "state": _state(key, now_s),
            "consent": [
                *(f"{name} necessary" for name in sorted(site.necessary)),
                *(f"{name} opt-in" for name in sorted(site.opt_in)),
            ],
            "key_is_cut": key.kind == "server",
        }
        for site in sites.list()
        for key in site.keys
    ]
    if not rows and form == "table":
        say("no sites yet: `unjoin sites add NAME --origin URL` makes one")
        return
    quota_name, no_quota = ("events/s", "default") if form == "table" else ("events_per_second", None)
    cut = () if form == "table" else ("key_is_cut",)  # a table shows it in the key
    names = ("site", "key", "kind", "categories", "origins", quota_name, "state", "consent", *cut)
    cells = (
        [
            *list(row.values())[:3],
            ", ".join(row["categories"]),
            row["origins"],
            row["events_per_second"] or no_quota,
            row["state"],
            row["consent"],
            *(row[name] for name in cut),
        ]
        for row in rows
    )
    print_table(names, cells, form, document=rows)


def _rules(sites: SitesFile, name: str) -> str:
    """What a site stores of visitors who decline, in words."""
    (site,) = (site for site in sites.list() if site.name == name)
    rules = [f"{category} whatever a visitor says" for category in sorted(site.necessary)]
    rules += [f"{category} after a yes alone" for category in sorted(site.opt_in)]
    return f"{name} stores {', '.join(rules) or 'what nobody declined'}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _state(key: SiteKey, now_s: float) -> str:
    if not key.in_use(now_s):
        return "revoked"
    if not key.ends_at:
        return "in use"
    return f"ends {datetime.datetime.fromtimestamp(key.ends_at, datetime.UTC):%Y-%m-%d %H:%M} UTC"
