-- One row a device, hour and release. `correct` counts the labelled events whose prediction was right.
WITH truth AS (
    SELECT device, ts, label
    FROM labels
    WHERE strftime(ts, '%Y-%m') IN (SELECT unnest($months))
    QUALIFY row_number() OVER (PARTITION BY device, ts ORDER BY known_at DESC, ingested_at DESC, source) = 1
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
ORDER BY device, hour
