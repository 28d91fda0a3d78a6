-- How long after its first page view does a session move, scroll, type or touch, in seconds, by page?
-- site: one of the service's own sites, which have both. From a page view to an answer nobody can ask: labels have no session.
SELECT page, count() AS sessions, quantilesExact(0.5, 0.9)(seconds) AS seconds
FROM
(
    SELECT session, any(page) AS page, dateDiff('millisecond', any(viewed), min(at)) / 1000 AS seconds
    FROM signals
    INNER JOIN
    (
        SELECT session, argMin(path(url), (at, event_id)) AS page, min(at) AS viewed
        FROM analytics
        WHERE site = {site:String} AND type = 'page_view'
        GROUP BY session
    ) AS views USING session
    WHERE site = {site:String} AND at >= viewed
    GROUP BY session
)
GROUP BY page
ORDER BY sessions DESC, page
LIMIT 100
