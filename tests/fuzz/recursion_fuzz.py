#!/usr/bin/env python3
"""Random search for wrong deltas of WITH RECURSIVE: random graphs (trees, acyclic, cyclic; keys, duplicates, NULLs), random
changes of several tables at once.  The machinery, and what is compared, is compiler_fuzz.py's.

    recursion_fuzz.py --dsn DSN [--seed N] [--rounds N] [--seconds S]
"""
import random
import sys

import psycopg2

import harness
from compiler_fuzz import Round
from grammar import logged_table

# tables: edges without a key, edges with one, marks on nodes, where to start
TABLES = {
    'e': 'a int, b int, c int',
    'ek': 'id int PRIMARY KEY, a int NOT NULL, b int NOT NULL',
    'm': 'n int NOT NULL, ok bool, d numeric(6,2)',
    'start': 'n int, label text',
}

# (query, cycles allowed).  UNION ALL over cycles does not end unless the depth is bounded.
QUERIES = {
    'closure of keyed edges': ("WITH RECURSIVE r AS (SELECT a, b FROM ek UNION SELECT r.a, ek.b FROM r JOIN ek ON ek.a = r.b) SELECT * FROM r", True),
    'closure of edges': ("WITH RECURSIVE r AS (SELECT a, b FROM e UNION SELECT r.a, e.b FROM r JOIN e ON e.a = r.b) SELECT * FROM r", True),
    'reachable': ("WITH RECURSIVE r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n) SELECT * FROM r", True),
    'reachable, marked': ("WITH RECURSIVE r(n) AS (SELECT start.n FROM start JOIN m ON m.n = start.n WHERE m.ok UNION SELECT e.b FROM r, e, m "
                          "WHERE e.a = r.n AND m.n = e.b AND m.ok IS NOT FALSE) SELECT n FROM r", True),
    'reachable in two hops': ("WITH RECURSIVE r(n) AS (SELECT n FROM start UNION SELECT f.b FROM r JOIN e ON e.a = r.n JOIN e f ON f.a = e.b) SELECT * FROM r", True),
    'reachable either way': ("WITH RECURSIVE r(n) AS (SELECT n FROM start WHERE n > 1 UNION SELECT CASE WHEN e.a = r.n THEN e.b ELSE e.a END FROM r JOIN e "
                             "ON e.a = r.n OR e.b = r.n) SELECT * FROM r", True),
    'steps by inequality': ("WITH RECURSIVE r(n, g) AS (SELECT n, label FROM start UNION SELECT e.b, r.g FROM r JOIN e ON e.a > r.n AND e.c < 3) SELECT * FROM r", True),
    'paths': ("WITH RECURSIVE r AS (SELECT a, b FROM e WHERE a < 3 UNION ALL SELECT r.a, e.b FROM r JOIN e ON e.a = r.b) SELECT * FROM r", False),
    'paths with text and depth': ("WITH RECURSIVE r(n, path, depth) AS (SELECT n, n::text, 0 FROM start UNION ALL SELECT ek.b, r.path || '.' || ek.b, r.depth + 1 "
                                  "FROM r JOIN ek ON ek.a = r.n) SELECT n, path, depth FROM r", False),
    'paths of bounded depth': ("WITH RECURSIVE r(n, depth) AS (SELECT n, 0 FROM start UNION ALL SELECT e.b, r.depth + 1 FROM r JOIN e ON e.a = r.n WHERE r.depth < 4) "
                               "SELECT n AS node, depth FROM r", True),
    'bill of material': ("WITH RECURSIVE r(part, n) AS (SELECT n, count(*)::int FROM start GROUP BY n UNION ALL SELECT e.b, r.n * e.c FROM r JOIN e ON e.a = r.part) "
                         "SELECT * FROM r", False),
    'paths over two tables': ("WITH RECURSIVE r(n, d) AS (SELECT n, 0::numeric(6,2) FROM start UNION ALL SELECT ek.b, m.d FROM r JOIN ek ON ek.a = r.n JOIN m ON m.n = ek.b "
                              "WHERE m.ok) SELECT * FROM r", False),
    'paths in two hops': ("WITH RECURSIVE r(n) AS (SELECT n FROM start UNION ALL SELECT f.b FROM r JOIN e ON e.a = r.n JOIN e f ON f.a = e.b) SELECT * FROM r", False),
    'tree': ("WITH RECURSIVE r AS (SELECT id, a AS parent, 1 AS level FROM ek WHERE a = 0 UNION ALL SELECT ek.id, ek.a, r.level + 1 FROM ek JOIN r ON ek.a = r.id) "
             "SELECT * FROM r", 'tree'),
}


class Graph:
    def __init__(self, rnd, shape):
        self.rnd = rnd
        self.shape = shape                    # True: cycles, False: acyclic, 'tree'
        self.nodes = rnd.randint(3, 8)
        self.next_id = 1

    def node(self, null=0.05):
        return 'NULL' if self.rnd.random() < null else str(self.rnd.randint(0, self.nodes))

    def edge(self):
        """Two nodes; in an acyclic graph from the lesser to the greater."""
        a, b = self.rnd.randint(0, self.nodes), self.rnd.randint(0, self.nodes)
        if self.shape is False:
            if a == b:
                b = a + 1
            a, b = min(a, b), max(a, b)
        return a, b

    def e_row(self):
        a, b = self.edge()
        nulls = self.rnd.random()
        return f"({'NULL' if nulls < 0.04 else a}, {'NULL' if nulls > 0.96 else b}, {self.rnd.randint(1, 3)})"

    def ek_row(self):
        i = self.next_id
        self.next_id += 1
        if self.shape == 'tree':              # a is the parent's id: an older one
            return f'({i}, {self.rnd.randint(0, i - 1) if self.rnd.random() < 0.8 else 0}, {self.rnd.randint(0, 9)})'
        a, b = self.edge()
        return f'({i}, {a}, {b})'

    def row(self, table):
        if table == 'e':
            return self.e_row()
        if table == 'ek':
            return self.ek_row()
        if table == 'm':
            return f"({self.rnd.randint(0, self.nodes)}, {self.rnd.choice(['true', 'true', 'false', 'NULL'])}, {self.rnd.randint(0, 3)})"
        return f"({self.node()}, {self.rnd.choice(['NULL', quote('x'), quote('y')])})"

    def fill(self):
        sizes = {'e': (0, 9), 'ek': (0, 9), 'm': (2, 10), 'start': (0, 3)}
        for table in TABLES:
            yield f'DELETE FROM f.{table}'
            rows = [self.row(table) for _ in range(self.rnd.randint(*sizes[table]))]
            if rows:
                yield f"INSERT INTO f.{table} VALUES {', '.join(rows)}"

    def change(self):
        rnd = self.rnd
        table = rnd.choice(['e', 'e', 'ek', 'ek', 'm', 'start'])
        kind = rnd.random()
        if kind < 0.4:
            return f"INSERT INTO f.{table} VALUES {', '.join(self.row(table) for _ in range(rnd.randint(1, 3)))}"
        some = {'e': f'a = {self.node(0)}', 'ek': f'b = {self.node(0)}', 'm': f'n = {self.node(0)}', 'start': f'n = {self.node(0)}'}[table]
        if rnd.random() < 0.3:
            some = f'random() < {rnd.choice([0.2, 0.5])}'
        if rnd.random() < 0.05:
            some = 'true'
        if kind < 0.75:
            return f'DELETE FROM f.{table} WHERE {some}'
        if table == 'm':
            return f'UPDATE f.m SET ok = NOT ok, d = d + 1 WHERE {some}'
        if table == 'start':
            return f'UPDATE f.start SET n = {self.node()} WHERE {some}'
        if table == 'e':
            a, b = self.edge()
            return rnd.choice([f'UPDATE f.e SET c = c + 1 WHERE {some}', f'UPDATE f.e SET a = {a}, b = {b} WHERE {some}'])
        if self.shape == 'tree':
            return f'UPDATE f.ek SET a = 0 WHERE {some}'
        a, b = self.edge()
        return f'UPDATE f.ek SET a = {a}, b = {b} WHERE {some}'

    def transaction(self):
        return [self.change() for _ in range(self.rnd.choice([1, 1, 1, 2, 3, 5]))]


def quote(text):
    return f"'{text}'"


def one_round(cur, seed, stats):
    rnd = random.Random(seed)
    name = rnd.choice(list(QUERIES))
    query, shape = QUERIES[name]
    graph = Graph(rnd, shape)
    trace = list(graph.fill())
    stats[name] = stats.get(name, 0) + 1
    try:
        for sql in trace:
            cur.execute(sql)
        cur.execute('SELECT setseed(%s)', (rnd.random(),))
        r = Round(cur, query, list(TABLES))
        if r.full_reason:
            raise harness.Difference(f'not incremental: {r.full_reason}')
        r.check_idempotent()
        r.create()
        r.check_equal('after load')
        for _ in range(rnd.randint(1, 5)):
            changes = graph.transaction()
            trace += changes
            cur.execute('SET LOCAL search_path = f, public')
            r.transaction(changes)
        r.perturb_and_diff(rnd)
    except (harness.Difference, psycopg2.Error) as error:
        raise harness.Difference(f'{name}: {error}\n  ' + '\n  '.join(trace)) from error


def main():
    args = harness.arguments().parse_args()
    statements = ['CREATE SCHEMA f', "SET statement_timeout = '20s'"]
    for table, columns in TABLES.items():
        statements += logged_table(table, columns)
    conn = harness.connect(args.dsn, [*statements, 'CREATE INDEX ON f.e (a); CREATE INDEX ON f.ek (a)'])
    return harness.search(conn, args, 0, one_round)


if __name__ == '__main__':
    sys.exit(main())
