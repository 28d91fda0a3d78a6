"""What a role tells of itself: enough to wake somebody, too coarse to tell of a person."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from unjoin.host.role_metrics import MIB, RoleMetrics
from unjoin.keys.keyring import Keyring
from unjoin.keys.retention import destroy_due

DAY = date(2026, 11, 24)


def told(folder: Path, keyring: Keyring | None, now: datetime) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(RoleMetrics(folder, keyring, 6, lambda: now))
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


def test_key_that_outlived_its_day_is_counted_until_it_is_gone(tmp_path: Path) -> None:
    """A folder mounted read-only keeps the key, and the promise is late without anybody noticing."""
    keyring = Keyring(tmp_path)
    keyring.key_of(DAY)
    due = destroy_due(DAY, 6)
    assert told(tmp_path, keyring, due - timedelta(milliseconds=1))["unjoin_keys_overdue"] == 0
    assert told(tmp_path, keyring, due)["unjoin_keys_overdue"] == 1
    day_began = datetime(2026, 11, 24, tzinfo=UTC)
    found = told(tmp_path, keyring, day_began + timedelta(hours=30))
    assert (found["unjoin_keys"], found["unjoin_keys_oldest_seconds"]) == (1, 30 * 3_600)
    keyring.destroy(DAY)
    found = told(tmp_path, keyring, due)
    assert (found["unjoin_keys_overdue"], found["unjoin_keys"], found["unjoin_keys_oldest_seconds"]) == (0, 0, 0)


def test_disk_is_told_in_whole_mebibytes_also_before_the_folder_is_there(tmp_path: Path) -> None:
    """Finer, each scrape would tell whether a record was written since the last."""
    found = told(tmp_path / "spool" / "worker-2", None, datetime.now(UTC))
    assert 0 < found["unjoin_disk_free_bytes"] <= found["unjoin_disk_size_bytes"]
    assert found["unjoin_disk_free_bytes"] % MIB == found["unjoin_disk_size_bytes"] % MIB == 0
    assert "unjoin_keys_overdue" not in found
