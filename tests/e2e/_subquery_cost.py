"""For subquery_cost.sh: one changed row of each source of nested subqueries, and how many rows a refresh looks at for it."""
import json
import sys

import psycopg2

N = 4000
LIMIT = N // 4          # of rows read and of rows in steps, together; what looks at a whole table is at N at least

SHAPES = {
    'EXISTS in EXISTS': "a WHERE EXISTS (SELECT FROM b WHERE b.x = a.x AND EXISTS (SELECT FROM c WHERE c.y = b.y AND c.v > 3))",
    'EXISTS in EXISTS, about both': "a WHERE EXISTS (SELECT FROM b WHERE b.x = a.x AND EXISTS (SELECT FROM c WHERE c.y = b.y AND c.v > a.v))",
    'division': "a WHERE NOT EXISTS (SELECT FROM b WHERE b.x = a.x AND NOT EXISTS (SELECT FROM c WHERE c.y = b.y AND c.z = a.z))",
    'EXISTS below OR': "a WHERE EXISTS (SELECT FROM b WHERE b.x = a.x AND (b.v = a.v OR EXISTS (SELECT FROM c WHERE c.y = b.y AND c.v > 3)))",
    'value in EXISTS': "a WHERE EXISTS (SELECT FROM b WHERE b.x = a.x AND a.v < (SELECT max(c.v) FROM c WHERE c.y = b.y))",
    'IN in IN': "a WHERE a.x IN (SELECT x FROM b WHERE b.y IN (SELECT y FROM c WHERE c.v > a.v))",
    'IN below OR': "a WHERE a.v = 3 OR a.x IN (SELECT x FROM b WHERE b.v > 3)",
    'NOT IN': "a WHERE a.x NOT IN (SELECT x FROM b WHERE b.v > 3)",
    'IN in NOT IN': "a WHERE a.x NOT IN (SELECT x FROM b WHERE b.y IN (SELECT y FROM c WHERE c.v > 6))",
    'ALL in ALL': "a WHERE a.v <= ALL (SELECT b.v FROM b WHERE b.x = a.x AND a.v > ALL (SELECT v FROM c WHERE c.y = b.y))",
    'EXISTS inwards': "a WHERE EXISTS (SELECT FROM c WHERE c.v > 3 AND EXISTS (SELECT FROM b WHERE b.y = c.y AND b.x = a.x))",
    'IN inwards': ("(SELECT count(*) FROM c WHERE c.y IN (SELECT b.y FROM b WHERE b.x = a.x))", "a"),
    'sum of counts': ("(SELECT sum((SELECT count(*) FROM c WHERE c.y = b.y AND c.v > a.v)) FROM b WHERE b.x = a.x)", "a"),
    'count over a join': ("(SELECT count(*) FROM b JOIN c USING (y) WHERE b.x = a.x)", "a"),
    'count over an outer join about both': ("(SELECT count(c.id) FROM b LEFT JOIN c ON c.y = b.y AND c.v > a.v WHERE b.x = a.x)", "a"),
    'FILTER': ("(SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM c WHERE c.y = b.y AND c.v > a.v)) FROM b WHERE b.x = a.x)", "a"),
    'CASE': ("CASE WHEN EXISTS (SELECT FROM b WHERE b.x = a.x AND EXISTS (SELECT FROM c WHERE c.y = b.y AND c.v > a.v)) THEN 1 ELSE 2 END", "a"),
    'LATERAL in LATERAL': ("q.w", "a, LATERAL (SELECT r.w FROM b, LATERAL (SELECT max(c.v) AS w FROM c WHERE c.y = b.y AND c.v > a.v) r WHERE b.x = a.x) q"),
    'first row in LEFT JOIN LATERAL': ("q.w", "a LEFT JOIN LATERAL (SELECT r.w FROM b LEFT JOIN LATERAL (SELECT c.v AS w FROM c WHERE c.y = b.y AND c.v > a.v ORDER BY c.v, c.id LIMIT 1) r ON true "
                                              "WHERE b.x = a.x) q ON true"),
    'groups beside a table': "a WHERE EXISTS (SELECT FROM b JOIN (SELECT y, count(*) AS n FROM c GROUP BY y) q USING (y) WHERE b.x = a.x AND q.n > 3)",
    'ON of LEFT JOIN': ("b.id", "a LEFT JOIN b ON b.x = a.x AND EXISTS (SELECT FROM c WHERE c.y = b.y AND c.z = a.z)"),
    'three levels': "a WHERE EXISTS (SELECT FROM b WHERE b.x = a.x AND EXISTS (SELECT FROM c WHERE c.y = b.y AND NOT EXISTS (SELECT FROM d WHERE d.c = c.id AND d.v > a.v)))",
    'EXISTS over a join': ("(SELECT count(*) FROM b JOIN c USING (y) WHERE b.x = a.x AND EXISTS (SELECT FROM d WHERE d.c = c.id AND d.v > a.v))", "a"),
    'HAVING': "SELECT a.x, count(*) AS n FROM a GROUP BY a.x HAVING EXISTS (SELECT FROM b WHERE b.x = a.x AND EXISTS (SELECT FROM c WHERE c.y = b.y AND c.v > count(a.id)))",
}

# what PostgreSQL takes long to compute by itself, in a form that it does not
ORACLES = {'IN in IN': 'EXISTS in EXISTS, about both'}

CHANGES = {
    'a': "UPDATE a SET x = x + 1, v = 7 - v WHERE id = %s",
    'b': "UPDATE b SET x = x + 1, v = 7 - v WHERE id = %s",
    'c': "UPDATE c SET y = y + 1, v = 7 - v WHERE id = %s",
    'd': "UPDATE d SET c = c + 1, v = 7 - v WHERE id = %s",
    'b and c': "WITH c AS (UPDATE c SET y = y + 1, v = 7 - v WHERE id = %s RETURNING y) UPDATE b SET x = x + 1 WHERE y IN (SELECT y FROM c)",
}


def query(shape):
    if isinstance(shape, tuple):
        return f'SELECT a.id, {shape[0]} AS value FROM {shape[1]}'
    return shape if shape.startswith('SELECT') else f'SELECT a.id FROM {shape}'


def check(good, what):
    print(('ok - ' if good else 'not ok - ') + what, flush=True)


def main():
    conn = psycopg2.connect('')
    conn.autocommit = True
    cur = conn.cursor()

    def run(sql, *args):
        cur.execute(sql, args or None)
        return cur.fetchall() if cur.description else []

    run("SET client_min_messages = error")
    run("CREATE TABLE a (id int PRIMARY KEY, x int, z int, v int); CREATE TABLE b (id int PRIMARY KEY, x int, y int, v int); "
        "CREATE TABLE c (id int PRIMARY KEY, y int, z int, v int); CREATE TABLE d (id int PRIMARY KEY, c int, v int)")
    for t, cols in (('a', 'i / 4, i / 4 + 3, i % 8'), ('b', 'i / 4, (i + 2) / 4, i % 7'), ('c', '(i + 1) / 4, i / 4, i % 8'), ('d', 'i / 2, i % 5')):
        run(f"INSERT INTO {t} SELECT i, {cols} FROM generate_series(1, {N}) i")
    run("INSERT INTO a VALUES (0, -1, NULL, NULL); INSERT INTO c VALUES (0, NULL, NULL, NULL)")
    run("CREATE INDEX ON a (x); CREATE INDEX ON a (z); CREATE INDEX ON b (x); CREATE INDEX ON b (y); CREATE INDEX ON c (y); CREATE INDEX ON c (z); CREATE INDEX ON d (c)")
    run("VACUUM (ANALYZE) a, b, c, d")
    for i, shape in enumerate(SHAPES.values()):
        run("SELECT pgtrickle.create_stream_table(%s, %s, schedule => '1d', refresh_mode => 'DIFFERENTIAL')", f'st{i}', query(shape))
    run("ANALYZE")
    most = {name: {} for name in SHAPES}
    for k, change in enumerate(CHANGES):
        run(CHANGES[change], N // 2 + k * 40)
        for i, (name, shape) in enumerate(SHAPES.items()):
            if (change == 'd') > (' d ' in query(shape)):
                continue
            j = json.loads(run("SELECT pgtrickle.explain_delta(%s, 'json', true)", f'st{i}')[0][0])
            most[name][change] = j['rows_read'] + sum(step['rows'] for step in j['steps'])
            if j['action'] not in ('DIFFERENTIAL', 'NO_DATA'):
                most[name][change] = j['action']
            run("SELECT pgtrickle.refresh_stream_table(%s)", f'st{i}')
    for i, name in enumerate(SHAPES):
        wrong = {k: v for k, v in most[name].items() if not isinstance(v, (int, float)) or v > LIMIT}
        check(not wrong, f'{name}: rows looked at for a change of {most[name]}')
        if name in ORACLES:
            oracle = query(SHAPES[ORACLES[name]])
            difference = run(f"SELECT (SELECT count(*) FROM ({oracle} EXCEPT ALL SELECT id FROM st{i}) m), (SELECT count(*) FROM (SELECT id FROM st{i} EXCEPT ALL {oracle}) e)")[0]
        else:
            difference = run("SELECT missing, extra FROM pgtrickle.verify_stream_table(%s)", f'st{i}')[0]
        check(difference == (0, 0), f'{name} equals its query: {difference}')


if __name__ == '__main__':
    sys.exit(main())
