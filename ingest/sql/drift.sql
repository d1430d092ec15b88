-- How many events of the window fall into each bin of the training reference, for each feature, those that were shed by the
-- weight of what stands for them.
-- `bins` has (feature, edges): the inner edges, rising. Bin k holds values with exactly k edges at or under them, the bin
-- behind the last those that are missing. `sketched` has (feature, samples, weights), read from sketches of that window.
WITH window_rows AS (
    SELECT weight, COLUMNS('^f_') FROM events WHERE month >= $month AND ts >= $since AND ts < $until
),
valued AS (
    SELECT feature, value::DOUBLE AS value, weight::DOUBLE AS weight
    FROM window_rows UNPIVOT INCLUDE NULLS (value FOR feature IN (COLUMNS('^f_')))
    UNION ALL
    SELECT feature, unnest(samples), unnest(weights) FROM sketched
    UNION ALL
    SELECT measure, NULL, weight
    FROM sketches
    WHERE sketch IS NULL AND month >= $month AND hour >= $since AND hour < $until
)
SELECT
    valued.feature,
    CASE
        WHEN valued.value IS NULL THEN len(bins.edges) + 1
        ELSE len(list_filter(bins.edges, lambda edge: edge <= valued.value))
    END AS bin,
    sum(valued.weight) AS events
FROM valued
JOIN bins USING (feature)
GROUP BY ALL
ORDER BY ALL
