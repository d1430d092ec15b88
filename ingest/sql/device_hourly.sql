-- One row a device, hour and release; two for the hour in which a device went over from events to aggregates.
-- `correct` counts the labelled events whose prediction was right; without events nothing can be labelled.
-- `sketched` has (device, hour, release, mean_confidence, latency_us_p50, latency_us_p99), read from sketches.
-- Which of an event's labels counts is in edgeloop/sql/truth.sql.
WITH counted AS (
    SELECT device, hour, release, sum(events)::BIGINT AS events, sum(weight)::DOUBLE AS weighted, any_value(month) AS month
    FROM sketches
    WHERE measure = 'event' AND month IN (SELECT unnest($months))
    GROUP BY ALL
)
SELECT
    events.device,
    date_trunc('hour', events.ts) AS hour,
    events.release,
    count(*) AS events,
    sum(events.weight)::DOUBLE AS weighted,
    avg(events.confidence)::DOUBLE AS mean_confidence,
    quantile_cont(events.latency_us, 0.5)::DOUBLE AS latency_us_p50,
    quantile_cont(events.latency_us, 0.99)::DOUBLE AS latency_us_p99,
    count(truth.label) AS labelled,
    count(*) FILTER (WHERE truth.label = events.prediction) AS correct,
    any_value(events.month) AS month
FROM events
LEFT JOIN truth USING (device, ts)
WHERE events.month IN (SELECT unnest($months))
GROUP BY ALL
UNION ALL
SELECT
    counted.device, counted.hour, counted.release, events, weighted,
    mean_confidence, latency_us_p50, latency_us_p99,
    0, 0, month
FROM counted
LEFT JOIN sketched
    ON sketched.device = counted.device AND sketched.hour = counted.hour
    AND sketched.release IS NOT DISTINCT FROM counted.release
ORDER BY device, hour
