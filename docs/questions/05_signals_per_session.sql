-- How many signals of each type does a session of a site send?
-- site: the site's name.
SELECT type, count() AS sessions, quantilesExact(0.1, 0.5, 0.9)(events) AS events, sum(samples) AS samples
FROM
(
    SELECT session, type, count() AS events, sum(length(t)) AS samples
    FROM signals
    WHERE site = {site:String}
    GROUP BY session, type
)
GROUP BY type
ORDER BY type
