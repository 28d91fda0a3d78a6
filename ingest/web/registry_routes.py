"""The part of the Confluent registry's API that a stock consumer needs to decode the topics; read-only.

Source: Confluent Schema Registry API reference, its paths, shapes and error codes.
"""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.registry import Registered, by_id, registered

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
SUBJECT_NOT_FOUND = (404, 40401, "Subject not found")
VERSION_NOT_FOUND = (404, 40402, "Version not found")
SCHEMA_NOT_FOUND = (404, 40403, "Schema not found")
INVALID_VERSION = (422, 42202, "The version is not a positive number and not `latest`")


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type=MEDIA_TYPE)


def _error(error: tuple[int, int, str]) -> Response:
    status, code, message = error
    return _json({"error_code": code, "message": message}, status)


async def schema_by_id(request: Request) -> Response:
    """The schema that a record's header names."""
    entry = by_id().get(_number(request.path_params["schema_id"]))
    return _error(SCHEMA_NOT_FOUND) if entry is None else _json({"schema": entry.text})


async def versions_of_id(request: Request) -> Response:
    """Which subject and version an id stands for."""
    entry = by_id().get(_number(request.path_params["schema_id"]))
    if entry is None:
        return _error(SCHEMA_NOT_FOUND)
    return _json([{"subject": entry.subject, "version": entry.version}])


async def subjects(_: Request) -> Response:
    """Every subject."""
    return _json(sorted({entry.subject for entry in registered()}))


async def versions(request: Request) -> Response:
    """The versions of a subject."""
    entries = _of_subject(request)
    return _json([entry.version for entry in entries]) if entries else _error(SUBJECT_NOT_FOUND)


async def schema_by_version(request: Request) -> Response:
    """One version of a subject, or its latest."""
    entries = _of_subject(request)
    if not entries:
        return _error(SUBJECT_NOT_FOUND)
    wanted = request.path_params["version"]
    number = entries[-1].version if wanted in ("latest", "-1") else _number(wanted)
    if number < 1:
        return _error(INVALID_VERSION)
    for entry in entries:
        if entry.version == number:
            found = {"subject": entry.subject, "version": entry.version, "id": entry.id, "schema": entry.text}
            return _json(found)
    return _error(VERSION_NOT_FOUND)


def _of_subject(request: Request) -> list[Registered]:
    found = [entry for entry in registered() if entry.subject == request.path_params["subject"]]
    return sorted(found, key=lambda entry: entry.version)


def _number(text: str) -> int:
    """The number; 0, which is no id and no version, where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


REGISTRY_ROUTES = [
    Route("/schemas/ids/{schema_id}", schema_by_id),
    Route("/schemas/ids/{schema_id}/versions", versions_of_id),
    Route("/subjects", subjects),
    Route("/subjects/{subject}/versions", versions),
    Route("/subjects/{subject}/versions/{version}", schema_by_version),
]
