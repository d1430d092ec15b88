-- Months whose aggregates are out of date: those of events and of labels that came after the last aggregation.
SELECT DISTINCT month FROM events WHERE ingested_at > $since
UNION
SELECT DISTINCT strftime(ts, '%Y-%m') FROM labels WHERE ingested_at > $since
ORDER BY 1
