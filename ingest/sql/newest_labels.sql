-- The labels that each source gave last: within a day of its newest.
WITH last AS (
    SELECT source, max(ingested_at) - INTERVAL 1 DAY AS since FROM labels GROUP BY source
)
SELECT DISTINCT source, device, ts FROM labels JOIN last USING (source) WHERE ingested_at > since
