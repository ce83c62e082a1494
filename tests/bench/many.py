"""many.py STS CONSUMER_PID: the figures of many.sh as Markdown on standard output."""
import statistics
import sys
import time

from _bench import cpu_ms, one, run

STS, CONSUMER = int(sys.argv[1]), int(sys.argv[2])
SOURCES = 50
IDLE = 20
KINDS = (
    "SELECT id, g, v FROM s{a} WHERE v %% 7 = {k}",
    "SELECT g, count(*) AS n, sum(v) AS total FROM s{a} WHERE v > {k} GROUP BY g",
    "SELECT x.id, x.v, y.v AS w FROM s{a} x JOIN s{b} y ON y.id = x.g WHERE x.v > {k}",
    "SELECT n, count(*) AS groups FROM st{up} GROUP BY n",
)


def rss_mb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        rows = dict(line.split(":")[0:2] for line in f if ":" in line and "kB" in line)
    return int(rows["Private_Clean"].split()[0]) / 1024 + int(rows["Private_Dirty"].split()[0]) / 1024


def backends():
    return {name.replace("trickle-consumer ", ""): pid for name, pid in run(
        "SELECT DISTINCT ON (application_name) application_name, pid FROM pg_stat_activity WHERE application_name LIKE 'trickle-consumer%%' ORDER BY 1, 2".replace("%%", "%"))}


def ours():
    pids = [pid for (pid,) in run("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'trickle-consumer%'")]
    return {"consumer": cpu_ms(CONSUMER), "servers": sum(cpu_ms(p) for p in pids)}


def query(i):
    kind = i % 4
    up = i - 2                                  # the group aggregate made two before
    return KINDS[kind].format(a=i % SOURCES, b=(i * 7 + 1) % SOURCES, k=i % 5, up=up).replace("%%", "%")


def create():
    for i in range(SOURCES):
        run("CREATE TABLE s%d (id int PRIMARY KEY, g int NOT NULL, v int NOT NULL)" % i)
        run("INSERT INTO s%d SELECT x, x %% 100 + 1, x %% 50 FROM generate_series(1, 1000) x" % i)
    run("SET client_min_messages = warning")
    run("ANALYZE")
    times = []
    for i in range(STS):
        t0 = time.perf_counter()
        run("SELECT pgtrickle.create_stream_table('st%d', %%s, schedule => '1s')" % i, query(i))
        times.append((time.perf_counter() - t0) * 1000)
    return times


def settled():
    """Everybody has consumed everything: no refresh for two seconds."""
    seen, since = None, time.time()
    while time.time() - since < 2:
        now = one("SELECT count(*) FROM pgtrickle.pgt_refresh_history")
        if now != seen:
            seen, since = now, time.time()
        time.sleep(0.1)


def change(sources):
    """Seconds until every reader of these sources has been refreshed."""
    run("BEGIN")
    for s in sources:
        run("UPDATE s%d SET v = v + 1 WHERE id = 500" % s)
    run("COMMIT")
    stamp = one("SELECT clock_timestamp()")
    lsn = one("SELECT pg_logical_emit_message(false, 'pgtrickle.barrier', 'sync')")
    run("SELECT pg_current_xact_id()")          # its commit flushes
    t0 = time.perf_counter()
    while run("SELECT (SELECT applied_lsn < %s FROM pgtrickle_changes.progress) OR EXISTS (SELECT FROM pgtrickle._freshness() WHERE waiting)", lsn)[0][0]:
        if time.perf_counter() - t0 > 300:
            sys.exit("changes did not arrive within 300 s")
        time.sleep(0.05)
    done = run("SELECT count(*), extract(epoch FROM max(end_time) - %s)::float8 FROM pgtrickle.pgt_refresh_history WHERE end_time > %s", stamp, stamp)[0]
    return done[0], done[1] or 0.0


def main():
    t0 = time.perf_counter()
    times = create()
    whole = time.perf_counter() - t0
    settled()
    run("VACUUM ANALYZE")
    plan = []
    for _ in range(5):
        t0 = time.perf_counter()
        run("SELECT count(*) FROM pgtrickle._consumer_plan()")
        plan.append((time.perf_counter() - t0) * 1000)
    first, last = statistics.median(times[20:120]), statistics.median(times[-100:])
    change([0])
    settled()
    time.sleep(3)                               # refreshes that only store newer frontiers
    wal, cpu, plans = one("SELECT pg_current_wal_insert_lsn()"), ours(), one("SELECT count(*) FROM pgtrickle.pgt_refresh_history")
    time.sleep(IDLE)
    cpu2 = ours()
    refreshes = one("SELECT count(*) FROM pgtrickle.pgt_refresh_history") - plans
    wal2 = run("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", wal)[0][0]
    few = change([0])
    settled()
    every = change(range(SOURCES))
    settled()
    memory = {"consumer": rss_mb(CONSUMER)}
    for name, pid in sorted(backends().items()):
        memory[name] = rss_mb(pid)
    print("## %d stream tables over %d sources\n" % (STS, SOURCES))
    print("A quarter each of filters, group aggregates, joins of two sources, and stream tables over stream tables; schedule 1 s, 1,000 rows per source, 2 refresh connections.\n")
    print("| | |\n|---|---|")
    print("| creation, all | %.1f s |" % whole)
    print("| creation of one, the first and the last hundred (medians) | %.1f ms, %.1f ms |" % (first, last))
    print("| reading the plan | %.1f ms |" % statistics.median(plan))
    print("| nothing to do, CPU per second | consumer %.1f ms, its server processes %.1f ms |" % (
        (cpu2["consumer"] - cpu["consumer"]) / IDLE, (cpu2["servers"] - cpu["servers"]) / IDLE))
    print("| meanwhile | %d refreshes, %d bytes of WAL |" % (refreshes, wal2))
    print("| a change of one source | %d refreshes, the last ended after %.2f s |" % few)
    print("| a change of all sources | %d refreshes, the last ended after %.2f s |" % every)
    print("| private memory, MB | %s |" % ", ".join("%s %.1f" % m for m in memory.items()))
    print()
    sys.stdout.flush()


main()
