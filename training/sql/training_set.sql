-- Labelled events as they were known at $as_of: no label that became known, or was taken in, later is seen. Which of several
-- labels counts is in edgeloop/sql/truth.sql. The tables are pinned to versions by the caller.
SELECT events.device, events.epoch, events.seq, events.ts, events.weight, truth.label, COLUMNS('^f_')
FROM events
JOIN truth_at($as_of) AS truth USING (device, ts)
WHERE events.ts >= $since AND events.ts < $until
ORDER BY events.ts, events.device, events.epoch, events.seq
