#!/usr/bin/env python3
"""What a change of one row touches, over sources of different sizes.

For each shape of query and each size: one row is inserted, updated, deleted; before each refresh explain_delta says (analyze, on
plans already used once) how many rows of tables the refresh reads and how many pages it touches.  Both must not grow with the
source by more than a tenth.  A larger index may be one level higher: the pages of those levels are counted (descents of
each index times its height, from pageinspect) and taken off first.  Times are reported, never judged.

    flatness.py --sizes 10000,100000 [--shapes filter,topk] [--markdown] [--repeat 5] [--crossing 10,100,1000]

Prints `ok - ` / `not ok - ` lines; needs a running consumer.  Exit status 1 when something is not flat.
"""
import argparse
import json
import statistics
import sys
import time

import psycopg2

SHAPES = {
    'filter': "SELECT id, v FROM big WHERE f = 0",
    'join of 2': "SELECT b.id, b.v, d.name FROM big b JOIN dim d ON d.k = b.k WHERE b.f = 0",
    'join of 4': "SELECT b.id, b.v, d.name, c.label, o.note FROM big b JOIN dim d ON d.k = b.k JOIN cat c ON c.c = d.c JOIN note o ON o.id = b.id WHERE b.f = 0",
    'group aggregate': "SELECT k, count(*) AS n, sum(v) AS v FROM big GROUP BY k",
    'few large groups': "SELECT g, count(*) AS n, sum(v) AS v, max(v) AS top FROM big GROUP BY g",
    'semi-join': "SELECT id, v FROM big b WHERE f = 0 AND EXISTS (SELECT FROM note o WHERE o.id = b.id AND o.note < 'x')",
    'anti-join': "SELECT id, v FROM big b WHERE f = 0 AND NOT EXISTS (SELECT FROM note o WHERE o.id = b.id AND o.note < 'b')",
    'window': "SELECT id, p, v, rank() OVER (PARTITION BY p ORDER BY v, id) AS r FROM big WHERE f = 0",
    'groups read again': "SELECT p, array_agg(v ORDER BY v, id) AS vs, count(DISTINCT v) AS n FROM big GROUP BY p",
    'TopK': "SELECT id, v FROM big ORDER BY v DESC, id LIMIT 10",
    'TopK without index': "SELECT id, v FROM big ORDER BY v + f DESC, id LIMIT 10",
}

CHANGES = {
    'insert': "INSERT INTO big SELECT {n} + 10, 5, 0, 3, {n} / 400, 1000",
    'delete the top': "DELETE FROM big WHERE id = {n} + 10",
    'update': "UPDATE big SET v = v + 1 WHERE id = {n} / 2",
    'delete': "DELETE FROM big WHERE id = {n} / 2 + 10",
    'other side': "UPDATE note SET note = CASE WHEN note < 'x' THEN 'z' ELSE 'a' END WHERE id = {n} / 2",
}


class Bench:
    def __init__(self):
        self.conn = psycopg2.connect('')
        self.conn.autocommit = True
        self.cur = self.conn.cursor()
        self.run("SET client_min_messages = error")
        self.run("CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA pg_catalog")
        self.failed = 0

    def run(self, sql, *args):
        self.cur.execute(sql, args or None)
        return self.cur.fetchall() if self.cur.description else []

    def one(self, sql, *args):
        return self.run(sql, *args)[0][0]

    def check(self, good, what):
        print(('ok - ' if good else 'not ok - ') + what, flush=True)
        self.failed += not good

    def load(self, n):
        """Groups, partitions and rows per key have the same size at every n: 10 rows per k, 200 per p, 20 of them with f = 0."""
        self.run("DROP SCHEMA IF EXISTS flat CASCADE; CREATE SCHEMA flat; SET search_path = flat, public")
        self.run("CREATE TABLE big (id int PRIMARY KEY, k int NOT NULL, f int NOT NULL, g int NOT NULL, p int NOT NULL, v int NOT NULL)")
        self.run("CREATE TABLE dim (k int PRIMARY KEY, c int NOT NULL, name text NOT NULL)")
        self.run("CREATE TABLE cat (c int PRIMARY KEY, label text NOT NULL)")
        self.run("CREATE TABLE note (id int PRIMARY KEY, note text NOT NULL)")
        self.run("INSERT INTO big SELECT i, i %% (%s / 10), i %% 10, i %% 7, i / 200, (i * 7919::bigint) %% 200 FROM generate_series(1, %s) i", n, n)
        self.run("INSERT INTO dim SELECT i, i %% 50, 'name ' || i FROM generate_series(0, %s / 10) i", n)
        self.run("INSERT INTO cat SELECT i, 'label ' || i FROM generate_series(0, 50) i")
        self.run("INSERT INTO note SELECT i, chr(97 + i %% 26) FROM generate_series(10, %s, 10) i", n)
        self.run("INSERT INTO note VALUES (%s, 'm')", n + 10)
        self.run("CREATE INDEX ON big (k); CREATE INDEX ON big (p); CREATE INDEX ON big (v DESC, id); CREATE INDEX ON big (g, v)")
        self.run("VACUUM (ANALYZE) big, dim, cat, note")

    def levels(self, index):
        if index not in self.heights:
            self.heights[index] = self.one("SELECT (bt_metap(%s)).level FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = %s::regclass "
                                           "AND amname = 'btree'", index, index)
        return self.heights[index]

    def descents(self, plan, schema_of, written):
        """Pages above the leaves that index scans of this plan went through."""
        pages = 0
        if 'Index Name' in plan:
            pages += plan['Actual Loops'] * self.levels(schema_of(plan['Index Name']))
        for child in plan.get('Plans', []):
            pages += self.descents(child, schema_of, written)
        return pages

    def explain(self, st):
        return json.loads(self.one("SELECT pgtrickle.explain_delta(%s, 'json', true)", st))

    def measure(self, st):
        self.explain(st)                # plans are made, catalogs are cached
        runs = [self.explain(st) for _ in range(self.repeat)]
        j = runs[-1]
        self.heights = {}
        # names of indexes are unique in both schemas together
        quoted = lambda name: self.one("SELECT oid::regclass::text FROM pg_class WHERE relname = %s AND relnamespace IN ('flat'::regnamespace, 'pgtrickle_inner'::regnamespace)", name)
        inner = sum(self.descents(step['plan']['Plan'], quoted, 0) for step in j['steps'])
        indexes = [r[0] for r in self.run("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass", st)]
        # every row version written may go down every index of the stream table
        inner += sum(self.levels(i) for i in indexes) * max(j['rows_inserted'], 0)
        start = time.monotonic()
        self.run("SELECT pgtrickle.refresh_stream_table(%s)", st)
        took = (time.monotonic() - start) * 1000
        return {'rows': j['rows_read'], 'buffers': j['buffers'], 'inner': inner, 'ms': statistics.median(r['duration_ms'] for r in runs), 'refresh': took,
                'changed': j['rows_inserted'] + j['rows_deleted'], 'action': j['action']}

    def shape(self, n, name):
        st = 'flat.st'
        result = {}
        self.run("SELECT pgtrickle.create_stream_table(%s, %s, schedule => '1d')", st, SHAPES[name])
        self.run("VACUUM (ANALYZE) flat.st")
        kinds = [c for c in CHANGES if (c != 'other side' or ' note o ' in SHAPES[name]) and (c != 'delete the top' or 'max(' in SHAPES[name] or 'LIMIT' in SHAPES[name])]
        for kind in kinds:
            self.run('BEGIN')
            self.run(CHANGES[kind].format(n=n))
            self.run('COMMIT')
            result[kind] = self.measure(st)
        missing, extra = self.run("SELECT * FROM pgtrickle.verify_stream_table(%s)", st)[0]
        if missing or extra:
            self.check(False, f'{name} over {n} rows equals its query')
        self.run("SELECT pgtrickle.drop_stream_table(%s)", st)
        # the next shape finds what this one found
        self.run("DELETE FROM big WHERE id = %s", n + 10)
        self.run("INSERT INTO big SELECT i, i %% (%s / 10), i %% 10, i %% 7, i / 200, (i * 7919::bigint) %% 200 FROM (SELECT %s / 2 + 10) x(i)", n, n)
        self.run("VACUUM (ANALYZE) big, note")
        return result

    def judge(self, name, kind, small, large, n):
        def flat(what, off):
            return large[what] - off(large) <= 1.1 * (small[what] - off(small)) + 0.5

        rows = flat('rows', lambda x: 0)
        pages = flat('buffers', lambda x: x['inner'])
        text = (f"{name}, {kind}: {small['rows']} rows and {small['buffers']} pages at {n[0]}, {large['rows']} and {large['buffers']} at {n[1]} "
                f"(higher indexes: {large['inner'] - small['inner']})")
        self.check(rows and pages and large['action'] == small['action'] == 'DIFFERENTIAL', text)

    def refills(self, n):
        """The top of TopK without an index leaves, 100 rows at a time: its source is read once in as many rows as are kept behind it."""
        self.run("SELECT pgtrickle.create_stream_table('flat.st', %s, schedule => '1d')", SHAPES['TopK without index'])
        self.run("SELECT pgtrickle.refresh_stream_table('flat.st')")
        margin = int(self.one("SHOW pg_trickle.topk_margin"))
        batches = 2 * (margin // 100 + 1)
        reads = []
        for _ in range(batches):
            self.run("DELETE FROM big WHERE id IN (SELECT id FROM big ORDER BY v + f DESC, id LIMIT 100)")
            reads.append(self.explain('flat.st')['rows_read'])
            self.run("SELECT pgtrickle.refresh_stream_table('flat.st')")
        full = [r for r in reads if r >= n / 2]
        rest = [r for r in reads if r < n / 2]
        self.check(len(full) == 2 and max(rest) <= 1000,
                   f'{batches} times 100 rows left the top of {n}: the source was read {len(full)} times ({max(full, default=0)} rows), {max(rest)} rows at most otherwise, '
                   f'{sum(reads) / batches / 100:.0f} rows read for each that left')
        missing, extra = self.run("SELECT * FROM pgtrickle.verify_stream_table('flat.st')")[0]
        self.check((missing, extra) == (0, 0), 'and it equals its query')
        self.run("SELECT pgtrickle.drop_stream_table('flat.st')")

    def crossing(self, n, counts):
        """A sliding hour over n rows: what it reads follows the rows that left the hour."""
        self.run("CREATE TABLE flat.event (id int, ts timestamptz NOT NULL)")
        self.run("INSERT INTO event SELECT i, now() - interval '2 hours' - i * interval '1 second' FROM generate_series(1, %s) i", n)
        self.run("CREATE INDEX ON event (ts)")
        self.run("VACUUM (ANALYZE) event")
        self.run("SELECT pgtrickle.create_stream_table('flat.hour', $$SELECT count(*) AS n FROM event WHERE ts > now() - interval '1 hour'$$, schedule => '1d')")
        found = []
        self.run("SELECT pgtrickle.refresh_stream_table('flat.hour')")     # what was loaded has been decoded
        for count in counts:
            # a moment ahead of the window's edge: refreshed while inside, explained when outside; further ahead on a slow machine
            for ahead in (4, 20):
                edge = self.one("SELECT clock_timestamp() - interval '1 hour' + %s * interval '1 second'", ahead)
                self.run("DELETE FROM event WHERE id < 0")
                self.run("INSERT INTO event SELECT -i, %s::timestamptz - i * interval '1 microsecond' FROM generate_series(1, %s) i", edge, count)
                self.run("SELECT pgtrickle.refresh_stream_table('flat.hour')")
                inside = self.one("SELECT n FROM flat.hour")
                if inside == count:
                    break
            self.check(inside == count, f'{count} rows are inside the hour: {inside}')
            while self.one("SELECT clock_timestamp() - interval '1 hour' <= %s", edge):
                time.sleep(0.05)
            self.explain('flat.hour')
            j = self.explain('flat.hour')
            found.append((count, j['rows_read'], j['buffers'], j['duration_ms']))
            self.run("SELECT pgtrickle.refresh_stream_table('flat.hour')")
            self.check(self.one("SELECT n FROM flat.hour") == 0, f'{count} rows have left it')
        self.check(self.run("SELECT * FROM pgtrickle.verify_stream_table('flat.hour')")[0] == (0, 0), 'the sliding count equals its query')
        for count, rows, buffers, ms in found:
            # candidates are read once, a handful of rows around them
            self.check(rows <= 2 * count + 20, f'{count} of {n} rows crossed: {rows} rows and {buffers} pages read')
        self.run("SELECT pgtrickle.drop_stream_table('flat.hour')")
        return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--sizes', default='10000,100000')
    p.add_argument('--shapes', default=','.join(SHAPES))
    p.add_argument('--crossing', default='10,100,1000')
    p.add_argument('--repeat', type=int, default=1, help='median time of so many')
    p.add_argument('--markdown', action='store_true')
    args = p.parse_args()
    sizes = [int(s) for s in args.sizes.split(',')]
    names = args.shapes.split(',')
    bench = Bench()
    bench.repeat = args.repeat
    results = {}
    crossed = []
    for n in sizes:
        bench.load(n)
        for name in names:
            results[name, n] = bench.shape(n, name)
        if n == sizes[-1] and args.crossing:
            crossed = bench.crossing(n, [int(c) for c in args.crossing.split(',')])
        if n == sizes[-1] and 'TopK without index' in names:
            bench.refills(n)
    for name in names:
        for kind in results[name, sizes[0]]:
            for n in sizes[1:]:
                bench.judge(name, kind, results[name, sizes[0]][kind], results[name, n][kind], (sizes[0], n))
    if args.markdown:
        print('| query, change | ' + ' | '.join(f'{n:.0e} rows' for n in sizes) + ' |')
        print('|---|' + '---|' * len(sizes))
        for name in names:
            for kind in results[name, sizes[0]]:
                cells = [results[name, n][kind] for n in sizes]
                print(f'| {name}, {kind} | ' + ' | '.join(f"{c['rows']} rows, {c['buffers']} pages ({c['inner']} inner), {c['ms']:.2f} ms" for c in cells) + ' |')
        for count, rows, buffers, ms in crossed:
            print(f'| 1-hour count, {count} rows left it | ' + '| ' * (len(sizes) - 1) + f'{rows} rows, {buffers} pages, {ms:.2f} ms |')
    sys.exit(1 if bench.failed else 0)


if __name__ == '__main__':
    main()
