-- Which sessions of a site sample more evenly than a hand can move: candidates for bots?
-- site: the site's name. events_min: sessions with fewer pointer events are left out.
SELECT session, count() AS events, avg(unevenness) AS mean_unevenness_ms
FROM
(
    SELECT session, arrayReduce('stddevPop', arrayPopFront(arrayDifference(t))) AS unevenness
    FROM signals
    WHERE site = {site:String} AND type = 'pointer' AND length(t) > 10
)
GROUP BY session
HAVING events >= {events_min:UInt32}
ORDER BY mean_unevenness_ms, session
LIMIT 50
