-- How many labels came in, by day and kind, of how many tasks?
-- days: how far back from the newest label.
SELECT day, kind, count() AS labels, uniq(task) AS tasks, labels / tasks AS labels_per_task
FROM labels
WHERE day > (SELECT max(day) FROM labels) - {days:UInt16}
GROUP BY day, kind
ORDER BY day, kind
