"""Rows of identified events are deleted when their time is over, as the settings say now."""

import datetime

import pytest

from sinks.clickhouse.embedded import Embedded
from sinks.clickhouse.retention import keep, retention_statements
from unjoin.settings import Settings, SettingsError, settings_of

TABLES = ("signals", "analytics", "personal", "labelers")


def test_default_times_are_those_that_the_contract_names() -> None:
    """Who moved like whom is kept for a quarter; what customers told of themselves until they say otherwise."""
    assert Settings().ttl_days == {"signals": 90, "analytics": 400, "personal": 0, "labelers": 0}


def test_row_cannot_be_told_to_die_before_its_record() -> None:
    """The sink would repair it, and the audit miss it."""
    with pytest.raises(SettingsError, match="UNJOIN_SIGNALS_TTL_DAYS: rows have to outlive their records"):
        settings_of({"UNJOIN_SIGNALS_TTL_DAYS": "7"})
    assert settings_of({"UNJOIN_SIGNALS_TTL_DAYS": "8"}).signals_ttl_days == 8


def test_nothing_is_changed_that_is_so_already() -> None:
    """A change of a table's time may rewrite all of it."""
    kept = {"a": "MergeTree ORDER BY x TTL toDateTime(received_at) + toIntervalDay(9) SETTINGS s = 1", "b": "MergeTree"}
    assert retention_statements(kept, {"a": 9, "b": 0}) == []
    assert retention_statements(kept, {"a": 90, "b": 1}) == [
        "ALTER TABLE unjoin.a MODIFY TTL toDateTime(received_at) + toIntervalDay(90)",
        "ALTER TABLE unjoin.b MODIFY TTL toDateTime(received_at) + toIntervalDay(1)",
    ]
    assert retention_statements(kept, {"a": 0}) == ["ALTER TABLE unjoin.a REMOVE TTL"]


def test_old_rows_go_and_young_ones_stay_whatever_the_setting_was_before(engine: Embedded) -> None:
    """A changed setting holds from the sink's next start on, for the rows that are there as well."""
    now = datetime.datetime.now(datetime.UTC)
    try:
        for table in TABLES:
            for days in (1, 20, 200):
                at = (now - datetime.timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")
                engine.select(f"INSERT INTO unjoin.{table} (event_id, received_at) VALUES ('{days}', '{at}')", "Null")
        for days, left in (({"signals": 90}, ["1", "20"]), ({"signals": 10}, ["1"]), ({"signals": 0}, ["1"])):
            assert len(keep(engine.select, days)) == 1
            assert keep(engine.select, days) == []
            engine.select("OPTIMIZE TABLE unjoin.signals FINAL", "Null")
            rows = engine.select("SELECT event_id FROM unjoin.signals ORDER BY event_id", "TSV").decode().split()
            assert rows == left
        assert engine.select("SELECT count() FROM unjoin.analytics", "TSV") == b"3\n"
    finally:
        keep(engine.select, dict.fromkeys(TABLES, 0))
