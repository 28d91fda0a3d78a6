-- How many sessions does a site have an hour, and how many events?
-- site: the site's name. days: how far back from its newest event.
SELECT toStartOfHour(received_at) AS hour, uniq(session) AS sessions, count() AS events
FROM signals
WHERE site = {site:String}
    AND received_at >= (SELECT max(received_at) FROM signals WHERE site = {site:String}) - toIntervalDay({days:UInt16})
GROUP BY hour
ORDER BY hour
