-- Which sessions of a site sample more evenly than a hand can move: candidates for bots?
SELECT session, count() AS events, avg(unevenness) AS mean_unevenness
FROM
(
    SELECT session, arrayReduce('stddevPop', arrayPopFront(arrayDifference(t))) AS unevenness
    FROM signals
    WHERE site = 'site-2' AND type = 'pointer' AND length(t) > 10
)
GROUP BY session
HAVING events >= 5
ORDER BY mean_unevenness, session
LIMIT 50
