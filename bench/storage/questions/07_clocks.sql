-- How far are clients' clocks from ours, in milliseconds, by site and day?
SELECT
    site,
    toDate(received_at) AS day,
    quantiles(0.01, 0.5, 0.99)(toUnixTimestamp64Milli(received_at) - ts) AS late_ms
FROM signals
GROUP BY site, day
ORDER BY site, day
