"""_bench.py: what the benchmarks share: one connection (PG* variables say where), statements, times, CPU."""
import time

import psycopg2


def connect():
    conn = psycopg2.connect("")
    conn.autocommit = True
    return conn.cursor()


cur = connect()


def run(sql, *args):
    """Rows, or None of a statement that has none."""
    cur.execute(sql, args or None)
    return cur.fetchall() if cur.description else None


def one(sql, *args):
    return run(sql, *args)[0][0]


def timed(sql):
    """Milliseconds, rows fetched included."""
    t0 = time.perf_counter()
    run(sql)
    return (time.perf_counter() - t0) * 1000


def cpu_ms(pid):
    """CPU time of a process so far; 0 when it has gone."""
    try:
        with open("/proc/%d/schedstat" % pid) as f:
            return int(f.read().split()[0]) / 1e6
    except OSError:
        return 0.0
