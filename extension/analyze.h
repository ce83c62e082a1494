/*
 * analyze.h - from query text to operator tree, and the rules that say what is not incremental.
 */
#ifndef PGT_ANALYZE_H
#define PGT_ANALYZE_H

#include "postgres.h"
#include "nodes/parsenodes.h"
#include "optree.h"

/* What analysis finds besides the tree. */
typedef struct PgtFindings
{
	const char *full_reason; /* first rule that applies */
	const char *full_hint;
	List *notices;
	List *functions;     /* of Oid */
	bool clocked;        /* clock functions, which may be parameters (clock.h) */
	bool time_dependent; /* something other than its tables changes the result: the clock, the session, unknown tables */
} PgtFindings;

/* analyze.c: parse, analyse and rewrite under the current search_path; refuse what can never be an ST. */
extern Query *pgt_analyze_text(const char *text);
extern void pgt_make_readable(Query *query); /* of an analysed query: what the deparser writes of CYCLE can be read; in place */

/* rules.c: apply the rule table to a query and everything below it. */
extern void pgt_rules_apply(Query *query, PgtFindings *findings);

/* canon.c: give the query one answer where SQL leaves several (aggregate input order). */
extern void pgt_canonicalise(Query *query, PgtFindings *findings);
extern void pgt_canon_images(Query *subquery); /* a subquery run again for some rows shows the same of equal values as before; in place */
extern Query *pgt_qualified(Query *query);     /* canon_order.c: make the deparser qualify every column; in place */

/* build.c: the operator tree; scans carry relid, sources are numbered by the caller.  Only for queries no rule refused;
 * NULL where one turns out not to be incremental after all. */
extern PgtOp *pgt_build_tree(Query *query, PgtFindings *found);

#endif /* PGT_ANALYZE_H */
