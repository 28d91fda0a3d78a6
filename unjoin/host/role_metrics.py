"""What every role tells Prometheus of itself: since when it runs, the room on its disk, keys that should be gone."""

import datetime
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from unjoin.keys.housekeeping import days_due
from unjoin.keys.keyring import Keyring

MIB = 1 << 20


class RoleMetrics(Collector):
    """Read anew at each scrape, on its thread.

    Args:
        folder: where the role keeps its state; it may not be there yet.
        keyring: the role's keys; None for a role without.
        labeled_hours: retention of identified labels, which says when keys are due.
        now: the time in UTC.
    """

    def __init__(
        self, folder: Path, keyring: Keyring | None, labeled_hours: int, now: Callable[[], datetime.datetime]
    ) -> None:
        self._folder = folder
        self._keyring = keyring
        self._labeled_hours = labeled_hours
        self._now = now
        self._started_s = int(time.time())

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """None, so that nothing is read before the first scrape."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges of now."""
        yield GaugeMetricFamily("unjoin_role_started_seconds", "Unix time of its start.", value=self._started_s)
        disk = os.statvfs(_nearest(self._folder))
        # Finer, it would tell when somebody's record was written.
        free, size = (blocks * disk.f_frsize // MIB * MIB for blocks in (disk.f_bavail, disk.f_blocks))
        yield GaugeMetricFamily("unjoin_disk_free_bytes", "Room on the disk of the role's folder, whole MiB.", free)
        yield GaugeMetricFamily("unjoin_disk_size_bytes", "Size of that disk, whole MiB.", size)
        if self._keyring is not None:
            days, now = self._keyring.days(), self._now()
            yield GaugeMetricFamily("unjoin_keys", "Days whose key is there.", len(days))
            begun = [datetime.datetime.combine(day, datetime.time(), datetime.UTC) for day in days]
            oldest_s = max(0.0, (now - min(begun, default=now)).total_seconds())
            yield GaugeMetricFamily("unjoin_keys_oldest_seconds", "Since the oldest key's day began.", oldest_s)
            overdue = len(days_due(self._keyring, now, self._labeled_hours))
            yield GaugeMetricFamily("unjoin_keys_overdue", "Keys that should be destroyed and are there.", overdue)


def _nearest(folder: Path) -> Path:
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())
