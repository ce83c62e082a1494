"""ops6.py: the paired runs of ops6.sh."""
import os
import statistics
import sys
import threading
import time

import psycopg2

PAIRS = int(os.environ.get("OPS6_PAIRS", "5"))
LENGTH = float(os.environ.get("OPS6_SECONDS", "20"))
STS = 4
DF5 = "pgtrickle.df_scheduling_interference"
out = os.fdopen(int(os.environ["SOAK_FD"]), "w") if os.environ.get("SOAK_FD") else sys.stdout
stop = threading.Event()


def connect():
    conn = psycopg2.connect("")
    conn.autocommit = True
    return conn


def rows(cur, sql, args=None):
    cur.execute(sql, args)
    return cur.fetchall() if cur.description else None


def write():
    """Something for every stream table to do, all the time."""
    cur = connect().cursor()
    while not stop.wait(0.05):
        for i in range(STS):
            cur.execute("UPDATE r%d SET v = v + 1" % i)


def build(cur):
    # Recomputed whatever changes, and long enough to meet others.
    for i in range(STS):
        rows(cur, "CREATE TABLE r%d (id int PRIMARY KEY, v int)" % i)
        rows(cur, "INSERT INTO r%d VALUES (1, 0)" % i)
        rows(cur, "SELECT pgtrickle.create_stream_table(%s, %s, schedule => '1s', refresh_mode => 'FULL')", (
            "heavy%d" % i, "SELECT r.id, r.v, (SELECT sum(x) FROM generate_series(1, 400000) x) AS n FROM r%d r" % i))
    rows(cur, "SELECT pgtrickle.setup_self_monitoring()")
    for name in ("df_efficiency_rolling", "df_anomaly_signals", "df_threshold_advice", "df_cdc_buffer_trends"):
        rows(cur, "SELECT pgtrickle.suspend_stream_table(%s)", ("pgtrickle." + name,))
    rows(cur, "SELECT pgtrickle.alter_stream_table(%s, schedule => '2s')", (DF5,))


def one_run(cur, setting):
    rows(cur, "ALTER SYSTEM SET pg_trickle.enabled = off")
    rows(cur, "ALTER SYSTEM SET pg_trickle.self_monitoring_widen_dispatch = %s" % setting)
    rows(cur, "SELECT pg_reload_conf()")
    # what runs still ends; then nothing is known of the past
    deadline = time.time() + 10
    while time.time() < deadline:
        last = rows(cur, "SELECT max(refresh_id) FROM pgtrickle.pgt_refresh_history")
        time.sleep(1.5)
        if last == rows(cur, "SELECT max(refresh_id) FROM pgtrickle.pgt_refresh_history"):
            break
    rows(cur, "DELETE FROM pgtrickle.pgt_refresh_history")
    rows(cur, "UPDATE pgtrickle.pgt_state SET needs_reinit = true WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_relid = %s::regclass)", (DF5,))
    rows(cur, "SELECT pgtrickle.refresh_stream_table(%s)", (DF5,))
    left = rows(cur, "SELECT count(*) FROM " + DF5)[0][0]
    if left:
        sys.exit("DF-5 has not forgotten: %d rows" % left)
    rows(cur, "ALTER SYSTEM SET pg_trickle.enabled = on")
    rows(cur, "SELECT pg_reload_conf()")
    time.sleep(LENGTH)
    rows(cur, "SELECT pgtrickle.refresh_stream_table(%s)", (DF5,))
    overlaps = rows(cur, "SELECT coalesce(sum(overlap_count), 0) FROM " + DF5 + " WHERE st_name_a LIKE 'public.%%' AND st_name_b LIKE 'public.%%'")[0][0]
    refreshes, busy = rows(cur, "SELECT count(*), sum(extract(epoch FROM end_time - start_time)) FROM pgtrickle.pgt_refresh_history "
                                "JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_schema = 'public'")[0]
    return int(overlaps), refreshes, float(busy) / LENGTH


def main():
    cur = connect().cursor()
    build(cur)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    results = {"on": [], "off": []}
    for pair in range(PAIRS):
        for setting in ("on", "off") if pair % 2 == 0 else ("off", "on"):
            results[setting].append(one_run(cur, setting))
        on, off = results["on"][-1], results["off"][-1]
        out.write("ops6 pair %d: overlap_count %d with, %d without; refreshes %d, %d; busy %.2f, %.2f\n" % (
            pair + 1, on[0], off[0], on[1], off[1], on[2], off[2]))
        out.flush()
    stop.set()
    writer.join(10)
    on, off = (statistics.median(r[0] for r in results[s]) for s in ("on", "off"))
    busy_on, busy_off = (statistics.median(r[2] for r in results[s]) for s in ("on", "off"))
    out.write("\n| OPS-6, medians of %d | with | without |\n|---|---|---|\n| overlap_count in %g s | %g | %g |\n| refreshes | %g | %g |\n| busy | %.2f | %.2f |\n\n" % (
        PAIRS, LENGTH, on, off, statistics.median(r[1] for r in results["on"]), statistics.median(r[1] for r in results["off"]), busy_on, busy_off))
    out.flush()
    print(("ok - " if off > 0 else "not ok - ") + "without the signal refreshes overlap (%g)" % off)
    print(("ok - " if on < off else "not ok - ") + "with it fewer do (%g)" % on)


main()
