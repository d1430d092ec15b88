-- The books of each device and epoch: produced = ingested + shed + missing.
-- `statuses` is what devices last said of themselves; a batch can be newer than that, or the status of an old epoch gone.
-- `held` is what is in quarantine now: what was retried or dropped is there no more, and dropped events are missing for good.
-- What a device says it shed counts only as far as something is missing: its word cannot make the books negative.
WITH arrived AS (
    SELECT
        device, epoch,
        sum(rows) FILTER (WHERE verdict = 'accepted') AS ingested, max(last_seq) AS highest, max(shed) AS shed
    FROM batches WHERE verdict IN ('accepted', 'lost') GROUP BY ALL
),
known AS (
    SELECT
        coalesce(arrived.device, statuses.device) AS device,
        coalesce(arrived.epoch, statuses.epoch) AS epoch,
        greatest(coalesce(statuses.produced, 0), coalesce(arrived.highest, 0)) AS produced,
        coalesce(arrived.ingested, 0)::BIGINT AS ingested,
        greatest(coalesce(statuses.shed, 0), coalesce(arrived.shed, 0)) AS shed,
        coalesce(statuses.waiting, 0) AS waiting
    FROM arrived
    FULL JOIN statuses ON statuses.device = arrived.device AND statuses.epoch = arrived.epoch
),
books AS (
    SELECT * REPLACE (least(shed, produced - ingested) AS shed),
        row_number() OVER (PARTITION BY device ORDER BY epoch DESC) = 1 AS newest
    FROM known
),
bad AS (  -- of a rejected batch the epoch is not known: it is put down to the newest
    SELECT device, true AS newest, count(*) AS quarantined FROM held GROUP BY device
)
SELECT
    device, coalesce(epoch, 0)::INTEGER AS epoch,
    coalesce(produced, 0)::BIGINT AS produced, coalesce(ingested, 0)::BIGINT AS ingested, coalesce(shed, 0)::BIGINT AS shed,
    coalesce(produced - ingested - shed, 0)::BIGINT AS missing,
    coalesce(least(waiting, produced - ingested - shed), 0)::BIGINT AS waiting,
    coalesce(quarantined, 0)::BIGINT AS quarantined
FROM books
FULL JOIN bad USING (device, newest)
ORDER BY device, epoch
