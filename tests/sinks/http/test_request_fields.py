"""Every field of a request is honoured, known to change nothing, or refused by name."""

from pathlib import Path

import pytest

from sinks.http.refusals import NotAllowed
from sinks.http.request_fields import HARMLESS, HONOURED, Question, harmless_table, question_of

ROOT = Path(__file__).parents[3]


def asked(fields: dict[str, str], headers: dict[str, str] | None = None) -> Question:
    return question_of("SELECT 1", fields, headers or {}, {})


def test_what_is_neither_honoured_nor_harmless_is_a_setting() -> None:
    """And the policy refuses a setting that it does not know: nothing is dropped without a word."""
    others = {"nonsense": "1", "max_threads": "1", "profile": "x", "x_format": "CSV"}
    question = asked(dict.fromkeys(HARMLESS, "1") | {"param_a": "2", "query_id": "q"} | others)
    assert question.settings == others
    assert question.parameters == {"a": "2"}
    assert not HONOURED & HARMLESS.keys()


def test_documentation_lists_what_changes_nothing_and_why() -> None:
    assert harmless_table() in (ROOT / "docs/clickhouse.md").read_text()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"session_check": "1"}, 372),
        ({"role": "analyst"}, 511),
        ({"add_http_cors_header": "1"}, 48),
        ({"client_protocol_version": "54405"}, 48),
        ({"client_protocol_version": "-1"}, 36),
        ({"client_protocol_version": "²"}, 36),
        ({"http_zlib_compression_level": "10"}, 36),
        ({"compress": "yes"}, 36),
        ({"decompress": "2"}, 36),
        ({"readonly": "abc"}, 36),
        ({"session_timeout": "abc"}, 36),
        ({"session_timeout": "-1"}, 36),
        ({"wait_end_of_query": "abc"}, 36),
        ({"stacktrace": "2"}, 36),
        ({"buffer_size": "1 MB"}, 36),
        ({"async_insert": "x"}, 36),
        ({"http_receive_timeout": "long"}, 36),
        ({"enable_http_compression": "2"}, 36),
        ({"default_format": "CSV; DROP"}, 73),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields: dict[str, str], code: int) -> None:
    with pytest.raises(NotAllowed) as raised:
        asked(fields)
    assert raised.value.code == code
    assert code == 73 or next(iter(fields)) in raised.value.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"readonly": "2", "session_timeout": "3600", "buffer_size": "0"},
        {"wait_end_of_query": "true", "http_receive_timeout": "1.5", "send_progress_in_http_headers": "False"},
        {"session_timeout": "", "decompress": ""},
    ],
)
def test_what_clients_send_is_let_pass(fields: dict[str, str]) -> None:
    assert asked(fields).settings == {}


@pytest.mark.parametrize(
    ("fields", "accepted", "blocks", "coding"),
    [
        ({}, "gzip", False, "gzip"),
        ({"enable_http_compression": "1"}, "gzip", False, "gzip"),
        ({"enable_http_compression": "0"}, "gzip", False, None),
        ({"compress": "1"}, "gzip", True, None),
        ({"compress": "0"}, "", False, None),
    ],
)
def test_an_answer_is_compressed_one_way_or_the_other(
    fields: dict[str, str], accepted: str, blocks: bool, coding: str | None
) -> None:
    """A client that asks for both reads the blocks and finds no coding named."""
    question = asked(fields, {"Accept-Encoding": accepted})
    assert (question.blocks, question.coding) == (blocks, coding)
