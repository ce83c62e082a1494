/*
 * fuse.c - the fuse of a stream table: too many changes at once, and it waits for a person instead of being refreshed.
 *
 * armed ──too much, scheduled──▶ blown ──reset_fuse('apply')──▶ disabled ──next refresh──▶ armed
 *                                  └────reset_fuse('reinitialize')─────────────────────────▶ armed, marked for a diff
 *
 * Counted are the rows that S1 shows and the frontier does not, exactly as the refresh would consume them; a TRUNCATE, or a change
 * that rows do not describe, is too much by itself.  An ST that is marked for a diff was not flooded and passes.  Whoever refreshes by
 * hand has decided and is not asked, but a blown fuse he must reset first.
 *
 * skip_changes of the trigger-based predecessor moved the frontier without the changes.  Then the ST differs from its query, every later delta
 * starts from contents that never were, and only a comparison could tell: refused.  Who wants the changes let go gets them let go, and a
 * comparison; who had undone them at the source loses nothing by applying them, as opposite changes cancel out.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "api.h"
#include "coordination.h"

PG_FUNCTION_INFO_V1(pgt_reset_fuse);

static bool
is_blown(const PgtStreamTable *st)
{
	return strcmp(st->fuse_mode, "off") != 0 && strcmp(st->fuse_state, "blown") == 0;
}

static bool
is_armed(const PgtStreamTable *st)
{
	return strcmp(st->fuse_mode, "off") != 0 && strcmp(st->fuse_state, "armed") == 0;
}

void
pgt_refuse_blown(const PgtStreamTable *st)
{
	if (is_blown(st))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the fuse of stream table %s has blown", pgt_st_label(st)),
				 errhint("See pgtrickle.fuse_status(), then call pgtrickle.reset_fuse(name, action).")));
}

void
pgt_check_fuse(const PgtStreamTable *st, int64 pending, const char *unknown)
{
	char *ceiling;

	if (!is_armed(st) || (pending == 0 && unknown == NULL))
		return;
	ceiling = pgt_catalog_value("SELECT pgtrickle._fuse_ceiling($1)", st->id);
	if (ceiling == NULL)
		return;
	if (unknown != NULL)
		ereport(ERROR,
				(errcode(PGT_ERRCODE_FUSE_BLOWN),
				 errmsg("an unknown number of changes is waiting (%s), and the ceiling is %s", unknown, ceiling)));
	if (strcmp(pgt_catalog_value(psprintf("SELECT pgtrickle._fuse_blows($1, " INT64_FORMAT ")", pending), st->id), "t") == 0)
		ereport(ERROR,
				(errcode(PGT_ERRCODE_FUSE_BLOWN),
				 errmsg(INT64_FORMAT " changes are waiting, and the ceiling is %s", pending, ceiling)));
}

static void
set_state(int64 pgt_id, const char *state)
{
	(void) pgt_catalog_value(psprintf("UPDATE pgtrickle.pgt_state SET fuse_state = '%s' WHERE pgt_id = $1", state), pgt_id);
}

void
pgt_fuse_passed(const PgtStreamTable *st)
{
	if (strcmp(st->fuse_mode, "off") != 0 && strcmp(st->fuse_state, "disabled") == 0)
		set_state(st->id, "armed");
}

Datum
pgt_reset_fuse(PG_FUNCTION_ARGS)
{
	PgtStreamTable *st = pgt_st_argument(fcinfo);
	char *action = PG_ARGISNULL(1) ? "apply" : text_to_cstring(PG_GETARG_TEXT_PP(1));

	pgt_st_check_owner(st);
	if (strcmp(action, "skip_changes") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("changes cannot be skipped"),
				 errdetail("A stream table never differs from its query."),
				 errhint("Use 'apply': changes that were undone at the source cancel out. Use 'reinitialize' to let the waiting changes go and compare instead.")));
	if (strcmp(action, "apply") != 0 && strcmp(action, "reinitialize") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown action \"%s\"", action),
				 errhint("It is apply or reinitialize.")));
	st = pgt_st_lock(st);
	if (!is_blown(st))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the fuse of stream table %s has not blown", pgt_st_label(st))));
	if (strcmp(action, "apply") == 0)
		set_state(st->id, "disabled");
	else
	{
		set_state(st->id, "armed");
		pgt_st_mark_reinit(st->id, "fuse reset with reinitialize");
	}
	pgt_catalog_notify();
	PG_RETURN_VOID();
}
