#!/usr/bin/env python3
"""Random search for wrong deltas of WITH RECURSIVE: random graphs (trees, acyclic, cyclic; keys, duplicates, NULLs), random
changes of several tables at once; the recursion itself, and below everything else a query can do with it.  The machinery, and what is compared, is compiler_fuzz.py's.

    recursion_fuzz.py --dsn DSN [--seed N] [--rounds N] [--seconds S] [--only REGEX]
"""
import random
import re
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
    'j': 'n int, doc json',
}

# What follows WITH RECURSIVE, and whether cycles are allowed.  UNION ALL over cycles does not end unless the depth is bounded.
# All columns of r are there in order, so that SELECT * FROM r is the recursion itself.
RECURSIONS = {
    'closure of keyed edges': ("r AS (SELECT a, b FROM ek UNION SELECT r.a, ek.b FROM r JOIN ek ON ek.a = r.b)", True),
    'closure of edges': ("r AS (SELECT a, b FROM e UNION SELECT r.a, e.b FROM r JOIN e ON e.a = r.b)", True),
    'reachable': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n)", True),
    'reachable, marked': ("r(n) AS (SELECT start.n FROM start JOIN m ON m.n = start.n WHERE m.ok UNION SELECT e.b FROM r, e, m "
                          "WHERE e.a = r.n AND m.n = e.b AND m.ok IS NOT FALSE)", True),
    'reachable in two hops': ("r(n) AS (SELECT n FROM start UNION SELECT f.b FROM r JOIN e ON e.a = r.n JOIN e f ON f.a = e.b)", True),
    'reachable either way': ("r(n) AS (SELECT n FROM start WHERE n > 1 UNION SELECT CASE WHEN e.a = r.n THEN e.b ELSE e.a END FROM r JOIN e "
                             "ON e.a = r.n OR e.b = r.n)", True),
    'steps by inequality': ("r(n, g) AS (SELECT n, label FROM start UNION SELECT e.b, r.g FROM r JOIN e ON e.a > r.n AND e.c < 3)", True),
    'paths': ("r AS (SELECT a, b FROM e WHERE a < 3 UNION ALL SELECT r.a, e.b FROM r JOIN e ON e.a = r.b)", False),
    'paths with text and depth': ("r(n, path, depth) AS (SELECT n, n::text, 0 FROM start UNION ALL SELECT ek.b, r.path || '.' || ek.b, r.depth + 1 "
                                  "FROM r JOIN ek ON ek.a = r.n)", False),
    'paths of bounded depth': ("r(n, depth) AS (SELECT n, 0 FROM start UNION ALL SELECT e.b, r.depth + 1 FROM r JOIN e ON e.a = r.n WHERE r.depth < 4)", True),
    'paths without a cycle': ("r(n, path) AS (SELECT n, ARRAY[n] FROM start UNION ALL SELECT e.b, r.path || e.b FROM r JOIN e ON e.a = r.n WHERE e.b <> ALL (r.path))", True),
    'bill of material': ("r(part, n) AS (SELECT n, count(*)::int FROM start GROUP BY n UNION ALL SELECT e.b, r.n * e.c FROM r JOIN e ON e.a = r.part)", False),
    'numeric without a scale': ("r(part, q) AS (SELECT n, 1.0::numeric FROM start UNION ALL SELECT ek.b, r.q * m.d FROM r JOIN ek ON ek.a = r.part JOIN m ON m.n = ek.b)", False),
    'paths over two tables': ("r(n, d) AS (SELECT n, 0::numeric(6,2) FROM start UNION ALL SELECT ek.b, m.d FROM r JOIN ek ON ek.a = r.n JOIN m ON m.n = ek.b "
                              "WHERE m.ok)", False),
    'paths in two hops': ("r(n) AS (SELECT n FROM start UNION ALL SELECT f.b FROM r JOIN e ON e.a = r.n JOIN e f ON f.a = e.b)", False),
    'tree': ("r AS (SELECT id, a AS parent, 1 AS level FROM ek WHERE a = 0 UNION ALL SELECT ek.id, ek.a, r.level + 1 FROM ek JOIN r ON ek.a = r.id)", 'tree'),
    'a base of several parts': ("r(n) AS (SELECT n FROM start UNION ALL SELECT n FROM m WHERE ok UNION ALL SELECT e.b FROM r JOIN e ON e.a = r.n)", False),
    'a base of several parts as a set': ("r(n) AS (SELECT n FROM start UNION SELECT n FROM m WHERE ok UNION SELECT e.b FROM r JOIN e ON e.a = r.n)", True),
    'other types in the step': ("r(n, x) AS (SELECT n::bigint, NULL::numeric(6,2) FROM start UNION SELECT e.b, m.d FROM r JOIN e ON e.a = r.n JOIN m ON m.n = e.b)", True),
    'a base of groups': ("r(n, k) AS (SELECT a, count(*) FROM e GROUP BY a HAVING count(*) > 1 UNION SELECT ek.b, r.k FROM r JOIN ek ON ek.a = r.n)", True),
    'a base of the first rows': ("r(n) AS (SELECT n FROM (SELECT n FROM m WHERE ok ORDER BY d DESC, n LIMIT 2) s UNION SELECT e.b FROM r JOIN e ON e.a = r.n)", True),
    'steps over groups': ("r(n, d) AS (SELECT n, 0 FROM start UNION SELECT g.b, g.w FROM r JOIN (SELECT a, b, sum(c)::int AS w FROM e GROUP BY a, b) g ON g.a = r.n)", True),
    'counted steps over groups': ("r(n, d) AS (SELECT n, 0 FROM start UNION ALL SELECT g.b, r.d + g.w FROM r JOIN (SELECT a, b, max(c) AS w FROM e GROUP BY a, b) g ON g.a = r.n)", False),
    'steps over the nearest': ("r(n) AS (SELECT n FROM start UNION SELECT g.b FROM r JOIN (SELECT DISTINCT ON (a) a, b FROM e ORDER BY a, c, b) g ON g.a = r.n)", True),
    'steps over an outer join': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION SELECT g.b, g.d FROM r JOIN (SELECT ek.a, ek.b, m.d FROM ek LEFT JOIN m ON m.n = ek.b) g "
                                 "ON g.a = r.n)", True),
    'steps over a union': ("r(n) AS (SELECT n FROM start UNION ALL SELECT g.b FROM r JOIN (SELECT a, b FROM e UNION ALL SELECT a, b FROM ek) g ON g.a = r.n)", False),
    'steps over those without a mark': ("r(n) AS (SELECT n FROM start UNION SELECT g.b FROM r JOIN (SELECT a, b FROM e WHERE NOT EXISTS (SELECT FROM m WHERE m.n = e.b AND NOT m.ok)) g "
                                        "ON g.a = r.n)", True),
    'steps while a table has rows': ("r(n) AS (SELECT n FROM start UNION SELECT r.n + 1 FROM r, m WHERE r.n < 4)", True),
    'steps within a bound': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n, (SELECT max(d) AS top FROM m) t WHERE e.c <= t.top)", True),
    'steps with a document': ("r(n, t) AS (SELECT n, label FROM start UNION SELECT e.b, (j.doc ->> 'k') FROM r JOIN e ON e.a = r.n JOIN j ON j.n = e.b)", True),
    'paths with a document': ("r(n, t) AS (SELECT n, label FROM start UNION ALL SELECT ek.b, (j.doc ->> 'k') FROM r JOIN ek ON ek.a = r.n JOIN j ON j.n = ek.b)", False),
    'over another recursion': ("q(n) AS (SELECT n FROM start UNION SELECT ek.b FROM q JOIN ek ON ek.a = q.n), r(n) AS (SELECT n FROM q UNION SELECT e.b FROM r JOIN e ON e.a = r.n)", True),
    'steps over another recursion': ("q AS (SELECT a, b FROM ek UNION SELECT q.a, ek.b FROM q JOIN ek ON ek.a = q.b), r(n) AS (SELECT n FROM start UNION SELECT q.b FROM r JOIN q ON q.a = r.n)", True),
    'counted steps over another recursion': ("q AS (SELECT a, b FROM e UNION ALL SELECT q.a, e.b FROM q JOIN e ON e.a = q.b), r(n) AS (SELECT n FROM start UNION ALL SELECT q.b FROM r JOIN q ON q.a = r.n)", False),
    'a recursion in a subquery of the base': ("r(n) AS (SELECT max(s.n) FROM (WITH RECURSIVE q(n) AS (SELECT n FROM start UNION SELECT ek.b FROM q JOIN ek ON ek.a = q.n) SELECT n FROM q) s "
                                              "UNION SELECT e.b FROM r JOIN e ON e.a = r.n)", True),
    # steps that are not one inner join
    'left join': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION ALL SELECT ek.b, m.d FROM r JOIN ek ON ek.a = r.n LEFT JOIN m ON m.n = ek.b AND m.ok)", False),
    'left join as a set': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION SELECT e.b, m.d FROM r JOIN e ON e.a = r.n LEFT JOIN m ON m.n = r.n)", True),
    'left join itself': ("r(n, k) AS (SELECT n, 0 FROM start UNION SELECT e.b, r.k + 1 FROM r LEFT JOIN e ON e.a = r.n WHERE r.k < 3)", True),
    'left join and where it is missing': ("r(n, k) AS (SELECT n, 0 FROM start UNION ALL SELECT coalesce(e.b, r.n + 1), r.k + 1 FROM r LEFT JOIN e ON e.a = r.n AND e.c <> 2 WHERE r.k < 3)", True),
    'left join by inequality': ("r(n, k) AS (SELECT n, 0 FROM start UNION SELECT ek.b, m.n FROM r JOIN ek ON ek.a = r.n LEFT JOIN m ON m.n < r.n AND m.ok WHERE r.n < 9)", True),
    'left join of a join': ("r(n, d) AS (SELECT n, 0::numeric(6,2) FROM start UNION SELECT e.b, g.d FROM r JOIN e ON e.a = r.n LEFT JOIN (SELECT m.d, ek.a FROM m JOIN ek ON ek.b = m.n) g ON g.a = e.b)", True),
    'left join of groups': ("r(n, d) AS (SELECT n, 0::bigint FROM start UNION ALL SELECT ek.b, g.k FROM r JOIN ek ON ek.a = r.n LEFT JOIN (SELECT n, count(*) AS k FROM m GROUP BY n) g ON g.n = ek.b)", False),
    'right join': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION SELECT e.b, m.d FROM m RIGHT JOIN (r JOIN e ON e.a = r.n) ON m.n = e.b)", True),
    'two left joins': ("r(n, d, o) AS (SELECT n, NULL::numeric(6,2), NULL::bool FROM start UNION SELECT e.b, m.d, o.ok FROM r JOIN e ON e.a = r.n LEFT JOIN m ON m.n = e.b LEFT JOIN m o ON o.n = e.a AND o.d = m.d)", True),
    'left join and then a join': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION ALL SELECT ek.b, m.d FROM (r LEFT JOIN m ON m.n = r.n) JOIN ek ON ek.a = r.n WHERE m.ok IS NOT FALSE)", False),
    'left join with a document': ("r(n, t) AS (SELECT n, label FROM start UNION SELECT e.b, (j.doc ->> 'k') FROM r JOIN e ON e.a = r.n LEFT JOIN j ON j.n = e.b)", True),
    'exists': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE EXISTS (SELECT FROM m WHERE m.n = e.b AND m.ok))", True),
    'not exists': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE NOT EXISTS (SELECT FROM m WHERE m.n = r.n AND NOT m.ok))", True),
    'counted not exists': ("r(n, k) AS (SELECT n, 0 FROM start UNION ALL SELECT ek.b, r.k + 1 FROM r JOIN ek ON ek.a = r.n WHERE NOT EXISTS (SELECT FROM m WHERE m.n = ek.b AND m.d > r.k))", False),
    'not exists of both': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE NOT EXISTS (SELECT FROM ek WHERE ek.a = r.n AND ek.b = e.b))", True),
    'in': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE e.b IN (SELECT n FROM m WHERE ok))", True),
    'not in': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE e.b NOT IN (SELECT n FROM m WHERE NOT ok))", True),
    'a value': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION SELECT e.b, (SELECT max(m.d) FROM m WHERE m.n = e.b)::numeric(6,2) FROM r JOIN e ON e.a = r.n)", True),
    'a counted value': ("r(n, k) AS (SELECT n, 0::bigint FROM start UNION ALL SELECT ek.b, (SELECT count(*) FROM m WHERE m.n = r.n AND m.ok) + r.k FROM r JOIN ek ON ek.a = r.n)", False),
    'within a value': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE e.c <= (SELECT max(d) FROM m))", True),
    'within a value of the row': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE e.c <= (SELECT sum(d) FROM m WHERE m.n >= r.n))", True),
    'all': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE e.c > ALL (SELECT m.d FROM m WHERE m.n = e.b))", True),
    'a subquery and an outer join': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION ALL SELECT ek.b, m.d FROM r JOIN ek ON ek.a = r.n LEFT JOIN m ON m.n = ek.b "
                                     "WHERE NOT EXISTS (SELECT FROM e WHERE e.a = ek.a AND e.b = ek.b))", False),
    'exists and a value': ("r(n, k) AS (SELECT n, 0::bigint FROM start UNION SELECT e.b, (SELECT count(*) FROM ek WHERE ek.a = e.b) FROM r JOIN e ON e.a = r.n "
                           "WHERE EXISTS (SELECT FROM m WHERE m.n = e.b) AND e.c < (SELECT 1 + sum(d) FROM m WHERE m.n = r.n))", True),
    'lateral': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION ALL SELECT ek.b, l.d FROM r JOIN ek ON ek.a = r.n, LATERAL (SELECT d FROM m WHERE m.n = ek.b ORDER BY d DESC LIMIT 1) l)", False),
    'lateral steps': ("r(n) AS (SELECT n FROM start UNION SELECT l.b FROM r, LATERAL (SELECT b FROM e WHERE e.a = r.n ORDER BY c DESC, b LIMIT 2) l)", True),
    'counted lateral steps': ("r(n, k) AS (SELECT n, 0 FROM start UNION ALL SELECT l.b, r.k + 1 FROM r CROSS JOIN LATERAL (SELECT b FROM ek WHERE ek.a = r.n ORDER BY b LIMIT 2) l)", False),
    'lateral groups': ("r(n, k) AS (SELECT n, 0::bigint FROM start UNION SELECT e.b, l.k FROM r JOIN e ON e.a = r.n, LATERAL (SELECT count(*) AS k FROM m WHERE m.n = e.b AND m.ok) l)", True),
    'left join lateral': ("r(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION SELECT e.b, l.d FROM r JOIN e ON e.a = r.n LEFT JOIN LATERAL (SELECT d FROM m WHERE m.n = e.b ORDER BY d LIMIT 1) l ON true)", True),
    'a set': ("r(n) AS (SELECT n FROM start UNION SELECT g FROM r JOIN e ON e.a = r.n, generate_series(e.b, e.b + e.c - 1) g WHERE g < 9)", True),
    'a counted set': ("r(n, k) AS (SELECT n, 0 FROM start UNION ALL SELECT u.v, r.k + 1 FROM r JOIN e ON e.a = r.n, unnest(ARRAY[e.b, e.c]) u(v) WHERE r.k < 2)", True),
    'a set in the select list': ("r(n, k) AS (SELECT n, 0 FROM start UNION SELECT generate_series(e.b, e.b + 1), r.k + 1 FROM r JOIN e ON e.a = r.n WHERE r.k < 3)", True),
    'nested exists': ("r(n) AS (SELECT n FROM start UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE EXISTS (SELECT FROM m WHERE m.n = e.b AND EXISTS (SELECT FROM ek WHERE ek.a = m.n AND ek.b >= r.n)))", True),
    'nested not exists': ("r(n, k) AS (SELECT n, 0 FROM start UNION ALL SELECT ek.b, r.k + 1 FROM r JOIN ek ON ek.a = r.n WHERE NOT EXISTS (SELECT FROM m WHERE m.n = ek.b AND NOT EXISTS (SELECT FROM e WHERE e.a = m.n AND e.c > r.k)))", False),
    'a nested value': ("r(n, k) AS (SELECT n, 0::bigint FROM start UNION SELECT e.b, (SELECT count(*) FROM m WHERE m.n = e.b AND m.d < (SELECT max(x.c) FROM e x WHERE x.a = m.n)) FROM r JOIN e ON e.a = r.n)", True),
    'a value of a recursion': ("q AS (SELECT a, b FROM ek UNION SELECT q.a, ek.b FROM q JOIN ek ON ek.a = q.b), r(n, k) AS (SELECT n, 0::bigint FROM start UNION "
                               "SELECT e.b, (SELECT count(*) FROM q WHERE q.a = e.b) FROM r JOIN e ON e.a = r.n)", True),
    # SEARCH and CYCLE; what they show is no column for a table
    'cycle': ("r0 AS (SELECT a, b FROM e WHERE a < 3 UNION ALL SELECT r0.a, e.b FROM r0 JOIN e ON e.a = r0.b) CYCLE b SET looped USING path, "
              "r AS (SELECT a, b, looped, path::text AS path FROM r0)", True),
    'cycle, not the path': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT ek.b FROM r0 JOIN ek ON ek.a = r0.n) CYCLE n SET looped USING path, r AS (SELECT n FROM r0 WHERE NOT looped)", True),
    'cycle as a set': ("r0(n) AS (SELECT n FROM start UNION SELECT e.b FROM r0 JOIN e ON e.a = r0.n) CYCLE n SET looped TO 'Y' DEFAULT 'N' USING path, "
                       "r AS (SELECT n, looped, cardinality(path) AS hops, to_jsonb(path)::text AS j FROM r0)", True),
    'cycle of two columns': ("r0(n, m) AS (SELECT n, n FROM start UNION ALL SELECT e.b, e.a FROM r0 JOIN e ON e.a = r0.n) CYCLE n, m SET looped USING path, "
                             "r AS (SELECT n, m, looped, path::text AS path FROM r0)", True),
    'cycle of two types': ("r0(n, l) AS (SELECT n, label FROM start UNION ALL SELECT e.b, r0.l FROM r0 JOIN e ON e.a = r0.n) CYCLE n, l SET looped TO 1 DEFAULT 0 USING path, "
                           "r AS (SELECT n, l, looped, path::text AS path FROM r0)", True),
    'cycle of two types as a set': ("r0(n, l) AS (SELECT n, label FROM start UNION SELECT e.b, r0.l FROM r0 JOIN e ON e.a = r0.n AND e.c < 3) CYCLE l, n SET looped USING path, "
                                    "r AS (SELECT n, l, to_jsonb(path)::text AS path FROM r0 WHERE looped OR l IS NULL)", True),
    'cycle that the step looks at': ("r0(n, k) AS (SELECT n, 0 FROM start UNION ALL SELECT e.b, cardinality(r0.path) FROM r0 JOIN e ON e.a = r0.n WHERE cardinality(r0.path) < 4) "
                                     "CYCLE n SET looped USING path, r AS (SELECT n, k, looped FROM r0)", True),
    'breadth first': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT e.b FROM r0 JOIN e ON e.a = r0.n) SEARCH BREADTH FIRST BY n SET ord, r AS (SELECT n, ord::text AS ord FROM r0)", False),
    'breadth first, numbered': ("r0 AS (SELECT id, a AS parent FROM ek WHERE a = 0 UNION ALL SELECT ek.id, ek.a FROM ek JOIN r0 ON ek.a = r0.id) SEARCH BREADTH FIRST BY parent, id SET ord, "
                                "r AS (SELECT id, row_number() OVER (ORDER BY ord DESC) AS pos FROM r0)", 'tree'),
    'depth first': ("r0(n, l) AS (SELECT n, label FROM start UNION ALL SELECT e.b, r0.l FROM r0 JOIN e ON e.a = r0.n) SEARCH DEPTH FIRST BY l, n SET ord, r AS (SELECT n, ord::text AS ord FROM r0)", False),
    'depth first, numbered': ("r0 AS (SELECT id, a AS parent FROM ek WHERE a = 0 UNION ALL SELECT ek.id, ek.a FROM ek JOIN r0 ON ek.a = r0.id) SEARCH DEPTH FIRST BY id SET ord, "
                              "r AS (SELECT id, row_number() OVER (ORDER BY ord) AS pos, cardinality(ord) AS depth FROM r0)", 'tree'),
    'depth first by two, numbered': ("r0 AS (SELECT id, b FROM ek WHERE a = 0 UNION ALL SELECT ek.id, ek.b FROM ek JOIN r0 ON ek.a = r0.id) SEARCH DEPTH FIRST BY b, id SET ord, "
                                     "r AS (SELECT id, rank() OVER (PARTITION BY b % 2 ORDER BY ord DESC) AS pos FROM r0)", 'tree'),
    'depth first by two types, numbered': ("r0(n, l) AS (SELECT n, label FROM start UNION ALL SELECT e.b, CASE WHEN e.c = 1 THEN 'b' WHEN e.c = 2 THEN 'a' END FROM r0 JOIN e ON e.a = r0.n) "
                                           "SEARCH DEPTH FIRST BY l, n SET ord, r AS (SELECT n, row_number() OVER (PARTITION BY l ORDER BY ord DESC) AS pos, rank() OVER (ORDER BY ord) AS place FROM r0)", False),
    'depth first by two types, the first rows': ("r0(n, l) AS (SELECT n, label FROM start UNION ALL SELECT e.b, CASE WHEN e.c = 1 THEN 'b' WHEN e.c = 2 THEN 'a' END FROM r0 JOIN e ON e.a = r0.n) "
                                                 "SEARCH DEPTH FIRST BY l, n SET ord, r AS (SELECT n, l FROM r0 ORDER BY ord LIMIT 3)", False),
    'depth first, the first rows': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT e.b FROM r0 JOIN e ON e.a = r0.n) SEARCH DEPTH FIRST BY n SET ord, r AS (SELECT n FROM r0 ORDER BY ord LIMIT 4)", False),
    'breadth first, the first rows': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT e.b FROM r0 JOIN e ON e.a = r0.n) SEARCH BREADTH FIRST BY n SET ord, r AS (SELECT n FROM r0 ORDER BY ord LIMIT 4)", False),
    'search and cycle': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT e.b FROM r0 JOIN e ON e.a = r0.n) SEARCH DEPTH FIRST BY n SET ord CYCLE n SET looped USING path, "
                         "r AS (SELECT n, row_number() OVER (ORDER BY ord) AS pos, looped, path::text AS path FROM r0)", True),
    'breadth and cycle as a set': ("r0(n) AS (SELECT n FROM start UNION SELECT e.b FROM r0 JOIN e ON e.a = r0.n) SEARCH BREADTH FIRST BY n SET ord CYCLE n SET looped USING path, "
                                   "r AS (SELECT n, ord::text AS ord, looped FROM r0)", True),
    'cycle and a left join': ("r0(n, d) AS (SELECT n, NULL::numeric(6,2) FROM start UNION ALL SELECT e.b, m.d FROM r0 JOIN e ON e.a = r0.n LEFT JOIN m ON m.n = e.b AND m.ok) CYCLE n SET looped USING path, "
                              "r AS (SELECT n, d, looped, path::text AS path FROM r0)", True),
    'cycle and a subquery': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT e.b FROM r0 JOIN e ON e.a = r0.n WHERE NOT EXISTS (SELECT FROM m WHERE m.n = e.b AND NOT m.ok)) CYCLE n SET looped USING path, "
                             "r AS (SELECT n, looped, path::text AS path FROM r0)", True),
    'search of a lateral step': ("r0(n) AS (SELECT n FROM start UNION ALL SELECT l.b FROM r0, LATERAL (SELECT b FROM e WHERE e.a = r0.n ORDER BY b LIMIT 2) l) SEARCH DEPTH FIRST BY n SET ord CYCLE n SET looped USING path, "
                                 "r AS (SELECT n, ord::text AS ord, looped FROM r0)", True),
    'WITH inside': ("r(n) AS (WITH s AS (SELECT n FROM start WHERE n > 0) SELECT n FROM s UNION SELECT e.b FROM r JOIN e ON e.a = r.n JOIN s ON true)", True),
}

# Queries over r, whose first column is an integer.
WRAPPERS = {
    'itself': "SELECT * FROM r",
    'some of it': "SELECT {c} AS node, {c} * 2 + 1 AS twice FROM r WHERE {c} IS DISTINCT FROM 2",
    'joined': "SELECT r.*, m.ok AS marked, m.d AS md FROM r JOIN m ON m.n = r.{c} WHERE m.ok",
    'left join': "SELECT r.*, m.d AS md FROM r LEFT JOIN m ON m.n = r.{c}",
    'right side': "SELECT m.n AS mn, m.ok AS marked, r.* FROM m LEFT JOIN r ON m.n = r.{c} AND m.d > 0",
    'full join': "SELECT m.n AS mn, m.ok AS marked, r.* FROM m FULL JOIN r ON m.n = r.{c}",
    'counted': "SELECT {c} AS node, count(*) AS n FROM r GROUP BY {c}",
    'one value': "SELECT count(*) AS n, max({c}) AS top, sum({c}) AS s FROM r",
    'groups of a join': "SELECT m.ok, sum(m.d) AS d, count(DISTINCT r.{c}) AS k FROM r JOIN m ON m.n = r.{c} GROUP BY m.ok HAVING count(*) > 1",
    'first rows': "SELECT * FROM r ORDER BY {c} DESC NULLS LAST LIMIT 3",
    'first rows of a join': "SELECT r.{c} AS node, m.d AS md FROM r JOIN m ON m.n = r.{c} ORDER BY md DESC, node LIMIT 3",
    'window': "SELECT r.*, row_number() OVER (PARTITION BY {c} % 2 ORDER BY {c}) AS rn FROM r",
    'twice': "SELECT x.{c} AS a, y.{c} AS b FROM r x JOIN r y ON x.{c} = y.{c} + 1",
    'twice, apart': "SELECT {c} AS node FROM r WHERE {c} > 1 UNION ALL SELECT count(*) FROM r",
    'in': "SELECT n, ok FROM m WHERE n IN (SELECT {c} FROM r)",
    'not exists': "SELECT n, label FROM start WHERE NOT EXISTS (SELECT FROM r WHERE r.{c} = start.n)",
    'correlated count': "SELECT m.n, (SELECT count(*) FROM r WHERE r.{c} >= m.n) AS k FROM m",
    'above the average': "SELECT {c} AS node FROM r WHERE {c} > (SELECT avg({c}) FROM r)",
    'except': "SELECT n FROM m EXCEPT SELECT {c} FROM r",
    'distinct': "SELECT DISTINCT {c} AS node FROM r",
    'lateral': "SELECT r.{c} AS node, l.d FROM r, LATERAL (SELECT d FROM m WHERE m.n = r.{c} ORDER BY d DESC, ok LIMIT 1) l",
    'in a CTE': "SELECT s.k, m.ok FROM s JOIN m ON m.n = s.node",
    'recursion over it': "SELECT * FROM z",
}
# WITH items behind r that a wrapper needs
MORE = {
    'in a CTE': ", s AS (SELECT {c} AS node, count(*) AS k FROM r GROUP BY {c})",
    'recursion over it': ", z(n) AS (SELECT {c} FROM r UNION SELECT ek.b FROM z JOIN ek ON ek.a = z.n)",
}


def first_column(recursion):
    """The name of r's first column."""
    return re.search(r'(?:^|, )r(?:\((\w+)| AS \(SELECT (\w+))', recursion).group(1) or re.search(r'(?:^|, )r AS \(SELECT (\w+)', recursion).group(1)


def build(recursion, wrapper):
    c = first_column(recursion)
    return f"WITH RECURSIVE {recursion}{MORE.get(wrapper, '').format(c=c)} {WRAPPERS[wrapper].format(c=c)}"


DOCUMENTS = ['NULL', "'{}'", "'{\"k\": 1}'", "'{\"k\": \"x\"}'"]


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
        if table == 'j':
            return f"({self.node()}, {self.rnd.choice(DOCUMENTS)})"
        return f"({self.node()}, {self.rnd.choice(['NULL', quote('x'), quote('y')])})"

    def fill(self):
        sizes = {'e': (0, 9), 'ek': (0, 9), 'm': (2, 10), 'start': (0, 3), 'j': (0, 6)}
        for table in TABLES:
            yield f'DELETE FROM f.{table}'
            rows = [self.row(table) for _ in range(self.rnd.randint(*sizes[table]))]
            if rows:
                yield f"INSERT INTO f.{table} VALUES {', '.join(rows)}"

    def change(self):
        rnd = self.rnd
        table = rnd.choice(['e', 'e', 'ek', 'ek', 'm', 'start', 'j'])
        kind = rnd.random()
        if kind < 0.4:
            return f"INSERT INTO f.{table} VALUES {', '.join(self.row(table) for _ in range(rnd.randint(1, 3)))}"
        some = {'e': f'a = {self.node(0)}', 'ek': f'b = {self.node(0)}', 'm': f'n = {self.node(0)}', 'start': f'n = {self.node(0)}', 'j': f'n = {self.node(0)}'}[table]
        if rnd.random() < 0.3:
            some = f'random() < {rnd.choice([0.2, 0.5])}'
        if rnd.random() < 0.05:
            some = 'true'
        if kind < 0.75:
            return f'DELETE FROM f.{table} WHERE {some}'
        if table == 'm':
            return f'UPDATE f.m SET ok = NOT ok, d = d + 1 WHERE {some}'
        if table == 'j':
            return f'UPDATE f.j SET n = n + 1 WHERE {some}'
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


def one_round(cur, seed, stats, names):
    rnd = random.Random(seed)
    name = rnd.choice(names)
    wrapper = rnd.choice(list(WRAPPERS)) if rnd.random() < 0.8 else 'itself'
    recursion, shape = RECURSIONS[name]
    query = build(recursion, wrapper)
    graph = Graph(rnd, shape)
    trace = list(graph.fill())
    stats[wrapper] = stats.get(wrapper, 0) + 1
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
        raise harness.Difference(f'{name}, {wrapper}: {error}\n  {query}\n  ' + '\n  '.join(trace)) from error


def main():
    parser = harness.arguments()
    parser.add_argument('--only', default='', help='recursions whose name matches')
    args = parser.parse_args()
    names = [name for name in RECURSIONS if re.search(args.only, name)]
    statements = ['CREATE SCHEMA f', "SET statement_timeout = '20s'"]
    for table, columns in TABLES.items():
        statements += logged_table(table, columns)
    conn = harness.connect(args.dsn, [*statements, 'CREATE INDEX ON f.e (a); CREATE INDEX ON f.ek (a)'])
    return harness.search(conn, args, 0, lambda cur, seed, stats: one_round(cur, seed, stats, names))


if __name__ == '__main__':
    sys.exit(main())
