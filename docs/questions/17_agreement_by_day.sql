-- How does each day's vote on a task compare with the answer that all days together gave?
-- prefix: how the tasks' names begin, for instance dogs-. days: how far back from the newest label.
SELECT task, kind, day, answer, countIf(said = answer) AS votes, count() AS total, votes / total AS agreement
FROM
(
    SELECT task, kind, day, answer AS said
    FROM labels
    WHERE startsWith(task, {prefix:String}) AND day > (SELECT max(day) FROM labels) - {days:UInt16}
) AS said_on_a_day
INNER JOIN
(
    SELECT task, kind, answer
    FROM label_consensus
    WHERE startsWith(task, {prefix:String})
) AS consensus USING (task, kind)
GROUP BY task, kind, day, answer
ORDER BY task, kind, day
LIMIT 10000
