/*
 * layout.h - what a buffer's columns are: shared by extension (which makes buffers) and plugin (which fills them).
 *
 * Pure.  The hash lets the plugin notice that a table's columns are no longer those the buffer was made for.
 */
#ifndef PGT_LAYOUT_H
#define PGT_LAYOUT_H

#include <stdint.h>

#define PGT_LAYOUT_SEED 2166136261u

/* pgt_sources.kinds, one letter per captured column */
#define PGT_KIND_NATIVE 'n' /* typsend bytes, received by the buffer column's own type */
#define PGT_KIND_SENT 's'   /* buffer column is bytea holding typsend output */
#define PGT_KIND_DATUM 'd'  /* buffer column is bytea holding the datum's own bytes */

/* widest relation whose changed_columns fits an int8 */
#define PGT_MASK_INT8_MAX 63

/* FNV-1a over the (attnum, type oid) pairs in buffer order, all big-endian */
static inline uint32_t
pgt_layout_step(uint32_t h, uint16_t attnum, uint32_t typeoid)
{
	unsigned char b[6] = {attnum >> 8, attnum & 0xff, typeoid >> 24, (typeoid >> 16) & 0xff, (typeoid >> 8) & 0xff, typeoid & 0xff};

	for (int i = 0; i < 6; i++)
		h = (h ^ b[i]) * 16777619u;
	return h;
}

#endif /* PGT_LAYOUT_H */
