"""How well names are found: on the shared sentences, and on generated names of many locales."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from random import Random

from faker import Faker
from rich.console import Console
from rich.table import Table

from unjoin.person_names import NameFinder

from .scoring import clopper_pearson

LOCALES = (
    "en_US", "en_GB", "en_IN", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "tr_TR", "sv_SE", "vi_VN", "ru_RU", "zh_CN",
    "ja_JP", "ar_AA", "hi_IN",
)  # fmt: skip
SENTENCES = (
    "{0}", "I think this is {0}", "My name is {0} and I like dogs", "{0} wrote this sign", "ask {0} about the parcel",
    "the man in the picture is {0}", "it says {0} on the badge", "signed, {0}", "call {0} tomorrow",
)  # fmt: skip
CLEAN = (
    "beagle", "a brown dog near a tree", "the sign says no parking", "golden retriever", "stop", "a red car",
    "Labrador", "it says open from nine to five", "two people on a bench", "I hear a train passing by",
    "turn left at the corner", "monday", "Berlin", "Coca Cola", "New York taxi", "Eiffel tower", "siamese cat",
    "rose", "Mercedes", "Amazon river", "no idea", "a bird on a wire", "traffic light, green", "the speaker laughs",
    "wet floor", "bicycle", "crosswalk",
)  # fmt: skip


def measure(console: Console, per_locale: int, seed: int) -> None:
    """Print recall, false alarms and cost."""
    finder = NameFinder()
    table = Table("answers", "found", "of", "share", title="Answers in which a name is found")

    def row(what: str, found: list[bool]) -> None:
        low, high = clopper_pearson(sum(found), len(found))
        table.add_row(what, str(sum(found)), str(len(found)), f"{sum(found) / len(found):.3f} [{low:.3f}, {high:.3f}]")

    folder = os.environ.get("UNJOIN_DATASETS")
    if folder is not None:
        entries = json.loads((Path(folder) / "free_text" / "generated_small.json").read_text())
        start = time.process_time()
        named = [finder.names_a_person(entry["full_text"]) for entry in entries]
        cost_ms = (time.process_time() - start) * 1_000 / len(entries)
        for what, person in (("shared sentences with a person", True), ("shared sentences without", False)):
            row(
                what,
                [
                    found
                    for found, entry in zip(named, entries, strict=True)
                    if person == any(span["entity_type"] == "PERSON" for span in entry["spans"])
                ],
            )
        console.print(f"{cost_ms:.1f} ms of CPU a shared sentence")
    random = Random(seed)
    for locale in LOCALES:
        faker = Faker(locale)
        faker.seed_instance(seed)
        whole = [
            random.choice(SENTENCES).format(f"{faker.first_name()} {faker.last_name()}") for _ in range(per_locale)
        ]
        given = [random.choice(SENTENCES).format(faker.first_name()).lower() for _ in range(per_locale)]
        row(f"{locale}: given name and surname", list(map(finder.names_a_person, whole)))
        row(f"{locale}: given name, lower case", list(map(finder.names_a_person, given)))
    row("short answers without a name", list(map(finder.names_a_person, CLEAN)))
    console.print(table)
