-- `ranges` of sequence numbers (device, epoch, first_seq, last_seq; they may overlap) in as few as there can be, and in :most of each device
-- and epoch at the most: all but the newest of them are one, gaps and all.
WITH steps AS (
    SELECT *, max(last_seq) OVER (
        PARTITION BY device, epoch ORDER BY first_seq, last_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS so_far
    FROM ranges
),
islands AS (
    SELECT *, count(*) FILTER (so_far IS NULL OR first_seq > so_far + 1) OVER (
        PARTITION BY device, epoch ORDER BY first_seq, last_seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS island
    FROM steps
),
joined AS (
    SELECT device, epoch, min(first_seq) AS first_seq, max(last_seq) AS last_seq FROM islands GROUP BY device, epoch, island
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY device, epoch ORDER BY first_seq DESC) AS place FROM joined
)
SELECT device, epoch, min(first_seq) AS first_seq, max(last_seq) AS last_seq
FROM ranked GROUP BY device, epoch, least(place, $most)
ORDER BY ALL
