#!/usr/bin/env bash
# freshness.sh: commit -> visible at RATE (1000) one-row transactions a second under the shortest schedule, and what it costs: CPU per
# transaction of each process; then the cost of 100 idle stream tables.
. "$(dirname "$0")/../lib/cluster.sh"
cluster_new fsync=on shared_buffers=512MB max_wal_size=8GB "pg_trickle.min_schedule_seconds=0"
extension_new
q "CREATE TABLE orders (id bigserial PRIMARY KEY, cust int NOT NULL, amount numeric NOT NULL); CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
   INSERT INTO customers SELECT g, 'c' || g FROM generate_series(1, 1000) g; INSERT INTO orders (cust, amount) SELECT 1 + g % 1000, g FROM generate_series(1, 10000) g; ANALYZE"
consumer_start
q "SELECT pgtrickle.create_stream_table('joined', 'SELECT o.id, o.amount, c.name FROM orders o JOIN customers c ON c.id = o.cust', schedule => 'continuous')" > /dev/null 2>&1
q "SELECT pgtrickle.create_stream_table('per_customer', 'SELECT cust, count(*) AS n, sum(amount) AS total FROM orders GROUP BY cust', schedule => 'continuous')" > /dev/null 2>&1
q "CREATE INDEX ON joined (id)"
echo '\set c random(1, 1000)
INSERT INTO orders (cust, amount) VALUES (:c, 5)' > "$PGT_DIR/insert.sql"
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/bench/freshness.py" "$PGT_BIN/pgbench" "$PGT_DIR/insert.sql" "${RATE:-1000}" "${BENCH_SECONDS:-20}" \
	"${CONSUMERS[-1]}" >> "${PGT_BENCH_OUT:-/dev/stdout}" || fail "the benchmark ran"
assert_st_equal joined
assert_st_equal per_customer
done_testing
