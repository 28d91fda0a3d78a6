-- The hundred busiest sessions of a site: how many events, over how long?
SELECT session, count() AS events, (max(ts) - min(ts)) / 1000 AS seconds
FROM signals
WHERE site = 'site-1'
GROUP BY session
ORDER BY events DESC, session
LIMIT 100
