/*
 * delta_join.c - inner-join blocks, by inclusion-exclusion over post states.
 *
 * With old = post - d for every changed input, the change of a product is
 *     sum over non-empty S of changed inputs of (-1)^(|S|+1) * (deltas in S joined with post states elsewhere),
 * for any condition, bags, NULLs and self-joins.  Deltas that occur in several terms are netted into ENRs first.
 */
#include "postgres.h"

#include "delta.h"

/* The first delta of the term that narrows an aggregated input does so; a plain one needs no help. */
static PgtFrom
post_input(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom *deltas, uint32 subset)
{
	char	   *whole = pgt_post(pgt_op_child(op, ordinal));

	for (int i = 0; i < list_length(op->children) && pgt_has_agg(pgt_op_child(op, ordinal)); i++)
	{
		char	   *narrow;

		if ((subset & (1u << i)) == 0)
			continue;
		narrow = pgt_post_near(cxt, op, ordinal, i + 1, deltas[i]);
		if (strcmp(narrow, whole) != 0)
			return psprintf("(%s)", narrow);
	}
	return psprintf("(%s)", whole);
}

/* One term: the inputs in `subset` by their deltas, the others by post state. */
static char *
term(PgtDeltaCtx *cxt, const PgtOp *op, PgtFrom *deltas, uint32 subset)
{
	StringInfoData from;
	StringInfoData weight;
	int			n = list_length(op->children);
	int			signs = 0;
	char	   *quals = pgt_quals(op->quals, op->children);

	initStringInfo(&from);
	initStringInfo(&weight);
	for (int i = 0; i < n; i++)
	{
		bool		delta = (subset & (1u << i)) != 0;

		appendStringInfo(&from, "%s%s a%d", i > 0 ? ", " : "", delta ? deltas[i] : post_input(cxt, op, i + 1, deltas, subset), i + 1);
		if (!delta)
			continue;
		appendStringInfo(&weight, "%sa%d.w", signs++ > 0 ? " * " : "", i + 1);
	}
	return psprintf("SELECT %s FROM %s%s%s",
					pgt_join2(pgt_targets(op->targets, op->children),
							  psprintf("(%s%s)::pg_catalog.int8 AS w", signs % 2 == 0 ? "-1 * " : "", weight.data)),
					from.data, quals == NULL ? "" : " WHERE ", quals == NULL ? "" : quals);
}

PgtFrom
pgt_delta_select(PgtDeltaCtx *cxt, const PgtOp *op)
{
	int			n = list_length(op->children);
	PgtFrom    *deltas = palloc0(sizeof(PgtFrom) * Max(n, 1));
	uint32		changed = 0;
	int			uses = 0; /* a delta used twice is materialised */
	StringInfoData s;
	int			terms = 0;
	ListCell   *lc;

	foreach(lc, op->children)
		if (pgt_op_changed(lfirst(lc), cxt->changed) || (n > 1 && pgt_has_agg(lfirst(lc))))
			uses++;
	foreach(lc, op->children)
	{
		int			i = foreach_current_index(lc);

		if (!pgt_op_changed(lfirst(lc), cxt->changed))
			continue;
		changed |= 1u << i;
		deltas[i] = uses > 1 ? pgt_delta_netted(cxt, lfirst(lc)) : pgt_delta(cxt, lfirst(lc));
	}
	initStringInfo(&s);
	for (uint32 subset = changed; subset != 0; subset = (subset - 1) & changed)
		appendStringInfo(&s, "%s%s", terms++ > 0 ? " UNION ALL " : "(", term(cxt, op, deltas, subset));
	appendStringInfoChar(&s, ')');
	return s.data;
}
