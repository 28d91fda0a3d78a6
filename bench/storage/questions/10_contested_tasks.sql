-- Which tasks with at least five votes agree least?
SELECT task, max(votes) / sum(votes) AS agreement, sum(votes) AS total
FROM
(
    SELECT task, answer, count() AS votes
    FROM labels
    GROUP BY task, answer
)
GROUP BY task
HAVING total >= 5
ORDER BY agreement, task
LIMIT 100
