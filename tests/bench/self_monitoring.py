"""self_monitoring.py: the figures of self_monitoring.sh as Markdown on standard output."""
import os
import statistics
import sys
import time

from _bench import run, timed

HISTORY = int(os.environ.get("HISTORY", "10000"))
STS = int(os.environ.get("STS", "50"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
READS = 20
CHANGES = (1, 100, 10000)
DF1 = "pgtrickle.df_efficiency_rolling"


def read_time(sql, repeat):
    """Milliseconds of one read: as a client sees it (many in one message: waking up the processes is not the question), and planning
    and execution in the server."""
    t0 = time.perf_counter()
    n = len(run("; ".join([sql] * repeat)))
    client = (time.perf_counter() - t0) * 1000 / repeat
    if n < STS:
        sys.exit("%s gave %d rows" % (sql, n))
    plan = run("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + sql)[0][0][0]
    return client, plan["Planning Time"] + plan["Execution Time"]


def add_history(n):
    """Refreshes of the last half hour, spread over the stream tables; one in eight FULL, durations of 1 to 40 ms."""
    run("""INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, rows_inserted,
               delta_row_count, source_row_count)
           SELECT ids[1 + g %% array_length(ids, 1)], t, t, t + (1 + g * 7 %% 40) * interval '1 ms',
                  CASE WHEN g %% 8 = 0 THEN 'FULL' ELSE 'DIFFERENTIAL' END, 'COMPLETED', 'SCHEDULER', g %% 100, g %% 100, 10000
             FROM (SELECT array_agg(pgt_id ORDER BY pgt_id) AS ids FROM pgtrickle.pgt_definitions WHERE pgt_name LIKE 'st%%') i,
                  generate_series(1, %s) g, LATERAL (SELECT now() - interval '1 second' - g * interval '30 minutes' / %s AS t) x""", n, n)


def refresh():
    before = run("SELECT coalesce(max(refresh_id), 0) FROM pgtrickle.pgt_refresh_history")[0][0]
    run("SELECT pgtrickle.refresh_stream_table(%s)", DF1)
    ms, action = run("SELECT extract(epoch FROM end_time - start_time) * 1000, action FROM pgtrickle.pgt_refresh_history "
                     "WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_definitions WHERE pgt_relid = %s::regclass) AND refresh_id > %s", DF1, before)[0]
    if action != "DIFFERENTIAL":
        sys.exit("DF-1 was refreshed by %s" % action)
    return float(ms)


def main():
    run("CREATE TABLE t (id int PRIMARY KEY, v int)")
    for i in range(STS):
        run("SELECT pgtrickle.create_stream_table(%s, %s, schedule => '1d')", "st%d" % i, "SELECT v, count(*) AS n FROM t WHERE v > %d GROUP BY v" % i)
    add_history(HISTORY)
    run("SELECT pgtrickle.setup_self_monitoring()")
    run("SELECT pgtrickle.refresh_stream_table(%s)", DF1)
    run("VACUUM ANALYZE pgtrickle.pgt_refresh_history")
    run("ANALYZE " + DF1)
    add_history(10)
    refresh()
    sql = {"function": "SELECT * FROM pgtrickle.refresh_efficiency()", "table": "SELECT * FROM " + DF1}
    reads = {name: [] for name in sql}
    for r in range(READS + 2):
        for name in sql:
            pair = read_time(sql[name], 50 if name == "table" else 5)
            if r >= 2:
                reads[name].append(pair)
    client = {name: statistics.median(p[0] for p in reads[name]) for name in sql}
    server = {name: statistics.median(p[1] for p in reads[name]) for name in sql}
    print("## Self-monitoring: a table that is maintained against a function that scans\n")
    print("%s rows of history of %d stream tables; `SELECT * FROM`, medians of %d.\n" % (format(HISTORY, ","), STS, READS))
    print("| | `refresh_efficiency()`, ms | `df_efficiency_rolling`, ms | ratio |\n|---|---|---|---|")
    for name, ms in (("planning and execution", server), ("with sending and receiving the rows", client)):
        print("| %s | %.2f | %.3f | **%.0f ×** |" % (name, ms["function"], ms["table"], ms["function"] / ms["table"]))
    print()
    query = run("SELECT defining_query FROM pgtrickle.pgt_definitions WHERE pgt_relid = %s::regclass", DF1)[0][0].rstrip("; ")
    print("| new history rows | refresh of DF-1, ms | its query from scratch, ms | ratio |\n|---|---|---|---|")
    for k in CHANGES:
        ours, scratch = [], []
        for r in range(ROUNDS + 1):
            add_history(k)
            ms = refresh()
            whole = timed(query)
            if r > 0:
                ours.append(ms)
                scratch.append(whole)
        a, b = statistics.median(ours), statistics.median(scratch)
        print("| %s | %.2f | %.2f | %.2f |" % (format(k, ","), a, b, a / b))
    sys.stdout.flush()


main()
