"""A random walk of DDL and DML over the sources of stream tables; used by ddl_random.sh.

  _ddl.py SECONDS     prints ok / not ok lines

After every few steps each ACTIVE stream table is refreshed by hand and compared with its query; one that can no longer be kept must
have been protected (the DDL failed) or be SUSPENDED with a reason.  A stream table may fail a refresh only for reasons of its query
(22xxx) or locks, never otherwise.  A bystander over a table that no DDL touches is refreshed by the consumer alone and must follow
to the end.  DDL_SEED repeats the choices of a run.

A refresh by hand does not refresh what its stream table reads.  So a comparison holds only when no other stream table was refreshed
meanwhile (the consumer does that once a second); else it is made again.
"""
import os
import random
import re
import sys
import time

import psycopg2

SEED = int(os.environ.get("DDL_SEED") or random.SystemRandom().randrange(1 << 30))
R = random.Random(SEED)
LOG = []
BAD = []

SETUP = """
CREATE SCHEMA sa; CREATE SCHEMA sb;
CREATE TABLE calm (id int PRIMARY KEY, v int);
INSERT INTO calm VALUES (0, 0);
SELECT pgtrickle.create_stream_table('calm_st', 'SELECT id, v FROM calm', '1s');
CREATE TYPE en AS ENUM ('x', 'y', 'z');
"""

TABLES = {
    "a": "CREATE TABLE {n} (id int PRIMARY KEY, k int, v int, t text DEFAULT 'd', e en)",
    "b": "CREATE TABLE {n} (k int, v int, t text, e en, id int)",
    "p": "CREATE TABLE {n} (id int, k int, v int, t text, e en) PARTITION BY LIST (k); CREATE TABLE {n}_0 PARTITION OF {n} FOR VALUES IN (0, 1);"
         "CREATE TABLE {n}_1 (e en, t text, v int, k int, id int); ALTER TABLE {n} ATTACH PARTITION {n}_1 FOR VALUES IN (2, 3); CREATE TABLE {n}_d PARTITION OF {n} DEFAULT",
    "h": "CREATE TABLE {n} (id int, k int, v int, t text, e en); CREATE TABLE {n}_c (extra int) INHERITS ({n})",
}
QUERIES = [
    "SELECT id, k, v, t FROM {x}",
    "SELECT k, count(*) AS n, sum(v) AS s FROM {x} GROUP BY k",
    "SELECT k, min(v) AS lo, max(t) AS hi FROM {x} WHERE v > 2 GROUP BY k",
    "SELECT x.id, y.v, y.t FROM {x} x JOIN {y} y ON x.k = y.k",
    "SELECT x.id, x.v, y.id AS yid FROM {x} x LEFT JOIN {y} y ON x.k = y.k AND y.v > 3",
    "SELECT DISTINCT k, e FROM {x}",
    "SELECT * FROM {x}", "SELECT to_jsonb(x) AS j FROM {x} x", "SELECT x.id, to_jsonb(y) AS j, count(y) AS n FROM {x} x LEFT JOIN {y} y ON x.k = y.k GROUP BY x.id, y",
    "SELECT count(*) AS n FROM {x}",
    "SELECT id, v FROM {x} UNION ALL SELECT k, v FROM {y}",
    "SELECT id, e FROM {x} WHERE e = '{l}'", "SELECT e, min(e) AS lo, max(v) AS v FROM {x} GROUP BY e",
]

# Which refreshes of stream tables other than this one are seen.  Those that found nothing to do write no history and change nothing.
OTHERS = "SELECT coalesce(sum(hashint8(refresh_id)::int8), 0) FROM pgtrickle.pgt_refresh_history WHERE pgt_id <> %s"


def ident(name):
    return '"' + name.replace('"', '""') + '"'


class Walk:
    def __init__(self):
        self.conn = psycopg2.connect("", application_name="ddl", connect_timeout=10)
        self.conn.autocommit = True
        self.cur = self.conn.cursor()
        self.cur.execute("SET client_min_messages = error")
        self.cur.execute("SET statement_timeout = '20s'")
        self.n = 0
        self.counts = {"steps": 0, "refused": 0, "compared": 0, "suspended": 0, "again": 0}

    def rows(self, sql, *args):
        self.cur.execute(sql, args or None)
        return self.cur.fetchall()

    def run(self, sql):
        """Runs a statement of the walk: it may fail, for any reason but an internal one."""
        try:
            self.cur.execute(sql)
            LOG.append(sql)
            return True
        except psycopg2.Error as e:
            self.cur.execute("ROLLBACK")
            LOG.append("-- %s %s: %s" % (e.pgcode, str(e).split("\n")[0], sql))
            if e.pgcode is None or e.pgcode.startswith("XX") or e.pgcode.startswith("57"):
                self.bad("%s of: %s" % (str(e).strip(), sql))
            self.counts["refused"] += 1
            return False

    def bad(self, what):
        BAD.append(what)
        print("# " + what.replace("\n", "\n# "))
        print("#   after:\n" + "\n".join("#     " + s for s in LOG[-int(os.environ.get('DDL_LOG', '14')):]))

    # ---- what there is

    def table(self):
        """A random source table (roots, leaves, children), quoted."""
        found = self.rows("SELECT n.nspname, c.relname, c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                          "WHERE nspname IN ('public', 'sa', 'sb') AND relkind IN ('r', 'p') AND relname <> 'calm' "
                          "AND c.oid NOT IN (SELECT pgt_relid FROM pgtrickle.pgt_stream_tables) ORDER BY 1, 2")
        if not found:
            return None
        s, t, oid, kind = R.choice(found)
        return ident(s) + "." + ident(t), oid, kind

    def columns(self, oid):
        return self.rows("SELECT attname, format_type(atttypid, atttypmod), attgenerated FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum", oid)

    def value(self, typ):
        if R.random() < 0.15:
            return "NULL"
        if typ.startswith(("int", "bigint", "numeric", "smallint", "double")):
            return str(R.randrange(6))
        if typ == self.enum():
            return "'%s'" % self.label()
        if typ.startswith(("text", "character")):
            return "'%s'" % R.choice(["a", "b", "d", "1", "2"])
        return "DEFAULT"

    def enum(self):
        return self.rows("SELECT %s::oid::regtype::text", self.en)[0][0]

    def label(self):
        return R.choice(self.rows("SELECT enumlabel FROM pg_enum WHERE enumtypid = %s ORDER BY 1", self.en))[0]

    # ---- steps

    def dml(self):
        t = self.table()
        if t is None:
            return self.create_table()
        name, oid, _ = t
        cols = [c for c in self.columns(oid) if not c[2]]
        kind = R.random()
        if kind < 0.45 and cols:
            rows = ", ".join("(" + ", ".join(str(R.randrange(10 ** 6)) if c[0] == "id" else self.value(c[1]) for c in cols) + ")" for _ in range(R.randrange(1, 5)))
            return self.run("INSERT INTO %s (%s) VALUES %s" % (name, ", ".join(ident(c[0]) for c in cols), rows))
        some = "ctid IN (SELECT ctid FROM %s ORDER BY random() LIMIT %d)" % (name, R.randrange(1, 6)) if t[2] == "r" else "true"
        if kind < 0.8 and cols:
            c = R.choice([c for c in cols if c[0] != "id"] or cols)
            return self.run("UPDATE %s SET %s = %s WHERE %s" % (name, ident(c[0]), self.value(c[1]), some))
        return self.run("DELETE FROM %s WHERE %s" % (name, some))

    def ddl(self):
        t = self.table()
        if t is None:
            return self.create_table()
        name, oid, kind = t
        cols = [c[0] for c in self.columns(oid)]
        c = ident(R.choice(cols)) if cols else '"k"'
        self.n += 1
        simple = name.split(".")[1][1:-1]
        sql = R.choice([
            "ALTER TABLE %s ADD COLUMN x%d int" % (name, self.n),
            "ALTER TABLE %s ADD COLUMN x%d int DEFAULT 5" % (name, self.n),
            "ALTER TABLE %s ADD COLUMN x%d int DEFAULT (random() * 9)::int" % (name, self.n),
            "ALTER TABLE %s ADD COLUMN x%d int GENERATED ALWAYS AS (k * 2) STORED" % (name, self.n),
            "ALTER TABLE %s DROP COLUMN %s" % (name, c),
            "ALTER TABLE %s RENAME COLUMN %s TO r%d" % (name, c, self.n),
            "ALTER TABLE %s RENAME COLUMN %s TO %s" % (name, c, R.choice(["k", "v", "t", "id"])),
            "ALTER TABLE %s RENAME TO %s" % (name, ident(R.choice(["Odd %s" % simple[:10], "n%d" % self.n]))),
            "ALTER TABLE %s SET SCHEMA %s" % (name, R.choice(["public", "sa", "sb"])),
            "ALTER SCHEMA %s RENAME TO tmp; ALTER SCHEMA tmp RENAME TO %s" % ((R.choice(["sa", "sb"]),) * 2),
            "ALTER SCHEMA sa RENAME TO tmp; ALTER SCHEMA sb RENAME TO sa; ALTER SCHEMA tmp RENAME TO sb",
            "ALTER TABLE %s ALTER COLUMN %s TYPE bigint" % (name, c),
            "ALTER TABLE %s ALTER COLUMN %s TYPE text" % (name, c),
            "ALTER TABLE %s ALTER COLUMN %s SET NOT NULL" % (name, c),
            "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL" % (name, c),
            "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT 3" % (name, c),
            "TRUNCATE %s" % name, "TRUNCATE ONLY %s" % name,
            "BEGIN; INSERT INTO %s DEFAULT VALUES; TRUNCATE %s; INSERT INTO %s DEFAULT VALUES; COMMIT" % (name, name, name),
            "BEGIN; INSERT INTO %s DEFAULT VALUES; ALTER TABLE %s ADD COLUMN x%d int DEFAULT 4; INSERT INTO %s DEFAULT VALUES; UPDATE %s SET v = 1; COMMIT" % (name, name, self.n, name, name),
            "DROP TABLE %s" % name, "DROP TABLE %s CASCADE" % name,
            "VACUUM FULL %s" % name, "VACUUM FREEZE %s" % name, "REINDEX TABLE %s" % name, "ANALYZE %s" % name,
            "CREATE INDEX ON %s (%s)" % (name, c), "CLUSTER %s" % name,
            "ALTER TABLE %s REPLICA IDENTITY DEFAULT" % name, "ALTER TABLE %s REPLICA IDENTITY NOTHING" % name, "ALTER TABLE %s REPLICA IDENTITY FULL" % name,
            "ALTER TABLE %s SET UNLOGGED" % name, "ALTER TABLE %s SET LOGGED" % name,
            "ALTER TABLE %s ENABLE ROW LEVEL SECURITY" % name, "ALTER TABLE %s FORCE ROW LEVEL SECURITY" % name, "ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY" % name,
            "ALTER TABLE %s OWNER TO ann" % name, "ALTER TABLE %s OWNER TO postgres" % name,
            "ALTER TABLE %s DROP CONSTRAINT %s" % (name, ident(simple + "_pkey")),
            "ALTER TABLE %s ADD PRIMARY KEY (%s)" % (name, c),
            "ALTER TYPE en RENAME VALUE '%s' TO 'l%d'" % (self.label(), self.n), "ALTER TYPE en ADD VALUE 'm%d'" % self.n,
            "ALTER TYPE en RENAME TO en%d" % self.n, "ALTER TYPE en SET SCHEMA %s" % R.choice(["sa", "sb", "public"]),
            self.membership(name, oid), self.membership(name, oid), self.membership(name, oid),
        ])
        if sql.startswith("ALTER TYPE en "):
            sql = "ALTER TYPE %s %s" % (self.enum(), sql[14:])
        if R.random() < 0.12 and "BEGIN" not in sql:
            sql = "BEGIN; %s; %s; ROLLBACK" % (sql, "; ".join("SELECT pgtrickle.refresh_stream_table('%s')" % st for st in self.some_sts()))
        return self.run(sql)

    def some_sts(self):
        return [r[0] for r in self.rows("SELECT pgt_schema || '.' || pgt_name FROM pgtrickle.pgt_stream_tables WHERE status = 'ACTIVE' AND pgt_name <> 'calm_st' "
                                        "ORDER BY random() LIMIT 2")]

    def membership(self, name, oid):
        parents = self.rows("SELECT inhparent::regclass::text, relispartition FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhrelid = %s", oid)
        if parents:
            parent, part = parents[0]
            if part:
                return R.choice(["ALTER TABLE %s DETACH PARTITION %s" % (parent, name), "ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY" % (parent, name)])
            return "ALTER TABLE %s NO INHERIT %s" % (name, parent)
        roots = self.rows("SELECT oid::regclass::text, relkind FROM pg_class WHERE relkind = 'p' OR oid IN (SELECT inhparent FROM pg_inherits) AND relkind = 'r' ORDER BY 1")
        if not roots:
            return "SELECT 1"
        root, kind = R.choice(roots)
        if kind == "r":
            return "ALTER TABLE %s INHERIT %s" % (name, root)
        lo = R.randrange(4) * 2
        return R.choice(["ALTER TABLE %s ATTACH PARTITION %s FOR VALUES IN (%d, %d)" % (root, name, lo, lo + 1),
                         "ALTER TABLE %s ATTACH PARTITION %s DEFAULT" % (root, name),
                         "CREATE TABLE public.np%d PARTITION OF %s FOR VALUES IN (%d)" % (self.n, root, R.randrange(8)),
                         "CREATE TABLE public.nd%d PARTITION OF %s DEFAULT" % (self.n, root)])

    def create_table(self):
        self.n += 1
        name = "%s%d" % (R.choice(sorted(TABLES)), self.n)
        if self.run(re.sub(r"\ben\b", self.enum(), TABLES[name[0]].format(n="public." + name))) and name[0] != "h":
            self.run("INSERT INTO public.%s (id, k, v, t, e) SELECT g, g %% 5, g %% 7, 'd', (enum_range(NULL::%s))[1 + g %% 2] FROM generate_series(1, 8) g" % (name, self.enum()))

    def create_st(self):
        t, u = self.table(), self.table()
        if t is None:
            return self.create_table()
        self.n += 1
        upstream = self.some_sts()
        if upstream and R.random() < 0.25:
            return self.run("SELECT pgtrickle.create_stream_table('st%d', $q$%s$q$, '1d')" % (self.n, R.choice(["SELECT * FROM %s", "SELECT count(*) AS n FROM %s"]) % upstream[0]))
        self.run("SELECT pgtrickle.create_stream_table('st%d', $q$%s$q$, '%s')" % (self.n, R.choice(QUERIES).format(x=t[0], y=u[0], l=self.label()), R.choice(["1d", "1s", "1d"])))

    def st_step(self):
        sts = self.rows("SELECT pgt_schema || '.' || pgt_name FROM pgtrickle.pgt_stream_tables WHERE pgt_name <> 'calm_st' ORDER BY pgt_id")
        for st in self.rows("SELECT pgt_schema || '.' || pgt_name FROM pgtrickle.pgt_stream_tables WHERE status = 'SUSPENDED' AND random() < 0.2"):
            self.run("SELECT pgtrickle.%s_stream_table('%s')" % (R.choice(["drop", "resume"]), st[0]))
        if len(sts) < 8:
            return self.create_st()
        st = R.choice(sts)[0]
        self.run(R.choice(["SELECT pgtrickle.drop_stream_table('%s')", "SELECT pgtrickle.suspend_stream_table('%s')", "SELECT pgtrickle.resume_stream_table('%s')",
                           "SELECT pgtrickle.refresh_stream_table('%s')", "ALTER TABLE %s RENAME TO st_again" + str(self.n), "VACUUM FULL %s"]) % st)

    # ---- the oracle

    def compare_all(self):
        sts = self.rows("SELECT pgt_id, pgt_schema, pgt_name, status FROM pgtrickle.pgt_stream_tables WHERE pgt_name <> 'calm_st' ORDER BY pgt_id")
        R.shuffle(sts)
        for pid, schema, name, status in sts:
            if status == "SUSPENDED":
                self.counts["suspended"] += 1
                continue
            self.compare(pid, ident(schema) + "." + ident(name))

    def compare(self, pid, name):
        for attempt in range(20):
            before = self.refreshes_of_others(pid)
            if not self.refresh(pid, name):
                return
            query, cols = self.rows("SELECT rtrim(max(p.defining_query), '; '), string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pgtrickle.pgt_stream_tables p "
                                    "JOIN pg_attribute a ON attrelid = pgt_relid WHERE pgt_id = %s AND attnum > 0 AND NOT attisdropped AND left(attname, 6) <> '__pgt_'", pid)[0]
            try:
                missing, extra, after = self.rows(
                    "WITH q AS MATERIALIZED (%s), s AS MATERIALIZED (SELECT %s FROM %s) SELECT (SELECT count(*) FROM (TABLE q EXCEPT ALL TABLE s) d), "
                    "(SELECT count(*) FROM (TABLE s EXCEPT ALL TABLE q) d), (%s)" % (query, cols, name, OTHERS % pid))[0]
            except psycopg2.Error as e:
                return self.bad("%s: its query fails: %s" % (name, e))
            if (missing, extra) == (0, 0) or before == after:
                break
            self.counts["again"] += 1
        self.counts["compared"] += 1
        if (missing, extra) != (0, 0):
            self.bad("%s: %s missing, %s extra; query %s; history %s" % (name, missing, extra, query, self.rows(
                "SELECT action, status, merge_strategy_used, reason FROM pgtrickle.pgt_refresh_history WHERE pgt_id = %s ORDER BY refresh_id DESC LIMIT 2", pid)))

    def refreshes_of_others(self, pid):
        return self.rows(OTHERS % pid)[0][0]

    def refresh(self, pid, name):
        for attempt in range(5):
            try:
                self.cur.execute("SELECT pgtrickle.refresh_stream_table(%s)", (name,))
                return True
            except psycopg2.Error as e:
                if e.pgcode in ("55P03", "40P01", "55000") and attempt < 4:
                    time.sleep(0.1)
                    continue
                if e.pgcode is None or not e.pgcode.startswith("22"):
                    self.bad("%s: refresh fails: %s %.700s\nquery: %s" % (name, e.pgcode, e, self.rows("SELECT defining_query, status, reinit_reason FROM pgtrickle.pgt_stream_tables WHERE pgt_id = %s", pid)))
                return False

    def walk(self, seconds):
        until = time.time() + seconds
        self.cur.execute(SETUP)
        self.en = self.rows("SELECT 'en'::regtype::oid")[0][0]
        for i in range(4):
            self.create_table()
        for i in range(6):
            self.create_st()
        while time.time() < until and len(BAD) < 4:
            self.counts["steps"] += 1
            kind = R.random()
            if kind < 0.02:
                self.run("SET pg_trickle.block_source_ddl = " + R.choice(["on", "on", "off"]))
            elif kind < 0.5:
                self.dml()
            elif kind < 0.85:
                self.ddl()
            elif kind < 0.95:
                self.st_step()
            elif len(self.rows("SELECT FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text IN ('public', 'sa', 'sb')")) < 40:
                self.create_table()
            if R.random() < 0.25:
                self.compare_all()
        self.compare_all()

    def bystander(self):
        self.cur.execute("INSERT INTO calm VALUES (1, %s)", (SEED,))
        until = time.time() + 20
        while time.time() < until:
            if self.rows("SELECT count(*) FROM calm_st") == [(2,)]:
                return True
            time.sleep(0.1)
        return False


def main():
    walk = Walk()
    walk.walk(float(sys.argv[1]))
    print("# DDL_SEED=%d %s" % (SEED, walk.counts))
    print("%s - every stream table equals its query, or is suspended" % ("not ok" if BAD else "ok"))
    print("%s - the consumer goes on with the others" % ("ok" if walk.bystander() else "not ok"))
    print("%s - the walk went somewhere" % ("ok" if walk.counts["compared"] > 20 else "not ok"))
    reasons = walk.rows("SELECT count(*) FROM pgtrickle.pgt_stream_tables WHERE status = 'SUSPENDED' AND coalesce(last_error_message, '') = ''") \
        if os.environ.get("DDL_REASONS") else [(0,)]
    return 1 if BAD or reasons != [(0,)] else 0


if __name__ == "__main__":
    sys.exit(main())
