"""Spans of followed requests as a collector of OpenTelemetry gets them, and what is said where the extra is missing."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec

import pytest

from schemas.following import Span, emit_nowhere
from unjoin.host.tracing import TracesUnavailable, spans_sent

installed = pytest.mark.skipif(
    find_spec("opentelemetry") is None, reason="the extra `traces` is not installed (requirements/traces.lock)"
)


@pytest.fixture(name="received")
def _received() -> Iterator[tuple[str, list[bytes]]]:
    """A collector of OpenTelemetry: its URL, and the bodies it got."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
    server.shutdown()
    server.server_close()
    thread.join()


@installed
def test_spans_arrive_with_our_ids_and_times(received: tuple[str, list[bytes]]) -> None:
    """Three processes' pieces of work are one trace only by these ids."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, bodies = received
    trace, request, produce = "0a" * 16, "0b" * 8, "0c" * 8
    with spans_sent(url, "collector") as emit:
        emit(Span("POST", trace, request, "", 1_000, 3_000, {"http.status": 200}))
        emit(Span("produce", trace, produce, request, 1_500, 3_000, {"records": 2}))
    (body,) = bodies
    resources = ExportTraceServiceRequest.FromString(_inflated(body)).resource_spans
    found = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert {resource.resource.attributes[0].value.string_value for resource in resources} == {"unjoin-collector"}
    ids = [(span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) for span in found]
    assert ids == [("POST", trace, request, ""), ("produce", trace, produce, request)]
    times = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in found]
    assert times == [(1_000, 3_000), (1_500, 3_000)]


def test_without_the_extra_a_url_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that starts and sends nothing looks as if nothing were slow."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    wanted = r"pip install .* requirements/traces\.lock"
    with pytest.raises(TracesUnavailable, match=wanted), spans_sent("http://127.0.0.1:1/v1/traces", "sink"):
        pass
    with spans_sent("", "sink") as emit:
        assert emit is emit_nowhere


def _inflated(body: bytes) -> bytes:
    import gzip

    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
