"""What arrives twice is one row, in everything that an analyst can name: tables, views, and what is built on them."""

import json

from sinks.clickhouse.embedded import Embedded
from sinks.http.read_only import policy_of
from testkit.sink_configs import query_bounds
from testkit.sink_records import label, labels, signal, signals

ROWS = 60
QUESTIONS = (
    "SELECT * FROM unjoin.{table} ORDER BY ALL",
    "SELECT count() FROM unjoin.{table}",
    "SELECT count() FROM (SELECT * FROM unjoin.{table})",
    "WITH some AS (SELECT * FROM unjoin.{table}) SELECT count() FROM some AS a CROSS JOIN some AS b",
)


def names_of(engine: Embedded, condition: str) -> list[str]:
    sql = f"SELECT name FROM system.tables WHERE database = 'unjoin' AND {condition} ORDER BY name"
    return engine.select(sql, "TSV").decode().split()


def ask(engine: Embedded, sql: str) -> bytes:
    """As port 8123 does: its own settings for the session, nothing in the statement."""
    setting_names = engine.select("SELECT name FROM system.settings", "TSV").decode().split()
    settings = policy_of(setting_names, (), ()).session_settings({}, query_bounds())
    return engine.read(sql, "JSONEachRow", settings).body


def fill(engine: Embedded, table: str, copies: int = 1) -> None:
    """Rows of whatever columns the table has, the same each time; each so often, in one block, as a sink inserts it."""
    sql = f"""SELECT name, type FROM system.columns
        WHERE database = 'unjoin' AND table = '{table}' AND default_kind != 'ALIAS' ORDER BY position"""
    columns = [json.loads(line) for line in engine.select(sql).splitlines()]
    structure = ", ".join(f"{column['name']} {column['type']}" for column in columns).replace("'", "\\'")
    rows = f"SELECT * FROM generateRandom('{structure}', 7, 8, 3) LIMIT {ROWS}"
    engine.select(
        f"INSERT INTO unjoin.{table} SETTINGS optimize_on_insert = 0"
        f" SELECT * EXCEPT number FROM ({rows}) AS made CROSS JOIN numbers({copies}) AS copies",
        "Null",
    )


def test_every_table_gives_a_row_once_however_often_it_arrived(unmerged: Embedded) -> None:
    """By its plain name, as a subquery, in a join; a table that a later migration adds is asked, too."""
    own = "'migrations', 'sink_marks', 'sink_adopted', 'erasures'"
    tables = names_of(unmerged, f"engine LIKE '%MergeTree' AND name NOT IN ({own})")
    assert {"signals", "analytics", "personal", "labelers", "labels", "dead_letters"} <= set(tables)
    for table in tables:
        fill(unmerged, table)
        once = [ask(unmerged, question.format(table=table)) for question in QUESTIONS]
        for _ in range(2):
            fill(unmerged, table)
        stored = unmerged.select(f"SELECT count() FROM unjoin.{table} SETTINGS final = 0", "TSV")
        assert int(stored) == 3 * ROWS, table
        assert [ask(unmerged, question.format(table=table)) for question in QUESTIONS] == once, table
        unmerged.select(f"TRUNCATE TABLE unjoin.{table}", "Null")
        fill(unmerged, table, copies=3)
        stored = unmerged.select(f"SELECT count() FROM unjoin.{table} SETTINGS final = 0", "TSV")
        assert int(stored) == 3 * ROWS, table
        assert [ask(unmerged, question.format(table=table)) for question in QUESTIONS] == once, table


def test_every_view_counts_a_vote_once_however_often_it_arrived(unmerged: Embedded) -> None:
    """A vote that counted twice would change an answer, or bring one over the bar of an export."""
    views = names_of(unmerged, "engine = 'View' AND name LIKE 'label%'")
    assert {"label_consensus", "label_export", "label_export_votes"} <= set(views)
    votes = [label(n, f"task-{n % 5}", f"answer {n % 3}") for n in range(90)]
    questions = [f"SELECT * FROM unjoin.{view}{'(k = 5)' if 'export' in view else ''} ORDER BY ALL" for view in views]
    unmerged.insert(labels(votes))
    once = [ask(unmerged, question) for question in questions]
    assert all(once)
    unmerged.insert(labels(votes[:40]))
    unmerged.insert(labels(votes[10:]))
    assert [ask(unmerged, question) for question in questions] == once


def test_copy_that_was_received_later_stays_and_is_found_by_what_it_says(unmerged: Embedded) -> None:
    """A filter must see the row that stays: filtered first, an older copy would come back."""
    unmerged.insert(signals([signal(1), signal(2)]))
    unmerged.insert(signals([signal(1, received_at=signal(1)["received_at"] + 60_000)]))
    later = "received_at > (SELECT min(received_at) + INTERVAL 30 SECOND FROM unjoin.signals)"
    assert ask(unmerged, f"SELECT event_id FROM unjoin.signals WHERE {later}").split() == [b'{"event_id":"e-00000001"}']
    assert ask(unmerged, f"SELECT event_id FROM unjoin.signals WHERE NOT ({later})").split() == [
        b'{"event_id":"e-00000002"}'
    ]
