#!/usr/bin/env bash
# soak.sh: self-monitoring and many stream tables under a steady load for a long time (make soak SOAK_MINUTES=60).
#
# SOAK_STS user stream tables (50) of ten kinds over SOAK_SOURCES tables (10), the five df_*, SOAK_RATE inserted rows a minute (1000) with as
# many updates and deletes, expired history that comes and is purged all the while.  soak.py drives, samples once every few seconds, says a
# line per minute on descriptor SOAK_FD, and judges at the end.  The system under test is never told that it is measured.
. "$(dirname "$0")/../lib/cluster.sh"
minutes=${SOAK_MINUTES:-10}
cluster_new client_min_messages=warning shared_buffers=128MB max_wal_size=2GB checkpoint_timeout=5min log_lock_waits=on deadlock_timeout=1s \
	autovacuum=on "pg_trickle.history_retention_days=30"
extension_new
consumer_start
postmaster=$(head -1 "$CLUSTER_DATA/postmaster.pid")
consumer=${CONSUMERS[-1]}
SOAK_CONSUMER=$consumer SOAK_POSTMASTER=$postmaster SOAK_MINUTES=$minutes SOAK_SERVER_LOG=$CLUSTER_LOG SOAK_CONSUMER_LOG=$PGT_DIR/consumer.log \
	SOAK_SCRATCH=$PGT_DIR PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$PGT_TOP/tests/soak/soak.py"
PGT_FAILED=$?
PGT_PASSED=1
[ $PGT_FAILED = 0 ] || { mkdir -p "$PGT_LOGS/$PGT_TEST"; cp "$PGT_DIR/samples.csv" "$PGT_LOGS/$PGT_TEST/" 2> /dev/null; }
check "the consumer still runs" kill -0 "$consumer"
check_eq "the server was not restarted" "$(head -1 "$CLUSTER_DATA/postmaster.pid")" "$postmaster"
consumer_stop
check_eq "the consumer ends as it should" $? 0
done_testing
