-- One row a device, hour and release; two for the hour in which a device went over from events to aggregates.
-- Means and quantiles are of all events, those that were shed by the weight of those that stand for them: a quantile is the least
-- value that such a share of them does not exceed. `correct` counts the labelled events whose prediction was right; without events
-- nothing can be labelled. Which of an event's labels counts is in edgeloop/sql/truth.sql.
-- `sketched` has (device, hour, release, mean_confidence, confidence_p05 …), read from sketches.
-- The hour of a time is by whole numbers: date_trunc asks a calendar of time zones, which is half of all that this costs.
WITH told AS (
    SELECT device, make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour, release,
        prediction, label, weight::DOUBLE AS weight, confidence, latency_us
    FROM events
    LEFT JOIN truth USING (device, ts)
),
counted AS (
    SELECT
        device, hour, release,
        count(*) AS events, sum(weight) AS weighted,
        sum(confidence * weight) / sum(weight) FILTER (confidence IS NOT NULL) AS mean_confidence,
        quantile_disc(confidence, [0.05, 0.5]) AS confidences,
        quantile_disc(latency_us, [0.5, 0.99]) AS latencies,
        count(label) AS labelled, count(*) FILTER (label = prediction) AS correct,
        coalesce(sum(weight) FILTER (label IS NOT NULL), 0) AS weighted_labelled,
        coalesce(sum(weight) FILTER (label = prediction), 0) AS weighted_correct
    FROM told
    GROUP BY device, hour, release
),
shed AS (  -- where events do not all stand for as many: quantiles of these hours need their weights, and are dear
    SELECT DISTINCT device, make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour FROM events WHERE weight <> 1
),
weights AS (
    SELECT events.device, hour, release, weight::DOUBLE AS weight, confidence, latency_us
    FROM events
    JOIN shed ON shed.device = events.device AND shed.hour = make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000)
),
ranked AS (
    SELECT
        device, hour, release, measure, value,
        sum(weight) OVER (whole ORDER BY value ROWS UNBOUNDED PRECEDING) / sum(weight) OVER whole AS share
    FROM weights UNPIVOT (value FOR measure IN (confidence, latency_us))
    WINDOW whole AS (PARTITION BY device, hour, release, measure)
),
weighed AS (
    SELECT
        device, hour, release,
        min(value) FILTER (measure = 'confidence' AND share >= 0.05) AS confidence_p05,
        min(value) FILTER (measure = 'confidence' AND share >= 0.5) AS confidence_p50,
        min(value) FILTER (measure = 'latency_us' AND share >= 0.5) AS latency_us_p50,
        min(value) FILTER (measure = 'latency_us' AND share >= 0.99) AS latency_us_p99
    FROM ranked
    GROUP BY device, hour, release
),
stood_for AS (
    SELECT device, hour, release, sum(events)::BIGINT AS events, sum(weight)::DOUBLE AS weighted
    FROM sketches
    WHERE measure = 'event'
    GROUP BY device, hour, release
)
SELECT
    counted.device, counted.hour, counted.release, events, weighted,
    mean_confidence,
    coalesce(confidence_p05, confidences[1])::DOUBLE AS confidence_p05,
    coalesce(confidence_p50, confidences[2])::DOUBLE AS confidence_p50,
    coalesce(latency_us_p50, latencies[1])::DOUBLE AS latency_us_p50,
    coalesce(latency_us_p99, latencies[2])::DOUBLE AS latency_us_p99,
    labelled, correct, weighted_labelled, weighted_correct,
    strftime(counted.hour, '%Y-%m') AS month
FROM counted
LEFT JOIN weighed
    ON weighed.device = counted.device AND weighed.hour = counted.hour AND weighed.release IS NOT DISTINCT FROM counted.release
UNION ALL
SELECT
    stood_for.device, stood_for.hour, stood_for.release, events, weighted,
    mean_confidence, confidence_p05, confidence_p50, latency_us_p50, latency_us_p99,
    0, 0, 0, 0,
    strftime(stood_for.hour, '%Y-%m')
FROM stood_for
LEFT JOIN sketched
    ON sketched.device = stood_for.device AND sketched.hour = stood_for.hour
    AND sketched.release IS NOT DISTINCT FROM stood_for.release
ORDER BY device, hour
