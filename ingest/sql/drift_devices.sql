-- The devices of a period, and how many events each sent one by one.
SELECT device, sum(events)::BIGINT AS events
FROM (
    SELECT device, count(*) AS events FROM events
    WHERE month >= $first AND month <= $last AND ts >= $since AND ts < $until
    GROUP BY device
    UNION ALL
    SELECT DISTINCT device, 0 FROM sketches
    WHERE month >= $first AND month <= $last AND hour >= $since AND hour < $until
)
GROUP BY device
ORDER BY device
