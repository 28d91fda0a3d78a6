"""The Faust app and the guard rails around it: what is turned off, and how long anything may take."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
import msgspec
from faust.auth import Credentials, OAuthCredentials

from processors.faust_app.agents import Agent
from processors.faust_app.batches import WholeBatches
from processors.faust_app.commits import CappedTransport, Commits
from schemas.kafka_access import KafkaAccess

# At DEBUG all of them show keys and values. aiokafka repeats every refused connection several times a second; that
# Kafka is away is said once, by `watchdog.py` and `producer.py`.
LEVELS = {"faust": logging.WARNING, "mode": logging.ERROR, "aiokafka": logging.CRITICAL}


class AppConfig(msgspec.Struct, frozen=True):
    """What the app needs to know.

    Attributes:
        kafka: the brokers, and as whom they are asked.
        data_dir: Faust wants a folder even where it keeps nothing.
        group_id: the consumer group.
        session_s: after how long without a heartbeat a worker counts as dead.
    """

    kafka: KafkaAccess
    data_dir: Path
    group_id: str
    labeled_topic: str
    session_s: float


def quieten_libraries() -> None:
    """Keeps the libraries from logging keys and values, whatever the root logger's level."""
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)


def credentials_of(security: Mapping[str, Any]) -> Credentials | None:
    """What aiokafka is told of TLS and SASL, as Faust wants to be told them; it makes the same ones of it."""
    context = security.get("ssl_context")
    if "sasl_oauth_token_provider" in security:
        return OAuthCredentials(oauth_cb=security["sasl_oauth_token_provider"], ssl_context=context)
    if "sasl_mechanism" in security:
        return faust.SASLCredentials(
            username=security["sasl_plain_username"],
            password=security["sasl_plain_password"],
            mechanism=security["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def build_app(config: AppConfig, commits: Commits, agent: Agent) -> faust.App:
    """The app, with its one agent, not started."""
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    app = faust.App(
        config.group_id,
        env={},  # Faust lets variables such as APP_WEB_ENABLED overrule its arguments
        broker=[f"kafka://{address}" for address in config.kafka.bootstrap.split(",")],
        broker_credentials=credentials_of(config.kafka.security),
        broker_client_id="unjoin-door",
        datadir=config.data_dir,
        # Its web server listens on 0.0.0.0 and serves what the worker knows.
        web_enabled=False,
        # Topics are the operator's: created with their retention, or not at all.
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        # Partitions that were added, and topics that were made again, are seen after so long (default 300 s).
        consumer_metadata_max_age_ms=30_000,
        # Waiting until every record is acknowledged would wait for crowds that may never be complete.
        stream_wait_empty=False,
        # Batches, each what one fetch brought of a partition: at most 1 MiB.
        ConsumerScheduler=WholeBatches,
        stream_buffer_maxsize=2,
        broker_commit_interval=1.0,
        broker_commit_every=10_000,
        broker_heartbeat_interval=config.session_s / 5,
        broker_session_timeout=config.session_s,
        broker_rebalance_timeout=20.0,
        broker_request_timeout=30.0,
        # A door that works on what it has fetched is no dead one, and `watchdog.py` ends one that hangs much earlier.
        broker_max_poll_interval=3_600.0,
        # 1,200 s by default: an agent would wait that long for a broker that is away.
        producer_request_timeout=10.0,
        producer_linger=0.005,
        producer_max_batch_size=131_072,
        producer_max_request_size=2_097_152,
        producer_acks=-1,
        # Held labels are no stall; `watchdog.py` tells the two apart, Faust's detectors cannot.
        broker_commit_livelock_soft_timeout=10.0**9,
        stream_processing_timeout=10.0**9,
    )
    app.transport = CappedTransport(app.conf.broker_consumer, app, commits)
    labeled = app.topic(
        config.labeled_topic,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )
    app.agent(labeled, name="door", concurrency=1)(agent)
    return app
