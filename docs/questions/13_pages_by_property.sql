-- Which pages do visitors read most, by a property that the service sends along, for instance their plan?
-- property: its name in `properties`, for instance plan. days: how far back from the newest event.
SELECT path(url) AS page, JSONExtractString(properties, {property:String}) AS value, count() AS views
FROM analytics
WHERE type = 'page_view' AND received_at >= (SELECT max(received_at) FROM analytics) - toIntervalDay({days:UInt16})
GROUP BY page, value
ORDER BY views DESC, page, value
LIMIT 100
