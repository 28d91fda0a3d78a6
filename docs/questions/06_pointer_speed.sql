-- How fast do pointers of a site move, in pixels a second, by day?
-- site: the site's name.
SELECT
    day,
    quantilesExact(0.1, 0.5, 0.9)(1000 * path / greatest(t[-1] - t[1], 1)) AS px_per_second
FROM
(
    SELECT
        toDate(received_at) AS day,
        t,
        arraySum((dx, dy) -> sqrt(dx * dx + dy * dy), arrayDifference(x), arrayDifference(y)) AS path
    FROM signals
    WHERE site = {site:String} AND type = 'pointer'
)
GROUP BY day
ORDER BY day
