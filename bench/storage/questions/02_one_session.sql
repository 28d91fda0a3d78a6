-- What did this session do, in order?
SELECT time, type, length(t) AS samples, x[1] AS from_x, y[1] AS from_y, x[-1] AS to_x, y[-1] AS to_y
FROM signals
WHERE site = 'site-1' AND session = (SELECT any(session) FROM signals WHERE site = 'site-1')
ORDER BY ts
