-- Every event with its label.
SELECT events.*, truth.label, truth.known_at
FROM events
JOIN truth USING (device, ts)
ORDER BY ts, device
