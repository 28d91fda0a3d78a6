-- Which pages does each plan read most, over the last thirty days?
SELECT url, JSONExtractString(properties, 'plan') AS plan, count() AS views
FROM analytics
WHERE type = 'page_view' AND received_at >= (SELECT max(received_at) FROM analytics) - INTERVAL 30 DAY
GROUP BY url, plan
ORDER BY views DESC, url, plan
LIMIT 100
