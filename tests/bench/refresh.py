"""refresh.py SIZE...: the figures of refresh.sh as Markdown on standard output."""
import os
import statistics
import sys

from _bench import run, timed

ROUNDS = int(os.environ.get("ROUNDS", "5"))
CHANGES = (1, 100, 10000)
VIEWS = (
    ("join", "SELECT f.id, f.v, d.name FROM fact{n} f JOIN dim{n} d ON d.id = f.d"),
    ("50 groups", "SELECT f.g50, count(*) AS n, sum(f.v) AS total FROM fact{n} f GROUP BY f.g50"),
    ("100 k groups", "SELECT f.g100k, count(*) AS n, sum(f.v) AS total FROM fact{n} f GROUP BY f.g100k"),
    ("min/max, 100 k groups", "SELECT f.g100k, min(f.v) AS low, max(f.v) AS high FROM fact{n} f GROUP BY f.g100k"),
    ("join and 50 groups", "SELECT d.g50, count(*) AS n, sum(f.v) AS total FROM fact{n} f JOIN dim{n} d ON d.id = f.d GROUP BY d.g50"),
)


def build(n):
    run("CREATE TABLE dim%d (id int PRIMARY KEY, name text NOT NULL, g50 int NOT NULL)" % n)
    run("INSERT INTO dim%d SELECT g, 'name ' || g, g %% 50 FROM generate_series(1, 10000) g" % n)
    run("CREATE TABLE fact%d (id int PRIMARY KEY, d int NOT NULL, g50 int NOT NULL, g100k int NOT NULL, v int NOT NULL, note text)" % n)
    run("INSERT INTO fact%d SELECT g, 1 + g %% 10000, g %% 50, g %% 100000, g %% 1000, 'note ' || g FROM generate_series(1, %d) g" % (n, n))
    run("CREATE INDEX ON fact%d (d)" % n)
    run("CREATE INDEX ON fact%d (g100k, v)" % n)
    run("VACUUM ANALYZE fact%d" % n)
    run("VACUUM ANALYZE dim%d" % n)
    for i, (_, query) in enumerate(VIEWS):
        run("SELECT pgtrickle.create_stream_table('st%d_%d', %%s, schedule => '1d', refresh_mode => 'DIFFERENTIAL')" % (i, n), query.format(n=n))
        run("ANALYZE st%d_%d" % (i, n))
        run("CREATE MATERIALIZED VIEW mv%d_%d AS %s" % (i, n, query.format(n=n)))


def change(n, k, r):
    """An update of k rows spread over the table; every touched group changes."""
    step = max(1, n // k)
    run("UPDATE fact%d SET v = (v + 7) %% 1000 WHERE id IN (SELECT 1 + (g * %d + %d) %% %d FROM generate_series(0, %d) g)"
        % (n, step, r * 13, n, k - 1))


def refresh(i, n):
    whole = timed("SELECT pgtrickle.refresh_stream_table('st%d_%d')" % (i, n))
    ms, action, delta = run("SELECT extract(epoch FROM end_time - start_time) * 1000, action, delta_row_count FROM pgtrickle.pgt_refresh_history "
                            "WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = %s) ORDER BY refresh_id DESC LIMIT 1",
                            "st%d_%d" % (i, n))[0]
    if action != "DIFFERENTIAL":
        sys.exit("st%d_%d was refreshed by %s" % (i, n, action))
    return float(ms), whole


def main(sizes):
    ours, full, barrier = {}, {}, []
    for n in sizes:
        build(n)
        for k in CHANGES:
            for r in range(ROUNDS + 1):         # the first warms plans and cache
                change(n, k, r)
                for i in range(len(VIEWS)):
                    ms, whole = refresh(i, n)
                    mv = timed("REFRESH MATERIALIZED VIEW mv%d_%d" % (i, n)) if k == CHANGES[-1] else None
                    if r == 0:
                        continue
                    ours.setdefault((i, n, k), []).append(ms)
                    barrier.append(whole - ms)
                    if mv is not None:
                        full.setdefault((i, n), []).append(mv)
    print("## One refresh against REFRESH MATERIALIZED VIEW\n")
    print("Updates of 1, 100 and 10,000 rows; milliseconds of the refresh itself, medians of %d; in brackets the share of REFRESH MATERIALIZED VIEW"
          " of the same query in the same run. The two barriers of a refresh by hand and the round trip take %.1f ms more (median).\n"
          % (ROUNDS, statistics.median(barrier)))
    print("| query | rows | 1 | 100 | 10,000 | REFRESH |")
    print("|---|---|---|---|---|---|")
    for i, (name, _) in enumerate(VIEWS):
        for n in sizes:
            mv = statistics.median(full[(i, n)])
            cells = ["%.2f (%.2g %%)" % (statistics.median(ours[(i, n, k)]), 100 * statistics.median(ours[(i, n, k)]) / mv) for k in CHANGES]
            print("| %s | %s | %s | %.0f |" % (name, format(n, ","), " | ".join(cells), mv))
    if len(sizes) > 1:
        print("\nFlatness of a 1-row change, largest over smallest table: " + ", ".join(
            "%s %.2f" % (name, statistics.median(ours[(i, sizes[-1], 1)]) / statistics.median(ours[(i, sizes[0], 1)]))
            for i, (name, _) in enumerate(VIEWS)) + ".")
    sys.stdout.flush()


main([int(a) for a in sys.argv[1:]])
