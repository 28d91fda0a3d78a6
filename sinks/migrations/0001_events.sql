-- Identified events. The sorting key is a pure function of the event as it was sent, so that an event that arrives
-- twice collapses; of its copies the one received last stays. No table is partitioned by client time: a block that
-- touches over 100 partitions is refused, so that one hostile batch could stop the sink. A part is synced to disk
-- before its insert ends: the offset that follows says that the rows are stored.

CREATE TABLE IF NOT EXISTS unjoin.signals
(
    event_id String CODEC(ZSTD(1)),
    site LowCardinality(String),
    session String CODEC(ZSTD(1)),
    type LowCardinality(String),
    ts Int64 CODEC(Delta, ZSTD(1)) COMMENT 'Unix milliseconds by the client''s clock, as sent',
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    t Array(Float64) CODEC(ZSTD(1)) COMMENT 'milliseconds from ts; of a key event, when the key went down',
    x Array(Float64) CODEC(ZSTD(1)),
    y Array(Float64) CODEC(ZSTD(1)),
    z Array(Float64) CODEC(ZSTD(1)),
    force Array(Float64) CODEC(ZSTD(1)),
    t_up Array(Float64) CODEC(ZSTD(1)) COMMENT 'milliseconds from ts at which the key came up',
    time DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(ts, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (site, session, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS unjoin.analytics
(
    event_id String CODEC(ZSTD(1)),
    site LowCardinality(String),
    session String CODEC(ZSTD(1)),
    type LowCardinality(String),
    ts Int64 CODEC(Delta, ZSTD(1)) COMMENT 'Unix milliseconds by the client''s clock, as sent',
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ip String CODEC(ZSTD(1)),
    user_agent String CODEC(ZSTD(1)),
    browser LowCardinality(String),
    os LowCardinality(String),
    device LowCardinality(String),
    isp LowCardinality(String),
    url String CODEC(ZSTD(1)),
    referrer String CODEC(ZSTD(1)),
    properties String CODEC(ZSTD(1)) COMMENT 'a JSON object',
    time DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(ts, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (site, session, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS unjoin.personal
(
    event_id String CODEC(ZSTD(1)),
    site LowCardinality(String),
    account String CODEC(ZSTD(1)),
    type LowCardinality(String),
    ts Int64 CODEC(Delta, ZSTD(1)) COMMENT 'Unix milliseconds by the client''s clock, as sent',
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    role String CODEC(ZSTD(1)),
    name String CODEC(ZSTD(1)),
    email String CODEC(ZSTD(1)),
    country String CODEC(ZSTD(1)),
    provider String CODEC(ZSTD(1)),
    method String CODEC(ZSTD(1)),
    outcome String CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(ts, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (site, account, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS unjoin.labelers
(
    event_id String CODEC(ZSTD(1)),
    site LowCardinality(String),
    ts Int64 CODEC(Delta, ZSTD(1)) COMMENT 'Unix milliseconds by the client''s clock, as sent',
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    name String CODEC(ZSTD(1)),
    email String CODEC(ZSTD(1)),
    country String CODEC(ZSTD(1)),
    languages Array(String) CODEC(ZSTD(1)),
    note String CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(ts, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (site, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
