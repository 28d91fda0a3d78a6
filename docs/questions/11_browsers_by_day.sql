-- Who visits: sessions by day, browser and system?
-- days: how far back from the newest event.
SELECT toDate(received_at) AS day, browser, os, uniq(session) AS sessions, count() AS events
FROM analytics
WHERE received_at >= (SELECT max(received_at) FROM analytics) - toIntervalDay({days:UInt16})
GROUP BY day, browser, os
ORDER BY day, sessions DESC, browser, os
