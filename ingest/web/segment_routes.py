"""The routes that `@segment/analytics-next` needs besides those for calls: its settings, and its metrics.

With the collector as its `cdnURL` the SDK needs no other setting, and contacts no other host.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.edge import Edge
from ingest.errors import Rejection
from schemas.outcomes import EXPLANATION, RequestError

_HEADERS = {"vary": "Origin", "x-content-type-options": "nosniff"}


class SegmentRoutes:
    """The routes of one collector."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def routes(self) -> list[Route]:
        """For a router."""
        return [
            Route("/v1/projects/{key}/settings", self.settings),
            Route("/v1/m", self.metrics, methods=["POST"]),
        ]

    async def settings(self, request: Request) -> Response:
        """The SDK's settings for a browser key: it posts calls to this collector alone, and no metrics about itself."""
        origin = request.headers.get("origin")
        try:
            grant = self._edge.sites.admission.grant_of(request.path_params["key"])
        except Rejection:
            grant = None
        headers = dict(_HEADERS)
        if grant is None or grant.kind != "browser" or (origin is not None and origin not in grant.origins):
            error = RequestError.UNKNOWN_KEY
            return JSONResponse({"error": str(error), "detail": EXPLANATION[error]}, 404, headers=headers)
        if origin is not None:
            headers["access-control-allow-origin"] = origin
        # A page loaded by https may call https alone, so its collector speaks https, perhaps at a proxy before it.
        protocol = "https" if (origin or "").startswith("https:") else request.url.scheme
        host = f"{request.url.netloc}/v1"
        segment = {"apiKey": request.path_params["key"], "apiHost": host, "protocol": protocol}
        return JSONResponse({"integrations": {"Segment.io": segment}, "metrics": {"sampleRate": 0}}, headers=headers)

    async def metrics(self, request: Request) -> Response:
        """Drops the SDK's metrics about itself with a 200: another status would show up in the page's console."""
        headers, origin = dict(_HEADERS), request.headers.get("origin")
        if origin is not None and self._edge.sites.admission.lists_origin(origin):
            headers["access-control-allow-origin"] = origin
        return JSONResponse({"success": True, "accepted": 0, "rejected": []}, headers=headers)
