/*
 * compat.h - every difference between PostgreSQL 15, 16, 17 and 18, in one place.
 *
 * Nothing else in the tree tests PG_VERSION_NUM.  Included by plugin and extension after postgres.h.
 */
#ifndef PGT_COMPAT_H
#define PGT_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "pg_trickle needs PostgreSQL 15 or later"
#endif

/* 16 replaced the per-catalog ownership checks by one */
#if PG_VERSION_NUM >= 160000
#define pgt_class_ownercheck(relid, roleid) object_ownercheck(RelationRelationId, (relid), (roleid))
#else
#define pgt_class_ownercheck(relid, roleid) pg_class_ownercheck((relid), (roleid))
#endif

#endif /* PGT_COMPAT_H */
