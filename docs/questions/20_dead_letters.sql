-- What could not be read or stored, by day, topic and reason, and where did it lie?
-- days: how far back from the newest dead letter.
SELECT toDate(failed_at) AS day, topic, reason, count() AS records, min(offset) AS first_offset, max(offset) AS last_offset
FROM dead_letters
WHERE failed_at >= (SELECT max(failed_at) FROM dead_letters) - toIntervalDay({days:UInt16})
GROUP BY day, topic, reason
ORDER BY day, topic, reason
