"""matrix.py: the figures of matrix.sh as Markdown on standard output."""
import os
import statistics
import sys

from _bench import run, timed

ROUNDS = int(os.environ.get("ROUNDS", "5"))
N = int(os.environ.get("ROWS", "100000"))
SHARES = [int(s) for s in os.environ.get("SHARES", "1 5 10 50").split()]
WARM = 2                                        # rounds before the counted ones: plans, and what AUTO learns
MODES = ("DIFFERENTIAL", "FULL", "AUTO")
VIEWS = (
    ("scan", "SELECT id, d, g, v, note FROM fact"),
    ("filter", "SELECT id, g, v FROM fact WHERE v < 500"),
    ("aggregate", "SELECT g, count(*) AS n, sum(v) AS total FROM fact GROUP BY g"),
    ("join", "SELECT f.id, f.v, d.name FROM fact f JOIN dim d ON d.id = f.d"),
    ("join and aggregate", "SELECT d.g, count(*) AS n, sum(f.v) AS total FROM fact f JOIN dim d ON d.id = f.d GROUP BY d.g"),
)

next_id = [N]


def build():
    run("CREATE TABLE dim (id int PRIMARY KEY, name text NOT NULL, g int NOT NULL)")
    run("INSERT INTO dim SELECT g, 'name ' || g, g % 100 FROM generate_series(1, 10000) g")
    run("CREATE TABLE fact (id int PRIMARY KEY, d int NOT NULL, g int NOT NULL, v int NOT NULL, note text)")
    run("INSERT INTO fact SELECT g, 1 + g %% 10000, g %% 1000, g %% 1000, 'note ' || g FROM generate_series(1, %d) g" % N)
    run("CREATE INDEX ON fact (d)")
    run("CREATE INDEX ON fact (g)")
    run("VACUUM ANALYZE fact")
    run("VACUUM ANALYZE dim")
    for i, (_, query) in enumerate(VIEWS):
        for mode in MODES:
            run("SELECT pgtrickle.create_stream_table('st%d_%s', %%s, schedule => '1d', refresh_mode => %%s)" % (i, mode.lower()), query, mode)
        run("CREATE MATERIALIZED VIEW mv%d AS %s" % (i, query))


def change(share):
    """`share` percent of the rows: of them 70 % updated, 15 % deleted, 15 % inserted."""
    k = N * share // 100
    run("CREATE TEMP TABLE picked AS SELECT id, row_number() OVER () AS n FROM fact TABLESAMPLE BERNOULLI (%s) LIMIT %s", min(100, share * 1.3), k * 85 // 100)
    run("BEGIN")
    run("UPDATE fact SET v = (v + 7) %% 1000, note = note || '' FROM picked WHERE picked.id = fact.id AND n <= %s", k * 70 // 100)
    run("DELETE FROM fact USING picked WHERE picked.id = fact.id AND n > %s", k * 70 // 100)
    run("INSERT INTO fact SELECT %s + g, 1 + g %% 10000, g %% 1000, g %% 1000, 'note ' || g FROM generate_series(1, %s) g", next_id[0], k * 15 // 100)
    next_id[0] += k * 15 // 100
    run("COMMIT")
    run("DROP TABLE picked")


def refresh(i, mode):
    name = "st%d_%s" % (i, mode.lower())
    run("SELECT pgtrickle.refresh_stream_table('%s')" % name)
    return run("SELECT (extract(epoch FROM end_time - start_time) * 1000)::float8, action, reason FROM pgtrickle.pgt_refresh_history "
               "WHERE pgt_id = (SELECT pgt_id FROM pgtrickle.pgt_stream_tables WHERE pgt_name = %s) ORDER BY refresh_id DESC LIMIT 1", name)[0]


def main():
    ms, chosen, reasons = {}, {}, {}
    build()
    for share in SHARES:
        run("VACUUM ANALYZE")
        for r in range(-WARM, ROUNDS):
            change(share)
            for i in range(len(VIEWS)):
                for mode in MODES:
                    t, action, reason = refresh(i, mode)
                    if mode == "DIFFERENTIAL" and action != mode:
                        sys.exit("st%d was refreshed by %s: %s" % (i, action, reason))
                    if r >= 0:
                        ms.setdefault((i, share, mode), []).append(t)
                        if mode == "AUTO":
                            chosen.setdefault((i, share), []).append("incremental" if action == "DIFFERENTIAL" else "diff")
                            reasons[(i, share)] = reason
                t = timed("REFRESH MATERIALIZED VIEW mv%d" % i)
                if r >= 0:
                    ms.setdefault((i, share, "MV"), []).append(t)
    print("## Micro matrix: incremental, diff and AUTO against REFRESH MATERIALIZED VIEW\n")
    print("%s rows; of the changed rows 70 %% are updated, 15 %% deleted, 15 %% inserted. Milliseconds, medians of %d; in brackets how many times"
          " faster than REFRESH MATERIALIZED VIEW of the same query. The last column is AUTO over the better of the two; where AUTO went the same way it shows the noise.\n" % (format(N, ","), ROUNDS))
    print("| query | changed | REFRESH | incremental | diff | AUTO | AUTO chose | AUTO / better |")
    print("|---|---|---|---|---|---|---|---|")
    for i, (name, _) in enumerate(VIEWS):
        for share in SHARES:
            m = {mode: statistics.median(ms[(i, share, mode)]) for mode in MODES + ("MV",)}
            picks = chosen[(i, share)]
            print("| %s | %d %% | %.1f | %.1f (%.2f x) | %.1f (%.2f x) | %.1f (%.2f x) | %s | %.2f |" % (
                name, share, m["MV"], m["DIFFERENTIAL"], m["MV"] / m["DIFFERENTIAL"], m["FULL"], m["MV"] / m["FULL"], m["AUTO"], m["MV"] / m["AUTO"],
                ", ".join("%s %d" % (p, picks.count(p)) for p in sorted(set(picks))), m["AUTO"] / min(m["DIFFERENTIAL"], m["FULL"])))
    print()
    sys.stdout.flush()


main()
