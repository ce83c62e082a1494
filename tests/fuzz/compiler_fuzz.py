#!/usr/bin/env python3
"""Random search for wrong delta programs, without engine, consumer or plugin.

Each round makes small tables (bags, NULLs, duplicates), a random view query, an ST by its load program, and a few random
transactions over all tables.  The changes are logged by transition-table triggers into tables that stand in for the engine's
__pgt_src<i>; the program's ENR steps become temporary tables.  After each transaction the ST must equal its query as a bag
(EXCEPT ALL both ways), the steps' own delta must lead from the old rows to the new ones, and the storage query must equal what is
stored, hidden columns included.

    compiler_fuzz.py --dsn DSN [--seed N] [--rounds N] [--case NAME] [--cases] [--query SQL] [--kind KIND] [--transactions N]

Exit status 1 when a difference was found; the seed reproduces it.
"""
import random
import re
import sys
from itertools import zip_longest

import psycopg2

import grammar_parts
import harness
from cases import CASES, SETUP, TYPES, type_cases
from grammar import Grammar, TABLES, logged_table, schema_sql
from harness import Difference


def quote(name):
    return '"' + name.replace('"', '""') + '"'


METHODS = ('hashagg', 'sort', 'hashjoin', 'mergejoin', 'nestloop', 'seqscan', 'incremental_sort')


class Round:
    """One ST over the tables of the current transaction."""

    path = 'f, public'

    def __init__(self, cur, query, tables=TABLES, stats=None, plans=None):
        self.cur = cur
        self.plans = plans      # random.Random: every statement is planned with other methods, as growing tables would have it
        self.stats = {} if stats is None else stats
        self.query = query
        self.tables = tables
        self.trace = []
        self.view = self.compile([])
        self.columns = [(r[1], r[0] == 'hidden', r[2]) for r in self.view['view'] if r[0] in ('column', 'hidden')]
        self.sources = [(int(r[1]), [int(a) for a in r[2].split(',')]) for r in self.view['view'] if r[0] == 'source']
        self.visible = [c[0] for c in self.columns if not c[1]]
        self.types = {c[0]: c[2] for c in self.columns}
        self.canonical = [r[2] for r in self.view['view'] if r[0] == 'query'][0]
        self.full_reason = [r[2] for r in self.view['view'] if r[0] == 'full_reason'][0]
        self.strategy = None
        if self.full_reason:
            self.plans = None   # a query with several answers is compared in the plan that it has

    def compile(self, changed):
        self.cur.execute(f"SET LOCAL search_path = {self.path}")
        self.cur.execute("SELECT section, kind, name, sql FROM pgtrickle._compile(%s, 'f.st', %s::int[])", (self.query, changed))
        out = {}
        for section, kind, name, sql in self.cur.fetchall():
            out.setdefault(section, []).append((kind, name, sql))
        self.cur.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        return out

    def check_idempotent(self):
        """The canonical text is its own canonical text, stored the same way."""
        query, self.query = self.query, self.canonical
        again = self.compile([])
        self.query = query

        def shapes(view):   # in which order aggregates and tables are kept inside may differ: programs are made from the canonical text only
            inner = sorted(str(sorted(re.sub(r'^\S+ ', '', c) for c in row[2].split(', '))) for row in view if row[0] == 'inner')
            return [row for row in view if row[0] not in ('notice', 'query', 'inner', 'inner_index')] + inner

        for a, b in zip_longest(shapes(self.view['view']), shapes(again['view'])):
            if a != b:
                raise Difference(f'canonical query compiles differently: {a} / {b}')
        text = [r[2] for r in again['view'] if r[0] == 'query'][0]
        if text.count('SELECT') != self.canonical.count('SELECT'):
            raise Difference(f'canonical query is not canonical: {self.canonical} / {text}')

    def run(self, sql):
        self.trace.append(sql)
        if self.plans:
            self.cur.execute(''.join(f"SET LOCAL enable_{m} = {self.plans.choice(['on', 'on', 'off'])}; " for m in METHODS))
        self.cur.execute(sql)
        return self.cur.rowcount

    def create(self):
        cols = ', '.join(f'{quote(n)} {t}' for n, h, t in self.columns)
        self.run(f'CREATE TABLE f.st ({cols})')
        inner = [r for r in self.view['view'] if r[0] in ('inner', 'inner_index')]
        for kind, number, sql in inner:
            self.run(sql % f'f.st_inner{number}' if kind == 'inner_index' else f'CREATE TABLE f.st_inner{number} ({sql})')
        self.program('load', self.view)
        for kind, _, sql in self.view['view']:
            if kind == 'index':
                self.run(sql % 'f.st')

    def program(self, section, compiled):
        """Runs a program; returns the ST's own delta as a table name, or None when it stopped early."""
        temps = []
        out = None
        empty = set()
        for kind, name, sql in compiled[section]:
            kind, _, needs = kind.partition(':')
            idle = bool(needs) and empty.issuperset(needs.split(','))
            if kind == 'strategy':
                self.strategy = name
            elif kind.startswith('enr'):
                n = self.run(f'CREATE TEMP TABLE {name} AS {sql}{" WITH NO DATA" if idle else ""}')
                temps.append(name)
                if idle or n == 0:
                    n = 0
                    empty.add(name)
                if kind.endswith('?') and n == 0:
                    break
            elif kind == 'out':
                self.run(f'CREATE TEMP TABLE own AS {sql}')
                temps.append('own')
                out = True
            elif idle:
                self.count('steps not needed')
            else:
                n = self.run(sql)
                if section == 'delta' and n and ('NOT x.complete' in sql or 'r.r > (' in sql):
                    self.count('margin refilled' if sql.startswith('INSERT') else 'margin trimmed' if 'rank()' in sql else 'margin emptied')
        return temps, out

    def count(self, what):
        self.stats[what] = self.stats.get(what, 0) + 1

    def keys(self, alias='', only=None):
        noeq = ('json', 'xml', 'point', 'json[]', 'polygon', 'box', 'circle', 'path', 'xid', 'pg_snapshot')
        return ', '.join(alias + quote(n) + ('::text' if self.types[n].replace('pg_catalog.', '').split(' ')[0] in noeq else '') for n in self.visible if only in (None, n))

    def oracle(self):
        """
        What the ST is compared with.  Where two windows number rows that are equal in every column, SQL leaves open which numbers go
        together; the storage query settles it, the canonical text cannot.
        """
        if self.canonical.count(' OVER (') < 2 or self.full_reason:
            return self.canonical
        load = [sql for kind, _, sql in self.view['load'] if kind == 'dml'][-1]
        self.cur.execute('DROP TABLE IF EXISTS again; CREATE TEMP TABLE again (LIKE f.st)')
        self.cur.execute(load.replace('INSERT INTO f.st', 'INSERT INTO again', 1))
        every = '' if 'DISTINCT' in self.canonical else 'ALL'   # which pairs there are decides how many rows are distinct
        for column in self.visible:     # each column by itself has one answer
            k = self.keys(only=column)
            self.cur.execute(f'SELECT {k} FROM ({self.canonical}) q EXCEPT {every} SELECT {k} FROM again LIMIT 1')
            if self.cur.fetchone():
                raise Difference(f'storage query differs from the canonical one in {column}')
        return 'TABLE again'

    def check_equal(self, what):
        k = self.keys()
        oracle = self.oracle()
        self.cur.execute(f'SELECT (SELECT count(*) FROM (SELECT {k} FROM ({oracle}) q EXCEPT ALL SELECT {k} FROM f.st) m), '
                         f'(SELECT count(*) FROM (SELECT {k} FROM f.st EXCEPT ALL SELECT {k} FROM ({oracle}) q) m)')
        missing, extra = self.cur.fetchone()
        if missing or extra:
            raise Difference(f'{what}: missing {missing}, extra {extra}')
        if self.query.startswith('/* exact */'):    # it has one answer, whatever the canonical query is
            self.cur.execute('SET LOCAL search_path = f, public')
            self.cur.execute(f'SELECT (SELECT count(*) FROM (SELECT {k} FROM ({self.query}) q EXCEPT ALL SELECT {k} FROM f.st) m), '
                             f'(SELECT count(*) FROM (SELECT {k} FROM f.st EXCEPT ALL SELECT {k} FROM ({self.query}) q) m)')
            missing, extra = self.cur.fetchone()
            self.cur.execute('SET LOCAL search_path = pg_catalog, pg_temp')
            if missing or extra:
                raise Difference(f'{what}: missing {missing}, extra {extra} of the query as written')
        if oracle != self.canonical:
            return
        self.cur.execute([r[2] for r in self.view['verify']][0])
        missing, extra = self.cur.fetchone()
        if missing or extra:
            raise Difference(f'{what}: verify SQL says missing {missing}, extra {extra}')

    def log(self, changes):
        """Changes the tables, with the changes of source i in __pgt_src<i>.  Returns which sources changed."""
        for t in self.tables:
            self.cur.execute(f'DELETE FROM f.log_{t}')
        for sql in changes:
            self.run(sql)
        changed = []
        for i, (relid, attnums) in enumerate(self.sources):
            self.cur.execute('SELECT relname FROM pg_class WHERE oid = %s', (relid,))
            log = 'log_' + self.cur.fetchone()[0]
            self.cur.execute('SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped', (relid,))
            names = dict(self.cur.fetchall())
            cols = ', '.join(f'{quote(names[a])} AS c{a}' for a in attnums)
            n = self.run(f'CREATE TEMP TABLE __pgt_src{i} AS SELECT w, {cols} FROM f.{log}')
            if n > 0:
                changed.append(i)
            else:
                self.run(f'DROP TABLE __pgt_src{i}')
        return changed

    def transaction(self, changes):
        """Changes the tables and brings the ST up to date by its delta program."""
        changed = self.log(changes)
        self.run('CREATE TEMP TABLE before AS TABLE f.st')
        compiled = self.compile(changed)
        out = None
        temps = []
        if 'delta' in compiled:
            temps, out = self.program('delta', compiled)
        for t in temps:
            if t != 'own':
                self.cur.execute(f'DROP TABLE {t}')
        for i in changed:
            self.cur.execute(f'DROP TABLE __pgt_src{i}')
        self.check_equal('after a transaction')
        self.check_own_delta(out)
        self.cur.execute('DROP TABLE before')
        if out:
            self.cur.execute('DROP TABLE own')
        self.check_hidden(compiled)

    def check_own_delta(self, out):
        k = self.keys()
        own = 'UNION ALL SELECT ' + ', '.join(quote('c%d' % (i + 1)) for i in range(len(self.visible))) + ', w FROM own' if out else ''
        cols = ', '.join(quote(n) for n in self.visible)
        self.cur.execute(f'SELECT count(*) FROM (SELECT sum(__w) FROM (SELECT {cols}, 1 AS __w FROM before {own} '
                         f'UNION ALL SELECT {cols}, -1 FROM f.st) x GROUP BY {k} HAVING sum(__w) <> 0) y')
        if self.cur.fetchone()[0]:
            raise Difference("the ST's own delta does not lead from its old rows to its new ones")

    def check_hidden(self, compiled):
        """Hidden columns are what a fresh load would store: the diff program of a right ST finds nothing to do."""
        self.cur.execute('SAVEPOINT d')
        for _, name, sql in [s for s in compiled['diff'] if (s[1] or '').startswith('__pgt_inner')]:
            self.run(f'CREATE TEMP TABLE {name} AS {sql}')
            self.cur.execute(f'SELECT * FROM {name} WHERE {self.inner_differs(name)} LIMIT 3')
            rows = self.cur.fetchall()
            if rows:
                raise Difference(f'diff program finds rows of {name} to change: {rows}')
        margins = self.check_margins(compiled)
        for _, name, sql in [s for s in compiled['diff'] if (s[1] or '').startswith('__pgt_delta') and s[1] != '__pgt_delta' and s[1] not in margins]:
            n = self.run(f'CREATE TEMP TABLE {name} AS {sql}')
            if n:
                raise Difference(f'diff program finds {n} rows of {name} to change')
        first = [s for s in compiled['diff'] if s[1] in ('__pgt_diff', '__pgt_delta', '__pgt_chg')][0]
        self.run(f'CREATE TEMP TABLE nothing AS {first[2]}')
        self.cur.execute('SET LOCAL search_path = pg_catalog, e, pg_temp')
        self.cur.execute(f'SELECT * FROM nothing WHERE {self.differs_by_value(first[1])} LIMIT 3')
        rows = self.cur.fetchall()
        self.cur.execute('ROLLBACK TO d')
        if rows:
            raise Difference(f'diff program finds rows to change: {rows}')

    def check_margins(self, compiled):
        """A margin (margin.c) holds the first rows of its node with all that tie with the last, LIMIT's rows at least; or it is complete."""
        out = []
        for kind, number, sql in self.view['view']:
            state = re.search('complete_[0-9]+', sql or '') if kind == 'inner' else None
            if not state:
                continue
            rows = f'f.st_inner{int(number) - 1}'
            self.cur.execute(f'SELECT kept, {state.group(0)}, (SELECT count(*) FROM {rows}) FROM f.st_inner{number}')
            (kept, complete, n), = self.cur.fetchall()
            load, = [sql for kind, _, sql in compiled['load'] if kind == 'dml' and sql.startswith(f'INSERT INTO {rows} (')]
            size = re.compile(r"\((\d+) \+ GREATEST\(\1, pg_catalog.current_setting\('pg_trickle.topk_margin'\)::pg_catalog.int8\)\)")
            needed = int(size.search(load).group(1))
            expected = 'SELECT' + size.sub('1000000' if complete else str(kept), load).split('SELECT', 1)[1]
            self.cur.execute(f'SELECT count(*) FILTER (WHERE w < 0), count(*) FILTER (WHERE w > 0) FROM (SELECT r, sum(w) AS w FROM '
                             f'(SELECT q::text AS r, 1 AS w FROM ({expected}) q UNION ALL SELECT t::text, -1 FROM {rows} t) x GROUP BY r) y')
            extra, missing = self.cur.fetchone()
            if kept != n or extra or missing or not (complete or kept >= needed):
                raise Difference(f'margin {rows}: {n} rows of {kept}, complete {complete}, needed {needed}, {missing} missing, {extra} too many')
            self.count('margin complete' if complete else 'margin with boundary')
            out.append(f'__pgt_delta{int(number) - 1}')
        return out

    def inner_differs(self, step):
        self.cur.execute('SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum',
                         ('f.st' + step.replace('__pgt', '', 1),))
        tests = ["op <> 'u'"]
        for i, (name,) in enumerate(self.cur.fetchall()):
            known = f'c{i + 1} IS NOT NULL AND ' if name.startswith('__pgt_s') else ''
            tests.append(f'({known}c{i + 1} IS DISTINCT FROM o{i + 1})')
        return ' OR '.join(tests)

    def differs_by_value(self, step):
        """Rows that differ in image only (0 and -0, 1.0 and 1.00) are right: which one a group shows is the plan's choice."""
        text = [x for x in self.keys('').split(', ') if x.endswith('::text')]
        if step != '__pgt_chg':
            cols = ', '.join(f'c{i + 1}' + ('::text' if quote(n) + '::text' in text else '') for i, n in enumerate(self.visible))
            return f'EXISTS (SELECT FROM (SELECT sum(w) AS s FROM nothing GROUP BY {cols}) q WHERE s <> 0)'
        tests = ["op <> 'u'"]
        for i, (n, hidden, _) in enumerate(self.columns):
            c = '::text' if quote(n) + '::text' in text else ''
            known = f'c{i + 1} IS NOT NULL AND ' if n.startswith('__pgt_s') else ''
            tests.append(f'({known}c{i + 1}{c} IS DISTINCT FROM o{i + 1}{c})')
        return ' OR '.join(tests)

    def perturb_and_diff(self, rnd):
        """Damage the ST, run the diff program, compare."""
        self.run(f'DELETE FROM f.st WHERE random() < 0.3')
        if not any(h for _, h, _ in self.columns) and 'UNIQUE' not in ''.join(r[2] or '' for r in self.view['view'] if r[0] == 'index') \
                and not self.scalar_or_keyed():
            self.run('INSERT INTO f.st SELECT * FROM f.st WHERE random() < 0.3')
        for kind, number, _ in self.view['view']:
            if kind == 'inner':
                self.run(f'DELETE FROM f.st_inner{number} WHERE random() < 0.3')
        temps, _ = self.program('diff', self.compile([]))
        for t in temps:
            self.cur.execute(f'DROP TABLE {t}')
        self.check_equal('after diff')

    def scalar_or_keyed(self):
        return [s for s in self.view['diff'] if s[1] == '__pgt_chg'] != []


def too_dear(cur, query):
    """Does the query alone take so long that a round of it would be no use?"""
    try:
        cur.execute("SET LOCAL search_path = f, public; SET LOCAL statement_timeout = '1s'; EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) " + query)
    except psycopg2.errors.QueryCanceled:
        return True
    except psycopg2.Error:
        pass        # refused: for the load to find out
    finally:
        cur.execute('ROLLBACK TO q')
    return False


def query_of(g, args, seed):
    kind = args.kind or ('nested' if seed % 8 == 5 else None)
    return getattr(grammar_parts, kind)(g, 2)[0] if kind else g.query()


def one_round(cur, seed, args, stats):
    rnd = random.Random(seed)
    g = Grammar(rnd)
    for sql in g.fill():
        cur.execute(sql)
    if args.query:
        query = args.query
    else:
        query = query_of(g, args, seed)
    # small, so that margins run out and overflow
    cur.execute(f'SET LOCAL pg_trickle.topk_margin = {[1, 1, 2, 5][seed % 4]}')
    r = None
    cur.execute('SAVEPOINT q')
    if too_dear(cur, query):
        stats['too dear'] = stats.get('too dear', 0) + 1
        return
    try:
        r = Round(cur, query, stats=stats, plans=random.Random(seed) if seed % 2 else None)
        r.check_idempotent()
        r.create()
        r.check_equal('after load')
    except psycopg2.Error as e:
        # a query that PostgreSQL itself refuses (overflow, FULL JOIN without hashable condition) teaches nothing
        cur.execute('ROLLBACK TO q')
        cur.execute('SET LOCAL search_path = f, public')
        try:
            cur.execute('CREATE TEMP TABLE plain AS ' + query)
        except psycopg2.Error as own:
            stats['refused'] = stats.get('refused', 0) + 1
            return
        raise Difference(f'load fails: {e}') from e
    if r.full_reason:
        key = 'FULL: ' + r.full_reason
        stats[key] = stats.get(key, 0) + 1
    for _ in range(args.transactions or rnd.randint(1, 4)):
        if r.full_reason:
            break
        changes = g.transaction()
        try:
            r.transaction(changes)
            stats[r.strategy] = stats.get(r.strategy, 0) + 1
        except psycopg2.errors.QueryCanceled:
            stats['too dear'] = stats.get('too dear', 0) + 1    # the result has grown out of proportion
            return
        except psycopg2.Error as e:
            raise Difference(f'program fails: {e}\n' + r.trace[-1]) from e
    r.perturb_and_diff(rnd)


def searched(args):
    def round_of(cur, seed, stats):
        try:
            one_round(cur, seed, args, stats)
        except Difference as e:
            g = Grammar(random.Random(seed))
            list(g.fill())
            raise Difference(f'{e}\n  query: {args.query or query_of(g, args, seed)}') from e
    return round_of


def regression(cur, case):
    """A named case: setup, query, list of transactions."""
    for t in TABLES:
        cur.execute(f'DELETE FROM f.{t}')
    for t, columns in case.get('tables', {}).items():
        for sql in logged_table(t, columns):
            cur.execute(sql)
    for sql in case['setup']:
        cur.execute(sql)
    r = Round(cur, case['query'], TABLES + list(case.get('tables', {})))
    if r.full_reason and r.full_reason != case.get('full'):
        raise Difference(f'not incremental: {r.full_reason}')
    if case.get('full') and not r.full_reason:
        raise Difference(f'incremental, not refused as {case["full"]}')
    inner = sum(row[0] == 'inner' for row in r.view['view'])
    if case.get('inner', inner) != inner:
        raise Difference(f'{inner} inner tables')
    cur.execute(f"SET LOCAL pg_trickle.topk_margin = {case.get('margin', 1000)}")
    r.create()
    r.check_equal('after load')
    for changes in [] if r.full_reason else case['transactions']:
        cur.execute('SET LOCAL search_path = f, public')
        r.transaction(changes)


def usable(conn, types):
    """Those that this server has: it may be built without ICU or libxml, and installed without contrib."""
    result = {}
    for name, values in types.items():
        try:
            conn.cursor().execute(f'SELECT {values[0]}::{name}')
            result[name] = values
        except (psycopg2.errors.FeatureNotSupported, psycopg2.errors.UndefinedObject) as e:
            print(f'# no {name}: {str(e).splitlines()[0]}')
        conn.rollback()
    return result


def main():
    p = harness.arguments()
    p.add_argument('--query', help='use this query instead of a random one')
    p.add_argument('--kind', help='queries of one kind of grammar_parts.py: limit, windows, nested, ...')
    p.add_argument('--transactions', type=int, help='per round')
    p.add_argument('--cases', action='store_true', help='run the named cases first')
    args = p.parse_args()
    conn = harness.connect(args.dsn, [*schema_sql(), *SETUP])
    cases = {**CASES, **dict(type_cases(usable(conn, TYPES)))} if args.case or args.cases else {}
    failed = sum(not harness.run_case(conn, name, case, regression) for name, case in cases.items() if args.cases or name == args.case)
    if args.case:
        return 1 if failed else 0
    return harness.search(conn, args, failed, searched(args))


if __name__ == '__main__':
    sys.exit(main())
