"""The proof of an erasure: of the person it was about and nobody else, and never more than was searched."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from schemas.subjects.erasures import Erasure, State, erasure_of
from schemas.subjects.selectors import email_selector
from unjoin.cli import main
from unjoin.subjects.search.places import Finding
from unjoin.subjects.search.stored import Searched

REQUEST = "0123456789abcdef"
ASKED = erasure_of(email_selector("ann@a.test"), id=REQUEST, reference="T-1", salt=b"s" * 32, now_ms=1)


def verified(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], finding: Finding, request: Erasure, *words: str
) -> tuple[int, str]:
    @asynccontextmanager
    async def requests_of(_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(newest={request.id: request})

    searched = Searched("2026-11-29T19:00:00.000Z", ["email"], [finding], [])
    monkeypatch.setattr("unjoin.subjects.search.verify.requests_of", requests_of)
    monkeypatch.setattr("unjoin.subjects.search.verify.search_everywhere", lambda *_: searched)
    code = main(["erase", "--verify", *words])
    said = capfd.readouterr()
    return code, " ".join((said.out + said.err).split())


CLEAN, FOUND = Finding("a place", "as it lies", 1, 10), Finding("a place", "as it lies", 1, 10, {"email, as it is": 2})
BLIND = Finding("a place", "as it lies", missed=1, blind=True, note="away")


@pytest.mark.parametrize(
    ("finding", "request_", "code", "sentence"),
    [
        (CLEAN, ASKED.reached(State.DONE, 2), 0, "found nowhere; the request is at done"),
        (FOUND, ASKED, 1, "found 2 times; the request is at accepted: rows are being deleted; search again"),
        (FOUND, ASKED.reached(State.DONE, 2), 1, "found 2 times; the request is at done: nothing is left"),
        (BLIND, ASKED.reached(State.DONE, 2), 3, "found nowhere, but not every place could be searched"),
    ],
)
def test_verdict_says_what_was_found_and_how_far_the_request_is(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    finding: Finding,
    request_: Erasure,
    code: int,
    sentence: str,
) -> None:
    found = verified(monkeypatch, capfd, finding, request_, REQUEST, "--email", "Ann@A.test")
    assert found[0] == code
    assert sentence in found[1]


def test_verdict_for_a_program_is_one_document(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sentences beside it go where errors go, so that a pipe holds JSON alone."""

    @asynccontextmanager
    async def requests_of(_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(newest={REQUEST: ASKED})

    monkeypatch.setattr("unjoin.subjects.search.verify.requests_of", requests_of)
    monkeypatch.setattr(
        "unjoin.subjects.search.verify.search_everywhere", lambda *_: Searched("", ["email"], [FOUND], [])
    )
    assert main(["erase", "--verify", REQUEST, "--email", "ann@a.test", "--format", "json"]) == 1
    said = capfd.readouterr()
    document = json.loads(said.out)
    assert (document["request"]["id"], document["findings"][0]["found"]) == (REQUEST, {"email, as it is": 2})
    assert "found 2 times" in said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((REQUEST, "--email", "bob@a.test"), "about somebody else"),
        ((REQUEST, "--account", "ann@a.test"), "about somebody else"),
        (("nope", "--email", "ann@a.test"), "there is no such request"),
        ((REQUEST,), "name one person"),
    ],
)
def test_proof_about_somebody_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    """A search for a misspelled address finds nothing, which would read as a proof."""
    code, said = verified(monkeypatch, capfd, CLEAN, ASKED, *words)
    assert (code, sentence in said) == (1, True)
