"""What the random searches without engine share: the set-up of the server, named cases, and the loop over seeds."""

import argparse
import time

import psycopg2


class Difference(Exception):
    pass


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument('--dsn', required=True)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--rounds', type=int, default=100)
    p.add_argument('--seconds', type=float, default=1e9)
    p.add_argument('--stop', type=int, default=5, help='give up after this many differences')
    p.add_argument('--case', help='run one named case, and no search')
    return p


def connect(dsn, statements):
    """A database with the extension and what `statements` make, in schemas f and e."""
    conn = psycopg2.connect(dsn)
    cur = conn.cursor()
    cur.execute('SET client_min_messages = warning; DROP EXTENSION IF EXISTS pg_trickle CASCADE; CREATE EXTENSION pg_trickle; '
                'DROP SCHEMA IF EXISTS f CASCADE; DROP SCHEMA IF EXISTS e CASCADE')
    cur.execute("SET statement_timeout = '60s'; SET jit = off")
    for sql in statements:
        cur.execute('SAVEPOINT statement')
        try:
            cur.execute(sql)
        except psycopg2.errors.FeatureNotSupported:         # a server without contrib or ICU
            cur.execute('ROLLBACK TO statement')
    conn.commit()
    return conn


def run_case(conn, name, case, body):
    """body(cur, case) in a transaction that goes away; False when it found a difference or failed."""
    try:
        body(conn.cursor(), case)
        print(f'ok {name}')
        return True
    except (Difference, psycopg2.Error) as e:
        print(f'FAIL {name}: {e}')
        return False
    finally:
        conn.rollback()


def search(conn, args, failed, one_round):
    """one_round(cur, seed, stats) for each seed, each in a transaction that goes away.  Returns the exit status."""
    stats = {}
    start = time.time()
    done = 0
    for seed in range(args.seed, args.seed + args.rounds):
        try:
            one_round(conn.cursor(), seed, stats)
        except Difference as e:
            failed += 1
            print(f'seed {seed}: {e}')
        finally:
            conn.rollback()
        done += 1
        if done % 1000 == 0:
            print(f'# {done} rounds, {failed} differences', flush=True)
        if failed >= args.stop or time.time() - start > args.seconds:
            break
    print(f'{done} rounds from seed {args.seed}, {failed} differences, {time.time() - start:.0f} s, {stats}')
    return 1 if failed else 0
