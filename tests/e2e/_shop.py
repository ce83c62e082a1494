"""The shop: a workload that does to tables what real writers do, and stream tables of many shapes over it.

Used by fire.sh (exactness while writers write) and kill.sh (nothing lost when processes die).

  _shop.py setup            tables and stream tables; schedules from SHOP_SCHEDULE (continuous)
  _shop.py fire SECONDS     writers, refreshers and verifiers at once; prints ok / not ok lines
  _shop.py write SECONDS    writers only, surviving lost connections; paused while the file SHOP_PAUSE exists
  _shop.py oracle           every ST against its meaning over the base tables, writers quiet

The oracle of `oracle` is independent of the product: TRUTH spells each ST over base tables only, also where the ST reads other
STs.  Environment: PGHOST and so on, SHOP_WRITERS (8), SHOP_LONG (seconds of the long transactions, 3), SHOP_TRUNCATE (1),
SHOP_SEED, FIRE_EXPECT=difference (a broken build: a difference must be found).
"""
import os
import random
import sys
import threading
import time

import psycopg2
import psycopg2.extensions

HERE = os.path.dirname(os.path.abspath(__file__))
WRITERS = int(os.environ.get("SHOP_WRITERS", "8"))
LONG = float(os.environ.get("SHOP_LONG", "3"))
TRUNCATE = os.environ.get("SHOP_TRUNCATE", "1") == "1"
SCHEDULE = os.environ.get("SHOP_SCHEDULE", "continuous")
PAUSE = os.environ.get("SHOP_PAUSE", "")
SEED = int(os.environ.get("SHOP_SEED") or random.SystemRandom().randrange(1 << 30))
BROKEN = os.environ.get("FIRE_EXPECT", "") == "difference"

# name, query, the same over base tables (None: the query itself)
FILTER = "SELECT id, customer_id, amount FROM orders WHERE amount > 50 AND status <> 'void'"
LINES = ("SELECT o.id, o.customer_id, sum(i.qty * i.price) AS total, count(*) AS n "
         "FROM orders o JOIN items i ON i.order_id = o.id GROUP BY o.id, o.customer_id")
D_LEFT = "SELECT customer_id, count(*) AS n, sum(amount) AS amount FROM {filter} f GROUP BY customer_id"
D_RIGHT = "SELECT DISTINCT customer_id FROM {filter} f WHERE amount > 120"
DIAMOND = "SELECT l.customer_id, l.n, l.amount FROM {d_left} l JOIN {d_right} r ON r.customer_id = l.customer_id"
SUMMARY = "SELECT customer_id, count(*) AS orders, sum(total) AS total, max(n) AS most FROM {lines} l GROUP BY customer_id"


def base(text):
    """The text with the names of stream tables replaced by what they mean over base tables."""
    left = D_LEFT.format(filter="(%s)" % FILTER)
    right = D_RIGHT.format(filter="(%s)" % FILTER)
    return text.format(filter="(%s)" % FILTER, lines="(%s)" % LINES, d_left="(%s)" % left, d_right="(%s)" % right)


def over_sts(text):
    return text.format(filter="st_filter", lines="st_lines", d_left="st_d_left", d_right="st_d_right")


STREAM_TABLES = [
    ("st_filter", FILTER),
    ("st_join", "SELECT o.id, c.name, c.region, o.amount, o.status FROM orders o JOIN customers c ON c.id = o.customer_id"),
    ("st_left", "SELECT c.id, c.name, o.id AS order_id, o.amount FROM customers c "
                "LEFT JOIN orders o ON o.customer_id = c.id AND o.status = 'open'"),
    ("st_group", "SELECT c.region, count(*) AS n, sum(o.amount) AS total, avg(o.amount) AS mean, min(o.amount) AS low, "
                 "max(o.amount) AS high FROM orders o JOIN customers c ON c.id = o.customer_id "
                 "GROUP BY c.region HAVING count(*) > 3"),
    ("st_distinct", "SELECT DISTINCT status, customer_id FROM orders"),
    ("st_union", "SELECT id, amount FROM orders WHERE status = 'open' UNION ALL SELECT order_id, price FROM items WHERE qty > 2"),
    ("st_three", "SELECT c.region, i.product, sum(i.qty) AS qty FROM customers c JOIN orders o ON o.customer_id = c.id "
                 "JOIN items i ON i.order_id = o.id GROUP BY c.region, i.product"),
    ("st_bag", "SELECT b.k, b.v, p.qty FROM bag b LEFT JOIN items p ON p.product = b.k AND p.qty > 3"),
    ("st_reach", "WITH RECURSIVE reach AS (SELECT k, v FROM bag UNION SELECT r.k, b.v FROM reach r JOIN bag b ON b.k = r.v) "
                 "SELECT r.k, count(*) AS n, max(p.qty) AS most FROM reach r LEFT JOIN items p ON p.product = r.v GROUP BY r.k"),
    ("st_lines", LINES),                       # chain: st_summary reads it
    ("st_summary", SUMMARY),
    ("st_d_left", D_LEFT),                     # diamond: both read st_filter, st_diamond reads both
    ("st_d_right", D_RIGHT),
    ("st_diamond", DIAMOND),
]
STOP = threading.Event()                       # a difference was found: no need to go on, and the rows are still there
NAMES = [name for name, _ in STREAM_TABLES]
TRUTH = {name: base(text) for name, text in STREAM_TABLES}


def running(until):
    return time.time() < until and not STOP.is_set()


def connect(name):
    conn = psycopg2.connect("", application_name=name, connect_timeout=10)
    conn.set_session(autocommit=True)
    return conn


def one(cur, sql, args=None):
    cur.execute(sql, args)
    return cur.fetchone()


# ---------------------------------------------------------------- writers

class Writer(threading.Thread):
    """One client: random transactions until the deadline.  Conflicts between writers are part of life; other errors are not."""

    EXPECTED = ("40001", "40P01", "23505", "55P03", "57014")

    def __init__(self, number, until, survive):
        super().__init__(name="writer%d" % number, daemon=True)
        self.number, self.until, self.survive = number, until, survive
        self.rnd = random.Random(SEED * 100 + number)
        self.done = self.conflicts = 0
        self.error = None
        self.gid = 0
        self.longest = 0.0

    def run(self):
        while running(self.until) and self.error is None:
            try:
                self.session()
            except psycopg2.Error as e:
                if not self.survive:
                    self.error = "%s: %s" % (e.pgcode, e)
                time.sleep(0.05)                # the server is coming back
            except Exception as e:              # a thread that dies silently would prove nothing
                self.error = repr(e)

    def session(self):
        conn = connect(self.name)
        try:
            with conn.cursor() as cur:
                self.finish_prepared(cur)
                while running(self.until):
                    if PAUSE and os.path.exists(PAUSE):
                        time.sleep(0.02)
                        continue
                    self.transaction(cur)
        finally:
            conn.close()

    def finish_prepared(self, cur):
        cur.execute("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE %s", ("w%d\\_%%" % self.number,))
        for (gid,) in cur.fetchall():
            cur.execute("COMMIT PREPARED '%s'" % gid)

    def transaction(self, cur):
        kind = self.rnd.random()
        started = time.time()
        try:
            if kind < 0.35:
                self.statement(cur)
            elif kind < 0.55:
                self.block(cur, self.rnd.randint(2, 6))
            elif kind < 0.68:
                self.savepoints(cur)
            elif kind < 0.76:
                self.prepared(cur)
            elif kind < 0.80:
                self.block(cur, 3, end="ROLLBACK")
            elif kind < 0.803 and TRUNCATE:
                self.truncate(cur)
            elif kind < 0.808:
                self.long(cur)
            elif kind < 0.90:
                self.subtransaction(cur)
            else:
                self.bulk(cur)
            self.done += 1
        except psycopg2.Error as e:
            if e.pgcode not in self.EXPECTED:
                raise
            self.conflicts += 1
            cur.execute("ROLLBACK")
        if kind < 0.35:
            self.longest = max(self.longest, time.time() - started)

    def block(self, cur, n, end="COMMIT"):
        cur.execute("BEGIN")
        for _ in range(n):
            self.statement(cur)
        cur.execute(end)

    def savepoints(self, cur):
        cur.execute("BEGIN")
        self.statement(cur)
        for depth in range(self.rnd.randint(1, 3)):
            cur.execute("SAVEPOINT s%d" % depth)
            self.statement(cur)
            if self.rnd.random() < 0.6:
                cur.execute("ROLLBACK TO s%d" % depth)
                self.statement(cur)
            else:
                cur.execute("RELEASE s%d" % depth)
        cur.execute(self.rnd.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def prepared(self, cur):
        self.gid += 1
        gid = "w%d_%d" % (self.number, self.gid)
        cur.execute("BEGIN")
        self.statement(cur)
        self.statement(cur)
        cur.execute("PREPARE TRANSACTION '%s'" % gid)
        self.wait(0.2)
        cur.execute("%s PREPARED '%s'" % (self.rnd.choice(["COMMIT", "COMMIT", "ROLLBACK"]), gid))

    def long(self, cur):
        end = time.time() + LONG
        cur.execute("BEGIN")
        while running(min(end, self.until)):
            cur.execute("INSERT INTO orders VALUES (%s, %s, %s, 'open', 'long')", (self.new_id(), self.customer(), self.amount()))
            self.wait(LONG / 5)
        cur.execute("COMMIT")

    def truncate(self, cur):
        what = self.rnd.choice(["bag", "bag", "items", "items, bag", "orders"])
        cur.execute("BEGIN")
        cur.execute("SET LOCAL lock_timeout = '300ms'")
        if self.rnd.random() < 0.5:
            cur.execute("INSERT INTO bag VALUES (1, 1)")
        cur.execute("TRUNCATE %s" % what)
        if "bag" in what:
            cur.execute("INSERT INTO bag SELECT g %% 12, g %% 4 FROM generate_series(1, %d) g" % self.rnd.randint(0, 60))
        if "items" in what:
            cur.execute("INSERT INTO items SELECT 1 + g %% 420, g / 420, g %% 15, 1 + g %% 4, 3 FROM generate_series(1, %d) g"
                        % self.rnd.randint(0, 900))
        if "orders" in what:
            cur.execute("INSERT INTO orders SELECT g, 1 + g %% 70, g %% 300, 'open' FROM generate_series(1, %d) g"
                        % self.rnd.randint(0, 500))
        cur.execute(self.rnd.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def subtransaction(self, cur):
        cur.execute("""DO $$ BEGIN
            INSERT INTO bag VALUES (%d, %d);
            BEGIN
                UPDATE orders SET amount = amount + 1 WHERE customer_id = %d;
                INSERT INTO orders SELECT id, 1, 1, 'open' FROM orders ORDER BY id LIMIT 1;
            EXCEPTION WHEN unique_violation THEN
                DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE k = %d LIMIT 1 FOR UPDATE SKIP LOCKED);
            END;
        END $$""" % (self.rnd.randint(0, 12), self.rnd.randint(0, 3), self.customer(), self.rnd.randint(0, 12)))

    def bulk(self, cur):
        r = self.rnd
        cur.execute(r.choice([
            "UPDATE orders SET status = CASE status WHEN 'open' THEN 'paid' ELSE 'open' END WHERE customer_id = %d" % self.customer(),
            "UPDATE items SET qty = 1 + (qty + 1) %% 5 WHERE product = %d" % r.randint(0, 14),
            "INSERT INTO items SELECT id, 1000 + %d, id %% 15, 4, 2.5 FROM orders WHERE id %% 20 = %d ON CONFLICT DO NOTHING"
            % (r.randint(0, 99), r.randint(0, 19)),
            "DELETE FROM items WHERE line >= 1000 AND line %% 4 = %d AND product = %d" % (r.randint(0, 3), r.randint(0, 14)),
            "UPDATE bag SET v = nullif(%d, v) WHERE k = %d" % (r.randint(0, 3), r.randint(0, 11)),
        ]))

    def statement(self, cur):
        r = self.rnd
        kind = r.randrange(14)
        if kind <= 2:
            cur.execute("INSERT INTO orders VALUES (%s, %s, %s, %s, %s)",
                        (self.new_id(), self.customer_or_null(), self.amount(), r.choice(["open", "paid", "void"]), "n" * r.randint(0, 30)))
        elif kind == 3:
            cur.execute("INSERT INTO orders VALUES (%s, %s, %s, 'open', NULL) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount",
                        (self.some_id(), self.customer_or_null(), self.amount()))
        elif kind == 4:
            cur.execute("UPDATE orders SET amount = %s, status = %s WHERE id = %s",
                        (self.amount(), r.choice(["open", "paid", "void"]), self.some_id()))
        elif kind == 5:
            cur.execute("UPDATE orders SET note = repeat('y', %s) WHERE id = %s", (r.randint(0, 4000), self.some_id()))
        elif kind == 6:                          # a key changes
            cur.execute("UPDATE orders SET id = %s, customer_id = %s WHERE id = %s", (self.new_id(), self.customer_or_null(), self.some_id()))
        elif kind == 7:
            cur.execute("DELETE FROM orders WHERE id = %s", (self.some_id(),))
        elif kind == 8:
            cur.execute("INSERT INTO items VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        (self.some_id(), r.randint(0, 9), r.randint(0, 14), r.randint(1, 4), self.amount()))
        elif kind == 9:
            cur.execute("UPDATE items SET order_id = %s WHERE order_id = %s AND line = 0", (self.some_id(), self.some_id()))
        elif kind == 10:
            cur.execute("DELETE FROM items WHERE order_id = %s", (self.some_id(),))
        elif kind == 11:
            cur.execute("UPDATE customers SET region = %s, name = %s WHERE id = %s",
                        (r.choice([None, 0, 1, 2, 3, 4]), "c%d" % r.randint(1, 9), self.customer()))
        elif kind == 12:
            cur.execute("INSERT INTO bag VALUES (%s, %s), (%s, NULL)", (r.randint(0, 12), r.randint(0, 3), r.choice([None, 5])))
        else:
            cur.execute("INSERT INTO customers VALUES (%s, 'new', %s) ON CONFLICT (id) DO UPDATE SET credit = customers.credit + 1",
                        (r.randint(1, 75), r.randint(0, 4)))

    def new_id(self):
        return self.rnd.randint(1, 900)          # collisions wanted: unique violations are part of life

    def some_id(self):
        return self.rnd.randint(1, 900)

    def customer(self):
        return self.rnd.randint(1, 75)

    def customer_or_null(self):
        return None if self.rnd.random() < 0.05 else self.customer()

    def amount(self):
        return self.rnd.randint(0, 800) / 4.0

    def wait(self, longest):
        time.sleep(self.rnd.random() * longest)


# ---------------------------------------------------------------- refreshing and verifying

class Refresher(threading.Thread):
    """Refreshes random STs by hand as fast as it can, sometimes several in one transaction."""

    BUSY = ("55P03", "57014", "40001", "40P01")

    def __init__(self, number, until):
        super().__init__(name="refresher%d" % number, daemon=True)
        self.until = until
        self.rnd = random.Random(SEED * 7 + number)
        self.done = self.busy = 0
        self.error = self.noticed = None

    def run(self):
        conn = connect(self.name)
        with conn.cursor() as cur:
            while running(self.until) and self.error is None:
                names = self.rnd.sample(NAMES, 1 if self.rnd.random() < 0.8 else 2)
                names.sort(key=NAMES.index)
                try:
                    cur.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                    for name in names:
                        cur.execute("SELECT pgtrickle.refresh_stream_table(%s)", (name,))
                    cur.execute("COMMIT")
                    self.done += 1
                except psycopg2.Error as e:
                    cur.execute("ROLLBACK")
                    self.judge(e)
                    time.sleep(0.01)
                except Exception as e:
                    self.error = repr(e)

    def judge(self, e):
        if e.pgcode in self.BUSY:
            self.busy += 1
        elif BROKEN:
            self.noticed = str(e)               # the engine found a contradiction by itself: go on until verification does
        else:
            self.error = "%s: %s" % (e.pgcode, e)


class Verifier(Refresher):
    """verify_stream_table at random moments: missing and extra must be 0, every time."""

    def __init__(self, number, until):
        super().__init__(100 + number, until)
        self.name = "verifier%d" % number
        self.differences = []
        self.seen = set()

    def run(self):
        conn = connect(self.name)
        with conn.cursor() as cur:
            while running(self.until) and self.error is None:
                time.sleep(self.rnd.random() * 0.15)
                name = self.rnd.choice(NAMES)
                try:
                    missing, extra = one(cur, "SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", (name,))
                    self.done += 1
                    self.seen.add(name)
                    if (missing, extra) != (0, 0):
                        self.differences.append((name, missing, extra))
                        STOP.set()
                except psycopg2.Error as e:
                    self.judge(e)
                except Exception as e:
                    self.error = repr(e)


def report(passed, name, detail=""):
    if detail:
        print("# " + detail)
    print("%s - %s" % ("ok" if passed else "not ok", name), flush=True)
    return passed


def fire(seconds):
    until = time.time() + seconds
    writers = [Writer(n, until, False) for n in range(WRITERS)]
    refreshers = [Refresher(n, until) for n in range(2)]
    verifiers = [Verifier(n, until) for n in range(2)]
    threads = writers + refreshers + verifiers
    for t in threads:
        t.start()
    for t in threads:
        t.join(seconds + LONG + 60)
    print("# seed %d: %d transactions, %d conflicts, %d refreshes by hand (%d found busy), %d verifications (%d found busy)" % (
        SEED, sum(w.done for w in writers), sum(w.conflicts for w in writers), sum(r.done for r in refreshers),
        sum(r.busy for r in refreshers), sum(v.done for v in verifiers), sum(v.busy for v in verifiers)))
    differences = [d for v in verifiers for d in v.differences]
    if differences and not BROKEN:
        explain(differences[0][0])
    if BROKEN:
        for t in refreshers + verifiers:
            if t.noticed or t.error:
                print("# noticed by the engine: %s" % (t.noticed or t.error).split("\n")[0])
        return report(bool(differences), "the broken build is found out", str(differences[:3]))
    good = report(not any(t.is_alive() for t in threads), "nobody hangs")
    good &= report(not any(w.error for w in writers), "no new error in a writer", "; ".join(filter(None, (w.error for w in writers))))
    errors = [t.error for t in refreshers + verifiers if t.error]
    good &= report(not errors, "no refresh fails", "; ".join(errors))
    good &= report(not differences, "verify_stream_table finds 0 missing and 0 extra", str(differences[:10]) if differences else "")
    wanted = max(10, seconds)
    done = sum(v.done for v in verifiers)
    good &= report(done >= wanted, "at least %d verifications" % wanted, "%d done" % done)
    good &= report(sum(w.done for w in writers) > 20 * seconds, "writers were not held up")
    missing = set(NAMES) - set.union(*(v.seen for v in verifiers))
    good &= report(not missing, "every stream table was verified", str(sorted(missing)) if missing else "")
    return good


def explain(name):
    """What is wrong with an ST, for whoever looks at the log."""
    with connect("explain").cursor() as cur:
        cur.execute("SELECT pgtrickle.refresh_stream_table(%s)", (name,))
        columns = visible_columns(cur, name)
        cur.execute("WITH q AS MATERIALIZED (%s), s AS MATERIALIZED (SELECT %s FROM %s) "
                    "SELECT 'missing', d::text FROM (TABLE q EXCEPT ALL TABLE s) d UNION ALL "
                    "SELECT 'extra', d::text FROM (TABLE s EXCEPT ALL TABLE q) d LIMIT 20" % (TRUTH[name], columns, name))
        for kind, row in cur.fetchall():
            print("# %s: %s %s" % (name, kind, row))
        cur.execute("SELECT to_char(h.start_time, 'HH24:MI:SS.MS'), action, merge_strategy_used, rows_inserted, rows_deleted, delta_row_count, "
                    "h.reason FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables d USING (pgt_id) "
                    "WHERE pgt_name = %s ORDER BY refresh_id DESC LIMIT 15", (name,))
        for row in cur.fetchall():
            print("# %s" % (row,))


def write(seconds):
    """Writers alone, for tests that kill things."""
    until = time.time() + seconds
    writers = [Writer(n, until, True) for n in range(WRITERS)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    print("# %d transactions, %d conflicts" % (sum(w.done for w in writers), sum(w.conflicts for w in writers)))
    return report(not any(w.error for w in writers), "writers went on", "; ".join(filter(None, (w.error for w in writers))))


# ---------------------------------------------------------------- setup and oracle

def setup():
    with connect("setup").cursor() as cur:
        with open(os.path.join(HERE, "_shop.sql")) as f:
            cur.execute(f.read())
        for name, text in STREAM_TABLES:
            mode = "AUTO" if os.environ.get("SHOP_AUTO") else "DIFFERENTIAL"
            cur.execute("SELECT pgtrickle.create_stream_table(%s, %s, schedule => %s, refresh_mode => %s)",
                        (name, over_sts(text), SCHEDULE, mode))
    return True


def visible_columns(cur, name):
    cur.execute("SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = %s::regclass "
                "AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt\\_%%'", (name,))
    return cur.fetchone()[0]


def difference(cur, name):
    """Rows of the truth that the ST lacks, and rows it has too many, at one snapshot."""
    columns = visible_columns(cur, name)
    return one(cur, "WITH q AS MATERIALIZED (%s), s AS MATERIALIZED (SELECT %s FROM %s) "
                    "SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) d), (SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) d)"
               % (TRUTH[name], columns, name))


def oracle(seconds):
    """Without refreshing by hand when SECONDS is given: the scheduler has so long to bring every ST up to date."""
    good = True
    with connect("oracle").cursor() as cur:
        if seconds is None:
            for name in NAMES:
                cur.execute("SELECT pgtrickle.refresh_stream_table(%s)", (name,))
        deadline = time.time() + (seconds or 0)
        pending = list(NAMES)
        while pending:
            found = {name: difference(cur, name) for name in pending}
            pending = [name for name in pending if found[name] != (0, 0)]
            if not pending or time.time() > deadline:
                break
            time.sleep(0.05)
        for name in NAMES:
            good &= report(name not in pending, "%s equals its meaning over the base tables" % name,
                           "missing, extra: %s" % (found[name],) if name in pending else "")
    return good


def main(argv):
    command = argv[1] if len(argv) > 1 else ""
    number = float(argv[2]) if len(argv) > 2 else None
    actions = {"setup": setup, "fire": lambda: fire(number or 30), "write": lambda: write(number or 30), "oracle": lambda: oracle(number)}
    if command not in actions:
        sys.exit(__doc__)
    sys.exit(0 if actions[command]() else 1)


if __name__ == "__main__":
    main(sys.argv)
