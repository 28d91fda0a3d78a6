-- How late do events arrive by their clients' clocks, in milliseconds, by site and day? Below 0 a clock is ahead.
-- days: how far back from the newest event.
SELECT
    site,
    toDate(received_at) AS day,
    quantilesExact(0.01, 0.5, 0.99)(toUnixTimestamp64Milli(received_at) - ts) AS late_ms
FROM signals
WHERE received_at >= (SELECT max(received_at) FROM signals) - toIntervalDay({days:UInt16})
GROUP BY site, day
ORDER BY site, day
