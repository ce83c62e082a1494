"""Queries with windows, LIMIT, DISTINCT ON, GROUPING SETS, INTERSECT and EXCEPT, for grammar.py."""

from grammar_nested import nested  # noqa: F401, a kind like those below

FUNCTIONS = [('row_number()', 'int'), ('rank()', 'int'), ('dense_rank()', 'int'), ('percent_rank()', 'flt'), ('cume_dist()', 'flt'),
             ('ntile(3)', 'int'), ('lag({int})', 'int'), ('lag({text}, 2)', 'text'), ('lead({int}, 1, -1)', 'int'),
             ('first_value({int})', 'int'), ('first_value({text})', 'text'), ('last_value({num})', 'num'), ('nth_value({int}, 2)', 'int'),
             ('sum({int})', 'int'), ('sum({int})', 'int'), ('count(*)', 'int'), ('count({text})', 'int'), ('max({int})', 'int'), ('min({text})', 'text'),
             ('avg({num2})', 'num'), ('sum({num2})', 'num'), ('sum({flt})', 'flt'), ("string_agg({text}, ',')", 'text'), ('array_agg({int})::text', 'text')]


def fill(g, text, cols):
    for t in ('int', 'num2', 'num', 'text', 'flt', 'bool', 'date'):
        while '{' + t + '}' in text:
            text = text.replace('{' + t + '}', g.scalar(cols, t, 1), 1)
    return text


def any_scalar(g, cols):
    return '(' + g.scalar(cols, g.rnd.choice(['int', 'int', 'int', 'text', 'num', 'bool', 'date', 'flt']), 1) + ')'


def order(g, cols, least=0):
    r = g.rnd
    keys = [any_scalar(g, cols) + r.choice(['', '', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST']) for _ in range(r.choice([least, 1, 1, 2]))]
    return ' ORDER BY ' + ', '.join(keys) if keys else ''


def frame(g, ordered):
    r = g.rnd
    mode = r.choice(['ROWS', 'ROWS', 'RANGE'] + (['GROUPS'] if ordered else []))
    starts = ['UNBOUNDED PRECEDING', 'CURRENT ROW']
    if mode != 'RANGE':
        starts += ['1 PRECEDING', '2 PRECEDING']
    ends = ['CURRENT ROW', 'UNBOUNDED FOLLOWING'] + (['1 FOLLOWING'] if mode != 'RANGE' else [])
    exclude = r.choice(['', '', '', '', ' EXCLUDE CURRENT ROW', ' EXCLUDE TIES', ' EXCLUDE GROUP'])
    return f' {mode} BETWEEN {r.choice(starts)} AND {r.choice(ends)}{exclude}'


def window(g, cols):
    r = g.rnd
    text, ty = r.choice(FUNCTIONS)
    call = fill(g, text.split('::')[0], cols)
    if text.startswith(('sum', 'count', 'max', 'min', 'avg')) and r.random() < 0.2:
        call += f' FILTER (WHERE {g.condition(cols, 0)})'
    part = [any_scalar(g, cols) for _ in range(r.choice([0, 1, 1, 1, 2]))]
    by = order(g, cols)
    spec = ('PARTITION BY ' + ', '.join(part) if part else '') + by + (frame(g, by != '') if r.random() < 0.3 else '')
    out = f'{call} OVER ({spec})' + ('::text' if '::' in text else '')
    if ty == 'int' and r.random() < 0.2:
        out = r.choice(['({} + 1)', 'coalesce({}, 0)', '(2 * {})']).format(out)
    if r.random() < 0.2:
        return in_case(g, cols, out, ty)
    return out, ty


def in_case(g, cols, value, ty):
    """A window function anywhere in CASE: operand, condition, value to compare with, result."""
    r = g.rnd
    other, result = any_scalar(g, cols), g.scalar(cols, 'int', 1)
    forms = [f'CASE WHEN {value} IS NULL THEN {result} WHEN {g.condition(cols, 1)} THEN 2 END',
             f'CASE {other} WHEN {other} THEN {result} ELSE ({value} IS NULL)::int END']
    if ty == 'int':
        forms += [f'CASE {value} WHEN {result} THEN 1 WHEN 2 THEN {result} END', f'CASE {result} WHEN 1 THEN {value} WHEN {value} THEN 3 ELSE CASE {result} WHEN 2 THEN 4 END END',
                  f'nullif({value}, {result})', f'({value} = ANY (ARRAY[1, {result}]))::int']
    return '(' + r.choice(forms) + ')', 'int'


def source(g, depth):
    r = g.rnd
    text, cols = g.from_item(depth, r.choice([0, 0, 0, 1]))
    where = f' WHERE {g.condition(cols, 1)}' if r.random() < 0.4 else ''
    if g.around and r.random() < 0.5:
        where = g.correlation(g.around, cols) or where
    return f'{text}{where}', cols


def windows(g, depth):
    r = g.rnd
    text, cols = source(g, depth)
    exprs = g.plain(cols) + [window(g, cols) for _ in range(r.randint(1, 3))]
    if g.sets and r.random() < g.sets:
        exprs.append(g.set_of(cols))
    out, names = g.output(exprs)
    if g.sets and r.random() < g.sets:
        s, ty = g.set_of(cols)
        out, names = g.output(exprs + [(s, ty), (f"rank() OVER ({r.choice(['PARTITION', 'ORDER'])} BY {s})", 'int')])
    distinct = 'DISTINCT ' if r.random() < 0.1 else ''
    return f'SELECT {distinct}{out} FROM {text}', names


def compared_windows(g, depth):
    """Windows compared with subqueries, above groups too."""
    r = g.rnd
    text, cols = source(g, depth)
    group = ''
    if r.random() < 0.3:
        keys = [(f'({k})', 'num' if ty == 'num2' else ty) for k, ty in g.plain(cols)[:2]]
        group = ' GROUP BY ' + ', '.join(k for k, _ in keys)
        here = keys + [g.aggregate(cols, False)]
        exprs = here[:r.randint(1, len(here))]
        value = window_of(g, [(e, ty) for e, ty in here if ty == 'int'] or [('1', 'int')])[0]
        near = [k for k, ty in keys if ty == 'int']
    else:
        exprs = g.plain(cols)
        value = r.choice(['row_number()', 'rank()', 'count(*)', 'dense_rank()']) + f" OVER ({r.choice(['', 'PARTITION BY ' + any_scalar(g, cols)])}{order(g, cols)})"
        near = [g.pick(cols, 'int')]
    below = r.choice(['f.t0', 'f.t2', 'f.t4'])
    where = r.choice(['', f' WHERE z.v > {r.randrange(3)}']) if not near or not near[0] or r.random() < 0.5 else f" WHERE z.k {r.choice(['=', '=', '<'])} {near[0]}"
    test = r.choice(['{} IN (SELECT z.id{})', '{} NOT IN (SELECT z.v{})', '({} + 1) = ANY (SELECT z.k{})', '{} > ALL (SELECT z.k{})', '{} <= (SELECT count(*){})',
                     '({}, 1) IN (SELECT z.id, z.k{})']).format(value, f' FROM {below} z{where}')
    exprs.append(r.choice([(f'({test})', 'bool'), (f'CASE WHEN {test} THEN 1 END', 'int'), (f"CASE WHEN {test} THEN 'y' ELSE 'n' END", 'text')]))
    out, names = g.output(exprs)
    tail = f' ORDER BY {len(exprs)}, 1 LIMIT {r.randint(1, 4)}' if r.random() < 0.15 else ''
    return f"SELECT {'DISTINCT ' if r.random() < 0.1 else ''}{out} FROM {text}{group}{tail}", names


def grouped_windows(g, depth):
    """Windows above GROUP BY see keys and aggregates."""
    r = g.rnd
    text, cols = source(g, depth)
    keys = g.plain(cols)[:r.randint(1, 2)]
    inner = [(f'({k})', ty) for k, ty in keys] + [g.aggregate(cols, False) for _ in range(2)]
    inner = [(e, 'num' if ty == 'num2' else ty) for e, ty in inner]
    exprs = inner[:r.randint(1, len(inner))] + [window_of(g, inner) for _ in range(r.randint(1, 2))]
    out, names = g.output(exprs)
    return f'SELECT {out} FROM {text} GROUP BY ' + ', '.join(f'({k})' for k, _ in keys), names


def window_of(g, inner):
    """A window over given expressions, taken as they are."""
    r = g.rnd
    e, ty = r.choice(inner)
    call = r.choice(['row_number()', 'rank()', f'lag({e})', f'max({e})' if ty not in ('bool',) else 'count(*)', f'first_value({e})'])
    ty = 'int' if call in ('row_number()', 'rank()', 'count(*)') else ty
    spec = (f'PARTITION BY {r.choice(inner)[0]} ' if r.random() < 0.5 else '') + (f'ORDER BY {r.choice(inner)[0]}' if r.random() < 0.7 else '')
    return f'{call} OVER ({spec})', ty


def odd_key(g, cols):
    """A key that is a constant, a subquery or a set."""
    r = g.rnd
    near = g.pick(cols, 'int')
    where = f' WHERE z.k = {near}' if near and r.random() < 0.7 else ''
    return r.choice([('(7::int)', 'int'), ("('a' || 'b')", 'text'), ("(DATE '2024-01-03')", 'date'), (f'(SELECT max(z.v) FROM f.t2 z{where})', 'int'),
                     (f'((SELECT count(*) FROM f.t4 z{where})::int + 1)', 'int'), (f'(generate_series(1, {near or 1} % 3))', 'int'), (f'(unnest(ARRAY[{near or 1}, 2]))', 'int')])


def grouping_sets(g, depth):
    r = g.rnd
    text, cols = source(g, depth)
    keys = [('(' + e + ')', 'num' if ty == 'num2' else ty) for e, ty in (g.plain(cols) + g.plain(cols))[:r.randint(1, 3)]]
    if r.random() < 0.3:
        keys.insert(r.randrange(len(keys) + 1), odd_key(g, cols))
    names = ', '.join(k for k, _ in keys)
    some = ', '.join(k for k, _ in keys[:1])
    group = r.choice([f'ROLLUP ({names})', f'CUBE ({names})', f'GROUPING SETS (({names}), ())', f'GROUPING SETS (({some}), ({names}), ({names}))',
                      f'{some}, ROLLUP ({names})', f'GROUPING SETS (({some}), (), ())'])
    if 'ROLLUP' not in group and 'CUBE' not in group and names not in group:
        keys = keys[:1]
    aggs = [g.aggregate(cols, r.random() < 0.2) for _ in range(r.randint(0, 2))]
    shown = keys + aggs
    if r.random() < 0.4:
        shown = shown + [(f'grouping({keys[0][0]})', 'int')]
    if r.random() < 0.2:
        shown = shown + [window_of(g, shown)]
    ints = [k for k, ty in keys if ty == 'int']
    sub = f"(SELECT count(*) FROM f.t3 z WHERE z.k {r.choice(['=', '<', 'IS DISTINCT FROM'])} {r.choice(ints)})::int" if g.subs and ints and r.random() < 0.3 else None
    if sub:
        shown = shown + [(sub, 'int')]
    out, outs = g.output(shown)
    having = f" HAVING {r.choice(['count(*) > 1', 'grouping(' + keys[0][0] + ') = 0', keys[0][0] + ' IS NOT NULL'])}" if r.random() < 0.2 else ''
    if sub and r.random() < 0.3:
        having = f' HAVING {sub} > 1'
    return f'SELECT {out} FROM {text} GROUP BY {group}{having}', outs


def a_number(g):
    """Of rows: a subquery that yields NULL or what is not negative."""
    r = g.rnd
    return r.choice(['(SELECT count(*) / 3 FROM f.t3)', '(SELECT min(abs(k)) FROM f.t1)', '(SELECT count(*) FROM f.t4 WHERE v > 2)', '((SELECT abs(max(v)) FROM f.t2) + 1)', '(SELECT NULL::int FROM f.t0 LIMIT 1)'])


def total(g, depth):
    """Forms with one answer: what the canonical query says is compared with the query itself."""
    r = g.rnd
    t = r.choice(['f.t0', 'f.t1', 'f.t3'])
    n, m = r.choice([('1', '2'), ('3', '1'), ('1 + 1', '0'), (a_number(g), '1'), ('2', a_number(g)), (a_number(g), a_number(g))])
    names = [('c0', 'int'), ('c1', 'int')]
    tail = r.choice([f'OFFSET {m} LIMIT ({n})', f'OFFSET {m} FETCH FIRST ({n}) ROWS WITH TIES', f'FETCH FIRST ({n}) ROWS WITH TIES'])
    key = r.choice(['7::int', "'x'::text", '(SELECT max(z.v) FROM f.t2 z WHERE z.k = q.k)', '(SELECT min(z.v) FROM f.t2 z)', 'generate_series(1, q.v % 3)'])
    return '/* exact */ ' + r.choice([
        f"SELECT k AS c0, v AS c1 FROM {t} q ORDER BY {r.choice(['k, v', 'v DESC, k', '2 NULLS FIRST, 1'])} {tail}",
        f'SELECT DISTINCT k AS c0, v AS c1 FROM {t} q ORDER BY k, v {tail}',
        f'SELECT DISTINCT ON (k, v) k AS c0, v AS c1 FROM {t} q ORDER BY k, v DESC {tail}',
        f'SELECT DISTINCT ON (k, v) k AS c0, v AS c1 FROM {t} q ORDER BY v FETCH FIRST ({n}) ROWS WITH TIES',
        f'SELECT k AS c0, count(*)::int AS c1 FROM {t} q GROUP BY k ORDER BY k {tail}',
        f'SELECT k AS c0, v AS c1 FROM {t} q UNION ALL SELECT k, v FROM f.t2 ORDER BY 1, 2 {tail}',
        f'SELECT q.k AS c0, (rank() OVER (ORDER BY q.v) IN (SELECT z.id FROM f.t2 z WHERE z.k = q.k))::int AS c1 FROM {t} q',
        f'SELECT q.k AS c0, (rank() OVER (ORDER BY count(*)) > ANY (SELECT z.id FROM f.t2 z WHERE z.k = q.k))::int AS c1 FROM {t} q GROUP BY q.k',
        f'SELECT q.k AS c0, count(*)::int AS c1, {key} AS c2, grouping({key}, q.k) AS c3 FROM {t} q GROUP BY {r.choice(["ROLLUP", "CUBE"])} ({key}, q.k)',
        f'SELECT {key} AS c0, count(*)::int AS c1 FROM {t} q GROUP BY GROUPING SETS (({key}), (), (q.v))',
        f'SELECT q.k AS c0, p.v AS c1, (p.* IS NULL)::int AS c2, (q IS NULL)::int AS c3 FROM {t} q FULL JOIN f.t2 p ON q.k = p.k AND EXISTS (SELECT FROM f.t4 z WHERE z.k = q.v AND z.v >= p.v)',
        f'SELECT q.k AS c0, generate_series(1, q.v % 3) AS c1, rank() OVER (PARTITION BY generate_series(1, q.v % 3) ORDER BY q.k) AS c2 FROM {t} q',
    ]), names


def limit(g, depth):
    r = g.rnd
    if r.random() < 0.6:
        text, cols = source(g, depth)
        out, names = g.output(g.plain(cols))
        by = order(g, cols)
        sql = f'SELECT {out} FROM {text}'
    else:
        sql, names = g.select(max(depth - 1, 0))
        a = g.fresh()
        sql = f'SELECT * FROM ({sql}) {a}'
        by = ' ORDER BY ' + ', '.join(str(i + 1) for i in range(r.randint(1, len(names))))
    n = r.choice([0, 1, 2, 2, 3, 5, 200])
    offset = f' OFFSET {r.randint(0, 3)}' if r.random() < 0.3 else ''
    if r.random() < 0.25:
        n = a_number(g)
        offset = f' OFFSET {a_number(g)}' if offset and r.random() < 0.5 else offset
    if by and r.random() < 0.3:
        return f'{sql}{by}{offset} FETCH FIRST {n} ROWS WITH TIES', names
    return sql + by + offset + (f' LIMIT {n}' if not offset or r.random() < 0.8 else ''), names


def top(g, depth):
    """Few of many rows, in an order that no index has: margins (margin.c) run out and overflow."""
    r = g.rnd
    text, cols = g.from_item(0, r.choice([0, 0, 1]))
    if r.random() < 0.4:
        text += f' WHERE {g.condition(cols, 0)}'
    out, names = g.output(g.plain(cols))
    key = g.pick(cols, 'int', 'num2') or '1'
    by = r.choice(['({} + 0)', '({} % 3)', '(-{})', 'coalesce({}, 2)']).format(key) + r.choice(['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'])
    n = r.choice([1, 1, 2, 3])
    return f'SELECT {out} FROM {text} ORDER BY {by}' + r.choice([f' LIMIT {n}', f' LIMIT {n}', f' LIMIT {n} OFFSET 1', f' FETCH FIRST {n} ROWS WITH TIES']), names


def distinct_on(g, depth):
    r = g.rnd
    text, cols = source(g, depth)
    out, names = g.output(g.plain(cols))
    key = any_scalar(g, cols)
    by = ''
    if r.random() < 0.7:
        by = f' ORDER BY {key}' + order(g, cols).replace(' ORDER BY ', ', ')
    key += r.choice(['', '', ', ' + any_scalar(g, cols)])
    tail = '' if r.random() < 0.75 else r.choice([' LIMIT 3', f' LIMIT {a_number(g)}', ' OFFSET 1 FETCH FIRST 2 ROWS WITH TIES', ' FETCH FIRST 2 ROWS WITH TIES'])
    return f'SELECT DISTINCT ON ({key}) {out} FROM {text}{by}' + (tail if by or 'TIES' not in tail else ''), names


def setop(g, depth):
    r = g.rnd
    types = [r.choice(['int', 'text', 'num']) for _ in range(r.randint(1, 2))]
    legs = []
    for _ in range(r.randint(2, 4)):
        text, cols = source(g, depth - 1 if depth > 0 and r.random() < 0.4 else 0)
        out, names = g.output([(g.scalar(cols, ty, 0) + g.cast(ty), ty) for ty in types])
        legs.append(f'SELECT {out} FROM {text}')
    sql = legs[0]
    for leg in legs[1:]:
        op = r.choice(['INTERSECT', 'EXCEPT', 'INTERSECT ALL', 'EXCEPT ALL', 'EXCEPT ALL', 'UNION', 'UNION ALL'])
        sql = r.choice(['({}) {} {}', '{} {} {}']).format(sql, op, leg) if r.random() < 0.8 else f'{leg} {op} ({sql})'
    return sql, names


KINDS = [windows, windows, windows, grouped_windows, compared_windows, grouping_sets, limit, top, distinct_on, setop, total]


def select(g, depth):
    return g.rnd.choice(KINDS)(g, max(depth - 1, 0))
