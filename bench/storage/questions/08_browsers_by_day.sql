-- Who visits: sessions by day, browser and system?
SELECT toDate(received_at) AS day, browser, os, uniq(session) AS sessions, count() AS views
FROM analytics
GROUP BY day, browser, os
ORDER BY day, sessions DESC
