-- Whether labels meet an event: one row a source. `newest` has them (source, device, ts); $month is that of a day before the earliest.
-- One that is later than all that its device sent may meet its event yet: it `waits`. The others meet one, are of a device that is
-- `unknown`, as it never sent an event, or of a time at which its device has none. Of up to 200 of those: `nearest` is how many
-- seconds away its nearest event is, in the median, and `shifted` how many would meet one if all were `shift` seconds later; of
-- several such shifts within a day it is the one for most of them, then the smallest.
WITH recent AS (
    SELECT device, ts FROM events WHERE month >= $month
),
heard AS (
    SELECT device, max(ts) AS until FROM recent GROUP BY device
),
senders AS (
    SELECT DISTINCT device, true AS known FROM events
),
placed AS (
    SELECT
        newest.*, met.ts IS NOT NULL AS met, known IS NULL AS unknown, known AND (until IS NULL OR newest.ts > until) AS waits
    FROM newest
    LEFT JOIN senders USING (device)
    LEFT JOIN heard USING (device)
    LEFT JOIN (SELECT DISTINCT device, ts FROM recent SEMI JOIN newest USING (device, ts)) AS met USING (device, ts)
),
astray AS (
    SELECT * FROM placed WHERE NOT (met OR unknown OR waits)
    QUALIFY row_number() OVER (PARTITION BY source ORDER BY hash(device, ts)) <= 200
),
near AS (
    SELECT source, astray.device, astray.ts, epoch(recent.ts - astray.ts) AS away
    FROM astray JOIN recent USING (device)
    WHERE recent.ts BETWEEN astray.ts - INTERVAL 1 DAY AND astray.ts + INTERVAL 1 DAY
),
distances AS (
    SELECT source, median(away) AS nearest
    FROM (SELECT source, min(abs(away)) AS away FROM near GROUP BY source, device, ts)
    GROUP BY source
),
shifts AS (
    SELECT source, away AS shift, count(*) AS shifted FROM near GROUP BY source, away
    QUALIFY row_number() OVER (PARTITION BY source ORDER BY shifted DESC, abs(shift), shift) = 1
)
SELECT
    source, count(*) AS labels, count(*) FILTER (met) AS met, count(*) FILTER (waits) AS waiting, count(*) FILTER (unknown) AS unknown,
    coalesce(any_value(sampled), 0) AS sampled, any_value(nearest) AS nearest, any_value(shift) AS shift, coalesce(any_value(shifted), 0) AS shifted
FROM placed
LEFT JOIN (SELECT source, count(*) AS sampled FROM astray GROUP BY source) USING (source)
LEFT JOIN distances USING (source)
LEFT JOIN shifts USING (source)
GROUP BY source
ORDER BY source
