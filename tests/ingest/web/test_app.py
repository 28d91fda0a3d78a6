"""Health, documents, registry and SDK."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from ingest.edge import Edge
from ingest.web.app import Web
from schemas.events import AnyEvent
from schemas.outcomes import RejectionReason
from schemas.registry import latest, registered
from tests.ingest.running_collector import SERVER_KEY, RunningCollector, running


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("web")) as collector:
        yield collector


def test_process_is_healthy_and_ready(collector: RunningCollector) -> None:
    """Two questions: restart it, or route around it."""
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        reply = collector.request("GET", path)
        assert (reply.status, reply.json()) == (200, {"status": status})
        assert collector.request("HEAD", path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/", "/metrics", "/v1", "/v1/events/", "/healthz/", "/playground/events", "//v1/events"),
        *("/%00", "/..%2f"),
    ],
)
def test_what_is_not_there_is_a_404_in_json(collector: RunningCollector, path: str) -> None:
    """One shape of error everywhere; without the page of `unjoin up`, `/` too."""
    reply = collector.request("GET", path)
    assert (reply.status, reply.json()["error"]) == (404, "not_found")
    assert path.strip("/") == "" or path not in reply.body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/schemas/ids/1"])
def test_what_only_answers_get_is_a_405_in_json(collector: RunningCollector, path: str) -> None:
    """With the methods that work."""
    reply = collector.request("POST", path, b"{}")
    assert (reply.status, reply.json()["error"]) == (405, "method_not_allowed")
    assert {"GET", "HEAD"} <= set(reply.headers["allow"].split(", "))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_openapi_names_every_type_reason_and_error(collector: RunningCollector) -> None:
    """Generated from the types that decode, so it cannot lag behind them."""
    document = collector.request("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    assert {kind.__name__ for kind in AnyEvent.__args__} <= schemas.keys()
    assert set(schemas["RejectionReason"]["enum"]) == set(RejectionReason)
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    post = document["paths"]["/v1/events"]["post"]
    assert {"200", "400", "401", "403", "408", "413", "415", "429", "503"} <= post["responses"].keys()
    for pattern in re.findall(r'"pattern": "([^"]*)"', json.dumps(document)):
        assert "\\A" not in pattern
    assert all(path in document["paths"] for path in ("/healthz", "/readyz", "/sdk.js", "/schemas/ids/{id}"))
    assert "/metrics" not in document["paths"]


def test_example_of_the_documents_is_accepted(collector: RunningCollector) -> None:
    """People paste it first."""
    post = collector.request("GET", "/openapi.json").json()["paths"]["/v1/events"]["post"]
    example = post["requestBody"]["content"]["application/json"]["example"]
    assert collector.post(example).json() == {"accepted": len(example["events"]), "rejected": []}


def test_docs_page_loads_nothing_from_elsewhere(collector: RunningCollector) -> None:
    """It must work in a network without a way out, and tell nobody that it is read."""
    reply = collector.request("GET", "/docs")
    text = reply.body.decode()
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.findall(r"""(?:src|href)=["'](?!#|/)""", text)
    assert "<script" not in text
    assert all(reason in text for reason in RejectionReason)
    assert "unsupported_encoding" in text


def test_sdk_is_served_to_pages_of_any_origin(collector: RunningCollector) -> None:
    """As a script, not as something to sniff."""
    reply = collector.request("GET", "/sdk.js")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert b"unjoin" in reply.body


def test_registry_answers_as_confluents_does(collector: RunningCollector) -> None:
    """Shapes and error codes that stock clients know."""
    assert collector.request("GET", "/subjects").json() == sorted({entry.subject for entry in registered()})
    for entry in registered():
        assert collector.request("GET", f"/schemas/ids/{entry.id}").json() == {"schema": entry.text}
        at = f"/subjects/{entry.subject}/versions"
        assert entry.version in collector.request("GET", at).json()
        found = collector.request("GET", f"{at}/{entry.version}").json()
        assert (found["id"], found["version"], found["schema"]) == (entry.id, entry.version, entry.text)
        assert collector.request("GET", f"{at}/latest").json()["subject"] == entry.subject
    for path, status, code in (
        ("/schemas/ids/999", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
        ("/schemas/ids/" + "9" * 5_000, 404, 40403),
        ("/subjects/none/versions", 404, 40401),
        ("/subjects/none/versions/latest", 404, 40401),
        ("/subjects/events.signals-value/versions/99", 404, 40402),
        ("/subjects/events.signals-value/versions/x", 422, 42202),
    ):
        reply = collector.request("GET", path)
        assert (reply.status, reply.json()["error_code"]) == (status, code)
        assert reply.headers["content-type"].startswith("application/vnd.schemaregistry.v1+json")


def test_stock_deserializer_decodes_every_category(collector: RunningCollector) -> None:
    """confluent-kafka against these endpoints, without a line of ours on its side."""
    ts = 1_790_000_000_123
    collector.producer.records.clear()
    browser = [
        {"id": "e-1", "type": "touch", "ts": ts, "t": [0], "x": [1], "y": [2], "force": [0.5]},
        {"id": "e-2", "type": "text_answer", "ts": ts, "task": "t-1", "answer": "word"},
        {"id": "e-3", "type": "usage", "ts": ts, "properties": {"a": 1}},
    ]
    server = [
        {
            "id": "e-4",
            "type": "identity_check",
            "ts": ts,
            "account": "a",
            "provider": "p",
            "method": "m",
            "outcome": "o",
        },
        {"id": "e-5", "type": "verdict", "ts": ts, "session": "s-1", "human": True},
        {"id": "e-6", "type": "labeler_application", "ts": ts, "name": "n", "email": "a@b", "country": "c"},
    ]
    assert collector.post({"session": "s-1", "events": browser}).json()["accepted"] == 3
    assert collector.post({"session": "s-1", "events": server}, key=SERVER_KEY).json()["accepted"] == 3
    with SchemaRegistryClient({"url": f"http://127.0.0.1:{collector.port}"}) as client:
        deserialize = AvroDeserializer(client)
        decoded = [
            deserialize(record.value, SerializationContext(record.topic, MessageField.VALUE))
            for record in collector.producer.records
        ]
        assert client.get_latest_version("events.signals-value").schema_id == latest("events.signals-value").id
    assert [datum.get("event_id") for datum in decoded] == ["e-1", None, "e-3", "e-4", None, None, "e-6"]
    assert decoded[1].keys() == {"day", "wrapped_key", "number", "ciphertext"}, "of a label nothing is to be read"


def test_failure_of_a_page_is_a_500_in_json(
    collector: RunningCollector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback for clients there either, and no text of the exception in the log."""

    def fail(_: Edge) -> bool:
        raise RuntimeError("canary")

    monkeypatch.setattr(type(collector.producer), "ready", fail)
    reply = collector.request("GET", "/readyz")
    assert (reply.status, reply.json()["error"]) == (500, "internal")
    assert "RuntimeError" in caplog.text
    assert "canary" not in caplog.text + reply.body.decode()
    assert Web.__doc__
