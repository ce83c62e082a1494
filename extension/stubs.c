/* Temporary: weak definitions of what has not landed yet, so that the library loads.  Deleted when everything is in. */
#include "postgres.h"

#include "source.h"
#include "view.h"

#define STUB(decl) __attribute__((weak)) decl { elog(ERROR, "%s: not built yet", __func__); }
STUB(PgtView *pgt_view_compile(const char *query))
STUB(PgtProgram *pgt_view_delta_program(PgtView *view, const PgtTarget *target, Bitmapset *changed))
STUB(PgtProgram *pgt_view_diff_program(PgtView *view, const PgtTarget *target))
STUB(PgtProgram *pgt_view_load_program(PgtView *view, const PgtTarget *target))
STUB(char *pgt_view_verify_sql(PgtView *view, const PgtTarget *target))
STUB(List *pgt_source_family(Oid relid, LOCKMODE lockmode))
STUB(List *pgt_source_leaves(Oid relid))
STUB(void pgt_source_register(Oid relid, List *attnums, bool insert_only))
STUB(void pgt_source_check(Oid relid, Oid owner))
STUB(void pgt_source_release(Oid relid))
