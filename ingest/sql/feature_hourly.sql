-- One row a feature and hour, over the whole fleet; a feature that was missing all hour long has no row.
WITH long AS (
    UNPIVOT (
        SELECT ts, month, COLUMNS('^f_') FROM events WHERE month IN (SELECT unnest($months))
    )
    ON COLUMNS('^f_') INTO NAME feature VALUE value
),
total AS (
    SELECT date_trunc('hour', ts) AS hour, month, count(*) AS events
    FROM events
    WHERE month IN (SELECT unnest($months))
    GROUP BY ALL
)
SELECT
    long.feature,
    total.hour,
    total.events,
    total.events - count(*) AS missing,
    avg(long.value)::DOUBLE AS mean,
    stddev_samp(long.value)::DOUBLE AS stddev,
    min(long.value)::DOUBLE AS minimum,
    max(long.value)::DOUBLE AS maximum,
    total.month
FROM long
JOIN total ON total.hour = date_trunc('hour', long.ts) AND total.month = long.month
GROUP BY long.feature, total.hour, total.events, total.month
ORDER BY feature, hour
