"""Composition: makes each role's config of the settings, and gives it its keys and clocks.

Nothing heavy is imported before its role runs, and a role is confined before anything of it starts a thread.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.kafka_access import KafkaAccess
from schemas.topics import (
    DEIDENTIFIED,
    HOUR_MS,
    LABELED,
    LABELED_DEAD_LETTERS,
    VERDICTS,
    Topic,
    min_insync_replicas,
    topics,
)
from unjoin.confine.allowed_paths import confine_role
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.host.notify import notify_ready
from unjoin.host.role_metrics import RoleMetrics
from unjoin.host.tracing import spans_sent
from unjoin.keys.announcement import Announcement, Role, door_announcement, edge_announcement
from unjoin.keys.announcer import Announcer, KeyDiffers
from unjoin.keys.housekeeping import LOOK_EVERY_S, Housekeeping
from unjoin.keys.identity import door_identity
from unjoin.keys.keyring import Keyring, KeyringError
from unjoin.settings import WORKER_SPOOL, Settings

if TYPE_CHECKING:
    from ingest.process.server import CollectorConfig
    from ingest.web.page import PageOf
    from processors.main import ProcessorConfig
    from sinks.main import SinkConfig

log = logging.getLogger(__name__)

DOOR_GROUP = "unjoin-door"
DOOR_COUNTS_EVERY_S = 60.0
DOOR_WATCHDOG_S = 30.0
DOOR_SESSION_S = 10.0


def topics_of(settings: Settings) -> tuple[Topic, ...]:
    """Every topic, as the settings want it."""
    return topics(
        partitions=settings.partitions,
        labeled_partitions=settings.labeled_partitions,
        events_days=settings.events_retention_days,
        labeled_hours=settings.labeled_retention_hours,
    )


def run_collector(
    settings: Settings, *, playground: bool, door_metrics_url: str = "", worker: str | None = None
) -> int:
    """`unjoin collect`.

    Args:
        worker: NUMBER/COUNT of one of several, as `workers.py` says it.
    """
    from ingest.process.server import run

    config = collector_config(settings, worker)
    confine_role("collector", settings)
    keyring = Keyring(settings.edge_keys_dir)
    number, count = _workers_of(worker)
    cache = settings.spool_folder / f"announcements-{number}.json"
    announcing = announcer_of_edge(settings, config.kafka, keyring, cache)
    with (
        spans_sent(settings.traces_url, "collector") as emit,
        _housekeeping(keyring, "edge", settings),
        announcing as announcer,
    ):
        page_of = _playground_of(settings, count, door_metrics_url) if playground else None
        edge_keys = partial(announcer.checked_key, announced=True)
        return run(
            config,
            edge_keys,
            announcer.door_public_key,
            on_ready=notify_ready,
            page_of=page_of,
            role_metrics=[_role_metrics(settings.spool_folder, keyring, settings)],
            emit=emit,
        )


def _workers_of(worker: str | None) -> tuple[int, int]:
    number, count = map(int, (worker or "1/1").split("/"))
    return number, count


def collector_config(settings: Settings, worker: str | None = None) -> CollectorConfig:
    """How `unjoin collect` runs its collector.

    Args:
        worker: as `run_collector` takes it.
    """
    from ingest.limits import LATE_SPARE_SECONDS, RequestLimits
    from ingest.overload.fair_queue import QueueBounds
    from ingest.process.server import CollectorConfig
    from ingest.spool.writer import SpoolConfig

    number, count = _workers_of(worker)
    return CollectorConfig(
        sites_file=settings.sites_file,
        kafka=kafka_access_of(settings),
        insync_min=min_insync_replicas(settings.replication_factor),
        host=settings.http_host,
        port=settings.http_port,
        limits=RequestLimits(
            body_bytes_max=settings.body_bytes_max,
            batch_events_max=settings.batch_events_max,
            batch_calls_max=settings.batch_calls_max,
            event_bytes_max=settings.event_bytes_max,
            event_depth_max=settings.event_depth_max,
            answer_bytes_max=settings.answer_bytes_max,
            body_seconds_max=settings.body_seconds_max,
            header_bytes_max=settings.header_bytes_max,
            header_seconds_max=settings.header_seconds_max,
        ),
        path_alias=settings.path_alias,
        trusted_proxies=settings.trusted_proxies,
        produce_seconds_max=settings.produce_seconds_max,
        in_flight_bytes_max=settings.in_flight_bytes_max,
        spool=SpoolConfig(
            folder=settings.spool_folder_of(number),
            bytes_max=settings.spool_bytes_max,
            lives_ms={LABELED: settings.labeled_retention_hours * HOUR_MS},
        )
        if settings.spool_bytes_max
        else None,
        spools_left=left_spools(settings, count) if number == 1 else (),
        port_shared=worker is not None,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port_of(number),
        waiting=QueueBounds(
            wait_seconds_max=settings.queue_ms_max / 1_000,
            late_seconds=settings.produce_seconds_max + LATE_SPARE_SECONDS,
            bytes_max=settings.waiting_bytes_max,
        ),
        connections_max=settings.connections_max,
        key_events_per_second_max=settings.key_events_per_second_max,
        address_events_per_second_max=settings.address_events_per_second_max,
        session_labels_per_hour_max=settings.session_labels_per_hour_max,
        lame_duck_seconds=settings.lame_duck_seconds,
        labeled_partitions=settings.labeled_partitions,
        follow_every=settings.follow_every,
    )


def _playground_of(settings: Settings, workers: int, door_metrics_url: str) -> PageOf:
    from unjoin.playground.feed import Feed
    from unjoin.playground.routes import Playground

    clickhouse_url = f"http://127.0.0.1:{settings.clickhouse_http_port}"
    ports = [settings.metrics_port_of(number) for number in range(1, workers + 1)] if settings.metrics_port else []
    metrics_urls = [f"http://127.0.0.1:{port}/metrics" for port in ports]
    return lambda collector: Playground(Feed(clickhouse_url, metrics_urls, door_metrics_url, collector))


def left_spools(settings: Settings, workers: int) -> tuple[Path, ...]:
    """Spools of workers that there no longer are, since there were more of them once."""
    folders = settings.spool_folder.glob(f"{WORKER_SPOOL}*")
    numbers = [int(tail) for folder in folders if (tail := folder.name.removeprefix(WORKER_SPOOL)).isdigit()]
    return tuple(settings.spool_folder_of(number) for number in sorted(numbers) if number > workers)


def processor_config_of(settings: Settings) -> ProcessorConfig:
    """What a processor needs to know of the settings."""
    from processors.door.crowd import CrowdRule
    from processors.main import ProcessorConfig

    return ProcessorConfig(
        kafka=kafka_access_of(settings),
        data_dir=settings.processor_dir,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
        group_id=DOOR_GROUP,
        labeled_topic=LABELED,
        released_topic=DEIDENTIFIED,
        verdict_topic=VERDICTS,
        dead_letter_topic=LABELED_DEAD_LETTERS,
        crowd=CrowdRule(
            voters_min=settings.crowd_min,
            # Without crowds each label leaves at once.
            voters_target=1 if settings.crowd_min == 1 else max(settings.crowd_min, settings.crowd_target),
            wait_ms=settings.crowd_wait_minutes * 60_000,
            labels_max=settings.crowd_labels_max,
            bytes_max=settings.crowd_bytes_max,
            hold_ms_max=settings.crowd_hold_ms_max,
        ),
        dead_letter_share_max=settings.dead_letter_percent_max / 100,
        counts_every_s=DOOR_COUNTS_EVERY_S,
        watchdog_s=DOOR_WATCHDOG_S,
        session_s=DOOR_SESSION_S,
    )


def run_processor(settings: Settings) -> int:
    """`unjoin process`."""
    from processors.main import run
    from processors.masking.mask import mask

    config = processor_config_of(settings)
    confine_role("processor", settings)
    keyring = Keyring(settings.epoch_keys_dir)
    with _housekeeping(keyring, "epoch", settings), announcer_of_door(settings, config.kafka, keyring) as announcer:
        return run(
            config,
            partial(announcer.checked_key, announced=False),
            mask=mask,
            keys_compared=lambda: _compared(announcer),
            on_ready=notify_ready,
            role_metrics=[_role_metrics(settings.processor_dir, keyring, settings)],
        )


def run_sink(settings: Settings) -> int:
    """`unjoin sink`."""
    from sinks.main import run

    config = _sink_config(settings)
    confine_role("sink", settings)
    own = [_role_metrics(settings.clickhouse_dir, None, settings)]
    with spans_sent(settings.traces_url, "sink") as emit:
        return run(config, on_ready=notify_ready, role_metrics=own, emit=emit)


def run_migrations(settings: Settings) -> int:
    """`unjoin migrate`: what a sink does first, with a sink's rights."""
    from sinks.main import run_migrations

    config = _sink_config(settings)
    confine_role("sink", settings)
    return run_migrations(config)


def run_rewind(settings: Settings, tables: Sequence[str], since_ms: int | None, *, really: bool, form: str) -> None:
    """`unjoin rewind`, with a sink's rights."""
    from sinks.main import marks_of
    from unjoin.rewind import rewind, show, tables_called

    chosen = tables_called(tables)
    config = _sink_config(settings)
    confine_role("sink", settings)
    with marks_of(config) as marks:
        steps = asyncio.run(rewind(config.kafka, marks, chosen, since_ms, really=really))
    show(steps, form, really=really)


def _sink_config(settings: Settings) -> SinkConfig:
    from sinks.erasure.progress import Patience
    from sinks.main import GROUP_PREFIX, SinkConfig
    from sinks.rows.tables import TABLES
    from unjoin.connections.clickhouse_address import server_address_of

    return SinkConfig(
        kafka=kafka_access_of(settings),
        server=server_address_of(settings),
        clickhouse_dir=settings.clickhouse_dir,
        http_host=settings.clickhouse_http_host,
        http_port=settings.clickhouse_http_port,
        http_hosts=(),
        query_bytes_max=settings.query_bytes_max,
        queries_bytes_max=settings.queries_bytes_max,
        block_rows_max=settings.block_rows_max,
        block_bytes_max=settings.block_bytes_max,
        block_ms_max=settings.block_ms_max,
        dead_letter_share_max=settings.dead_letter_percent_max / 100,
        asn_database=settings.asn_database,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
        tables=TABLES,
        group_prefix=GROUP_PREFIX,
        ttl_days=settings.ttl_days,
        erasing=Patience(refuse_days=settings.erase_refuse_days),
    )


def _housekeeping(keyring: Keyring, role: str, settings: Settings) -> Housekeeping:
    return Housekeeping(keyring, role, settings.labeled_retention_hours, _now, LOOK_EVERY_S)


def _role_metrics(folder: Path, keyring: Keyring | None, settings: Settings) -> RoleMetrics:
    return RoleMetrics(folder, keyring, settings.labeled_retention_hours, _now)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def announcer_of_edge(settings: Settings, kafka: KafkaAccess, keyring: Keyring, cache: Path) -> Announcer:
    """What compares the edge's keys with other collectors', and learns what labels are sealed to.

    Args:
        cache: a file of what was read before, for a start without Kafka.
    """
    return _announcer(settings, kafka, "edge", keyring, edge_announcement, cache)


def announcer_of_door(settings: Settings, kafka: KafkaAccess, keyring: Keyring) -> Announcer:
    """What compares the door's keys with other doors', and announces its public ones."""

    def said(day: datetime.date, epoch_key: bytes) -> Announcement:
        return door_announcement(day, epoch_key, door_identity(settings.epoch_keys_dir))

    return _announcer(settings, kafka, "door", keyring, said, None)


def _announcer(
    settings: Settings,
    kafka: KafkaAccess,
    role: Role,
    keyring: Keyring,
    announcement_of_key: Callable[[datetime.date, bytes], Announcement],
    cache: Path | None,
) -> Announcer:
    return Announcer(
        kafka=kafka,
        role=role,
        keyring=keyring,
        announcement_of_key=announcement_of_key,
        door_identity=settings.door_identity,
        cache=cache,
        now=_now,
    )


def _compared(announcer: Announcer) -> bool:
    """Whether no door is known to have another key of today. A key that is lost stops at the first label that needs it.

    Raises:
        KeyDiffers: another door has.
    """
    if not announcer.announced:
        return False
    try:
        announcer.checked_key(_now().date(), announced=False)
    except KeyDiffers:
        raise
    except KeyringError as error:
        log.error("labels will stop the door: %s", error)
    return True
