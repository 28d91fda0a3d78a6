"""Pure: last labels that make `name at example dot com` an address: all of two letters, and the common longer ones.

Source: ISO 3166-1 for two letters (any two are taken); the longer ones are those of the largest zones, and the
reserved ones of RFC 2606.
"""

from __future__ import annotations

_COMMON = frozenset(
    (
        "com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "aero", "coop", "museum", "jobs",
        "mobi", "travel", "tel", "asia", "cat", "post", "xxx", "app", "dev", "page", "xyz", "online", "site", "store",
        "shop", "club", "top", "vip", "live", "life", "world", "email", "cloud", "tech", "blog", "space", "website",
        "digital", "agency", "studio", "design", "work", "works", "today", "news", "media", "group", "company", "team",
        "global", "network", "services", "solutions", "systems", "software", "academy", "school", "university",
        "health", "care", "one", "ltd", "gmbh", "inc", "llc", "bank", "finance", "fund", "berlin", "london", "paris",
        "tokyo", "nyc", "wien", "hamburg", "koeln", "amsterdam", "moscow", "swiss", "eu", "arpa", "example", "test",
        "invalid", "local", "localhost", "onion", "fun", "icu", "wiki", "link", "click", "fyi", "rocks", "zone",
    )
)  # fmt: skip


def is_top_level_domain(label: str) -> bool:
    """Could `label`, in lower case, end an address?"""
    return label in _COMMON or (len(label) == 2 and label.isascii() and label.isalpha())
