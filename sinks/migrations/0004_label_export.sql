-- What may leave the house: nothing that fewer than k votes say. Every kind of answer is a free string, so the rule
-- holds for all of them. `SELECT * FROM label_export(k = 5)`; `unjoin export` asks these two views and nothing else.
--
-- Of label_export, a row is one of label_consensus or is missing: where the answer with most votes has fewer than k,
-- every answer of the task has. `total` and `agreement` count the votes for answers that are left out as well: how many
-- disagreed is no answer of anybody, and without them agreement would be overstated.

CREATE VIEW IF NOT EXISTS unjoin.label_export AS
SELECT task, answer, votes, total, agreement, tied
FROM unjoin.label_consensus
WHERE votes >= {k:UInt64};

-- One row a vote, without its row_id, and no row that fewer than k rows are equal to: it could be told apart. Where some
-- day of an answer has fewer than k votes, none of that answer's rows says its day, or what is missing would say it.

CREATE VIEW IF NOT EXISTS unjoin.label_export_votes AS
SELECT task, kind, answer, day
FROM
(
    SELECT
        task,
        kind,
        answer,
        if(fewest >= {k:UInt64}, toNullable(on_day), NULL) AS day,
        arrayJoin(range(n)) AS vote
    FROM
    (
        SELECT
            task,
            kind,
            answer,
            day AS on_day,
            count() AS n,
            min(n) OVER (PARTITION BY task, kind, answer) AS fewest,
            sum(n) OVER (PARTITION BY task, kind, answer) AS votes
        FROM unjoin.labels FINAL
        GROUP BY task, kind, answer, on_day
    )
    WHERE votes >= {k:UInt64}
);
