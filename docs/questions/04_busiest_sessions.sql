-- The hundred busiest sessions of a site: how many events, over how long?
-- site: the site's name.
SELECT session, count() AS events, dateDiff('millisecond', min(at), max(at)) / 1000 AS seconds
FROM signals
WHERE site = {site:String}
GROUP BY session
ORDER BY events DESC, session
LIMIT 100
