-- How much came in, by day and type?
-- days: how far back from the newest event.
SELECT toDate(received_at) AS day, type, count() AS events
FROM signals
WHERE received_at >= (SELECT max(received_at) FROM signals) - toIntervalDay({days:UInt16})
GROUP BY day, type
ORDER BY day, type
