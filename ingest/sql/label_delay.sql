-- How labels come: one row a source, and one a source and week in which they became known, from $since to $as_of; $month is that of
-- $since, for the files to read.
-- Times are in seconds, of the first word that a source had on an event: `delay` from the event until it was known, `ingest` from
-- then to the lake. `early` were known before their event, which is a clock that is wrong; `corrected` are events of which the
-- source said two things. `pause` is the longest time between one and the next. `coverage` is how many of the events that are
-- older than the usual delay, counted by whole hours, have a label of that source.
WITH told AS (
    SELECT
        source, device, ts, count(*) AS labels, min(label) <> max(label) AS corrected,
        min(known_at) AS known, min_by(ingested_at, known_at) AS ingested, max(known_at) AS newest
    FROM labels
    WHERE known_at <= $as_of
    GROUP BY source, device, ts
    HAVING known >= $since
),
delays AS (
    SELECT
        source, date_trunc('week', known) AS week,
        sum(labels)::BIGINT AS labels, count(*) AS events,
        count(*) FILTER (corrected) AS corrected, count(*) FILTER (known < ts) AS early,
        quantile_cont(epoch_us(known) - epoch_us(ts), [0.5, 0.95]) AS delay,
        quantile_cont(epoch_us(ingested) - epoch_us(known), [0.5, 0.95]) AS ingest,
        max(newest) AS newest
    FROM told
    GROUP BY GROUPING SETS ((source), (source, week))
),
pauses AS (
    SELECT source, max(pause) AS pause
    FROM (
        SELECT source, epoch(minute - lag(minute) OVER (PARTITION BY source ORDER BY minute)) AS pause
        FROM (SELECT DISTINCT source, date_trunc('minute', known) AS minute FROM told)
    )
    GROUP BY source
),
due AS (
    SELECT source, date_trunc('hour', $as_of - to_microseconds(delay[1]::BIGINT)) AS before FROM delays WHERE week IS NULL
),
hours AS (
    SELECT make_timestamptz(epoch_us(ts) // 3600000000 * 3600000000) AS hour, count(*) AS events FROM events WHERE month >= $month AND ts >= $since GROUP BY ALL
),
produced AS (
    SELECT source, sum(events) AS events FROM due JOIN hours ON hour < before GROUP BY ALL
),
covered AS (
    SELECT source, count(*) AS events
    FROM told JOIN due USING (source) SEMI JOIN (SELECT device, ts FROM events WHERE month >= $month) USING (device, ts)
    WHERE ts >= $since AND ts < before
    GROUP BY ALL
)
SELECT
    source, week, labels, delays.events, corrected, early,
    delay[1] / 1e6 AS delay_median, delay[2] / 1e6 AS delay_p95, ingest[1] / 1e6 AS ingest_median, ingest[2] / 1e6 AS ingest_p95,
    newest, pause,
    CASE WHEN week IS NULL THEN coalesce(covered.events, 0) / produced.events END AS coverage
FROM delays
LEFT JOIN pauses USING (source)
LEFT JOIN produced USING (source)
LEFT JOIN covered USING (source)
ORDER BY source, week NULLS FIRST
