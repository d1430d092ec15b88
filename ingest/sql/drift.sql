-- How many events of the window fall into each bin of the training reference, for each feature.
-- `bins` has (feature, edges): the inner edges, rising. Bin k holds values with exactly k edges at or under them, the bin
-- behind the last those that are missing.
WITH window_rows AS (
    SELECT COLUMNS('^f_') FROM events WHERE month >= $month AND ts >= $since AND ts < $until
),
long AS (
    FROM window_rows UNPIVOT INCLUDE NULLS (value FOR feature IN (COLUMNS('^f_')))
)
SELECT
    long.feature,
    CASE
        WHEN long.value IS NULL THEN len(bins.edges) + 1
        ELSE len(list_filter(bins.edges, lambda edge: edge <= long.value))
    END AS bin,
    count(*) AS events
FROM long
JOIN bins USING (feature)
GROUP BY ALL
ORDER BY ALL
