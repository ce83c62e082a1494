#!/usr/bin/env python3
"""Nexmark over tables: a generator of persons, auctions and bids (1 : 3 : 46), q0 to q9 as stream tables, and what is asked of them.

    nexmark.py check [--seconds 10] [--rate 600]     every stream table verified again and again while the site is busy
    nexmark.py bench [--rates 500,1000,...] [--seconds 15]   commit to visible at rising rates; Markdown on standard output

Needs a running consumer.  Time is the wall clock, so that windows slide by themselves.
"""
import argparse
import multiprocessing
import os
import random
import re
import sys
import time

import psycopg2
from psycopg2.extras import execute_values

HERE = os.path.dirname(os.path.abspath(__file__))
STATES = ['AZ', 'CA', 'ID', 'OR', 'WA', 'WY']
CITIES = ['Phoenix', 'Los Angeles', 'Boise', 'Portland', 'Seattle', 'Cheyenne']
# bids of one transaction go to few auctions, most of them to those that were opened last
EVENTS_PER_TRANSACTION = 10


def connect():
    conn = psycopg2.connect('')
    conn.autocommit = True
    return conn


def queries(window):
    text = open(os.path.join(HERE, 'queries.sql')).read().replace(':window', window)
    parts = re.split(r'^-- (q\d): .*\n', text, flags=re.M)[1:]
    return dict(zip(parts[::2], (p.strip().rstrip(';') for p in parts[1::2])))


class Site:
    """Generates events; ids are dense, so that counts tell what was committed."""

    def __init__(self, seed, lifetime):
        self.rnd = random.Random(seed)
        self.lifetime = lifetime
        self.persons = self.auctions = self.bids = self.events = 0

    def next(self):
        """The rows of one transaction: persons, auctions, bids."""
        rows = ([], [], [])
        rnd = self.rnd
        for _ in range(EVENTS_PER_TRANSACTION):
            slot = self.events % 50
            self.events += 1
            extra = 'x' * rnd.randint(10, 80)
            if slot == 0 or self.persons == 0:
                self.persons += 1
                i = rnd.randrange(len(STATES))
                rows[0].append((self.persons, f'name {self.persons}', f'p{self.persons}@example.com', CITIES[i], STATES[i], extra))
            elif slot <= 3 or self.auctions == 0:
                self.auctions += 1
                seller = max(1, self.persons - int(rnd.expovariate(0.2)))
                rows[1].append((self.auctions, f'item {self.auctions}', rnd.randint(1, 100), rnd.randint(100, 1000),
                                f'{rnd.uniform(0.2, self.lifetime):.3f} seconds', seller, 10 + rnd.randrange(5), extra))
            else:
                self.bids += 1
                auction = max(1, self.auctions - int(rnd.expovariate(0.1)))
                rows[2].append((auction, rnd.randint(1, self.persons), int(10 ** rnd.uniform(1, 6)), rnd.choice(['Google', 'Baidu', 'Apple']), extra))
        return rows


def commit(conn, rows):
    with conn.cursor() as cur:
        cur.execute('BEGIN')
        if rows[0]:
            execute_values(cur, 'INSERT INTO person VALUES %s', rows[0], '(%s, %s, %s, %s, %s, clock_timestamp(), %s)')
        if rows[1]:
            execute_values(cur, 'INSERT INTO auction VALUES %s', rows[1], '(%s, %s, %s, %s, clock_timestamp(), clock_timestamp() + %s::interval, %s, %s, %s)')
        if rows[2]:
            execute_values(cur, 'INSERT INTO bid VALUES %s', rows[2], '(%s, %s, %s, %s, clock_timestamp(), %s)')
        cur.execute('COMMIT')


def busy(seed, rate, until, lifetime, started, out):
    """A process: commits transactions at `rate` events per second until `until`; the counts and the rate reached go to `out`."""
    conn = connect()
    site = Site(seed, lifetime)
    site.persons, site.auctions = started
    before = site.events
    begin = time.monotonic()
    sent = 0
    while time.time() < until:
        commit(conn, site.next())
        sent += EVENTS_PER_TRANSACTION
        ahead = sent / rate - (time.monotonic() - begin)
        if ahead > 0:
            time.sleep(ahead)
    out.put((site.persons, site.auctions, site.bids, (site.events - before) / (time.monotonic() - begin)))


class Run:
    def __init__(self, window, schedule='continuous'):
        self.conn = connect()
        self.cur = self.conn.cursor()
        self.cur.execute('SET client_min_messages = error')
        self.cur.execute(open(os.path.join(HERE, 'schema.sql')).read())
        self.queries = queries(window)
        for name, query in self.queries.items():
            self.cur.execute('SELECT pgtrickle.create_stream_table(%s, %s, schedule => %s)', (name, query, schedule))
        self.failed = 0
        self.started = (0, 0)
        self.bids = 0

    def one(self, sql, *args):
        self.cur.execute(sql, args or None)
        return self.cur.fetchone()[0]

    def check(self, good, what):
        print(('ok - ' if good else 'not ok - ') + what, flush=True)
        self.failed += not good

    def spawn(self, seed, rate, seconds, lifetime):
        self.out = multiprocessing.Queue()
        self.site = multiprocessing.Process(target=busy, args=(seed, rate, time.time() + seconds, lifetime, self.started, self.out))
        self.site.start()

    def finish(self):
        persons, auctions, bids, rate = self.out.get()
        self.site.join()
        self.started = (persons, auctions)
        self.bids += bids
        return rate

    def verify(self, name):
        self.cur.execute('SELECT * FROM pgtrickle.verify_stream_table(%s)', (name,))
        return self.cur.fetchone()


def check(args):
    run = Run('2 seconds')
    verified = dict.fromkeys(run.queries, 0)
    wrong = {}
    filled = set()
    run.spawn(args.seed, args.rate, args.seconds, 2)
    while run.site.is_alive():
        for name in run.queries:
            found = run.verify(name)
            verified[name] += 1
            if found != (0, 0):
                wrong.setdefault(name, found)
            if run.one(f'SELECT count(*) FROM {name}') > 0:
                filled.add(name)
    rate = run.finish()
    print(f'# {run.bids} bids at {rate:.0f} events/s; verified {min(verified.values())} times each while they came')
    # rows that change and go, too: the site corrects itself
    run.cur.execute("UPDATE bid SET price = price + 1 WHERE auction % 7 = 0; DELETE FROM bid WHERE auction % 11 = 0; DELETE FROM auction WHERE id % 13 = 0; "
                    "UPDATE auction SET category = 10 WHERE id % 5 = 0; UPDATE person SET state = 'OR' WHERE id % 3 = 0")
    for name in run.queries:
        found = run.verify(name)
        if found != (0, 0):
            wrong.setdefault(name, found)
        run.check(name not in wrong and verified[name] > 0, f'{name} equals its query: missing, extra {wrong.get(name, (0, 0))}')
    run.check(filled == set(run.queries), f'every query had rows: {sorted(set(run.queries) - filled)} had none')
    # an oracle of its own: the text as written, for those that no clock moves
    for name in ('q0', 'q1', 'q2', 'q3', 'q4', 'q6', 'q9'):
        columns = run.one("SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                          "AND NOT attisdropped AND attname NOT LIKE '\\_\\_pgt%%'", name)
        text = run.queries[name]
        differ = run.one(f'SELECT (SELECT count(*) FROM ({text} EXCEPT ALL SELECT {columns} FROM {name}) a) + '
                         f'(SELECT count(*) FROM (SELECT {columns} FROM {name} EXCEPT ALL ({text})) b)')
        run.check(differ == 0, f'{name} as written: {differ} differences')
    run.cur.execute("SELECT s.pgt_name, h.action, h.reason FROM pgtrickle.pgt_refresh_history h JOIN pgtrickle.pgt_stream_tables s USING (pgt_id) "
                    "WHERE h.action IN ('FULL', 'REINITIALIZE') AND h.initiated_by <> 'CREATE' LIMIT 5")
    full = [r for r in run.cur.fetchall() if r[2] != 'first load']
    run.check(not full, f'no refresh was a FULL one: {full}')
    sys.exit(1 if run.failed else 0)


# How a marker is written and seen, by query.  Ids below zero, so that the site never meets them.
MARKERS = {
    'q0': ("INSERT INTO bid VALUES (-{n}, 1, 1, 'm', clock_timestamp(), 'marker')", 'SELECT 1 FROM q0 WHERE auction = -{n}'),
    'q1': ("INSERT INTO bid VALUES (-{n}, 1, 1, 'm', clock_timestamp(), 'marker')", 'SELECT 1 FROM q1 WHERE auction = -{n}'),
    'q2': ("INSERT INTO bid VALUES (-{n} * 123, 1, {n}, 'm', clock_timestamp(), 'marker')", 'SELECT 1 FROM q2 WHERE auction = -{n} * 123 AND price = {n}'),
    'q3': ("INSERT INTO auction VALUES (-{n}, 'm', 1, 1, clock_timestamp(), clock_timestamp() + interval '1 day', -1, 10, 'marker')", 'SELECT 1 FROM q3 WHERE id = -{n}'),
    'q7': ("INSERT INTO bid VALUES (-{n}, 1, 10000000 + {n}, 'm', clock_timestamp(), 'marker')", 'SELECT 1 FROM q7 WHERE auction = -{n}'),
    'q9': ("INSERT INTO bid VALUES (-{n} + 1, {n}, 1, 'm', clock_timestamp(), 'marker')", 'SELECT 1 FROM q9 WHERE id = -{n} + 1'),
}


def markers(seed, until):
    """Milliseconds from commit to visible, by query, in the order they were taken; None where a row took more than 10 s."""
    writer, reader = connect().cursor(), connect().cursor()
    for cur in (writer, reader):
        cur.execute('SET jit = off')
    writer.execute("INSERT INTO person VALUES (-1, 'marker', 'm', 'Boise', 'ID', clock_timestamp(), '') ON CONFLICT DO NOTHING")
    taken = []
    n = seed * 1000000
    while time.time() < until:
        for name, (put, look) in MARKERS.items():
            n += 1
            if name == 'q9':                       # the auction of the q3 marker two numbers ago gets its first bid
                put, look = put.replace('-{n} + 1', '-{n} + 2'), look.replace('-{n} + 1', '-{n} + 2')
            writer.execute(put.format(n=n))
            begin = time.perf_counter()
            while True:
                reader.execute(look.format(n=n))
                if reader.fetchone():
                    break
                if time.perf_counter() - begin > 10:
                    return taken, False
                time.sleep(0.0005)
            taken.append((name, (time.perf_counter() - begin) * 1000))
            time.sleep(0.01)
    return taken, True


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q))]


def bench(args):
    run = Run('10 seconds')
    for index in ('q0 (auction)', 'q1 (auction)', 'q2 (auction)', 'q3 (id)', 'q9 (id)'):
        run.cur.execute('CREATE INDEX ON ' + index)   # to look for markers
    print('| events/s asked | reached | samples | p50 ms | p99 ms | max ms | sustained |')
    print('|---|---|---|---|---|---|---|')
    best = None
    for step, rate in enumerate(int(r) for r in args.rates.split(',')):
        run.spawn(args.seed + step, rate, args.seconds + 4, 10)
        time.sleep(3)
        taken, answered = markers(step + 1, time.time() + args.seconds)
        reached = run.finish()
        times = [t for _, t in taken]
        third = max(1, len(times) // 3)
        steady = answered and quantile(times[-third:], 0.5) <= 2 * quantile(times[:third], 0.5) + 10
        sustained = steady and reached >= 0.95 * rate and quantile(times, 0.99) <= 1000
        print(f'| {rate} | {reached:.0f} | {len(times)} | {quantile(times, 0.5):.1f} | {quantile(times, 0.99):.1f} | {max(times):.1f} | {"yes" if sustained else "no"} |', flush=True)
        if not sustained:
            break
        best = (rate, taken)
    if best:
        by = {}
        for name, t in best[1]:
            by.setdefault(name, []).append(t)
        print(f'\nBy query at {best[0]} events/s, p50 / p99 ms: ' + ', '.join(f'{n} {quantile(v, 0.5):.1f} / {quantile(v, 0.99):.1f}' for n, v in sorted(by.items())) + '.')
    # the consumer catches up, then everything must be right
    bad = [(n, run.verify(n)) for n in run.queries]
    print('\nEvery stream table equals its query afterwards.' if all(v == (0, 0) for _, v in bad) else f'\nWRONG: {bad}')
    sys.exit(0 if best and all(v == (0, 0) for _, v in bad) else 1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('what', choices=['check', 'bench'])
    p.add_argument('--seconds', type=float, default=10)
    p.add_argument('--rate', type=int, default=600)
    p.add_argument('--rates', default='500,1000,2000,3000,4000,6000,8000,12000,16000')
    p.add_argument('--seed', type=int, default=1)
    args = p.parse_args()
    (check if args.what == 'check' else bench)(args)


if __name__ == '__main__':
    main()
