-- The events of a period, with the block that each is in: number k begins k times $block (microseconds) after $since.
-- `ours` are those that $release predicted, a class by its place in $classes.
SELECT
    device,
    (epoch_us(ts) - epoch_us($since::TIMESTAMPTZ)) // $block AS block,
    weight::DOUBLE AS weight,
    coalesce(release = $release, false) AS ours,
    (list_position($classes, prediction) - 1)::FLOAT AS prediction,
    confidence,
    COLUMNS('^f_')
FROM events
WHERE month >= $first AND month <= $last AND ts >= $since AND ts < $until
