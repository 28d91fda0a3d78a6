-- Votes, not tied to anybody. Sorted by task and a keyed hash, so that the order on disk says nothing about who
-- answered what; the day is all the time there is.

CREATE TABLE IF NOT EXISTS unjoin.labels
(
    row_id UUID,
    day Date CODEC(Delta, ZSTD(1)),
    task String CODEC(ZSTD(1)),
    kind LowCardinality(String),
    answer String CODEC(ZSTD(1)),
    version UInt64 CODEC(NONE) COMMENT 'of several answers of one vote the largest stays: arbitrary, always the same'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (task, row_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The answer with most votes per task; of a tie the smallest answer, marked as tied. FINAL, so that it is right at
-- once after a vote was replaced.
CREATE VIEW IF NOT EXISTS unjoin.label_consensus AS
SELECT
    task,
    min(candidate) AS answer,
    any(n) AS votes,
    any(of) AS total,
    votes / total AS agreement,
    count() > 1 AS tied
FROM
(
    SELECT
        task,
        answer AS candidate,
        count() AS n,
        max(n) OVER (PARTITION BY task) AS most,
        sum(n) OVER (PARTITION BY task) AS of
    FROM unjoin.labels FINAL
    GROUP BY task, candidate
)
WHERE n = most
GROUP BY task;
