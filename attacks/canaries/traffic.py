"""Pure: batches that carry a canary in every field that could name somebody, and requests that are wrong on purpose."""

from collections.abc import Iterator
from typing import Any

import msgspec

from attacks.canaries.needles import Canaries

BATCH_EVENTS_MAX = 500
BATCHES_MIN = 200
"""So many that there are crowds, however few events."""

SIGNALS, ANALYTICS = {"signalid", "session", "site"}, {"viewid", "session", "site", "address", "agent", "url"}
EXPECTED = {
    "signals": SIGNALS,
    "analytics": ANALYTICS | {"referrer", "property", "member"},
    "personal": {"contactid", "checkid", "serversite", "account", "role", "name", "email", "country"}
    | {"provider", "method", "outcome"},
    "labelers": {"labelerid", "serversite", "labelername", "labeleremail", "labelercountry", "language", "note"},
}
"""Which canaries belong where: the positive control finds exactly these. No other place may hold any."""


class Batch(msgspec.Struct):
    """One request.

    Attributes:
        accepted: events by category, of which every one is fine.
        rejected: events that are not.
    """

    session: str
    events: list[dict[str, Any]]
    server: bool
    headers: dict[str, str]
    accepted: dict[str, int]
    rejected: int = 0


class Traffic:
    """Batches of all categories, one session each."""

    def __init__(self, canaries: Canaries, now_ms: int) -> None:
        self._canaries = canaries
        self._now_ms = now_ms

    def batches(self, events: int) -> Iterator[Batch]:
        """That many good events in all, in the largest batches that still make crowds."""
        size = max(1, min(BATCH_EVENTS_MAX, events // BATCHES_MIN))
        kinds = (self._mixed, self._mixed, self._server, self._mixed, self._labels, self._mixed, self._server)
        number = 0
        while events > 0:
            batch = kinds[number % len(kinds)](min(size, events))
            events -= min(size, events)
            if number % 50 == 1:
                # Beyond a batch's limit the request would be refused, so bad events take the place of good ones.
                bad = self._bad_events()[: BATCH_EVENTS_MAX - len(batch.events)]
                batch.events.extend(bad)
                batch.rejected = len(bad)
            yield batch
            number += 1
        yield from self._only_bad()

    def closing(self, sessions: int, labels: int) -> Iterator[Batch]:
        """Sessions that come last, so that every crowd before them is complete."""
        for _ in range(sessions):
            yield self._labels(labels, "closing")

    def _mixed(self, size: int) -> Batch:
        """What one page may send: signals, answers and page views of one session."""
        labels, views = size // 5, size // 4
        session = self._canaries.text("session")
        events = [self._signal() for _ in range(size - labels - views)]
        events += [self._answer(number, "task") for number in range(labels)]
        events += [self._view(number) for number in range(views)]
        accepted = {"signals": size - labels - views, "labeled": labels, "analytics": views}
        return Batch(session, events, False, self._headers(), accepted)

    def _labels(self, size: int, tasks: str = "task") -> Batch:
        """A session that does nothing but answer: its name belongs nowhere at all."""
        events = [self._answer(number, tasks) for number in range(size)]
        return Batch(self._canaries.text("labelsession"), events, False, self._headers(), {"labeled": size})

    def _server(self, size: int) -> Batch:
        """What a service sends about people of accounts and labelers; and its verdicts."""
        verdicts, labelers = size // 25, size // 3
        events = [self._verdict() for _ in range(verdicts)] + [self._labeler() for _ in range(labelers)]
        events += [self._person(number) for number in range(size - verdicts - labelers)]
        accepted = {"labeled": 0, "labelers": labelers, "personal": size - verdicts - labelers, "verdicts": verdicts}
        return Batch(self._canaries.text("serversession"), events, True, self._headers(), accepted)

    def _headers(self) -> dict[str, str]:
        canary = self._canaries.text
        return {
            "User-Agent": f"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0 {canary('agent')}",
            "X-Forwarded-For": self._canaries.address(),
            "Referer": f"https://{canary('refererheader')}.example/",
            "Cookie": f"id={canary('cookie')}",
            "X-Request-Id": canary("requestid"),
        }

    def _signal(self) -> dict[str, Any]:
        samples = {"t": [0, 16.5, 33], "x": [10, 12, 15], "y": [5, 5, 6]}
        return {"id": self._canaries.text("signalid"), "type": "pointer", "ts": self._now_ms, **samples}

    def _answer(self, number: int, tasks: str) -> dict[str, Any]:
        """Task and answer are content, and carry none."""
        kind = ("image_label", "audio_transcript", "text_answer")[number % 3]
        content = {"task": f"{tasks}-{number}", "answer": f"answer {number % 7}"}
        return {"id": self._canaries.text("labelid"), "type": kind, "ts": self._now_ms, **content}

    def _view(self, number: int) -> dict[str, Any]:
        canary = self._canaries.text
        return {
            "id": canary("viewid"),
            "type": ("page_view", "usage")[number % 2],
            "ts": self._now_ms,
            "url": f"https://{canary('url')}.example/a?b",
            "referrer": f"https://{canary('referrer')}.example/",
            "properties": {canary("member"): {"deep": [canary("property")]}},
        }

    def _verdict(self) -> dict[str, Any]:
        canary = self._canaries.text
        verdict = {"session": canary("judged"), "human": False}
        return {"id": canary("verdictid"), "type": "verdict", "ts": self._now_ms, **verdict}

    def _person(self, number: int) -> dict[str, Any]:
        canary = self._canaries.text
        if number % 2:
            checked = {field: canary(field) for field in ("account", "provider", "method", "outcome")}
            return {"id": canary("checkid"), "type": "identity_check", "ts": self._now_ms, **checked}
        person = {field: canary(field) for field in ("account", "role", "name", "country")}
        email = f"{canary('email')}@example.test"
        return {"id": canary("contactid"), "type": "contact", "ts": self._now_ms, "email": email, **person}

    def _labeler(self) -> dict[str, Any]:
        canary = self._canaries.text
        return {
            "id": canary("labelerid"),
            "type": "labeler_application",
            "ts": self._now_ms,
            "name": canary("labelername"),
            "email": f"{canary('labeleremail')}@example.test",
            "country": canary("labelercountry"),
            "languages": [canary("language")],
            "note": f"call me {canary('note')}",
        }

    def _only_bad(self) -> Iterator[Batch]:
        bad = self._bad_events()
        for server in (False, True):
            yield Batch(self._canaries.text("badsession"), bad, server, self._headers(), {}, len(bad))

    def _bad_events(self) -> list[dict[str, Any]]:
        """One for each reason of a rejection that a canary can be in the way of."""
        canary, ts = self._canaries.text, self._now_ms
        answer = {"type": "text_answer", "ts": ts, "task": "task-1"}
        return [
            {"id": canary("bad"), "type": canary("bad"), "ts": ts},
            {"id": canary("bad"), **answer},
            {"id": canary("bad"), **answer, "answer": "a", canary("bad"): 1},
            {"id": canary("bad"), **answer, "answer": {canary("bad"): 1}},
            {"id": f"{canary('bad')} with a space", **answer, "answer": "a"},
            {
                "id": canary("bad"),
                "type": "text_answer",
                "ts": canary("bad"),
                "task": "task-1",
                "answer": canary("bad"),
            },
            {
                "id": canary("bad"),
                "type": "text_answer",
                "ts": ts,
                "task": f"{canary('bad')}/",
                "answer": canary("bad"),
            },
            {"id": canary("bad"), **answer, "answer": f"{canary('bad')} \ud800"},
            {"id": canary("bad"), "type": "key", "ts": ts, "t_down": [0], "t_up": [1], "code": canary("bad")},
            {"id": canary("bad"), "type": "pointer", "ts": ts, "t": [0, 1], "x": [1], "y": [1]},
        ]


def bad_requests(canaries: Canaries) -> Iterator[bytes]:
    """Whole requests, as bytes on the wire: each is refused, or not even HTTP, and none may leave a trace."""
    canary = canaries.text
    for key in (canary("badkey"), "dev-browser-key"):
        for body in _bad_bodies(canaries):
            yield _request(body, **{"Authorization": f"Bearer {key}"})
    good = b'{"session": "s-1", "events": []}'
    yield _request(good, path=f"/v1/events?key={canary('badkey')}")
    yield _request(good, **{"Authorization": f"Basic {canary('badkey')}"})
    yield _request(good, **{"Authorization": "Bearer dev-browser-key", "Origin": f"https://{canary('origin')}.example"})
    yield _request(good, **{"Authorization": "Bearer dev-browser-key", "Content-Type": canary("badtype")})
    yield _request(good, **{"Authorization": "Bearer dev-browser-key", "Content-Encoding": canary("badencoding")})
    yield _request(good, **{"Authorization": "Bearer dev-browser-key", "X-Forwarded-For": canary("forwarded")})
    yield _request(
        canary("badgzip").encode(), **{"Authorization": "Bearer dev-browser-key", "Content-Encoding": "gzip"}
    )
    for path in ("/{}", "/v1/events/{}", "/schemas/ids/{}", "/subjects/{}/versions/latest", "/playground/{}"):
        yield _request(b"", "GET", path.format(canary("badpath")))
    yield _request(b"", "GET", "/", Host=f"{canary('badhost')}.example")
    yield _request(b"", canary("badmethod").upper(), "/v1/events")
    yield _request(b"", **{"X-Large": canary("badheader") * 4_000})
    yield f"{canary('badhttp')} {canary('badhttp')}\r\n\r\n".encode()
    yield f"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: {canary('badhttp')}\r\n\r\n".encode()
    yield f"POST /v1/events HTTP/1.1\r\n{canary('badhttp')}\r\n\r\n".encode()
    yield _request(good, path=f"/v1/events?\x00{canary('badhttp')}")


def _bad_bodies(canaries: Canaries) -> Iterator[bytes]:
    canary = canaries.text
    for body in (
        '{{"session": "{}", "events": [',
        '{{"session": "{} !", "events": []}}',
        '{{"session": "s-1", "events": "{}"}}',
        '{{"session": "s-1", "events": [], "{}": 1}}',
        '{{"session": "s-1", "sent_at": "{}", "events": []}}',
        '["{}"]',
        '"{}"',
        "{}",
    ):
        yield body.format(canary("badbody")).encode()
    yield b'{"session": "s-1", "events": ["\xff' + canary("badbody").encode() + b'"]}'
    yield b'{"session": "s-1", "events": [' + b"[" * 5_000 + canary("badbody").encode()
    yield b'{"session": "s-1", "events": ["' + canary("badbody").encode() * 50_000 + b'"]}'


def _request(body: bytes, method: str = "POST", path: str = "/v1/events", **headers: str) -> bytes:
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode() + body


def analysts_queries(canaries: Canaries) -> Iterator[str]:
    """SQL whose literals are canaries: some that run, some that fail in every layer."""
    for sql in (
        "SELECT count() FROM signals WHERE session = '{}'",
        "SELECT count() FROM labels WHERE answer = '{}'",
        "SELECT `{}` FROM labels",
        "SELECT count() FROM `{}`",
        "SELEKT '{}'",
        "SELECT 1; SELECT '{}'",
        "SELECT * FROM file('{}')",
        "SELECT '{}' INTO OUTFILE '{}'",
        "INSERT INTO labels (task) VALUES ('{}')",
        "SELECT {{x:Int32}} = '{}'",
    ):
        yield sql.replace("{}", canaries.text("analyst")).replace("{{", "{").replace("}}", "}")
