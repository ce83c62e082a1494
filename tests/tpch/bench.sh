#!/usr/bin/env bash
# bench.sh: each TPC-H query's refresh against its recomputation at scale factor SF (1): batches of 0.1 % and single rows, medians of
# ROUNDS (3); Markdown to TPCH_OUT.  See run.py.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/_setup.sh"
tpch_setup
SF=${SF:-1} tpch_run bench
done_testing
