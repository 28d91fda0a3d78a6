"""Every type of event, and every category, is wherever its recipe in CONTRIBUTING.md takes it."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ingest.access.grants import writable_types
from processors.door.records import KINDS
from schemas.events import BROWSER_CATEGORIES, SERVER_CATEGORIES, AnyEvent, Verdict, WrittenSignal
from schemas.registry import latest
from schemas.topics import DEIDENTIFIED, LABELED, TOPIC_OF_CATEGORY, topics
from sinks.rows.tables import TABLES
from unjoin.audit.keys import ROW_KEYS
from unjoin.simulator.traffic import CATEGORIES, Plan, Traffic

ROOT = Path(__file__).parents[1]
KIND_OF_TAG: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in AnyEvent.__args__}
BROWSER_TAGS = {kind.__struct_config__.tag for kind in writable_types("browser", BROWSER_CATEGORIES) - {WrittenSignal}}
CATEGORIES_OF_EVENTS = {kind.category for kind in KIND_OF_TAG.values()}


def tags_of(*categories: str, browser_only: bool = False) -> set[str]:
    chosen = {tag for tag, kind in KIND_OF_TAG.items() if kind.category in categories}
    return chosen & BROWSER_TAGS if browser_only else chosen


def text(file: str) -> str:
    """A file's text without comments, where a type may be named and not used."""
    found = (ROOT / file).read_text()
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", found, flags=re.S) if file.endswith((".js", ".ts")) else found


def union_in(file: str, name: str) -> set[str]:
    found = re.search(rf"export type {name} =([^;]*);", text(file))
    assert found, f"{file} has no type {name}"
    return set(re.findall(r'"(\w+)"', found[1]))


def on_the_page() -> dict[str, str]:
    body = re.search(r"export const CATEGORY = \{(.*?)\};", text("unjoin/playground/page/dom.js"), re.S)
    assert body, "the page has no map from types to categories"
    return dict(re.findall(r'(\w+): "(\w+)"', body[1]))


def in_the_documented_table() -> dict[str, tuple[str, set[str]]]:
    """Tag -> category and fields, as a row of docs/http.md says: `a`, `b` (field, field) · `c` (field)."""
    found = {}
    for category, types in re.findall(r"^\| (\w+) \| (`.*?) \|", text("docs/http.md"), re.M):
        for tags, fields in re.findall(r"((?:`\w+`,? )+)\(([^)]*)\)", types):
            for tag in re.findall(r"`(\w+)`", tags):
                found[tag] = category, set(re.split(r", ", fields))
    return found


@cache
def simulated() -> frozenset[str]:
    traffic = Traffic(Plan(events=8_000, start_ms=1_790_000_000_000), Random(1))
    return frozenset(event.__struct_config__.tag for batch in traffic.batches() for event in batch.events)


def sampled_by_the_sdk() -> set[str]:
    return set(re.findall(r'\b(?:watch\(|taking\.push\(\[)"(\w+)"', text("sdk/src/signals.ts")))


def collected_by_default() -> set[str]:
    default = re.search(r"const ALL: readonly SignalType\[\] = \[([^\]]*)\]", text("sdk/src/client.ts"))
    return set(re.findall(r'"(\w+)"', default[1])) if default else set()


def described_by_the_sdk() -> set[str]:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text("sdk/README.md"), re.M)
    return set(re.findall(r"\w+", " ".join(rows))) & SIGNALS


def analytics_of_the_sdk() -> set[str]:
    return set(re.findall(r'\banalytics\("(\w+)"', text("sdk/src/client.ts")))


def named_in_schema(category: str) -> set[str]:
    """Types that the documentation of a schema's `type` or `kind` names; consumers and columns show it."""
    fields = latest(f"{category}-value").parsed["fields"]
    nested = [branch["fields"] for field in fields if isinstance(field["type"], list) for branch in field["type"]]
    docs = [field["doc"] for some in [fields, *nested] for field in some if field["name"] in ("type", "kind")]
    return set(re.findall(r"\w+", " ".join(docs))) & KIND_OF_TAG.keys()


ANSWERS = tags_of("labeled") - {Verdict.__struct_config__.tag}
SIGNALS = tags_of("signals")

# Place -> what it has, and what it should.
PLACES: dict[str, tuple[Callable[[], set[str] | frozenset[str]], set[str]]] = {
    "the table of docs/http.md": (lambda: set(in_the_documented_table()), set(KIND_OF_TAG)),
    "the traffic of unjoin/simulator (visitors.py, people.py)": (simulated, set(KIND_OF_TAG)),
    "CATEGORY of unjoin/playground/page/dom.js": (lambda: set(on_the_page()), BROWSER_TAGS),
    "SignalType of sdk/src/types.ts": (lambda: union_in("sdk/src/types.ts", "SignalType"), SIGNALS),
    "ALL of sdk/src/client.ts": (collected_by_default, SIGNALS),
    "the listeners of sdk/src/signals.ts": (sampled_by_the_sdk, SIGNALS),
    "the table of sdk/README.md": (described_by_the_sdk, SIGNALS),
    "LabelKind of sdk/src/types.ts": (lambda: union_in("sdk/src/types.ts", "LabelKind"), ANSWERS),
    "the calls of sdk/src/client.ts": (analytics_of_the_sdk, tags_of("analytics", browser_only=True)),
    "KINDS of processors/door/records.py": (lambda: KINDS, ANSWERS),
    "`type` of the newest schema of signals": (lambda: named_in_schema("events.signals"), SIGNALS),
    "`type` of the newest schema of analytics": (lambda: named_in_schema("events.analytics"), tags_of("analytics")),
    "`type` of the newest schema of personal": (lambda: named_in_schema("events.personal"), tags_of("personal")),
    "`kind` of schemas/labeled.avsc": (lambda: named_in_schema("events.labeled.content"), ANSWERS),
    "`kind` of schemas/deidentified.avsc": (lambda: named_in_schema("labels.deidentified"), ANSWERS),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_event_type_is_where_the_recipe_takes_it(place: str) -> None:
    """A type that only the collector knows is accepted and stored, and nobody can find out, send, see or try it."""
    there, wanted = PLACES[place][0](), PLACES[place][1]
    recipe = 'see "Add an event type" in CONTRIBUTING.md'
    assert not wanted - there, f"{sorted(wanted - there)} of schemas/events.py not in {place}; {recipe}"
    assert not there - wanted, f"{sorted(there - wanted)} in {place}, but no such type in schemas/events.py; {recipe}"


@pytest.mark.parametrize("tag", KIND_OF_TAG)
def test_documented_fields_are_those_that_the_collector_takes(tag: str) -> None:
    """Unknown fields are rejected, so a wrong name in the document costs its reader every event."""
    kind = KIND_OF_TAG[tag]
    assert tag in in_the_documented_table(), f"no {tag} in the table of docs/http.md"
    category, fields = in_the_documented_table()[tag]
    assert (category, fields) == (kind.category, set(kind.__struct_fields__) - {"id", "ts"})


@pytest.mark.parametrize("tag", sorted(BROWSER_TAGS))
def test_page_shows_a_type_in_the_colour_of_its_category(tag: str) -> None:
    """Without its category an event is counted nowhere on the page."""
    assert on_the_page().get(tag) == KIND_OF_TAG[tag].category


@pytest.mark.parametrize("tag", sorted(SIGNALS))
def test_samples_of_a_signal_are_all_its_arrays(tag: str) -> None:
    """An array that `samples` leaves out may have another length than the rest."""
    kind = KIND_OF_TAG[tag]
    assert set(kind.samples) == set(kind.__struct_fields__) - {"id", "ts"}, f"`samples` of {kind.__name__}"


def tables_by_topic() -> dict[str, str]:
    return {topic: table.name for table in TABLES for topic in table.topics}


@pytest.mark.parametrize("category", sorted({*CATEGORIES_OF_EVENTS, *TOPIC_OF_CATEGORY}))
def test_every_category_is_where_the_recipe_takes_it(category: str) -> None:
    """Half a category is worse than none: its events are accepted, and go no further than where somebody stopped."""
    recipe = 'see "Add a category" in CONTRIBUTING.md'
    assert category in CATEGORIES_OF_EVENTS, f"no type of schemas/events.py is of category {category}; {recipe}"
    assert category in BROWSER_CATEGORIES | SERVER_CATEGORIES, f"no key may write {category}; {recipe}"
    assert category in TOPIC_OF_CATEGORY, f"{category} has no topic in schemas/topics.py; {recipe}"
    topic = TOPIC_OF_CATEGORY[category]
    made = topics(partitions=1, labeled_partitions=1, events_days=1, labeled_hours=1)
    assert [one.subject for one in made if one.name == topic] == [f"{topic}-value"], f"`topics()`; {recipe}"
    assert latest(f"{topic}-value"), f"schemas/subjects.json; {recipe}"
    stored_from = DEIDENTIFIED if topic == LABELED else topic
    assert stored_from in tables_by_topic(), f"no table of sinks/rows/tables.py takes {stored_from}; {recipe}"
    assert tables_by_topic()[stored_from] in ROW_KEYS, f"`unjoin audit` names no row of {stored_from}; {recipe}"
    assert category in CATEGORIES, f"`unjoin simulate` makes no {category}; {recipe}"
    assert f"| `{tables_by_topic()[stored_from]}` |" in text("docs/clickhouse.md"), f"docs/clickhouse.md; {recipe}"
    assert category in {one for one, _ in in_the_documented_table().values()}, f"docs/http.md; {recipe}"
    names = re.search(r"const NAME = \{(.*?)\};", text("unjoin/playground/page/outcomes.js"), re.S)
    assert names, "the page's table of outcomes has no names"
    assert re.search(rf"\b{category}: ", names[1]), f"NAME of unjoin/playground/page/outcomes.js; {recipe}"
