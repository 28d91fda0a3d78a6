-- Which tasks agree least, among those with enough votes to say so?
-- votes_min: tasks with fewer votes are left out.
SELECT task, kind, max(votes) / sum(votes) AS agreement, sum(votes) AS total, count() AS answers
FROM
(
    SELECT task, kind, answer, count() AS votes
    FROM labels
    GROUP BY task, kind, answer
)
GROUP BY task, kind
HAVING total >= {votes_min:UInt32}
ORDER BY agreement, task, kind
LIMIT 100
