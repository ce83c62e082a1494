-- The three streams of the Nexmark auction site, as tables.  Bids have no key.
CREATE TABLE person (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, city text NOT NULL, state text NOT NULL, date_time timestamptz NOT NULL, extra text);
CREATE TABLE auction (id bigint PRIMARY KEY, item_name text NOT NULL, initial_bid bigint NOT NULL, reserve bigint NOT NULL, date_time timestamptz NOT NULL,
	expires timestamptz NOT NULL, seller bigint NOT NULL, category int NOT NULL, extra text);
CREATE TABLE bid (auction bigint NOT NULL, bidder bigint NOT NULL, price bigint NOT NULL, channel text NOT NULL, date_time timestamptz NOT NULL, extra text);
CREATE INDEX ON auction (seller);
CREATE INDEX ON auction (date_time);
CREATE INDEX ON person (date_time);
CREATE INDEX ON bid (auction);
CREATE INDEX ON bid (date_time);
CREATE INDEX ON bid (price);
