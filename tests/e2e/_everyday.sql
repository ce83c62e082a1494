-- Tables of a shop, its events and measurements, for everyday.sh; mark CHANGES: what happens to them afterwards.
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, region text, email text, created timestamptz NOT NULL DEFAULT now(), props jsonb, tags text[]);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, total numeric(10,2), status text, created timestamptz NOT NULL DEFAULT now(), note text);
CREATE TABLE items (order_id int REFERENCES orders, line int, product_id int, qty int, price numeric, PRIMARY KEY (order_id, line));
CREATE TABLE products (id int PRIMARY KEY, name text, cat int, price numeric, attrs jsonb, during tstzrange);
CREATE TABLE cats (id int PRIMARY KEY, parent int, name text);
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, user_id int, kind text, at timestamptz NOT NULL, payload jsonb, val float8);
CREATE TABLE emp (id int PRIMARY KEY, mgr int, name text, salary int, dept text);
CREATE TABLE meas (sensor int, at timestamptz, v float8) PARTITION BY RANGE (at);
CREATE TABLE meas_1 PARTITION OF meas DEFAULT;
CREATE VIEW v_orders AS SELECT o.*, c.name FROM orders o JOIN customers c ON c.id = o.customer_id;
INSERT INTO customers SELECT i, 'c' || i, 'r' || i % 5, NULL, now(), jsonb_build_object('a', i), ARRAY['x', 'y' || i % 3] FROM generate_series(1, 50) i;
INSERT INTO orders SELECT i, 1 + i % 50, i, CASE WHEN i % 3 = 0 THEN 'paid' ELSE 'open' END, now() - i * interval '1 hour', NULL FROM generate_series(1, 200) i;
INSERT INTO products SELECT i, 'p' || i, i % 5, i, '{"color": "red"}', tstzrange(now(), now() + interval '1 day') FROM generate_series(1, 20) i;
INSERT INTO items SELECT i, j, 1 + (i + j) % 20, j, i FROM generate_series(1, 200) i, generate_series(1, 3) j;
INSERT INTO cats SELECT i, nullif(i / 2, 0), 'cat' || i FROM generate_series(1, 10) i;
INSERT INTO events (user_id, kind, at, payload, val) SELECT i % 20, 'k' || i % 4, now() - i * interval '1 min', '{"x": 1, "l": [1, 2]}', i / 7.0 FROM generate_series(1, 300) i;
INSERT INTO emp SELECT i, nullif(i / 3, 0), 'e' || i, 100 * i, 'd' || i % 3 FROM generate_series(1, 30) i;
INSERT INTO meas SELECT i % 3, now() - i * interval '1 min', i / 3.0 FROM generate_series(1, 100) i;

-- CHANGES
UPDATE orders SET total = total + 1, status = 'paid' WHERE id % 7 = 0;
DELETE FROM items WHERE order_id % 11 = 0;
DELETE FROM events WHERE id % 9 = 0;
INSERT INTO events (user_id, kind, at, payload, val) VALUES (1, 'k9', now(), '{}', NULL), (1, 'k9', now(), '{}', NULL), (2, 'k1', now() - interval '9 min 59.5 s', '{"l": []}', 1e10);
UPDATE emp SET salary = 1, mgr = 4 WHERE id = 9;
UPDATE customers SET region = NULL, tags = NULL WHERE id % 8 = 0;
UPDATE products SET cat = NULL, attrs = NULL WHERE id % 6 = 0;
DELETE FROM cats WHERE id = 7;
UPDATE cats SET parent = 9 WHERE id = 2;
INSERT INTO meas VALUES (1, now(), NULL), (1, now(), 1e10), (1, now(), 0.1);
BEGIN;
INSERT INTO customers (id, name) VALUES (100, 'new');
INSERT INTO orders (id, customer_id, total, status) VALUES (1000, 100, NULL, 'open'), (1001, 100, 5, 'paid');
UPDATE orders SET total = 1 WHERE id = 1000;
DELETE FROM orders WHERE id = 1001;
UPDATE events SET val = -val, user_id = user_id + 1 WHERE id < 40;
COMMIT;
