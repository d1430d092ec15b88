-- One row a release and hour, over the whole fleet; what came before the first release is of the release null.
-- Distributions are histograms by weight, which can be added up over any hours and releases: a `bin` k of `latency_us_bins` is of
-- values over 1.02^(k-1) and up to 1.02^k µs, one of `confidence_bins` from k/200 to (k+1)/200. A quantile is the middle of its bin: within
-- 1 % of the true latency, within 0.0025 of the true confidence. Events that were shed are in all but `events`, `labelled` and `correct`.
-- `sketched` has (hour, release, measure, samples, weights), read from the sketches that came instead of events.
-- The hour of a time is by whole numbers: date_trunc asks a calendar of time zones, which is half of all that this costs.
WITH told AS (
    SELECT release, make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour, weight::DOUBLE AS weight, prediction, label
    FROM events
    LEFT JOIN truth USING (device, ts)
),
counts AS (
    SELECT
        release, hour, count(*) AS events, sum(weight) AS weighted,
        count(label) AS labelled, count(*) FILTER (label = prediction) AS correct,
        coalesce(sum(weight) FILTER (label IS NOT NULL), 0) AS weighted_labelled,
        coalesce(sum(weight) FILTER (label = prediction), 0) AS weighted_correct
    FROM told
    GROUP BY release, hour
    UNION ALL
    SELECT release, hour, sum(events), sum(weight), 0, 0, 0, 0 FROM sketches WHERE measure = 'event' GROUP BY release, hour
),
counted AS (
    SELECT
        release, hour, sum(events)::BIGINT AS events, sum(weighted)::DOUBLE AS weighted,
        sum(labelled)::BIGINT AS labelled, sum(correct)::BIGINT AS correct,
        sum(weighted_labelled)::DOUBLE AS weighted_labelled, sum(weighted_correct)::DOUBLE AS weighted_correct
    FROM counts
    GROUP BY release, hour
),
measured AS (
    SELECT release, make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour,
        weight::DOUBLE AS weight, confidence, latency_us
    FROM events
),
valued AS (
    SELECT release, hour, measure, value::DOUBLE AS value, weight
    FROM measured UNPIVOT (value FOR measure IN (confidence, latency_us))
    UNION ALL
    SELECT release, hour, measure, unnest(samples), unnest(weights) FROM sketched
),
binned AS (
    SELECT
        release, hour, measure,
        CASE measure
            WHEN 'latency_us' THEN ceil(ln(greatest(value, 0.001)) / ln(1.02))
            ELSE floor(value * 200)
        END::SMALLINT AS bin,
        sum(weight) AS weight
    FROM valued
    GROUP BY ALL
),
ranked AS (
    SELECT *, sum(weight) OVER (whole ORDER BY bin) / sum(weight) OVER whole AS share
    FROM binned
    WINDOW whole AS (PARTITION BY release, hour, measure)
),
spread AS (
    SELECT
        release, hour,
        (min(bin) FILTER (measure = 'confidence' AND share >= 0.05) + 0.5) / 200 AS confidence_p05,
        (min(bin) FILTER (measure = 'confidence' AND share >= 0.5) + 0.5) / 200 AS confidence_p50,
        2 / 2.02 * 1.02 ** min(bin) FILTER (measure = 'latency_us' AND share >= 0.5) AS latency_us_p50,
        2 / 2.02 * 1.02 ** min(bin) FILTER (measure = 'latency_us' AND share >= 0.99) AS latency_us_p99,
        list({'bin': bin, 'weight': weight} ORDER BY bin) FILTER (measure = 'confidence') AS confidence_bins,
        list({'bin': bin, 'weight': weight} ORDER BY bin) FILTER (measure = 'latency_us') AS latency_us_bins
    FROM ranked
    GROUP BY release, hour
)
SELECT
    counted.*, confidence_p05, confidence_p50, latency_us_p50, latency_us_p99, confidence_bins, latency_us_bins,
    strftime(counted.hour, '%Y-%m') AS month
FROM counted
LEFT JOIN spread ON spread.hour = counted.hour AND spread.release IS NOT DISTINCT FROM counted.release
ORDER BY hour, release
