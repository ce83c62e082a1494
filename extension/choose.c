/*
 * choose.c - incremental or diff: the decision of one refresh, and its reason (see choose.h).
 *
 * What was asked for comes first: refresh_mode, pg_trickle.refresh_strategy, max_delta_fraction, auto_threshold.  Else AUTO compares
 * what both ways have cost this ST, as its history tells, for deltas of about this size:
 *
 *	incremental	the median of recent refreshes of a similar size, scaled by their rows; from much smaller or larger ones if there are no others
 *	diff		likewise, not scaled, as it reads everything anyway
 *
 * One kind unknown: the share of changed rows decides (pg_trickle.differential_max_change_ratio), and the refresh measures it; but a
 * diff is tried in any case once incremental refreshes take much longer than the first load did.  So a wrong guess costs one refresh.
 *
 * Scaled from small deltas, the cost of an incremental refresh comes out too high: one that was not measured at about this size is tried
 * when it looks no worse than twice a diff.
 *
 * Hysteresis: the way that the last refreshes of a similar size went is kept until the other looks better by a margin; one diff alone
 * was a trial, and binds less than two.  Refreshes of
 * other sizes do not matter: one that alternates between large and small deltas may alternate between the two ways.
 *
 * Small deltas are not weighed at all: reading the history would take as long as they, and what they cost is mostly planning.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "choose.h"
#include "guc.h"

#define WORTH_WEIGHING 1000 /* changed rows */
#define SIMILAR 1.5         /* a similar size: at most so many times more or fewer rows */
#define FAR 20              /* beyond that a size says nothing */
#define SAMPLES 5           /* of which the median is taken */
#define HISTORY 200         /* rows read, newest first */
#define LEAVE_DIFF pgt_guc_cost_model_safety_margin
#define LEAVE_TRIAL Max(0.95, LEAVE_DIFF)
#define LEAVE_INCREMENTAL 1.05
#define TRY_INCREMENTAL 2.0
#define TRY_DIFF 2.0 /* against the load, which compares nothing */

typedef struct Sample
{
	bool full;
	bool load;
	double rows;
	double ms;
} Sample;

/* What is known of one way. */
typedef struct Estimate
{
	double ms; /* < 0: nothing */
	bool near; /* from refreshes of a similar size */
	double samples[SAMPLES];
	int n;
} Estimate;

/* Rows of all sources as the server knows them; 0 when it knows nothing. */
static double
source_rows(const PgtView *view)
{
	double total = 0;

	for (int i = 0; i < view->nsources; i++)
	{
		HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view->sources[i].relid));

		if (!HeapTupleIsValid(tuple))
			continue;
		total += Max(0, ((Form_pg_class) GETSTRUCT(tuple))->reltuples);
		ReleaseSysCache(tuple);
	}
	return total;
}

/* ---------- what the history tells ---------- */

static Sample
read_sample(uint64 row)
{
	HeapTuple tuple = SPI_tuptable->vals[row];
	TupleDesc desc = SPI_tuptable->tupdesc;
	Sample s;
	bool isnull;

	s.full = DatumGetBool(SPI_getbinval(tuple, desc, 1, &isnull));
	s.load = DatumGetBool(SPI_getbinval(tuple, desc, 2, &isnull));
	s.rows = (double) DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
	s.ms = DatumGetFloat8(SPI_getbinval(tuple, desc, 4, &isnull));
	return s;
}

static Sample *
read_samples(int64 pgt_id, int *n)
{
	static SPIPlanPtr plan = NULL;
	Datum id = Int64GetDatum(pgt_id);
	Sample *samples;

	if (plan == NULL)
	{
		Oid type = INT8OID;

		plan = SPI_prepare("SELECT h.action <> 'DIFFERENTIAL', h.merge_strategy_used IS NOT DISTINCT FROM 'load',"
						   " coalesce(h.delta_row_count, 0), (extract(epoch FROM h.end_time - h.start_time) * 1000)::float8"
						   " FROM pgtrickle.pgt_refresh_history h WHERE h.pgt_id = $1 AND h.status = 'COMPLETED'"
						   " ORDER BY h.start_time DESC LIMIT " CppAsString2(HISTORY),
						   1, &type);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare reading of the refresh history");
	}
	if (SPI_execute_plan(plan, &id, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the refresh history");
	*n = (int) SPI_processed;
	samples = palloc(sizeof(Sample) * Max(1, *n));
	for (int i = 0; i < *n; i++)
		samples[i] = read_sample((uint64) i);
	return samples;
}

static bool
is_similar(double a, double b)
{
	return a <= b * SIMILAR && b <= a * SIMILAR;
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* Of the newest samples of a similar size; without any, the one that is nearest in size. */
static Estimate
estimate(const Sample *samples, int n, double rows, bool full)
{
	Estimate e = {.ms = -1};
	double best = FAR;

	for (int i = 0; i < n && e.n < SAMPLES; i++)
	{
		const Sample *s = &samples[i];
		double ms = full ? s->ms : s->ms * rows / Max(1, s->rows);
		double distance = s->rows > rows ? s->rows / rows : rows / Max(1, s->rows);

		if (s->full != full || s->load || (!full && s->rows <= 0))
			continue;
		if (is_similar(s->rows, rows))
			e.samples[e.n++] = ms;
		else if (distance < best || (full && e.ms < 0))
		{
			best = Min(best, distance);
			e.ms = ms;
		}
	}
	if (e.n > 0)
	{
		qsort(e.samples, e.n, sizeof(double), compare_doubles);
		e.ms = e.samples[e.n / 2];
		e.near = true;
	}
	return e;
}

/* How many of the last two refreshes of a similar size were diffs, counted back from the last one? */
static int
last_fulls(const Sample *samples, int n, double rows)
{
	int fulls = 0;

	for (int i = 0; i < n && fulls < 2; i++)
	{
		if (samples[i].load || !is_similar(samples[i].rows, rows))
			continue;
		if (!samples[i].full)
			break;
		fulls++;
	}
	return fulls;
}

/* ---------- deciding ---------- */

static PgtChoice
by_share(double delta_rows, double rows, double limit, const char *name)
{
	PgtChoice c;

	c.full = rows > 0 && delta_rows > rows * limit;
	c.reason = rows > 0 ? psprintf("%.3g %% of the source rows changed, %s is %.3g %%", 100.0 * delta_rows / rows, name, 100.0 * limit)
						: psprintf("the number of source rows is not known");
	return c;
}

/*
 * What the last load or diff would take with today's rows; < 0: unknown.  Tables that were empty, or never analyzed, say nothing: a load
 * of nothing is cheap whatever a diff costs now.
 */
static double
scaled_full_ms(int64 pgt_id, double rows)
{
	static SPIPlanPtr plan = NULL;
	Datum id = Int64GetDatum(pgt_id);
	double ms = -1;
	bool isnull;

	if (plan == NULL)
	{
		Oid type = INT8OID;

		plan = SPI_prepare("SELECT c.full_ms / c.full_rows FROM pgtrickle.pgt_costs c WHERE c.pgt_id = $1 AND c.full_rows > 0", 1, &type);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare reading of costs");
	}
	if (SPI_execute_plan(plan, &id, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read costs");
	if (SPI_processed > 0 && rows > 0)
		ms = rows * DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return ms;
}

/* One way has not been measured. */
static PgtChoice
by_guess(const PgtStreamTable *st, const Estimate *incremental, double delta_rows, double rows)
{
	PgtChoice c = by_share(delta_rows, rows, pgt_guc_differential_max_change_ratio, "differential_max_change_ratio");
	double full_ms = scaled_full_ms(st->id, rows);

	if (c.full || !incremental->near || full_ms < 0 || incremental->ms <= full_ms * TRY_DIFF)
		return c;
	c.full = true;
	c.reason = psprintf("%.0f changed rows: incremental would take about %.1f ms, a diff is not measured, a load would take %.1f ms",
						delta_rows, incremental->ms, full_ms);
	return c;
}

static PgtChoice
by_cost(const PgtStreamTable *st, double delta_rows, double rows)
{
	int n;
	Sample *samples = read_samples(st->id, &n);
	Estimate incremental = estimate(samples, n, delta_rows, false);
	Estimate full = estimate(samples, n, delta_rows, true);
	int fulls = last_fulls(samples, n, delta_rows);
	PgtChoice c;

	if (incremental.ms < 0 || full.ms < 0)
		return by_guess(st, &incremental, delta_rows, rows);
	if (!incremental.near)
		c.full = incremental.ms > full.ms * TRY_INCREMENTAL;
	else
		c.full = incremental.ms > full.ms * (fulls == 0 ? LEAVE_INCREMENTAL : fulls == 1 ? LEAVE_TRIAL
																						 : LEAVE_DIFF);
	c.reason = psprintf("%.0f changed rows: incremental %s %.1f ms, diff %s %.1f ms, last time %s", delta_rows,
						incremental.near ? "takes" : "would take about", incremental.ms, full.near ? "takes" : "took", full.ms,
						fulls > 0 ? "diff" : "incremental");
	return c;
}

static PgtChoice
full_because(const char *reason)
{
	PgtChoice c = {.full = true};

	c.reason = pstrdup(reason);
	return c;
}

PgtChoice
pgt_choose(const PgtStreamTable *st, const PgtView *view, int64 delta_rows)
{
	PgtChoice incremental = {0};
	double rows;

	if (strcmp(st->refresh_mode, "FULL") == 0)
		return full_because("refresh_mode is FULL");
	if (view->full_reason)
		return full_because(view->full_reason);
	if (pgt_guc_refresh_strategy == PGT_STRATEGY_FULL)
		return full_because("pg_trickle.refresh_strategy is full");
	if (pgt_guc_refresh_strategy == PGT_STRATEGY_DIFFERENTIAL || delta_rows == 0)
		return incremental;
	rows = source_rows(view);
	if (st->max_delta_fraction >= 0 && rows > 0 && delta_rows > rows * st->max_delta_fraction)
		return by_share((double) delta_rows, rows, st->max_delta_fraction, "max_delta_fraction");
	if (strcmp(st->refresh_mode, "AUTO") != 0)
		return incremental;
	/* whoever set a threshold knows better, also for small tables */
	if (st->auto_threshold >= 0)
		return by_share((double) delta_rows, rows, st->auto_threshold, "auto_threshold");
	if (delta_rows <= WORTH_WEIGHING)
		return incremental;
	return by_cost(st, (double) delta_rows, rows);
}
