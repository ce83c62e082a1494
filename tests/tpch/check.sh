#!/usr/bin/env bash
# check.sh: the 22 TPC-H queries at scale factor SF (0.1) through BATCHES (20) batches of RF1, RF2 and random updates, compared with
# their queries after each.  SEED repeats a run's choices, QUERIES="2 17" picks some.  See run.py.
. "$(dirname "$0")/../lib/cluster.sh"
. "$(dirname "$0")/_setup.sh"
tpch_setup
SF=${SF:-0.1} tpch_run check
done_testing
