-- Every event with its label: of several labels the one known last counts.
WITH truth AS (
    SELECT device, ts, label, known_at
    FROM labels
    QUALIFY row_number() OVER (PARTITION BY device, ts ORDER BY known_at DESC, ingested_at DESC, source) = 1
)
SELECT events.*, truth.label, truth.known_at
FROM events
JOIN truth USING (device, ts)
ORDER BY ts, device
