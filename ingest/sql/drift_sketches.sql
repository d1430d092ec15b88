-- As drift.sql, of what devices shipped as aggregates: a row is one value, or one sketch of values, of a window that began then.
SELECT
    device,
    (epoch_us(hour) - epoch_us($since::TIMESTAMPTZ)) // $block AS block,
    coalesce(release = $release, false) AS ours,
    measure, value, sketch, events, weight::DOUBLE AS weight
FROM sketches
WHERE month >= $first AND month <= $last AND hour >= $since AND hour < $until
    AND (value IS NULL OR list_contains($classes, value))
    AND measure <> 'event'
