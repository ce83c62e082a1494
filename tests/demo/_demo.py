"""The demo's shop: tables and stream tables (setup), then orders from several clients while freshness is measured (run SECONDS)."""
import json
import random
import select
import sys
import threading
import time

import psycopg2

TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, region text NOT NULL);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int NOT NULL REFERENCES customers,
                     amount numeric(10,2) NOT NULL, status text NOT NULL DEFAULT 'open', placed timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON orders (customer_id);
INSERT INTO customers SELECT g, 'customer ' || g, (ARRAY['north', 'east', 'south', 'west'])[1 + g % 4] FROM generate_series(1, 2000) g;
INSERT INTO orders (customer_id, amount) SELECT 1 + g % 1900, (g % 500) + 0.99 FROM generate_series(1, 50000) g;
"""
# The last but one reads the one before it, and that one reads the first: a chain.
STREAM_TABLES = [
    ("open_orders", "continuous", "SELECT o.id, c.name, c.region, o.amount FROM orders o JOIN customers c ON c.id = o.customer_id "
                                  "WHERE o.status = 'open'"),
    ("open_by_region", "continuous", "SELECT region, count(*) AS orders, sum(amount) AS amount FROM open_orders GROUP BY region"),
    ("big_regions", "continuous", "SELECT region, amount FROM open_by_region WHERE amount > 1000000"),
    ("by_customer", "200ms", "SELECT customer_id, status, count(*) AS orders, sum(amount) AS amount, max(amount) AS largest "
                             "FROM orders GROUP BY customer_id, status"),
    ("no_orders_yet", "1s", "SELECT c.id, c.name FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id IS NULL"),
]

MONITORING = ["df_efficiency_rolling", "df_anomaly_signals", "df_threshold_advice", "df_cdc_buffer_trends", "df_scheduling_interference"]


def connect(name):
    conn = psycopg2.connect("", application_name=name)
    conn.set_session(autocommit=True)
    return conn


def rows(cur, sql, args=None):
    cur.execute(sql, args)
    return cur.fetchall()


def setup():
    cur = connect("setup").cursor()
    cur.execute(TABLES)
    for name, schedule, query in STREAM_TABLES:
        cur.execute("SELECT pgtrickle.create_stream_table(%s, %s, schedule => %s)", (name, query, schedule))
    cur.execute("SELECT pgtrickle.setup_self_monitoring()")
    print("== %d stream tables over customers (2,000) and orders (50,000)" % len(STREAM_TABLES))
    for name, schedule, query in STREAM_TABLES:
        print("   %-15s every %-10s  %s" % (name, schedule, query if len(query) < 92 else query[:89] + "..."))


class Client(threading.Thread):
    """Takes, pays, changes and cancels orders at a steady rate."""

    def __init__(self, until, rate):
        super().__init__(daemon=True)
        self.until, self.rate, self.done, self.rows = until, rate, 0, 0

    def run(self):
        cur = connect("client").cursor()
        due = time.time()
        while due < self.until:
            time.sleep(max(0, due - time.time()))
            due += random.expovariate(self.rate)
            kind, customer = random.random(), random.randint(1, 1990)
            if kind < 0.5:
                cur.execute("INSERT INTO orders (customer_id, amount) SELECT %s, random() * 500 FROM generate_series(1, %s)",
                            (customer, random.randint(1, 5)))
            elif kind < 0.8:
                cur.execute("UPDATE orders SET status = 'paid' WHERE id IN (SELECT id FROM orders WHERE customer_id = %s "
                            "AND status = 'open' ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED)", (customer,))
            elif kind < 0.95:
                cur.execute("UPDATE orders SET amount = amount * 1.01 WHERE customer_id = %s AND status = 'open' AND id %% 7 = 0", (customer,))
            else:
                cur.execute("DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE customer_id = %s AND status = 'paid' "
                            "ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED)", (customer,))
            self.done += 1
            self.rows += cur.rowcount


class Probe(threading.Thread):
    """Commits an order, then looks until the stream table shows it."""

    def __init__(self, until):
        super().__init__(daemon=True)
        self.until, self.times, self.lost = until, [], 0

    def run(self):
        writer, reader = connect("probe").cursor(), connect("probe").cursor()
        reader.execute("PREPARE look (bigint) AS SELECT count(*) FROM open_orders WHERE id = $1")
        while time.time() < self.until:
            (number,) = rows(writer, "INSERT INTO orders (customer_id, amount) VALUES (1999, 1) RETURNING id")[0]
            started = time.perf_counter()
            while rows(reader, "EXECUTE look(%s)", (number,))[0][0] == 0:
                time.sleep(0.001)
                if time.perf_counter() - started > 10:
                    self.lost += 1
                    break
            else:
                self.times.append((time.perf_counter() - started) * 1000)
            time.sleep(random.random() * 0.04)


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


def history(cur):
    return dict((r[0], r[1:]) for r in rows(cur, """
        SELECT d.pgt_name, count(*) FILTER (WHERE action = 'DIFFERENTIAL'), count(*) FILTER (WHERE action IN ('FULL', 'REINITIALIZE')),
               count(*) FILTER (WHERE h.status = 'FAILED'),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM end_time - start_time) * 1000)
                   FILTER (WHERE action = 'DIFFERENTIAL'),
               coalesce(sum(rows_inserted + rows_deleted) FILTER (WHERE action = 'DIFFERENTIAL'), 0)
          FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables d USING (pgt_id) GROUP BY 1"""))


def difference(cur, name):
    """Missing and surplus rows between a stream table and its query, at one snapshot, without refreshing it."""
    ((columns, query),) = rows(cur, """
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), max(defining_query)
          FROM pgtrickle.pgt_stream_tables JOIN pg_attribute ON attrelid = pgt_relid
         WHERE pgt_name = %s AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt\\_%%'""", (name,))
    cur.execute("WITH q AS MATERIALIZED (%s), s AS MATERIALIZED (SELECT %s FROM %s) SELECT (SELECT count(*) FROM s), "
                "(SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) d), (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) d)"
                % (query.rstrip("; \n"), columns, name))
    return cur.fetchone()


def proof(cur, seconds):
    """Every ST against its query once the clients are done; the schedule has `seconds` to get there."""
    deadline = time.time() + seconds
    while True:
        found = {name: difference(cur, name) for name, _, _ in STREAM_TABLES}
        if all(f[1:] == (0, 0) for f in found.values()) or time.time() > deadline:
            return found
        time.sleep(0.05)


def injected_spike(conn):
    """Makes one refresh of by_customer slow: a session keeps a row of it locked for a second and a half.  Returns the alert about it."""
    listener = connect("listener")
    listener.cursor().execute("LISTEN pg_trickle_alert")
    blocker = psycopg2.connect("", application_name="blocker")
    lock = blocker.cursor()
    lock.execute("SELECT 1 FROM by_customer WHERE customer_id = 1999 FOR UPDATE")
    conn.cursor().execute("INSERT INTO orders (customer_id, amount) VALUES (1999, 7)")
    time.sleep(1.5)
    blocker.rollback()
    deadline = time.time() + 20
    while time.time() < deadline:
        select.select([listener], [], [], 0.5)
        listener.poll()
        for note in listener.notifies:
            event = json.loads(note.payload)
            if event["event"] == "self_monitor_anomaly" and event["name"] == "by_customer" and event["state"] == "begin":
                return event
        listener.notifies.clear()
    return None


def monitoring(conn):
    """What self-monitoring has seen of all this; false when it missed the spike, or a table of its own is not ACTIVE."""
    cur = conn.cursor()
    print("== pg_trickle has watched itself: five stream tables over the history of its refreshes")
    ((busy, queue, late, share),) = rows(cur, "SELECT 100 * scheduler_busy_ratio, queue_depth, avg_dispatch_latency_ms, 100 * df_refresh_fraction "
                                              "FROM pgtrickle.scheduler_overhead()")
    print("   Refreshes ran %.0f %% of the time, %d were waiting, on average they began %.1f ms after they were due; self-monitoring took %.1f %% of their time"
          % (busy, queue, late, share))
    # Their schedules are 48 and 96 seconds; nobody wants to wait for that here.
    for name in MONITORING:
        cur.execute("SELECT pgtrickle.alter_stream_table('pgtrickle.' || %s, schedule => '1s')", (name,))
    deadline = time.time() + 20
    while rows(cur, "SELECT least((SELECT count(*) FROM pgtrickle.df_threshold_advice WHERE confidence = 'HIGH'), "
                    "(SELECT count(*) FROM pgtrickle.df_scheduling_interference))")[0][0] == 0 and time.time() < deadline:
        time.sleep(0.1)
    status = rows(cur, "SELECT m.df_name, m.status, m.row_count, s.refresh_mode FROM pgtrickle.self_monitoring_status() m "
                       "JOIN pgtrickle.pgt_stream_tables s ON s.pgt_schema = 'pgtrickle' AND s.pgt_name = m.df_name")
    for r in status:
        print("   %-28s %-8s %4d rows   %s" % r)
    event = injected_spike(conn)
    if event:
        print("== One refresh was made slow; df_anomaly_signals flagged it, and this came on channel pg_trickle_alert:")
        print("   %(anomaly)s %(state)s on %(schema)s.%(name)s: %(last_ms).0f ms, usually %(baseline_ms).1f ms" % event)
        print("   %s" % event["recommendation"])
    else:
        print("== One refresh was made slow, and nobody noticed")
    print("== Advice (df_threshold_advice): when should a refresh recompute instead?")
    for r in rows(cur, "SELECT pgt_name, round(current_threshold::numeric, 3), round(recommended_threshold::numeric, 3), confidence, reason "
                       "FROM pgtrickle.df_threshold_advice WHERE pgt_schema = 'public' ORDER BY pgt_name"):
        print("   %-15s %5s -> %5s  %-6s %s" % r)
    print("== Who reads whom, for a page that renders Mermaid (pgtrickle.explain_dag()):")
    print("\n".join("   " + line for line in rows(cur, "SELECT pgtrickle.explain_dag()")[0][0].splitlines()))
    return event is not None and len(status) == 5 and all(r[1] == "ACTIVE" for r in status)


def run(seconds):
    until = time.time() + seconds
    clients = [Client(until, 50) for _ in range(4)]
    probe = Probe(until)
    print("== %.0f s of orders from %d clients, about 200 transactions a second" % (seconds, len(clients)))
    for t in clients + [probe]:
        t.start()
    cur = connect("demo").cursor()
    during = []
    while time.time() < until - 1:
        time.sleep(min(10, max(0.1, until - time.time() - 1)))
        name = random.choice(STREAM_TABLES)[0]
        ((missing, extra),) = rows(cur, "SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", (name,))
        during.append((missing, extra))
        print("   %3.0f s: %6d transactions, %7d rows changed, freshness p50 %5.1f ms; verified while they write: %s, %d missing, %d extra"
              % (seconds - (until - time.time()), sum(c.done for c in clients), sum(c.rows for c in clients),
                 percentile(probe.times, 0.5), name, missing, extra), flush=True)
    for t in clients + [probe]:
        t.join(30)
    found = proof(cur, 5)
    done, changed = sum(c.done for c in clients), sum(c.rows for c in clients)
    print("== Freshness, commit to visible in open_orders: p50 %.1f ms, p99 %.1f ms, worst %.1f ms (%d probes)"
          % (percentile(probe.times, 0.5), percentile(probe.times, 0.99), max(probe.times or [float("nan")]), len(probe.times)))
    print("== Changes: %.0f transactions/s, %.0f rows/s" % (done / seconds, changed / seconds))
    print("   %-15s %8s %12s %6s %7s %10s %13s   %s" % ("stream table", "rows", "incremental", "full", "failed", "median ms", "rows applied", "against its query"))
    past = history(cur)
    for name, _, _ in STREAM_TABLES:
        inc, full, failed, median, applied = past.get(name, (0, 0, 0, None, 0))
        count, missing, extra = found[name]
        print("   %-15s %8d %12d %6d %7d %10s %13d   %s" % (name, count, inc, full, failed, "%.2f" % median if median is not None else "-", applied,
              "equal" if (missing, extra) == (0, 0) else "DIFFERS: %d missing, %d extra" % (missing, extra)))
    print("== The last refreshes")
    for r in rows(cur, "SELECT to_char(start_time, 'HH24:MI:SS.MS'), stream_table, action, rows_inserted, rows_deleted, round(duration_ms::numeric, 2) "
                       "FROM pgtrickle.refresh_timeline(5)"):
        print("   %s  %-24s %-13s +%-5d -%-5d %s ms" % r)
    watched = monitoring(connect("demo"))
    good = watched and all(f[1:] == (0, 0) for f in found.values()) and all(d == (0, 0) for d in during) and probe.times and not probe.lost
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(setup() if sys.argv[1] == "setup" else run(float(sys.argv[2])))
