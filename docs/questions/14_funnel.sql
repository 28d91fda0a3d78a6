-- How many sessions of a site saw a first page, then a second, then a third, within some minutes?
-- site: the site's name. first, second, third: how the pages' paths begin, for instance /pricing. minutes: from the first on.
SELECT
    countIf(steps >= 1) AS saw_first,
    countIf(steps >= 2) AS then_second,
    countIf(steps >= 3) AS then_third,
    then_third / greatest(saw_first, 1) AS share
FROM
(
    SELECT
        session,
        windowFunnel(60000 * {minutes:UInt32})(
            toUInt64(toUnixTimestamp64Milli(at)),
            startsWith(path(url), {first:String}),
            startsWith(path(url), {second:String}),
            startsWith(path(url), {third:String})
        ) AS steps
    FROM analytics
    WHERE site = {site:String} AND type = 'page_view'
    GROUP BY session
)
