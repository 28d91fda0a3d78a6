-- What did one session do, in order, and along which path did its pointer go?
-- site: the site's name. session: the session, as the client named it.
SELECT at, type, length(t) AS samples, x[1] AS from_x, y[1] AS from_y, x[-1] AS to_x, y[-1] AS to_y,
    arraySum(arrayMap((dx, dy) -> sqrt(dx * dx + dy * dy), arrayDifference(x), arrayDifference(arrayResize(y, length(x)))))
        AS path_px
FROM signals
WHERE site = {site:String} AND session = {session:String}
ORDER BY at, event_id
