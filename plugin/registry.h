/*
 * registry.h - reading pgtrickle.pgt_sources under the historic snapshot.
 */
#ifndef PGT_REGISTRY_H
#define PGT_REGISTRY_H

#include "plugin/relation.h"

/* This table (InvalidOid: any) may have changed.  True when that was the registry: what it said about every relation is void. */
extern bool pgt_registry_invalidate(Oid relid);

/* Fill root->tracked and, when true, the registration, in root->context (made here). */
extern void pgt_registry_load(PgtRoot *root, MemoryContext parent);

#endif /* PGT_REGISTRY_H */
