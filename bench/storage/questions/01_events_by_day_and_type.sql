-- How much came in during the last week, by day and type?
SELECT toDate(received_at) AS day, type, count() AS events
FROM signals
WHERE received_at >= (SELECT max(received_at) FROM signals) - INTERVAL 7 DAY
GROUP BY day, type
ORDER BY day, type
