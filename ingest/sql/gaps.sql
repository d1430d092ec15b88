-- Of each device and epoch, the ranges of sequence numbers that no accepted batch spans, up to the highest that is known.
-- `known` is from when on a range could be seen: the first batch after it was taken in, or the device said how far it is.
-- `statuses` is what devices last said of themselves.
WITH taken AS (
    SELECT device, epoch, first_seq, last_seq, ingested_at FROM batches WHERE verdict = 'accepted'
),
ends AS (  -- what was planned and lost counts as produced, as it does in the books
    SELECT device, epoch, max(last_seq) AS highest, min_by(ingested_at, -last_seq) AS known
    FROM batches WHERE verdict IN ('accepted', 'lost') GROUP BY ALL
    UNION ALL
    SELECT device, epoch, produced, time FROM statuses
),
fence AS (  -- an empty batch after the last number
    SELECT device, epoch, max(highest) + 1 AS first_seq, max(highest) AS last_seq, min_by(known, -highest) AS ingested_at
    FROM ends GROUP BY ALL
),
steps AS (
    SELECT
        device, epoch, first_seq,
        coalesce(max(last_seq) OVER before, 0) + 1 AS expected,
        min(ingested_at) OVER (PARTITION BY device, epoch ORDER BY first_seq ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS known
    FROM (FROM taken UNION ALL FROM fence)
    WINDOW before AS (PARTITION BY device, epoch ORDER BY first_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT device, epoch::INTEGER AS epoch, expected::BIGINT AS first, (first_seq - 1)::BIGINT AS last, known
FROM steps WHERE first_seq > expected
ORDER BY device, epoch, first
