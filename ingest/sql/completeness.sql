-- The books of each device and epoch: produced = ingested + shed + missing.
-- `statuses` is what devices last said of themselves; a batch can be newer than that, or the status of an old epoch gone.
WITH arrived AS (
    SELECT
        device, epoch,
        sum(rows) AS ingested, max(last_seq) AS highest, max(shed) AS shed,
        count(*) AS batches
    FROM batches WHERE verdict = 'accepted' GROUP BY ALL
),
bad AS (
    SELECT device, count(*) AS quarantined FROM batches WHERE verdict = 'rejected' GROUP BY ALL
),
books AS (
    SELECT
        coalesce(arrived.device, statuses.device) AS device,
        coalesce(arrived.epoch, statuses.epoch) AS epoch,
        greatest(coalesce(statuses.produced, 0), coalesce(arrived.highest, 0)) AS produced,
        coalesce(arrived.ingested, 0)::BIGINT AS ingested,
        greatest(coalesce(statuses.shed, 0), coalesce(arrived.shed, 0)) AS shed,
        coalesce(statuses.waiting, 0) AS waiting
    FROM arrived
    FULL JOIN statuses ON statuses.device = arrived.device AND statuses.epoch = arrived.epoch
)
SELECT books.*, produced - ingested - shed AS missing, coalesce(bad.quarantined, 0) AS quarantined
FROM books
LEFT JOIN bad USING (device)
ORDER BY device, epoch
