"""Named regressions: the wrong readings of delta rules that concern the operators we have, and others found by the search."""

GRAPH = {'edge': 'a int, b int, c numeric'}
EDGES = ["INSERT INTO f.edge VALUES (1, 2, 1.0), (2, 3, 2), (3, 4, 1.50), (1, 5, 3), (5, 3, 1)"]
CHANGES = [["INSERT INTO f.edge VALUES (4, 6, 2), (NULL, 1, 1), (6, NULL, 1)"], ["DELETE FROM f.edge WHERE a = 1 AND b = 2", "UPDATE f.edge SET c = 1.00 WHERE b = 3"],
           ["UPDATE f.edge SET b = 7 WHERE a = 3", "INSERT INTO f.edge VALUES (1, 2, 1), (1, 2, 1.0)"], ["DELETE FROM f.edge"], EDGES]
RAW = 'r(n, q, d) AS (SELECT a, c, 0 FROM f.edge WHERE a = 1 UNION ALL SELECT e.b, r.q * e.c, r.d + 1 FROM r JOIN f.edge e ON e.a = r.n)'
REACH = 'r(a, b) AS (SELECT a, b FROM f.edge UNION SELECT r.a, e.b FROM r JOIN f.edge e ON e.a = r.b)'

CASES = {
    'parts of a set operation in other types': {    # the cast is the server's, and no part of the text
        'setup': ["INSERT INTO f.t1 (k, v, n, x) VALUES (1, 1, 1.0, 1), (2, 7, 2.50, -0.0), (2, 7, 2.5, 0)", "INSERT INTO f.t2 (id, k, n) VALUES (1, 1, 1.00), (2, 3, 9)"],
        'query': 'SELECT n AS a FROM f.t2 UNION ALL SELECT k FROM f.t1 UNION ALL SELECT v::bigint FROM f.t1',
        'transactions': [["UPDATE f.t1 SET k = k + 1"], ["INSERT INTO f.t1 (k) VALUES (NULL), (5)", "UPDATE f.t2 SET n = 7"], ["DELETE FROM f.t1 WHERE k = 2"], ["DELETE FROM f.t1"]],
    },
    'a merged column has another type than either side shows': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1), (2, 7), (3, NULL)", "INSERT INTO f.t3 (id, n) VALUES (1, 7), (2, 7.0)"],
        'query': 'SELECT k, k / 2 AS half, to_jsonb(k) AS j, count(*) AS n FROM f.t1 a LEFT JOIN (SELECT n AS k FROM f.t3) b USING (k) GROUP BY k',
        'transactions': [["INSERT INTO f.t1 (id, k) VALUES (4, 7), (5, 3)"], ["UPDATE f.t1 SET k = 3 WHERE id < 3", "INSERT INTO f.t3 (id, n) VALUES (3, 3.00)"], ["DELETE FROM f.t3 WHERE n = 7"], ["DELETE FROM f.t1"]],
    },
    'the empty array and the empty object': {       # functions without arguments that do not ask for the session
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1), (2, 1)"],
        'query': 'SELECT t.id, coalesce((SELECT jsonb_agg(u.id) FROM f.t1 u WHERE u.k = t.id), jsonb_build_array()) AS a, json_build_object()::text AS o FROM f.t1 t',
        'transactions': [["UPDATE f.t1 SET k = 2 WHERE id = 1"], ["INSERT INTO f.t1 (id, k) VALUES (3, 3)"], ["DELETE FROM f.t1 WHERE id = 1"]],
    },
    'rows of VALUES in other types': {
        'setup': ["INSERT INTO f.t1 (id, k, n) VALUES (1, 1, 1.5), (2, 7, 2.0)"],
        'query': 'SELECT t.id, v.a FROM f.t1 t CROSS JOIN LATERAL (VALUES (t.k), (t.n), (t.id::bigint)) v(a)',
        'transactions': [["UPDATE f.t1 SET k = 2"], ["INSERT INTO f.t1 (id, k) VALUES (3, 3)", "DELETE FROM f.t1 WHERE id = 1"], ["DELETE FROM f.t1"]],
    },
    'EXCEPT ALL of floats and whole numbers': {
        'setup': ["INSERT INTO f.t1 (k, x) VALUES (1, 1), (2, 2.5), (0, 0)", "INSERT INTO f.t3 (k, x) VALUES (1, 1), (3, -0.0)"],
        'query': 'SELECT x FROM f.t1 EXCEPT ALL SELECT k FROM f.t3',
        'transactions': [["UPDATE f.t1 SET x = -x"], ["INSERT INTO f.t3 (k) VALUES (0), (-1)"], ["DELETE FROM f.t3", "UPDATE f.t1 SET x = 3"]],
    },
    'a collation given to one part of UNION': {
        'tables': {'word': 'a text COLLATE "C", o text COLLATE "POSIX"'}, 'setup': ["INSERT INTO f.word VALUES ('a', 'A'), ('b', 'a')"],
        'query': 'SELECT a COLLATE "C" AS a FROM f.word UNION SELECT o FROM f.word ORDER BY 1 LIMIT 3',
        'transactions': [["INSERT INTO f.word VALUES ('B', NULL)", "INSERT INTO f.t1 (s) VALUES ('0')"], ["DELETE FROM f.word WHERE a = 'B'", "UPDATE f.word SET o = a"], ["DELETE FROM f.word"]],
    },
    'values that a collation takes as equal': {     # a group of them shows the least, in the column's collation
        'tables': {'ci': 'id int, s text COLLATE f.ci', 'di': 's text COLLATE f.ci'},
        'setup': ["INSERT INTO f.ci VALUES (1, 'a'), (2, 'A'), (3, 'b'), (4, NULL)", "INSERT INTO f.di VALUES ('A'), ('B'), ('c')"],
        'query': 'SELECT x.s, count(*) AS n FROM (SELECT s FROM f.ci INTERSECT SELECT s FROM f.di) x JOIN f.ci y ON y.s = x.s GROUP BY x.s',
        'transactions': [["INSERT INTO f.ci VALUES (5, 'C'), (6, 'B')"], ["DELETE FROM f.di WHERE s = 'a'"], ["UPDATE f.ci SET s = lower(s)", "INSERT INTO f.di VALUES ('a')"], ["DELETE FROM f.ci WHERE id < 4"]],
    },
    'and that another collation tells apart': {
        'tables': {'ci': 'id int, s text COLLATE f.ci'}, 'setup': ["INSERT INTO f.ci VALUES (1, 'a'), (2, 'A'), (3, 'b'), (4, NULL)"],
        'query': 'SELECT x.s COLLATE "C" AS s, count(y.s) AS n FROM f.ci x JOIN f.ci y ON x.s = y.s COLLATE "C" GROUP BY x.s COLLATE "C"',
        'transactions': [["INSERT INTO f.ci VALUES (5, 'a'), (6, 'A'), (7, 'B')"], ["UPDATE f.ci SET s = 'A' WHERE id IN (1, 3)", "INSERT INTO f.ci VALUES (8, 'a')"], ["DELETE FROM f.ci WHERE id IN (2, 5)"]],
    },
    'the order of ARRAY(SELECT ...)': {             # of a subquery that refers to nothing outside
        'setup': ["INSERT INTO f.t1 (id, k, n) SELECT g, (g * 5) % 7, (g % 3)::numeric(3,1) FROM generate_series(1, 12) g"],
        'query': "SELECT t.id, ARRAY(SELECT k FROM f.t1 ORDER BY n DESC, id) AS a, ARRAY(SELECT n FROM f.t1 ORDER BY k LIMIT 4) AS b, ARRAY(SELECT DISTINCT k FROM f.t1 ORDER BY k DESC) AS c, "
                 "ARRAY(SELECT k FROM f.t1 GROUP BY k ORDER BY count(*), k) AS d FROM f.t3 t",
        'transactions': [["INSERT INTO f.t3 (id) VALUES (1), (2)"], ["UPDATE f.t1 SET n = 1.00 WHERE id IN (3, 7)"], ["UPDATE f.t1 SET k = 3 WHERE id < 4", "DELETE FROM f.t3 WHERE id = 2"],
                         ["INSERT INTO f.t1 (id, k, n) VALUES (20, NULL, NULL), (21, 99, 0)"], ["DELETE FROM f.t1 WHERE id > 3"], ["DELETE FROM f.t1"]],
    },
    'the order of ARRAY() where rows tie': {        # what was stored and what is taken away are computed from rows in other orders
        'setup': ["INSERT INTO f.t1 (id, k, n) SELECT g, g % 3, g % 2 FROM generate_series(1, 12) g", "INSERT INTO f.t3 (id, k) VALUES (1, 0), (2, 1), (3, 2)"],
        'query': 'SELECT t.id, ARRAY(SELECT u.id FROM f.t1 u WHERE u.k = t.k) AS a, ARRAY(SELECT u.id FROM f.t1 u WHERE u.k <= t.k ORDER BY u.n) AS b FROM f.t3 t',
        'transactions': [["DELETE FROM f.t1 WHERE id = 7"], ["UPDATE f.t1 SET id = 100 WHERE id = 1", "INSERT INTO f.t1 (id, k, n) VALUES (0, 1, 0), (-1, 2, 1)"], ["UPDATE f.t1 SET k = 1"], ["DELETE FROM f.t1"]],
    },
    'WITH that refers to the query around it, read further inside': {
        'setup': [], 'transactions': [], 'full': 'WITH inside a subquery that refers to the query around it, read by a subquery of that',
        'query': 'SELECT (WITH c(v) AS (VALUES (t.k)) SELECT (SELECT v FROM c)) AS v FROM f.t1 t',
    },
    'a recursion from a value of the query around it': {
        'setup': [], 'transactions': [], 'full': 'WITH RECURSIVE that refers to the query around it',
        'query': 'SELECT t.k, s.n FROM f.t1 t CROSS JOIN LATERAL (WITH RECURSIVE r(n) AS (SELECT t.k UNION SELECT n + 1 FROM r WHERE n < 10) SELECT n FROM r) s',
    },
    'a recursion below a join and a condition': {
        'tables': GRAPH, 'setup': [*EDGES, "INSERT INTO f.t1 (k, s) VALUES (2, 'two'), (3, 'three'), (4, 'four'), (4, NULL)"],
        'query': f'WITH RECURSIVE {RAW} SELECT r.n, r.q::text AS q, t.s FROM r JOIN f.t1 t ON t.k = r.n WHERE r.d < 3',
        'transactions': [*CHANGES, ["UPDATE f.t1 SET s = 'x' WHERE k = 3", "DELETE FROM f.t1 WHERE k = 4"]], 'inner': 1,
    },
    'a recursion summed, its values equal in several forms': {
        'tables': GRAPH, 'setup': EDGES, 'query': f'WITH RECURSIVE {RAW} SELECT n, sum(q)::text AS q, min(q) AS low, count(*) AS k FROM r GROUP BY n', 'transactions': CHANGES, 'inner': 1,
    },
    'a recursion read twice is kept once': {
        'tables': GRAPH, 'setup': EDGES, 'query': f'WITH RECURSIVE {REACH} SELECT x.a, y.b, (SELECT max(b) FROM r) AS top FROM r x JOIN r y ON y.a = x.b', 'transactions': CHANGES, 'inner': 2,
    },
    'two recursions, one over the other': {
        'tables': GRAPH, 'setup': EDGES,
        'query': f'WITH RECURSIVE {REACH}, z(n) AS (SELECT min(a) FROM r UNION SELECT r.b FROM z JOIN r ON r.a = z.n) SELECT z.n, r.b FROM z LEFT JOIN r ON r.a = z.n', 'transactions': CHANGES,
    },
    'a recursion over groups, which are kept': {
        'tables': GRAPH, 'setup': EDGES, 'inner': 1,
        'query': 'WITH RECURSIVE r(n, w) AS (SELECT 1, 0::bigint UNION SELECT g.b, g.w FROM r JOIN (SELECT a, b, count(*) AS w FROM f.edge GROUP BY a, b) g ON g.a = r.n) SELECT * FROM r', 'transactions': CHANGES,
    },
    'the columns of a recursion in another order': {     # the table of the ST has other columns than the recursion
        'tables': GRAPH, 'setup': EDGES, 'query': f'WITH RECURSIVE {REACH} SELECT b, a FROM r', 'transactions': CHANGES, 'inner': 1,
    },
    'a recursion in a subquery, with WITH inside': {
        'tables': GRAPH, 'setup': EDGES, 'inner': 1,
        'query': 'SELECT t.k FROM f.t1 t WHERE EXISTS (WITH RECURSIVE r AS (WITH s AS (SELECT b FROM f.edge WHERE a = 1) SELECT b FROM s UNION SELECT e.b FROM r JOIN f.edge e ON e.a = r.b) SELECT FROM r WHERE r.b = t.k)',
        'transactions': [["INSERT INTO f.t1 (k) SELECT g FROM generate_series(1, 7) g"], *CHANGES],
    },
    'no column of a table that the step reads': {        # whether there are rows is what counts
        'tables': GRAPH, 'setup': [], 'query': 'WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT r.n + 1 FROM r, f.edge WHERE r.n < 4) SELECT * FROM r', 'transactions': [EDGES, *CHANGES],
    },
    'a long text that steps look for': {                 # too long for a btree
        'tables': {'link': 'a text, b text'}, 'setup': ["INSERT INTO f.link SELECT repeat(g::text, 9000), repeat((g + 1)::text, 9000) FROM generate_series(1, 5) g"], 'inner': 1,
        'query': 'WITH RECURSIVE r AS (SELECT a, b FROM f.link UNION SELECT r.a, l.b FROM r JOIN f.link l ON l.a = r.b) SELECT left(a, 1) AS a, count(*) AS n FROM r GROUP BY left(a, 1)',
        'transactions': [["DELETE FROM f.link WHERE left(a, 1) = '3'"], ["INSERT INTO f.link SELECT repeat('3', 9000), repeat('1', 9000)"]],
    },
    'a collation of its own in a recursion': {
        'tables': {'link': 'a text COLLATE "C", b text COLLATE "C"'}, 'setup': ["INSERT INTO f.link VALUES ('a', 'B'), ('B', 'c'), ('c', 'a')"], 'inner': 1,
        'query': 'WITH RECURSIVE r AS (SELECT a, b FROM f.link UNION SELECT r.a, l.b FROM r JOIN f.link l ON l.a = r.b) SELECT * FROM r ORDER BY b, a LIMIT 4',
        'transactions': [["DELETE FROM f.link WHERE a = 'B'"], ["INSERT INTO f.link VALUES ('B', 'b'), ('b', 'A')"]],
    },
    'a recursion that refers to the query around it': {
        'tables': GRAPH, 'setup': EDGES, 'transactions': [], 'full': 'WITH RECURSIVE that refers to the query around it',
        'query': 'SELECT t.k, (WITH RECURSIVE r AS (SELECT b FROM f.edge WHERE a = t.k UNION SELECT e.b FROM r JOIN f.edge e ON e.a = r.b) SELECT count(*) FROM r) AS n FROM f.t1 t',
    },
    'a recursive step of another form': {
        'tables': GRAPH, 'setup': EDGES, 'transactions': [], 'full': 'a recursive term that is not computed row by row',
        'query': 'WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT DISTINCT e.b FROM r JOIN f.edge e ON e.a = r.n) SELECT count(*) AS n FROM r',
    },
    'a recursive step with a condition that is not monotone': {
        'tables': GRAPH, 'setup': [*EDGES, "INSERT INTO f.t1 (k) VALUES (3), (NULL)"], 'inner': 1,
        'query': 'WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT e.b FROM r JOIN f.edge e ON e.a = r.n WHERE NOT EXISTS (SELECT FROM f.t1 t WHERE t.k = e.b)) SELECT count(*) AS n FROM r',
        'transactions': [["DELETE FROM f.t1 WHERE k = 3"], ["INSERT INTO f.t1 (k) VALUES (2), (4)"], *CHANGES, ["DELETE FROM f.t1"]],
    },
    'rows as columns of a recursion below others': {
        'tables': GRAPH, 'setup': EDGES, 'transactions': [], 'full': 'WITH RECURSIVE below other operations over columns of composite, domain or range types',
        'query': "WITH RECURSIVE r(n, x) AS (SELECT 1, int4range(1, 2) UNION ALL SELECT e.b, int4range(e.a, NULL) FROM r JOIN f.edge e ON e.a = r.n) SELECT n FROM r",
    },
    'the minus of a constant as a key': {        # deparsed bare it would be a column number
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (2)"],
        'query': 'SELECT -7.125::numeric AS a, -(1) AS b, count(*) AS n FROM f.t1 GROUP BY (-7.125::numeric), (-(1)::int)',
        'transactions': [["INSERT INTO f.t1 (k) VALUES (3)"], ["DELETE FROM f.t1"]],
    },
    'a correlated minimum of equal values in several forms': {     # 0 and 0.0: what is taken away must look as it did
        'setup': ["INSERT INTO f.t3 (id, p) VALUES (0, 1), (0, 2), (1, 3)", "INSERT INTO f.t2 (id, k, v, n) VALUES (1, 1, 0, 0), (2, 2, 0, 1.5)"],
        'query': 'SELECT DISTINCT ON ((SELECT min(q.n) FROM f.t2 q WHERE q.v = t.id)) t.p FROM f.t3 t ORDER BY (SELECT min(q.n) FROM f.t2 q WHERE q.v = t.id), t.p',
        'transactions': [["INSERT INTO f.t2 (id, k, v, n) VALUES (3, 3, 0, 0.0)", "INSERT INTO f.t3 (id, p) VALUES (0, 0.5)"], ["INSERT INTO f.t3 (id, p) VALUES (0, 0.25)"],
                         ["DELETE FROM f.t2 WHERE n::text = '0'", "INSERT INTO f.t3 (id, p) VALUES (0, 0.1)"], ["DELETE FROM f.t2 WHERE n < 1", "DELETE FROM f.t3 WHERE p < 1"]],
    },
    'the next extremum from an index': {
        'setup': ["INSERT INTO f.t2 (id, k, v, n, s) VALUES (1, 1, 5, 1, 'a'), (2, 1, 7, 2, 'b'), (3, 1, 7, 3, NULL), (4, 2, 1, 4, 'c'), (5, 1, 9, NULL, 'd')"],
        'query': "SELECT k, max(v) AS a, min(v) AS b, max(s) AS c, min(n) FILTER (WHERE v > 1) AS d, count(*) AS n FROM f.t2 WHERE v IS DISTINCT FROM 9 GROUP BY k",
        'transactions': [["DELETE FROM f.t2 WHERE id = 2"], ["DELETE FROM f.t2 WHERE id = 3"], ["UPDATE f.t2 SET v = 0 WHERE id = 1", "INSERT INTO f.t2 (id, k, v, n) VALUES (6, 1, 9, 9)"],
                         ["UPDATE f.t2 SET v = NULL"], ["DELETE FROM f.t2 WHERE k = 2", "UPDATE f.t2 SET v = id, s = 'z'"], ["DELETE FROM f.t2 WHERE id > 1"], ["DELETE FROM f.t2"]],
    },
    'a constant as a key of grouping sets': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (2)"],
        'query': "SELECT DATE '2024-01-03' AS a, count(*) AS n FROM f.t1 GROUP BY CUBE ((DATE '2024-01-03'), k) HAVING (DATE '2024-01-03') IS NOT NULL",
        'transactions': [["INSERT INTO f.t1 (k) VALUES (3)"], ["DELETE FROM f.t1"]],
    },
    'a clock in a text constant': {
        'setup': [],
        'query': "SELECT k, CAST('to' || 'day' AS text)::date AS d FROM f.t1",
        'transactions': [],
        'full': 'a clock in a text that is read as a time',
    },
    'a date in a text constant': {
        'setup': ["INSERT INTO f.t1 (k, s) VALUES (1, '2024-01-01')"],
        'query': "SELECT k, CAST('2024-' || '01-01' AS text)::date AS d FROM f.t1",
        'transactions': [["INSERT INTO f.t1 (k) VALUES (2)"]],
    },
    'the first of kept groups': {               # groups come, go, tie and change places
        'setup': ["INSERT INTO f.t1 (k, v) SELECT g % 7, g FROM generate_series(1, 40) g"],
        'query': 'SELECT k, sum(v) AS total, count(*) AS n FROM f.t1 GROUP BY k ORDER BY total DESC LIMIT 3 OFFSET 1',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (8, 1000), (NULL, 500)"], ["UPDATE f.t1 SET v = -v WHERE k = 8", "DELETE FROM f.t1 WHERE k = 3"],
                         ["UPDATE f.t1 SET v = 1"], ["DELETE FROM f.t1 WHERE k > 0"], ["DELETE FROM f.t1"], ["INSERT INTO f.t1 (k, v) VALUES (1, NULL)"]],
        'inner': 1,
    },
    'groups that HAVING hides': {
        'setup': ["INSERT INTO f.t1 (k, v) SELECT g % 7, g FROM generate_series(1, 40) g"],
        'query': 'SELECT count(*) AS n, max(v) AS top FROM f.t1 GROUP BY k HAVING sum(v) > 120',
        'transactions': [["UPDATE f.t1 SET v = v + 20 WHERE v < 5"], ["UPDATE f.t1 SET v = v - 90 WHERE v > 30"], ["DELETE FROM f.t1 WHERE v < 0"],
                         ["INSERT INTO f.t1 (k, v) VALUES (NULL, 121)"], ["DELETE FROM f.t1"]],
        'inner': 1,
    },
    'the maximum of kept totals, on both sides': {   # one subquery read twice, equal maxima, none
        'setup': ["INSERT INTO f.t1 (k, v) SELECT g % 5, g FROM generate_series(1, 20) g"],
        'query': 'WITH t AS (SELECT k, sum(v) AS total FROM f.t1 GROUP BY k) SELECT k, total FROM t WHERE total = (SELECT max(total) FROM t)',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (1, 100)"], ["DELETE FROM f.t1 WHERE v = 100"], ["UPDATE f.t1 SET v = 1"],
                         ["DELETE FROM f.t1 WHERE k < 4"], ["DELETE FROM f.t1"], ["INSERT INTO f.t1 (k, v) VALUES (NULL, 1), (2, 1)"]],
        'inner': 2,
    },
    'an average as a bound that moves': {
        'setup': ["INSERT INTO f.t1 (k, n) SELECT g, g FROM generate_series(1, 20) g"],
        'query': 'SELECT k, n FROM f.t1 a WHERE n > (SELECT avg(n) FROM f.t1) AND NOT EXISTS (SELECT FROM f.t3 b WHERE b.k = a.k)',
        'transactions': [["INSERT INTO f.t1 (k, n) VALUES (21, 1000)", "INSERT INTO f.t3 (k) VALUES (19)"], ["DELETE FROM f.t1 WHERE n = 1000"], ["UPDATE f.t1 SET n = 'NaN' WHERE k = 3"],
                         ["UPDATE f.t1 SET n = 3 WHERE k = 3"], ["DELETE FROM f.t1", "DELETE FROM f.t3"], ["INSERT INTO f.t1 (k, n) VALUES (1, NULL), (2, 2)"]],
        'inner': 1,
    },
    'the first rows of a join': {               # kept with their copies
        'setup': ["INSERT INTO f.t1 (id, k, v) SELECT g, g % 5, g % 3 FROM generate_series(1, 20) g", "INSERT INTO f.t3 (id, k, p) SELECT g, g % 4, g FROM generate_series(1, 9) g"],
        'query': 'SELECT a.v, b.p, b.k FROM f.t1 a JOIN f.t3 b ON a.k = b.k ORDER BY b.p DESC NULLS LAST, a.v LIMIT 6',
        'transactions': [["DELETE FROM f.t3 WHERE id = 8"], ["INSERT INTO f.t3 (id, k, p) VALUES (10, 2, NULL), (11, 2, 50), (12, 2, 50)"], ["DELETE FROM f.t1 WHERE k = 2", "UPDATE f.t3 SET p = 1"],
                         ["DELETE FROM f.t3"], ["INSERT INTO f.t3 (id, k, p) VALUES (1, NULL, 1), (1, 1, 1)"]],
        'inner': 2,
    },
    'a margin: the last kept rows go': {        # margin.c; the boundary moves back, then it runs dry
        'setup': ["INSERT INTO f.t1 (id, k) SELECT g, g FROM generate_series(1, 30) g"],
        'query': 'SELECT id, k FROM f.t1 ORDER BY -k DESC LIMIT 3',
        'margin': 2,
        'transactions': [["DELETE FROM f.t1 WHERE k = 6"], ["DELETE FROM f.t1 WHERE k IN (4, 5)"], ["INSERT INTO f.t1 (id, k) VALUES (40, 4), (50, 6)"],
                         ["DELETE FROM f.t1 WHERE k <= 3"], ["DELETE FROM f.t1 WHERE k BETWEEN 10 AND 25"], ["DELETE FROM f.t1 WHERE k > 28"],
                         ["UPDATE f.t1 SET k = 40 - k"], ["UPDATE f.t1 SET k = 100 WHERE k < 35", "INSERT INTO f.t1 (id, k) VALUES (1, 1)"], ["DELETE FROM f.t1"]],
        'inner': 2,
    },
    'a margin: refilled and trimmed beside inserts': {
        'setup': ["INSERT INTO f.t1 (id, v) SELECT g, g FROM generate_series(1, 60) g"],
        'query': 'SELECT id, v FROM f.t1 WHERE id <> 7 ORDER BY v % 1000, id LIMIT 3 OFFSET 1',
        'margin': 1,
        'transactions': [["DELETE FROM f.t1 WHERE v < 7", "INSERT INTO f.t1 (id, v) VALUES (100, 3), (101, 8), (102, 8)"],
                         ["INSERT INTO f.t1 (id, v) SELECT 200 + g, g % 5 FROM generate_series(1, 40) g"],
                         ["DELETE FROM f.t1 WHERE v < 12", "INSERT INTO f.t1 (id, v) VALUES (300, 0), (301, 999)"],
                         ["UPDATE f.t1 SET v = 60 - v", "DELETE FROM f.t1 WHERE v = 5", "INSERT INTO f.t1 (id, v) VALUES (302, -3)"],
                         ["DELETE FROM f.t1 WHERE id > 5"], ["INSERT INTO f.t1 (id, v) SELECT 400 + g, g % 7 FROM generate_series(1, 30) g"]],
        'inner': 2,
    },
    'a margin: everything ties': {              # what ties with the last row is kept, or goes, with it
        'setup': ["INSERT INTO f.t1 (id, v) SELECT g, 1 FROM generate_series(1, 40) g", "INSERT INTO f.t1 (v) SELECT 1 FROM generate_series(1, 10) g"],
        'query': 'SELECT id, v FROM f.t1 ORDER BY v * 2 FETCH FIRST 2 ROWS WITH TIES',
        'margin': 2,
        'transactions': [["DELETE FROM f.t1 WHERE id < 5"], ["INSERT INTO f.t1 (id, v) VALUES (50, 0), (51, 2), (52, 2)"], ["UPDATE f.t1 SET v = 3 WHERE v = 1"],
                         ["INSERT INTO f.t1 (id, v) SELECT g, 1 FROM generate_series(1, 12) g"], ["DELETE FROM f.t1 WHERE v < 3"], ["UPDATE f.t1 SET v = NULL WHERE id < 20"],
                         ["DELETE FROM f.t1 WHERE v IS NOT NULL"]],
        'inner': 2,
    },
    'a margin: NULLs, images and equal rows': {
        'setup': ["INSERT INTO f.t1 (n, x) SELECT (ARRAY[1, 1.0, 1.00, 2, NULL])[1 + g % 5], (ARRAY[0, '-0', 1])[1 + g % 3]::float8 FROM generate_series(1, 30) g"],
        'query': 'SELECT n, x FROM f.t1 ORDER BY n + 0 DESC, x LIMIT 9',
        'margin': 1,
        'transactions': [["DELETE FROM f.t1 WHERE n IS NULL AND x = 0"], ["INSERT INTO f.t1 (n, x) VALUES (2.0, 0), (2.00, '-0'), (1, 1)"], ["DELETE FROM f.t1 WHERE n::text = '2'"],
                         ["UPDATE f.t1 SET n = 1.000 WHERE n::text = '1.0'"], ["DELETE FROM f.t1 WHERE x::text = '-0'"], ["UPDATE f.t1 SET n = 3"], ["DELETE FROM f.t1"]],
        'inner': 2,
    },
    'a margin: groups that are no weights, below HAVING': {
        'setup': ["INSERT INTO f.t1 (id, k, v) SELECT g, g % 9, g FROM generate_series(1, 60) g"],
        'query': "SELECT k, string_agg(v::text, ',' ORDER BY v) AS vs FROM f.t1 GROUP BY k HAVING count(*) > 2 ORDER BY string_agg(v::text, ',' ORDER BY v) LIMIT 2",
        'margin': 1,
        'transactions': [["DELETE FROM f.t1 WHERE v < 4"], ["DELETE FROM f.t1 WHERE k IN (4, 5)"], ["INSERT INTO f.t1 (id, k, v) VALUES (1, 8, 0), (2, 8, 0)"], ["UPDATE f.t1 SET k = 0"], ["DELETE FROM f.t1"]],
        'inner': 2,
    },
    'margins of two orders over one input': {
        'setup': ["INSERT INTO f.t1 (id, v) SELECT g, g % 20 FROM generate_series(1, 40) g"],
        'query': """WITH t AS (SELECT id, v FROM f.t1 WHERE v > 1) SELECT a.id, b.id AS other, c.id AS again
            FROM (SELECT id, v FROM t ORDER BY v + 0, id LIMIT 2) a, (SELECT id, v FROM t ORDER BY v + 0 DESC, id LIMIT 2) b, (SELECT id, v FROM t ORDER BY v + 0, id LIMIT 2) c""",
        'margin': 1,
        'transactions': [["DELETE FROM f.t1 WHERE v = 2"], ["DELETE FROM f.t1 WHERE v > 15"], ["INSERT INTO f.t1 (id, v) VALUES (100, 3), (101, 99)"], ["UPDATE f.t1 SET v = 30 - v"], ["DELETE FROM f.t1"]],
        'inner': 4,
    },
    'no margin: an index has the order, the LIMIT is none, or it is of very many rows': {
        'setup': ["INSERT INTO f.t2 (id, k, p) SELECT g, g, g FROM generate_series(1, 20) g"],
        'query': '(SELECT id, p FROM f.t2 ORDER BY p LIMIT 2) UNION ALL (SELECT id, p FROM f.t2 ORDER BY id OFFSET 3) UNION ALL (SELECT id, p FROM f.t2 ORDER BY id LIMIT 100001) '
                 'UNION ALL (SELECT id, p FROM f.t2 ORDER BY id LIMIT NULL)',
        'transactions': [["DELETE FROM f.t2 WHERE p < 3"], ["INSERT INTO f.t2 (id, k, p) VALUES (1, 1, 1)"], ["DELETE FROM f.t2"]],
        'inner': 0,
    },
    'a correlated value behind a join with a subquery': {
        'setup': ["INSERT INTO f.t1 (id, k, v) SELECT g, g % 5, g FROM generate_series(1, 20) g", "INSERT INTO f.t3 (id, k, v) SELECT g, g % 4, g FROM generate_series(1, 9) g"],
        'query': 'SELECT a.id FROM f.t1 a WHERE EXISTS (SELECT FROM f.t2 c WHERE c.k = a.k) AND a.v > (SELECT 0.5 * sum(b.v) FROM f.t3 b WHERE b.k = a.k)',
        'transactions': [["INSERT INTO f.t2 (id, k) VALUES (1, 1), (2, 2), (3, 2)"], ["DELETE FROM f.t3 WHERE k = 1", "UPDATE f.t2 SET k = 3 WHERE k = 1"], ["UPDATE f.t3 SET v = 100", "INSERT INTO f.t3 (k, v) VALUES (2, -1000)"],
                         ["DELETE FROM f.t2", "DELETE FROM f.t1 WHERE k = 2"]],
    },
    'outer join is no factor of a product': {   # R = {1}, S = {} -> S = {1}: -(1, NULL) must come
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1)"],
        'query': 'SELECT a.k AS l, b.k AS r FROM f.t1 a LEFT JOIN f.t3 b ON a.k = b.k',
        'transactions': [["INSERT INTO f.t3 (id, k) VALUES (1, 1)"], ["DELETE FROM f.t3"],
                         ["INSERT INTO f.t1 (k) VALUES (2)", "INSERT INTO f.t3 (k) VALUES (2), (1)"],
                         ["UPDATE f.t1 SET k = 3 WHERE k = 2", "UPDATE f.t3 SET k = 3 WHERE k = 2"]],
    },
    'non-equi condition touches rows of other keys': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (5), (9), (12)"],
        'query': 'SELECT a.k AS l, b.k AS r FROM f.t1 a LEFT JOIN f.t3 b ON a.k < b.k',
        'transactions': [["INSERT INTO f.t3 (k) VALUES (9)"], ["UPDATE f.t3 SET k = 4"], ["DELETE FROM f.t3"]],
    },
    'old group reached by neither post state': {
        'setup': ["INSERT INTO f.t1 (id, k, s) VALUES (1, 1, 'old'), (2, 2, 'other')", "INSERT INTO f.t3 (id, k) VALUES (10, 1)"],
        'query': "SELECT c.s, count(DISTINCT o.id) AS n, string_agg(c.s, ',') AS l FROM f.t3 o JOIN f.t1 c ON o.k = c.id GROUP BY c.s",
        'transactions': [["UPDATE f.t3 SET k = 2", "UPDATE f.t1 SET s = 'new' WHERE id = 1"]],
    },
    'padded row has a group': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1)", "INSERT INTO f.t3 (k, s) VALUES (1, 'x')"],
        'query': 'SELECT b.s, count(*) AS n, sum(b.v) AS v FROM f.t1 a LEFT JOIN f.t3 b ON a.k = b.k GROUP BY b.s',
        'transactions': [["DELETE FROM f.t3"], ["INSERT INTO f.t3 (k, s, v) VALUES (1, 'y', 3)"]],
    },
    'nested aggregate shrinks the group it left': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (1), (1), (2), (2), (2)"],
        'query': 'SELECT n, count(*) AS m FROM (SELECT k, count(*) AS n FROM f.t1 GROUP BY k) q GROUP BY n',
        'transactions': [["INSERT INTO f.t1 (k) VALUES (1)"], ["DELETE FROM f.t1 WHERE k = 2"], ["DELETE FROM f.t1"]],
    },
    'both sides of a join change': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1)", "INSERT INTO f.t3 (id, k) VALUES (1, 1), (2, 2)"],
        'query': 'SELECT a.id AS l, b.id AS r FROM f.t1 a JOIN f.t3 b ON a.k = b.k',
        'transactions': [["UPDATE f.t1 SET k = 2 WHERE id = 1", "DELETE FROM f.t3 WHERE k = 1"],
                         ["INSERT INTO f.t1 (id, k) VALUES (7, 7)", "INSERT INTO f.t3 (id, k) VALUES (7, 7)"]],
    },
    'full join, both sides inserted': {
        'setup': [],
        'query': 'SELECT a.k AS l, b.k AS r FROM f.t1 a FULL JOIN f.t3 b ON a.k = b.k',
        'transactions': [["INSERT INTO f.t1 (k) VALUES (1)", "INSERT INTO f.t3 (k) VALUES (1)"], ["DELETE FROM f.t1"],
                         ["DELETE FROM f.t3", "INSERT INTO f.t1 (k) VALUES (1), (NULL)"], ["INSERT INTO f.t3 (k) VALUES (NULL), (1)"]],
    },
    'group by coalesce over a full join': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1)"],
        'query': 'SELECT coalesce(a.k, b.k) AS k, sum(a.v) AS av, sum(b.v) AS bv FROM f.t1 a FULL JOIN f.t3 b ON a.k = b.k GROUP BY coalesce(a.k, b.k)',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (1, 5), (2, 6)"], ["DELETE FROM f.t1"], ["DELETE FROM f.t3"]],
    },
    'self-join': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1), (2, 1)"],
        'query': 'SELECT a.id AS l, b.id AS r FROM f.t1 a JOIN f.t1 b ON a.k = b.k AND a.id < b.id',
        'transactions': [["INSERT INTO f.t1 (id, k) VALUES (3, 1), (0, 1)"], ["UPDATE f.t1 SET k = 2 WHERE id IN (1, 3)"],
                         ["DELETE FROM f.t1 WHERE id = 3"]],
    },
    'sum over padded rows only is NULL': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1)", "INSERT INTO f.t3 (k, v) VALUES (1, 5)"],
        'query': 'SELECT a.k, sum(b.v) AS s, avg(b.v) AS m, count(b.v) AS n FROM f.t1 a LEFT JOIN f.t3 b ON a.k = b.k GROUP BY a.k',
        'transactions': [["DELETE FROM f.t3"], ["INSERT INTO f.t3 (k, v) VALUES (1, NULL)"]],
    },
    'scalar aggregate keeps its row': {
        'setup': ["INSERT INTO f.t1 (v) VALUES (1)"],
        'query': 'SELECT count(*) AS n, sum(v) AS s, max(v) AS m FROM f.t1',
        'transactions': [["DELETE FROM f.t1"], ["INSERT INTO f.t1 (v) VALUES (4)"]],
    },
    'NULL group key': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (NULL, 1), (NULL, 2), (1, 1)"],
        'query': 'SELECT k, count(*) AS n, sum(v) AS s FROM f.t1 GROUP BY k',
        'transactions': [["DELETE FROM f.t1 WHERE v = 1"], ["DELETE FROM f.t1"]],
    },
    'extremum deleted': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 9), (1, 9), (2, 3)"],
        'query': 'SELECT k, max(v) AS hi, min(v) AS lo FROM f.t1 GROUP BY k',
        'transactions': [["DELETE FROM f.t1 WHERE v = 9"], ["INSERT INTO f.t1 (k, v) VALUES (1, 100)", "DELETE FROM f.t1 WHERE v = 100"],
                         ["UPDATE f.t1 SET v = 0 WHERE k = 2"]],
    },
    'sum of a CASE whose condition changed': {
        'setup': ["INSERT INTO f.t1 (k, v, b) VALUES (1, 5, true), (1, 7, false)"],
        'query': 'SELECT k, sum(CASE WHEN b THEN v ELSE 0 END) AS s FROM f.t1 GROUP BY k',
        'transactions': [["UPDATE f.t1 SET b = NOT b"]],
    },
    'threshold crossed by HAVING': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 50), (2, 200)"],
        'query': 'SELECT k, sum(v) AS s FROM f.t1 GROUP BY k HAVING sum(v) > 100',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (1, 60)"], ["UPDATE f.t1 SET v = 1 WHERE k = 2"]],
    },
    'infinity leaves a sum': {
        'setup': ["INSERT INTO f.t1 (k, n) VALUES (1, 'Infinity'), (1, 2), (1, 'NaN')"],
        'query': 'SELECT k, sum(n) AS s, avg(n) AS m FROM f.t1 GROUP BY k',
        'transactions': [["DELETE FROM f.t1 WHERE n = 'NaN'"], ["DELETE FROM f.t1 WHERE n = 'Infinity'"]],
    },
    'scale of a numeric sum shrinks': {
        'setup': ["INSERT INTO f.t1 (k, n) VALUES (1, 1.0), (1, 2.00000000000000000000000000000001)"],
        'query': 'SELECT k, sum(n)::text AS s, avg(n) AS m FROM f.t1 GROUP BY k',
        'transactions': [["DELETE FROM f.t1 WHERE n > 1"], ["INSERT INTO f.t1 (k, n) VALUES (1, 1.000), (1, 1.0)"]],
    },
    'image of a number changes, not its value': {
        'setup': ["INSERT INTO f.t1 (k, n) VALUES (1, 1.0), (2, 1.0)"],
        'query': 'SELECT k, n, n::text AS t FROM f.t1',
        'transactions': [["UPDATE f.t1 SET n = 1.00 WHERE k = 1"], ["DELETE FROM f.t1 WHERE k = 1"]],
    },
    'row undone in the same interval never meets the expression': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1)"],
        'query': 'SELECT k, 10 / v AS q FROM f.t1',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (2, 0)", "UPDATE f.t1 SET v = 5 WHERE v = 0"]],
    },
    'names of ours and hostile names, as a bag': {
        'setup': ["INSERT INTO f.t1 (k, v, s) VALUES (1, 1, 'a'), (1, 1, 'a'), (NULL, 2, NULL)"],
        'query': 'SELECT k AS "w", v AS "c1", s AS "tid", n AS "%s", d AS "A ""b", x AS "rn", b AS "s", id AS "ctid1" FROM f.t1',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (2, 2)", "UPDATE f.t1 SET s = 'b' WHERE v = 1"], ["DELETE FROM f.t1 WHERE v = 2"]],
    },
    'names of ours and hostile names, with keys': {
        'setup': ["INSERT INTO f.t1 (k, v, s) VALUES (1, 1, 'a'), (1, 1, 'a'), (NULL, 2, NULL)"],
        'query': 'SELECT k AS "w", s AS "%s", count(*) AS "op", sum(v) AS "o1", max(v) AS "A ""b%d" FROM f.t1 GROUP BY k, s, b',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (2, 2)", "UPDATE f.t1 SET s = 'b' WHERE v = 1"], ["DELETE FROM f.t1 WHERE v = 2"]],
    },
    'join of aggregates, touched on both sides': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 2), (2, 5)", "INSERT INTO f.t3 (k, v) VALUES (1, 7), (3, 5)"],
        'query': 'SELECT a.k, a.n, b.s FROM (SELECT k, count(*) AS n FROM f.t1 GROUP BY k) a FULL JOIN (SELECT k, sum(v) AS s FROM f.t3 GROUP BY k) b ON a.k = b.k',
        'transactions': [["INSERT INTO f.t1 (k) VALUES (3)", "INSERT INTO f.t3 (k, v) VALUES (2, 2), (1, 1)"],
                         ["DELETE FROM f.t1 WHERE k = 1", "DELETE FROM f.t3 WHERE k = 3"]],
    },
    'five tables change at once': {
        'setup': [f"INSERT INTO f.t{i} (id, k, v) VALUES (1, 1, {i}), (2, 2, {i})" for i in range(5)],
        'query': 'SELECT a.v AS av, e.v AS ev FROM f.t0 a JOIN f.t1 b ON a.k = b.k JOIN f.t2 c ON b.k = c.k JOIN f.t3 d ON c.k = d.k JOIN f.t4 e ON d.k = e.k',
        'transactions': [[f"INSERT INTO f.t{i} (id, k, v) VALUES (3, 1, 9)" for i in range(5)], [f"UPDATE f.t{i} SET k = 2 WHERE id = 1" for i in range(4)]],
    },
    'window over one partition': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 1, 7), (3, 2, 1), (4, NULL, 2)"],
        'query': 'SELECT id, k, rank() OVER (PARTITION BY k ORDER BY v) AS r, sum(v) OVER (PARTITION BY k) AS s FROM f.t1',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (5, 1, 6)"], ["DELETE FROM f.t1 WHERE id = 1"],
                         ["UPDATE f.t1 SET k = 2 WHERE k IS NULL"], ["DELETE FROM f.t1"]],
    },
    'two windows with different PARTITION BY': {   # the second needs rows of partitions that nobody touched
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2), (5, 3, 3), (6, 1, 3)"],
        'query': 'SELECT id, sum(id) OVER (PARTITION BY k) AS a, sum(id) OVER (PARTITION BY v) AS b, row_number() OVER (PARTITION BY k ORDER BY v) AS n FROM f.t1',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (7, 1, 2)"], ["DELETE FROM f.t1 WHERE id = 1"],
                         ["UPDATE f.t1 SET v = 3 WHERE id = 4"], ["UPDATE f.t1 SET k = NULL"], ["DELETE FROM f.t1"]],
    },
    'windows inside CASE': {                    # its operand stands in each WHEN as something that means nothing below the windows
        'setup': ["INSERT INTO f.t1 (id, k, v, s) VALUES (1, 1, 1, 'a'), (2, 1, 1, 'b'), (3, 2, 1, 'a'), (4, 2, 2, NULL)"],
        'query': """SELECT id, CASE WHEN v - lag(v) OVER w > 0 THEN 1 WHEN k = 2 THEN v ELSE 0 END AS a, CASE s WHEN 'a' THEN lag(v) OVER w WHEN 'b' THEN 7 END AS b,
            CASE lag(s) OVER w WHEN s THEN 1 WHEN 'b' THEN 2 END AS c, CASE row_number() OVER w WHEN k THEN CASE s WHEN 'a' THEN 3 ELSE 4 END END AS d,
            (array_agg(v) OVER (PARTITION BY k ORDER BY id, v, s ROWS UNBOUNDED PRECEDING))::text[]::text AS e FROM f.t1 WINDOW w AS (PARTITION BY k ORDER BY v, id)""",
        'transactions': [["INSERT INTO f.t1 (id, k, v, s) VALUES (7, 1, 2, 'b')"], ["DELETE FROM f.t1 WHERE id = 1"], ["UPDATE f.t1 SET v = id, s = 'a'"], ["DELETE FROM f.t1"]],
    },
    'sessions: a window over a window inside CASE': {
        'setup': ["INSERT INTO f.t1 (id, k, v) SELECT g, g % 2, g * g / 3 FROM generate_series(1, 12) g"],
        'query': """WITH g AS (SELECT k, v, CASE WHEN v - lag(v) OVER (PARTITION BY k ORDER BY v, id) > 5 THEN 1 ELSE 0 END AS begins, id FROM f.t1),
            s AS (SELECT *, sum(begins) OVER (PARTITION BY k ORDER BY v, id) AS session FROM g)
            SELECT k, session, min(v) AS first, max(v) AS last, count(*) AS n FROM s GROUP BY k, session""",
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (20, 1, 30)"], ["DELETE FROM f.t1 WHERE id = 5"], ["UPDATE f.t1 SET k = 1 WHERE id IN (4, 6)"], ["DELETE FROM f.t1"]],
    },
    'a window function compared with a subquery': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1)"],
        'query': '/* exact */ SELECT id, row_number() OVER (ORDER BY id) IN (SELECT v FROM f.t2) AS a FROM f.t1',
        'transactions': [["INSERT INTO f.t1 (id, k) VALUES (2, 1)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 2)"], ["UPDATE f.t2 SET v = NULL"], ["DELETE FROM f.t1 WHERE id = 1"], ["DELETE FROM f.t2"]],
    },
    'second window over the first, filtered': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 2, 2)"],
        'query': 'SELECT id, n, count(*) OVER (PARTITION BY n) AS c FROM (SELECT id, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS n FROM f.t1) q WHERE n < 3',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (7, 1, 2)"], ["DELETE FROM f.t1 WHERE id = 7"], ["DELETE FROM f.t1 WHERE k = 2"]],
    },
    'first row per group by row_number': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 2, 2)"],
        'query': 'SELECT id, k FROM (SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS n FROM f.t1) q WHERE n = 1',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (7, 1, 2), (8, 1, 2)"], ["DELETE FROM f.t1 WHERE id = 7"], ["DELETE FROM f.t1 WHERE k = 2"]],
    },
    'window over aggregates, inside an expression': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 2), (2, 1), (3, 9)"],
        'query': 'SELECT k, 100 * sum(v) / sum(sum(v)) OVER () AS share, rank() OVER (ORDER BY sum(v)) + 1 AS r FROM f.t1 GROUP BY k HAVING sum(v) > 0',
        'transactions': [["INSERT INTO f.t1 (k, v) VALUES (1, 7)"], ["DELETE FROM f.t1 WHERE k = 2"], ["DELETE FROM f.t1"]],
    },
    'frames': {
        'setup': ["INSERT INTO f.t1 (id, k, v, x) VALUES (1, 1, 1, 0.1), (2, 1, 1, 1e10), (3, 1, 3, 0.2), (4, 2, 2, 3.3), (5, 1, 4, 7)"],
        'query': """SELECT id, sum(x) OVER (PARTITION BY k) AS a, first_value(id) OVER (PARTITION BY k ORDER BY v) AS b,
            last_value(id) OVER (ORDER BY v ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS c, count(*) OVER (ORDER BY v RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES) AS d,
            sum(v) OVER (ORDER BY v GROUPS 1 PRECEDING) AS e, ntile(2) OVER (ORDER BY v) AS f, lag(id, 1, -1) OVER w AS g, nth_value(id, 2) OVER (w ROWS UNBOUNDED PRECEDING) AS h,
            sum(v) FILTER (WHERE id > 1) OVER (PARTITION BY k ORDER BY v) AS i FROM f.t1 WINDOW w AS (PARTITION BY k ORDER BY v)""",
        'transactions': [["INSERT INTO f.t1 (id, k, v, x) VALUES (7, 1, 2, 1)"], ["DELETE FROM f.t1 WHERE id = 1"], ["UPDATE f.t1 SET v = v + 1"]],
    },
    'TopK: a row beyond the last kept row fills a gap': {   # it may not be the next one
        'setup': ["INSERT INTO f.t1 (id, v) VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)"],
        'query': 'SELECT id, v FROM f.t1 ORDER BY v LIMIT 3',
        'transactions': [["DELETE FROM f.t1 WHERE id = 1", "INSERT INTO f.t1 (id, v) VALUES (9, 9)"], ["INSERT INTO f.t1 (id, v) VALUES (10, 0)"],
                         ["DELETE FROM f.t1 WHERE id < 4"], ["DELETE FROM f.t1 WHERE id = 9"], ["DELETE FROM f.t1"],
                         ["INSERT INTO f.t1 (id, v) SELECT g, g FROM generate_series(1, 300) g"], ["UPDATE f.t1 SET v = 300 - v"]],
    },
    'TopK in a derived table, joined': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 3)", "INSERT INTO f.t3 (k) VALUES (1), (2), (3), (4)"],
        'query': 'SELECT q.id, b.k FROM (SELECT id, k FROM f.t1 ORDER BY v DESC NULLS LAST OFFSET 1 LIMIT 2) q LEFT JOIN f.t3 b ON q.k = b.k',
        'transactions': [["DELETE FROM f.t1 WHERE id = 3"], ["INSERT INTO f.t1 (id, k, v) VALUES (5, 2, 7)", "DELETE FROM f.t3 WHERE k = 2"], ["DELETE FROM f.t1"]],
    },
    'WITH TIES': {
        'setup': ["INSERT INTO f.t1 (id, v) VALUES (1, 1), (2, 2), (3, 2), (4, 2), (5, 5)"],
        'query': 'SELECT id, v FROM f.t1 ORDER BY v FETCH FIRST 2 ROWS WITH TIES',
        'transactions': [["DELETE FROM f.t1 WHERE id = 1"], ["INSERT INTO f.t1 (id, v) VALUES (7, 0), (8, 0)"], ["INSERT INTO f.t1 (id, v) VALUES (9, 0)"], ["DELETE FROM f.t1 WHERE v < 2"]],
    },
    'LIMIT over images': {
        'setup': ["INSERT INTO f.t1 (n) VALUES (1.0), (1.00), (1), (2)"],
        'query': 'SELECT n FROM (SELECT n FROM f.t1 UNION ALL SELECT n FROM f.t3 ORDER BY n LIMIT 2) q',
        'transactions': [["INSERT INTO f.t3 (n) VALUES (1.000)"], ["DELETE FROM f.t1 WHERE n::text = '1'"]],
    },
    'LIMIT that is none': {
        'setup': ["INSERT INTO f.t1 (id, v) VALUES (1, 1), (2, 2), (3, 2), (4, 2), (5, 5)"],
        'query': '(SELECT id, v FROM f.t1 ORDER BY v OFFSET 2 LIMIT 9223372036854775807) UNION ALL (SELECT id, v FROM f.t1 ORDER BY v OFFSET NULL LIMIT NULL)',
        'transactions': [["DELETE FROM f.t1 WHERE id = 1"], ["INSERT INTO f.t1 (id, v) VALUES (7, 0), (8, 0)"]],
    },
    'DISTINCT ON': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 1, 1), (3, 2, 1), (4, NULL, 2)"],
        'query': 'SELECT DISTINCT ON (k) id, k, n FROM f.t1 ORDER BY k, v DESC',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (7, 1, 2), (8, NULL, 3)"], ["DELETE FROM f.t1 WHERE id = 7"], ["DELETE FROM f.t1 WHERE k = 1"]],
    },
    'INTERSECT and EXCEPT': {
        'setup': ["INSERT INTO f.t1 (k, n) VALUES (1, 1), (1, 1.0), (2, 2), (NULL, NULL), (NULL, NULL)", "INSERT INTO f.t3 (k, n) VALUES (1, 1.00), (NULL, NULL)"],
        'query': """(SELECT k, n FROM f.t1 INTERSECT ALL SELECT k, n FROM f.t3) UNION ALL (SELECT k, n FROM f.t1 EXCEPT ALL SELECT k, n FROM f.t3)
            UNION ALL (SELECT k, n FROM f.t1 EXCEPT SELECT k, n FROM f.t3) UNION ALL (SELECT k, n FROM f.t1 INTERSECT SELECT k, n FROM f.t3)""",
        'transactions': [["INSERT INTO f.t3 (k, n) VALUES (1, 1), (1, 1), (2, 2)"], ["DELETE FROM f.t3 WHERE k = 1"], ["DELETE FROM f.t1 WHERE k IS NULL"], ["DELETE FROM f.t1", "DELETE FROM f.t3"]],
    },
    'grouping sets': {
        'setup': ["INSERT INTO f.t1 (k, v, s) VALUES (1, 1, 'a'), (1, 2, NULL), (NULL, 1, NULL)"],
        'query': 'SELECT k, s, grouping(k, s) AS g, sum(v) AS t FROM f.t1 GROUP BY CUBE (k, s), GROUPING SETS ((), ())',
        'transactions': [["INSERT INTO f.t1 (k, v, s) VALUES (2, 7, NULL)"], ["DELETE FROM f.t1 WHERE k = 1"], ["DELETE FROM f.t1"], ["INSERT INTO f.t1 (k) VALUES (NULL)"]],
    },
    'rollup in a subquery, with HAVING and a window': {
        'setup': ["INSERT INTO f.t1 (k, v, s) VALUES (1, 1, 'a'), (1, 2, NULL), (NULL, 1, NULL)"],
        'query': 'SELECT x.k, x.t, count(*) AS n FROM (SELECT k, s, k + 1 AS k1, sum(v) AS t, rank() OVER (PARTITION BY grouping(k) ORDER BY sum(v)) AS r FROM f.t1 GROUP BY ROLLUP (k, s) HAVING count(*) > 0) x GROUP BY x.k, x.t',
        'transactions': [["INSERT INTO f.t1 (k, v, s) VALUES (2, 7, NULL)"], ["DELETE FROM f.t1 WHERE k = 1"], ["DELETE FROM f.t1"], ["INSERT INTO f.t1 (k) VALUES (NULL)"]],
    },
    'ordered-set and hypothetical-set aggregates': {
        'setup': ["INSERT INTO f.t1 (k, v, x) VALUES (1, 1, 1), (1, 2, 5), (2, 1, 2)"],
        'query': "SELECT k, percentile_disc(0.5) WITHIN GROUP (ORDER BY v) AS p, percentile_cont(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY x) AS q, rank(2) WITHIN GROUP (ORDER BY v) AS r, "
                 "count(DISTINCT v) AS d, array_agg(DISTINCT v) AS a FROM f.t1 GROUP BY k",
        'transactions': [["INSERT INTO f.t1 (k, v, x) VALUES (1, 7, 2)"], ["DELETE FROM f.t1 WHERE v = 1"], ["DELETE FROM f.t1"]],
    },
    'duplicates': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (1), (1)"],
        'query': 'SELECT k FROM f.t1',
        'transactions': [["DELETE FROM f.t1 WHERE ctid = (SELECT min(ctid) FROM f.t1)"], ["INSERT INTO f.t1 (k) VALUES (1), (NULL), (NULL)"],
                         ["DELETE FROM f.t1 WHERE k IS NULL"]],
    },
    'group key with two images below a self-join': {
        'setup': ["INSERT INTO f.t1 (k, n) VALUES (1, 1.0), (2, 1.00)", "INSERT INTO f.t3 (n) VALUES (1.000), (2)"],
        'query': 'WITH c AS (SELECT n FROM f.t1 UNION SELECT n FROM f.t3) SELECT a.n AS l, b.n AS r FROM c a LEFT JOIN c b ON a.n = b.n',
        'transactions': [["INSERT INTO f.t1 (n) VALUES (1), (1.0000)"], ["DELETE FROM f.t1 WHERE k = 1"], ["DELETE FROM f.t3"]],
    },
    'maximum with two images below a join': {
        'setup': ["INSERT INTO f.t1 (k, n) VALUES (1, 1.0), (1, 1.00)", "INSERT INTO f.t3 (k) VALUES (1), (1)"],
        'query': 'SELECT m.x, b.k FROM (SELECT k, max(n) AS x FROM f.t1 GROUP BY k) m JOIN f.t3 b ON m.k = b.k',
        'transactions': [["INSERT INTO f.t1 (k, n) VALUES (1, 1)", "INSERT INTO f.t3 (k) VALUES (1)"], ["DELETE FROM f.t1 WHERE n::text = '1.0'"]],
    },
}

# type -> two different values, and a third that equals the first (often another image of it)
TYPES = {
    'int2': ('1', '2', '1'), 'int8': ('1', '2', '1'), 'oid': ('1', '2', '1'), 'money': ("'1.5'", "'2'", "'1.50'"),
    'float4': ("'0.1'", "'NaN'", "'0.1'"), 'float8': ("'0'", "'Infinity'", "'-0'"), 'numeric': ('1.0', "'NaN'", '1.00'),
    'numeric(5,-2)': ('1200', '300', '1201'), 'bool': ('true', 'false', 'true'), 'text': ("'a'", "'b'", "'a'"),
    'varchar(5)': ("'a'", "'b'", "'a'"), 'char(5)': ("'a'", "'b'", "'a  '"), 'name': ("'a'", "'b'", "'a'"), '"char"': ("'a'", "'b'", "'a'"),
    'bytea': ("'a'", "'b'", "'a'"), 'uuid': ("'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'",
                                             "'00000000-0000-0000-0000-000000000001'"),
    'date': ("'2024-01-01'", "'infinity'", "'2024-01-01'"), 'time': ("'10:00'", "'11:00'", "'10:00'"),
    'timetz': ("'10:00+00'", "'11:00+00'", "'10:00+00'"), 'timestamp': ("'2024-01-01'", "'infinity'", "'2024-01-01'"),
    'timestamptz': ("'2024-01-01'", "'infinity'", "'2024-01-01'"), 'interval': ("'1 mon'", "'2 days'", "'30 days'"),
    'inet': ("'10.0.0.1'", "'10.0.0.2'", "'10.0.0.1/32'"), 'cidr': ("'10.0.0.0/8'", "'11.0.0.0/8'", "'10.0.0.0/8'"),
    'macaddr': ("'00:00:00:00:00:01'", "'00:00:00:00:00:02'", "'00:00:00:00:00:01'"), 'bit(3)': ("'101'", "'111'", "'101'"),
    'varbit': ("'101'", "'1'", "'101'"), 'json': ('\'{"a": 1}\'', "'[]'", '\'{"a":1}\''),
    'jsonb': ('\'{"a": 1.0}\'', "'[]'", '\'{"a": 1.00}\''), 'xml': ("'<a/>'", "'<b/>'", "'<a/>'"),
    'point': ("'(1,2)'", "'(2,1)'", "'(1,2)'"), 'box': ("'(1,2),(3,4)'", "'(0,0),(1,1)'", "'(3,4),(1,2)'"),
    'circle': ("'<(0,0),1>'", "'<(0,0),2>'", "'<(0,0),1>'"), 'polygon': ("'((0,0),(1,1))'", "'((0,0),(2,2))'", "'((0,0),(1,1))'"),
    'tsvector': ("'a b'", "'c'", "'b a'"), 'tsquery': ("'a & b'", "'c'", "'a & b'"), 'int4range': ("'[1,3)'", "'empty'", "'[1,2]'"),
    'numrange': ("'[1.0,3)'", "'empty'", "'[1.00,3)'"), 'int4multirange': ("'{[1,3)}'", "'{}'", "'{[1,2]}'"), 'pg_lsn': ("'0/1'", "'0/2'", "'0/1'"),
    'xid8': ("'1'", "'2'", "'1'"), 'xid': ("'1'", "'2'", "'1'"), 'int[]': ("'{1,NULL}'", "'{}'", "'{1,NULL}'"),
    'numeric[]': ("'{1.0}'", "'{2}'", "'{1.00}'"), 'json[]': ("ARRAY['1'::json]", "ARRAY['2'::json]", "ARRAY['1'::json]"),
    'text[]': ("'{a,\"b c\"}'", "'{}'", "'{a,\"b c\"}'"), 'f.enum': ("'one'", "'two'", "'one'"), 'f.dom': ("'x'", "'y'", "'x'"),
    'f.pair': ("'(1,1.0)'", "'(,)'", "'(1,1.00)'"), 'f.pair[]': ("ARRAY['(1,1.0)'::f.pair]", "'{}'", "ARRAY['(1,1.00)'::f.pair]"),
    'e.citext': ("'a'", "'b'", "'A'"), 'e.hstore': ("'a=>1'", "''", "'a=>1'"), 'regclass': ("'pg_class'", "'pg_proc'", "'pg_class'"),
    'text COLLATE f.ci': ("'a'", "'b'", "'A'"), 'pg_snapshot': ("'1:1:'", "'2:2:'", "'1:1:'"), 'path': ("'((0,0),(1,1))'", "'((0,0),(2,2))'", "'((0,0),(1,1))'"),
}
SETUP = ["CREATE TYPE f.enum AS ENUM ('one', 'two')", "CREATE DOMAIN f.dom AS text CHECK (VALUE <> '')",
         "CREATE TYPE f.pair AS (a int, b numeric)", "CREATE SCHEMA e", "CREATE EXTENSION citext SCHEMA e", "CREATE EXTENSION hstore SCHEMA e",
         "CREATE COLLATION f.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"]


def type_cases(types):
    """For every type: as a column of a bag, as a padded column, as a group key (where it can be one), with NULLs and images."""
    for name, (a, b, c) in types.items():
        setup = [f'INSERT INTO f.x VALUES (1, {a}), (2, {b}), (3, NULL), (4, {c}), (1, {a})', 'INSERT INTO f.t1 (id) VALUES (1), (3), (9)']
        moves = [[f'INSERT INTO f.x VALUES (5, {a}), (5, {c})', 'DELETE FROM f.x WHERE id = 2'],
                 [f'UPDATE f.x SET v = {c} WHERE id = 1', 'INSERT INTO f.t1 (id) VALUES (1), (2)'], ['UPDATE f.x SET v = NULL WHERE id = 5'],
                 [f'UPDATE f.x SET v = {b} WHERE v IS NULL', 'DELETE FROM f.t1 WHERE id = 3'], ['DELETE FROM f.x']]
        queries = {'bag': 'SELECT id, v FROM f.x', 'padded': 'SELECT t.id, x.v FROM f.t1 t LEFT JOIN f.x x ON t.id = x.id'}
        plain = name.split('(')[0].split(' ')[0]
        if plain not in ('json', 'xml', 'point', 'polygon', 'json[]', 'xid', 'box', 'circle', 'path', 'pg_snapshot'):
            queries['key'] = 'SELECT v, count(*) AS n, sum(id) AS s FROM f.x GROUP BY v'
            queries['distinct'] = 'SELECT DISTINCT v FROM f.x'
            queries['nested'] = 'SELECT q.v, q.n, t.id FROM (SELECT v, count(*) AS n, min(id) AS m FROM f.x GROUP BY v) q JOIN f.t1 t ON t.id = q.m'
        if 'key' in queries and plain != 'e.hstore':
            queries['join'] = 'SELECT a.id AS l, b.id AS r FROM f.x a FULL JOIN f.x b ON a.v = b.v'
        if plain in ('int2', 'int8', 'money', 'float4', 'float8', 'numeric', 'text', 'varchar', 'char', 'date', 'time', 'timestamptz', 'interval',
                     'inet', 'pg_lsn', 'int[]', 'f.enum', 'e.citext', 'f.dom', 'oid'):
            queries['extrema'] = 'SELECT id % 2 AS k, min(v) AS lo, max(v) AS hi, count(v) AS n FROM f.x GROUP BY id % 2'
        if plain in ('int2', 'int8', 'money', 'float4', 'float8', 'numeric', 'interval'):
            queries['sums'] = 'SELECT id % 2 AS k, sum(v) AS s, count(DISTINCT v) AS d FROM f.x GROUP BY id % 2'
        for kind, query in queries.items():
            yield f'{name}: {kind}', {'tables': {'x': f'id int, v {name}'}, 'setup': setup, 'query': query, 'transactions': moves}

CASES.update({
    'NOT IN: a NULL arrives': {   # r = 5, S = {7} -> {7, NULL}: 5 leaves, yet no key equals NULL
        'setup': ["INSERT INTO f.t1 (k) VALUES (5), (7), (NULL)", "INSERT INTO f.t3 (k) VALUES (7)"],
        'query': 'SELECT a.k FROM f.t1 a WHERE a.k NOT IN (SELECT b.k FROM f.t3 b)',
        'transactions': [["INSERT INTO f.t3 (k) VALUES (NULL)"], ["DELETE FROM f.t3"], ["INSERT INTO f.t3 (k) VALUES (7)"],
                         ["UPDATE f.t3 SET k = NULL"], ["DELETE FROM f.t3 WHERE k IS NULL"]],
    },
    'NOT IN with a filter of its own': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (2, 1), (NULL, 2)", "INSERT INTO f.t3 (k, v) VALUES (1, 1), (NULL, 3)"],
        'query': 'SELECT a.k, a.v FROM f.t1 a WHERE a.k NOT IN (SELECT b.k FROM f.t3 b WHERE b.v = a.v)',
        'transactions': [["UPDATE f.t3 SET v = 1"], ["UPDATE f.t3 SET v = 2"], ["DELETE FROM f.t3"]],
    },
    'pairs NOT IN': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 2), (1, NULL), (NULL, 2), (3, 4)", "INSERT INTO f.t3 (k, v) VALUES (1, 9)"],
        'query': 'SELECT a.k, a.v FROM f.t1 a WHERE (a.k, a.v) NOT IN (SELECT b.k, b.v FROM f.t3 b)',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (1, 2)"], ["UPDATE f.t3 SET v = NULL"], ["UPDATE f.t3 SET k = NULL"], ["DELETE FROM f.t3"]],
    },
    'pairs IN match both columns': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 2), (1, 3), (1, 2)", "INSERT INTO f.t3 (k, v) VALUES (1, 9)"],
        'query': 'SELECT a.k, a.v FROM f.t1 a WHERE (a.k, a.v) IN (SELECT b.k, b.v FROM f.t3 b)',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (1, 2)"], ["INSERT INTO f.t3 (k, v) VALUES (1, 2), (1, 3)"], ["DELETE FROM f.t3 WHERE v = 2"]],
    },
    'EXISTS over a join, both of whose tables change': {
        'setup': ["INSERT INTO f.t1 (id) VALUES (1), (2)", "INSERT INTO f.t3 (id, k) VALUES (1, 10)", "INSERT INTO f.t2 (id, k) VALUES (10, 0)"],
        'query': 'SELECT a.id FROM f.t1 a WHERE EXISTS (SELECT 1 FROM f.t3 b JOIN f.t2 c ON b.k = c.id WHERE b.id = a.id)',
        'transactions': [["UPDATE f.t3 SET k = 11", "UPDATE f.t2 SET id = 12"], ["UPDATE f.t3 SET id = 2", "UPDATE f.t2 SET id = 11"]],
    },
    'inner HAVING counts': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (2)", "INSERT INTO f.t3 (k) VALUES (1), (2), (2)"],
        'query': 'SELECT a.k FROM f.t1 a WHERE EXISTS (SELECT b.k FROM f.t3 b WHERE b.k = a.k GROUP BY b.k HAVING count(*) > 1)',
        'transactions': [["INSERT INTO f.t3 (k) VALUES (1)"], ["DELETE FROM f.t3 WHERE k = 2"], ["DELETE FROM f.t3"]],
    },
    'uncorrelated threshold moves': {   # the average moves through one row: others fall out
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 9), (2, 11), (3, 10)"],
        'query': 'SELECT a.k, a.v FROM f.t1 a WHERE a.v > (SELECT avg(v) FROM f.t1)',
        'transactions': [["UPDATE f.t1 SET v = 16 WHERE k = 1"], ["DELETE FROM f.t1 WHERE k = 1"], ["DELETE FROM f.t1"]],
    },
    'threshold over groups': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 5), (1, 6), (2, 11), (3, 2)"],
        'query': 'SELECT k, sum(v) AS s FROM f.t1 GROUP BY k HAVING sum(v) > (SELECT avg(v) FROM f.t3)',
        'transactions': [["INSERT INTO f.t3 (v) VALUES (10)"], ["UPDATE f.t3 SET v = 20"], ["INSERT INTO f.t1 (k, v) VALUES (3, 30)", "UPDATE f.t3 SET v = 1"]],
    },
    'as-of join is touched by the inequality': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 5), (2, 9)", "INSERT INTO f.t3 (k, v) VALUES (1, 100)"],
        'query': 'SELECT a.id, q.v FROM f.t1 a LEFT JOIN LATERAL (SELECT b.v FROM f.t3 b WHERE b.k <= a.k ORDER BY b.k DESC LIMIT 1) q ON true',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (6, 200)"], ["INSERT INTO f.t3 (k, v) VALUES (4, 300), (9, 400)"], ["DELETE FROM f.t3 WHERE k = 9"],
                         ["DELETE FROM f.t3"]],
    },
    'outer row changes, its correlation does not': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 5, 1)", "INSERT INTO f.t3 (k, v) VALUES (5, 1), (5, 2)"],
        'query': 'SELECT a.id, a.v, q.v AS x FROM f.t1 a CROSS JOIN LATERAL (SELECT b.v FROM f.t3 b WHERE b.k = a.k) q',
        'transactions': [["UPDATE f.t1 SET v = 2"], ["UPDATE f.t1 SET v = 3", "DELETE FROM f.t3 WHERE v = 2"]],
    },
    'empty scalar subquery is NULL, not no row': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (2)", "INSERT INTO f.t3 (k, v) VALUES (1, 7)"],
        'query': 'SELECT a.k, (SELECT b.v FROM f.t3 b WHERE b.k = a.k) AS v, coalesce((SELECT max(b.v) FROM f.t3 b), 0) AS m FROM f.t1 a',
        'transactions': [["DELETE FROM f.t3"], ["INSERT INTO f.t3 (k, v) VALUES (2, 3)"]],
    },
    'subqueries in CASE, under OR and NOT': {
        'setup': ["INSERT INTO f.t1 (k, b) VALUES (1, true), (2, false), (3, NULL)", "INSERT INTO f.t3 (k) VALUES (2)"],
        'query': 'SELECT a.k, CASE WHEN EXISTS (SELECT 1 FROM f.t3 b WHERE b.k > a.k) THEN 1 ELSE 0 END AS c FROM f.t1 a '
                 'WHERE a.b OR NOT (a.k NOT IN (SELECT b.k FROM f.t3 b) AND EXISTS (SELECT 1 FROM f.t2))',
        'transactions': [["INSERT INTO f.t2 (id, k) VALUES (1, 1)"], ["INSERT INTO f.t3 (k) VALUES (3), (NULL)"], ["DELETE FROM f.t3"], ["DELETE FROM f.t2"]],
    },
    'nested subqueries': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (2)", "INSERT INTO f.t3 (k, v) VALUES (1, 4), (2, 5)", "INSERT INTO f.t2 (id, k) VALUES (4, 0)"],
        'query': 'SELECT a.k FROM f.t1 a WHERE EXISTS (SELECT 1 FROM f.t3 b WHERE b.k = a.k AND b.v IN (SELECT c.id FROM f.t2 c))',
        'transactions': [["UPDATE f.t2 SET id = 5"], ["DELETE FROM f.t2"], ["INSERT INTO f.t2 (id, k) VALUES (4, 1), (5, 1)", "UPDATE f.t3 SET k = 1"]],
    },
    'same subquery in GROUP BY and SELECT list': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (2, 2), (3, 3)", "INSERT INTO f.t3 (k) VALUES (1), (1), (2)"],
        'query': 'SELECT (SELECT count(*) FROM f.t3 b WHERE b.k = a.k) AS n, sum(a.v) AS s FROM f.t1 a GROUP BY (SELECT count(*) FROM f.t3 b WHERE b.k = a.k)',
        'transactions': [["DELETE FROM f.t3 WHERE k = 2"], ["INSERT INTO f.t3 (k) VALUES (3), (3)"]],
    },
    'functions in FROM and sets in the select list': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 2), (2, 0), (3, NULL)"],
        'query': "SELECT a.id, g, j->>'a' AS j, unnest(ARRAY[a.k, 1]) AS u FROM f.t1 a LEFT JOIN generate_series(1, a.k) g ON true, "
                 "jsonb_array_elements('[{\"a\": 1}, {\"a\": 2}]') j",
        'transactions': [["UPDATE f.t1 SET k = 3 WHERE id = 1"], ["DELETE FROM f.t1 WHERE id = 2"]],
    },
    'quantified comparisons': {
        'setup': ["INSERT INTO f.t1 (k) VALUES (1), (5), (NULL)", "INSERT INTO f.t3 (v) VALUES (3)"],
        'query': 'SELECT a.k, a.k > ALL (SELECT v FROM f.t3) AS x, a.k <= ANY (SELECT v FROM f.t3) AS y FROM f.t1 a',
        'transactions': [["INSERT INTO f.t3 (v) VALUES (5), (NULL)"], ["DELETE FROM f.t3 WHERE v IS NOT NULL"], ["DELETE FROM f.t3"]],
    },
})

CASES.update({
    'a subquery that refers to both queries around it': {
        'setup': ["INSERT INTO f.t1 (id, k, v) SELECT g, g % 4, g % 3 FROM generate_series(1, 12) g", "INSERT INTO f.t3 (id, k, v) SELECT g, g % 4, g FROM generate_series(1, 8) g",
                  "INSERT INTO f.t2 (id, k, v) SELECT g, g % 3, g FROM generate_series(1, 6) g"],
        'query': 'SELECT a.id, a.v FROM f.t1 a WHERE EXISTS (SELECT 1 FROM f.t3 b WHERE b.k = a.k AND EXISTS (SELECT 1 FROM f.t2 c WHERE c.k = a.v AND c.id = b.id))',
        'transactions': [["INSERT INTO f.t2 (id, k) VALUES (7, 2), (8, 0)"], ["DELETE FROM f.t2 WHERE id < 4"], ["UPDATE f.t3 SET k = k + 1, id = id - 1", "UPDATE f.t1 SET v = 2 WHERE id = 3"],
                         ["UPDATE f.t2 SET k = 1", "DELETE FROM f.t3 WHERE k = 2", "UPDATE f.t1 SET v = 1"], ["DELETE FROM f.t2"]],
    },
    'relational division': {                    # those with no course that they do not take
        'setup': ["INSERT INTO f.t1 (id, s) VALUES (1, 'a'), (2, 'b'), (3, NULL)", "INSERT INTO f.t3 (id) VALUES (1), (2)",
                  "INSERT INTO f.t2 (id, k) VALUES (1, 1), (1, 2), (2, 1)"],
        'query': 'SELECT a.id, a.s FROM f.t1 a WHERE NOT EXISTS (SELECT 1 FROM f.t3 c WHERE NOT EXISTS (SELECT 1 FROM f.t2 t WHERE t.id = a.id AND t.k = c.id))',
        'transactions': [["INSERT INTO f.t2 (id, k) VALUES (2, 2)"], ["INSERT INTO f.t3 (id) VALUES (3)"], ["INSERT INTO f.t2 (id, k) VALUES (1, 3), (3, 3)", "DELETE FROM f.t3 WHERE id = 2"],
                         ["DELETE FROM f.t3"], ["INSERT INTO f.t3 (id) VALUES (1), (NULL)", "DELETE FROM f.t2 WHERE k = 1"]],
    },
    'a correlated subquery below a subquery in FROM': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1), (2, 2), (3, 3)", "INSERT INTO f.t3 (k, v, s) VALUES (1, 4, 'a'), (1, 5, 'b'), (1, 6, 'a'), (2, 1, NULL)"],
        'query': 'SELECT a.id, (SELECT max(q.n) FROM (SELECT sum(b.v) AS n FROM f.t3 b WHERE b.k = a.k GROUP BY b.s) q) AS m FROM f.t1 a',
        'transactions': [["UPDATE f.t3 SET s = 'b' WHERE v = 4"], ["INSERT INTO f.t3 (k, v) VALUES (2, 1), (3, NULL)"], ["DELETE FROM f.t3 WHERE s = 'b'"], ["UPDATE f.t1 SET k = 1", "DELETE FROM f.t3 WHERE k = 2"]],
    },
    'a correlated WITH query, read twice': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1), (2, 2)", "INSERT INTO f.t3 (k, v) VALUES (1, 4), (1, 5), (2, 1)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 4, 9), (2, 1, 3)"],
        'query': 'SELECT a.id, (WITH q AS (SELECT b.v FROM f.t3 b WHERE b.k = a.k), r AS (SELECT c.v FROM f.t2 c) '
                 'SELECT count(*) FROM q JOIN q p ON p.v <= q.v LEFT JOIN r ON r.v > p.v) AS n FROM f.t1 a',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (2, 2), (2, 8)"], ["UPDATE f.t2 SET v = 6"], ["DELETE FROM f.t3 WHERE v = 5", "UPDATE f.t1 SET k = 2 WHERE id = 1"], ["DELETE FROM f.t3"]],
    },
    'outer joins in a subquery whose conditions refer to the outside': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 2, 1), (3, NULL, NULL)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 4), (2, 1, 5), (3, 2, 1)",
                  "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 9), (2, 1, 3), (3, 3, 1)"],
        'query': 'SELECT a.id, (SELECT sum(coalesce(c.v, -1)) FROM f.t3 b LEFT JOIN f.t2 c ON c.id = b.id AND c.v > a.v WHERE b.k >= a.k) AS x, '
                 '(SELECT count(c.id) FROM f.t3 b FULL JOIN (SELECT * FROM f.t2 d WHERE d.k = a.k) c USING (id)) AS y, '
                 '(SELECT string_agg(b.v::text, \',\' ORDER BY b.v) FROM f.t2 c RIGHT JOIN f.t3 b ON c.k = b.k AND c.id = a.id WHERE c.id IS NULL) AS z FROM f.t1 a',
        'transactions': [["INSERT INTO f.t2 (id, k, v) VALUES (2, 2, 7)"], ["UPDATE f.t3 SET k = 2 WHERE id = 1"], ["DELETE FROM f.t2 WHERE id = 1", "UPDATE f.t1 SET v = 0, k = 1"],
                         ["DELETE FROM f.t3 WHERE id = 2", "INSERT INTO f.t3 (id, k, v) VALUES (9, 9, 9)"], ["DELETE FROM f.t2"]],
    },
    'set operations in correlated subqueries': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 2, 1), (3, NULL, 3)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 4), (2, 1, 5)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 9), (2, 2, 3)"],
        'query': 'SELECT a.id, a.v IN (SELECT b.v FROM f.t3 b WHERE b.k = a.k UNION SELECT c.v FROM f.t2 c WHERE c.id = a.id) AS i, l.v AS l, '
                 '(SELECT count(*) FROM (SELECT b.v FROM f.t3 b WHERE b.k = a.k EXCEPT SELECT c.v FROM f.t2 c) q) AS e FROM f.t1 a '
                 'LEFT JOIN LATERAL (SELECT b.v FROM f.t3 b WHERE b.k = a.k UNION ALL SELECT c.v + 0.5 FROM f.t2 c WHERE c.k = a.k ORDER BY 1 DESC LIMIT 2) l ON true '
                 'WHERE EXISTS (SELECT 1 FROM f.t3 b WHERE b.k = a.k UNION ALL SELECT 1 FROM f.t2 c WHERE c.v > a.v)',
        'transactions': [["INSERT INTO f.t2 (id, k, v) VALUES (3, 2, 3), (3, 3, 1)"], ["DELETE FROM f.t3 WHERE id = 1"], ["UPDATE f.t2 SET v = 5", "UPDATE f.t1 SET k = 2"], ["DELETE FROM f.t2"],
                         ["INSERT INTO f.t3 (k, v) VALUES (2, 5), (2, 5)"]],
    },
    'an aggregate of the query around it': {    # max(a.v) belongs to the query whose column it reads
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 1, 1), (3, 2, 3)", "INSERT INTO f.t3 (k, v) VALUES (1, 4), (1, 5), (2, 3)"],
        'query': 'SELECT a.id, (SELECT max((SELECT count(*) FROM f.t3 b WHERE b.v <= c.v AND b.k = a.k)) FROM f.t1 c WHERE c.k = a.k) AS x FROM f.t1 a',
        'transactions': [["UPDATE f.t3 SET v = v - 1"], ["DELETE FROM f.t1 WHERE id = 2"], ["INSERT INTO f.t1 (id, k, v) VALUES (4, 2, 9)", "INSERT INTO f.t3 (k, v) VALUES (2, 8)"]],
    },
})

ROWS = ["INSERT INTO f.t1 (id, k, v, n, s, x, b, p, d) VALUES (1, 1, 1, 1.0, 'a', 0.1, true, 1, '2024-01-01'), (2, 1, NULL, 1.00, 'b', '-0', false, 2, NULL), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "INSERT INTO f.t3 (id, k, v, s) VALUES (1, 1, 7, 'x'), (2, 5, 8, 'y')"]
MOVES = [["INSERT INTO f.t3 (id, k) VALUES (3, 1), (4, NULL)"], ["UPDATE f.t1 SET n = 1 WHERE id = 1", "DELETE FROM f.t3 WHERE k = 5"], ["INSERT INTO f.t3 DEFAULT VALUES", "DELETE FROM f.t1 WHERE id = 2"],
         ["UPDATE f.t3 SET k = 1", "INSERT INTO f.t1 (k, n) VALUES (1, 1.000), (1, 1)"], ["DELETE FROM f.t3"], ["INSERT INTO f.t3 (k) VALUES (1)", "DELETE FROM f.t1"]]


def whole_rows():
    queries = {
        'as jsonb': 'SELECT id, to_jsonb(ta) AS j FROM f.t1 ta',
        'as text of a json': 'SELECT id, row_to_json(ta)::text AS j, ta::text AS t FROM f.t1 ta',
        'as json': 'SELECT id, row_to_json(ta) AS j FROM f.t1 ta',
        'as a column': 'SELECT ta, ta.k FROM f.t1 ta',
        'padded by an outer join': 'SELECT ta.id, to_jsonb(tb) AS j, tb IS NULL AS n, tb IS NOT NULL AS m, tb IS DISTINCT FROM NULL AS d FROM f.t1 ta LEFT JOIN f.t3 tb ON ta.k = tb.k',
        'padded on both sides': 'SELECT to_jsonb(ta) AS l, to_jsonb(tb) AS r, (ta.*)::text AS t FROM f.t1 ta FULL JOIN f.t3 tb ON ta.k = tb.k',
        'padded twice': 'SELECT ta.id, tb AS l, c AS r FROM f.t1 ta LEFT JOIN (f.t3 tb LEFT JOIN f.t1 c ON tb.v = c.v) ON ta.k = tb.k',
        'counted': 'SELECT ta.k, count(tb) AS n, count(tb.*) AS m, count(DISTINCT tb) AS d FROM f.t1 ta LEFT JOIN f.t3 tb ON ta.k = tb.k GROUP BY ta.k',
        'gathered': 'SELECT ta.k, jsonb_agg(tb) AS j, array_agg(tb) AS r, json_agg(tb)::text AS t FROM f.t1 ta LEFT JOIN f.t3 tb ON ta.k = tb.k GROUP BY ta.k',
        'gathered for each row': "SELECT ta.id, (SELECT coalesce(jsonb_agg(tb ORDER BY tb.v), '[]') FROM f.t3 tb WHERE tb.k = ta.k) AS j FROM f.t1 ta",
        'of the row around a subquery': 'SELECT ta.id, (SELECT max(tb.s || to_jsonb(ta)::text) FROM f.t3 tb WHERE tb.k = ta.k) AS j FROM f.t1 ta',
        'of a subquery': 'SELECT to_jsonb(q) AS j, q IS NULL AS n FROM (SELECT k AS "the Key", v + 1 AS w FROM f.t1) q',
        'of a padded subquery': "SELECT ta.id, to_jsonb(q) AS j FROM f.t1 ta LEFT JOIN (SELECT k, v, 'c' AS c FROM f.t3) q ON q.k = ta.k",
        'of a group': 'SELECT q.k, row_to_json(q)::text AS j FROM (SELECT k, count(*) AS n, sum(v) AS s FROM f.t1 GROUP BY k) q',
        'of a lateral subquery': 'SELECT ta.id, to_jsonb(q) AS j FROM f.t1 ta, LATERAL (SELECT tb.v, tb.s FROM f.t3 tb WHERE tb.k = ta.k ORDER BY tb.id LIMIT 1) q',
        'of a padded lateral subquery': 'SELECT ta.id, to_jsonb(q) AS j, q IS DISTINCT FROM NULL AS d FROM f.t1 ta LEFT JOIN LATERAL (SELECT tb.v, tb.s FROM f.t3 tb WHERE tb.k = ta.k ORDER BY tb.id LIMIT 1) q ON true',
        'in a subquery whose FROM refers to the outside': 'SELECT ta.id, (SELECT jsonb_agg(q ORDER BY q) FROM f.t1 tb LEFT JOIN LATERAL (SELECT c.v, c.s FROM f.t3 c WHERE c.k = ta.k AND c.id <> tb.id) q ON q.v > ta.v) AS j, '
                                                           '(SELECT jsonb_agg(c ORDER BY c) FROM f.t1 tb LEFT JOIN f.t3 c ON c.k = ta.k AND c.id = tb.id) AS k FROM f.t1 ta',
        'of functions': "SELECT ta.id, to_jsonb(q) AS j FROM f.t1 ta, jsonb_to_recordset(jsonb_build_array(to_jsonb(ta))) AS q(id int, s text)",
        'of a CTE, read twice': 'WITH c AS (SELECT k, v FROM f.t1) SELECT to_jsonb(x) AS l, to_jsonb(y) AS r FROM c x LEFT JOIN c y ON x.k = y.v',
        'of a view': 'SELECT to_jsonb(w) AS j FROM f.g w',
        'compared': 'SELECT ta.id FROM f.t1 ta JOIN f.t1 tb ON ta.* = tb.* WHERE ta.* IS DISTINCT FROM NULL',
        'of equal shape, compared': 'SELECT q.k FROM (SELECT k, v FROM f.t1) q JOIN (SELECT k, v FROM f.t3) r ON q.* <= r.*',
        'without an order, gathered': 'SELECT q.k, json_agg(q) AS j, jsonb_agg(q) AS b FROM (SELECT tb.k, tb.v, row_to_json(tb) AS j FROM f.t3 tb) q GROUP BY q.k',
        'in several forms, gathered': "SELECT ta.k, json_agg(ta)::text AS j, array_agg(ta)::text AS a, string_agg(ta::text, ' ') AS s, array_agg(ta.n)::text AS n FROM f.t1 ta GROUP BY ta.k",
        'distinct': 'SELECT DISTINCT tb FROM f.t3 tb',
        'as a group key': 'SELECT tb, count(*) AS n FROM f.t3 tb GROUP BY tb',
        'first of all': 'SELECT tb FROM f.t3 tb ORDER BY tb DESC LIMIT 2',
        'in a union': 'SELECT to_jsonb(ta) AS j FROM f.t1 ta UNION SELECT to_jsonb(tb) FROM f.t3 tb',
        'in a window': 'SELECT tb.id, lag(to_jsonb(tb)) OVER (ORDER BY tb.id, tb.k, tb.v, tb.s) AS j FROM f.t3 tb',
        'in EXISTS': 'SELECT ta.id FROM f.t1 ta WHERE EXISTS (SELECT tb FROM f.t3 tb WHERE tb.k = ta.k AND to_jsonb(tb) ? (ta.s || \'\') IS NOT TRUE)',
    }
    for what, query in queries.items():
        yield f'a whole row {what}', {'setup': ROWS, 'query': query, 'transactions': MOVES}


CASES.update(whole_rows())


def paths():
    """Rows touched through the rows between: links that go, come and move together with what they lead to, and NULL keys."""
    queries = {
        'an inner condition about the next level': "WHERE EXISTS (SELECT FROM f.t3 b WHERE b.k = a.k AND EXISTS (SELECT FROM f.t2 c WHERE c.k = b.v AND c.v > a.v))",
        'negated twice': "WHERE NOT EXISTS (SELECT FROM f.t3 b WHERE b.k = a.k AND NOT EXISTS (SELECT FROM f.t2 c WHERE c.k = b.v AND c.v > a.v))",
        'IN in NOT IN': "WHERE a.k NOT IN (SELECT b.k FROM f.t3 b WHERE b.v IN (SELECT c.k FROM f.t2 c WHERE c.v > a.v))",
        'NOT IN over NULLs': "WHERE a.k NOT IN (SELECT b.k FROM f.t3 b WHERE b.v > 10)",
        'NOT IN in IN': "WHERE a.k IN (SELECT b.k FROM f.t3 b WHERE a.v NOT IN (SELECT c.v FROM f.t2 c WHERE c.k = b.v))",
        'inwards': "WHERE EXISTS (SELECT FROM f.t2 c WHERE c.v > 2 AND EXISTS (SELECT FROM f.t3 b WHERE b.v = c.k AND b.k = a.k))",
        'the nullable side leads on': "WHERE EXISTS (SELECT FROM f.t3 b LEFT JOIN f.t1 m ON m.id = b.id + 100 AND m.v <> a.v WHERE b.k = a.k AND EXISTS (SELECT FROM f.t2 c WHERE c.id = coalesce(m.id, 1) AND c.v > a.v))",
        'a condition of a join': "WHERE EXISTS (SELECT FROM f.t3 b LEFT JOIN f.t1 m ON m.id = b.id AND EXISTS (SELECT FROM f.t2 c WHERE c.k = b.v AND c.v > a.v) WHERE b.k = a.k AND m.id IS NULL)",
    }
    values = {
        'a value of values': "(SELECT sum((SELECT count(*) FROM f.t2 c WHERE c.k = b.v AND c.v > a.v)) FROM f.t3 b WHERE b.k = a.k)",
        'a value without rows around it': "(SELECT count(*) + (SELECT count(*) FROM f.t2 c WHERE c.id = a.id) FROM f.t3 b WHERE b.k = a.k AND b.v = 99)",
        'values by groups': "(SELECT string_agg(q.t, ',' ORDER BY q.t) FROM (SELECT b.v || ':' || (SELECT count(*) FROM f.t2 c WHERE c.k = b.v AND c.v > a.v) AS t FROM f.t3 b WHERE b.k = a.k GROUP BY b.v) q)",
        'a join about both': "(SELECT string_agg(b.id || ':' || coalesce(c.id, 0), ',' ORDER BY b.id, c.id) FROM f.t3 b LEFT JOIN f.t2 c ON c.k = b.v AND c.v > a.v WHERE b.k = a.k)",
        'a count inwards': "(SELECT count(*) FROM f.t2 c WHERE c.k IN (SELECT b.v FROM f.t3 b WHERE b.k = a.k))",
    }
    setup = ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 2, 1), (3, 3, 2), (4, NULL, 2)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 10), (2, 1, 11), (3, 2, 10), (4, NULL, 12), (5, 3, 12)",
             "INSERT INTO f.t2 (id, k, v) VALUES (1, 10, 9), (2, 11, 3), (3, 12, 2)"]
    transactions = [["UPDATE f.t3 SET k = 3 WHERE id = 1", "UPDATE f.t2 SET v = 0 WHERE id = 1"], ["UPDATE f.t2 SET v = 6 WHERE id = 1"], ["DELETE FROM f.t3 WHERE id = 3", "DELETE FROM f.t2 WHERE k = 10"],
                    ["INSERT INTO f.t3 (id, k, v) VALUES (6, 2, 11)", "INSERT INTO f.t2 (id, k, v) VALUES (4, 10, 7), (5, 11, 8)"], ["UPDATE f.t3 SET v = NULL WHERE id = 5", "UPDATE f.t1 SET k = NULL WHERE id = 3"],
                    ["DELETE FROM f.t3 WHERE k IS NULL", "UPDATE f.t1 SET k = 2 WHERE id = 4", "DELETE FROM f.t2 WHERE id = 5"], ["DELETE FROM f.t3"], setup[1:2] + ["UPDATE f.t2 SET v = v + 3"]]
    texts = {name: f'SELECT a.id, a.v FROM f.t1 a {q}' for name, q in queries.items()} | {name: f'SELECT a.id, {q} AS x FROM f.t1 a' for name, q in values.items()}
    return {'path: ' + name: {'setup': setup, 'query': text, 'transactions': transactions} for name, text in texts.items()}


CASES.update(paths())


def sets():
    setup = ["INSERT INTO f.t1 (id, k, v, s) VALUES (1, 2, 1, 'a b'), (2, 0, 2, 'b'), (3, NULL, NULL, ''), (4, 2, 1, NULL), (5, 3, 1, 'a b c')"]
    moves = [["INSERT INTO f.t1 (id, k, v, s) VALUES (6, 1, 2, 'c a'), (7, 3, 1, 'a b')"], ["UPDATE f.t1 SET k = 1, s = s || ' z' WHERE id IN (1, 2)"], ["DELETE FROM f.t1 WHERE v = 1"],
             ["INSERT INTO f.t1 (id, k, v, s) VALUES (8, 4, 4, 'q')", "UPDATE f.t1 SET k = 0"], ["DELETE FROM f.t1"], ["INSERT INTO f.t1 (id, k, s) VALUES (1, 1, 'a')"]]
    queries = {
        'below DISTINCT': "SELECT DISTINCT unnest(string_to_array(s, ' ')) AS w FROM f.t1",
        'as a group key': "SELECT unnest(string_to_array(s, ' ')) AS w, count(*) AS n, sum(v) AS v FROM f.t1 GROUP BY w",
        'as a group key that is not shown': "SELECT count(*) AS n FROM f.t1 GROUP BY unnest(string_to_array(s, ' ')), v",
        'as a key of HAVING': "SELECT unnest(string_to_array(s, ' ')) || '!' AS w, max(v) AS m FROM f.t1 GROUP BY unnest(string_to_array(s, ' ')) || '!' HAVING count(*) > 1",
        'above groups': "SELECT v, unnest(array_agg(k ORDER BY k)) AS k, generate_series(1, count(*)) AS g FROM f.t1 GROUP BY v HAVING count(*) > 1",
        'above one group': "SELECT unnest(array_agg(k ORDER BY k)) AS k, sum(v) AS v FROM f.t1",
        'above groups by sets': "SELECT unnest(string_to_array(s, ' ')) AS w, unnest(ARRAY[count(*), 7]) AS c FROM f.t1 GROUP BY 1",
        'beside windows': "SELECT id, generate_series(1, k) AS g, row_number() OVER (PARTITION BY v ORDER BY id) AS r FROM f.t1",
        'of windows': "SELECT id, generate_series(1, count(*) OVER (PARTITION BY v)) AS g, unnest(ARRAY[s, 'x']) AS u FROM f.t1",
        'of windows below DISTINCT': "SELECT DISTINCT generate_series(1, count(*) OVER (PARTITION BY v)) AS g FROM f.t1",
        'that is only sorted by': "SELECT id FROM f.t1 ORDER BY generate_series(1, k)",
        'that is only sorted by, with a limit': "SELECT id, k FROM f.t1 ORDER BY generate_series(1, k) DESC, id LIMIT 3",
        'below DISTINCT ON': "SELECT DISTINCT ON (w) unnest(string_to_array(s, ' ')) AS w, id FROM f.t1 ORDER BY w, id DESC",
        'in a subquery with DISTINCT': "SELECT q.w, t.id FROM (SELECT DISTINCT unnest(string_to_array(s, ' ')) AS w FROM f.t1) q JOIN f.t1 t ON t.s = q.w",
    }
    for what, query in queries.items():
        yield f'a set {what}', {'setup': setup, 'query': query, 'transactions': moves}


CASES.update(sets())

CASES.update({
    'a subquery in the condition of an outer join, about both sides': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 2, 1), (3, NULL, 3)", "INSERT INTO f.t3 (id, k, v, s) VALUES (1, 1, 4, 'a'), (2, 1, 5, 'b'), (3, 2, 1, NULL)",
                  "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 9), (2, 2, 3)"],
        'query': 'SELECT a.id, b.s, b.v, d.p FROM f.t1 a LEFT JOIN f.t3 b ON a.k = b.k AND EXISTS (SELECT 1 FROM f.t2 c WHERE c.k = a.k AND c.id = b.id) '
                 'LEFT JOIN f.t3 d ON d.v < (SELECT max(c.v) FROM f.t2 c WHERE c.k = b.k AND c.id <> d.id)',
        'transactions': [["INSERT INTO f.t2 (id, k, v) VALUES (2, 1, 2)"], ["UPDATE f.t3 SET s = 'c', v = v + 1"], ["DELETE FROM f.t2 WHERE k = 1", "UPDATE f.t1 SET k = 2"], ["DELETE FROM f.t3 WHERE id = 3"],
                         ["INSERT INTO f.t1 (id, k) VALUES (9, 2)", "INSERT INTO f.t2 (id, k, v) VALUES (7, 2, 9)", "INSERT INTO f.t3 (id, k, v) VALUES (7, 2, 2)"]],
    },
    'the same of a right join': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 2, 1)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 4), (2, 3, 5)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 1)"],
        'query': 'SELECT b.id, b.v, x.id AS x, x.w FROM (SELECT a.id, a.k, count(*) AS w FROM f.t1 a GROUP BY a.id, a.k) x RIGHT JOIN f.t3 b ON x.id IN (SELECT c.id FROM f.t2 c WHERE c.k = b.k AND c.v <= x.k)',
        'transactions': [["INSERT INTO f.t2 (id, k, v) VALUES (2, 3, 2), (1, 3, 0)"], ["INSERT INTO f.t1 (id, k) VALUES (1, 1)"], ["DELETE FROM f.t2 WHERE id = 1"], ["UPDATE f.t3 SET k = 3", "DELETE FROM f.t1 WHERE id = 2"]],
    },
    'LATERAL below an outer join': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 2), (2, 2, 1), (3, NULL, 3)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 4), (2, 1, 5), (3, 2, 1)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 9), (2, 2, 3)"],
        'query': 'SELECT a.id, g, m.v AS m, q.n FROM f.t1 a LEFT JOIN (generate_series(1, a.v) g LEFT JOIN LATERAL (SELECT b.v FROM f.t3 b WHERE b.k = a.k AND b.id >= g ORDER BY b.v LIMIT 1) m ON true) ON g <> a.id '
                 'LEFT JOIN (f.t2 c JOIN LATERAL (SELECT count(*) AS n FROM f.t3 b WHERE b.k = c.k AND b.v <> a.v) q ON q.n > 0) ON c.id = a.id AND q.n < 3',
        'transactions': [["INSERT INTO f.t3 (id, k, v) VALUES (4, 1, 0), (5, 2, 2)"], ["UPDATE f.t1 SET v = 4 WHERE id = 2", "UPDATE f.t2 SET k = 1"], ["DELETE FROM f.t3 WHERE k = 1"], ["DELETE FROM f.t2", "UPDATE f.t1 SET v = NULL WHERE id = 1"]],
    },
})

CASES.update({
    'whole rows of a side that needs the other': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 2, 1), (3, NULL, 3)", "INSERT INTO f.t3 (id, k, v, s) VALUES (1, 1, 4, 'a'), (2, 1, 5, 'b'), (3, 2, 1, NULL)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 9), (2, 2, 3)"],
        'query': 'SELECT a.id, to_jsonb(tb) AS b, td IS DISTINCT FROM NULL AS d, to_jsonb(m) AS m FROM f.t1 a LEFT JOIN (f.t3 tb LEFT JOIN f.t2 td ON td.id = tb.v) ON a.k = tb.k AND EXISTS (SELECT 1 FROM f.t2 c WHERE c.k = a.k AND c.id <= tb.id) '
                 'LEFT JOIN (f.t2 e LEFT JOIN LATERAL (SELECT b.v, b.s FROM f.t3 b WHERE b.k = a.k AND b.id > e.id ORDER BY b.v LIMIT 1) m ON true) ON e.k = a.k',
        'transactions': [["INSERT INTO f.t2 (id, k, v) VALUES (2, 1, 2), (4, 2, 2)"], ["UPDATE f.t3 SET s = 'c', v = v + 1"], ["DELETE FROM f.t2 WHERE k = 1", "UPDATE f.t1 SET k = 2"], ["INSERT INTO f.t3 DEFAULT VALUES", "DELETE FROM f.t3 WHERE id = 3"]],
    },
    'joins of what is no table, in subqueries': {
        'setup': ["INSERT INTO f.t1 (id, k, v, b) VALUES (1, 1, 2, true), (2, 2, 1, NULL), (3, NULL, 3, true)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 4), (2, 2, 5)"],
        'query': 'SELECT a.id, (SELECT count(*) FROM f.t3 b WHERE b.k = a.k OR EXISTS (SELECT 1 FROM (VALUES (1), (2)) p(x) JOIN (VALUES (2), (3)) q(x) USING (x) WHERE x = a.v AND a.b)) AS n, g.x, h.y '
                 'FROM f.t1 a LEFT JOIN (LATERAL (SELECT x FROM generate_series(1, a.v) x) g JOIN LATERAL (VALUES (g.x), (a.k)) h(y) ON h.y <> g.x) ON g.x > 1',
        'transactions': [["INSERT INTO f.t3 (k) VALUES (2)", "UPDATE f.t1 SET v = 2 WHERE id = 3"], ["DELETE FROM f.t1 WHERE id = 1"], ["DELETE FROM f.t3"]],
    },
})

CASES.update({
    'rows that a subquery finds by their keys': {   # keys of other types, NULLs, collations, several keys, no rows
        'tables': {'ta': 'id int, k bigint, s text COLLATE "C", d numeric, j jsonb', 'tb': 'id int, k int, s varchar(9), d int, p point, a int[], f float8'},
        'setup': ["INSERT INTO f.ta VALUES (1, 1, 'a', 1.0, '{}'), (2, 1, 'B', 2.00, NULL), (3, NULL, 'a', NULL, '[1]'), (4, 2, 'a ', 3, '1'), (4, 2, 'a ', 3, '1')",
                  "INSERT INTO f.tb VALUES (1, 1, 'a', 1, '(1,2)', '{1,2}', 0), (2, 1, 'a', 1, NULL, '{}', '-0'), (3, 2, 'a ', 2, '(0,0)', NULL, 'NaN'), (4, NULL, NULL, 3, '(1,1)', '{NULL}', 1), (5, 1, 'B', 2, NULL, '{3}', 2)"],
        'query': 'SELECT a.id, a.j::text AS j, (SELECT string_agg(b.p::text || b.a::text, \',\' ORDER BY b.id) FROM f.tb b WHERE b.k = a.k AND b.s = a.s) AS x, '
                 '(SELECT count(*) FROM f.tb b WHERE b.d = a.d) AS n, q.f, ARRAY(SELECT b.id FROM f.tb b WHERE b.k + 0 = a.k AND b.s < a.s ORDER BY b.id) AS e '
                 'FROM f.ta a LEFT JOIN LATERAL (SELECT b.f FROM f.tb b WHERE b.k = a.k ORDER BY b.f DESC, b.id LIMIT 1) q ON true',
        'transactions': [["INSERT INTO f.tb VALUES (6, 1, 'a', 3, '(9,9)', '{9}', 9), (7, 2, 'a ', 3, NULL, '{7}', NULL)"], ["UPDATE f.tb SET k = 2, p = '(5,5)' WHERE id < 3"],
                         ["DELETE FROM f.tb WHERE k = 2", "UPDATE f.ta SET k = 1, d = 2.000", "INSERT INTO f.ta VALUES (9, NULL, NULL, 3, NULL)"], ["UPDATE f.tb SET s = 'a', d = NULL"], ["DELETE FROM f.tb"]],
    },
})


def peers():
    setup = ["INSERT INTO f.t1 (id, k, v, n, s, x, d) VALUES (1, 1, 1, 1.0, 'a', 0.1, '2024-01-01'), (2, 1, 1, 1.00, 'b', 1e10, '2024-01-01'), (3, 1, 1, 1, 'c', 0.3, '2024-01-03'), "
             "(3, 1, 1, 1, 'c', 0.3, '2024-01-03'), (4, 2, NULL, NULL, NULL, 'NaN', NULL), (5, 1, 2, 2, 'd', -1e10, '2024-01-04'), (6, NULL, 2, 2, 'e', 0.7, '2024-01-04')"]
    moves = [["INSERT INTO f.t1 (id, k, v, n, s, x, d) VALUES (7, 1, 1, 1.000, 'a', 0.7, '2024-01-01'), (8, 2, NULL, 3, 'z', '-0', NULL)"], ["DELETE FROM f.t1 WHERE id = 3", "UPDATE f.t1 SET k = 1 WHERE id = 6"],
             ["UPDATE f.t1 SET v = 1, d = '2024-01-01'", "INSERT INTO f.t1 (id, k, v, x) SELECT g, 1, g % 2, g / 7.0 FROM generate_series(10, 20) g"], ["DELETE FROM f.t1 WHERE id % 2 = 0"], ["DELETE FROM f.t1"]]
    queries = {
        'in a running total': 'SELECT id, sum(x) OVER (PARTITION BY k ORDER BY v) AS s, avg(x) OVER (PARTITION BY k ORDER BY v) AS a FROM f.t1',
        'gathered': "SELECT k, v, string_agg(s, ',') OVER (PARTITION BY k ORDER BY v) AS s, array_agg(n) OVER (PARTITION BY k ORDER BY v)::text AS n, json_agg(x) OVER (PARTITION BY k ORDER BY v) AS j FROM f.t1",
        'in a sliding range': "SELECT id, avg(x) OVER (PARTITION BY k ORDER BY d RANGE BETWEEN '2 days' PRECEDING AND CURRENT ROW) AS a FROM f.t1",
        'in a sliding range, with other windows': "SELECT id, s, row_number() OVER (ORDER BY d) AS r, rank() OVER (PARTITION BY k ORDER BY v) AS q, "
                                                  "round(avg(x) FILTER (WHERE x < 1e9) OVER (PARTITION BY k ORDER BY d DESC RANGE BETWEEN '2 days' PRECEDING AND CURRENT ROW)) + 1 AS a FROM f.t1",
        'at the ends of frames': 'SELECT id, last_value(s) OVER (ORDER BY v) AS l, nth_value(s, 2) OVER (ORDER BY v) AS m, first_value(s) OVER (ORDER BY v RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS f FROM f.t1',
        'left out': "SELECT id, string_agg(s, '') OVER (ORDER BY v ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS a, count(*) OVER (ORDER BY v ROWS 2 PRECEDING EXCLUDE GROUP) AS b FROM f.t1",
        'of two windows': "SELECT id, string_agg(s, '') OVER (ORDER BY v) AS a, string_agg(s, '') OVER (PARTITION BY k ORDER BY d DESC NULLS LAST) AS b FROM f.t1",
        'of two windows, in several forms': "SELECT n, string_agg(s, '') OVER (ORDER BY v) AS a, array_agg(s || n) OVER (PARTITION BY k ORDER BY d)::text AS b, first_value(n) OVER (ORDER BY v ROWS UNBOUNDED PRECEDING EXCLUDE TIES)::text AS c FROM f.t1",
        'over groups': "SELECT k, v, count(*) AS n, string_agg(k::text, ' ') OVER w AS a, sum(sum(x)) OVER w AS s FROM f.t1 GROUP BY k, v HAVING count(*) < 9 WINDOW w AS (ORDER BY v)",
        'over grouping sets': "SELECT k, v, count(*) AS n, array_agg(v) OVER (ORDER BY k) AS a FROM f.t1 GROUP BY ROLLUP (k, v)",
        'below DISTINCT': "SELECT DISTINCT k, string_agg(s, ',') OVER (ORDER BY v) AS s FROM f.t1",
        'below ORDER BY and LIMIT': "SELECT id, sum(x) OVER (ORDER BY v) AS s FROM f.t1 ORDER BY n DESC NULLS LAST, 2 LIMIT 4",
        'in a subquery and a CTE': "WITH c AS (SELECT id, k, sum(x) OVER (PARTITION BY k ORDER BY v) AS s FROM f.t1) SELECT q.s, t.id FROM c q JOIN f.t1 t ON t.id = q.id WHERE q.s > 0",
        'in expressions': "SELECT CASE k WHEN 1 THEN string_agg(s, ',') OVER (ORDER BY v) ELSE s END AS c, lag(s) OVER (ORDER BY id) || (last_value(s) OVER (ORDER BY v)) AS e, (SELECT max(b.v) FROM f.t3 b WHERE b.k = t.k) AS m FROM f.t1 t",
    }
    for what, query in queries.items():
        yield f'peers {what}', {'setup': setup, 'query': query, 'transactions': moves}


CASES.update(peers())

CASES.update({
    'subqueries beside grouping sets': {        # what they refer to is NULL in the rows of other sets
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 2), (2, 1), (NULL, 2)", "INSERT INTO f.t3 (k, v) VALUES (1, 10), (2, 20), (NULL, 30)"],
        'query': 'SELECT k, v, count(*) AS n, (SELECT max(b.v) FROM f.t3 b WHERE b.k = t.k) AS m, (SELECT count(*) FROM f.t3 b WHERE t.v IS NULL OR b.k > t.v + 1) AS c, '
                 '(SELECT min(b.v) FROM f.t3 b) AS a, t.k IN (SELECT b.k FROM f.t3 b) AS i, grouping(k) AS g FROM f.t1 t GROUP BY ROLLUP (k, v) HAVING count(*) < (SELECT sum(b.v) FROM f.t3 b WHERE b.k IS NOT DISTINCT FROM t.k)',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (1, 11), (NULL, 1)"], ["INSERT INTO f.t1 (k, v) VALUES (3, NULL), (2, 2)"], ["DELETE FROM f.t3 WHERE k IS NULL"], ["UPDATE f.t3 SET k = NULL, v = 2"],
                         ["DELETE FROM f.t1 WHERE k = 1", "UPDATE f.t3 SET k = 2"], ["DELETE FROM f.t1"]],
    },
    'an expression that is a key of grouping sets, in a subquery': {        # there it is computed from the set's columns, which may be NULL
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 2), (2, 1), (NULL, 2)", "INSERT INTO f.t3 (k, v) VALUES (1, 10), (2, 20), (NULL, 30), (6, 1)"],
        'query': '/* exact */ SELECT k, coalesce(k, 7) AS e, count(*) AS n, (SELECT count(*) FROM f.t3 b WHERE b.k < coalesce(t.k, 7)) AS c FROM f.t1 t GROUP BY ROLLUP (coalesce(k, 7), k) '
                 'HAVING (SELECT count(*) FROM f.t3 b WHERE b.k < coalesce(t.k, 7)) > 0',
        'transactions': [["INSERT INTO f.t3 (k) VALUES (0), (5)"], ["INSERT INTO f.t1 (k) VALUES (7), (NULL)"], ["DELETE FROM f.t3 WHERE k < 5"], ["DELETE FROM f.t1 WHERE k = 1"], ["DELETE FROM f.t1"]],
    },
    'NOT IN, with rows for all and rows by keys at once': {        # a NULL goes from one subquery, other values from the other: no row is touched twice
        'setup': ["INSERT INTO f.t1 (id, v) VALUES (1, 1), (2, 2), (3, NULL), (4, 3)", "INSERT INTO f.t3 (id, v) VALUES (1, 1), (2, 2), (3, 3)", "INSERT INTO f.t2 (id, k, v) VALUES (1, 0, 1), (2, 0, 3), (3, 0, NULL)"],
        'query': 'SELECT a.id, a.v FROM f.t1 a WHERE a.v NOT IN (SELECT b.v FROM f.t3 b WHERE a.v IN (SELECT c.v FROM f.t2 c LEFT JOIN f.t4 m ON m.id < a.id))',
        'transactions': [["DELETE FROM f.t3 WHERE v < 3", "DELETE FROM f.t2 WHERE v IS NULL"], ["INSERT INTO f.t3 (id, v) VALUES (4, NULL)", "DELETE FROM f.t2 WHERE v = 1", "INSERT INTO f.t2 (id, k, v) VALUES (9, 0, 2)"],
                         ["DELETE FROM f.t3", "INSERT INTO f.t2 (id, k, v) VALUES (5, 0, NULL)"], ["INSERT INTO f.t3 (id, v) VALUES (1, 1), (2, NULL)", "DELETE FROM f.t2"]],
    },
    'a subquery as a key of grouping sets': {
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 2), (2, 1), (NULL, 2)", "INSERT INTO f.t3 (k, v) VALUES (1, 10), (2, 20), (NULL, 30)"],
        'query': '/* exact */ SELECT (SELECT max(b.v) FROM f.t3 b WHERE b.k = t.k) AS m, t.v, sum(t.k) AS s FROM f.t1 t GROUP BY CUBE ((SELECT max(b.v) FROM f.t3 b WHERE b.k = t.k), t.v)',
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (1, 20)"], ["DELETE FROM f.t3 WHERE k = 2"], ["DELETE FROM f.t1 WHERE v = 1"], ["DELETE FROM f.t1"]],
    },
})

CASES.update({
    'an aggregate inside a subquery, of the query around it': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 1, 1), (3, 2, 3), (4, NULL, NULL)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 4), (2, 1, 5), (3, 2, 3)"],
        'query': 'SELECT a.k, (SELECT sum(b.id) FROM f.t3 b WHERE b.v <= max(a.v) AND b.k = a.k) AS s, (SELECT count(*) + sum(b.v) FROM f.t3 b WHERE EXISTS (SELECT 1 FROM f.t1 c WHERE c.v = min(a.v + 1) AND c.k = b.k)) AS n '
                 'FROM f.t1 a GROUP BY a.k HAVING EXISTS (SELECT 1 FROM f.t3 b WHERE b.id < count(a.id) + 2)',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (5, 2, 4), (6, 1, 6)"], ["UPDATE f.t3 SET v = v + 1, k = 1"], ["DELETE FROM f.t1 WHERE v = 5", "INSERT INTO f.t3 (id, k, v) VALUES (0, NULL, 0)"], ["DELETE FROM f.t3"],
                         ["INSERT INTO f.t3 (id, k, v) VALUES (1, 2, 1)", "DELETE FROM f.t1 WHERE k = 1"]],
    },
})

CASES.update({
    f'anonymous records {where}': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, NULL, NULL)"],
        'query': query,
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (5, 2, 4)"]],
        'full': 'a column of records inside the query',
    }
    for where, query in {
        'as a key': 'SELECT count(*) AS n FROM f.t1 GROUP BY ROW(k, v)',
        'in an array': 'SELECT array_agg(ROW(k, v)) OVER (PARTITION BY id)::text AS n FROM f.t1',
        'as a sort key': 'SELECT DISTINCT ON (ROW(k, v)) id FROM f.t1 ORDER BY ROW(k, v), id',
        'below an outer join': 'SELECT q.r::text AS n FROM (SELECT ROW(k, v) AS r FROM f.t1) q FULL JOIN f.t2 ON true',
        'in a set operation': 'SELECT q.r::text AS n FROM (SELECT ROW(k, v) AS r FROM f.t1 UNION SELECT ROW(k, v) FROM f.t2) q',
    }.items()
})

CASES.update({
    'DISTINCT over a set that is only grouped by': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, NULL, 5), (3, 2, 5), (4, 2, 6)"],
        'query': 'SELECT DISTINCT v FROM f.t1 GROUP BY v, unnest(ARRAY[k, 1]) ORDER BY v DESC LIMIT 1',
        'transactions': [["DELETE FROM f.t1 WHERE id = 4"], ["INSERT INTO f.t1 (id, k, v) VALUES (5, 7, 9), (6, 8, 9)"], ["DELETE FROM f.t1 WHERE v = 9"]],
    },
})

CASES.update({
    'a subquery as a key inside a correlated subquery': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, NULL, 5), (3, 2, 5)"],
        'query': 'SELECT a.id, EXISTS (SELECT (SELECT max(c.v) FROM f.t3 c WHERE c.k = b.k AND c.id < a.v) FROM f.t2 b WHERE b.k = a.k GROUP BY (SELECT max(c.v) FROM f.t3 c WHERE c.k = b.k AND c.id < a.v)) AS e FROM f.t1 a',
        'transactions': [["INSERT INTO f.t2 (id, k, v) VALUES (5, 1, 9)"], ["INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 1)", "DELETE FROM f.t1 WHERE id = 2"], ["UPDATE f.t2 SET k = 2"], ["DELETE FROM f.t2"]],
    },
    'a window over groups of a set': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, NULL, 5), (3, 2, 6)"],
        'query': '/* exact */ SELECT v, rank() OVER (ORDER BY v) AS r FROM f.t1 GROUP BY v, unnest(ARRAY[k, 1])',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (5, 1, 9)"], ["UPDATE f.t1 SET k = 1"], ["DELETE FROM f.t1 WHERE v = 5"]],
    },
})

CASES.update({
    'a median of zeros, inside': {             # 0 or -0, as the plan has it
        'setup': ["INSERT INTO f.t1 (id, k, x, n) VALUES (1, 1, '-0', 1.0), (2, 1, 0, 1.00), (3, 1, 0, 1), (4, 2, 5, 2)"],
        'query': 'SELECT k, percentile_disc(0.5) WITHIN GROUP (ORDER BY x) AS a, percentile_disc(0.5) WITHIN GROUP (ORDER BY n) AS b, sum(DISTINCT n) AS c, array_agg(DISTINCT x) AS d, first_value(k) OVER () AS e FROM f.t1 GROUP BY k',
        'transactions': [["INSERT INTO f.t1 (id, k, x, n) VALUES (5, 1, 7, 1.000)"], ["DELETE FROM f.t1 WHERE id = 3"], ["UPDATE f.t1 SET k = 1"], ["DELETE FROM f.t1 WHERE x <> 0"]],
    },
    'the most frequent of intervals, inside': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1)"],
        'query': "SELECT k, mode() WITHIN GROUP (ORDER BY id * interval '24 hours') AS a, first_value(k) OVER () AS e FROM f.t1 GROUP BY k",
        'transactions': [["INSERT INTO f.t1 (id, k) VALUES (5, 1)"]],
        'full': 'an aggregate below other operations that picks one of several equal values that look different',
    },
    'the first of equal keys in several forms, under LIMIT': {
        'setup': ["INSERT INTO f.t1 (id, k, x, v) VALUES (1, 1, '-0', 1), (1, 1, 0, 1), (1, 1, 0, 1), (2, 2, 5, 1)"],
        'query': 'SELECT DISTINCT ON (x * 2) id FROM f.t1 ORDER BY x * 2, v LIMIT 3',
        'transactions': [["INSERT INTO f.t1 (id, k, x, v) VALUES (1, 1, '-0', 1)"], ["DELETE FROM f.t1 WHERE x::text = '0'"], ["UPDATE f.t1 SET x = 0"], ["DELETE FROM f.t1"]],
    },
})

# Ways in which systems of this kind have been wrong (docs/pitfalls.md) that no case above is about.
CASES.update({
    'rows leave several tables of a join at once': {
        'setup': [f"INSERT INTO f.t{i} (id, k, v) VALUES (1, 1, {i}), (2, 1, {i}), (3, 2, {i}), (4, 2, {i})" for i in (0, 1, 2, 3)],
        'query': 'SELECT a.id AS ai, b.id AS bi, c.id AS ci, d.id AS di FROM f.t0 a JOIN f.t1 b ON a.k = b.k JOIN f.t2 c ON b.k = c.k JOIN f.t3 d ON c.k = d.k AND d.id >= a.id',
        'transactions': [["DELETE FROM f.t0 WHERE id = 1", "DELETE FROM f.t2 WHERE id = 1"], ["DELETE FROM f.t1 WHERE id = 2", "DELETE FROM f.t3 WHERE id = 2", "UPDATE f.t0 SET k = 2 WHERE id = 2"],
                         ["DELETE FROM f.t0 WHERE k = 2", "DELETE FROM f.t1", "DELETE FROM f.t3 WHERE id = 3", "INSERT INTO f.t2 (id, k) VALUES (9, 2)"]],
    },
    'merged columns of NATURAL and USING, and all columns': {
        'tables': {'ja': 'k int, v int, s text', 'jb': 'k bigint, v int, u text', 'jc': 'v int, x1 int'},
        'setup': ["INSERT INTO f.ja VALUES (1, 1, 'a'), (2, 2, 'b'), (NULL, 3, 'c')", "INSERT INTO f.jb VALUES (1, 1, 'x'), (3, 3, 'y')", "INSERT INTO f.jc VALUES (1, 10), (3, 30)"],
        'query': 'SELECT * FROM (SELECT * FROM f.ja FULL JOIN f.jb USING (k, v)) x NATURAL LEFT JOIN f.jc',
        'transactions': [["INSERT INTO f.jb VALUES (2, 2, 'z')", "UPDATE f.ja SET v = 5 WHERE k = 1"], ["DELETE FROM f.ja WHERE k = 2", "INSERT INTO f.jc VALUES (2, 20), (5, 50)"],
                         ["UPDATE f.jb SET k = NULL WHERE k = 3", "DELETE FROM f.jc WHERE v = 5"], ["DELETE FROM f.jb"]],
    },
    'a condition on a column that is not shown': {
        'setup': ["INSERT INTO f.t1 (id, k, s) VALUES (1, 4, 'a'), (2, 6, 'a'), (3, NULL, 'b')"],
        'query': 'SELECT s FROM f.t1 WHERE k > 5',
        'transactions': [["UPDATE f.t1 SET k = 7 WHERE id = 1"], ["UPDATE f.t1 SET k = 1 WHERE id = 2", "UPDATE f.t1 SET k = 9 WHERE id = 3"], ["UPDATE f.t1 SET k = NULL"]],
    },
    'subqueries alike but for their conditions': {          # same tables, same aliases: neither may stand in for the other
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 1, 15), (3, 2, 25)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 1), (2, 2, 2)"],
        'query': 'SELECT x.k, x.n, y.n AS m, (SELECT sum(q.v) FROM f.t1 q WHERE q.v < 10) AS low, (SELECT sum(q.v) FROM f.t1 q WHERE q.v > 10) AS high '
                 'FROM (SELECT a.k, count(*) AS n FROM f.t1 a JOIN f.t3 b ON a.k = b.k WHERE a.v < 10 GROUP BY a.k) x '
                 'FULL JOIN (SELECT a.k, count(*) AS n FROM f.t1 a JOIN f.t3 b ON a.k = b.k WHERE a.v > 10 GROUP BY a.k) y ON x.k = y.k',
        'transactions': [["UPDATE f.t1 SET v = 30 - v"], ["DELETE FROM f.t3 WHERE k = 1", "INSERT INTO f.t1 (id, k, v) VALUES (4, 2, 7)"], ["INSERT INTO f.t3 (id, k) VALUES (3, 1)", "DELETE FROM f.t1 WHERE v > 20"]],
    },
    'a condition of an outer join about both sides stays in it': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, 1, 6)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 5)"],
        'query': 'SELECT a.id, a.v, b.id AS o, b.v AS w FROM f.t1 a LEFT JOIN f.t3 b ON a.k = b.k AND a.v <> b.v',
        'transactions': [["UPDATE f.t3 SET v = 6"], ["UPDATE f.t1 SET v = 6"], ["INSERT INTO f.t3 (id, k, v) VALUES (2, 1, 7), (3, 1, NULL)"], ["UPDATE f.t3 SET v = 6"]],
    },
    'averages and deviations through many small changes': {    # from sums, never from what was rounded
        'setup': ["INSERT INTO f.t1 (k, n, p) SELECT g % 2, g / 3.0, g FROM generate_series(1, 9) g"],
        'query': 'SELECT k, avg(n) AS a, avg(p) AS b, stddev(n) AS c, var_pop(p) AS d, count(*) AS m FROM f.t1 GROUP BY k',
        'transactions': [[f"INSERT INTO f.t1 (k, n, p) VALUES ({g % 2}, {g} / 7.0, {g}.25)", f"UPDATE f.t1 SET n = n + 1 / 3.0 WHERE p = {g}"] for g in range(1, 9)] + [["DELETE FROM f.t1 WHERE p > 2"]],
    },
    'a float sum that cannot be taken apart': {                # 1e20 + 1 - 1e20
        'setup': ["INSERT INTO f.t1 (k, v, x) VALUES (1, 1, 1e20), (1, 2, 1), (2, 1, 'Infinity'), (2, 2, 1)"],
        'query': 'SELECT k, sum(x) AS s, avg(x) AS a FROM f.t1 GROUP BY k',
        'transactions': [["DELETE FROM f.t1 WHERE v = 1"], ["INSERT INTO f.t1 (k, v, x) VALUES (1, 1, 'NaN'), (2, 1, '-Infinity')"], ["DELETE FROM f.t1 WHERE v = 1"]],
    },
    'groups by an expression that has a new name': {
        'setup': ["INSERT INTO f.t1 (v, d) VALUES (1, '2024-03-01'), (2, '2024-09-01'), (4, '2025-01-01'), (8, NULL)"],
        'query': 'SELECT q.y, sum(q.v) AS s, count(*) AS n FROM (SELECT extract(year FROM d) AS y, v FROM f.t1) q GROUP BY q.y',
        'transactions': [["UPDATE f.t1 SET d = '2025-05-05' WHERE v = 2"], ["UPDATE f.t1 SET d = NULL WHERE v = 4", "INSERT INTO f.t1 (v, d) VALUES (16, '2024-01-01')"], ["DELETE FROM f.t1 WHERE d IS NULL"]],
    },
    'a scalar subquery with ORDER BY, LIMIT and OFFSET': {
        'setup': ["INSERT INTO f.t1 (id, k) VALUES (1, 1), (2, 2)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 10), (2, 1, 20), (3, 1, 30)"],
        'query': 'SELECT a.id, (SELECT b.v FROM f.t3 b WHERE b.k = a.k ORDER BY b.v DESC LIMIT 1 OFFSET 1) AS second, (SELECT b.v FROM f.t3 b ORDER BY b.v, b.id LIMIT 1) AS least FROM f.t1 a',
        'transactions': [["DELETE FROM f.t3 WHERE v = 30"], ["DELETE FROM f.t3 WHERE v = 10"], ["INSERT INTO f.t3 (id, k, v) VALUES (4, 2, 5), (5, 2, 6)"], ["DELETE FROM f.t3"]],
    },
    'INTERSECT ALL and EXCEPT ALL below a projection': {        # how often a row is there counts
        'setup': ["INSERT INTO f.t1 (k, v) VALUES (1, 1), (1, 1), (1, 2), (2, 1)", "INSERT INTO f.t3 (k, v) VALUES (1, 1), (1, 2), (1, 2)"],
        'query': "SELECT q.k, 'i' AS o FROM (SELECT k, v FROM f.t1 INTERSECT ALL SELECT k, v FROM f.t3) q UNION ALL SELECT r.k, 'e' FROM (SELECT k, v FROM f.t1 EXCEPT ALL SELECT k, v FROM f.t3) r",
        'transactions': [["INSERT INTO f.t3 (k, v) VALUES (1, 1), (1, 1), (2, 1)"], ["DELETE FROM f.t1 WHERE v = 2", "INSERT INTO f.t1 (k, v) VALUES (1, 1)"], ["DELETE FROM f.t3 WHERE k = 1"]],
    },
    'the same rows from both branches of UNION ALL': {
        'setup': ["INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)"],
        'query': 'SELECT id, k FROM f.t2 WHERE v > 0 UNION ALL SELECT id, k FROM f.t2 WHERE k > 1',
        'transactions': [["UPDATE f.t2 SET k = 5 WHERE id = 2"], ["UPDATE f.t2 SET v = 0 WHERE id > 1"], ["DELETE FROM f.t2 WHERE id = 3", "UPDATE f.t2 SET v = 1"]],
    },
    'WITH: DISTINCT ON, UNION ALL, and RECURSIVE where nothing is': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1)"],
        'query': 'WITH RECURSIVE l AS (SELECT DISTINCT ON (k) k, v, id FROM f.t1 ORDER BY k, v DESC, id), u AS (SELECT k, v FROM l UNION ALL SELECT k, v FROM f.t3) SELECT u.k, sum(u.v) AS s FROM u GROUP BY u.k',
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (4, 1, 9), (5, 3, 0)", "INSERT INTO f.t3 (k, v) VALUES (1, 100)"], ["DELETE FROM f.t1 WHERE id = 4"], ["DELETE FROM f.t3", "UPDATE f.t1 SET k = 2"]],
    },
    'UNION ALL counts the ways to a row': {                     # as a set it would lose the second way
        'tables': {'way': 'a int, b int'}, 'setup': ["INSERT INTO f.way VALUES (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)"],
        'query': 'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT w.b FROM r JOIN f.way w ON w.a = r.n) SELECT n FROM r',
        'transactions': [["DELETE FROM f.way WHERE a = 2"], ["INSERT INTO f.way VALUES (2, 4), (2, 4)"], ["DELETE FROM f.way WHERE a = 4"], ["INSERT INTO f.way VALUES (4, 5)", "DELETE FROM f.way WHERE a = 3"]],
    },
})

CASES.update({
    'unions of groups, joined in a chain': {
        'setup': ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 5), (2, NULL, 5), (3, 2, 6), (4, 2, 7), (5, 3, 1)",
                  "INSERT INTO f.t2 (id, k, v) VALUES (1, 1, 5), (2, 2, 6), (3, 0, 1)"],
        'query': "WITH y AS (SELECT k::text::varchar(9) AS k, v % 2 AS p, sum(v) AS s, 'a' AS t FROM f.t1 GROUP BY 1, 2 UNION ALL SELECT k::text::varchar(9), v % 2, sum(v), 'b' FROM f.t2 GROUP BY 1, 2) "
                 "SELECT a.k, a.s, b.s AS u, c.s AS w FROM y a JOIN y b ON b.k = a.k AND b.t = 'b' JOIN y c ON c.k = b.k WHERE a.t = 'a' AND c.s >= a.s - 100",
        'transactions': [["INSERT INTO f.t1 (id, k, v) VALUES (6, 1, 9)"], ["DELETE FROM f.t2 WHERE k = 1"], ["UPDATE f.t1 SET k = 2 WHERE id = 2", "INSERT INTO f.t2 (id, k, v) VALUES (4, 3, 3)"],
                         ["UPDATE f.t2 SET k = k + 1"], ["DELETE FROM f.t1"]],
    },
})

SOME = ["INSERT INTO f.t1 (id, k, v) VALUES (1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 3, 2), (6, 3, 5), (7, NULL, NULL)", "INSERT INTO f.t3 (id, k, v) VALUES (1, 1, 2), (2, 3, 1)"]
MOVES = [["UPDATE f.t3 SET k = 2, v = 3 WHERE id = 1"], ["DELETE FROM f.t1 WHERE id = 1", "INSERT INTO f.t1 (id, k, v) VALUES (8, 1, 0), (9, 1, 0), (9, 1, 0)"], ["UPDATE f.t3 SET k = NULL, v = NULL"], ["UPDATE f.t1 SET v = 1 WHERE k = 3"],
         ["DELETE FROM f.t3"], ["INSERT INTO f.t3 (id, k, v) VALUES (1, 0, 0)", "DELETE FROM f.t1 WHERE v = 2"], ["DELETE FROM f.t1"], SOME]
FORMS = {       # the query has one answer
    'WITH TIES beside OFFSET': 'SELECT v, k FROM f.t1 ORDER BY v, k OFFSET 2 FETCH FIRST 2 ROWS WITH TIES',
    'no row WITH TIES beside OFFSET': 'SELECT v, k FROM f.t1 ORDER BY v OFFSET 2 FETCH FIRST 0 ROWS WITH TIES',
    'WITH TIES beside OFFSET that is NULL': 'SELECT v, k FROM f.t1 ORDER BY v OFFSET NULL FETCH FIRST (1 + 1) ROWS WITH TIES',
    'WITH TIES beside DISTINCT ON': 'SELECT DISTINCT ON (k, v) v, k FROM f.t1 ORDER BY k FETCH FIRST 1 ROW WITH TIES',
    'WITH TIES beside OFFSET over a union': 'SELECT v, k FROM f.t1 UNION SELECT v, k FROM f.t3 ORDER BY v, k OFFSET 1 FETCH FIRST 2 ROWS WITH TIES',
    'WITH TIES beside OFFSET over groups': 'WITH q AS (SELECT v, count(*) AS n FROM f.t1 GROUP BY v) SELECT n, v FROM q ORDER BY n, v OFFSET 1 FETCH FIRST 1 ROWS WITH TIES',
    'LIMIT by a subquery': 'SELECT v, k FROM f.t1 ORDER BY v, k LIMIT (SELECT max(k) FROM f.t3)',
    'LIMIT by a subquery over the same': 'WITH q AS (SELECT k, sum(v) AS s FROM f.t1 GROUP BY k) SELECT s, k FROM q ORDER BY s DESC NULLS LAST, k LIMIT (SELECT count(*) FROM q) / 2',
    'OFFSET by a subquery': 'SELECT v, k FROM f.t1 ORDER BY v, k OFFSET (SELECT max(k) FROM f.t3)',
    'LIMIT and OFFSET by subqueries, ties': 'SELECT v FROM f.t1 ORDER BY v OFFSET (SELECT min(v) FROM f.t3) FETCH FIRST (SELECT max(k) FROM f.t3) ROWS WITH TIES',
    'LIMIT by a subquery, DISTINCT': 'SELECT DISTINCT v FROM f.t1 ORDER BY v DESC LIMIT (SELECT max(k) FROM f.t3)',
    'LIMIT by a subquery beside windows': 'SELECT v, count(*) OVER (PARTITION BY k) AS n FROM f.t1 ORDER BY v, k LIMIT (SELECT max(k) FROM f.t3)',
    'LIMIT by a subquery, sets': 'SELECT k, generate_series(1, v) AS g FROM f.t1 ORDER BY k, v, g LIMIT (SELECT max(k) FROM f.t3)',
    'LIMIT by a subquery in a subquery': 'SELECT a.id, (SELECT array_agg(q.v)::text FROM (SELECT v FROM f.t1 b WHERE b.k = a.k ORDER BY v LIMIT (SELECT max(k) FROM f.t3)) q) AS l FROM f.t3 a',
    'a rank compared with a correlated subquery': 'SELECT k, v, rank() OVER (ORDER BY v) + 1 IN (SELECT b.k FROM f.t3 b WHERE b.v > a.v) AS r FROM f.t1 a',
    'a rank over groups compared with a subquery': 'SELECT k, sum(v) AS s FROM f.t1 a GROUP BY k HAVING count(*) > 0 ORDER BY rank() OVER (ORDER BY sum(v), k) = ANY (SELECT b.k FROM f.t3 b), k DESC LIMIT 2',
    'a row number compared with a setting': 'SELECT k, v, CASE WHEN row_number() OVER (ORDER BY k, v) <= (SELECT max(v) FROM f.t3) THEN 1 END AS r FROM f.t1',
    'constants as keys of grouping sets': "SELECT 7::int AS a, k, 'x'::text AS b, count(*) AS n, grouping(7::int, k) AS g FROM f.t1 GROUP BY CUBE (7::int, k, 'x'::text)",
    'a set as a key of grouping sets': 'SELECT k, generate_series(1, v) AS s, count(*) AS n, sum(v) AS t FROM f.t1 GROUP BY GROUPING SETS ((k), (k, generate_series(1, v)), ())',
    'a set beside grouping sets': 'SELECT k, generate_series(1, k) AS s, count(*) AS n, generate_series(1, count(*)) AS t FROM f.t1 GROUP BY ROLLUP (k)',
    'a subquery about nothing as a key of grouping sets': 'SELECT k, (SELECT max(k) FROM f.t3) AS m, count(*) AS n FROM f.t1 GROUP BY ROLLUP (k, (SELECT max(k) FROM f.t3))',
    'a subquery about both sides of a FULL join': 'SELECT l.id, r.v, to_jsonb(l) AS j, r IS NULL AS n FROM f.t1 l FULL JOIN f.t3 r ON l.k = r.k AND EXISTS (SELECT FROM f.t1 c WHERE c.k = l.v AND c.v <= r.v)',
    'a subquery about both sides of a FULL join, below others': 'SELECT b.v, count(a.id) AS n FROM f.t2 d RIGHT JOIN (f.t1 a FULL JOIN (f.t3 b LEFT JOIN LATERAL generate_series(1, b.v) g ON true) ON a.k = b.k AND a.v IN (SELECT c.v FROM f.t1 c WHERE c.id <> g)) ON d.k = a.k GROUP BY b.v',
    'a set as a key of a window': 'SELECT k, generate_series(1, v) AS s, rank() OVER (PARTITION BY generate_series(1, v) ORDER BY k) AS r FROM f.t1',
    'a subquery as a key in a correlated subquery': 'SELECT a.id, (SELECT string_agg(q.n::text, \',\' ORDER BY q.n) FROM (SELECT (SELECT max(c.v) FROM f.t3 c WHERE c.k = b.v) AS m, count(*) AS n FROM f.t1 b WHERE b.k = a.k GROUP BY 1) q) AS l FROM f.t3 a',
    'a window by the order of peers in a correlated subquery': 'SELECT a.id, (SELECT min(q.n) FROM (SELECT last_value(b.v) OVER (ORDER BY b.v) AS n FROM f.t1 b WHERE b.k = a.k) q) AS l FROM f.t3 a',
}
CASES.update({name: {'setup': SOME, 'query': '/* exact */ ' + query, 'transactions': MOVES} for name, query in FORMS.items()})
CASES.update({
    'rows in the order of a key that is NULL in other sets': {         # before version 18 the server itself takes it for a constant, and does not sort
        'setup': SOME, 'transactions': MOVES,
        'query': "SELECT 'x'::text AS a, (SELECT max(k) FROM f.t3) AS m, count(*) AS n, k FROM f.t1 GROUP BY CUBE ('x'::text, k, (SELECT max(k) FROM f.t3)) ORDER BY m NULLS FIRST, a, n, k LIMIT 4",
    },
    'a window by the order of peers in a correlated subquery, floats': {
        'setup': [*SOME, "UPDATE f.t1 SET x = 0.1 * id, s = 'a' || id"], 'transactions': MOVES,
        'query': "SELECT a.id, (SELECT string_agg(q.n || q.l, ',') FROM (SELECT sum(b.x) OVER (ORDER BY b.v)::text AS n, array_agg(b.s) OVER w::text AS l FROM f.t1 b WHERE b.k = a.k WINDOW w AS (PARTITION BY a.v ORDER BY b.v GROUPS 1 PRECEDING)) q) AS l FROM f.t3 a",
    },
})
