-- How long are keys held, and how far apart are they, by day?
SELECT
    toDate(received_at) AS day,
    quantile(0.5)(arrayAvg(arrayMap((down, up) -> up - down, t, t_up))) AS held_ms,
    quantile(0.5)((t[-1] - t[1]) / greatest(length(t) - 1, 1)) AS apart_ms
FROM signals
WHERE type = 'key'
GROUP BY day
ORDER BY day
