"""Pure: the HTTP contract as an OpenAPI 3.1 document, its schemas generated from the types that decode."""

from functools import cache
from typing import Any

import msgspec

from ingest.decode.batch import Batch
from ingest.decode.flaws import FIELD_NAMES
from ingest.errors import ErrorBody
from ingest.http.codings import CODINGS
from ingest.http.responses import Receipt
from ingest.limits import RequestLimits
from ingest.web.segment_openapi import SEGMENT_SCHEMAS, segment_paths
from schemas.outcomes import EXPLANATION, RejectionReason, RequestError

_EXAMPLE = {
    "sent_at": 1790000000999,
    "session": "s-6f1c",
    "events": [
        {
            "id": "0198f6a0-7d3e-7c11-9a55-3f2f8f0e1d01",
            "type": "pointer",
            "ts": 1790000000123,
            "t": [0, 16, 33],
            "x": [10, 12, 15],
            "y": [5, 5, 6],
        },
        {
            "id": "0198f6a0-7d3e-7c11-9a55-3f2f8f0e1d02",
            "type": "image_label",
            "ts": 1790000000456,
            "task": "dogs-0017",
            "answer": "beagle",
        },
    ],
}
_RECEIPT_EXAMPLE = {
    "accepted": 1,
    "rejected": [
        {
            "index": 1,
            "id": "e-2",
            "reason": "wrong_type",
            "field": "task",
            "detail": "`task` must be text of 1 to 128 characters of A-Z, a-z, 0-9 and _.:-.",
        }
    ],
}


_ERRORS = {
    400: [RequestError.NOT_A_BATCH, RequestError.MALFORMED_HTTP],
    401: [RequestError.UNKNOWN_KEY],
    403: [RequestError.FORBIDDEN_ORIGIN],
    405: [RequestError.METHOD_NOT_ALLOWED],
    408: [RequestError.BODY_STALLED],
    413: [RequestError.BODY_TOO_LARGE, RequestError.TOO_MANY_EVENTS],
    415: [RequestError.UNSUPPORTED_TYPE, RequestError.UNSUPPORTED_ENCODING],
    429: [RequestError.QUOTA_EXCEEDED],
    431: [RequestError.HEADERS_TOO_LARGE],
    500: [RequestError.INTERNAL],
    503: [RequestError.OVERLOADED, RequestError.NOT_DURABLE],
}


@cache
def openapi(limits: RequestLimits, version: str) -> dict[str, Any]:
    """The document.

    Args:
        version: of the distribution.
    """
    _, components = msgspec.json.schema_components(
        [Batch, Receipt, ErrorBody], ref_template="#/components/schemas/{name}"
    )
    components["RejectedEvent"]["properties"]["field"]["enum"] = [*FIELD_NAMES, None]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "unjoin collector",
            "version": version,
            "description": "Takes batches of events and answers once they are durable. Resend with the same ids: an "
            "event that was sent twice is stored once.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/v1/events": {"post": _post(limits), "options": _preflight()},
            **segment_paths(_errors()),
            **_other_paths(),
        },
        "components": {
            "schemas": {**{name: _for_ecma(schema) for name, schema in components.items()}, **SEGMENT_SCHEMAS},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
                "bearer": {"type": "http", "scheme": "bearer", "description": "A browser key or a server key."},
                "query": {"type": "apiKey", "in": "query", "name": "key", "description": "For beacons."},
            },
        },
    }


def _post(limits: RequestLimits) -> dict[str, Any]:
    json_body = {"schema": {"$ref": "#/components/schemas/Batch"}, "example": _EXAMPLE}
    return {
        "operationId": "postEvents",
        "summary": "Send a batch of events",
        "description": (
            f"At most {limits.body_bytes_max:,} bytes before and after decompression, {limits.batch_events_max} "
            f"events, {limits.event_bytes_max:,} bytes an event, {limits.answer_bytes_max:,} bytes an answer, "
            f"{limits.event_depth_max} levels of nesting. "
            "A bad event never sinks its batch. Of duplicate JSON members the last one counts."
        ),
        "security": [{"bearer": []}, {"query": []}],
        "parameters": [
            {
                "name": "Content-Encoding",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "enum": [*CODINGS, "identity"]},
            },
            {
                "name": "Sec-GPC",
                "in": "header",
                "required": False,
                "description": "1: the browser asks that nobody sells or shares what its visitor does.",
                "schema": {"type": "string", "enum": ["1"]},
            },
        ],
        "requestBody": {"required": True, "content": {"application/json": json_body, "text/plain": json_body}},
        "responses": {
            "200": {
                "description": "Every accepted event is durable. Reasons: " + _listed(list(RejectionReason)),
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Receipt"},
                        "example": _RECEIPT_EXAMPLE,
                    }
                },
            },
            **_errors(),
        },
    }


def _errors() -> dict[str, Any]:
    return {str(status): _error(status) for status in _ERRORS}


def _error(status: int) -> dict[str, Any]:
    errors = _ERRORS[status]
    response: dict[str, Any] = {
        "description": _listed(errors),
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ErrorBody"},
                "example": {"error": str(errors[0]), "detail": EXPLANATION[errors[0]]},
            }
        },
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {"required": True, "description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
        }
    return response


def _listed(names: list[Any]) -> str:
    return " ".join(f"`{name}`: {EXPLANATION[name]}" for name in names)


def _preflight() -> dict[str, Any]:
    return {
        "operationId": "preflightEvents",
        "summary": "CORS preflight",
        "security": [],
        "responses": {"204": {"description": "The origin is listed."}, "403": _error(403)},
    }


def _get(operation: str, summary: str, content: str, *statuses: tuple[str, str], **more: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"200": {"description": summary, "content": {content: {}}}}
    described.update({status: {"description": text} for status, text in statuses})
    return {"get": {"operationId": operation, "summary": summary, "security": [], "responses": described, **more}}


def _path_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _other_paths() -> dict[str, Any]:
    registry = "application/vnd.schemaregistry.v1+json"
    schema_id = _path_parameter("id", {"type": "integer"})
    subject = _path_parameter("subject", {"type": "string"})
    version = _path_parameter("version", {"type": "string", "description": "A number, or `latest`."})
    sdk_hash = _path_parameter("hash", {"type": "string", "pattern": "^[0-9a-f]{16}$"})
    missing = ("404", "There is none.")
    return {
        "/healthz": _get("health", "The process answers", "application/json"),
        "/readyz": _get("ready", "Events can be made durable", "application/json", ("503", "They cannot, now.")),
        "/openapi.json": _get("openapi", "This document", "application/json"),
        "/docs": _get("docs", "This document, to read", "text/html"),
        "/v1/projects/{key}/settings": _get(
            "segmentSettings",
            "Where Segment's SDK for browsers posts what is called with a key",
            "application/json",
            ("404", "There is no such browser key for this Origin."),
            parameters=[_path_parameter("key", {"type": "string"})],
        ),
        "/sdk.js": _get("sdk", "The browser SDK", "text/javascript"),
        "/sdk/{hash}.js": _get(
            "sdkByHash", "One build of the browser SDK, for ever", "text/javascript", missing, parameters=[sdk_hash]
        ),
        "/schemas/ids/{id}": _get("schemaById", "An Avro schema", registry, missing, parameters=[schema_id]),
        "/subjects": _get("subjects", "Every subject", registry),
        "/subjects/{subject}/versions": _get(
            "versions", "A subject's versions", registry, missing, parameters=[subject]
        ),
        "/subjects/{subject}/versions/{version}": _get(
            "schemaByVersion", "A version of a subject", registry, missing, parameters=[subject, version]
        ),
    }


def _for_ecma(value: Any) -> Any:
    r"""The schema with its patterns in the dialect of JSON Schema, where `\A` and `\Z` mean nothing."""
    if isinstance(value, dict):
        return {
            name: item.replace(r"\A", "^").replace(r"\Z", "$")
            if name == "pattern" and isinstance(item, str)
            else _for_ecma(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_for_ecma(item) for item in value]
    return value
