-- Labelled events as they were known at $as_of: of several labels the one known last by then counts, and no label that
-- became known later is seen. The tables are pinned to versions by the caller.
WITH truth AS (
    SELECT device, ts, label
    FROM labels
    WHERE known_at <= $as_of
    QUALIFY row_number() OVER (PARTITION BY device, ts ORDER BY known_at DESC, ingested_at DESC, source) = 1
)
SELECT events.device, events.epoch, events.seq, events.ts, events.weight, truth.label, COLUMNS('^f_')
FROM events
JOIN truth USING (device, ts)
WHERE events.ts >= $since AND events.ts < $until
ORDER BY events.ts, events.device, events.epoch, events.seq
