-- How long are keys held, and how far apart are they, by day?
-- days: how far back from the newest event.
SELECT
    toDate(received_at) AS day,
    quantileExact(0.5)(arrayAvg(arrayMap((down, up) -> up - down, t, t_up))) AS held_ms,
    quantileExact(0.5)((t[-1] - t[1]) / greatest(length(t) - 1, 1)) AS apart_ms
FROM signals
WHERE type = 'key' AND received_at >= (SELECT max(received_at) FROM signals) - toIntervalDay({days:UInt16})
GROUP BY day
ORDER BY day
