"""Stream tables over objects with hostile names; see names_st.sh.

  _names.py make FILE        creates, changes, alters, renames, exports; leaves everything for the dump, the names in FILE
  _names.py restored FILE    in the restored database: wires, changes, drops
"""
import os
import pickle
import random
import sys

import psycopg2

NAMES = [
    'quo"te', '"', '""', "apo'strophe", "'; --", "My Name", " leading", "trailing ", "tab\there", "new\nline", "back\\slash", "per%cent", "%s%n%1$s", "$1", "$$",
    "$body$", "a.b", "semi;colon", "/*", "*/", "--", "select", "table", "order", "group", "user", "null", "true", "where", "ÄÖÜß", "таблица", "表", "e\u0301",
    "UPPER", "upper", "Mixed", "x" * 63, "é" * 31, "LoNg " + "x" * 57, "0", "1st", "{}", "[]", "(", ")", ",", "NaN",
]
# what our own statements and buffers call things
OURS = ["__pgt_x", "xid", "op", "c1", "c2", "c1600", "w", "n", "s", "t", "d", "k", "q", "a1", "m", "r", "h", "tid", "rn", "o1", "d1", "n1", "e1", "vis", "hid", "redo",
        "changed_columns", "action", "lsn", "refresh_no", "missing", "extra", "__pgt_src0", "__pgt_delta", "__pgt_n", "__pgt_s1", "__pgt_k1", "pgt_sources", "count", "sum",
        "pgtrickle", "now", "id", "g", "rows", "f", "p", "u", "v", "x", "y", "z"]
# columns of these names cannot be in the result of a query: they are ours there
RESERVED = "__pgt_"

failures = 0


def ok(condition, what, detail=""):
    global failures
    failures += not condition
    print(("ok - " if condition else "not ok - ") + what)
    if not condition:
        for line in str(detail).split("\n")[:12]:
            print("# " + line)


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


class World:
    """The names of one seed.  Those of schemas and roles are unique among the worlds."""
    used = {"pgtrickle"}

    def __init__(self, seed):
        self.seed = seed
        self.rnd = random.Random(seed)
        self.pool = NAMES + OURS
        self.rnd.shuffle(self.pool)
        self.next = 0
        self.schema, self.other, self.owner = (self.new("unique") for _ in range(3))
        self.enum, self.domain, self.function, self.view = (self.new() for _ in range(4))
        self.left, self.right = self.new(), self.new()
        self.labels = [self.new() for _ in range(3)]
        self.id, self.grp, self.val, self.txt, self.lab, self.dom = (self.new() for _ in range(6))
        self.vgrp, self.vval, self.vlab = self.grp, self.val, self.lab      # of the view, whose columns are not renamed
        self.rid, self.rgrp, self.rval = (self.new() for _ in range(3))
        self.st = {kind: self.new() for kind in ("bag", "weights", "groups", "outer", "window", "chain", "inner")}
        self.out = [n for n in self.pool if not n.startswith(RESERVED) and n not in (self.view, self.function)]
        self.rnd.shuffle(self.out)

    def new(self, kind="any"):
        """The next name of the pool."""
        name = self.pool[self.next % len(self.pool)]
        self.next += 1
        if kind == "unique":
            if name in World.used:
                return self.new(kind)
            World.used.add(name)
        return name

    def taken(self):
        return [self.id, self.grp, self.val, self.txt, self.lab, self.dom, self.rid, self.rgrp, self.rval, self.left, self.right, self.enum, self.domain, self.view,
                self.function, self.schema, self.other, *self.labels, *self.st.values()]

    def table(self, name):
        return quote(self.schema) + "." + quote(name)

    def st_name(self, kind):
        return quote(self.other) + "." + quote(self.st[kind])

    def setup(self):
        q = quote
        yield f"CREATE ROLE {q(self.owner)}"
        yield f"CREATE SCHEMA {q(self.schema)} AUTHORIZATION {q(self.owner)}"
        yield f"CREATE SCHEMA {q(self.other)} AUTHORIZATION {q(self.owner)}"
        yield f"SET ROLE {q(self.owner)}"
        yield f"CREATE TYPE {self.table(self.enum)} AS ENUM ({', '.join(map(literal, self.labels))})"
        yield f"CREATE DOMAIN {self.table(self.domain)} AS text CHECK (length(VALUE) < 300)"
        yield (f"CREATE FUNCTION {self.table(self.function)} ({q(self.val)} int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'")
        yield (f"CREATE TABLE {self.table(self.left)} ({q(self.id)} int PRIMARY KEY, {q(self.grp)} int, {q(self.val)} int, {q(self.txt)} text, "
               f"{q(self.lab)} {self.table(self.enum)}, {q(self.dom)} {self.table(self.domain)})")
        yield f"CREATE TABLE {self.table(self.right)} ({q(self.rid)} int, {q(self.rgrp)} int, {q(self.rval)} numeric)"
        yield (f"INSERT INTO {self.table(self.left)} SELECT g, g % 7, g, 't' || g % 5, (enum_range(NULL::{self.table(self.enum)}))[1 + g % 3], 'd' || g % 4 "
               "FROM generate_series(1, 200) g")
        yield f"INSERT INTO {self.table(self.right)} SELECT g, g % 9, g FROM generate_series(1, 100) g"
        yield (f"CREATE VIEW {self.table(self.view)} AS SELECT {q(self.grp)}, {q(self.val)}, {q(self.lab)} FROM {self.table(self.left)} WHERE {q(self.val)} > 3")

    def queries(self):
        """kind → query; the select lists have hostile aliases."""
        q, o = quote, [quote(n) for n in self.out]
        left, right = f"{self.table(self.left)} AS {q(self.view)}", f"{self.table(self.right)} AS {q(self.function)}"
        a, b = q(self.view), q(self.function)
        return {
            "bag": f"SELECT {a}.{q(self.id)} AS {o[0]}, {self.table(self.function)}({a}.{q(self.val)}) AS {o[1]}, {a}.{q(self.lab)} AS {o[2]}, {a}.{q(self.dom)} AS {o[3]} "
                   f"FROM {left} WHERE {a}.{q(self.lab)} <> {literal(self.labels[1])}::{self.table(self.enum)}",
            "weights": f"SELECT {q(self.vgrp)} AS {o[4]}, {q(self.vlab)} AS {o[5]}, count(*) AS {o[6]}, sum({q(self.vval)}) AS {o[7]}, min({q(self.vval)}) AS {o[8]} "
                       f"FROM {self.table(self.view)} GROUP BY 1, 2",
            "groups": f"SELECT {q(self.dom)} AS {o[9]}, string_agg({q(self.txt)}, '%s' ORDER BY {q(self.id)}) AS {o[10]}, count(DISTINCT {q(self.grp)}) AS {o[11]} "
                      f"FROM {left} GROUP BY {q(self.dom)} HAVING count(*) > 1",
            "outer": f"SELECT {a}.{q(self.id)} AS {o[12]}, {b}.{q(self.rval)} AS {o[13]}, {b}.{q(self.rid)} AS {o[14]} "
                     f"FROM {left} LEFT JOIN {right} ON {a}.{q(self.grp)} = {b}.{q(self.rgrp)} AND {b}.{q(self.rval)} > {a}.{q(self.val)}",
            "window": f"SELECT {q(self.id)} AS {o[15]}, row_number() OVER ({o[16]}) AS {o[17]} FROM {left} "
                      f"WINDOW {o[16]} AS (PARTITION BY {q(self.txt)} ORDER BY {q(self.id)})",
            "inner": f"WITH {o[18]} ({o[19]}, {o[20]}) AS (SELECT {q(self.rgrp)}, sum({q(self.rval)}) FROM {right} GROUP BY 1) "
                     f"SELECT {a}.{q(self.id)} AS {o[21]}, {o[18]}.{o[20]} AS {o[22]} FROM {left} JOIN {o[18]} ON {o[18]}.{o[19]} = {a}.{q(self.grp)} "
                     f"WHERE EXISTS (SELECT FROM {right} WHERE {b}.{q(self.rid)} = {a}.{q(self.id)})",
            "chain": f"SELECT {o[4]} AS {o[23]}, max({o[7]}) AS {o[24]}, sum({o[6]}) AS {o[25]} FROM {self.st_name('weights')} GROUP BY {o[4]}",
        }

    def oracle(self, kind):
        """The same rows from base tables only."""
        queries = self.queries()
        if kind != "chain":
            return queries[kind]
        return queries["chain"].replace(self.st_name("weights"), f"({queries['weights']}) AS weights")

    def changes(self):
        q, r = quote, self.rnd
        left, right = self.table(self.left), self.table(self.right)
        yield f"INSERT INTO {left} SELECT g, {r.randrange(9)}, g, 'new', {literal(self.labels[2])}, 'd9' FROM generate_series((SELECT max({q(self.id)}) + 1 FROM {left}), (SELECT max({q(self.id)}) + 5 FROM {left})) g"
        yield f"UPDATE {left} SET {q(self.val)} = {q(self.val)} + 1, {q(self.lab)} = {literal(self.labels[0])} WHERE {q(self.id)} % 20 = {r.randrange(20)}"
        yield f"UPDATE {left} SET {q(self.grp)} = NULL, {q(self.dom)} = 'd1' WHERE {q(self.id)} % 30 = {r.randrange(30)}"
        yield f"UPDATE {left} SET {q(self.id)} = -{q(self.id)} WHERE {q(self.id)} % 40 = {r.randrange(40)}"
        yield f"DELETE FROM {left} WHERE {q(self.id)} % 25 = {r.randrange(25)}"
        yield f"UPDATE {right} SET {q(self.rgrp)} = {q(self.rgrp)} + 1 WHERE {q(self.rid)} % 10 = {r.randrange(10)}"
        yield f"INSERT INTO {right} SELECT * FROM {right} WHERE {q(self.rid)} % 10 = {r.randrange(10)}"
        yield f"DELETE FROM {right} WHERE {q(self.rid)} % 10 = {r.randrange(10)} AND {q(self.rval)} < 50"


def run(cur, sql, args=None):
    cur.execute(sql, args)
    return cur.fetchall() if cur.description else None


def compare(cur, w, what):
    wrong = []
    for kind in w.st:
        st, oracle = w.st_name(kind), w.oracle(kind)
        run(cur, "SELECT pgtrickle.refresh_stream_table(%s)", (st,))
        visible = run(cur, "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
                           "AND NOT starts_with(attname, '__pgt_') ORDER BY attnum", (st,))
        columns = ", ".join(quote(r[0]) for r in visible)
        n = run(cur, f"SELECT (SELECT count(*) FROM (SELECT {columns} FROM {st} EXCEPT ALL ({oracle})) a), "
                     f"(SELECT count(*) FROM (({oracle}) EXCEPT ALL SELECT {columns} FROM {st}) b)")[0]
        verified = run(cur, "SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", (st,))[0]
        if n != (0, 0) or verified != (0, 0):
            wrong.append(f"{kind} {st}: {n} {verified}")
    ok(not wrong, what, "\n".join(wrong))


def change(cur, w):
    for sql in w.changes():
        run(cur, sql)


def call_everything(cur, w, seed):
    """Every function that takes a name takes these, and what gives names gives some that can be used."""
    st = w.st_name("weights")
    for call in ("explain_st(%s)", "explain_delta(%s)", "list_sources(%s)", "get_refresh_history(%s)", "list_auxiliary_columns(%s)", "diagnose_errors(%s)",
                 "explain_refresh_mode(%s)", "get_staleness(%s)", "suspend_stream_table(%s)", "resume_stream_table(%s)", "wait_for(%s)",
                 "alter_stream_table(%s, schedule => '2h', tier => 'warm')"):
        run(cur, f"SELECT * FROM pgtrickle.{call}", (st,))
    for call in ("dependency_tree()", "change_buffer_sizes()", "health_check()", "slot_health()", "check_cdc_health()"):
        run(cur, f"SELECT * FROM pgtrickle.{call}")
    run(cur, "RESET ROLE")
    names = [r[0] for r in run(cur, "SELECT name FROM pgtrickle.pgt_status()")]
    ok(all(run(cur, "SELECT to_regclass(%s) IS NOT NULL", (n,))[0][0] for n in names), f"seed {seed}: pgt_status gives names that can be used as they are", names)
    run(cur, f"SET ROLE {quote(w.owner)}")


def make(cur, seed):
    w = World(seed)
    for sql in w.setup():
        run(cur, sql)
    for kind, query in w.queries().items():
        try:
            run(cur, "SELECT pgtrickle.create_stream_table(%s, %s, '1d', 'DIFFERENTIAL')", (w.st_name(kind), query))
        except psycopg2.Error as e:
            ok(False, f"seed {seed}: {kind} is created", f"{w.st_name(kind)}\n{query}\n{e}")
            del w.st[kind]
    compare(cur, w, f"seed {seed}: created")
    change(cur, w)
    compare(cur, w, f"seed {seed}: kept fresh by changes")
    how = run(cur, "SELECT count(*) FILTER (WHERE action = 'DIFFERENTIAL'), string_agg(reason, '; ') FILTER (WHERE action <> 'DIFFERENTIAL' AND reason <> 'first load') "
                   "FROM pgtrickle.pgt_refresh_history JOIN pgtrickle.pgt_definitions USING (pgt_id) WHERE pgt_schema = %s", (w.other,))[0]
    ok(how[0] >= len(w.st) and not how[1], f"seed {seed}: incrementally, all of them", how)
    call_everything(cur, w, seed)

    script = run(cur, "SELECT pgtrickle.export_definition(%s)", (w.st_name("bag"),))[0][0]
    run(cur, "SELECT pgtrickle.drop_stream_table(%s)", (w.st_name("bag"),))
    run(cur, script)
    run(cur, "RESET search_path")
    groups = w.queries()["groups"]
    for query in (groups.replace("count(*) > 1", "count(*) > 2"), groups):
        run(cur, "SELECT pgtrickle.alter_stream_table(%s, query => %s)", (w.st_name("groups"), query))
    change(cur, w)
    compare(cur, w, f"seed {seed}: exported and created again, altered to another query and back")
    rename_all(cur, w)
    change(cur, w)
    compare(cur, w, f"seed {seed}: column, tables, type, function and schemas renamed")
    return w


def rename_all(cur, w):
    """Stream tables follow; their results keep the names they were created with."""
    def to(attribute, kind="any"):
        new = w.new(kind)
        while new in w.taken():
            new = w.new(kind)
        setattr(w, attribute, new)
        return quote(new)

    left, right = w.table(w.left), w.table(w.right)
    run(cur, f"ALTER TABLE {left} RENAME {quote(w.val)} TO " + to("val"))
    run(cur, f"ALTER TABLE {left} RENAME {quote(w.lab)} TO " + to("lab"))
    run(cur, f"ALTER TABLE {left} RENAME TO " + to("left"))
    run(cur, f"ALTER TABLE {right} RENAME TO " + to("right"))
    run(cur, f"ALTER TYPE {w.table(w.enum)} RENAME TO " + to("enum"))
    run(cur, f"ALTER TYPE {w.table(w.enum)} RENAME VALUE {literal(w.labels[1])} TO 'la''bel'")
    w.labels[1] = "la'bel"
    run(cur, f"ALTER FUNCTION {w.table(w.function)} RENAME TO " + to("function"))
    run(cur, "RESET ROLE")
    run(cur, f"ALTER SCHEMA {quote(w.schema)} RENAME TO " + to("schema", "unique"))
    run(cur, f"ALTER SCHEMA {quote(w.other)} RENAME TO " + to("other", "unique"))
    run(cur, f"SET ROLE {quote(w.owner)}")


def restored(cur, w):
    run(cur, f"SET ROLE {quote(w.owner)}")
    change(cur, w)
    compare(cur, w, f"seed {w.seed}: restored")
    change(cur, w)
    compare(cur, w, f"seed {w.seed}: restored, and kept fresh by changes")
    for kind in ("chain", "weights", "bag", "groups", "outer", "window", "inner"):
        if kind in w.st:
            run(cur, "SELECT pgtrickle.drop_stream_table(%s)", (w.st_name(kind),))
    run(cur, "RESET ROLE")


def main():
    conn = psycopg2.connect("")
    conn.autocommit = True
    cur = conn.cursor()
    run(cur, "SET client_min_messages = warning")
    if sys.argv[1] == "make":
        worlds = []
        first = int(os.environ.get("NAMES_SEED", "1"))
        for seed in range(first, first + int(os.environ.get("NAMES_WORLDS", "3"))):
            worlds.append(make(cur, seed))
            run(cur, "RESET ROLE")
        try:
            run(cur, "CREATE TABLE plain (id int)")
            run(cur, "SELECT pgtrickle.create_stream_table('refused', 'SELECT id AS \"__pgt_x\" FROM plain')")
            ok(False, "a column that is named like ours is refused")
        except psycopg2.Error as e:
            ok(e.pgcode == "42939" and "__pgt_" in str(e), "a column that is named like ours is refused", f"{e.pgcode} {e}")
        with open(sys.argv[2], "wb") as f:
            pickle.dump(worlds, f)
    else:
        with open(sys.argv[2], "rb") as f:
            worlds = pickle.load(f)
        run(cur, "SELECT pgtrickle.restore_stream_tables()")
        for w in worlds:
            restored(cur, w)
        left = run(cur, "SELECT relname FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND relname ~ '^(changes|st)_[0-9]+$'")
        ok(not run(cur, "SELECT * FROM pgtrickle.pgt_sources") and not left, "dropped, and nothing is left", left)
    sys.exit(1 if failures else 0)


main()
