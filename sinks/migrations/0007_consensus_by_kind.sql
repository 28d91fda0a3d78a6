-- The answer with most votes per task and kind; of a tie the smallest answer, marked as tied. FINAL, so that it is right
-- at once after a vote was replaced. sumMap gives the answers of a task in order, and how often each was given: with
-- windows the same takes more memory and, in many parts, several times as long (bench/consensus.py).
--
-- agreement_low and agreement_high are the ends of Wilson's score interval of 95 % for `agreement`: what share of all who
-- might be asked would give this answer, if those who were asked are a sample of them. Source: Wilson (1927), Probable
-- Inference, the Law of Succession, and Statistical Inference. 3.841459 is the square of 1.959964, the normal
-- distribution's 97.5 % point.

CREATE OR REPLACE VIEW unjoin.label_consensus AS
WITH
    3.841459 AS z_squared,
    (agreement + z_squared / (2 * total)) / (1 + z_squared / total) AS middle,
    sqrt(z_squared * (agreement * (1 - agreement) / total + z_squared / (4 * total * total))) / (1 + z_squared / total)
        AS half_width
SELECT
    task,
    kind,
    counted.1[indexOf(counted.2, votes)] AS answer,
    arrayMax(counted.2) AS votes,
    arraySum(counted.2) AS total,
    votes / total AS agreement,
    least(middle - half_width, agreement) AS agreement_low,
    least(greatest(middle + half_width, agreement), 1) AS agreement_high,
    countEqual(counted.2, votes) > 1 AS tied
FROM
(
    SELECT task, kind, sumMap([answer], [1]) AS counted
    FROM unjoin.labels FINAL
    GROUP BY task, kind
);

-- What may leave the house: nothing that fewer than k votes say, as in 0004_label_export.sql; a row is one of
-- label_consensus or is missing.

CREATE OR REPLACE VIEW unjoin.label_export AS
SELECT task, kind, answer, votes, total, agreement, agreement_low, agreement_high, tied
FROM unjoin.label_consensus
WHERE votes >= {k:UInt64};
