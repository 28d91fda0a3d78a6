"""Pure: the part of the OpenAPI document that describes what Segment's SDKs post, as docs/segment.md does in words."""

from typing import Any

from ingest.decode.segment import PATHS

_ID = {"type": ["string", "integer", "null"]}
_OBJECT = {"type": ["object", "null"]}
_NAME = {"type": ["string", "null"]}

SEGMENT_SCHEMAS: dict[str, Any] = {
    "SegmentCall": {
        "type": "object",
        "description": "One call. `track` becomes a Usage, `page` and `screen` a PageView, `identify` a Contact. What "
        "SDKs add by themselves is left out: `integrations`, `sentAt`, `context` but its page's URL and referrer.",
        "required": ["messageId"],
        "properties": {
            "type": {"type": "string", "enum": sorted(PATHS.keys() - {"batch"}), "description": "The path may say it."},
            "messageId": {"type": "string", "description": "The same on every resend."},
            "timestamp": {"type": "string", "format": "date-time"},
            "originalTimestamp": {"type": "string", "format": "date-time", "description": "Where no timestamp is."},
            "anonymousId": _ID | {"description": "The session."},
            "userId": _ID | {"description": "Of identify the account; else the session where no anonymousId is."},
            "event": {"type": "string", "description": "Of track."},
            "name": _NAME | {"description": "Of page and screen."},
            "category": _NAME | {"description": "Of page and screen."},
            "properties": _OBJECT | {"description": "Stored as they are."},
            "traits": _OBJECT | {"description": "Of identify: name, firstName, lastName, email, role, country."},
            "context": _OBJECT | {"description": "Its page.url and page.referrer."},
        },
    },
    "SegmentBatch": {
        "type": "object",
        "description": "Calls of one session or many.",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "items": {"$ref": "#/components/schemas/SegmentCall"}},
            "writeKey": {"type": "string", "description": "The key, where no header has it."},
        },
    },
    "SegmentReceipt": {
        "type": "object",
        "description": "What became of the calls; accepted means durable. SDKs look at the status alone.",
        "required": ["success", "accepted", "rejected"],
        "properties": {
            "success": {"type": "boolean", "description": "The request was dealt with."},
            "accepted": {"type": "integer", "minimum": 0},
            "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/RejectedEvent"}},
            "warnings": {"$ref": "#/components/schemas/Warnings"},
        },
    },
}

_CALL = {
    "messageId": "ajs-next-1790000000123-4ec2b0a7",
    "timestamp": "2026-09-21T14:13:20.123Z",
    "anonymousId": "c2b0a754-7114-49e8-b068-300ab625ec32",
}
_EXAMPLES: dict[str, Any] = {
    "track": {**_CALL, "event": "Opened", "properties": {"plan": "free"}},
    "page": {**_CALL, "name": "Docs", "context": {"page": {"url": "https://example.com/docs", "referrer": ""}}},
    "screen": {**_CALL, "name": "Docs"},
    "identify": {
        **_CALL,
        "userId": "acme",
        "traits": {"name": "A. Person", "email": "a@acme.example", "country": "DE"},
    },
    "batch": {"batch": [{**_CALL, "type": "track", "event": "Opened"}]},
}


def segment_paths(errors: dict[str, Any]) -> dict[str, Any]:
    """The paths by the names that Segment's documentation uses; SDKs in browsers use the shorter ones.

    Args:
        errors: answers besides 200, by status.
    """
    return {f"/v1/{kind}": {"post": _post(kind, errors)} for kind in PATHS}


def _post(kind: str, errors: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{'SegmentBatch' if kind == 'batch' else 'SegmentCall'}"}
    body: dict[str, Any] = {"schema": schema}
    if kind in _EXAMPLES:
        body["example"] = _EXAMPLES[kind]
    others = ", ".join(f"`{path}`" for path in PATHS[kind][1:])
    says = "" if kind in _EXAMPLES else " Answered with a rejection, `unknown_type`: there is nowhere to store it."
    return {
        "operationId": f"segment{kind.title()}",
        "summary": f"Segment's {kind}",
        "description": f"For SDKs that speak Segment's HTTP API; also {others}.{says}",
        "security": [{"basic": []}, {"bearer": []}, {"query": []}],
        "requestBody": {"required": True, "content": {"application/json": body, "text/plain": body}},
        "responses": {
            "200": {
                "description": "Every accepted call is durable.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SegmentReceipt"}}},
            },
            **errors,
        },
    }
