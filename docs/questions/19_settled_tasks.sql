-- How many tasks are settled: enough votes for an export, and agreement beyond doubt?
-- k: votes that an export asks for. low_min: the least that the lower end of the agreement's interval may be, 0 to 1.
SELECT
    kind,
    count() AS tasks,
    countIf(votes >= {k:UInt64}) AS exported,
    countIf(votes >= {k:UInt64} AND agreement_low >= {low_min:Float64} AND NOT tied) AS settled,
    countIf(tied) AS ties,
    avg(agreement) AS mean_agreement
FROM label_consensus
GROUP BY kind
ORDER BY kind
