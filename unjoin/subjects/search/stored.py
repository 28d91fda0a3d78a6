"""Looks into tables by SQL, and into topics as any consumer would."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import msgspec

from schemas.kafka_access import KafkaAccess
from unjoin.audit.logs import records
from unjoin.audit.snapshot import AuditError, KafkaReader
from unjoin.query import SelectRows
from unjoin.subjects.search.needles import Needles, Search
from unjoin.subjects.search.places import Finding, shown

BY_SQL, AS_A_CONSUMER = "by SQL, every row", "as a consumer reads it"
# Names are the engine's own; `where` of a text is in hexadecimal.
_COLUMNS = (
    "SELECT table, name, type FROM system.columns WHERE database = 'unjoin' AND type LIKE '%String%' "
    "AND table IN (SELECT name FROM system.tables WHERE database = 'unjoin' AND engine NOT LIKE '%View%')"
)


def search_tables(source: SelectRows, needles: Needles) -> list[Finding]:
    """Every text column of every table, rows included that another replaces.

    Args:
        source: selects every row that lies in a table.
    """
    columns: dict[str, list[str]] = defaultdict(list)
    for line in source(_COLUMNS).decode().splitlines():
        table, name, kind = line.split("\t")
        columns[table].append(
            f"arrayStringConcat(`{name}`, '\\n')" if kind.startswith("Array") else f"toString(`{name}`)"
        )
    findings = []
    for table, texts in sorted(columns.items()):
        asked = [
            f"sum(toUInt64(countSubstringsCaseInsensitiveUTF8({text}, unhex('{needle.encode().hex()}'))))"
            for needle in needles.texts.values()
            for text in texts
        ]
        sizes = " + ".join(f"length({text})" for text in texts)
        sql = f"SELECT count(), sum({sizes}), {', '.join(asked)} FROM unjoin.`{table}`"  # noqa: S608
        rows, searched, *counts = (int(float(cell)) for cell in source(sql).split(b"\t"))
        found: Counter[tuple[str, str]] = Counter()
        for place, name in enumerate(needles.texts):
            found[name, "as it is"] = sum(counts[place * len(texts) : (place + 1) * len(texts)])
        findings.append(Finding(f"ClickHouse: table {table}", BY_SQL, rows, searched, shown(found)))
    return findings


async def search_topics(
    kafka: KafkaAccess, topics: Iterable[str], needles: Needles, advance: Callable[[int], None]
) -> list[Finding]:
    """Keys, values and headers of every record that the topics hold now; one that is not there is said.

    Raises:
        AuditError: Kafka does not answer.
    """
    findings = []
    async with KafkaReader(kafka) as reader:
        for topic in topics:
            search, count = Search(needles), 0
            try:
                spans = await reader.spans((await reader.partitions([topic]))[topic])
            except AuditError as error:
                findings.append(Finding(f"Kafka: topic {topic}", AS_A_CONSUMER, missed=1, blind=True, note=str(error)))
                continue
            async for _, some in records(reader, spans, advance):
                pieces = [
                    piece
                    for record in some
                    for piece in (
                        record.key,
                        record.value,
                        *(p for name, v in record.headers for p in (name.encode(), v)),
                    )
                ]
                search.feed(b"\n".join(piece for piece in pieces if piece))
                search.end()
                count += len(some)
            found = shown(search.found)
            findings.append(Finding(f"Kafka: topic {topic}", AS_A_CONSUMER, count, search.searched_bytes, found))
    return findings


def total(findings: Iterable[Finding]) -> int:
    """How often anything was found, in all places."""
    return sum(sum(finding.found.values()) for finding in findings)


class Searched(msgspec.Struct, frozen=True):
    """A whole search.

    Attributes:
        made_at: ISO 8601, in UTC.
        looked_for: the names of the texts.
        not_seen: what no search on this machine can see.
        request: of an erasure that is verified: its id, reference and state.
    """

    made_at: str
    looked_for: list[str]
    findings: list[Finding]
    not_seen: list[str]
    request: dict[str, str] = {}

    @property
    def found(self) -> int:
        """How often anything was found, in all places."""
        return total(self.findings)

    @property
    def blind(self) -> bool:
        """Whether a place that may hold something was not looked into."""
        return any(finding.blind for finding in self.findings)
