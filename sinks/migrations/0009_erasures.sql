-- How far the requests of people to be gone are, for who answers them; `unjoin erase --list` shows the same. Whom a
-- request is about is not said, and cannot be told from its reference unless an operator wrote it there.

CREATE TABLE IF NOT EXISTS unjoin.erasures
(
    id String COMMENT 'of the request, as unjoin erase printed it',
    reference String COMMENT 'the operator''s word for it: a ticket, never a name',
    kind LowCardinality(String) COMMENT 'whom it is about: a session, an account or an e-mail',
    asked_at DateTime64(3, 'UTC') COMMENT 'when it was accepted',
    state LowCardinality(String) COMMENT 'accepted, rows_deleted, parts_clean, topics_past, done or forgotten',
    state_at DateTime64(3, 'UTC') COMMENT 'when it reached that state',
    deleted Map(String, UInt64) COMMENT 'rows that are gone, by table'
)
ENGINE = ReplacingMergeTree(state_at)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
