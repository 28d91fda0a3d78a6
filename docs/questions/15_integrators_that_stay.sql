-- Of the integrators who first appeared in a week, how many still did something in the weeks after?
-- weeks: how many weeks to follow them. `personal` is read by `privacy` alone.
SELECT first_week, week, uniqExact(account) AS accounts
FROM
(
    SELECT account, first_week, intDiv(dateDiff('day', first_week, toMonday(at)), 7) AS week
    FROM personal
    INNER JOIN
    (
        SELECT account, toMonday(min(at)) AS first_week
        FROM personal
        WHERE account IN (SELECT account FROM personal WHERE role = 'integrator')
        GROUP BY account
    ) AS integrators USING account
)
WHERE week <= {weeks:UInt16}
GROUP BY first_week, week
ORDER BY first_week, week
