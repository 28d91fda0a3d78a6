-- How fast do pointers move, in pixels a second, by site?
SELECT
    site,
    quantilesExact(0.1, 0.5, 0.9)(1000 * path / greatest(t[-1] - t[1], 1)) AS px_per_second
FROM
(
    SELECT
        site,
        t,
        arraySum(arrayMap((dx, dy) -> sqrt(dx * dx + dy * dy), arrayDifference(x), arrayDifference(y))) AS path
    FROM signals
    WHERE type = 'pointer'
)
GROUP BY site
ORDER BY site
