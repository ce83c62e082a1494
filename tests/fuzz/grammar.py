"""Random tables, transactions and view queries for compiler_fuzz.py."""

import grammar_parts

TABLES = ['t0', 't1', 't2', 't3', 't4']
COLUMNS = [('id', 'int'), ('k', 'int'), ('v', 'int'), ('n', 'num'), ('s', 'text'), ('x', 'flt'), ('b', 'bool'), ('p', 'num2'), ('d', 'date')]
ROWS_AS = {'int': ['({0} IS NULL)::int', '({0} IS DISTINCT FROM NULL)::int', "(to_jsonb({0})->>'k')::int"], 'text': ['to_jsonb({0})::text', '{0}::text', 'row_to_json({0})::text']}
SQL_TYPE = {'int': 'int', 'num': 'numeric', 'num2': 'numeric(8,2)', 'text': 'text', 'flt': 'float8', 'bool': 'bool', 'date': 'date'}


def logged_table(t, columns):
    """A table whose changes go to f.log_<table>, as signed rows."""
    yield f'CREATE TABLE f.{t} ({columns})'
    yield f'CREATE TABLE f.log_{t} AS SELECT 0 AS w, * FROM f.{t} LIMIT 0'
    yield f"""CREATE FUNCTION f.log_{t}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP IN ('UPDATE', 'DELETE') THEN INSERT INTO f.log_{t} SELECT -1, o.* FROM o; END IF;
        IF TG_OP IN ('UPDATE', 'INSERT') THEN INSERT INTO f.log_{t} SELECT 1, n.* FROM n; END IF;
        RETURN NULL; END $$"""
    yield f'CREATE TRIGGER i AFTER INSERT ON f.{t} REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION f.log_{t}()'
    yield f'CREATE TRIGGER d AFTER DELETE ON f.{t} REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION f.log_{t}()'
    yield (f'CREATE TRIGGER u AFTER UPDATE ON f.{t} REFERENCING OLD TABLE AS o NEW TABLE AS n '
           f'FOR EACH STATEMENT EXECUTE FUNCTION f.log_{t}()')


def schema_sql():
    yield 'CREATE SCHEMA f'
    for i, t in enumerate(TABLES):
        # identity differs from table to table: keys, NOT NULL, indexes, a dropped column
        cols = ', '.join(f'{c} {SQL_TYPE[ty]}{" NOT NULL" if i % 2 == 0 and c in ("id", "k") else ""}' for c, ty in COLUMNS)
        yield from logged_table(t, 'gone int, ' + cols)
        yield f'ALTER TABLE f.{t} DROP gone'
        yield f'ALTER TABLE f.log_{t} DROP gone'
        if i in (0, 1):
            yield f'CREATE INDEX ON f.{t} (k)'
        if i == 2:                               # where the next extremum of a group is found
            for c in ('v', 'n', 's', 'x', 'd'):
                yield f'CREATE INDEX ON f.{t} (k, {c})'
            yield f'CREATE INDEX ON f.{t} (p)'
    yield 'CREATE VIEW f.w AS SELECT t1.k AS wk, t2.v AS wv, t1.s AS ws FROM f.t1 JOIN f.t2 ON t1.k = t2.k WHERE t1.v > 1'
    yield 'CREATE VIEW f.g AS SELECT k AS gk, count(*) AS gc, sum(v) AS gs FROM f.t3 GROUP BY k'


class Grammar:
    def __init__(self, rnd):
        self.rnd = rnd
        self.parts = rnd.choice([0, 0.2, 0.4, 0.6])  # how often windows, LIMIT, set operations, ...
        self.domain = rnd.choice([2, 4, 8])
        self.nulls = rnd.choice([0.0, 0.15, 0.4])
        self.alias = 0
        self.subs = 0.0   # how likely a condition or a value is a subquery
        self.rows = 0.0   # how likely a value is made of a whole row
        self.sets = 0.0   # how likely a select list has a set-returning function
        self.whole = set()  # aliases whose rows have one text
        self.nesting = 0
        self.around = []  # columns of the queries around the subquery being made

    # --- data ---

    def value(self, ty, nullable=True):
        r = self.rnd
        if nullable and r.random() < self.nulls:
            return 'NULL'
        i = r.randrange(self.domain)
        if ty == 'int':
            return str(i)
        if ty == 'num':
            return r.choice([f'{i}', f'{i}.0', f'{i}.50', f'-{i}.125', "'NaN'" if r.random() < 0.1 else f'{i}.5',
                             "'Infinity'" if r.random() < 0.05 else '1'])
        if ty == 'num2':
            return f'{i}.{r.choice(["00", "25", "5"])}'
        if ty == 'text':
            return "'" + r.choice(['a', 'b', 'A', '', 'ab', ' '])[:1 + i] + "'"
        if ty == 'flt':
            return r.choice([f'{i}.1', f'{i}e10', '0.1', "'-0'", '0', "'NaN'" if r.random() < 0.1 else '3.3'])
        if ty == 'date':
            return f"'2024-01-0{1 + i}'"
        return r.choice(['true', 'false'])

    def row(self, t):
        strict = int(t[1]) % 2 == 0
        return '(' + ', '.join(self.value(ty, not (strict and c in ('id', 'k'))) for c, ty in COLUMNS) + ')'

    def insert(self, t, n):
        return f'INSERT INTO f.{t} VALUES ' + ', '.join(self.row(t) for _ in range(n))

    def fill(self):
        r = self.rnd
        for t in TABLES:
            if r.random() < 0.9:
                yield self.insert(t, r.randint(1, r.choice([3, 10, 25])))

    def transaction(self):
        r = self.rnd
        out = []
        if r.random() < 0.4:
            tables = [r.choice(TABLES)]
        else:
            tables = r.sample(TABLES, r.randint(2, 5))
        for t in tables:
            strict = int(t[1]) % 2 == 0
            for _ in range(r.randint(1, 3)):
                kind = r.random()
                where = self.dml_where()
                if kind < 0.4:
                    out.append(self.insert(t, r.randint(1, 4)))
                elif kind < 0.65:
                    out.append(f'DELETE FROM f.{t} WHERE {where}')
                elif kind < 0.97:
                    cols = r.sample(COLUMNS, r.randint(1, 3))
                    sets = ', '.join(f"{c} = {self.value(ty, not (strict and c in ('id', 'k')))}" for c, ty in cols)
                    out.append(f'UPDATE f.{t} SET {sets} WHERE {where}')
                else:
                    out.append(f'DELETE FROM f.{t}')
        return out

    def dml_where(self):
        r = self.rnd
        c, ty = r.choice(COLUMNS)
        if r.random() < 0.15:
            return 'true'
        if r.random() < 0.2:
            return f'{c} IS NULL'
        return f"{c} {r.choice(['=', '=', '<', '>'])} {self.value(ty, False)}"

    # --- queries ---

    def fresh(self):
        self.alias += 1
        return f'q{self.alias}'

    def pick(self, cols, *types):
        c = [n for n, ty in cols if ty in types]
        return self.rnd.choice(c) if c else None

    def scalar(self, cols, ty, depth=1):
        """An expression of the type over the columns."""
        r = self.rnd
        fam = {'num2': ('num', 'num2', 'int'), 'num': ('num', 'num2', 'int'), 'int': ('int',)}.get(ty, (ty,))
        col = self.pick(cols, *fam)
        if ty in ('int', 'num', 'text') and self.subs and self.nesting < 2 and r.random() < self.subs * 0.3:
            return self.scalar_subquery(cols, ty)
        if ty in ('int', 'text') and self.rows and r.random() < self.rows:
            row = self.row_of(cols)
            if row:
                return r.choice(ROWS_AS[ty]).format(row)
        if depth <= 0 or r.random() < 0.5:
            return col or self.value('num' if ty == 'num2' else ty, False) + self.cast(ty)
        a = self.scalar(cols, ty, depth - 1)
        b = self.scalar(cols, ty, depth - 1)
        if ty == 'int':
            return r.choice([f'({a} + {b})', f'({a} - {b})', f'({a} % 3)', f'coalesce({a}, {b})', f'coalesce({a}, 7)',
                             f'CASE WHEN {self.condition(cols, 0)} THEN {a} ELSE {b} END', f'nullif({a}, {b})', f'greatest({a}, {b})'])
        if ty in ('num', 'num2'):
            return r.choice([f'({a} + {b})', f'({a} * {b})', f'({a} - 1.5)', f'coalesce({a}, 0)', f'round({a}, 1)',
                             f'CASE WHEN {self.condition(cols, 0)} THEN {a} ELSE 0 END'])
        if ty == 'text':
            return r.choice([f'({a} || {b})', f'upper({a})', f"coalesce({a}, 'z')", f'lower({a})'])
        if ty == 'flt':
            return r.choice([f'({a} + {b})', f'({a} * 2)', f'abs({a})'])
        if ty == 'bool':
            return self.condition(cols, depth - 1)
        return a

    def row_of(self, cols):
        rows = sorted({n.split('.')[0] for n, _ in cols} & self.whole)
        return self.rnd.choice(rows) if rows else None

    def set_of(self, cols):
        i, s = self.scalar(cols, 'int', 0), self.scalar(cols, 'text', 0)
        return self.rnd.choice([(f'generate_series(1, {i} % 3)', 'int'), (f'unnest(ARRAY[{i}, 1])', 'int'), (f"regexp_split_to_table({s}, 'b')", 'text')])

    def cast(self, ty):
        return '::' + {'int': 'int', 'num': 'numeric', 'num2': 'numeric', 'text': 'text', 'flt': 'float8', 'bool': 'bool', 'date': 'date'}[ty]

    def condition(self, cols, depth=1):
        r = self.rnd
        ty = r.choice(['int', 'int', 'int', 'num', 'text', 'bool'])
        if self.subs and self.nesting < 2 and r.random() < self.subs:
            base = self.subquery_condition(cols)
        elif ty == 'bool':
            col = self.pick(cols, 'bool')
            base = col or 'true'
        else:
            a = self.scalar(cols, ty, min(depth, 1))
            base = r.choice([f"{a} {r.choice(['=', '<>', '<', '>', '<=', '>='])} {self.scalar(cols, ty, 0)}", f'{a} IS NULL',
                             f'{a} IS NOT NULL', f'{a} IS DISTINCT FROM {self.scalar(cols, ty, 0)}'])
        if depth > 0 and r.random() < 0.35:
            return r.choice(['({} AND {})', '({} OR {})', '(NOT {} OR {})']).format(base, self.condition(cols, depth - 1))
        return base

    # --- subqueries ---

    def correlation(self, outer, inner):
        """A WHERE clause over both, or over the inner rows alone."""
        r = self.rnd
        parts = []
        for _ in range(r.choice([0, 1, 1, 1, 2])):
            ty = r.choice(['int', 'int', 'int', 'text', 'num'])
            a, b = self.pick(outer, ty), self.pick(inner, ty)
            if a and b:
                parts.append(f"{b} {r.choice(['=', '=', '=', '<', '>=', '<>'])} {a}" if r.random() < 0.85 else f'{b} IS NOT DISTINCT FROM {a}')
        if r.random() < 0.4:
            parts.append(self.condition(inner, 0))
        if r.random() < 0.1:
            parts.append(self.condition(inner + outer, 0))
        return ' WHERE ' + ' AND '.join(parts) if parts else ''

    def inner_rows(self, outer, correlated=True):
        """FROM and WHERE of a subquery, and its columns."""
        r = self.rnd
        far, self.around = self.around, self.around + outer
        if r.random() < 0.15:
            text, cols = self.set_of_subqueries()
        else:
            text, cols = self.from_item(1 if r.random() < 0.3 else 0, r.choice([0, 0, 0, 1, 1]))
        outer = outer if correlated and r.random() < 0.8 else []
        if far and r.random() < 0.5:
            outer = outer + far
        where = self.correlation(outer, cols)
        self.around = far
        return f' FROM {text}' + where, cols

    def set_of_subqueries(self):
        """Correlated set operations, as an item of FROM."""
        r = self.rnd
        types = [r.choice(['int', 'text', 'num', 'int']) for _ in range(2)]
        legs = []
        for _ in range(r.choice([2, 2, 3])):
            text, cols = self.from_item(0, r.choice([0, 0, 1]))
            out, names = self.output([(self.scalar(cols, ty, 0) + self.cast(ty), ty) for ty in types])
            legs.append(f'SELECT {out} FROM {text}{self.correlation(self.around, cols)}')
        sql = legs[0]
        for leg in legs[1:]:
            sql += r.choice([' UNION ALL ', ' UNION ALL ', ' UNION ', ' EXCEPT ', ' INTERSECT ', ' EXCEPT ALL ']) + leg
        a = self.fresh()
        return f'({sql}) {a}', [(f'{a}.{n}', ty) for n, ty in names]

    def subquery_condition(self, cols):
        r = self.rnd
        self.nesting += 1
        rows, inner = self.inner_rows(cols)
        kind = r.random()
        ty = r.choice(['int', 'int', 'num', 'text'])
        a, b = self.pick(cols + self.around if r.random() < 0.2 else cols, ty), self.pick(inner, ty)
        no = r.choice(['', 'NOT '])
        if kind < 0.05:
            legs = [f"SELECT 1{self.inner_rows(cols)[0]}" for _ in range(2)]
            text = f"{no}EXISTS ({r.choice([' UNION ALL ', ' UNION ', ' EXCEPT ', ' INTERSECT ']).join(legs)})"
        elif kind < 0.1 and a and b:
            rows2, inner2 = self.inner_rows(cols)
            text = f"{a} {no}IN (SELECT {b}{rows} {r.choice(['UNION ALL', 'UNION'])} SELECT {self.pick(inner2, ty) or 'NULL'}{rows2})"
        elif kind < 0.35 or not a or not b:
            what = r.choice(['1', '*', 'DISTINCT 1']) if r.random() < 0.85 else 'count(*)'
            having = f" GROUP BY {self.pick(inner, 'int', 'text') or '1'} HAVING count(*) > {r.randrange(3)}" if r.random() < 0.2 and what == '1' else ''
            text = f'{no}EXISTS (SELECT {what}{rows}{having})'
        elif kind < 0.6:
            text = f"{a} {no}IN (SELECT {r.choice(['', '', 'DISTINCT '])}{b}{rows})"
        elif kind < 0.7:
            c, d = self.pick(cols, 'int'), self.pick(inner, 'int')
            text = f'({a}, {c}) {no}IN (SELECT {b}, {d}{rows})' if c and d else f'{a} {no}IN (SELECT {b}{rows})'
        elif kind < 0.8:
            text = f"{a} {r.choice(['<', '>=', '<>', '='])} {r.choice(['ANY', 'ALL'])} (SELECT {b}{rows})"
        elif kind < 0.9:
            text = f"{a} {no}IN (SELECT {r.choice(['max', 'min'])}({b}){rows}" + (f" GROUP BY {self.pick(inner, 'int') or b})" if r.random() < 0.5 else ')')
        else:
            text = f"{a} {r.choice(['<', '>', '='])} (SELECT {r.choice(['max', 'min'])}({b}){rows})"
        self.nesting -= 1
        return text

    def scalar_subquery(self, cols, ty):
        r = self.rnd
        self.nesting += 1
        rows, inner = self.inner_rows(cols)
        b = self.pick(inner, ty) or self.value(ty, False) + self.cast(ty)
        kind = r.random()
        if kind < 0.4:
            text = f"(SELECT {r.choice(['max', 'min'])}({b}){rows})"
        elif kind < 0.6 and ty == 'int':
            text = f"(SELECT count({r.choice(['*', b, 'DISTINCT ' + b])}){rows})::int"
        elif kind < 0.7 and ty != 'text':
            text = f'(SELECT sum({b}){rows}){self.cast(ty)}'
        else:
            text = f"(SELECT {b}{rows} ORDER BY {self.pick(inner, 'int', 'text', 'date') or b} {r.choice(['', 'DESC'])} LIMIT 1{r.choice(['', '', ' OFFSET 1'])})"
        self.nesting -= 1
        return r.choice(['{}', '{}', f'coalesce({{}}, {self.value(ty, False)})']).format(text)

    def lateral(self, cols):
        """A LATERAL item over the columns: text and its own columns."""
        r = self.rnd
        a = self.fresh()
        i = self.pick(cols, 'int') or '2'
        kind = r.random()
        if kind < 0.15:
            return f'generate_series(1, {i} % 3) {a}(g)', [(f'{a}.g', 'int')]
        if kind < 0.25:
            return f"unnest(ARRAY[{i}, 1, NULL]) WITH ORDINALITY {a}(u, o)", [(f'{a}.u', 'int')]
        if kind < 0.35:
            return f'LATERAL (VALUES ({i}), (3)) {a}(y)', [(f'{a}.y', 'int')]
        self.nesting += 1
        rows, inner = self.inner_rows(cols)
        x, y = self.pick(inner, 'int') or '1', self.pick(inner, 'text', 'num') or '2.5'
        yt = 'int' if not self.pick(inner, 'text', 'num') else [t for n, t in inner if n == y][0]
        self.nesting -= 1
        if kind < 0.65:
            return (f"LATERAL (SELECT {x} AS x, {y} AS y{rows} ORDER BY {self.pick(inner, 'int', 'date') or x} {r.choice(['', 'DESC'])} "
                    f'LIMIT {r.randint(1, 3)}) {a}', [(f'{a}.x', 'int'), (f'{a}.y', yt)])
        if kind < 0.85:
            return f'LATERAL (SELECT count(*)::int AS x, max({y}) AS y{rows}) {a}', [(f'{a}.x', 'int'), (f'{a}.y', yt)]
        return f'LATERAL (SELECT {x} AS x, {y} AS y{rows}) {a}', [(f'{a}.x', 'int'), (f'{a}.y', yt)]

    def join_condition(self, left, right, full):
        r = self.rnd
        a = self.pick(left, 'int')
        b = self.pick(right, 'int')
        if a is None or b is None:
            a, b = self.pick(left, 'text'), self.pick(right, 'text')
            if a is None or b is None:
                return 'true'
        eq = f'{a} = {b}'
        kind = r.random()
        if self.around and not full and r.random() < 0.3:
            return r.choice([eq + ' AND ', '']) + self.condition(right + self.around, 0)
        if full or kind < 0.55:
            extra = ''
            if not full and r.random() < 0.3:
                extra = ' AND ' + self.condition(left + right, 0)
            if full and self.subs and r.random() < 0.4:     # nothing else can be run
                z, c, d = self.fresh(), self.pick(left, 'int'), self.pick(right, 'int')
                extra = ' AND ' + r.choice([f"{r.choice(['', 'NOT '])}EXISTS (SELECT FROM f.t2 {z} WHERE {z}.k = {c} AND {z}.v {r.choice(['=', '<', '<>'])} {d})",
                                            f'{c} IN (SELECT {z}.k FROM f.t0 {z} WHERE {z}.v <> {d})', f'(SELECT count(*) FROM f.t4 {z} WHERE {z}.k IN ({c}, {d})) > 1'])
            return eq + extra
        if kind < 0.75:
            return f"{a} {r.choice(['<', '>', '<=', '<>'])} {b}"
        if kind < 0.9:
            return f'{eq} OR {self.condition(left + right, 0)}'
        return self.condition(left + right, 1)

    def table(self):
        r = self.rnd
        a = self.fresh()
        if r.random() < 0.06:
            return f'f.w {a}', [(f'{a}.wk', 'int'), (f'{a}.wv', 'int'), (f'{a}.ws', 'text')]
        if r.random() < 0.06:
            return f'f.g {a}', [(f'{a}.gk', 'int'), (f'{a}.gc', 'int'), (f'{a}.gs', 'int')]
        if r.random() < 0.03:
            return f"(VALUES (1, 'a'), (2, 'b'), (2, NULL)) {a}(vi, vt)", [(f'{a}.vi', 'int'), (f'{a}.vt', 'text')]
        if r.random() < 0.03:
            return self.recursion(a)
        t = r.choice(TABLES)
        self.whole.add(a)
        return f'f.{t} {a}', [(f'{a}.{c}', ty) for c, ty in COLUMNS]

    def recursion(self, a):
        """A subquery that is recursive: a set, or a bag of bounded depth."""
        r = self.rnd
        base, step = r.choice(TABLES), r.choice([*TABLES, '(SELECT gk AS k, gs AS v, NULL::text AS s FROM f.g)'])
        step = step if step.startswith('(') else f'f.{step}'
        text, bag = r.random() < 0.2, r.random() < 0.4
        x = 's' if text else 'k'
        y = 's' if text else r.choice(['k', 'v'])
        where = r.choice(['', ' WHERE e.k > 0', f' WHERE e.{x} IS NOT NULL', f' WHERE e.k < {self.domain // 2 + 1}'])
        if bag:
            where += (' AND ' if where else ' WHERE ') + 'z.d < 2'
        item = (f"(WITH RECURSIVE z(a, b, d) AS (SELECT t.{x}, t.{y}, 0 FROM f.{base} t{r.choice(['', ' WHERE t.k = 1', ' WHERE t.v IS NULL OR t.k < 2'])} "
                f"UNION {'ALL ' if bag else ''}SELECT {r.choice(['z.a', f'e.{x}'])}, e.{y}, {'z.d + 1' if bag else 'z.d'} FROM z JOIN {step} e ON e.{x} = z.b{where}) "
                f"SELECT a, b, d FROM z) {a}")
        ty = 'text' if text else 'int'
        return item, [(f'{a}.a', ty), (f'{a}.b', ty), (f'{a}.d', 'int')]

    def from_item(self, depth, joins):
        """Text and columns of a FROM item with up to `joins` joins below it."""
        r = self.rnd
        if joins > 0:
            nl = r.randrange(joins)
            left, lc = self.from_item(depth, nl)
            right, rc = self.from_item(depth, joins - 1 - nl)
            kind = r.choice(['JOIN', 'JOIN', 'JOIN', 'LEFT JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN', 'CROSS JOIN', 'USING'])
            if kind == 'CROSS JOIN':
                return f'({left} CROSS JOIN {right})', lc + rc
            if kind == 'USING' and joins == 1 and left.startswith('f.t') and right.startswith('f.t'):
                j = r.choice(['JOIN', 'LEFT JOIN', 'FULL JOIN', 'RIGHT JOIN'])
                a = self.fresh()
                names = [('k', 'int')]
                return (f'({left} {j} {right} USING (k))', [('k', 'int')] if False else lc[2:] + rc[2:] + [(lc[0][0], 'int')])
            if kind == 'USING':
                kind = 'LEFT JOIN'
            cond = self.join_condition(lc, rc, kind == 'FULL JOIN')
            return f'({left} {kind} {right} ON {cond})', lc + rc
        if depth > 0 and r.random() < 0.4:
            sql, cols = self.select(depth - 1)
            a = self.fresh()
            if not {'num', 'num2', 'flt'} & {ty for _, ty in cols}:
                self.whole.add(a)
            return f'({sql}) {a}', [(f'{a}.{n}', ty) for n, ty in cols]
        return self.table()

    AGGS = [('count(*)', 'int'), ('count({int})', 'int'), ('count({text})', 'int'), ('sum({int})', 'int'), ('sum({num})', 'num'),
            ('sum({num2})', 'num'), ('avg({int})', 'num'), ('avg({num2})', 'num'), ('avg({num})', 'num'), ('min({int})', 'int'),
            ('max({int})', 'int'), ('min({text})', 'text'), ('max({num})', 'num'), ('max({date})', 'date'), ('min({flt})', 'flt'),
            ('bool_and({bool})', 'bool'), ('bool_or({bool})', 'bool'), ('every({bool})', 'bool'),
            ('sum(CASE WHEN {cond} THEN {int} ELSE 0 END)', 'int'), ('sum(CASE WHEN {cond} THEN {num} END)', 'num'),
            ('sum({num2} * (1 - {num2}))', 'num')]
    HARD = [('count(DISTINCT {int})', 'int'), ('sum(DISTINCT {int})', 'int'), ("string_agg({text}, ',')", 'text'),
            ("string_agg({text}, ',' ORDER BY {int})", 'text'), ('array_agg({int})::text', 'text'), ('sum({flt})', 'flt'),
            ('avg({flt})', 'flt'), ('stddev({num2})', 'num'), ('variance({int})', 'num'),
            ('percentile_cont(0.5) WITHIN GROUP (ORDER BY {flt})', 'flt'), ('mode() WITHIN GROUP (ORDER BY {int})', 'int'),
            ('count({row})', 'int'), ('json_agg({row})::text', 'text'), ('array_agg({row})::text', 'text'), ('jsonb_agg({text})::text', 'text'), ('bit_and({int})', 'int'), ("array_agg(DISTINCT {text})::text", 'text')]

    def aggregate(self, cols, hard):
        r = self.rnd
        text, ty = r.choice(self.AGGS if not hard or r.random() < 0.5 else self.HARD)
        if '{row}' in text:
            row = self.row_of(cols) if self.rows else None
            text, ty = (text.replace('{row}', row), ty) if row else ('count(*)', 'int')
        for t in ('int', 'num2', 'num', 'text', 'flt', 'bool', 'date'):
            while '{' + t + '}' in text:
                text = text.replace('{' + t + '}', self.scalar(cols, t, 1), 1)
        text = text.replace('{cond}', self.condition(cols, 0))
        if r.random() < 0.2 and '::' not in text.split(')')[-1]:
            text += f' FILTER (WHERE {self.condition(cols, 0)})'
        elif r.random() < 0.2 and ty in ('int', 'num'):
            text = r.choice(['coalesce({}, 0)', '({} + 1)', '({} * 2)']).format(text)
        return text, ty

    def output(self, exprs):
        names = [(f'c{i}', ty) for i, (_, ty) in enumerate(exprs)]
        return ', '.join(f'{e} AS c{i}' for i, (e, _) in enumerate(exprs)), names

    def plain(self, cols):
        r = self.rnd
        exprs = []
        for _ in range(r.randint(1, 4)):
            ty = r.choice(['int', 'int', 'num', 'num2', 'text', 'flt', 'bool', 'date'])
            exprs.append((self.scalar(cols, ty, 1), ty if ty != 'num2' else 'num'))
        return exprs

    def select(self, depth):
        r = self.rnd
        if r.random() < self.parts:
            return grammar_parts.select(self, depth)
        if depth > 0 and r.random() < 0.12:
            return self.union(depth)
        # cap at five tables
        text, cols = self.from_item(depth, r.choice([0, 0, 1, 1, 1, 2, 3] if depth > 0 else [0, 0, 1, 1, 2]))
        if self.subs and self.nesting == 0 and r.random() < self.subs:
            below, near = self.table() if r.random() < 0.2 else ('', [])
            item, more = self.lateral(cols + near)
            if below:
                below = f" LEFT JOIN ({below} {r.choice(['JOIN', 'LEFT JOIN'])} {item} ON {r.choice(['true', self.join_condition(near, more, False)])}) ON {self.join_condition(cols, near + more, False)}"
                more = near + more
            text += below or r.choice([', {}', ' CROSS JOIN {}', ' LEFT JOIN {} ON true',
                              f" LEFT JOIN {{}} ON {more[0][0]} {r.choice(['>', '='])} {self.pick(cols, 'int') or '1'}"]).format(item)
            cols = cols + more
        where = f' WHERE {self.condition(cols, 1)}' if r.random() < 0.5 else ''
        if self.around and r.random() < 0.5:
            where = self.correlation(self.around, cols) or where
        kind = r.random()
        if kind < 0.45:
            exprs = self.plain(cols)
            distinct = 'DISTINCT ' if r.random() < 0.2 else ''
            if self.sets and r.random() < self.sets:
                exprs.append(self.set_of(cols))
            out, names = self.output(exprs)
            return f'SELECT {distinct}{out} FROM {text}{where}', names
        keys = [] if kind > 0.92 else self.plain(cols)[:r.randint(1, 3)]
        if keys and self.sets and r.random() < self.sets:
            keys.append(self.set_of(cols))
        hard = r.random() < 0.35
        aggs = [self.aggregate(cols, hard) for _ in range(r.randint(0 if keys else 1, 3))]
        shown = [k for k in keys if r.random() < 0.85] + aggs
        if aggs and self.sets and r.random() < self.sets:
            shown.append(('unnest(ARRAY[count(*)::int, 1])', 'int'))
        if not shown:
            shown = keys
        r.shuffle(shown)
        out, names = self.output(shown)
        group = ' GROUP BY ' + ', '.join(f'({k})' for k, _ in keys) if keys else ''
        having = ''
        if r.random() < 0.25:
            a, ty = self.aggregate(cols, False)
            having = f" HAVING {a} {r.choice(['>', '<', '='])} {self.value(ty, False)}" if ty in ('int', 'num') else f' HAVING {a} IS NOT NULL'
        distinct = 'DISTINCT ' if r.random() < 0.08 else ''
        return f'SELECT {distinct}{out} FROM {text}{where}{group}{having}', names

    def union(self, depth):
        r = self.rnd
        types = [r.choice(['int', 'text', 'num']) for _ in range(r.randint(1, 3))]
        legs = []
        for _ in range(r.randint(2, 3)):
            text, cols = self.from_item(depth - 1, r.choice([0, 0, 1]))
            exprs = [(self.scalar(cols, ty, 1) + (self.cast(ty)), ty) for ty in types]
            out, names = self.output(exprs)
            legs.append(f'SELECT {out} FROM {text}' + (f' WHERE {self.condition(cols, 0)}' if r.random() < 0.4 else ''))
        sql = legs[0]
        for leg in legs[1:]:
            sql += r.choice([' UNION ALL ', ' UNION ALL ', ' UNION ']) + leg
        return sql, names

    def query(self):
        r = self.rnd
        self.subs = r.choice([0.0, 0.1, 0.25, 0.4])
        self.rows = r.choice([0.0, 0.0, 0.1, 0.2])
        self.sets = r.choice([0.0, 0.0, 0.0, 0.3])
        sql, cols = self.select(r.choice([0, 1, 1, 2]))
        if r.random() < 0.1:
            sql2, cols = self.cte()
            return sql2
        return sql

    def cte(self):
        inner, cols = self.select(1)
        a, b = self.fresh(), self.fresh()
        c = cols[0][0]
        return (f'WITH cc AS ({inner}) SELECT {a}.{c} AS l, {b}.{c} AS r FROM cc {a} LEFT JOIN cc {b} ON {a}.{c} = {b}.{c}', cols)
