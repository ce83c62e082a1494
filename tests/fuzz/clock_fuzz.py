#!/usr/bin/env python3
"""Random search for wrong flips: queries that read the clock, under clocks that the test sets.

As compiler_fuzz.py; besides the tables, each transaction moves the clock, forwards mostly.  The oracle is the query's own
text with every clock function replaced by a literal; it knows nothing of parameters, ranges or crossings.  After each step the
crossing is checked too: at any clock before it, the unchanged tables must give the same rows.

    clock_fuzz.py --dsn DSN [--seed N] [--rounds N] [--seconds S] [--case NAME]
"""
import random
import re
import sys

import psycopg2

import harness
from cases import SETUP
from compiler_fuzz import Round
from grammar import logged_table
from harness import Difference

COLUMNS = 'id int, k int, ts timestamptz, tn timestamp, d date, v int'
TABLES = ['e0', 'e1']


def literal(text, clock):
    """The text with its clock functions at `clock`."""
    c = f"'{clock}'::timestamptz"
    text = re.sub(r'\b(now|transaction_timestamp|statement_timestamp)\(\)', c, text)
    text = re.sub(r'\bage\(([a-z0-9_.]+)\)', rf'age(({c})::date, \1)', text)
    text = re.sub(r'\bCURRENT_TIMESTAMP\b(?!\()', c, text)
    text = re.sub(r'\bCURRENT_DATE\b', f'({c})::date', text)
    text = re.sub(r'\bLOCALTIMESTAMP\b(?!\()', f'({c})::timestamp', text)
    return text


class ClockRound(Round):
    def __init__(self, cur, query, clock):
        super().__init__(cur, query, TABLES)
        self.text = self.canonical
        clocks = [r for r in self.view['view'] if r[0] == 'clock']
        self.number = int(clocks[0][1]) if clocks else None
        self.crossing = clocks[0][2] if clocks else None
        self.old = self.new = clock
        self.canonical = literal(self.text, clock)

    def run(self, sql):
        return super().run(self.at(sql))

    def at(self, sql):
        return sql.replace('$1', f"'{self.old}'::timestamptz").replace('$2', f"'{self.new}'::timestamptz")

    def compile(self, changed):
        # only the delta knows the clock by number
        if getattr(self, 'number', None) is not None and (changed or self.moving):
            changed = changed + [self.number]
        out = super().compile(changed)
        for name in ('verify', 'load', 'diff'):
            if hasattr(self, 'new'):
                out[name] = [(k, n, self.at(s) if s else s) for k, n, s in out[name]]
        return out

    moving = False

    def check_equal(self, what):
        self.view['verify'] = [(None, None, self.at(self.raw_verify()))]
        super().check_equal(what)

    def raw_verify(self):
        self.raw = getattr(self, 'raw', None) or self.view['verify'][0][2]
        return self.raw

    def step(self, clock, changes):
        self.old, self.new = self.new, clock
        self.canonical = literal(self.text, clock)
        self.moving = True
        self.cur.execute('SET LOCAL search_path = f, public')
        self.transaction(changes)
        self.moving = False

    def check_crossing(self):
        """One microsecond before the crossing nothing has changed."""
        self.cur.execute(self.at(self.crossing))
        at = self.cur.fetchone()[0]
        self.cur.execute(f"SELECT %s::timestamptz IS NULL OR %s::timestamptz > '{self.new}'::timestamptz - interval '1 us', "
                         f"least(%s::timestamptz - interval '1 us', '{self.new}'::timestamptz + interval '400 days')::text", (at, at, at))
        ok, before = self.cur.fetchone()
        if not ok:
            raise Difference(f'crossing {at} is not after the clock {self.new}')
        self.cur.execute(f"SELECT '{before}'::timestamptz > '{self.new}'::timestamptz")
        if not self.cur.fetchone()[0]:
            return
        k = self.keys()
        then = literal(self.text, before)
        self.cur.execute(f'SELECT count(*) FROM (SELECT {k} FROM ({then}) q EXCEPT ALL SELECT {k} FROM f.st) m')
        if self.cur.fetchone()[0]:
            raise Difference(f'a row crosses before {at}, at {before}; clock {self.new}')


class ClockGrammar:
    """Random queries, rows and clocks around one base time."""

    def __init__(self, rnd, monotone):
        self.rnd = rnd
        self.monotone = monotone

    def pick(self, *choices):
        return self.rnd.choice(choices)

    def bound(self, kind):
        now = {'ts': self.pick('now()', 'CURRENT_TIMESTAMP', 'statement_timestamp()', 'transaction_timestamp()'),
               'tn': self.pick('LOCALTIMESTAMP', 'now()::timestamp'), 'd': 'CURRENT_DATE'}[kind]
        if kind == 'd':
            return self.pick(now, f'{now} - 1', f'({now} + 2)', f"({now} - interval '1 day')")
        shift = self.pick('30 minutes', '1 hour', '2 hours', '5 minutes', '1 day', '1 month', '1 hour 5 seconds')
        return self.pick(now, f"{now} - interval '{shift}'", f"{now} - interval '{shift}'", f"{now} + interval '{shift}'",
                         f"date_trunc('hour', {now})", f"date_trunc('day', {now}) - interval '{shift}'")

    def atom(self, a):
        kind = self.pick('ts', 'ts', 'ts', 'tn', 'd')
        op = self.pick('<', '<=', '>', '>=', '>', '>') if kind != 'd' else self.pick('<', '<=', '>', '>=', '=', '<>')
        span = self.pick('30 minutes', '1 hour', '1 day')
        return self.pick(f'{a}.{kind} {op} {self.bound(kind)}', f'{a}.{kind} {op} {self.bound(kind)}', f'{self.bound(kind)} {op} {a}.{kind}',
                         f"now() - {a}.ts {self.pick('<', '<=', '>', '>=')} interval '{span}'",
                         f"{a}.ts + {a}.v * interval '10 minutes' {self.pick('<', '>')} now()",
                         f"{a}.tn BETWEEN LOCALTIMESTAMP - interval '1 hour' AND LOCALTIMESTAMP",
                         f"age({a}.tn) {self.pick('<', '>')} interval '12 hours'")

    def condition(self, a):
        n = self.rnd.randint(1, 3)
        c = self.atom(a)
        for _ in range(n - 1):
            c = self.pick(f'({c} OR {self.atom(a)})', f'({c} AND {self.atom(a)})', f'({c} OR {a}.v > 3)', f'NOT ({c})', f'({c}) IS NOT TRUE')
        return c

    def recursion(self):
        """The clock in the base, in the step, and above."""
        c = self.condition
        base, step, above = (self.pick(f' WHERE {c(x)}', '') for x in 'abr')
        kind, bound = self.pick(('UNION', ''), ('UNION ALL', ' JOIN (VALUES (2)) w(most) ON r.v < w.most AND b.v > r.v'))
        rows = (f'WITH RECURSIVE r AS (SELECT a.k, a.ts, a.tn, a.d, a.v FROM f.e0 a{base} {kind} '
                f'SELECT r.k, b.ts, b.tn, b.d, b.v FROM r JOIN f.e1 b ON b.k = r.v{bound}{step}) ')
        return rows + self.pick('SELECT * FROM r', f'SELECT r.k, r.v FROM r{above}', f'SELECT r.k, count(*) AS n, max(r.v) AS m FROM r{above} GROUP BY r.k',
                                f'SELECT r.v, e.id FROM r JOIN f.e0 e ON e.k = r.k{above}')

    def query(self):
        c = self.condition
        return self.pick(
            f'SELECT a.id, a.ts, a.v FROM f.e0 a WHERE {c("a")}',
            self.recursion(), self.recursion(),
            f'SELECT a.k, count(*) AS n, sum(a.v) AS s FROM f.e0 a WHERE {c("a")} GROUP BY a.k',
            f'SELECT a.k, min(a.v) AS l, max(a.ts) AS m FROM f.e0 a WHERE {c("a")} AND a.v > 1 GROUP BY a.k',
            f'SELECT a.k, count(*) FILTER (WHERE {c("a")}) AS n, count(*) AS m FROM f.e0 a GROUP BY a.k',
            f'SELECT count(*) AS n FROM f.e0 a WHERE {c("a")}',
            f'SELECT a.id, CASE WHEN {c("a")} THEN a.v ELSE -a.v END AS x FROM f.e0 a',
            f'SELECT q.fresh, count(*) AS n, sum(q.v) AS s FROM (SELECT {c("a")} AS fresh, a.v FROM f.e0 a) q GROUP BY q.fresh',
            f'SELECT a.id, b.id AS o FROM f.e0 a JOIN f.e1 b ON a.k = b.k WHERE {c("a")} AND {c("b")}',
            f'SELECT a.k, sum(CASE WHEN {c("a")} THEN b.v ELSE 0 END) AS s FROM f.e0 a JOIN f.e1 b ON a.k = b.k AND {c("b")} GROUP BY a.k',
            f'SELECT a.id, b.id AS o FROM f.e0 a LEFT JOIN f.e1 b ON a.k = b.k AND {c("b")}',
            f'SELECT a.id, b.id AS o, b.v FROM f.e0 a LEFT JOIN f.e1 b ON a.k = b.k WHERE {c("a")}',
            f'SELECT a.id, b.id AS o FROM f.e0 a LEFT JOIN f.e1 b ON a.k = b.k WHERE {c("b")}',
            f'SELECT a.id FROM f.e0 a WHERE EXISTS (SELECT 1 FROM f.e1 b WHERE b.k = a.k AND {c("b")})',
            f'SELECT a.id FROM f.e0 a WHERE a.k NOT IN (SELECT b.k FROM f.e1 b WHERE {c("b")} AND b.k IS NOT NULL) AND {c("a")}',
            f'SELECT a.k, max(a.ts) AS m FROM f.e0 a GROUP BY a.k HAVING max(a.ts) {self.pick("<", ">")} {self.bound("ts")}',
            f'SELECT a.id, row_number() OVER (PARTITION BY a.k ORDER BY a.ts, a.id, a.v) AS r FROM f.e0 a WHERE {c("a")}',
            f'SELECT a.id, a.ts, a.v FROM f.e0 a WHERE {c("a")} ORDER BY {self.pick("a.ts", "-a.v", "a.v % 3 DESC")}, a.id, a.v LIMIT {self.pick("1", "3")}',
            f'SELECT a.id, b.v FROM f.e0 a JOIN f.e1 b ON a.k = b.k WHERE {c("a")} AND {c("b")} ORDER BY a.id + b.v LIMIT 2',
            f'SELECT a.k FROM f.e0 a WHERE {c("a")} EXCEPT SELECT b.k FROM f.e1 b WHERE {c("b")}',
            f'SELECT DISTINCT a.k FROM f.e0 a WHERE {c("a")}',
            f'SELECT a.id FROM f.e0 a WHERE {c("a")} UNION ALL SELECT b.v FROM f.e1 b WHERE {c("b")}',
            f'SELECT a.id, b.id AS o FROM f.e0 a JOIN f.e0 b ON a.k = b.k AND {c("a")} AND {c("b")}')

    def moment(self, base):
        # on a grid, so that rows stand exactly on bounds
        return f"timestamptz '{base}' + {self.rnd.randint(-60, 60)} * interval '{self.pick('5 minutes', '1 hour', '1 day')}'"

    def row(self, base):
        rnd = self.rnd
        null = lambda x: 'NULL' if rnd.random() < 0.1 else x
        return (f"({rnd.randint(1, 30)}, {null(str(rnd.randint(1, 3)))}, {null(self.moment(base))}, {null(f'({self.moment(base)})::timestamp')}, "
                f"{null(f'({self.moment(base)})::date')}, {null(str(rnd.randint(0, 6)))})")

    def insert(self, base):
        return f"INSERT INTO f.{self.pick(*TABLES)} VALUES {', '.join(self.row(base) for _ in range(self.rnd.randint(1, 4)))}"

    def changes(self, base):
        out = []
        for _ in range(self.rnd.choice([0, 0, 1, 1, 2])):
            t = self.pick(*TABLES)
            some = f'id % {self.rnd.randint(2, 4)} = 0'
            out.append(self.pick(self.insert(base), self.insert(base), f'DELETE FROM f.{t} WHERE {some}',
                                 f'UPDATE f.{t} SET v = v + 1 WHERE {some}', f"UPDATE f.{t} SET ts = ts + interval '1 hour' WHERE {some}"))
        return out


def one_round(cur, seed, stats):
    rnd = random.Random(seed)
    zone, base = rnd.choice([('UTC', '2024-03-31 00:00+00'), ('Europe/Berlin', '2024-10-27 00:00+00'), ('Europe/Berlin', '2024-03-31 00:30+00'),
                             ('America/New_York', '2024-11-03 05:30+00'), ('UTC', '2024-05-15 12:00+00')])
    g = ClockGrammar(rnd, zone == 'UTC')
    query = g.query()
    step = rnd.choice(['5 minutes', '20 minutes', '1 hour', '1 day', '7 minutes 3 seconds'])
    cur.execute(f"SET LOCAL TimeZone = '{zone}'")
    cur.execute('SET LOCAL pg_trickle.topk_margin = 1')
    cur.execute('SET LOCAL search_path = f, public')
    cur.execute(g.insert(base).replace('VALUES', 'VALUES ' + g.row(base) + ','))
    for _ in range(4):
        cur.execute(g.insert(base))

    def clock(n):
        cur.execute(f"SELECT (timestamptz '{base}' + {n} * interval '{step}')::text")
        return cur.fetchone()[0]

    n = 0
    trace = []
    try:
        r = ClockRound(cur, query, clock(n))
        if r.full_reason:
            stats['FULL: ' + r.full_reason] = stats.get('FULL: ' + r.full_reason, 0) + 1
        r.create()
        r.check_equal('after load')
        if r.full_reason:
            return query
        for _ in range(rnd.randint(2, 6)):
            n += rnd.choice([0, 1, 1, 1, 2, 5, -1])
            changes = g.changes(base)
            trace.append((clock(n), changes))
            r.step(clock(n), changes)
            stats[r.strategy] = stats.get(r.strategy, 0) + 1
            if r.crossing and zone == 'UTC':
                r.check_crossing()
        r.run('DELETE FROM f.st WHERE random() < 0.3')
        temps, _ = r.program('diff', r.compile([]))
        r.check_equal('after diff')
    except (Difference, psycopg2.Error) as e:
        raise Difference(f'{e}\n  zone {zone}, query: {query}\n  steps: {trace}') from e
    return query


CASES = {
    # wrong readings of delta rules (docs/pitfalls.md): R9
    'inserted and expired between two refreshes': {
        'query': "SELECT id FROM f.e0 WHERE ts > now() - interval '1 hour'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (id, ts) VALUES (1, '2024-05-01 11:30+00')"]),
                  ('2024-05-01 14:00+00', ["INSERT INTO f.e0 (id, ts) VALUES (2, '2024-05-01 12:30+00')"])]},
    'expired and deleted between two refreshes': {
        'query': "SELECT id FROM f.e0 WHERE ts > now() - interval '1 hour'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (id, ts) VALUES (1, '2024-05-01 11:30+00')"]),
                  ('2024-05-01 14:00+00', ['DELETE FROM f.e0'])]},
    # R10
    'two windows of one row': {
        'query': "SELECT id FROM f.e0 WHERE ts > now() - interval '10 minutes' OR ts < now() - interval '1 hour'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (id, ts) VALUES (1, '2024-05-01 11:55+00')"]),
                  ('2024-05-01 12:30+00', []), ('2024-05-01 13:30+00', []), ('2024-05-01 11:50+00', [])]},
    'both windows flip at once': {
        'query': "SELECT id FROM f.e0 WHERE ts > now() - interval '10 minutes' OR ts < now() - interval '20 minutes'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (id, ts) VALUES (1, '2024-05-01 11:55+00')"]), ('2024-05-01 14:00+00', [])]},
    # months are not monotone: Mar 30 and 31 minus a month are Feb 29; Mar 31 23:00 lies behind Mar 30 23:30
    'month end': {
        'query': "SELECT id FROM f.e0 WHERE ts > now() - interval '1 month'",
        'steps': [('2024-03-30 20:00+00', ["INSERT INTO f.e0 (id, ts) SELECT g, '2024-02-29 00:00+00'::timestamptz + g * interval '1 hour' FROM generate_series(0, 30) g"]),
                  ('2024-03-31 01:00+00', []), ('2024-03-31 22:00+00', []), ('2024-04-01 00:00+00', [])]},
    'clocks go back': {
        'zone': 'Europe/Berlin',
        'query': "SELECT id FROM f.e0 WHERE tn > LOCALTIMESTAMP - interval '10 minutes'",
        'steps': [('2024-10-27 00:50+00', ["INSERT INTO f.e0 (id, tn) SELECT g, '2024-10-27 01:30'::timestamp + g * interval '5 minutes' FROM generate_series(0, 20) g"]),
                  ('2024-10-27 01:05+00', []), ('2024-10-27 01:55+00', []), ('2024-10-27 02:30+00', [])]},
    'a day that has 25 hours': {
        'zone': 'Europe/Berlin',
        'query': "SELECT id FROM f.e0 WHERE ts >= date_trunc('day', now()) - interval '1 day'",
        'steps': [('2024-10-27 22:30+00', ["INSERT INTO f.e0 (id, ts) SELECT g, '2024-10-25 20:00+00'::timestamptz + g * interval '1 hour' FROM generate_series(0, 60) g"]),
                  ('2024-10-27 23:30+00', []), ('2024-10-28 23:30+00', [])]},
    'windows on both sides of a join': {
        'query': "SELECT a.id, b.id AS o FROM f.e0 a JOIN f.e1 b ON a.k = b.k WHERE a.ts > now() - interval '1 hour' AND b.ts > now() - interval '30 minutes'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (id, k, ts) VALUES (1, 1, '2024-05-01 11:30+00')",
                                          "INSERT INTO f.e1 (id, k, ts) VALUES (1, 1, '2024-05-01 11:45+00')"]),
                  ('2024-05-01 12:20+00', ["INSERT INTO f.e1 (id, k, ts) VALUES (2, 1, '2024-05-01 12:19+00')", 'DELETE FROM f.e1 WHERE id = 1']),
                  ('2024-05-01 13:30+00', ["INSERT INTO f.e0 (id, k, ts) VALUES (2, 1, '2024-05-01 13:00+00')"])]},
    'freshness in HAVING': {
        'query': "SELECT k, max(ts) AS m FROM f.e0 GROUP BY k HAVING max(ts) > now() - interval '1 hour'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (k, ts) VALUES (1, '2024-05-01 11:30+00'), (2, '2024-05-01 10:30+00')"]),
                  ('2024-05-01 13:00+00', ["INSERT INTO f.e0 (k, ts) VALUES (2, '2024-05-01 12:30+00')"])]},
    'age counts from midnight': {
        'query': "SELECT id FROM f.e0 WHERE age(tn) < interval '1 day'",
        'steps': [('2024-05-01 12:00+00', ["INSERT INTO f.e0 (id, tn) VALUES (1, '2024-04-30 11:30'), (2, '2024-05-01 10:30')"]),
                  ('2024-05-01 23:59+00', []), ('2024-05-02 00:01+00', []), ('2024-05-03 00:00+00', [])]},
}


def sequence(cur, case):
    """A named case: a query and steps of (clock, changes)."""
    cur.execute(f"SET LOCAL TimeZone = '{case.get('zone', 'UTC')}'")
    r = ClockRound(cur, case['query'], case['steps'][0][0])
    if r.full_reason:
        raise Difference(f'not incremental: {r.full_reason}')
    r.create()
    for clock, changes in case['steps']:
        r.step(clock, changes)


def main():
    args = harness.arguments().parse_args()
    tables = [sql for t in TABLES for sql in logged_table(t, COLUMNS)]
    conn = harness.connect(args.dsn, ['CREATE SCHEMA f', *SETUP, *tables, 'CREATE INDEX ON f.e0 (ts)'])
    failed = sum(not harness.run_case(conn, name, case, sequence) for name, case in CASES.items() if args.case in (None, name))
    if args.case:
        return 1 if failed else 0
    return harness.search(conn, args, failed, one_round)


if __name__ == '__main__':
    sys.exit(main())
