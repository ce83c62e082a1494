-- The shop: the tables that fire, kill and their stream tables work on.  Loaded by tests/e2e/_shop.py.
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, region int, credit numeric(12,2) NOT NULL DEFAULT 0);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int, amount numeric(12,2) NOT NULL, status text NOT NULL, note text);
CREATE TABLE items (order_id bigint, line int, product int NOT NULL, qty int NOT NULL, price numeric(10,2), PRIMARY KEY (order_id, line));
CREATE TABLE bag (k int, v int);            -- no key, duplicates, NULLs
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON items (product);
INSERT INTO customers SELECT g, 'customer ' || g, g % 5, g FROM generate_series(1, 60) g;
INSERT INTO orders SELECT g, 1 + g % 70, (g * 37 % 400)::numeric / 2, (ARRAY['open', 'paid', 'void'])[1 + g % 3], repeat('x', g % 50)
  FROM generate_series(1, 400) g;
INSERT INTO items SELECT 1 + g % 420, g / 420, g % 15, 1 + g % 4, (g % 90)::numeric / 3 FROM generate_series(1, 1200) g;
INSERT INTO bag SELECT nullif(g % 12, 0), nullif(g % 4, 1) FROM generate_series(1, 200) g;
