#!/usr/bin/env bash
# A transaction of BIG_ROWS rows (10^6; torture: 10^7) passes with the consumer below 256 MB and the walsender alive.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new shared_buffers=256MB max_wal_size=8GB
extension_new
rows=${BIG_ROWS:-1000000}
q "CREATE TABLE big (id bigint PRIMARY KEY, grp int, v int)"
q "SELECT pgtrickle.create_stream_table('sums', 'SELECT grp, count(*) AS n, sum(v) AS v FROM big GROUP BY grp', schedule => '1h', refresh_mode => 'DIFFERENTIAL')"
consumer_start
sender=$(q "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'trickle'")
q "INSERT INTO big SELECT g, g % 100, g % 7 FROM generate_series(1, $rows) g"
check "applied within ${BIG_DEADLINE:-120} s" caught_up "${BIG_DEADLINE:-120}"
assert_st_equal sums
check_sql "all rows are counted" "SELECT sum(n) FROM sums" "$rows"
q "UPDATE big SET v = v + 1 WHERE id <= $rows / 5"
check "the update is applied" caught_up "${BIG_DEADLINE:-120}"
assert_st_equal sums "equal after the update"
peak=$(sed -nE 's/^VmHWM:\s*([0-9]+) kB/\1/p' "/proc/${CONSUMERS[0]}/status")
echo "# the consumer's largest resident size: $((peak / 1024)) MB"
check "the consumer stayed below 256 MB" test "$peak" -lt $((256 * 1024))
check_sql "the walsender is the same" "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'trickle'" "$sender"
done_testing
