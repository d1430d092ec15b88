-- One row a feature and hour, over the whole fleet; a feature that was missing all hour long has no row. Events that were shed
-- are in mean and stddev by the weight of those that stand for them.
-- `sketched` has (feature, hour, samples, weights), read from the sketches that came instead of events.
WITH chosen AS (
    SELECT date_trunc('hour', ts) AS hour, weight, COLUMNS('^f_') FROM events WHERE month IN (SELECT unnest($months))
),
long AS (
    FROM chosen UNPIVOT INCLUDE NULLS (value FOR feature IN (COLUMNS('^f_')))
),
counted AS (
    SELECT feature, hour, count(*) AS events, count(*) - count(value) AS missing FROM long GROUP BY ALL
    UNION ALL
    SELECT measure, hour, sum(events), coalesce(sum(events) FILTER (WHERE sketch IS NULL), 0)
    FROM sketches
    WHERE starts_with(measure, 'f_') AND month IN (SELECT unnest($months))
    GROUP BY ALL
),
valued AS (
    SELECT feature, hour, value::DOUBLE AS value, weight::DOUBLE AS weight FROM long WHERE value IS NOT NULL
    UNION ALL
    SELECT feature, hour, unnest(samples), unnest(weights) FROM sketched
),
means AS (
    SELECT feature, hour, sum(value * weight) / sum(weight) AS mean FROM valued GROUP BY ALL
),
spread AS (
    SELECT
        feature, hour, any_value(mean) AS mean,
        sqrt(sum(weight * (value - mean) ** 2) / nullif(sum(weight) - 1, 0)) AS stddev,
        min(value) AS minimum, max(value) AS maximum
    FROM valued
    JOIN means USING (feature, hour)
    GROUP BY ALL
)
SELECT
    feature, hour,
    sum(events)::BIGINT AS events,
    sum(missing)::BIGINT AS missing,
    mean, stddev, minimum, maximum,
    strftime(hour, '%Y-%m') AS month
FROM counted
JOIN spread USING (feature, hour)
GROUP BY feature, hour, mean, stddev, minimum, maximum
ORDER BY feature, hour
