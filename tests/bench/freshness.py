"""freshness.py PGBENCH SCRIPT RATE SECONDS CONSUMER_PID: the figures of freshness.sh as Markdown on standard output."""
import subprocess
import sys
import time

import psycopg2

pgbench, script, rate, seconds, consumer = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])


def connect():
    conn = psycopg2.connect("")
    conn.autocommit = True
    return conn.cursor()


def cpu_ms(pid):
    try:
        with open("/proc/%d/schedstat" % pid) as f:
            return int(f.read().split()[0]) / 1e6
    except OSError:
        return 0.0


def processes(cur):
    cur.execute("SELECT pid, application_name FROM pg_stat_activity WHERE application_name LIKE 'trickle-consumer%'")
    found = {"consumer": [consumer], "walsender": [], "apply": [], "refresh": []}
    for pid, name in cur.fetchall():
        kind = "walsender" if "stream" in name else "apply" if "apply" in name else "refresh"
        found[kind].append(pid)
    return found


def latencies(until):
    writer, reader, result = connect(), connect(), []
    while time.time() < until:
        writer.execute("INSERT INTO orders (cust, amount) VALUES (1, 1) RETURNING id")
        row = writer.fetchone()[0]
        t0 = time.perf_counter()
        while True:
            reader.execute("SELECT 1 FROM joined WHERE id = %s", (row,))
            if reader.fetchone():
                break
            if time.perf_counter() - t0 > 10:
                sys.exit("a committed row did not become visible within 10 s")
        result.append((time.perf_counter() - t0) * 1000)
        time.sleep(0.02)
    return sorted(result)


def at(values, q):
    return values[min(len(values) - 1, int(len(values) * q))]


def main():
    cur = connect()
    print("## Freshness: commit to visible, continuous schedule\n")
    print("| load | samples | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|")
    quiet = latencies(time.time() + 5)
    print("| none | %d | %.1f | %.1f | %.1f |" % (len(quiet), at(quiet, 0.5), at(quiet, 0.99), quiet[-1]))
    load = subprocess.Popen([pgbench, "-n", "-f", script, "-c", "2", "-R", str(rate), "-T", str(seconds + 3)],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(2)                                # let the rate settle
    before = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes(cur).items()}
    cur.execute("SELECT count(*) FROM orders")
    n0 = cur.fetchone()[0]
    busy = latencies(time.time() + seconds)
    cur.execute("SELECT count(*) FROM orders")
    n = cur.fetchone()[0] - n0
    after = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes(cur).items()}
    load.communicate()
    print("| %d tx/s | %d | %.1f | %.1f | %.1f |" % (n / seconds, len(busy), at(busy, 0.5), at(busy, 0.99), busy[-1]))
    print("\nCPU per captured one-row transaction meanwhile, two stream tables kept fresh: "
          + ", ".join("%s %.0f µs" % (kind, 1000 * (after[kind] - before[kind]) / n) for kind in before) + ".\n")
    idle(cur)


def idle(cur):
    for i in range(100):
        cur.execute("SELECT pgtrickle.create_stream_table('idle%d', 'SELECT cust, max(amount) AS m FROM orders GROUP BY cust', schedule => '1s')" % i)
    time.sleep(5)
    cur.execute("SELECT count(*) FROM pgtrickle.pgt_refresh_history")
    rows = cur.fetchone()[0]
    cur.execute("SELECT pg_current_wal_insert_lsn()")
    lsn = cur.fetchone()[0]
    before = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes(cur).items()}
    time.sleep(10)
    after = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes(cur).items()}
    cur.execute("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", (lsn,))
    wal = cur.fetchone()[0]
    cur.execute("SELECT count(*) FROM pgtrickle.pgt_refresh_history")
    print("100 idle stream tables with a schedule of 1 s, for 10 s: %.2f ms CPU per stream table and schedule (all our processes), "
          "%s bytes of WAL in the whole server, %d history rows." % (sum(after[k] - before[k] for k in before) / 1000, wal,
                                                                     cur.fetchone()[0] - rows))


main()
