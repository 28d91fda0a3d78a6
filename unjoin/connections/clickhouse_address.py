"""From settings to the ClickHouse server that they name."""

from pathlib import Path

from sinks.clickhouse.address import Address, AddressError, address_of
from unjoin.settings import Settings


def server_address_of(settings: Settings) -> Address | None:
    """Where the server is, and how to log in; None for the embedded engine. A role calls it before it is confined.

    Raises:
        AddressError: the URL or what belongs to it cannot be used, or a file of a certificate or key cannot be read.
    """
    files = {
        "CA": settings.clickhouse_tls_ca,
        "CERT": settings.clickhouse_tls_cert,
        "KEY": settings.clickhouse_tls_key,
    }
    if not settings.clickhouse_url:
        for name, path in files.items():
            if path:
                raise AddressError(f"UNJOIN_CLICKHOUSE_TLS_{name} has no effect without UNJOIN_CLICKHOUSE_URL")
        if settings.clickhouse_cluster:
            raise AddressError("UNJOIN_CLICKHOUSE_CLUSTER has no effect without UNJOIN_CLICKHOUSE_URL")
        return None
    for name, path in files.items():
        try:
            if path and "-----BEGIN" not in Path(path).read_text():
                raise AddressError(f"UNJOIN_CLICKHOUSE_TLS_{name}: {path} is no PEM file")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise AddressError(f"UNJOIN_CLICKHOUSE_TLS_{name}: {path} cannot be read: {why}") from None
    return address_of(
        settings.clickhouse_url,
        cluster=settings.clickhouse_cluster,
        ca=files["CA"],
        certificate=files["CERT"],
        key=files["KEY"],
    )
