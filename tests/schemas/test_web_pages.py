"""Which requests to a local port come from a web page."""

import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from schemas.web_pages import LOOPBACK_HOSTS, is_web_page, refusing_web_pages

TEXT = st.text(max_size=30)


@given(host=st.none() | TEXT)
def test_a_request_without_marks_is_no_page_s(host: str | None) -> None:
    """curl, ClickHouse's clients, Prometheus and dashboards send neither header."""
    assert not is_web_page(host=host, origin=None, fetch_site=None)


@given(host=TEXT, origin=TEXT, fetch_site=st.sampled_from([None, "none", "same-origin"]))
def test_only_the_listener_s_own_origin_is_let_through(host: str, origin: str, fetch_site: str | None) -> None:
    """Any other, `null` of a sandboxed frame included, is a page's."""
    own = origin.lower() == f"http://{host}".lower()
    assert is_web_page(host=host, origin=origin, fetch_site=fetch_site) is not own


@given(fetch_site=TEXT.filter(lambda text: text not in ("none", "same-origin")))
def test_a_page_of_another_site_is_refused_whatever_else_it_says(fetch_site: str) -> None:
    """`same-site` is another port of this machine: a page there has no business here."""
    assert is_web_page(host="localhost:1", origin="http://localhost:1", fetch_site=fetch_site)


@pytest.mark.parametrize(
    ("host", "refused"),
    [("127.0.0.1:9", False), ("LOCALHOST", False), ("[::1]:9", False), ("evil.test:9", True), ("", True), (None, True)],
)
def test_a_name_that_was_made_to_resolve_here_is_refused(host: str | None, refused: bool) -> None:
    """DNS rebinding: the page's requests are of its own origin, but name its own host."""
    assert is_web_page(host=host, origin=None, fetch_site=None, hosts=LOOPBACK_HOSTS) is refused


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.test"}, 403),
        ({"Host": "evil.test"}, 403),
    ],
)
def test_a_metrics_port_answers_no_web_page(headers: dict[str, str], status: int) -> None:
    """Totals tell less than rows, and no page needs them."""
    registry = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    server.set_app(refusing_web_pages(make_wsgi_app(registry), LOOPBACK_HOSTS))
    request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}/metrics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            got = answer.status
    except urllib.error.HTTPError as error:
        got = error.code
        error.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert got == status
