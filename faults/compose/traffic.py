"""Events of every category, and the rows that they have to become."""

import time
from collections import Counter
from typing import Any

from testkit.compose_stack import ComposeStack
from testkit.processes import wait_for

Document = dict[str, Any]
CANARY = "canary-4711"  # in every text that a client may fill; no log may repeat it
SPOOLED_SECONDS_MAX = 60.0
PERSON = {"name": f"Ada {CANARY}", "email": f"{CANARY}@example.test", "country": "DE"}
BROWSER: dict[str, Document] = {
    "signals": {"type": "pointer", "t": [0, 16], "x": [1, 2], "y": [3, 4]},
    "labels": {"type": "image_label", "task": "dogs", "answer": "beagle"},
    "analytics": {"type": "page_view", "url": f"https://shop.example/{CANARY}", "referrer": ""},
}
SERVER: dict[str, Document] = {
    "personal": {"type": "contact", "account": CANARY, "role": "integrator", **PERSON},
    "labelers": {"type": "labeler_application", **PERSON, "languages": ["sv"], "note": CANARY},
}
TABLES = (*BROWSER, *SERVER)


class Traffic:
    """Posts with a browser's and a server's key, and counts what was acknowledged by table.

    Attributes:
        acknowledged: events by table, each of which must become one row.
    """

    def __init__(self, stack: ComposeStack) -> None:
        self._stack, self._number = stack, 0
        self.acknowledged: Counter[str] = Counter()
        self.browser_key = stack.add_site(
            "shop", "--origin", "https://shop.example", "--categories", "signals,labeled,analytics"
        )
        self.server_key = stack.add_site("shop", "--server", "--categories", "personal,labelers")

    def post(self, *, seconds_max: float = SPOOLED_SECONDS_MAX) -> None:
        """An event for every table, posted until each is acknowledged, as a client would."""
        for key, events in ((self.browser_key, BROWSER), (self.server_key, SERVER)):
            self._number += 1
            batch = {"session": f"s-{CANARY}-{self._number}", "events": list(self._numbered(events))}
            said: list[object] = []

            def acknowledged(batch: Document = batch, key: str = key, said: list[object] = said) -> bool:
                said[:] = self._stack.post(batch, key)
                return said[0] == 200

            wait_for(acknowledged, lambda said=said: f"not acknowledged: {said}", seconds_max)  # type: ignore[misc]
            _, answer = said
            assert isinstance(answer, dict)
            assert answer["accepted"] == len(events), answer
            self.acknowledged.update(events.keys())

    def wait_for_rows(self) -> None:
        """Returns once every acknowledged event is a row."""
        for table in TABLES:
            self._stack.wait_for_rows(table, self.acknowledged[table])

    def _numbered(self, events: dict[str, Document]) -> Any:
        ts = time.time_ns() // 1_000_000
        for number, (table, event) in enumerate(events.items()):
            own = {"task": f"dogs-{self._number}"} if table == "labels" else {}
            yield {"id": f"e-{self._number}-{number}", "ts": ts} | event | own
