"""Every setting, typed, in one place. Each field is the environment variable `UNJOIN_` + its name in capitals."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from schemas.outcomes import UnjoinError

Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]

PREFIX = "UNJOIN_"
PORT_MAX = 65_535
WORKER_SPOOL = "worker-"
# First parts of the paths at which a collector answers.
OWN_PATHS = frozenset(
    {"docs", "healthz", "openapi.json", "playground", "readyz", "schemas", "sdk", "sdk.js", "subjects", "v1"}
)


class SettingsError(UnjoinError):
    """A setting cannot be used; the text says which and what it should be."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator can choose. The README's table is generated from these fields and their docs."""

    data_dir: Annotated[Path, Meta(description="Where state lives.")] = Path(".unjoin")
    kafka_home: Annotated[Path, Meta(description="Kafka's jars, as `make setup` puts them.")] = Path(".kafka")
    datasets: Annotated[str, Meta(description="Folder of data sets for the tests that use some.")] = ""
    test_clickhouse: Annotated[
        str, Meta(description="A ClickHouse server for the tests, as `CLICKHOUSE_URL`, instead of one of their own.")
    ] = ""

    http_host: Annotated[str, Meta(description="Address the collector listens on.")] = "127.0.0.1"
    http_port: Annotated[Port, Meta(description="Port of the collector.")] = 8080
    collect_workers: Annotated[Positive, Meta(description="Processes of a collector that share its port.")] = 1
    kafka_port: Annotated[Port, Meta(description="Port of the Kafka that `unjoin up` starts.")] = 9092
    kafka_bootstrap: Annotated[str, Meta(description="Brokers of the roles; default 127.0.0.1 and `KAFKA_PORT`.")] = ""
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        Meta(
            description="How every role and command talks to the brokers, as Kafka calls it; "
            "[docs/kafka-security.md](docs/kafka-security.md)."
        ),
    ] = "PLAINTEXT"
    kafka_tls_ca: Annotated[
        str, Meta(description="PEM file of the authorities that sign the brokers' certificates; default the system's.")
    ] = ""
    kafka_tls_cert: Annotated[
        str, Meta(description="PEM file of this client's own certificate, where brokers ask for one.")
    ] = ""
    kafka_tls_key: Annotated[str, Meta(description="PEM file of its key, without a password.")] = ""
    kafka_sasl_mechanism: Annotated[
        Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"],
        Meta(description="How a user proves who it is: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`."),
    ] = ""
    kafka_sasl_username: Annotated[
        str, Meta(description="The user; with `KAFKA_OAUTH_TOKEN_URL` the client's id there.")
    ] = ""
    kafka_sasl_password: Annotated[
        str, Meta(description="Its password; with `KAFKA_OAUTH_TOKEN_URL` the client's secret there.")
    ] = ""
    kafka_oauth_token_url: Annotated[
        str,
        Meta(
            pattern="^(https?://.+)?$",
            description="Of `OAUTHBEARER`: where tokens are had for client credentials (RFC 6749, 4.4).",
        ),
    ] = ""
    kafka_oauth_scope: Annotated[str, Meta(description="The scope asked for there; default none.")] = ""
    kafka_oauth_token_file: Annotated[
        str, Meta(description="Instead of the URL: a file of the token, read at each connection.")
    ] = ""
    clickhouse_http_host: Annotated[str, Meta(description="Address the embedded ClickHouse listens on.")] = "127.0.0.1"
    clickhouse_http_port: Annotated[Port, Meta(description="HTTP port of the embedded ClickHouse.")] = 8123
    clickhouse_url: Annotated[
        str,
        Meta(
            description="`clickhouse://user:password@host:9000/unjoin`, `clickhouses://` for TLS; `host1,host2` for "
            "replicas of the same tables; default embedded."
        ),
    ] = ""
    clickhouse_cluster: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9_.-]*$",
            description="What the server calls its cluster: tables are made replicated, and a majority of replicas has "
            "to have a block; default one server.",
        ),
    ] = ""
    clickhouse_tls_ca: Annotated[
        str, Meta(description="PEM file of the authorities that sign the server's certificate; default the system's.")
    ] = ""
    clickhouse_tls_cert: Annotated[
        str, Meta(description="PEM file of the sink's own certificate, where the server asks for one.")
    ] = ""
    clickhouse_tls_key: Annotated[str, Meta(description="PEM file of its key, without a password.")] = ""
    metrics_host: Annotated[str, Meta(description="Address of a role's `/metrics`.")] = "127.0.0.1"
    metrics_port: Annotated[
        Port,
        Meta(
            description="Port of a role's `/metrics`, 0 for none; the next ones for further workers. "
            "Of `unjoin up` the collector's, then the processor's and the sink's; 0 for free ones."
        ),
    ] = 0

    path_alias: Annotated[
        str,
        Meta(
            pattern="^((/[A-Za-z0-9_~-]+)+)?$",
            description="A second path of `/v1/events`, as `/m/e`, which no blocker of the visitors' lists; below it "
            "the SDK as well (`/m/e.js`, `/m/e/HASH.js`). For `data-path` of the SDK's tag.",
        ),
    ] = ""
    trusted_proxies: Annotated[
        str, Meta(description="Networks whose `X-Forwarded-For` counts, separated by commas.")
    ] = ""
    body_bytes_max: Annotated[
        Positive, Meta(description="Bytes of a request body, before and after decompression.")
    ] = 1_048_576
    batch_events_max: Annotated[Positive, Meta(description="Events of a batch.")] = 500
    batch_calls_max: Annotated[
        Positive, Meta(description="Calls of a batch as Segment's and RudderStack's SDKs post it.")
    ] = 2_500
    event_bytes_max: Annotated[Positive, Meta(description="Bytes of an event.")] = 32_768
    event_depth_max: Annotated[Positive, Meta(description="Levels an event may nest.")] = 32
    answer_bytes_max: Annotated[Positive, Meta(description="Bytes of an answer, in UTF-8.")] = 4_096
    body_seconds_max: Annotated[Positive, Meta(description="Seconds until a body that does not arrive is a 408.")] = 10
    header_bytes_max: Annotated[Positive, Meta(description="Bytes of a request line and its headers.")] = 16_384
    header_seconds_max: Annotated[Positive, Meta(description="Seconds until headers that do not arrive are a 408.")] = (
        10
    )
    produce_seconds_max: Annotated[
        Positive, Meta(description="Seconds until an unacknowledged batch is spooled; a 503 without a spool.")
    ] = 1
    in_flight_bytes_max: Annotated[
        Positive, Meta(description="Bytes a collector holds unacknowledged before it spools.")
    ] = 67_108_864
    spool_dir: Annotated[
        str, Meta(description="Folder of a collector's spool, one collector's alone; default `spool` in `DATA_DIR`.")
    ] = ""
    spool_bytes_max: Annotated[
        NotNegative, Meta(description="Bytes a collector spools while Kafka is away; 0 for no spool.")
    ] = 268_435_456
    queue_ms_max: Annotated[
        Positive,
        Meta(description="Milliseconds that a client's requests may wait for their turn before more are a 503."),
    ] = 100
    waiting_bytes_max: Annotated[
        Positive,
        Meta(description="Bytes of bodies that arrive, and as many that wait for their turn, before more are a 503."),
    ] = 16_777_216
    connections_max: Annotated[
        Positive, Meta(description="Connections before the one idle for longest is closed for a new one.")
    ] = 10_000
    lame_duck_seconds: Annotated[
        NotNegative,
        Meta(
            description="Seconds that a collector which is told to stop still serves, while `/readyz` says 503, so "
            "that balancers send it no more; 0 under `unjoin up`."
        ),
    ] = 0
    key_events_per_second_max: Annotated[NotNegative, Meta(description="Quota of a key; 0 for none.")] = 0
    address_events_per_second_max: Annotated[
        NotNegative, Meta(description="Quota of a client's address, of IPv6 a /64; 0 for none.")
    ] = 0
    session_labels_per_hour_max: Annotated[
        NotNegative, Meta(description="Labels that a session may post in an hour; 0 for no quota.")
    ] = 0

    partitions: Annotated[Positive, Meta(description="Partitions of the topics that scale with traffic.")] = 2
    labeled_partitions: Annotated[Positive, Meta(description="Partitions of `events.labeled`.")] = 1
    replication_factor: Annotated[Positive, Meta(description="Copies of each partition.")] = 1
    events_retention_days: Annotated[Positive, Meta(description="Days an identified event stays on its topic.")] = 7
    labeled_retention_hours: Annotated[Positive, Meta(description="Hours an identified label stays on its topic.")] = 6
    signals_ttl_days: Annotated[
        NotNegative, Meta(description="Days after its receipt at which a row of `signals` is deleted; 0 for never.")
    ] = 90
    analytics_ttl_days: Annotated[NotNegative, Meta(description="The same of `analytics`.")] = 400
    personal_ttl_days: Annotated[NotNegative, Meta(description="The same of `personal`.")] = 0
    labelers_ttl_days: Annotated[NotNegative, Meta(description="The same of `labelers`.")] = 0
    erase_refuse_days: Annotated[
        NotNegative,
        Meta(description="Days for which events of somebody whose erasure is done are still refused, then forgotten."),
    ] = 30
    crowd_min: Annotated[
        Positive, Meta(description="Sessions whose labels leave the door together; 1 for no crowds.")
    ] = 20
    crowd_target: Annotated[
        Positive,
        Meta(
            description="Sessions with which a crowd leaves at once, if none has more than half of its labels; "
            "`CROWD_MIN` at least, and under `unjoin up` unless this is set."
        ),
    ] = 200
    crowd_wait_minutes: Annotated[
        Positive, Meta(description="Minutes after which `CROWD_MIN` sessions are enough, without anybody's surplus.")
    ] = 60
    crowd_labels_max: Annotated[
        Positive, Meta(description="Labels a partition holds before those of its largest session are suppressed.")
    ] = 100_000
    crowd_bytes_max: Annotated[
        Positive, Meta(description="Bytes of memory that the labels held by a partition take before the same happens.")
    ] = 268_435_456

    door_identity: Annotated[
        str,
        Meta(
            pattern="^([0-9a-f]{32})?$",
            description="Fingerprint of the only door that labels are sealed to, as `unjoin keys list` shows it; "
            "empty for the first that announces itself each day.",
        ),
    ] = ""

    dead_letter_percent_max: Annotated[
        Annotated[int, Meta(ge=0, le=100)],
        Meta(
            description="Of the last 100 records, those that a processor cannot read, or that ClickHouse refuses, "
            "which are set aside before the role halts."
        ),
    ] = 50
    block_rows_max: Annotated[Positive, Meta(description="Rows of a block that a sink inserts.")] = 100_000
    block_bytes_max: Annotated[Positive, Meta(description="Bytes of a block that a sink inserts.")] = 33_554_432
    block_ms_max: Annotated[
        Positive,
        Meta(
            description="Milliseconds until a sink inserts what it has; up to five times as many while inserts take "
            "over a quarter of the time."
        ),
    ] = 1_000
    query_bytes_max: Annotated[
        Positive, Meta(description="Bytes of memory that one query of port 8123 may take, its answer included.")
    ] = 1_073_741_824
    queries_bytes_max: Annotated[
        Positive, Meta(description="Bytes of memory that all queries of port 8123 may take together.")
    ] = 1_610_612_736
    follow_every: Annotated[
        NotNegative,
        Meta(description="One of so many requests without labels is followed to its block, in logs; 0 for none."),
    ] = 0
    traces_url: Annotated[
        str,
        Meta(
            pattern="^(https?://.+)?$",
            description="Where these requests' spans are sent, OTLP over HTTP, as `http://collector:4318/v1/traces`; "
            "with the extra `traces`.",
        ),
    ] = ""
    export_k: Annotated[
        Positive, Meta(description="Votes that have to say the same before `unjoin export` lets it out.")
    ] = 5
    asn_database: Annotated[str, Meta(description="MaxMind-format ASN database; without one, `isp` is empty.")] = ""

    @property
    def bootstrap(self) -> str:
        """The brokers that the roles talk to."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def crowd_hold_ms_max(self) -> int:
        """How long a label may wait for its crowd: five sixths of its record's retention."""
        return self.labeled_retention_hours * 3_000_000

    @property
    def ttl_days(self) -> dict[str, int]:
        """By table of identified events, after how many days a row is deleted; 0 for never."""
        return {
            "signals": self.signals_ttl_days,
            "analytics": self.analytics_ttl_days,
            "personal": self.personal_ttl_days,
            "labelers": self.labelers_ttl_days,
        }

    @property
    def sites_file(self) -> Path:
        """The keys of sites, in a folder of their own: collectors may read that, and little else."""
        return self.data_dir / "sites" / "sites.json"

    @property
    def edge_keys_dir(self) -> Path:
        """The edge's keys of the day, read by collectors alone."""
        return self.data_dir / "keys" / "edge"

    @property
    def epoch_keys_dir(self) -> Path:
        """The door's keys of the day, read by processors alone."""
        return self.data_dir / "keys" / "epoch"

    @property
    def spool_folder(self) -> Path:
        """Where a collector keeps what Kafka has not taken yet."""
        return Path(self.spool_dir) if self.spool_dir else self.data_dir / "spool"

    def spool_folder_of(self, worker: int) -> Path:
        """Where one of several workers does; the first where a single collector would, and finds what that left."""
        return self.spool_folder if worker == 1 else self.spool_folder / f"{WORKER_SPOOL}{worker}"

    def metrics_port_of(self, worker: int) -> int:
        """Where one of several workers of a collector answers `/metrics`, counted from 1; 0 for nowhere."""
        return self.metrics_port and self.metrics_port + worker - 1

    @property
    def processor_dir(self) -> Path:
        """Faust's files; nothing that must last."""
        return self.data_dir / "processor"

    @property
    def clickhouse_dir(self) -> Path:
        """The embedded engine's files."""
        return self.data_dir / "clickhouse"


def settings_of(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that an environment names, defaults for the rest.

    Raises:
        SettingsError: a name that no setting has, a value out of bounds, or two values that exclude each other.
    """
    given: dict[str, Any] = {}
    fields = set(Settings.__struct_fields__)
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        field = name.removeprefix(PREFIX).lower()
        if field not in fields:
            raise SettingsError(f"there is no setting {name}; the README lists them all")
        given[field] = value
    try:
        return _checked(msgspec.convert(given, Settings, strict=False, dec_hook=_path))
    except msgspec.ValidationError as error:
        field = match.group(1) if (match := re.search(r"\$\.(\w+)", str(error))) else ""
        what = re.sub(r" - at `.*", "", str(error))
        raise SettingsError(f"{PREFIX}{field.upper()}: {what}") from None


def _checked(settings: Settings) -> Settings:
    """The settings, if they go together.

    Raises:
        SettingsError: a row would be deleted before its record, labels would expire before they have waited, the
            largest bodies be told 503 for ever, an alias hides a path, a broker has no port, or what proves to
            brokers who a client is does not fit together.
    """
    first_part = settings.path_alias[1:].partition("/")[0]
    if first_part in OWN_PATHS:
        raise SettingsError(f"{PREFIX}PATH_ALIAS: /{first_part} is a path of the collector's own")
    if settings.waiting_bytes_max < 2 * settings.body_bytes_max:
        raise SettingsError("UNJOIN_WAITING_BYTES_MAX: Expected at least twice UNJOIN_BODY_BYTES_MAX")
    for address in settings.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
            raise SettingsError("UNJOIN_KAFKA_BOOTSTRAP: Expected brokers as host:port, separated by commas")
    _check_kafka_security(settings)
    for table, days in settings.ttl_days.items():
        if 0 < days <= settings.events_retention_days:
            raise SettingsError(
                f"{PREFIX}{table.upper()}_TTL_DAYS: rows have to outlive their records, which stay on their topic for "
                f"{settings.events_retention_days} days; keep them longer, or lower {PREFIX}EVENTS_RETENTION_DAYS"
            )
    if settings.crowd_wait_minutes * 60_000 >= settings.crowd_hold_ms_max:
        raise SettingsError(
            f"{PREFIX}CROWD_WAIT_MINUTES: labels that stay on their topic for {settings.labeled_retention_hours} h "
            f"expire after {settings.crowd_hold_ms_max // 60_000} minutes; wait less, "
            f"or raise {PREFIX}LABELED_RETENTION_HOURS"
        )
    return settings


def _check_kafka_security(settings: Settings) -> None:
    """Raises SettingsError where a setting of TLS or SASL is missing, or would have no effect."""
    own = f"{PREFIX}KAFKA_"
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    tls = {"TLS_CA": settings.kafka_tls_ca, "TLS_CERT": settings.kafka_tls_cert, "TLS_KEY": settings.kafka_tls_key}
    user = {"SASL_USERNAME": settings.kafka_sasl_username, "SASL_PASSWORD": settings.kafka_sasl_password}
    url, file = settings.kafka_oauth_token_url, settings.kafka_oauth_token_file
    token = {"OAUTH_TOKEN_URL": url, "OAUTH_TOKEN_FILE": file, "OAUTH_SCOPE": settings.kafka_oauth_scope}
    if protocol != "PLAINTEXT" and not settings.kafka_bootstrap:
        raise SettingsError(f"{own}BOOTSTRAP: name the brokers that speak {protocol}; Kafka of `unjoin up` does not")

    def need(wanted: Mapping[str, str], because: str) -> None:
        for name, value in wanted.items():
            if not value:
                raise SettingsError(f"{own}{name}: {because} needs it")

    def refuse(given: Mapping[str, str], unless: str) -> None:
        for name, value in given.items():
            if value:
                raise SettingsError(f"{own}{name}: has no effect {unless}; leave it out")

    if not protocol.endswith("SSL"):
        refuse(tls, f"unless {own}SECURITY_PROTOCOL is SSL or SASL_SSL")
    if tls["TLS_CERT"] or tls["TLS_KEY"]:
        need(tls | {"TLS_CA": "-"}, "a certificate of this client's own")
    if not protocol.startswith("SASL"):
        sasl = {"SASL_MECHANISM": mechanism, **user, **token}
        return refuse(sasl, f"unless {own}SECURITY_PROTOCOL is SASL_SSL or SASL_PLAINTEXT")
    need({"SASL_MECHANISM": mechanism}, protocol)
    if mechanism != "OAUTHBEARER":
        need(user, mechanism)
        return refuse(token, "without OAUTHBEARER")
    if bool(url) == bool(file):
        raise SettingsError(f"{own}SASL_MECHANISM: OAUTHBEARER needs either {own}OAUTH_TOKEN_URL or _FILE")
    if url:
        return need(user, f"{own}OAUTH_TOKEN_URL")
    return refuse(user | {"OAUTH_SCOPE": token["OAUTH_SCOPE"]}, f"with {own}OAUTH_TOKEN_FILE")


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    rows = ["| variable | default | what it sets |", "|---|---|---|"]
    defaults = Settings()
    for field, hint in get_type_hints(Settings, include_extras=True).items():
        described = " ".join(meta.description for meta in _metas(hint) if meta.description)
        default = getattr(defaults, field)
        rows.append(f"| `{PREFIX}{field.upper()}` | {f'`{default}`' if str(default) else ''} | {described} |")
    return "\n".join(rows)


def _metas(hint: Any) -> list[Meta]:
    return [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]


def _path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError
