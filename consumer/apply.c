/*
 * apply.c - the apply connection.
 *
 * A batch is one query string: BEGIN, a COPY per source, segment_stats, the progress row, COMMIT.  The server runs it statement by
 * statement and asks for each COPY's data in turn, so a batch costs one round trip and one more per source.
 *
 * The compare-and-swap of the progress row is written so that it fails by itself (division by zero) when it finds another
 * value: then COMMIT, which stands in the same string, is never reached.  That fences a predecessor whose COMMIT is late, and us
 * if we are the predecessor.
 *
 * Only LSNs, numbers and quoted names of ours are put into the text; row data travels in COPY.
 */
#include "consumer/apply.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/captured.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/sqlbuf.h"

#define STATE_DIVISION_BY_ZERO "22012"

static const char copy_header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
#define COPY_HEADER_LEN 19
static const char copy_trailer[] = "\377\377";
#define COPY_TRAILER_LEN 2

typedef enum CopyStage
{
	COPY_HEADER,
	COPY_BLOCKS,
	COPY_TRAILER,
	COPY_END
} CopyStage;

struct PgtApply
{
	PgtLoop *loop;
	PgtConn *conn;
	PgtSegments *segments;
	PgtApplyEvents events;
	void *arg;
	bool started;
	bool in_xact;
	bool busy;
	uint64_t written; /* value of the progress row */
	uint64_t target;  /* value being written, 0: none */
	PgtBatch *batch;  /* in flight */
	PgtRows **copies; /* of the batch: what has a segment, in order */
	int ncopies;
	int which; /* COPY being fed */
	CopyStage stage;
	const PgtBlock *block;
	int64_t since; /* when the work in flight began */
	PgtSql sql;
};

/* ---- the data of one COPY after the other ---- */

static bool
copy_source(void *arg, int which, const char **data, size_t *len)
{
	PgtApply *a = arg;

	if (which != a->which || which >= a->ncopies)
	{
		a->which = which;
		a->stage = COPY_HEADER;
		if (which >= a->ncopies)
			return false;
	}
	switch (a->stage)
	{
		case COPY_HEADER:
			*data = copy_header;
			*len = COPY_HEADER_LEN;
			a->block = a->copies[which]->first;
			a->stage = COPY_BLOCKS;
			return true;
		case COPY_BLOCKS:
			if (a->block)
			{
				*data = a->block->data;
				*len = a->block->used;
				a->block = a->block->next;
				return true;
			}
			a->stage = COPY_TRAILER;
			/* FALLTHROUGH */
		case COPY_TRAILER:
			*data = copy_trailer;
			*len = COPY_TRAILER_LEN;
			a->stage = COPY_END;
			return true;
		case COPY_END:
			break;
	}
	return false;
}

/* ---- SQL ---- */

static void
add_begin(PgtApply *a)
{
	if (!a->in_xact)
		pgt_sql_add(&a->sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\n");
	a->in_xact = true;
}

static void
add_copies(PgtApply *a)
{
	for (int i = 0; i < a->ncopies; i++)
	{
		const PgtSegment *seg = pgt_segments_find(a->segments, a->copies[i]->relid, a->copies[i]->gen);

		pgt_sql_add(&a->sql, "COPY pgtrickle_changes.");
		pgt_sql_name(&a->sql, seg->relname);
		pgt_sql_add(&a->sql, " FROM STDIN (FORMAT binary);\n");
	}
}

static void
add_stats(PgtApply *a)
{
	if (a->ncopies == 0)
		return;
	pgt_sql_add(&a->sql, "INSERT INTO pgtrickle_changes.segment_stats AS s (source_relid, segno, min_xid, max_xid, rows) VALUES ");
	for (int i = 0; i < a->ncopies; i++)
	{
		const PgtRows *r = a->copies[i];
		const PgtSegment *seg = pgt_segments_find(a->segments, r->relid, r->gen);

		pgt_sql_add(&a->sql, "%s(%u, %" PRId64 ", '%" PRIu64 "', '%" PRIu64 "', %" PRIu64 ")", i ? ", " : "", r->relid, seg->segno,
					r->min_xid, r->max_xid, r->nrows);
	}
	pgt_sql_add(&a->sql, " ON CONFLICT (source_relid, segno) DO UPDATE SET min_xid = least(s.min_xid, excluded.min_xid),"
						 " max_xid = greatest(s.max_xid, excluded.max_xid), rows = s.rows OPERATOR(pg_catalog.+) excluded.rows;\n");
}

static void
add_progress(PgtApply *a)
{
	pgt_sql_add(&a->sql, "WITH moved AS (UPDATE pgtrickle_changes.progress SET applied_lsn = ");
	pgt_sql_lsn(&a->sql, a->target);
	pgt_sql_add(&a->sql, " WHERE node = 0 AND applied_lsn = ");
	pgt_sql_lsn(&a->sql, a->written);
	pgt_sql_add(&a->sql, " RETURNING 1) SELECT 1 / count(*) FROM moved;\n");
}

/* ---- results ---- */

static void
release_batch(PgtApply *a)
{
	pgt_batch_free(a->batch);
	a->batch = NULL;
	free(a->copies);
	a->copies = NULL;
	a->ncopies = 0;
}

static const PgtRows *
find_culprit(const PgtApply *a, const PgtErr *err)
{
	if (strncmp(err->context, "COPY ", 5) != 0 || a->which < 0 || a->which >= a->ncopies)
		return NULL;
	return a->copies[a->which];
}

static void
on_result(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtApply *a = arg;
	PgtBatch *batch = a->batch;
	uint64_t lsn = a->target;

	if (err)
	{
		PgtErr e = *err;
		const PgtRows *culprit = find_culprit(a, err);

		if (strcmp(err->sqlstate, STATE_DIVISION_BY_ZERO) == 0 && culprit == NULL)
			pgt_err_set(&e, PGT_STATE_FENCED, "the progress of this database was moved by another consumer");
		/* busy stays set: nothing can be done with this connection any more */
		a->events.on_failed(a->arg, &e, culprit);
		return;
	}
	if (lsn)
	{
		a->written = lsn;
		a->in_xact = false;
		pgt_metric_add(PGT_M_APPLIES, 1);
	}
	for (int i = 0; i < a->ncopies; i++)
		pgt_captured_add(a->copies[i]->relid, (int64_t) a->copies[i]->nrows);
	pgt_metric_add(PGT_M_APPLY_SECONDS, (double) (pgt_loop_now(a->loop) - a->since) / 1e6);
	a->busy = false;
	a->batch = NULL;
	free(a->copies);
	a->copies = NULL;
	a->ncopies = 0;
	a->events.on_done(a->arg, batch, lsn);
	pgt_batch_free(batch);
}

static void
run(PgtApply *a)
{
	a->busy = true;
	a->which = -1;
	a->since = pgt_loop_now(a->loop);
	pgt_conn_query(a->conn, a->sql.text, on_result, a);
	if (a->ncopies > 0)
		pgt_conn_copy_source(a->conn, copy_source, a);
}

/* rows of generations that are gone are left out */
static void
choose_copies(PgtApply *a)
{
	a->copies = calloc((size_t) a->batch->nrows + 1, sizeof(PgtRows *));
	if (a->copies == NULL)
		abort();
	a->ncopies = 0;
	for (int i = 0; i < a->batch->nrows; i++)
	{
		PgtRows *r = &a->batch->rows[i];
		const PgtSegment *seg = pgt_segments_find(a->segments, r->relid, r->gen);

		if (seg && !seg->missing)
			a->copies[a->ncopies++] = r;
		else
			pgt_metric_add(PGT_M_ROWS_DROPPED, (double) r->nrows);
	}
}

void
pgt_apply_batch(PgtApply *a, PgtBatch *batch, uint64_t lsn)
{
	a->batch = batch;
	a->target = batch->complete ? lsn : 0;
	choose_copies(a);
	pgt_sql_reset(&a->sql);
	add_begin(a);
	add_copies(a);
	add_stats(a);
	if (a->target)
	{
		add_progress(a);
		pgt_sql_add(&a->sql, "COMMIT");
	}
	run(a);
}

void
pgt_apply_progress(PgtApply *a, uint64_t lsn)
{
	a->target = lsn;
	pgt_sql_reset(&a->sql);
	add_progress(a);
	run(a);
}

void
pgt_apply_rollback(PgtApply *a)
{
	a->target = 0;
	a->in_xact = false;
	pgt_sql_reset(&a->sql);
	pgt_sql_add(&a->sql, "ROLLBACK");
	run(a);
}

/* ---- life ---- */

static void
on_conn_closed(void *arg, const PgtErr *err)
{
	PgtApply *a = arg;

	a->busy = true;
	a->events.on_failed(a->arg, err, NULL);
}

static void
on_prelude(void *arg, const PGresult *res, const PgtErr *err)
{
	PgtApply *a = arg;

	if (err)
		a->events.on_failed(a->arg, err, NULL);
}

PgtApply *
pgt_apply_open(PgtLoop *loop, const PgtOptions *options, PgtSegments *segments)
{
	static const PgtConnEvents conn_events = {.on_closed = on_conn_closed};
	PgtApply *a = calloc(1, sizeof(PgtApply));

	if (a == NULL)
		abort();
	a->loop = loop;
	a->segments = segments;
	a->conn = pgt_conn_open(loop, options, PGT_CONN_SQL, "apply");
	pgt_conn_events(a->conn, &conn_events, a);
	/*
	 * The slot resends what an asynchronous commit may lose; unless buffers are logged, for then the slot does not wait.  Frames carry
	 * text in the database's encoding (docs/protocol.md).
	 */
	pgt_conn_query(a->conn,
				   "DO $$BEGIN EXECUTE 'SET client_encoding = ' || pg_catalog.quote_literal(pg_catalog.getdatabaseencoding()); END$$;"
				   " SELECT pg_catalog.set_config('synchronous_commit', CASE relpersistence WHEN 'p' THEN 'local' ELSE 'off' END, false)"
				   " FROM pg_catalog.pg_class WHERE oid = 'pgtrickle_changes.progress'::pg_catalog.regclass; SET search_path = pg_catalog, pg_temp; SET client_min_messages = warning;"
				   " SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0",
				   on_prelude, a);
	return a;
}

void
pgt_apply_events(PgtApply *a, const PgtApplyEvents *events, void *arg)
{
	a->events = *events;
	a->arg = arg;
}

void
pgt_apply_close(PgtApply *a)
{
	if (a == NULL)
		return;
	pgt_conn_close(a->conn);
	release_batch(a);
	pgt_sql_free(&a->sql);
	free(a);
}

void
pgt_apply_start(PgtApply *a, uint64_t applied_lsn)
{
	a->written = applied_lsn;
	a->started = true;
}

bool
pgt_apply_is_free(const PgtApply *a)
{
	return a && a->started && !a->busy;
}

bool
pgt_apply_in_transaction(const PgtApply *a)
{
	return a->in_xact;
}

size_t
pgt_apply_bytes(const PgtApply *a)
{
	return a && a->batch ? a->batch->bytes : 0;
}

int64_t
pgt_apply_received_us(const PgtApply *a)
{
	return a && a->batch ? a->batch->received_us : 0;
}
