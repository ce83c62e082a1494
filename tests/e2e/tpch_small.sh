#!/usr/bin/env bash
# The 22 TPC-H queries on a tiny scale through one batch; make check-tpch is the long form.
. "$(dirname "$0")/../lib/cluster.sh"
. "$PGT_TOP/tests/tpch/_setup.sh"
TPCH_BUFFERS=128MB tpch_setup
SF=0.002 BATCHES=1 tpch_run check
done_testing
