-- What is true of an event, of all the labels that came for it: that of the best source, and within it the one known last.
-- The variable `label_sources` names sources, the best first; one that it does not name comes after all that it does, and these
-- are alike, as all are if it is empty or not set. Ties go to the later ingest, then by source, then by label.
-- `labels` is the table of that name. This file runs as it stands in any DuckDB that has it as a view.

-- As the centre could tell at `as_of`: what was known and had been taken in by then.
CREATE MACRO truth_at(as_of) AS TABLE
SELECT device, ts, label, source, known_at
FROM labels
WHERE known_at <= as_of AND ingested_at <= as_of
QUALIFY row_number() OVER (
    PARTITION BY device, ts
    ORDER BY list_position(getvariable('label_sources'), source) NULLS LAST, known_at DESC, ingested_at DESC, source, label
) = 1;

-- As it is told today.
CREATE VIEW truth AS FROM truth_at(TIMESTAMPTZ 'infinity');
