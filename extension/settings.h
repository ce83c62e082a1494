/*
 * settings.h - the session settings that are part of a query's meaning.
 */
#ifndef PGT_SETTINGS_H
#define PGT_SETTINGS_H

#include "postgres.h"
#include "catalog.h"

/* The current values of all pinned settings, as jsonb text for pgt_definitions.settings. */
extern char *pgt_settings_capture(void);

/* Act as the ST's owner under its pinned settings and search_path "pg_catalog, pg_temp". */
typedef struct PgtOwnerScope
{
	Oid userid;
	int sec_context;
	int guc_nest;
} PgtOwnerScope;

extern PgtOwnerScope pgt_owner_begin(const PgtStreamTable *st);
extern void pgt_owner_end(PgtOwnerScope scope);

#endif /* PGT_SETTINGS_H */
