"""The browser SDK as a collector serves it: at `/sdk.js`, and at a URL whose content never changes.

`sdk.js` is built from `sdk/` by `make sdk` and committed, so that no collector needs Node. Builds that were committed
before lie in `sdk_releases/`, where `make sdk` puts them: a page that names one by its hash must find it after any
upgrade.
"""

import gzip
import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CURRENT = Path(__file__).parents[1] / "sdk.js"
RELEASES = Path(__file__).parents[1] / "sdk_releases"
HASH_DIGITS = 16

_HEADERS = {
    "x-content-type-options": "nosniff",
    # Public, the same for everybody; `integrity` on a page of another origin needs CORS. Source: W3C SRI, 3.5.
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "vary": "Accept-Encoding",
}
_SHORT = "public, max-age=300"
_FOREVER = "public, max-age=31536000, immutable"


class SdkFile(msgspec.Struct, frozen=True):
    """One build.

    Attributes:
        path: on the collector, named by the content's hash.
        integrity: for the `integrity` attribute of a script tag.
    """

    body: bytes
    gzipped: bytes
    path: str
    integrity: str

    @property
    def etag(self) -> str:
        """For the `ETag` header: the quoted hash of its path."""
        return f'"{self.path.rpartition("/")[2].removesuffix(".js")}"'

    def tag(self, endpoint: str, key: str, alias: str = "") -> str:
        """The script tag that loads exactly this build and starts it.

        Args:
            alias: a second path of the collector, as `UNJOIN_PATH_ALIAS` names it; "" for none.
        """
        path = alias + self.path.removeprefix("/sdk") if alias else self.path
        named = f' data-path="{alias}"' if alias else ""
        return (
            f'<script src="{escape(endpoint.rstrip("/") + path)}" integrity="{self.integrity}" '
            f'crossorigin="anonymous" data-key="{escape(key)}"{named} defer></script>'
        )


def sdk_file(body: bytes) -> SdkFile:
    """A build by its content."""
    name = hashlib.sha256(body).hexdigest()[:HASH_DIGITS]
    integrity = "sha384-" + b64encode(hashlib.sha384(body).digest()).decode()
    return SdkFile(body, gzip.compress(body, 9, mtime=0), f"/sdk/{name}.js", integrity)


def current_sdk() -> SdkFile:
    """The build of this version."""
    return sdk_file(CURRENT.read_bytes())


class SdkFiles:
    """What `/sdk.js` and `/sdk/HASH.js` answer."""

    def __init__(self, current: SdkFile, earlier: Iterable[SdkFile]) -> None:
        self.current = current
        self._by_path = {file.path: file for file in (*earlier, current)}

    def holds(self, path: str) -> bool:
        """Whether a build is served at that path."""
        return path in self._by_path

    def routes(self) -> list[Route]:
        """For the collector's router."""
        return [Route("/sdk.js", self.newest), Route("/sdk/{name}", self.pinned)]

    async def newest(self, request: Request) -> Response:
        """The build of this version; clients keep it for five minutes."""
        return _reply(request, self.current, _SHORT)

    async def pinned(self, request: Request) -> Response:
        """One build; clients keep it for ever."""
        file = self._by_path.get(request.url.path)
        if file is None:
            raise HTTPException(404)
        return _reply(request, file, _FOREVER)


def read_sdk_files() -> SdkFiles:
    """The builds that this distribution holds."""
    earlier = [sdk_file(path.read_bytes()) for path in sorted(RELEASES.glob("*.js"))]
    return SdkFiles(current_sdk(), earlier)


def _reply(request: Request, file: SdkFile, caching: str) -> Response:
    headers = {**_HEADERS, "cache-control": caching, "etag": file.etag}
    if request.headers.get("if-none-match", "").removeprefix("W/") == file.etag:
        return Response(status_code=304, headers=headers)
    codings = [coding.split(";")[0].strip() for coding in request.headers.get("accept-encoding", "").lower().split(",")]
    if "gzip" in codings:
        return Response(file.gzipped, media_type="text/javascript", headers={**headers, "content-encoding": "gzip"})
    return Response(file.body, media_type="text/javascript", headers=headers)
