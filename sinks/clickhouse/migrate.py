"""Applies numbered SQL files in order, each once, and records them in `unjoin.migrations`.

UnjoinError
└── MigrationError   a file is missing, changed or misnumbered, the database is newer, or a grant is missing
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from schemas.outcomes import UnjoinError
from sinks.clickhouse.errors import ACCESS_DENIED, QueryFailed

DIRECTORY = Path(__file__).parents[1] / "migrations"
FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_BEFORE = (
    "CREATE DATABASE IF NOT EXISTS unjoin",
    """CREATE TABLE IF NOT EXISTS unjoin.migrations
    (number UInt32, name String, sha256 String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'))
    ENGINE = ReplacingMergeTree(applied_at) ORDER BY number""",
)
_ENGINE = "SELECT engine FROM system.tables WHERE database = 'unjoin' AND name = 'migrations'"
_CREATE = re.compile(r"CREATE (?:(?:DATABASE|TABLE|VIEW) IF NOT EXISTS|OR REPLACE VIEW) (?:unjoin\.)?(\w+)")
_MERGE_TREE = re.compile(r"(?<=ENGINE = )(\w*MergeTree)(?:\((\w*)\))?")
# No such cluster or macro, no Keeper, another structure there, distributed statements switched off.
CLUSTER_ERRORS = {36, 62, 122, 139, 170, 253, 344, 392, 701}
_RECORDED = "SELECT number, name, sha256 FROM unjoin.migrations FINAL ORDER BY number"


class MigrationError(UnjoinError):
    """The migrations on disk and those recorded in the database do not belong together."""


class Migration(msgspec.Struct, frozen=True):
    """One file.

    Attributes:
        number: 1, 2, 3, … without a gap.
        statements: each may be run again after it was run once or half.
    """

    number: int
    name: str
    sha256: str
    statements: tuple[str, ...]


class Recorded(msgspec.Struct, frozen=True):
    """One row of `unjoin.migrations`."""

    number: int
    name: str
    sha256: str


def migrations(directory: Path = DIRECTORY) -> tuple[Migration, ...]:
    """Every migration of a directory, by number.

    Raises:
        MigrationError: a name that is not `NNNN_name.sql`, or a number missing or taken twice.
    """
    found = []
    for path in sorted(directory.glob("*.sql")):
        if not (match := FILE_NAME.fullmatch(path.name)):
            raise MigrationError(f"{path.name}: a migration is called NNNN_name.sql")
        text = path.read_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(int(match[1]), match[2], digest, _statements(text)))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError("migrations are numbered 0001, 0002, … without a gap, each number once")
    return tuple(found)


def migrate(
    execute: Callable[[str], object],
    select: Callable[[str, str], bytes],
    found: tuple[Migration, ...] | None = None,
    *,
    cluster: str = "",
) -> int:
    """Applies the migrations that the database has not seen yet, and returns how many.

    After a kill at any moment it can run again: it records a migration after its last statement, and every statement
    can be repeated.

    Args:
        execute: runs one statement.
        select: answers a query in an output format, as `Engine.select`.
        cluster: where tables are made, and replicated; "" for one server.

    Raises:
        MigrationError: the database was migrated by other files than these, its tables are replicated and no cluster
            is named, or the other way round, or the user or the server may not do what they say.
    """
    try:
        return _migrate(execute, select, migrations() if found is None else found, cluster)
    except QueryFailed as error:
        if error.code != ACCESS_DENIED:
            if cluster and error.code in CLUSTER_ERRORS:
                why = error.detail.removeprefix("DB::Exception: ").splitlines()[0]
                raise MigrationError(f"ClickHouse makes no tables on the cluster {cluster}: {why}") from None
            raise
        grant = match[1] if (match := re.search(r"have the grant (.+?)(?:\. |\.?$)", error.detail)) else "more"
        raise MigrationError(f"ClickHouse refused a migration: the user has to be granted {grant}") from None


def _migrate(
    execute: Callable[[str], object], select: Callable[[str, str], bytes], found: tuple[Migration, ...], cluster: str
) -> int:
    engine = select(_ENGINE, "TabSeparated").decode().strip()
    if engine and engine.startswith("Replicated") != bool(cluster):
        raise MigrationError(
            "the tables of the database are not replicated: leave out UNJOIN_CLICKHOUSE_CLUSTER, or bring their rows "
            "into replicated tables as docs/clickhouse.md says"
            if cluster
            else "the tables of the database are replicated: name their cluster in UNJOIN_CLICKHOUSE_CLUSTER"
        )
    if not (engine and cluster):  # on a cluster each of these waits for every replica, at every start of a sink
        for statement in _BEFORE:
            execute(on_cluster(statement, cluster))
    recorded = msgspec.json.decode(_array(select(_RECORDED, "JSONEachRow")), type=list[Recorded])
    pending = _pending(found, recorded)
    for migration in pending:
        for statement in migration.statements:
            execute(on_cluster(statement, cluster))
        execute(
            "INSERT INTO unjoin.migrations (number, name, sha256) VALUES "  # noqa: S608  a digit, [a-z0-9_] and a digest
            f"({migration.number}, '{migration.name}', '{migration.sha256}')"
        )
    return len(pending)


def on_cluster(statement: str, cluster: str) -> str:
    """A statement of a migration as a cluster takes it; pure.

    What makes something is run on each replica, in place of which stands the macro {replica}; tables of a shard lie on
    Keeper under its macro {shard} and their name. A replicated table's ALTER runs on each replica by itself, and waits.
    """
    if not cluster:
        return statement
    if statement.startswith("ALTER TABLE"):
        return f"{statement} SETTINGS alter_sync = 2"
    if (match := _CREATE.match(statement)) is None:
        return statement
    made = f"{match[0]} ON CLUSTER '{cluster}'{statement[match.end() :]}"
    path = f"'/clickhouse/tables/{{shard}}/unjoin/{match[1]}', '{{replica}}'"
    return _MERGE_TREE.sub(lambda found: f"Replicated{found[1]}({path}{', ' * bool(found[2])}{found[2] or ''})", made)


def _pending(found: tuple[Migration, ...], recorded: list[Recorded]) -> tuple[Migration, ...]:
    """The migrations still to be applied; pure."""
    on_disk = {migration.number: migration for migration in found}
    for row in recorded:
        migration = on_disk.get(row.number)
        if migration is None:
            raise MigrationError(
                f"the database has migration {row.number:04}_{row.name}, which this version of unjoin does not have; "
                "start a version that has it"
            )
        if migration.sha256 != row.sha256:
            raise MigrationError(
                f"migration {row.number:04}_{row.name} was changed after it was applied; restore the file and put "
                "the change into a new migration"
            )
    seen = {row.number for row in recorded}
    return tuple(migration for migration in found if migration.number not in seen)


def _statements(text: str) -> tuple[str, ...]:
    """The statements of a file; each ends with a semicolon at the end of a line."""
    without_comments = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    return tuple(part.strip() for part in re.split(r";\s*(?:\n|\Z)", without_comments) if part.strip())


def _array(lines: bytes) -> bytes:
    """JSON lines as one JSON array."""
    return b"[" + b",".join(line for line in lines.splitlines() if line) + b"]"
