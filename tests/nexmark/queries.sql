-- Nexmark q0 to q9 over tables.  Where the original has hopping or tumbling windows over event time, a window here slides with the clock:
-- "the last :window".  A query without a unique answer (q9: equal bids) names its tie-break.
-- q0: pass through
SELECT auction, bidder, price, date_time, extra FROM bid;
-- q1: prices in euros
SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid;
-- q2: bids on certain auctions
SELECT auction, price FROM bid WHERE auction % 123 = 0;
-- q3: who sells in certain states
SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
-- q4: average of the winning prices, by category
SELECT q.category, avg(q.final) AS avg FROM (SELECT max(b.price) AS final, a.category FROM auction a JOIN bid b ON a.id = b.auction
	WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.category) q GROUP BY q.category;
-- q5: the auctions with most bids in the last window
WITH counts AS (SELECT auction, count(*) AS num FROM bid WHERE date_time > now() - interval ':window' GROUP BY auction)
SELECT c.auction, c.num FROM counts c WHERE c.num >= (SELECT max(m.num) FROM counts m);
-- q6: average of a seller's last ten winning prices
SELECT q.seller, q.id, avg(q.final) OVER (PARTITION BY q.seller ORDER BY q.closed, q.id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS avg
FROM (SELECT a.id, a.seller, max(b.price) AS final, max(b.date_time) AS closed FROM auction a JOIN bid b ON a.id = b.auction
	WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.seller) q;
-- q7: the highest bids of the last window
SELECT b.auction, b.price, b.bidder, b.date_time FROM bid b
WHERE b.date_time > now() - interval ':window' AND b.price = (SELECT max(m.price) FROM bid m WHERE m.date_time > now() - interval ':window');
-- q8: who came in the last window and sells already
SELECT DISTINCT p.id, p.name FROM person p JOIN auction a ON p.id = a.seller
WHERE p.date_time > now() - interval ':window' AND a.date_time > now() - interval ':window';
-- q9: the winning bid of each auction
SELECT w.id, w.item_name, w.seller, w.category, w.bidder, w.price, w.bid_time
FROM (SELECT a.id, a.item_name, a.seller, a.category, b.bidder, b.price, b.date_time AS bid_time,
		row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) AS rank
	FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) w
WHERE w.rank = 1;
