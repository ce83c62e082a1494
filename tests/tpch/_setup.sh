# _setup.sh - what the TPC-H scripts share; sourced after cluster.sh.

# A cluster with the extension and a consumer, and the data generator, compiled.
tpch_setup()
{
	cluster_new "shared_buffers=${TPCH_BUFFERS:-1GB}" max_wal_size=16GB checkpoint_timeout=1h work_mem=64MB maintenance_work_mem=256MB jit=off \
		autovacuum=off pg_trickle.barrier_timeout=120s pg_trickle.sync_load_limit=64GB max_parallel_workers_per_gather=0
	extension_new
	consumer_start
	export TPCHGEN=$PGT_DIR/tpchgen
	"${CC:-cc}" -O2 -Wall -Wextra -o "$TPCHGEN" "$PGT_TOP/tests/tpch/tpchgen.c" || { fail "the generator compiles"; exit 1; }
}

# tpch_run check|bench: its lines are this test's, its status counts.
tpch_run()
{
	if PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/tpch/run.py" "$1"; then pass "tpch $1"; else fail "tpch $1"; fi
}
