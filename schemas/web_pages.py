"""Pure: which requests to a local port come from a web page, and are refused.

A page of any origin can have the reader's browser send requests to a port of the same machine. It cannot read the
answers, but it can time them, and timing tells what is stored. Browsers mark such requests, and no script can remove
the marks; curl, ClickHouse's clients, Prometheus and dashboards send neither header.

    header            of a request that is let through
    Sec-Fetch-Site    absent, `same-origin`, or `none` (typed by the user)
    Origin            absent, or the listener's own: http:// and the request's Host
    Host              a known name, if there is a list of them: a page's own name may resolve to this machine

Source: W3C, Fetch Metadata Request Headers; Fetch Standard, `Origin` header.
"""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

REFUSED = "This port does not answer web pages.\n"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def is_web_page(
    *, host: str | None, origin: str | None, fetch_site: str | None, hosts: Collection[str] | None = None
) -> bool:
    """Whether a request comes from a web page that this listener does not serve.

    Args:
        host, origin, fetch_site: the headers `Host`, `Origin` and `Sec-Fetch-Site`; None where there is none.
        hosts: the names, in lower case and without port, that the listener is known by; None for any name.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return True
    if origin is not None and origin.lower() != f"http://{host or ''}".lower():
        return True
    return hosts is not None and re.sub(r":\d+\Z", "", host or "").lower() not in hosts


def refusing_web_pages(app: App, hosts: Collection[str] | None = None) -> App:
    """The WSGI application `app`, which answers a web page's request with 403."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        names = ("HTTP_HOST", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")
        host, origin, fetch_site = (environ.get(name) for name in names)
        if is_web_page(host=host, origin=origin, fetch_site=fetch_site, hosts=hosts):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [REFUSED.encode()]
        return app(environ, start_response)

    return guarded
