"""What is added to an analytics event."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from ua_parser.regex import Resolver

from sinks import rows
from sinks.rows.enrichment import (
    LOOK_SECONDS,
    USER_AGENT_CHARS_MAX,
    Agent,
    AsnDatabase,
    AsnDatabaseError,
    agent_of,
    enrichment,
    isps,
    no_isp,
)

PIXEL = (
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/116.0.0.0 Mobile Safari/537.36"
)


@pytest.fixture(scope="module")
def asn_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asn") / "asn.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="GeoLite2-ASN")
    network = {"autonomous_system_number": 64_500, "autonomous_system_organization": "Example Net"}
    writer.insert_network(IPSet(["192.0.2.0/24", "2001:db8::/32"]), network)
    writer.to_db_file(str(path))
    return path


def test_a_user_agent_says_browser_system_and_device() -> None:
    agent = agent_of(PIXEL)
    assert (agent.browser, agent.os, agent.device) == ("Chrome Mobile", "Android", "Pixel 7")


def test_no_more_of_a_user_agent_is_parsed_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules are some thousand expressions; what they read is a stranger's, and they read each new one once."""
    seen: list[str] = []
    monkeypatch.setattr(rows.enrichment, "agent_of", lambda text: seen.append(text) or Agent())
    enrichment("Android 1.1.1 " * 80, "192.0.2.1", no_isp)
    assert [len(text) for text in seen] == [USER_AGENT_CHARS_MAX]


def test_user_agents_are_parsed_by_the_engine_whose_time_is_linear() -> None:
    """Another would be taken silently where this one is missing, and one header could cost it a tenth of a second."""
    assert isinstance(rows.enrichment._PARSER.resolver, Resolver)


@given(st.text(max_size=2_000))
def test_any_user_agent_is_enriched_without_an_error(user_agent: str) -> None:
    """The header is whatever a client sends; one that nobody knows must not stop the sink."""
    added = enrichment(user_agent, "192.0.2.1", no_isp)
    assert all(isinstance(text, str) for text in added)
    assert added[-1] == ""


@pytest.mark.parametrize(
    ("address", "isp"),
    [
        ("192.0.2.7", "Example Net"),
        ("2001:db8::1", "Example Net"),
        ("198.51.100.1", ""),
        ("127.0.0.1", ""),
        ("", ""),
        ("not an address", ""),
    ],
)
def test_an_address_names_its_network_or_nothing(asn_database: Path, address: str, isp: str) -> None:
    """Behind a socket or a proxy there may be no address at all."""
    assert isps(str(asn_database))(address) == isp


def test_without_a_database_every_network_is_unknown() -> None:
    assert isps("")("192.0.2.7") == ""


def test_database_of_another_kind_is_an_error_at_the_start(tmp_path: Path) -> None:
    """At the first analytics event it would end the sink, again and again."""
    path = written(tmp_path / "city.mmdb", "GeoLite2-City", {"city": "x"})
    with pytest.raises(AsnDatabaseError, match="is a GeoLite2-City database; an ASN database is needed"):
        isps(str(path))


@pytest.mark.parametrize("content", [b"", b"no database", b"\xab\xcd\xefMaxMind.com"])
def test_file_that_is_no_database_is_an_error_at_the_start(tmp_path: Path, content: bytes) -> None:
    """One sentence, and no traceback."""
    (tmp_path / "asn.mmdb").write_bytes(content)
    with pytest.raises(AsnDatabaseError):
        isps(str(tmp_path / "asn.mmdb"))
    with pytest.raises(AsnDatabaseError, match="cannot be read"):
        isps(str(tmp_path / "none.mmdb"))


def test_replaced_database_is_followed_and_a_broken_one_costs_nothing(tmp_path: Path) -> None:
    """MaxMind publishes twice a week; a file that is cut short in place must not end the sink."""
    path, now, errors = tmp_path / "asn.mmdb", [0.0], []
    written(path, "GeoLite2-ASN", {"autonomous_system_organization": "Old"})
    database = AsnDatabase(path, lambda: errors.append(1), lambda: now[0])
    assert database.isp_of("192.0.2.7") == "Old"
    path.write_bytes(path.read_bytes()[:100])
    assert database.isp_of("192.0.2.7") == "Old"
    now[0] += LOOK_SECONDS
    assert (database.isp_of("192.0.2.7"), len(errors)) == ("Old", 1)
    written(tmp_path / "next.mmdb", "GeoLite2-ASN", {"autonomous_system_organization": "New"}).replace(path)
    now[0] += LOOK_SECONDS
    assert (database.isp_of("192.0.2.7"), len(errors)) == ("New", 1)


def written(path: Path, kind: str, entry: dict[str, str]) -> Path:
    """A database with one network."""
    writer = MMDBWriter(ip_version=6, database_type=kind, ipv4_compatible=True)
    writer.insert_network(IPSet(["192.0.2.0/24"]), entry)
    writer.to_db_file(str(path))
    return path
