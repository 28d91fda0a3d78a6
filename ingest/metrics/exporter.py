"""`/metrics` on a port of its own, so that whoever may post events need not be able to read the totals."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from schemas.outcomes import UnjoinError
from schemas.web_pages import LOOPBACK_HOSTS, refusing_web_pages


class MetricsPortError(UnjoinError):
    """The metrics' port cannot be listened on; the text says which and what to do."""


@contextmanager
def metrics_exported(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    """Answers Prometheus from a thread of its own for as long as the context lasts.

    The registry's values are read on that thread, beside the event loop that changes them: each has to be one number
    or a container whose size stays the same.

    Args:
        port: 0 for none.

    Raises:
        MetricsPortError: it is taken, or the host is none of this machine's.
    """
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        text = f"no metrics on {host}:{port}: {error.strerror}; choose another UNJOIN_METRICS_PORT, or 0 for none"
        raise MetricsPortError(text) from None
    server.set_app(refusing_web_pages(make_wsgi_app(registry), LOOPBACK_HOSTS if host in LOOPBACK_HOSTS else None))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
