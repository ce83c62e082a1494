"""freshness.py PGBENCH SCRIPT RATE SECONDS CONSUMER_PID: the figures of freshness.sh as Markdown on standard output."""
import subprocess
import sys
import time

from _bench import connect, cpu_ms, one, run

pgbench, script, rate, seconds, consumer = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])


def processes():
    backends = run("SELECT pid, application_name FROM pg_stat_activity WHERE application_name LIKE 'trickle-consumer%'")
    found = {"consumer": [consumer], "walsender": [], "apply": [], "refresh": []}
    for pid, name in backends:
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
    print("## Freshness: commit to visible, continuous schedule\n")
    print("| load | samples | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|")
    quiet = latencies(time.time() + 5)
    print("| none | %d | %.1f | %.1f | %.1f |" % (len(quiet), at(quiet, 0.5), at(quiet, 0.99), quiet[-1]))
    load = subprocess.Popen([pgbench, "-n", "-f", script, "-c", "2", "-R", str(rate), "-T", str(seconds + 3)],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(2)                                # let the rate settle
    before = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes().items()}
    n0 = one("SELECT count(*) FROM orders")
    busy = latencies(time.time() + seconds)
    n = one("SELECT count(*) FROM orders") - n0
    after = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes().items()}
    load.communicate()
    print("| %d tx/s | %d | %.1f | %.1f | %.1f |" % (n / seconds, len(busy), at(busy, 0.5), at(busy, 0.99), busy[-1]))
    print("\nCPU per captured one-row transaction meanwhile, two stream tables kept fresh: "
          + ", ".join("%s %.0f µs" % (kind, 1000 * (after[kind] - before[kind]) / n) for kind in before) + ".\n")
    idle()


def idle():
    for i in range(100):
        run("SELECT pgtrickle.create_stream_table('idle%d', 'SELECT cust, max(amount) AS m FROM orders GROUP BY cust', schedule => '1s')" % i)
    time.sleep(5)
    rows = one("SELECT count(*) FROM pgtrickle.pgt_refresh_history")
    lsn = one("SELECT pg_current_wal_insert_lsn()")
    before = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes().items()}
    time.sleep(10)
    after = {kind: sum(cpu_ms(p) for p in pids) for kind, pids in processes().items()}
    wal = one("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", lsn)
    print("100 idle stream tables with a schedule of 1 s, for 10 s: %.2f ms CPU per stream table and schedule (all our processes), "
          "%s bytes of WAL in the whole server, %d history rows." % (sum(after[k] - before[k] for k in before) / 1000, wal,
                                                                     one("SELECT count(*) FROM pgtrickle.pgt_refresh_history") - rows))


main()
