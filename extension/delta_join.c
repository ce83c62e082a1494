/*
 * delta_join.c - inner-join blocks: their change, from deltas and post states alone.
 *
 * With old = post - d for every changed input, the change of a product is, for any condition, bags, NULLs and self-joins,
 *     sum over non-empty S of changed inputs of (-1)^(|S|+1) * (deltas in S joined with post states elsewhere)
 * and also
 *     sum over changed inputs i of (post states before i) * d_i * (old states behind i),  an old state being post UNION ALL -d.
 * The first has the simplest terms but 2^k - 1 of them, so it serves few changed inputs; the second serves many: the planner carries
 * join conditions into both branches of a UNION ALL, so nothing is read whole.  Deltas that occur in several terms are netted into
 * ENRs first.
 */
#include "postgres.h"

#include "delta.h"

/* What stands for an input in a term. */
#define ROLE_POST 'p'
#define ROLE_DELTA 'd'
#define ROLE_OLD 'o'

/* Made once: terms share it, and a nested loop would compute it anew for each of its rows. */
static PgtFrom
narrowed(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, const char *rows)
{
	List *own = pgt_own_quals(op, ordinal);

	return pgt_enr(cxt, "p", psprintf("SELECT %s FROM (%s) a%d%s%s", pgt_columns(psprintf("a%d", ordinal), pgt_op_child(op, ordinal)->ncols, 0), rows, ordinal, own != NIL ? " WHERE " : "", own != NIL ? pgt_quals(own, op->children) : ""));
}

/* The first delta of the term that narrows an aggregated input does so; a plain one needs no help. */
static PgtFrom
post_input(PgtDeltaCtx *cxt, const PgtOp *op, int ordinal, PgtFrom *deltas, const char *roles)
{
	char *whole = pgt_post(pgt_op_child(op, ordinal));

	for (int i = 0; i < list_length(op->children) && pgt_has_agg(pgt_op_child(op, ordinal)); i++)
	{
		char *narrow;

		if (roles[i] != ROLE_DELTA)
			continue;
		narrow = pgt_post_near(cxt, op, ordinal, i + 1, deltas[i]);
		if (strcmp(narrow, whole) != 0)
			return narrowed(cxt, op, ordinal, narrow);
	}
	return psprintf("(%s)", whole);
}

static PgtFrom
old_input(const PgtOp *child, PgtFrom post, PgtFrom delta)
{
	return psprintf("(SELECT %s FROM %s p UNION ALL SELECT %s FROM %s d)",
					pgt_join2(pgt_columns("p", child->ncols, 0), "1::pg_catalog.int8 AS w"), post,
					pgt_join2(pgt_columns("d", child->ncols, 0), "-d.w AS w"), delta);
}

/* One term, with every input in its role. */
static char *
term(PgtDeltaCtx *cxt, const PgtOp *op, PgtFrom *deltas, const char *roles, bool negative)
{
	StringInfoData from;
	StringInfoData weight;
	char *quals = pgt_quals(op->quals, op->children);

	initStringInfo(&from);
	initStringInfo(&weight);
	for (int i = 0; i < list_length(op->children); i++)
	{
		PgtFrom input = roles[i] == ROLE_DELTA ? deltas[i] : post_input(cxt, op, i + 1, deltas, roles);

		if (roles[i] == ROLE_OLD)
			input = old_input(pgt_op_child(op, i + 1), input, deltas[i]);
		appendStringInfo(&from, "%s%s a%d", i > 0 ? ", " : "", input, i + 1);
		if (roles[i] != ROLE_POST)
			appendStringInfo(&weight, "%sa%d.w", weight.len > 0 ? " * " : "", i + 1);
	}
	return psprintf("SELECT %s FROM %s%s%s",
					pgt_join2(pgt_targets(op->targets, op->children),
							  psprintf("(%s%s)::pg_catalog.int8 AS w", negative ? "-1 * " : "", weight.data)),
					from.data, quals == NULL ? "" : " WHERE ", quals == NULL ? "" : quals);
}

/* Terms over the non-empty subsets of the k changed inputs. */
static List *
by_subsets(PgtDeltaCtx *cxt, const PgtOp *op, PgtFrom *deltas, const int *changed, int k)
{
	int n = list_length(op->children);
	char *roles = palloc(n + 1);
	List *terms = NIL;

	for (uint32 subset = (1u << k) - 1; subset != 0; subset--)
	{
		int size = 0;

		memset(roles, ROLE_POST, n);
		for (int i = 0; i < k; i++)
			if (subset & (1u << i))
			{
				roles[changed[i]] = ROLE_DELTA;
				size++;
			}
		terms = lappend(terms, term(cxt, op, deltas, roles, size % 2 == 0));
	}
	return terms;
}

/* One term for each of the k changed inputs. */
static List *
one_by_one(PgtDeltaCtx *cxt, const PgtOp *op, PgtFrom *deltas, const int *changed, int k)
{
	int n = list_length(op->children);
	char *roles = palloc(n + 1);
	List *terms = NIL;

	for (int i = 0; i < k; i++)
	{
		memset(roles, ROLE_POST, n);
		roles[changed[i]] = ROLE_DELTA;
		for (int j = i + 1; j < k; j++)
			roles[changed[j]] = ROLE_OLD;
		terms = lappend(terms, term(cxt, op, deltas, roles, false));
	}
	return terms;
}

PgtFrom
pgt_delta_select(PgtDeltaCtx *cxt, const PgtOp *op)
{
	int n = list_length(op->children);
	PgtFrom *deltas = palloc0(sizeof(PgtFrom) * Max(n, 1));
	int *changed = palloc(sizeof(int) * Max(n, 1));
	int k = 0;
	int uses = 0; /* a delta used twice is materialised */
	List *terms;
	StringInfoData s;
	ListCell *lc;

	foreach (lc, op->children)
		if (pgt_op_changed(lfirst(lc), cxt->changed) || (n > 1 && pgt_has_agg(lfirst(lc))))
			uses++;
	foreach (lc, op->children)
	{
		int i = foreach_current_index(lc);

		if (!pgt_op_changed(lfirst(lc), cxt->changed))
			continue;
		changed[k++] = i;
		deltas[i] = uses > 1 ? pgt_delta_netted(cxt, lfirst(lc)) : pgt_delta(cxt, lfirst(lc));
	}
	terms = k <= PGT_MAX_SUBSET_INPUTS ? by_subsets(cxt, op, deltas, changed, k) : one_by_one(cxt, op, deltas, changed, k);
	initStringInfo(&s);
	foreach (lc, terms)
		appendStringInfo(&s, "%s%s", foreach_current_index(lc) > 0 ? " UNION ALL " : "(", (char *) lfirst(lc));
	appendStringInfoChar(&s, ')');
	return s.data;
}
