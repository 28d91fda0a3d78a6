"""Sends the pieces of work of requests that are followed to an OpenTelemetry collector: the optional extra `traces`.

What is sent is made of `schemas.following.Span`, after the fact: on the way of an event is nothing of OpenTelemetry,
and what is not followed costs nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.following import EmitSpan, Span, emit_nowhere
from schemas.outcomes import UnjoinError

FLUSH_MS_MAX = 2_000


class TracesUnavailable(UnjoinError):
    """Traces were asked for, and the extra is not installed; the text says what to do."""


@contextmanager
def spans_sent(url: str, role: str) -> Iterator[EmitSpan]:
    """What takes spans; they are sent in batches from a thread of its own, and dropped where nobody takes them.

    Args:
        url: of OTLP over HTTP, as `http://collector:4318/v1/traces`; empty for nowhere.
        role: `service.name` is `unjoin-ROLE`.

    Raises:
        TracesUnavailable: a package of the extra is missing.
    """
    if not url:
        yield emit_nowhere
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags  # noqa: PLC0415
    except ImportError:
        raise TracesUnavailable(
            "UNJOIN_TRACES_URL needs an optional extra: pip install --require-hashes -r requirements/traces.lock"
        ) from None
    kinds = {"POST": SpanKind.SERVER, "produce": SpanKind.PRODUCER, "insert": SpanKind.CONSUMER}
    resource = Resource({"service.name": f"unjoin-{role}"})  # of this machine, process and user nothing
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=url))

    def context(trace_id: str, span_id: str) -> SpanContext:
        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))

    def emit(span: Span) -> None:
        processor.on_end(
            ReadableSpan(
                span.name,
                context=context(span.trace_id, span.span_id),
                parent=context(span.trace_id, span.parent_id) if span.parent_id else None,
                resource=resource,
                attributes=dict(span.attributes),
                kind=kinds[span.name],
                start_time=span.began_ns,
                end_time=span.ended_ns,
            )
        )

    try:
        yield emit
    finally:
        processor.force_flush(FLUSH_MS_MAX)
        processor.shutdown()
