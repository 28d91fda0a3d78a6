-- From which networks do visitors come, and with how many addresses and devices?
-- days: how far back from the newest event. Without an ASN database `isp` is empty, and all is one row.
SELECT isp, uniq(session) AS sessions, uniq(ip) AS addresses, topK(3)(device) AS devices
FROM analytics
WHERE received_at >= (SELECT max(received_at) FROM analytics) - toIntervalDay({days:UInt16})
GROUP BY isp
ORDER BY sessions DESC, isp
LIMIT 100
