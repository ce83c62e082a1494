"""Writers whose every statement is timed, and a sampler that sees who blocks them.

  _writers.py run CONTROL REPORT      writes to `big` from four connections until CONTROL ends; prints nothing before

CONTROL is a FIFO or a file descriptor's path from which lines come: `phase NAME` begins a phase; end of file ends the run.
`phase` is answered in REPORT.ack, so that the caller knows that every statement begun later counts for it.

REPORT gets one line per phase:  NAME statements slowest_ms blocked_by_consumer blocked_by_creator errors
The two blocked counts are samples of pg_blocking_pids() in which a writer waited for a session of that kind: application_name
`trickle-consumer%` or `creator`.  Statements that are a phase's last are counted for the phase in which they began.
"""
import random
import sys
import threading
import time

import psycopg2

WRITERS = 4
PAUSE = 0.004


class Phase:
    def __init__(self, name):
        self.name = name
        self.statements = 0
        self.slowest = 0.0
        self.consumer = 0
        self.creator = 0
        self.samples = 0
        self.errors = []


class Run:
    def __init__(self):
        self.phases = [Phase("start")]
        self.lock = threading.Lock()
        self.stop = False

    def timed(self, cur, sql, args=()):
        phase = self.phases[-1]
        began = time.monotonic()
        try:
            cur.execute(sql, args)
        except psycopg2.Error as error:
            with self.lock:
                phase.errors.append(str(error).strip().split("\n")[0])
        took = time.monotonic() - began
        with self.lock:
            phase.statements += 1
            phase.slowest = max(phase.slowest, took)

    def writer(self, seed):
        r = random.Random(seed)
        conn = psycopg2.connect("application_name=writer")
        conn.autocommit = True
        cur = conn.cursor()
        cur.execute("SELECT count(*) FROM big")
        rows = cur.fetchone()[0]
        # each writer has rows of its own, so that no writer ever waits for another
        mine = lambda: r.randrange(rows // WRITERS) * WRITERS + seed
        while not self.stop:
            what = r.randrange(4)
            if what == 0:
                self.timed(cur, "UPDATE big SET v = v + 1 WHERE id = %s", (mine(),))
            elif what == 1:
                self.timed(cur, "UPDATE big SET k = %s, pad = 'new' WHERE id = %s", (r.randrange(100), mine()))
            elif what == 2:
                self.timed(cur, "INSERT INTO big (k, v, pad) VALUES (%s, %s, 'inserted')", (r.randrange(100), r.randrange(1000)))
            else:
                self.timed(cur, "BEGIN")
                self.timed(cur, "DELETE FROM big WHERE id = %s", (mine(),))
                self.timed(cur, "UPDATE big SET v = -v WHERE id = %s", (mine(),))
                self.timed(cur, r.choice(("COMMIT", "ROLLBACK")))
            time.sleep(PAUSE)

    def sampler(self):
        conn = psycopg2.connect("application_name=sampler")
        conn.autocommit = True
        cur = conn.cursor()
        while not self.stop:
            phase = self.phases[-1]
            cur.execute("SELECT count(*) FILTER (WHERE b.application_name LIKE 'trickle-consumer%'),"
                        " count(*) FILTER (WHERE b.application_name = 'creator')"
                        " FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p (pid)"
                        " JOIN pg_stat_activity b ON b.pid = p.pid"
                        " WHERE w.application_name = 'writer' AND w.wait_event_type = 'Lock'")
            consumer, creator = cur.fetchone()
            phase.samples += 1
            phase.consumer += consumer
            phase.creator += creator
            time.sleep(0.01)


def main():
    run = Run()
    threads = [threading.Thread(target=run.writer, args=(i,)) for i in range(WRITERS)] + [threading.Thread(target=run.sampler)]
    for thread in threads:
        thread.start()
    with open(sys.argv[1]) as control:
        for line in control:
            run.phases.append(Phase(line.split()[1]))
            with open(sys.argv[2] + ".ack", "a") as ack:
                ack.write(line)
    run.stop = True
    for thread in threads:
        thread.join()
    with open(sys.argv[2], "w") as report:
        for p in run.phases:
            report.write(f"{p.name} {p.statements} {p.slowest * 1000:.0f} {p.samples} {p.consumer} {p.creator} {len(p.errors)}\n")
        for p in run.phases:
            for error in p.errors[:5]:
                report.write(f"# {p.name}: {error}\n")


main()
