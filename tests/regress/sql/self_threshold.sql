-- The rule of DF-3 through SQL: its steps, what is missing, and 10,000 random inputs with all that a float can be among them.
SELECT round(pgtrickle.recommended_threshold(d, f, c)::numeric, 9) AS recommended, note
  FROM (VALUES (30::float8, 100::float8, 0.15::float8, 'at 0.30: raised'), (30.01, 100, 0.15, 'kept'), (79.99, 100, 0.15, 'kept'), (80, 100, 0.15, 'at 0.80: lowered'),
               (1, 100, 0.7, 'cap'), (500, 100, 0.012, 'floor'), (NULL, 100, 0.4, 'no differential cost'), (10, NULL, 0.4, 'no full cost'),
               (10, 0, 0.4, 'full costs nothing'), (10, 100, NULL, 'default, raised'), (NULL, NULL, NULL, 'default'),
               ('NaN', 100, 0.4, 'NaN'), ('Infinity', 'Infinity', 0.4, 'infinite'), (50, 100, 'NaN', 'NaN threshold'), (50, 100, '-Infinity', 'infinite threshold'))
       AS v(d, f, c, note);

SELECT setseed(0.2020);
CREATE TEMP TABLE input AS
SELECT CASE WHEN random() < 0.3 THEN (ARRAY[NULL, 0, 'NaN', 'Infinity', '-Infinity', -1, 1e300, 1e-300]::float8[])[1 + floor(random() * 8)::int] ELSE random() * 100000 END AS d,
       CASE WHEN random() < 0.3 THEN (ARRAY[NULL, 0, 'NaN', 'Infinity', '-Infinity', -1, 1e300, 1e-300]::float8[])[1 + floor(random() * 8)::int] ELSE random() * 100000 END AS f,
       CASE WHEN random() < 0.3 THEN (ARRAY[NULL, 0, 'NaN', 'Infinity', '-Infinity', -1, 1e300, 1e-300]::float8[])[1 + floor(random() * 8)::int] ELSE 0.01 + random() * 0.79 END AS c
  FROM generate_series(1, 10000);
SELECT count(*) AS inputs, count(*) FILTER (WHERE r BETWEEN 0.01 AND 0.80) AS in_range, count(DISTINCT r) > 1000 AS varied
  FROM (SELECT pgtrickle.recommended_threshold(d, f, c) AS r FROM input) x;
SELECT provolatile, proparallel, proisstrict FROM pg_proc WHERE oid = 'pgtrickle.recommended_threshold(float8, float8, float8)'::regprocedure;
