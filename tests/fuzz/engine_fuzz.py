#!/usr/bin/env python3
"""Random search through the whole product: plugin, consumer, buffers, engine.

Each round fills the grammar's tables, creates stream tables over random queries (and some that read stream tables), commits random
transactions while the consumer captures them and refreshes half of the stream tables by itself, and has every stream table
verified: missing and extra must be 0.  Needs a running consumer.

    engine_fuzz.py [--seed N] [--rounds N] [--seconds S] [--width STs-per-round]

Prints one line per difference with its seed, and counts of refreshes by action and of refusals by reason.  Exit status 1 when there
was a difference.
"""
import argparse
import collections
import random
import sys
import time
import zlib

import psycopg2

from grammar import COLUMNS, Grammar, SQL_TYPE, TABLES, schema_sql

# SQLSTATEs that belong to a random query, not to us: division by zero, overflow, invalid casts, regular refusals
QUERY_ERRORS = ("22", "0A", "42", "21", "54")


class Fuzz:
    def __init__(self, conn):
        self.conn = conn
        self.cur = conn.cursor()
        self.counts = collections.Counter()
        self.differences = 0

    def run(self, sql, *args):
        self.cur.execute(sql, args or None)
        return self.cur.fetchall() if self.cur.description else []

    def setup(self):
        self.run("DROP SCHEMA IF EXISTS f CASCADE")
        for sql in schema_sql():
            if "log_" not in sql:                # the compiler's search keeps logs; here the WAL is the log
                self.run(sql)
        self.run("SET search_path = f, public")

    def create(self, name, query, rnd):
        schedule = rnd.choice(["1d", "continuous"])
        try:
            # every fourth query by comparison only: without a random number, so that seeds mean what they meant
            mode = "FULL" if zlib.crc32(query.encode()) % 4 == 0 else "AUTO"
            self.run("SELECT pgtrickle.create_stream_table(%s, %s, schedule => %s, refresh_mode => %s)", "f." + name, query, schedule, mode)
            return True
        except psycopg2.Error as e:
            if not (e.pgcode or "").startswith(QUERY_ERRORS):
                raise
            self.counts["refused: " + (e.diag.message_primary or "")[:60]] += 1
            return False

    def over(self, st, rnd):
        """A query over another stream table."""
        columns = self.run("SELECT quote_ident(attname), atttypid::regtype::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                           "AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt\\_%%'", "f." + st)
        column = rnd.choice(columns)[0]
        return rnd.choice(["SELECT {c} AS g, count(*) AS n FROM f.{s} GROUP BY {c}", "SELECT DISTINCT {c} AS g FROM f.{s}",
                           "SELECT {c} AS g FROM f.{s} WHERE {c} IS NOT NULL",
                           "SELECT s.{c} AS g, t.v FROM f.{s} s LEFT JOIN f.t1 t ON t.s = s.{c}::text"]).format(c=column, s=st)

    def verify(self, st, seed, query):
        try:
            missing, extra = self.run("SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", "f." + st)[0]
        except psycopg2.Error as e:
            if (e.pgcode or "").startswith(("22", "21")):
                self.counts["query error " + e.pgcode] += 1
                return
            self.differences += 1
            print("seed %d: %s: %s\n  query: %s" % (seed, st, e, query), flush=True)
            return
        self.counts["verified"] += 1
        if missing or extra:
            self.differences += 1
            print("seed %d: %s: missing %d, extra %d\n  query: %s" % (seed, st, missing, extra, query), flush=True)

    def round(self, seed, width):
        rnd = random.Random(seed)
        grammar = Grammar(rnd)
        for sql in grammar.fill():
            self.run(sql)
        sts = []
        for i in range(width):
            chained = sts and rnd.random() < 0.25
            query = self.over(rnd.choice(sts)[0], rnd) if chained else grammar.query()
            if self.create("st%d" % i, query, rnd):
                sts.append(("st%d" % i, query))
        for _ in range(rnd.randint(2, 5)):
            self.transaction(grammar, rnd)
            for st, query in rnd.sample(sts, len(sts)) if rnd.random() < 0.5 else rnd.sample(sts, (len(sts) + 1) // 2):
                self.verify(st, seed, query)
        for st, query in sts:
            self.verify(st, seed, query)
        for action, reason, n in self.run("SELECT action, CASE WHEN action = 'DIFFERENTIAL' THEN merge_strategy_used ELSE left(reason, 50) END, count(*) "
                                          "FROM pgtrickle.pgt_refresh_history WHERE status = 'COMPLETED' GROUP BY 1, 2"):
            self.counts["%s %s" % (action, reason)] += n
        self.run("DELETE FROM pgtrickle.pgt_refresh_history")
        for st, _ in reversed(sts):              # readers first
            self.run("SELECT pgtrickle.drop_stream_table(%s)", "f." + st)
        self.run("TRUNCATE " + ", ".join("f." + t for t in TABLES))

    def transaction(self, grammar, rnd):
        self.conn.autocommit = False
        try:
            for sql in grammar.transaction():
                self.run("SAVEPOINT s")
                try:
                    self.run(sql)
                except psycopg2.Error:
                    self.run("ROLLBACK TO s")
            self.conn.commit() if rnd.random() < 0.9 else self.conn.rollback()
        finally:
            self.conn.rollback()
            self.conn.autocommit = True


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rounds", type=int, default=1000000)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--width", type=int, default=8)
    args = p.parse_args()
    conn = psycopg2.connect("")
    conn.autocommit = True
    fuzz = Fuzz(conn)
    fuzz.run("SET client_min_messages = error; SET statement_timeout = '60s'; SET jit = off; SET pg_trickle.barrier_timeout = '20s'")
    fuzz.setup()
    until = time.time() + args.seconds
    seed = args.seed
    while seed < args.seed + args.rounds and time.time() < until and fuzz.differences < 10:
        fuzz.round(seed, args.width)
        seed += 1
    for what, n in sorted(fuzz.counts.items()):
        print("# %6d %s" % (n, what))
    print("# %d rounds from seed %d, %d differences" % (seed - args.seed, args.seed, fuzz.differences))
    sys.exit(1 if fuzz.differences else 0)


if __name__ == "__main__":
    main()
