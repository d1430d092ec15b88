-- One row a feature and hour, over the whole fleet; a feature that was missing all hour long has no row. Events that were shed
-- are in all but `events` and `missing` by the weight of those that stand for them: a quantile is the least value that such a share of
-- all does not exceed.
-- `sketched` has (feature, hour, samples, weights), read from the sketches that came instead of events.
-- The hour of a time is by whole numbers: date_trunc asks a calendar of time zones, which is half of all that this costs.
WITH weighty AS (  -- hours of values that do not all stand for as many: these need their weights, and are dear
    SELECT make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour FROM events WHERE weight <> 1
    UNION
    SELECT hour FROM sketches WHERE starts_with(measure, 'f_')
),
wide AS (
    SELECT
        make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour, count(*) AS events,
        struct_pack(
            present := count(COLUMNS('(^f_.*)')), mean := avg(COLUMNS('(^f_.*)')), stddev := stddev_samp(COLUMNS('(^f_.*)')),
            minimum := min(COLUMNS('(^f_.*)')), maximum := max(COLUMNS('(^f_.*)')),
            quantiles := quantile_disc(COLUMNS('(^f_.*)'), [0.01, 0.05, 0.5, 0.95, 0.99])
        ) AS "\1"
    FROM events
    WHERE make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) NOT IN (FROM weighty)
    GROUP BY ALL
),
plain AS (
    SELECT feature, hour, events, unnest(of_it) FROM wide UNPIVOT (of_it FOR feature IN (COLUMNS('^f_')))
),
chosen AS (
    SELECT make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour, weight, COLUMNS('^f_')
    FROM events
    WHERE make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) IN (FROM weighty)
),
long AS (
    FROM chosen UNPIVOT INCLUDE NULLS (value FOR feature IN (COLUMNS('^f_')))
),
counted AS (
    SELECT feature, hour, count(*) AS events, count(*) - count(value) AS missing FROM long GROUP BY ALL
    UNION ALL
    SELECT measure, hour, sum(events), coalesce(sum(events) FILTER (WHERE sketch IS NULL), 0)
    FROM sketches
    WHERE starts_with(measure, 'f_')
    GROUP BY ALL
),
counts AS (
    SELECT feature, hour, sum(events)::BIGINT AS events, sum(missing)::BIGINT AS missing FROM counted GROUP BY ALL
),
valued AS (
    SELECT feature, hour, value::DOUBLE AS value, weight::DOUBLE AS weight FROM long WHERE value IS NOT NULL
    UNION ALL
    SELECT feature, hour, unnest(samples), unnest(weights) FROM sketched
),
ranked AS (
    SELECT
        *,
        sum(value * weight) OVER whole / sum(weight) OVER whole AS mean,
        sum(weight) OVER (whole ORDER BY value ROWS UNBOUNDED PRECEDING) / sum(weight) OVER whole AS share
    FROM valued
    WINDOW whole AS (PARTITION BY feature, hour)
),
weighed AS (
    SELECT
        feature, hour, any_value(mean) AS mean,
        sqrt(sum(weight * (value - mean) ** 2) / nullif(sum(weight) - 1, 0)) AS stddev,
        min(value) AS minimum, max(value) AS maximum,
        [
            min(value) FILTER (share >= 0.01), min(value) FILTER (share >= 0.05), min(value) FILTER (share >= 0.5),
            min(value) FILTER (share >= 0.95), min(value) FILTER (share >= 0.99)
        ] AS quantiles
    FROM ranked
    GROUP BY feature, hour
)
SELECT
    feature, hour, events, missing, mean, stddev, minimum::DOUBLE AS minimum, maximum::DOUBLE AS maximum,
    quantiles[1]::DOUBLE AS p01, quantiles[2]::DOUBLE AS p05, quantiles[3]::DOUBLE AS p50,
    quantiles[4]::DOUBLE AS p95, quantiles[5]::DOUBLE AS p99,
    strftime(hour, '%Y-%m') AS month
FROM (
    SELECT feature, hour, events, events - present AS missing, mean, stddev, minimum, maximum, quantiles FROM plain WHERE present > 0
    UNION ALL
    SELECT feature, hour, events, missing, mean, stddev, minimum, maximum, quantiles
    FROM counts JOIN weighed USING (feature, hour)
)
ORDER BY feature, hour
