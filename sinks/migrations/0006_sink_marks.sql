-- Which database this is, and which moments of it a sink has marked its commits with: a commit of a consumer group that
-- names another database, or a moment that this one never saw, says nothing of the rows that lie here.

CREATE TABLE IF NOT EXISTS unjoin.sink_marks
(
    database String COMMENT 'a random id of this database, made with this table',
    moment String COMMENT 'a random id: of a sink''s start or of an hour of its run; empty in the first row',
    made_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
    held_rows Bool DEFAULT false COMMENT 'whether tables held rows when the id was made: a version before wrote them'
)
ENGINE = ReplacingMergeTree(made_at)
ORDER BY (database, moment)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO unjoin.sink_marks (database, moment, held_rows)
SELECT
    toString(generateUUIDv4()),
    '',
    (SELECT count() FROM unjoin.signals) + (SELECT count() FROM unjoin.analytics) + (SELECT count() FROM unjoin.personal)
    + (SELECT count() FROM unjoin.labelers) + (SELECT count() FROM unjoin.labels) > 0
WHERE (SELECT count() FROM unjoin.sink_marks) = 0;

-- The commits that a version before had made when the first sink with marks started; its commits have none.

CREATE TABLE IF NOT EXISTS unjoin.sink_adopted
(
    consumer_group String,
    topic String COMMENT 'empty in the row that says that the group''s commits were looked at',
    partition Int32,
    offset Int64,
    metadata String COMMENT 'as it was committed'
)
ENGINE = ReplacingMergeTree
ORDER BY (consumer_group, topic, partition, offset, metadata)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
