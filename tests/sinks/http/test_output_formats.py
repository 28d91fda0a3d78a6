"""The Content-Type of each format is a server's, and a format that cannot be given says so."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from sinks.clickhouse.embedded import Embedded
from sinks.http.output_formats import check_format, content_type
from sinks.http.refusals import NotAllowed
from sinks.metrics import SinkMetrics
from testkit.clickhouse_server import PASSWORD, ClickHouseServer, missing
from testkit.http_interface import running_interface

# What a format wants of the columns.
ROW = {
    "GeoJSON": "(1., 2.)::Point AS x",
    "PNG": "toUInt8(1) AS v",
    "Prometheus": "'a' AS name, 1. AS value",
}
NOT_GIVEN = ("Protobuf", "ProtobufList", "protobufsingle", "CapnProto", "Template", "AvroConfluent")


@pytest.fixture(scope="module")
def port(embedded: Embedded) -> Iterator[int]:
    with running_interface(embedded, SinkMetrics()) as port:
        yield port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    if reason := missing():
        pytest.skip(reason)
    running = ClickHouseServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.stop()


def type_of(port: int, output_format: str, password: str = "") -> str:
    """The Content-Type of an answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/?default_format={output_format}",
        f"SELECT {ROW.get(output_format, '1 AS x')}".encode(),
        {"X-ClickHouse-User": "writer", "X-ClickHouse-Key": password} if password else {},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"] or ""


@pytest.mark.parametrize(
    ("output_format", "sent"),
    [
        ("TSVWithNames", "text/tab-separated-values; charset=UTF-8"),
        ("CSV", "text/csv; charset=UTF-8; header=absent"),
        ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
        ("CSVWithNamesAndTypes", "text/csv; charset=UTF-8; header=present"),
        ("csvwithnames", "text/csv; charset=UTF-8; header=present"),
        ("XML", "application/xml; charset=UTF-8"),
        ("Avro", "application/octet-stream"),
        ("ORC", "application/octet-stream"),
        ("Parquet", "application/octet-stream"),
        ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ("Pretty", "text/plain; charset=UTF-8"),
        ("RawBLOB", "text/plain; charset=UTF-8"),
    ],
)
def test_an_answer_says_what_it_is(port: int, output_format: str, sent: str) -> None:
    assert type_of(port, output_format) == sent


@pytest.mark.server
def test_every_format_has_the_type_that_a_server_sends(embedded: Embedded, server: ClickHouseServer) -> None:
    """A format that a newer engine brings turns this red."""
    names = embedded.select("SELECT name FROM system.formats WHERE is_output ORDER BY name", "TSV").decode().split()
    given = [name for name in names if name.lower() not in {one.lower() for one in NOT_GIVEN}]
    assert len(given) > 80
    assert {name: content_type(name) for name in given} == {
        name: type_of(server.http_port, name, PASSWORD) for name in given
    }


@pytest.mark.parametrize("output_format", NOT_GIVEN)
def test_a_format_that_needs_a_file_or_a_server_is_refused_by_name(output_format: str) -> None:
    with pytest.raises(NotAllowed) as raised:
        check_format(output_format)
    assert raised.value.code == 73
    assert raised.value.detail.startswith(f"Format {output_format} is not given here: it needs a ")


def test_a_format_that_needs_a_file_is_not_tried(port: int) -> None:
    """The engine makes a schema of the columns and writes it into a temporary folder, whose path its error shows."""
    for where in ({"default_format": "Protobuf"}, {}):
        sql = "SELECT 1 AS x" + ("" if where else " FORMAT Protobuf")
        address = f"http://127.0.0.1:{port}/?{urllib.parse.urlencode(where | {'query': sql})}"
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(address, timeout=30)
        text = raised.value.read().decode()
        assert raised.value.code == 404
        assert "Ask for one that carries its own schema, as Parquet" in text
        assert "/" not in text
