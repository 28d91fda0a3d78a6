"""Migrations: once, in order, and safely killed."""

import contextlib
from pathlib import Path

import pytest

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.errors import QueryFailed
from sinks.clickhouse.migrate import Migration, MigrationError, migrate, migrations
from testkit.sink_records import label as label_row
from testkit.sink_records import labels


class Database:
    """Runs nothing, remembers what was run, and dies where it is told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.recorded: dict[int, str] = {}
        self.dies_at = -1
        self.engine = ""  # of the table of migrations

    def execute(self, statement: str) -> None:
        if len(self.ran) == self.dies_at:
            raise KeyboardInterrupt
        self.ran.append(statement)
        if statement.startswith("INSERT INTO unjoin.migrations"):
            number, name, sha256 = statement[statement.index("VALUES (") + 8 : -1].split(", ")
            self.recorded[int(number)] = f'{{"number":{number},"name":"{name[1:-1]}","sha256":"{sha256[1:-1]}"}}'

    def select(self, sql: str, _output_format: str) -> bytes:
        if "system.tables" in sql:
            return self.engine.encode()
        return "\n".join(self.recorded.values()).encode()

    def migrate(self, found: tuple[Migration, ...], cluster: str = "") -> int:
        return migrate(self.execute, self.select, found, cluster=cluster)


def written(directory: Path, *names: str) -> tuple[Migration, ...]:
    for name in names:
        (directory / name).write_text(f"-- why; really\nCREATE {name} (a ';' b);\n\nCREATE two;\n")
    return migrations(directory)


def test_statements_run_in_order_and_once(tmp_path: Path) -> None:
    found = written(tmp_path, "0002_b.sql", "0001_a.sql")
    database = Database()
    assert database.migrate(found) == 2
    created = [statement for statement in database.ran if statement.startswith("CREATE ") and "unjoin" not in statement]
    assert created == ["CREATE 0001_a.sql (a ';' b)", "CREATE two", "CREATE 0002_b.sql (a ';' b)", "CREATE two"]
    assert database.migrate(found) == 0


def test_on_a_cluster_every_table_is_replicated_and_made_on_each_replica() -> None:
    """A statement that is run on one replica alone leaves the others without what it made."""
    database = Database()
    database.migrate(migrations(), "c")
    made = [statement for statement in database.ran if statement.startswith("CREATE")]
    assert all(" ON CLUSTER 'c'" in statement.splitlines()[0] for statement in made)
    tables = [statement for statement in made if statement.startswith("CREATE TABLE")]
    names = {statement.split()[5].removeprefix("unjoin.") for statement in tables}
    assert {"migrations", "signals", "labels", "dead_letters", "sink_marks"} <= names
    for name, statement in zip([one.split()[5] for one in tables], tables, strict=True):
        path = f"'/clickhouse/tables/{{shard}}/unjoin/{name.removeprefix('unjoin.')}', '{{replica}}'"
        assert statement.count("MergeTree") == statement.count(f"ENGINE = ReplicatedReplacingMergeTree({path}") == 1
    altered = [statement for statement in database.ran if statement.startswith("ALTER")]
    assert altered
    assert all(statement.endswith(" SETTINGS alter_sync = 2") for statement in altered)


@pytest.mark.parametrize(
    ("engine", "cluster", "text"),
    [
        ("ReplacingMergeTree", "c", "not replicated: leave out UNJOIN_CLICKHOUSE_CLUSTER, or bring their rows"),
        ("ReplicatedReplacingMergeTree", "", "are replicated: name their cluster in UNJOIN_CLICKHOUSE_CLUSTER"),
    ],
)
def test_database_of_the_other_kind_is_left_alone(engine: str, cluster: str, text: str) -> None:
    """Half of its tables would be replicated, and half not."""
    database = Database()
    database.engine = engine
    with pytest.raises(MigrationError, match=text):
        database.migrate(migrations(), cluster)
    assert not database.ran


def test_cluster_that_the_server_does_not_know_is_named() -> None:
    """Or its Keeper, or its macros: ClickHouse's own sentence says which."""

    def refuse(_statement: str) -> None:
        raise QueryFailed(701, "DB::Exception: Requested cluster 'c' not found")

    with pytest.raises(MigrationError, match="no tables on the cluster c: Requested cluster 'c' not found"):
        migrate(refuse, Database().select, migrations(), cluster="c")


@pytest.mark.parametrize("dies_at", range(9))
def test_killed_anywhere_the_next_start_finishes(tmp_path: Path, dies_at: int) -> None:
    """A migration counts as applied after its last statement, not before."""
    found = written(tmp_path, "0001_a.sql", "0002_b.sql")
    database = Database()
    database.dies_at = dies_at
    with contextlib.suppress(KeyboardInterrupt):
        database.migrate(found)
    database.dies_at = -1
    database.migrate(found)
    assert sorted(database.recorded) == [1, 2]
    last = max(index for index, statement in enumerate(database.ran) if statement.startswith("CREATE 0001"))
    assert database.ran[last + 1] == "CREATE two"


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    database = Database()
    database.migrate(written(tmp_path, "0001_a.sql"))
    (tmp_path / "0001_a.sql").write_text("CREATE other;\n")
    with pytest.raises(MigrationError, match="0001_a was changed"):
        database.migrate(migrations(tmp_path))


def test_a_database_newer_than_the_code_is_refused(tmp_path: Path) -> None:
    """Also what a missing file looks like."""
    database = Database()
    database.migrate(written(tmp_path, "0001_a.sql", "0002_b.sql"))
    (tmp_path / "0002_b.sql").unlink()
    with pytest.raises(MigrationError, match="0002_b, which this version of unjoin does not have"):
        database.migrate(migrations(tmp_path))


@pytest.mark.parametrize("names", [("0002_b.sql",), ("0001_a.sql", "0001_b.sql"), ("one.sql",)])
def test_a_misnumbered_directory_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(MigrationError):
        written(tmp_path, *names)


def test_rows_of_before_a_column_was_added_have_it_when_they_are_read(engine: Embedded) -> None:
    """Nothing is rewritten: a table of years would take hours."""
    for table in ("signals", "analytics", "personal", "labelers"):
        engine.select(f"ALTER TABLE unjoin.{table} DROP COLUMN at, DROP COLUMN sent_at", "Null")
        engine.select(
            f"INSERT INTO unjoin.{table} (event_id, site, ts, received_at) VALUES "
            "('right', 's', 1790000000000, fromUnixTimestamp64Milli(1790000000005)), "
            "('seconds', 's', 1790000000, fromUnixTimestamp64Milli(1790000000005))",
            "Null",
        )
    engine.select("TRUNCATE TABLE unjoin.migrations", "Null")
    migrate(engine.select, engine.select)
    for table in ("signals", "analytics", "personal", "labelers"):
        rows = engine.select(
            f"SELECT event_id, sent_at, toUnixTimestamp64Milli(at) FROM unjoin.{table} ORDER BY event_id", "TSV"
        )
        assert rows == b"right\t0\t1790000000000\nseconds\t0\t1790000000005\n"


def test_every_statement_of_ours_can_be_repeated_and_keeps_the_rows(engine: Embedded) -> None:
    """Killed after its last statement and before its record, a migration runs twice."""
    engine.insert(labels([label_row(1, "t", "a")]))
    engine.select("TRUNCATE TABLE unjoin.migrations", "Null")
    assert migrate(engine.select, engine.select) == len(migrations())
    assert engine.select("SELECT count() FROM unjoin.labels", "TSV") == b"1\n"
    assert migrate(engine.select, engine.select) == 0
