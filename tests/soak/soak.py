"""soak.py: the load, the samples and the verdicts of soak.sh."""
import os
import random
import re
import statistics
import sys
import threading
import time

import psycopg2
import psycopg2.errors

MINUTES = float(os.environ["SOAK_MINUTES"])
STS = int(os.environ.get("SOAK_STS", "50"))
SOURCES = int(os.environ.get("SOAK_SOURCES", "10"))
RATE = float(os.environ.get("SOAK_RATE", "1000"))           # inserted rows a minute, over all sources
SCHEDULE = os.environ.get("SOAK_SCHEDULE", "5s 10s 20s 48s").split()    # 16,000 refreshes an hour with 50
HISTORY = int(os.environ.get("SOAK_HISTORY", "10000"))      # refreshes of the last hour that are there when it begins
WARM = float(os.environ.get("SOAK_WARM", "60"))              # seconds of haste first: every connection has then met every stream table
TABLE_ROWS = 2000                                           # a source is kept at about this size
SAMPLE_SECONDS = 5
TICK = 0.1
DF = ["df_efficiency_rolling", "df_anomaly_signals", "df_threshold_advice", "df_cdc_buffer_trends", "df_scheduling_interference"]
DF1_LIMIT_MS = 1000
# Self-monitoring may take a hundredth of the time: of one core's always (CPU time: the machine may be busy with something else), of the scheduler's busy time where there is enough of it to compare
# with.  A refresh after a few hundred changes takes a millisecond; figures over thousands of such refreshes cannot cost less than ten of them.
DF_FRACTION = 0.01
BUSY_ENOUGH = 0.3
SLOPE_LIMIT = 1.0                                           # percent in ten minutes
SLOPE_MINUTES = 10                                          # a shorter run has no slope worth the name

KINDS = [
    "SELECT k, count(*) AS n, sum(v) AS total, avg(v) AS mean FROM {a} GROUP BY k",
    "SELECT id, k, v, note FROM {a} WHERE v % 3 = 0",
    "SELECT d.region, count(*) AS n, sum(a.v) AS total FROM {a} a JOIN dim d ON d.k = a.k GROUP BY d.region",
    "SELECT k, min(v) AS low, max(v) AS high FROM {a} GROUP BY k",
    "SELECT DISTINCT k, v % 10 AS digit FROM {a}",
    "SELECT a.k, count(*) AS n, sum(b.v) AS total FROM {a} a JOIN {b} b ON b.id = a.id GROUP BY a.k",
    "SELECT id, k, v FROM {a} ORDER BY v DESC, id LIMIT 20",
    "SELECT n, count(*) AS groups FROM {st} GROUP BY n",
    "SELECT d.k, d.region, count(a.id) AS n, sum(a.v) AS total FROM dim d LEFT JOIN {a} a ON a.k = d.k GROUP BY d.k, d.region",
    "SELECT k, count(*) AS recent FROM {a} WHERE at > now() - interval '1 minute' GROUP BY k",
]

out = os.fdopen(int(os.environ["SOAK_FD"]), "w") if os.environ.get("SOAK_FD") else sys.stdout


def say(line):
    out.write(line + "\n")
    out.flush()


def connect(name, user=None):
    conn = psycopg2.connect("", application_name=name, **({"user": user} if user else {}))
    conn.autocommit = True
    return conn


def rows(cur, sql, args=None):
    cur.execute(sql, args)
    return cur.fetchall()


def value(cur, sql, args=None):
    return rows(cur, sql, args)[0][0]


# ---------------------------------------------------------------- verdicts

failed = 0


def verdict(name, good, detail=""):
    global failed
    if not good:
        failed += 1
        if detail:
            print("# " + str(detail)[:2000])
    print(("ok - " if good else "not ok - ") + name)
    return good


# ---------------------------------------------------------------- the database

def build(cur):
    cur.execute("CREATE TABLE dim (k int PRIMARY KEY, region text NOT NULL)")
    cur.execute("INSERT INTO dim SELECT g, (ARRAY['north', 'east', 'south', 'west'])[1 + g % 4] FROM generate_series(0, 49) g")
    for i in range(SOURCES):
        cur.execute("CREATE TABLE src%d (id bigint PRIMARY KEY, k int NOT NULL, v int NOT NULL, note text, at timestamptz NOT NULL DEFAULT now())" % i)
        cur.execute("CREATE INDEX ON src%d (k)" % i)
        cur.execute("INSERT INTO src%d SELECT g, g %% 50, g * 7 %% 1000, 'note ' || g, now() - interval '1 day' FROM generate_series(1, %d) g" % (i, TABLE_ROWS))
        cur.execute("ANALYZE src%d" % i)
    for i in range(STS):
        query = KINDS[i % len(KINDS)].format(a="src%d" % (i * 3 % SOURCES),
                                             b="src%d" % ((i * 3 + 1) % SOURCES), st="st%d" % (i - i % len(KINDS)))
        cur.execute("SELECT pgtrickle.create_stream_table(%s, %s, schedule => %s)", ("st%d" % i, query, "1s"))


# History that has expired: 95 days back, of a stream table that is not there any more, so that nobody's figures change.
EXPIRED = ("INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by) "
           "SELECT 1000000, t, t, t + interval '3 ms', 'DIFFERENTIAL', 'COMPLETED', 'SCHEDULER' "
           "FROM (SELECT now() - interval '95 days' + g * interval '1 ms' AS t FROM generate_series(1, %s) g) x")


# The hour before, so that a short run sees the windows of a long one.
PAST = ("INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, status, initiated_by, rows_inserted, "
        "delta_row_count, source_row_count) "
        "SELECT ids[1 + g %% array_length(ids, 1)], t, t, t + (1 + g * 7 %% 40) * interval '100 us', CASE WHEN g %% 100 = 0 THEN 'FULL' ELSE 'DIFFERENTIAL' END, "
        "'COMPLETED', 'SCHEDULER', g %% 100, g %% 100, 2000 "
        "FROM (SELECT array_agg(pgt_id ORDER BY pgt_id) AS ids FROM pgtrickle.pgt_definitions) i, generate_series(1, %s) g, "
        "LATERAL (SELECT now() - interval '59 minutes' + g * interval '58 minutes' / %s AS t) x")


class Actor(threading.Thread):
    """A session that works until told to stop; a lock wait timeout is counted, any other error ends it and is told."""

    def __init__(self, name, until, user=None):
        super().__init__(name=name, daemon=True)
        self.until, self.user = until, user
        self.done, self.timeouts, self.error = 0, 0, None

    def run(self):
        try:
            conn = connect(self.name, self.user)
            self.cur = conn.cursor()
            self.cur.execute("SET lock_timeout = '1s'")
            due = time.time()
            while time.time() < self.until and self.error is None:
                try:
                    self.step()
                except psycopg2.errors.LockNotAvailable:
                    self.timeouts += 1
                due += self.pause
                time.sleep(max(0.0, due - time.time()))
                due = max(due, time.time() - 1)
            conn.close()
        except psycopg2.Error as e:
            self.error = e


class Writer(Actor):
    """Inserts at RATE over all sources; every second tick updates as many rows, and what makes a source too large is deleted."""
    pause = TICK

    def __init__(self, until, next_id=None):
        super().__init__("soak writer", until)
        self.began = time.time()
        self.next_id = next_id or [TABLE_ROWS + 1] * SOURCES
        self.turn = 0

    def step(self):
        want = int((time.time() - self.began) * RATE / 60) - self.done
        while want > 0:
            i, n = self.turn % SOURCES, min(want, 200)
            first = self.next_id[i]
            self.cur.execute("INSERT INTO src%d (id, k, v, note) SELECT g, g %% 50, (random() * 1000)::int, 'note ' || g FROM generate_series(%d, %d) g"
                             % (i, first, first + n - 1))
            self.next_id[i] += n
            low = self.next_id[i] - TABLE_ROWS
            if self.turn % 2:
                self.cur.execute("UPDATE src%d SET v = v + 1, k = (k + 1) %% 50 WHERE id BETWEEN %d AND %d" % (i, low + 500, low + 500 + n - 1))
            self.cur.execute("DELETE FROM src%d WHERE id < %d" % (i, low))
            self.turn += 1
            self.done += n
            want -= n


class Ager(Actor):
    """Expired history keeps coming."""
    pause = 2.0

    def step(self):
        self.cur.execute(EXPIRED, (200,))
        self.done += 200


class Purger(Actor):
    """What the consumer does when history has expired, without waiting for its hour."""
    pause = 0.05

    def step(self):
        self.done += value(self.cur, "SELECT pgtrickle._history_purge()")


# ---------------------------------------------------------------- samples

def memory_kb(pid, what):
    """Rss, or Pss_Anon: what belongs to a backend alone, for shared buffers are not its own.  In kB."""
    try:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            return int(re.search(r"^%s: +(\d+)" % what, f.read(), re.M).group(1))
    except (OSError, AttributeError):
        return None


def cpu_seconds(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None


def slope_percent(samples):
    """Least squares through medians of equal slices: percent of the mean in ten minutes."""
    t = [s[0] for s in samples]
    if len(samples) < 12 or t[-1] - t[0] < 60:
        return None
    slices = min(12, len(samples) // 4)
    points = []
    for i in range(slices):
        part = samples[i * len(samples) // slices:(i + 1) * len(samples) // slices]
        points.append((statistics.mean(s[0] for s in part), statistics.median(s[1] for s in part)))
    mt, mv = statistics.mean(p[0] for p in points), statistics.mean(p[1] for p in points)
    return 100 * 600 / mv * sum((p[0] - mt) * (p[1] - mv) for p in points) / sum((p[0] - mt) ** 2 for p in points)


class Sampler:
    """Every few seconds: who has how much memory, and what the refreshing connections have computed."""

    def __init__(self, cur):
        self.cur = cur
        self.consumer, self.backends, self.each, self.cpu = [], [], {}, {}
        self.file = open(os.environ.get("SOAK_SAMPLES") or os.environ["SOAK_SCRATCH"] + "/samples.csv", "w")
        self.worst_lag = 0

    def refresh_cpu(self):
        return sum(last - first for first, last in self.cpu.values())

    def take(self, t):
        pids = rows(self.cur, "SELECT pid, application_name FROM pg_stat_activity WHERE usename = 'trickle' AND application_name NOT LIKE 'soak%'")
        own = memory_kb(int(os.environ["SOAK_CONSUMER"]), "Rss")
        sizes = [(name, pid, memory_kb(pid, "Pss_Anon")) for pid, name in pids]
        sizes = [s for s in sizes if s[2]]
        if own:
            self.consumer.append((t, own))
        if sizes:
            self.backends.append((t, sum(s[2] for s in sizes)))
        for pid, name in pids:
            cpu = cpu_seconds(pid) if name == "trickle-consumer refresh" else None
            if cpu is not None:
                self.cpu[pid] = (self.cpu.get(pid, (cpu, 0))[0], cpu)
        for name, pid, kb in sizes:
            self.each.setdefault((name, pid), []).append((t, kb))
        self.worst_lag = max(self.worst_lag, float(value(self.cur, "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0)"
                                                             " FROM pg_replication_slots")) / 1e6)
        self.file.write("%.1f,%s,%s,%s\n" % (t, own, sum(s[2] for s in sizes), " ".join("%s:%d:%d" % (n.replace(" ", "_"), p, k) for n, p, k in sizes)))
        self.file.flush()


# ---------------------------------------------------------------- the run

def minute_line(cur, minute, began, actors, sampler):
    writer, purger = actors[0], actors[2]
    total, bad, busy, df_busy, df1 = rows(cur, """
        SELECT count(*), count(*) FILTER (WHERE h.status <> 'COMPLETED'), coalesce(sum(ms), 0), coalesce(sum(ms) FILTER (WHERE name = ANY (%s)), 0),
               max(ms) FILTER (WHERE name = %s)
          FROM (SELECT h.*, extract(epoch FROM end_time - start_time) * 1000 AS ms, d.pgt_name AS name
                  FROM pgtrickle.pgt_refresh_history h LEFT JOIN pgtrickle.pgt_definitions d USING (pgt_id)
                 WHERE start_time > clock_timestamp() - interval '1 minute') h""", (DF, DF[0]))[0]
    say("soak %3d min: %d rows (%.0f/min), %d refreshes, %d failed, busy %.1f %%, df %.2f %% of it, DF-1 %s ms, consumer %.1f MB, backends %.1f MB, purged %d, load %s" % (
        minute, writer.done, writer.done * 60 / (time.time() - began), total, bad, float(busy) / 600,
        100 * float(df_busy) / float(busy) if busy else 0, "%.0f" % df1 if df1 is not None else "-", sampler.consumer[-1][1] / 1024,
        sampler.backends[-1][1] / 1024, purger.done, open("/proc/loadavg").read().split()[0]))


def warm(cur, monitored):
    """Everything often, so that caches fill and plans are made; then the schedules of the run.  Returns where the writer got to."""
    df = rows(cur, "SELECT format('%%I.%%I', pgt_schema, pgt_name), schedule FROM pgtrickle.pgt_definitions WHERE pgt_name = ANY (%s)", (DF,)) if monitored else []
    for name, _ in df:
        cur.execute("SELECT pgtrickle.alter_stream_table(%s, schedule => '5s')", (name,))
    writer = Writer(time.time() + WARM)
    writer.start()
    writer.join()
    verdict("the writer was never in trouble while things warmed up", writer.error is None, writer.error)
    for name, schedule in df + [("st%d" % i, SCHEDULE[i % len(SCHEDULE)]) for i in range(STS)]:
        cur.execute("SELECT pgtrickle.alter_stream_table(%s, schedule => %s)", (name, schedule))
    return writer.next_id


def run(cur, next_id):
    began = time.time()
    until = began + MINUTES * 60
    actors = [Writer(until, next_id), Ager("soak ager", until), Purger("soak purger", until, "trickle")]
    sampler = Sampler(connect("soak sampler").cursor())
    for a in actors:
        a.start()
    next_sample, minute = began, 1
    while time.time() < until:
        next_sample += SAMPLE_SECONDS
        time.sleep(max(0.0, min(next_sample, until) - time.time()))
        sampler.take(time.time() - began)
        if time.time() >= began + 60 * minute:
            minute_line(cur, minute, began, actors, sampler)
            minute += 1
    for a in actors:
        a.join(60)
    return began, actors, sampler


def judge_memory(sampler):
    warm = min(600, MINUTES * 60 * 0.2)
    figures = {}
    # Connections come and go with the load; what matters is that one that lives does not grow.
    lasting = {k: v for k, v in sampler.each.items() if v[-1][0] - v[0][0] > MINUTES * 60 * 0.6}
    per_time = {}
    for v in lasting.values():
        for t, kb in v:
            per_time.setdefault(t, []).append(kb)
    backends = sorted((t, sum(k)) for t, k in per_time.items() if len(k) == len(lasting))
    for name, samples in (("consumer", sampler.consumer), ("backends", backends)):
        late = [s for s in samples if s[0] >= warm]
        figures[name] = (slope_percent(late), statistics.median(s[1] for s in late) / 1024 if late else 0, len(lasting))
        slope = figures[name][0]
        if MINUTES >= SLOPE_MINUTES:
            verdict("memory of the %s is flat after %d s" % (name, warm), slope is not None and slope <= SLOPE_LIMIT, "slope %s %% in 10 minutes" % slope)
    return figures


def judge_exact(cur):
    """Twice: the product's own comparison, and one that only reads the query's text; the latter cannot know a clock."""
    sts = rows(cur, "SELECT pgt_id, format('%I.%I', pgt_schema, pgt_name), pgt_relid, rtrim(defining_query, '; '), defining_query ~* '(now|timestamp)', pgt_schema = 'pgtrickle' "
                    "FROM pgtrickle.pgt_definitions ORDER BY pgt_id")
    verified, compared, wrong = 0, 0, []
    for _, name, relid, query, clocked, own in sts:
        missing, extra = rows(cur, "SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", (name,))[0]
        verified += 1
        if missing or extra:
            wrong.append("%s: verify says %s missing, %s extra" % (name, missing, extra))
        if clocked or own:
            continue
        cols = value(cur, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = %s AND attnum > 0 "
                          "AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt\\_%%'", (relid,))
        n = value(cur, "WITH q AS MATERIALIZED (SELECT * FROM (" + query + ") q(" + cols + ")), s AS MATERIALIZED (SELECT " + cols + " FROM " + name + ") "
                  "SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) x) + (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) x)")
        compared += 1
        if n:
            wrong.append("%s differs from its query in %d rows" % (name, n))
    verdict("every one of %d stream tables equals its query at the end (%d of them compared from outside too)" % (verified, compared),
            verified >= STS and compared > STS * 0.7 and not wrong, "; ".join(wrong))


def judge_logs():
    server = open(os.environ["SOAK_SERVER_LOG"], errors="replace").read()
    consumer = open(os.environ["SOAK_CONSUMER_LOG"], errors="replace").read()
    bad = re.findall(r".*(?:PANIC|FATAL|terminated by signal|out of memory|lock timeout|deadlock detected).*", server)
    # a session that waits for a lock longer than deadlock_timeout says so
    waits = re.findall(r".*still waiting for.*", server)
    verdict("no crash, no lock wait timeout and no deadlock in the server's log", not bad, "\n# ".join(bad[:10]))
    verdict("no session waited a second for a lock", not waits, "\n# ".join(waits[:10]))
    complaints = [line for line in consumer.splitlines() if re.search(r"\b(WARNING|ERROR|FATAL)\b", line) and "the slot is new" not in line]
    verdict("the consumer complained of nothing", not complaints, "\n# ".join(complaints[:10]))


def judge_history(cur, began, monitored):
    bad = rows(cur, "SELECT d.pgt_name, h.status, h.action, h.error_message, h.reason FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_definitions d USING (pgt_id) "
                    "WHERE h.status = 'FAILED' AND start_time > to_timestamp(%s) LIMIT 5", (began,))
    verdict("no refresh failed", not bad, bad)
    n, total, df, full = rows(cur, "SELECT count(*), coalesce(sum(ms), 0), coalesce(sum(ms) FILTER (WHERE name = ANY (%s)), 0), "
                                   "count(*) FILTER (WHERE action NOT IN ('DIFFERENTIAL', 'NO_DATA') AND NOT name = ANY (%s)) FROM "
                                   "(SELECT extract(epoch FROM end_time - start_time) * 1000 AS ms, pgt_name AS name, action FROM pgtrickle.pgt_refresh_history h "
                                   "JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE start_time > to_timestamp(%s)) x", (DF, DF, began))[0]
    figures = {"refreshes": n, "busy": float(total), "df_busy": float(df), "full": full, "df": []}
    verdict("stream tables are refreshed all the time", n > MINUTES * STS, "%d refreshes" % n)
    if monitored:
        figures["df"] = rows(cur, "SELECT pgt_name, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), max(ms), string_agg(DISTINCT action, ' '), "
                                  "string_agg(round(ms)::text, ' ' ORDER BY start_time) FROM "
                                  "(SELECT pgt_name, action, start_time, extract(epoch FROM end_time - start_time) * 1000 AS ms FROM pgtrickle.pgt_refresh_history h "
                                  "JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_name = ANY (%s) AND start_time > to_timestamp(%s)) x GROUP BY 1 ORDER BY 1", (DF, began))
        df1 = [r for r in figures["df"] if r[0] == DF[0]]
        verdict("DF-1 was refreshed on its schedule", df1 and df1[0][1] >= int(MINUTES * 60 / 48) - 1, df1)
        verdict("every refresh of DF-1 took less than %d ms" % DF1_LIMIT_MS, df1 and df1[0][3] < DF1_LIMIT_MS, df1)
    return figures


def judge_monitoring(cur, figures, sampler):
    status = rows(cur, "SELECT df_name, status, row_count, note FROM pgtrickle.self_monitoring_status()")
    verdict("all five df_* are ACTIVE", len(status) == 5 and all(s[1] == "ACTIVE" for s in status), status)
    overhead = {"df_refresh_fraction": figures["df_busy"] / figures["busy"]}
    if value(cur, "SELECT to_regproc('pgtrickle.scheduler_overhead') IS NOT NULL"):
        cur.execute("SELECT * FROM pgtrickle.scheduler_overhead()")
        overhead = dict(zip([c[0] for c in cur.description], cur.fetchone()))
    fraction = overhead["df_refresh_fraction"]
    figures["df_core"] = sampler.refresh_cpu() * figures["df_busy"] / figures["busy"] / (MINUTES * 60)
    verdict("df_* take less than %g of the time of one core" % DF_FRACTION, 0 < figures["df_core"] < DF_FRACTION, figures["df_core"])
    if (figures["busy"] - figures["df_busy"]) / (MINUTES * 60000) >= BUSY_ENOUGH:
        verdict("df_* take less than %g of the busy time" % DF_FRACTION, fraction is not None and fraction < DF_FRACTION, overhead)
    else:
        verdict("scheduler_overhead() knows the share of df_*", fraction is not None and 0 < fraction < 1, overhead)
    return overhead


def summary(began, actors, sampler, memory, figures, overhead):
    writer, ager, purger = actors
    elapsed = (writer.until - began) / 60
    table = [
        ("length", "%.1f min after %g s of warming up; %d user stream tables over %d sources, schedules %s" % (elapsed, WARM, STS, SOURCES, " ".join(SCHEDULE))),
        ("inserted rows", "%d, %.0f a minute; half as many updated, as many deleted" % (writer.done, writer.done / elapsed)),
        ("refreshes", "%d (%d of them by comparison), %.2f %% of the time busy" % (figures["refreshes"], figures["full"], figures["busy"] / (elapsed * 600))),
        ("history", "%d rows of the hour before" % HISTORY),
        ("expired history", "%d rows came, %d purged beside the captures" % (ager.done, purger.done)),
        ("lock wait timeouts", str(sum(a.timeouts for a in actors))),
        ("slot behind at most", "%.1f MB" % sampler.worst_lag),
    ]
    for name, (slope, mb, lasting) in memory.items():
        table.append(("memory of the " + name, "%.2f MB%s, %s in 10 minutes" % (mb, " in %d lasting connections" % lasting if name == "backends" else "",
                                                                         "%+.2f %%" % slope if slope is not None else "no slope")))
    for name, n, mid, worst, actions, each in figures["df"]:
        table.append((name, "%d refreshes, median %.1f ms, longest %.1f ms, %s; the last: %s" % (n, mid, worst, actions, " ".join(each.split()[-8:]))))
    if overhead:
        table.append(("df_* of busy time", "%.2f %% (history), %s (scheduler_overhead); %.3f %% of one core (CPU; all refreshes %.2f %%)" % (
            100 * figures["df_busy"] / figures["busy"], overhead["df_refresh_fraction"], 100 * figures["df_core"], 100 * sampler.refresh_cpu() / (elapsed * 60))))
    say("\n| soak | |\n|---|---|")
    for name, text in table:
        say("| %s | %s |" % (name, text))
    say("")


def main():
    conn = connect("soak")
    cur = conn.cursor()
    build(cur)
    cur.execute(EXPIRED, (10000,))
    if HISTORY:
        cur.execute(PAST, (HISTORY, HISTORY))
    monitored = value(cur, "SELECT to_regproc('pgtrickle.setup_self_monitoring') IS NOT NULL") and os.environ.get("SOAK_DF", "1") == "1"
    if monitored:
        cur.execute("SELECT pgtrickle.setup_self_monitoring()")
    began, actors, sampler = run(cur, warm(cur, monitored))
    for a in actors:
        verdict("%s was never in trouble" % a.name, a.error is None and not a.is_alive(), a.error)
    verdict("no lock wait timeout in writers, history and purge", sum(a.timeouts for a in actors) == 0, [(a.name, a.timeouts) for a in actors])
    verdict("at least the rows asked for were written", actors[0].done >= 0.98 * RATE * MINUTES, actors[0].done)
    verdict("history was purged all the while", actors[2].done >= 10000 + 0.9 * actors[1].done - 400, actors[2].done)
    memory = judge_memory(sampler)
    figures = judge_history(cur, began, monitored)
    overhead = judge_monitoring(cur, figures, sampler) if monitored else None
    judge_exact(cur)
    judge_logs()
    summary(began, actors, sampler, memory, figures, overhead)
    sys.exit(min(failed, 100))


main()
