"""run.py check|bench|create: the 22 TPC-H queries as stream tables over a running server and consumer (PG* variables say which).

Makes the schema and the data of scale factor SF, creates a stream table per query (DIFFERENTIAL where that is possible, else AUTO), and then
  check  applies BATCHES batches of RF1, RF2 and random updates of all tables; after each one every stream table is refreshed and
         compared with its query, and every one that says it is incremental must have been refreshed as DIFFERENTIAL;
  bench  measures each refresh against its full recomputation, for batches of 0.1 % and for changes of a single row, checks that
         the contents are right at the end, and writes the report, Markdown, to the file TPCH_OUT.
The random choices come from SEED.  Lines `ok - …` and `not ok - …` are the result; the exit status follows them.
"""
import math
import os
import random
import re
import statistics
import subprocess
import sys
import time

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from _bench import cur, one, run, timed  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SF = os.environ.get("SF", "0.01")
SEED = os.environ.get("SEED", "1")
BATCHES = int(os.environ.get("BATCHES", "20"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ONLY = [int(a) for a in os.environ.get("QUERIES", "").split()] or list(range(1, 23))
GENERATOR = os.environ["TPCHGEN"]
TABLES = ("region", "nation", "supplier", "part", "partsupp", "customer", "orders", "lineitem")

# Queries that must be incremental.
INCREMENTAL = set(range(1, 23))

# The change of a single row: a row that passes the query's filter on its largest table, where it has one.
LINE = "UPDATE lineitem SET l_quantity = l_quantity %% 50 + 1, l_extendedprice = l_extendedprice + 1 WHERE (l_orderkey, l_linenumber) = (SELECT l_orderkey, " \
       "l_linenumber FROM lineitem WHERE l_orderkey >= {key} AND %s ORDER BY l_orderkey LIMIT 1)"
ORDER = "UPDATE orders SET %s WHERE o_orderkey = (SELECT o_orderkey FROM orders WHERE o_orderkey >= {key} AND %s ORDER BY o_orderkey LIMIT 1)"
SUPPLY = "UPDATE partsupp SET ps_supplycost = ps_supplycost + 1, ps_availqty = ps_availqty %% 9999 + 1, ps_suppkey = ps_suppkey WHERE " \
         "(ps_partkey, ps_suppkey) = (SELECT ps_partkey, ps_suppkey FROM partsupp WHERE ps_partkey >= {part} AND %s ORDER BY ps_partkey LIMIT 1)"
SINGLE = {
    1: LINE % "true", 2: SUPPLY % "ps_partkey IN (SELECT p_partkey FROM part WHERE p_size = 15 AND p_type LIKE '%%BRASS')",
    3: LINE % "l_shipdate > '1995-03-15'",
    4: "UPDATE lineitem SET l_commitdate = l_receiptdate - (CASE WHEN l_commitdate < l_receiptdate THEN 0 ELSE 1 END) WHERE (l_orderkey, l_linenumber) = "
       "(SELECT l_orderkey, l_linenumber FROM lineitem JOIN orders ON o_orderkey = l_orderkey WHERE l_orderkey >= {key} AND o_orderdate >= '1993-07-01' "
       "AND o_orderdate < '1993-10-01' ORDER BY l_orderkey LIMIT 1)",
    5: LINE % "true", 6: LINE % "l_shipdate BETWEEN '1994-01-01' AND '1994-12-31' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    7: LINE % "l_shipdate BETWEEN '1995-01-01' AND '1996-12-31'", 8: LINE % "true",
    9: LINE % "l_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE '%%green%%')", 10: LINE % "l_returnflag = 'R'", 11: SUPPLY % "true",
    12: ORDER % ("o_orderpriority = CASE o_orderpriority WHEN '1-URGENT' THEN '5-LOW' ELSE '1-URGENT' END",
                 "EXISTS (SELECT FROM lineitem WHERE l_orderkey = o_orderkey AND l_shipmode = 'MAIL' AND l_receiptdate BETWEEN '1994-01-01' AND '1994-12-31')"),
    13: ORDER % ("o_custkey = o_custkey + 3", "o_custkey < (SELECT max(c_custkey) - 3 FROM customer)"),
    14: LINE % "l_shipdate BETWEEN '1995-09-01' AND '1995-09-30'", 15: LINE % "l_shipdate BETWEEN '1996-01-01' AND '1996-03-31'",
    16: "UPDATE part SET p_size = CASE p_size WHEN 49 THEN 14 ELSE 49 END WHERE p_partkey = {part}",
    17: LINE % "l_partkey IN (SELECT p_partkey FROM part WHERE p_brand = 'Brand#23' AND p_container = 'MED BOX')", 18: LINE % "true",
    19: LINE % "l_shipmode = 'AIR' AND l_shipinstruct = 'DELIVER IN PERSON'", 20: LINE % "l_shipdate BETWEEN '1994-01-01' AND '1994-12-31'",
    21: LINE.replace("l_quantity = l_quantity %% 50 + 1", "l_receiptdate = l_commitdate + 1 - (l_receiptdate - l_commitdate > 0)::int") % "true",
    22: "UPDATE customer SET c_acctbal = c_acctbal + 1 WHERE c_custkey = (SELECT c_custkey FROM customer WHERE c_custkey >= {customer} "
        "AND substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17') ORDER BY c_custkey LIMIT 1)",
}

rnd = random.Random(int(SEED))
failed = 0


def report(good, what):
    global failed
    failed += not good
    print("%s - %s" % ("ok" if good else "not ok", what), flush=True)


def note(text):
    print("# " + text, flush=True)


# ---------------------------------------------------------------- schema, data, queries

def copy(what, table, *args):
    gen = subprocess.Popen([GENERATOR, SF, SEED, what] + [str(a) for a in args], stdout=subprocess.PIPE)
    cur.copy_expert("COPY %s FROM STDIN" % table, gen.stdout)
    if gen.wait() != 0:
        sys.exit("tpchgen failed for " + what)


def load():
    for name in ("schema.sql", "indexes.sql"):
        with open(os.path.join(HERE, name)) as f:
            run(f.read())
        if name == "schema.sql":
            for table in TABLES:
                copy(table, table)
    for table in TABLES:
        run("VACUUM ANALYZE " + table)
    note("scale factor %s: %d orders, %d line items" % (SF, one("SELECT count(*) FROM orders"), one("SELECT count(*) FROM lineitem")))


def queries():
    with open(os.path.join(HERE, "queries.sql")) as f:
        parts = re.split(r"^-- q(\d+)\n", f.read(), flags=re.M)
    return {int(n): q.strip().replace(":scale", SF) for n, q in zip(parts[1::2], parts[2::2]) if int(n) in ONLY}


def create(views):
    """Number -> None, or why the query is not incremental."""
    reasons, empty = {}, []
    for n, query in views.items():
        t0 = time.perf_counter()
        try:
            run("SELECT pgtrickle.create_stream_table(%s, %s, schedule => '1d', refresh_mode => 'AUTO')", "q%d" % n, query)
        except psycopg2.Error as e:
            report(False, "q%d is created" % n)
            note(str(e))
            continue
        run("ANALYZE q%d" % n)
        reasons[n] = one("SELECT full_reason FROM pgtrickle.pgt_stream_tables WHERE pgt_name = %s", "q%d" % n)
        if reasons[n] is None:
            run("SELECT pgtrickle.alter_stream_table(%s, refresh_mode => 'DIFFERENTIAL')", "q%d" % n)
        rows = one("SELECT count(*) FROM q%d" % n)
        note("q%d: %s, %d rows, created in %.1f s" % (n, "incremental" if reasons[n] is None else "FULL: " + reasons[n], rows, time.perf_counter() - t0))
        if rows == 0:
            empty.append("q%d" % n)
    if empty:
        note("without a row at this scale: " + ", ".join(empty))
    return reasons


# ---------------------------------------------------------------- changes

def refresh_streams(number):
    """RF1 and RF2 of one refresh set."""
    copy("rf1_orders", "orders", number)
    copy("rf1_lineitem", "lineitem", number)
    keys = [int(k) for k in subprocess.check_output([GENERATOR, SF, SEED, "rf2", str(number)]).split()]
    run("DELETE FROM lineitem WHERE l_orderkey = ANY(%s)", keys)
    run("DELETE FROM orders WHERE o_orderkey = ANY(%s)", keys)


def picked(table, n, *key):
    """A condition that holds for about n random rows."""
    run("CREATE TEMP TABLE IF NOT EXISTS pick (a bigint, b bigint); TRUNCATE pick")
    run("INSERT INTO pick SELECT %s, %s FROM %s TABLESAMPLE BERNOULLI (least(100, %d * 100.0 / greatest(1, (SELECT reltuples FROM pg_class "
        "WHERE oid = '%s'::regclass)))) REPEATABLE (%d)" % (key[0], key[-1], table, n, table, rnd.randrange(1 << 30)))
    return "(%s, %s) IN (SELECT a, b FROM pick)" % (key[0], key[-1])


UPDATES = {
    "region": ("r_comment = reverse(r_comment)",),
    "nation": ("n_comment = reverse(n_comment)", "n_regionkey = (n_regionkey + 1) % 5"),
    "supplier": ("s_acctbal = s_acctbal + 17.5", "s_nationkey = (s_nationkey + 1) % 25", "s_comment = overlay(s_comment PLACING 'Customer and Complaints' FROM 2)",
                 "s_address = reverse(s_address)", "s_comment = replace(s_comment, 'Complaints', 'compliments')"),
    "part": ("p_size = p_size % 50 + 1", "p_brand = 'Brand#23', p_container = 'MED BOX'", "p_type = 'PROMO ANODIZED BRASS', p_size = 15",
             "p_type = 'ECONOMY ANODIZED STEEL'", "p_name = 'forest green'", "p_name = 'almond puff'", "p_brand = 'Brand#12', p_container = 'SM BOX', p_size = 3"),
    "partsupp": ("ps_supplycost = ps_supplycost + 0.01", "ps_availqty = ps_availqty % 9999 + 1", "ps_supplycost = 1.00", "ps_supplycost = 999.99"),
    "customer": ("c_acctbal = -c_acctbal", "c_nationkey = (c_nationkey + 1) % 25", "c_mktsegment = 'BUILDING'", "c_phone = '13' || substr(c_phone, 3)",
                 "c_comment = reverse(c_comment)"),
    "orders": ("o_orderdate = o_orderdate + 30", "o_orderpriority = '1-URGENT'", "o_orderstatus = 'F'", "o_totalprice = o_totalprice * 2",
               "o_comment = 'special rush requests'", "o_custkey = o_custkey + 1", "o_shippriority = 1 - o_shippriority"),
    "lineitem": ("l_quantity = l_quantity % 50 + 1", "l_extendedprice = l_extendedprice + 1000, l_discount = 0.05", "l_shipdate = l_shipdate + 40",
                 "l_receiptdate = l_commitdate + 1", "l_receiptdate = l_commitdate - 1", "l_returnflag = 'R'", "l_shipmode = 'AIR', l_shipinstruct = 'DELIVER IN PERSON'",
                 "l_suppkey = l_suppkey % 10 + 1", "l_quantity = 50", "l_tax = 0.08"),
}
KEYS = {"region": ["r_regionkey"], "nation": ["n_nationkey"], "supplier": ["s_suppkey"], "part": ["p_partkey"], "partsupp": ["ps_partkey", "ps_suppkey"],
        "customer": ["c_custkey"], "orders": ["o_orderkey"], "lineitem": ["l_orderkey", "l_linenumber"]}


def random_updates():
    """Some rows of every table, every kind of change in turn; now and then rows go and come back, and whole orders go."""
    for table in TABLES:
        for change in rnd.sample(UPDATES[table], min(3, len(UPDATES[table]))):
            run("UPDATE %s SET %s WHERE %s" % (table, change, picked(table, rnd.choice((1, 3, 10)), *KEYS[table])))
    kind = rnd.randrange(4)
    if kind == 0:
        run("DELETE FROM lineitem WHERE " + picked("lineitem", 10, *KEYS["lineitem"]))
    elif kind == 1:
        run("DELETE FROM partsupp WHERE " + picked("partsupp", 5, *KEYS["partsupp"]))
        run("DELETE FROM customer WHERE " + picked("customer", 2, *KEYS["customer"]))
    elif kind == 2:
        where = picked("supplier", 2, "s_suppkey")
        run("CREATE TEMP TABLE gone AS SELECT * FROM supplier WHERE " + where)
        run("DELETE FROM supplier WHERE " + where)
        if rnd.randrange(2):
            run("INSERT INTO supplier SELECT * FROM gone")
        run("DROP TABLE gone")
    else:
        run("UPDATE nation SET n_name = 'GERMANY' WHERE n_nationkey = %s", rnd.randrange(25))


# ---------------------------------------------------------------- refreshing

def last(n):
    """The last refresh; a program that computed everything and applied the difference counts as FULL, whatever it is called."""
    return run("SELECT CASE merge_strategy_used WHEN 'diff' THEN 'FULL' ELSE action END, extract(epoch FROM end_time - start_time)::float8 * 1000, coalesce(delta_row_count, 0), coalesce(reason, '') "
               "FROM pgtrickle.pgt_refresh_history WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = %s) "
               "ORDER BY refresh_id DESC LIMIT 1", "q%d" % n)[0]


def refresh(n):
    """(action, engine ms, rows of the delta, reason), or None after a failure."""
    try:
        run("SELECT pgtrickle.refresh_stream_table(%s)", "q%d" % n)
    except psycopg2.Error as e:
        report(False, "q%d is refreshed" % n)
        note(str(e))
        return None
    return last(n)


def verify(n):
    """None, or what is wrong with the contents."""
    try:
        missing, extra = run("SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", "q%d" % n)[0]
    except psycopg2.Error as e:
        return str(e)
    return None if (missing, extra) == (0, 0) else "%d rows missing, %d extra" % (missing, extra)


def check(views):
    reasons = create(views)
    lost = sorted(n for n in INCREMENTAL & set(views) if reasons.get(n) is not None)
    report(not lost, "no query has stopped being incremental" + "".join(" q%d (%s)" % (n, reasons[n]) for n in lost))
    gained = sorted(n for n, r in reasons.items() if r is None and n not in INCREMENTAL)
    if gained:
        note("incremental, add to INCREMENTAL: %s" % gained)
    wrong, not_incremental, slow = {}, {}, {}
    for batch in range(BATCHES):
        refresh_streams(batch)
        random_updates()
        for n in list(reasons):
            got = refresh(n)
            if got is None:
                wrong.setdefault(n, "batch %d: failed" % batch)
                continue
            slow[n] = max(slow.get(n, 0), got[1])
            if reasons[n] is None and got[0] not in ("DIFFERENTIAL", "NO_DATA"):
                not_incremental.setdefault(n, "batch %d: %s %s" % (batch, got[0], got[3]))
            problem = verify(n)
            if problem:
                wrong.setdefault(n, "batch %d: %s" % (batch, problem))
    for n in reasons:
        report(n not in wrong, "q%d is right after each of %d batches%s" % (n, BATCHES, " - " + wrong[n] if n in wrong else ""))
        if reasons[n] is None:
            report(n not in not_incremental, "q%d is refreshed incrementally%s" % (n, " - " + not_incremental[n] if n in not_incremental else ""))
    note("slowest refresh, ms: " + ", ".join("q%d %.0f" % (n, ms) for n, ms in sorted(slow.items(), key=lambda x: -x[1])))
    note("%d of %d queries are incremental" % (sum(r is None for r in reasons.values()), len(reasons)))


# ---------------------------------------------------------------- measuring

def small_batch(number):
    """0.1 % of every table that is large enough: RF1 and RF2 for orders and line items, updates for the others."""
    refresh_streams(number)
    for table, change in (("supplier", "s_acctbal = s_acctbal + 1"), ("part", "p_size = p_size % 50 + 1"),
                          ("partsupp", "ps_supplycost = ps_supplycost + 1, ps_availqty = ps_availqty % 9999 + 1"), ("customer", "c_acctbal = c_acctbal + 1")):
        rows = max(1, int(one("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", table) / 1000))
        run("UPDATE %s SET %s WHERE %s" % (table, change, picked(table, rows, *KEYS[table])))


def single_row(n):
    high = {"key": "orders", "part": "part", "customer": "customer"}
    high = {k: rnd.randrange(1, max(2, int(one("SELECT max(%s) FROM %s" % (KEYS[t][0], t)) * 0.9))) for k, t in high.items()}
    run(SINGLE[n].replace("%%", "%").format(**high))
    return cur.rowcount


def median(values):
    return statistics.median(values) if values else float("nan")


def measured(reasons, views):
    """n -> {'batch', 'single', 'full': ms, 'actions': set}"""
    result = {n: {"batch": [], "single": [], "full": [], "rows": [], "actions": set()} for n in reasons}
    for r in range(ROUNDS + 1):                  # the first warms plans and cache
        small_batch(r)
        for n in reasons:
            got = refresh(n)
            full = timed("CREATE TEMP TABLE recomputed AS " + views[n])
            run("DROP TABLE recomputed")
            if got is None or r == 0:
                continue
            result[n]["batch"].append(got[1])
            result[n]["rows"].append(got[2])
            result[n]["full"].append(full)
            result[n]["actions"].add(got[0])
    for n in reasons:
        for r in range(ROUNDS + 1):
            if single_row(n) != 1:
                continue
            got = refresh(n)
            if got is not None and got[0] != "NO_DATA" and r > 0:
                result[n]["single"].append(got[1])
                result[n]["actions"].add(got[0])
        note("q%d: 0.1 %% %.1f ms, one row %.2f ms, recomputed in %.0f ms" % (n, median(result[n]["batch"]), median(result[n]["single"]), median(result[n]["full"])))
    return result


def geometric_mean(values):
    values = [v for v in values if v == v and v > 0]
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else float("nan")


def page(result, reasons, right):
    lines = ["## TPC-H, scale factor %s\n" % SF,
             "The 22 queries as the specification writes them (validation parameters) as stream tables; medians of %d. *0.1 %%*: RF1 and RF2 and updates of 0.1 %% of"
             " supplier, part, partsupp and customer in one refresh. *one row*: an update of one row of the query's largest table that passes the filter on it."
             " *recompute*: `CREATE TABLE AS` of the query in the same run. Milliseconds of the refresh itself; how many times faster in brackets."
             " `make bench-tpch` writes this page; `make check-tpch` shows that the results are right.\n" % ROUNDS,
             "| query | how | recompute ms | 0.1 % ms | one row ms | changed rows | right |", "|---|---|---|---|---|---|---|"]
    ratios = {"batch": [], "single": []}
    for n, m in result.items():
        full, cells = median(m["full"]), []
        for kind in ("batch", "single"):
            ms = median(m[kind])
            cells.append("%.2f (%.3g ×)" % (ms, full / ms) if ms == ms else "—")
            ratios[kind].append(full / ms if ms == ms else float("nan"))
        how = "incremental" if reasons[n] is None and "FULL" not in m["actions"] else "FULL: " + (reasons[n] or "at run time")
        lines.append("| q%d | %s | %.0f | %s | %s | %.0f | %s |" % (n, how.replace("|", "\\|"), full, cells[0], cells[1], median(m["rows"]), "yes" if right[n] else "**no**"))
    for title, keep in (("all queries", lambda n: True), ("incremental ones", lambda n: reasons[n] is None)):
        picks = [i for i, n in enumerate(result) if keep(n)]
        lines.append("\nGeometric mean over %s (%d): 0.1 %% %.1f ×, one row %.1f ×; lowest %.2g × and %.2g ×." % (
            title, len(picks), *(geometric_mean([ratios[k][i] for i in picks]) for k in ("batch", "single")),
            *(min([ratios[k][i] for i in picks if ratios[k][i] == ratios[k][i]], default=float("nan")) for k in ("batch", "single"))))
    return "\n".join(lines) + "\n"


def bench(views):
    reasons = create(views)
    result = measured(reasons, views)
    right = {}
    for n in reasons:
        problem = verify(n)
        right[n] = problem is None
        report(right[n], "q%d is right at the end%s" % (n, "" if right[n] else " - " + problem))
    text = page(result, reasons, right)
    with open(os.environ.get("TPCH_OUT", "/dev/stdout"), "a") as f:
        f.write(text)


def main():
    load()
    {"check": check, "bench": bench, "create": create}[sys.argv[1]](queries())
    sys.exit(1 if failed else 0)


main()
