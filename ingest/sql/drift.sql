-- How many events of the window fall into each bin of the training reference, for each feature.
-- `bins` has (feature, edges): the inner edges, rising. Bin k holds values with exactly k edges at or under them.
WITH long AS (
    UNPIVOT (SELECT COLUMNS('^f_') FROM events WHERE month >= $month AND ts >= $since AND ts < $until)
    ON COLUMNS('^f_') INTO NAME feature VALUE value
)
SELECT long.feature, len(list_filter(bins.edges, lambda edge: edge <= long.value)) AS bin, count(*) AS events
FROM long
JOIN bins USING (feature)
GROUP BY ALL
ORDER BY ALL
