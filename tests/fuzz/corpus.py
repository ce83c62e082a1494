#!/usr/bin/env python3
"""
Queries that nobody here wrote: every SELECT of a psql script becomes a stream table, at the place where it stands in the script.

The statements of each file are run in order, in a copy of a database that the files of --setup made.  What a query reads is changed by random
transactions (rows copied with values of other rows, NULLs and changed values; updates; deletes), and after each the delta program's result is
compared with the canonical query, and with the query as typed where that has one answer only.  The compiler does it without engine or
consumer, as in compiler_fuzz.py; create_stream_table is called as well.  Everything a query's test does is rolled back.

    corpus.py --dsn DSN [--setup FILE]… [--var NAME=VALUE]… [--only LINE] [--seed N] [--transactions N] FILE …

EXPLAIN of a query and views count as queries.  Functions of the scripts are made IMMUTABLE unless they read or write tables, temporary objects are
made permanent.  Prints what is worth a look as FILE:LINE: …, and counts per file.  Exit status 1 when there was a difference, a crash or an
internal error.
"""
import argparse
import collections
import io
import os
import random
import re
import sys
import time
import zlib

import psycopg2

from compiler_fuzz import Round, quote
from harness import Difference

TOKEN = re.compile(r"""--[^\n]*|/\*|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$|\\[^\n]*|:'\w+'|:"\w+"|::|:\w+|\w+|[();]|.""", re.S)
COMMENTS = re.compile(r"\s+|--[^\n]*\n|/\*.*?\*/", re.S)
QUERY = re.compile(r'[\s(]*(SELECT|WITH|VALUES|TABLE)\b', re.I)
EXPLAIN = re.compile(r'EXPLAIN\s*(\([^)]*\))?\s*(?:(?:ANALYZE|VERBOSE)\s+)*', re.I)
VIEW = re.compile(r'CREATE\s+(?:OR\s+REPLACE\s+)?(?:RECURSIVE\s+|MATERIALIZED\s+)?VIEW\s+([\w."]+)', re.I)
INTERNAL = ('XX', '58')
PREFIX = 'corpus_'


def interpolate(token, variables):
    """:name, :'name' and :"name" as psql replaces them."""
    name = token[1:].strip('\'"')
    if name not in variables:
        return token
    value = variables[name]
    return "'" + value.replace("'", "''") + "'" if token[1] == "'" else quote(value) if token[1] == '"' else value


def comment_end(text, pos):
    depth = 0
    for m in re.compile(r'/\*|\*/').finditer(text, pos):
        depth += 1 if m.group() == '/*' else -1
        if depth == 0:
            return m.end()
    return len(text)


def statements(text, variables):
    """(line, statement, rows of COPY) of a psql script.  Of psql's own commands it knows \\set and \\gset."""
    pos, start, out, depth, atomic = 0, None, [], 0, 0
    while pos < len(text):
        m = TOKEN.match(text, pos)
        token = m.group()
        word = token.upper()
        pos = comment_end(text, pos) if token == '/*' else m.end()
        if token.startswith('--') or token == '/*' or (start is None and token.isspace()):
            continue
        if token.startswith('\\'):
            parts = token[1:].split()
            if parts[:1] == ['set'] and len(parts) > 1:
                variables[parts[1]] = ''.join(interpolate(p, variables).strip("'") for p in re.findall(r":'\w+'|:\w+|'[^']*'|[^\s:']+", ' '.join(parts[2:])))
            if not token.startswith(('\\gset', '\\g', '\\crosstab', '\\;')):
                continue
            token = ';'
        if start is None:
            start = text.count('\n', 0, m.start()) + 1
        depth += (token == '(') - (token == ')')
        atomic += (word == 'ATOMIC') - (word == 'END' and atomic > 0)
        if token != ';' or depth > 0 or atomic > 0:
            out.append(interpolate(token, variables) if token[0] == ':' and len(token) > 1 and token != '::' else token)
            continue
        sql, rows = ''.join(out), None
        if re.match(r'COPY\b.*\bFROM\s+STDIN\b', sql, re.I | re.S):
            end = re.compile(r'^\\\.$', re.M).search(text, pos)
            pos = text.index('\n', pos) + 1
            rows = text[pos:end.start()] if end else ''
            pos = end.end() if end else len(text)
        yield start, sql, rows
        start, out, depth, atomic = None, [], 0, 0


class Mutation:
    """Random changes of one relation, whatever it looks like."""

    CHANGED = {'int2': '{c} + 1::int2', 'int4': '{c} + 1', 'int8': '{c} - 1', 'numeric': '{c} * 1.00', 'float8': '-{c}', 'float4': '{c} + 0.5', 'text': "{c} || 'x'",
               'varchar': "upper({c})", 'bool': 'NOT {c}', 'date': '{c} + 1', 'timestamp': "{c} + '1 day'", 'timestamptz': "{c} - '1 hour'::interval", 'interval': '{c} * 2',
               'jsonb': "jsonb_build_object('a', {c})", 'bpchar': 'lower({c})', 'point': "{c} + point '(1,1)'"}

    def __init__(self, cur, rnd, relid):
        self.rnd = rnd
        cur.execute('SELECT oid::regclass::text FROM pg_class WHERE oid = %s', (relid,))
        self.name = cur.fetchone()[0]
        cur.execute('SELECT a.attname, t.typname, NOT attnotnull FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid '
                    "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = ''", (relid,))
        self.columns = cur.fetchall()
        cur.execute(f'SELECT count(*) FROM {self.name}')
        self.n = cur.fetchone()[0]

    def value(self, column, keep):
        name, typname, nullable = column
        c = 't.' + quote(name)
        choice = self.rnd.random()
        if choice < keep:
            return c
        if choice < keep + 0.1 and nullable:
            return 'NULL'
        if choice < 0.8 or typname not in self.CHANGED:
            return f'(SELECT {quote(name)} FROM {self.name} ORDER BY random() LIMIT 1)'
        return self.CHANGED[typname].format(c=c)

    def some(self):
        k = self.rnd.choice([1, 1, 2, 5, max(1, self.n // 5)])
        return f'(t.tableoid, t.ctid) IN (SELECT tableoid, ctid FROM {self.name} ORDER BY random() LIMIT {k})'

    def sql(self):
        kind = self.rnd.random()
        names = ', '.join(quote(c[0]) for c in self.columns)
        if not self.columns or self.n == 0:
            return f'INSERT INTO {self.name} DEFAULT VALUES'
        if kind < 0.45:
            values = ', '.join(self.value(c, 0.5) for c in self.columns)
            return f'INSERT INTO {self.name} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {self.name} t WHERE {self.some()}'
        if kind < 0.75:
            chosen = self.rnd.sample(self.columns, self.rnd.randint(1, min(3, len(self.columns))))
            return f'UPDATE {self.name} t SET ' + ', '.join(f'{quote(c[0])} = {self.value(c, 0)}' for c in chosen) + f' WHERE {self.some()}'
        return f'DELETE FROM {self.name} t' + ('' if kind > 0.97 else f' WHERE {self.some()}')


class Typed(Round):
    """A stream table over whatever tables there are: changes are found by comparing which row versions there are."""

    def __init__(self, cur, query, path, stats, plans):
        self.path = path
        super().__init__(cur, query, [], stats, plans)
        self.textual = None
        self.clocked = any(re.search(r'\$[12]\b', r[2] or '') for r in self.view['load'])
        self.rels = []
        for relid, attnums in self.sources:
            cur.execute('SELECT relname FROM pg_class WHERE oid = %s', (relid,))
            cur.execute('SELECT %s::oid::regclass::text', (relid,))
            name = cur.fetchone()[0]
            cur.execute('SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s', (relid,))
            names = dict(cur.fetchall())
            self.rels.append((name, ''.join(f', {quote(names[a])} AS c{a}' for a in attnums)))

    def keys(self, alias='', only=None):
        if self.textual is None:
            self.textual = set()
            for n in self.visible:
                self.cur.execute('SAVEPOINT k')
                try:
                    self.cur.execute(f'SELECT DISTINCT {quote(n)} FROM f.st')
                except psycopg2.Error:
                    self.textual.add(n)
                self.cur.execute('ROLLBACK TO k')
        return ', '.join(alias + quote(n) + ('::text' if n in self.textual else '') for n in self.visible if only in (None, n))

    def log(self, changes):
        for i, (name, cols) in enumerate(self.rels):
            self.cur.execute(f'CREATE TEMP TABLE old{i} AS SELECT tableoid AS t, ctid AS c, xmin::text AS x{cols} FROM {name}')
        for sql in changes:
            self.trace.append(sql)
            self.cur.execute('SAVEPOINT m')
            try:
                self.cur.execute(sql)
            except psycopg2.Error as e:         # a constraint, an overflow
                self.trace.append(f'-- {e}')
                self.cur.execute('ROLLBACK TO m')
        changed = []
        for i, (name, cols) in enumerate(self.rels):
            there = ''.join(f', c{a}' for a in self.sources[i][1])
            n = self.run(f'CREATE TEMP TABLE __pgt_src{i} AS SELECT -1 AS w{there} FROM old{i} WHERE (t, c, x) NOT IN (SELECT tableoid, ctid, xmin::text FROM {name}) '
                         f'UNION ALL SELECT 1{cols} FROM {name} t WHERE (tableoid, ctid, xmin::text) NOT IN (SELECT t, c, x FROM old{i})')
            self.cur.execute(f'DROP TABLE old{i}' + ('' if n else f', __pgt_src{i}'))
            if n:
                changed.append(i)
        return changed

    def as_typed(self):
        """Is the canonical query's answer the answer of the query as typed?  None: it cannot be said."""
        k = self.keys()
        cols = ', '.join(quote(n) for n in self.visible)
        text = f'(SELECT {k} FROM ({self.query}\n) q({cols}))'
        self.cur.execute(f'SAVEPOINT typed; SET LOCAL search_path = {self.path}')
        try:
            self.cur.execute(f'SELECT count(*) FROM (({text} EXCEPT ALL SELECT {k} FROM f.st) UNION ALL (SELECT {k} FROM f.st EXCEPT ALL {text})) d')
            return self.cur.fetchone()[0] == 0
        finally:
            self.cur.execute('ROLLBACK TO typed')


class Corpus:
    def __init__(self, args, path, conn, crashed=()):
        self.args = args
        self.crashed = crashed
        self.file = os.path.basename(path)
        self.text = open(path, encoding='utf-8', errors='replace').read()
        self.conn = conn
        self.cur = conn.cursor()
        self.variables = dict(v.split('=', 1) for v in args.var)
        self.seen = set()
        self.counts = collections.Counter()
        self.bad = 0

    def note(self, line, what, query=None, bad=False):
        self.bad += bad
        print(f'{self.file}:{line}: {what}' + (f'\n    {query}' if query and (bad or self.args.only) else ''), flush=True)

    def run(self, prepare=False):
        for line, sql, rows in statements(self.text, self.variables):
            sql = re.sub(r'^\s*PREPARE\s+TRANSACTION\s.*', 'ROLLBACK', sql, flags=re.I | re.S)
            sql = re.sub(r'\b(CREATE\s+(?:OR\s+REPLACE\s+)?)(?:LOCAL\s+|GLOBAL\s+)?TEMP(?:ORARY)?\s', r'\1', sql, flags=re.I)
            try:
                if rows is None:
                    self.cur.execute(sql)
                else:
                    self.cur.copy_expert(sql, io.StringIO(rows))
            except (psycopg2.Error, UnicodeError, ValueError):
                if self.conn.closed:
                    raise
                continue
            if prepare:
                continue
            if re.match(r'CREATE\s+(OR\s+REPLACE\s+)?FUNCTION', sql, re.I):
                self.cur.execute("UPDATE pg_catalog.pg_proc SET provolatile = 'i' WHERE oid >= 16384 AND pronamespace <> 'pgtrickle'::regnamespace AND provolatile <> 'i' "
                                 r"AND prosrc !~* '\m(from|into|insert|update|delete|nextval|random|clock_timestamp)\M'")
            view = VIEW.match(sql)
            for query in [sql, EXPLAIN.sub('', sql, 1), f'SELECT * FROM {view.group(1)}' if view else '']:
                if QUERY.match(query) and query not in self.seen and self.args.only in (None, line):
                    self.seen.add(query)
                    self.test(line, query)

    def test(self, line, query):
        if line in self.crashed:
            return
        self.line, self.query = line, query
        in_block = self.conn.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
        if self.conn.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INERROR:
            return
        self.cur.execute('SELECT current_setting(%s), current_setting(%s), current_setting(%s)', ('is_superuser', 'search_path', 'transaction_read_only'))
        superuser, path, read_only = self.cur.fetchone()
        if superuser != 'on' or read_only == 'on':
            self.counts['another role'] += 1
            return
        self.cur.execute('SAVEPOINT corpus_test' if in_block else 'BEGIN')
        try:
            seed = zlib.crc32(query.encode()) + self.args.seed
            self.cur.execute(f"SET LOCAL statement_timeout = '{self.args.timeout}s'; SET LOCAL session_replication_role = replica; SELECT setseed({seed % 1000 / 1000})")
            self.one(line, query, path, random.Random(seed))
        except psycopg2.errors.QueryCanceled:
            self.counts['too dear'] += 1
        except psycopg2.Error as e:             # the settings that the script chose do not allow this much
            if self.conn.closed:
                raise
            self.counts['not tested'] += 1
            self.note(line, f'not tested: {e.pgcode} {e.diag.message_primary}')
        finally:
            if not self.conn.closed:
                self.cur.execute('ROLLBACK TO corpus_test; RELEASE corpus_test' if in_block else 'ROLLBACK')

    def attempt(self, sql, *args):
        """The error, or None; what it did stays done only without one."""
        self.cur.execute('SAVEPOINT a')
        try:
            self.cur.execute(sql, args or None)
            self.cur.execute('RELEASE a')
            return None
        except psycopg2.errors.QueryCanceled:
            raise
        except psycopg2.Error as e:
            if self.conn.closed:
                raise
            self.cur.execute('ROLLBACK TO a')
            return e

    def one(self, line, query, path, rnd):
        if self.attempt('SELECT FROM (' + query + '\n) q LIMIT 0'):
            return          # SELECT INTO, changes in WITH
        self.cur.execute(query)
        names = [d[0] for d in self.cur.description]
        if len(set(names)) < len(names) or '?column?' in names:
            query = f'SELECT * FROM ({query}\n) q({", ".join("c%d" % i for i in range(len(names)))})'
        self.cur.execute('CREATE SCHEMA f; SAVEPOINT made')
        self.counts['queries'] += 1
        e = self.attempt("SELECT pgtrickle.create_stream_table('f.made', %s, '1d', initialize => true)", query)
        self.cur.execute('ROLLBACK TO made')
        if e:
            internal = e.pgcode.startswith(INTERNAL)
            what = f'refused {e.pgcode} {e.diag.message_primary}'
            self.counts[re.sub(r'["\d(].*', '…', what)[:70]] += 1
            self.note(line, what, query, internal)
            return
        try:
            self.maintain(line, query, path, rnd)
        except Difference as d:
            self.counts['DIFFERENCE'] += 1
            self.note(line, f'DIFFERENCE {d}', query, True)
        except psycopg2.errors.QueryCanceled:
            raise
        except psycopg2.Error as e:
            if self.conn.closed:
                raise
            own = (e.pgcode or '').startswith(('22', '21', '53', '54')) or 'EXCEPT' in str(e)  # columns to sort beside columns to hash
            self.counts['query error' if own else 'ERROR'] += 1
            self.note(line, f'ERROR {e.pgcode} {e}', query, not own)

    def maintain(self, line, query, path, rnd):
        st = Typed(self.cur, query, path, self.counts, random.Random(rnd.random()) if rnd.random() < 0.4 else None)
        self.cur.execute(f'SET LOCAL pg_trickle.topk_margin = {rnd.choice([1, 2, 5])}')
        if st.full_reason:
            self.counts['FULL: ' + st.full_reason] += 1
            self.note(line, 'FULL: ' + st.full_reason, query)
        else:
            self.counts['incremental'] += 1
        if st.clocked:
            self.counts['clock, not changed'] += 1
            return
        st.check_idempotent()
        st.create()
        st.check_equal('after load')
        one_answer = st.as_typed()
        self.counts['one answer' if one_answer else 'several answers'] += 1
        if not one_answer:
            self.note(line, 'several answers?', query)
        if not st.full_reason and st.rels:
            try:
                self.transactions(line, st, one_answer, rnd)
            except (Difference, psycopg2.Error):
                if self.args.only:
                    print(*st.trace, sep=';\n', file=sys.stderr)
                raise
        elif st.rels:
            st.perturb_and_diff(rnd)

    def transactions(self, line, st, one_answer, rnd):
        for _ in range(self.args.transactions):
            self.cur.execute(f'SET LOCAL search_path = {st.path}')
            changes = [Mutation(self.cur, rnd, rnd.choice(st.sources)[0]).sql() for _ in range(rnd.randint(1, 3))]
            st.transaction(changes)
            self.counts['transactions'] += 1
            if one_answer and not st.as_typed():
                self.note(line, 'several answers after changes?', st.query)
                one_answer = False


def database(args, name, template):
    conn = connect_again(args)
    conn.autocommit = True
    cur = conn.cursor()
    cur.execute(f'DROP DATABASE IF EXISTS {name} WITH (FORCE)')
    cur.execute(f'CREATE DATABASE {name} TEMPLATE {template}')
    conn.close()
    conn = psycopg2.connect(args.dsn, dbname=name)
    conn.autocommit = True
    conn.cursor().execute('SET client_min_messages = error; SET jit = off')
    return conn


def whole_file(args, path):
    """After a crash once more from the beginning, without the queries that led to one."""
    crashed = []
    while True:
        c = Corpus(args, path, database(args, args.name, PREFIX + 'base'), crashed)
        try:
            c.run()
            if crashed:
                c.counts['CRASH'] = len(crashed)
            return c
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as e:
            c.note(c.line, f'CRASH {e}', c.query, bad=True)
            crashed.append(c.line)
        finally:
            c.conn.close()


def connect_again(args):
    """A server that crashed takes some time to recover."""
    deadline = time.time() + 60
    while True:
        try:
            return psycopg2.connect(args.dsn)
        except psycopg2.OperationalError:
            if time.time() > deadline:
                raise
            time.sleep(0.1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--dsn', required=True)
    p.add_argument('--setup', action='append', default=[], help='scripts that make what the others read; without any, the database of the last run')
    p.add_argument('--var', action='append', default=[], help="psql's variables")
    p.add_argument('--only', type=int, help='the query on this line')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--transactions', type=int, default=3, help='per query')
    p.add_argument('--timeout', type=int, default=10, help='seconds a statement may take')
    p.add_argument('--name', default=PREFIX + 'run', help='name of the database')
    p.add_argument('files', nargs='*')
    args = p.parse_args()
    if args.setup:
        conn = database(args, PREFIX + 'base', 'template1')
        conn.cursor().execute('CREATE EXTENSION pg_trickle')
        for path in args.setup:
            Corpus(args, path, conn).run(prepare=True)
        conn.close()
    bad = 0
    for path in args.files:
        c = whole_file(args, path)
        bad += c.bad
        print(f'# {c.file}: ' + ', '.join(f'{what} {n}' for what, n in sorted(c.counts.items())), flush=True)
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
