"""Subqueries in subqueries, two and three levels deep, each tied to those around it by equalities: for grammar.py."""


def tie(g, near, far):
    """A condition between columns of two levels."""
    r = g.rnd
    ty = r.choice(['int', 'int', 'int', 'int', 'text', 'num'])
    a, b = g.pick(near, ty), g.pick(far, ty)
    if not a or not b:
        return 'true'
    if r.random() < 0.2:
        return f"{a} {r.choice(['<', '>=', '<>', 'IS NOT DISTINCT FROM'])} {b}"
    if ty == 'int' and r.random() < 0.2:
        b = r.choice(['coalesce({}, 1)', '({} + 1)', '({} % 3)', 'abs({})']).format(b)
    return r.choice([f'{a} = {b}', f'{b} = {a}'])


def item(g, stack, depth):
    """FROM: a table, or a join, whose condition or LATERAL side may refer to what is around."""
    r = g.rnd
    kind = r.random()
    text, cols = g.from_item(1 if r.random() < 0.1 else 0, 0)
    if kind < 0.6:
        return text, cols
    if kind < 0.75:
        t2, more = g.from_item(0, 0)
        extra = f' AND {tie(g, more, r.choice(stack))}' if r.random() < 0.3 else ''
        return f"{text} {r.choice(['JOIN', 'LEFT JOIN', 'LEFT JOIN', 'RIGHT JOIN'])} {t2} ON {tie(g, more, cols)}{extra}", cols + more
    if kind < 0.85:
        t2, more = g.from_item(0, 0)
        on = predicate(g, stack + [cols + more], depth - 1) if depth > 0 else tie(g, more, r.choice(stack))
        return f"{text} {r.choice(['JOIN', 'LEFT JOIN'])} {t2} ON {tie(g, more, cols)} AND {on}", cols + more
    rows, inner = body(g, stack + [cols], depth - 1)
    a = g.fresh()
    i = g.pick(inner, 'int') or '1'
    what = r.choice([f'{i} AS y', f'max({i}) AS y', 'count(*)::int AS y', f'DISTINCT {i} AS y'])
    last = f' ORDER BY {i} LIMIT 1' if what == f'{i} AS y' and r.random() < 0.5 else ''
    return f"{text} {r.choice(['CROSS JOIN LATERAL {}', 'LEFT JOIN LATERAL {} ON true'])}".format(f'(SELECT {what}{rows}{last}) {a}'), cols + [(f'{a}.y', 'int')]


def body(g, stack, depth):
    """FROM and WHERE of a subquery, and its columns; stack: those of the levels around it, outermost first."""
    r = g.rnd
    text, cols = item(g, stack, depth)
    parts = []
    if r.random() < 0.85:
        parts.append(tie(g, cols, stack[-1]))
    if r.random() < 0.35:
        parts.append(tie(g, cols, r.choice(stack)))
    if r.random() < 0.25:
        parts.append(g.condition(cols, 0))
    if depth > 0 and r.random() < 0.85:
        below = predicate(g, stack + [cols], depth - 1)
        parts.append(f'({below} {r.choice(["OR", "OR NOT", "AND"])} {tie(g, cols, r.choice(stack))})' if r.random() < 0.25 else below)
    r.shuffle(parts)
    return f' FROM {text}' + (' WHERE ' + ' AND '.join(parts) if parts else ''), cols


def predicate(g, stack, depth):
    r = g.rnd
    rows, inner = body(g, stack, depth)
    no = r.choice(['', '', 'NOT '])
    kind = r.random()
    outside = r.choice([stack[-1], stack[-1], stack[0]])
    a, b = g.pick(outside, 'int'), g.pick(inner, 'int')
    if kind < 0.45 or not a or not b:
        last = r.choice([f" GROUP BY {b} HAVING count(*) > 1", ' LIMIT 1', f' UNION ALL SELECT 1{body(g, stack, 0)[0]}']) if b and r.random() < 0.15 else ''
        return f'{no}EXISTS (SELECT 1{rows}{last})'
    if kind < 0.75:
        return f'{a} {no}IN (SELECT {b}{rows})'
    if kind < 0.88:
        return f"{a} {r.choice(['<', '=', '<>', '>='])} {r.choice(['ANY', 'ALL'])} (SELECT {b}{rows})"
    return f"{a} {r.choice(['<', '>=', '='])} (SELECT {r.choice(['max', 'min', 'count'])}({b}){rows})"


def value(g, stack, depth):
    r = g.rnd
    rows, inner = body(g, stack, depth)
    b = g.pick(inner, 'int') or '1'
    if depth > 0 and r.random() < 0.5:
        b = value(g, stack + [inner], depth - 1)
    kind = r.random()
    if kind < 0.5:
        return f"(SELECT {r.choice(['max({})', 'sum({})', 'count({})', 'count(DISTINCT {})']).format(b)}{rows})::int"
    if kind < 0.6:
        return f"(SELECT count(*) FILTER (WHERE {predicate(g, stack + [inner], max(depth - 1, 0))}){rows})::int"
    if kind < 0.7:
        return f"(SELECT max(n) FROM (SELECT count(*) AS n{rows} GROUP BY {g.pick(inner, 'int', 'text') or '1'}) {g.fresh()})::int"
    if kind < 0.8:
        return f"(SELECT length(string_agg(x::text, ',' ORDER BY x)) FROM (SELECT {b} AS x{rows}) {g.fresh()})"
    return f"(SELECT {b}{rows} ORDER BY 1 {r.choice(['', 'DESC'])} LIMIT 1)"


def nested(g, depth):
    """A query over one or two tables with nested subqueries somewhere; text and columns."""
    r = g.rnd
    text, cols = g.from_item(0, r.choice([0, 0, 0, 1]))
    depth = r.choice([1, 1, 1, 2])
    kind = r.random()
    ids = [(g.scalar(cols, ty, 0) + g.cast(ty), ty) for ty in ('int', 'text')]
    if kind < 0.45:
        out, names = g.output(ids)
        return f'SELECT {out} FROM {text} WHERE {predicate(g, [cols], depth)}' + (f' OR {predicate(g, [cols], 0)}' if r.random() < 0.15 else ''), names
    if kind < 0.75:
        out, names = g.output(ids + [(value(g, [cols], depth), 'text')])
        return f'SELECT {out} FROM {text}', names
    if kind < 0.85:
        out, names = g.output(ids + [(f'CASE WHEN {predicate(g, [cols], depth)} THEN 1 ELSE 2 END', 'int')])
        return f'SELECT {out} FROM {text}', names
    if kind < 0.93:
        a = g.fresh()
        rows, inner = body(g, [cols], depth)
        out, names = g.output(ids + [(f'{a}.y', 'int')])
        i = g.pick(inner, 'int') or '1'
        return f"SELECT {out} FROM {text} {r.choice(['CROSS JOIN LATERAL ({}) {}', 'LEFT JOIN LATERAL ({}) {} ON true'])}".format(f'SELECT {i} AS y{rows}', a), names
    key = g.pick(cols, 'int') or '1'
    out, names = g.output([(key, 'int'), ('count(*)', 'int')])
    return f'SELECT {out} FROM {text} GROUP BY {key} HAVING {predicate(g, [[(key, "int")]], depth)}', names
