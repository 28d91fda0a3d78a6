-- Why and from where a record was set aside, never what it held.

CREATE TABLE IF NOT EXISTS unjoin.dead_letters
(
    reason LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    failed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(failed_at)
ORDER BY (topic, partition, offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
