/*
 * plugin.h - what the modules of pgtrickle_output share.
 *
 * relation.c answers "which registered relations does a change of this table go to, and how"; change.c decides what of a
 * change is sent; encode.c turns rows into buffer tuples; json.c into lines for people; plugin.c holds the callbacks.
 */
#ifndef PGT_PLUGIN_H
#define PGT_PLUGIN_H

#include "postgres.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "utils/resowner.h"

#include "plugin/frame.h"
#include "plugin/options.h"
#include "plugin/relation.h"

/* Largest row that is sent: it must fit a frame, and a frame the server's own send buffer. */
#define PGT_ROW_MAX (MaxAllocSize - 4 * PGT_FRAME_TARGET)

typedef struct PgtSession
{
	LogicalDecodingContext *ctx;
	PgtOptions opt;
	PgtFrame frame;
	MemoryContext txn_context;    /* reset at commit */
	MemoryContext change_context; /* reset after each change */
	ResourceOwner owner;          /* of type functions; made on demand, dies with the replayed transaction */
	TransactionId top_xid;
	uint64 xid;         /* the same with its epoch, once begun */
	uint64 txn_no;      /* counts transactions */
	uint64 truncate_no; /* counts TRUNCATEs */
	int quiet;          /* changes since the last sign of life */
	TimestampTz last_commit;
	size_t *offsets; /* where the columns of the last row begin in the frame, and where it ends */
	int max_offsets;
	PgtTarget *offsets_of; /* NULL: that row is not in the frame any more */
	bool begun;            /* the transaction has sent something */
	bool writing;          /* an error now is the connection's, not a row's */
} PgtSession;

/* Which columns an UPDATE changed: one bit per attribute of the registered relation, bit 0 first. */
typedef struct PgtMask
{
	int natts;
	uint64 low;  /* the first 64 */
	bits8 *bits; /* all of them, most significant bit first as in varbit; NULL up to 63 attributes */
} PgtMask;

/* One row to be sent; values and nulls are indexed as the decoded tuple. */
typedef struct PgtRow
{
	char op;             /* PgtOpCode */
	const Datum *values; /* NULL: no columns ('T', 'X') */
	const bool *nulls;
	const PgtMask *mask; /* NULL: stored as NULL */
	const bool *changed; /* per column, NULL: unknown.  Other columns are those of the row sent just before */
} PgtRow;

/* plugin.c: sending, in the session's format; `begin` is sent when it is due */
extern void pgt_send_row(PgtSession *s, PgtTarget *t, const PgtRow *row);
extern void pgt_send_unknown(PgtSession *s, PgtTarget *t, const char *reason);
extern void pgt_send_truncate(PgtSession *s, PgtTarget *t);
extern void pgt_write(PgtSession *s, const void *data, size_t len);
/* change.c */
extern void pgt_change(PgtSession *s, PgtEntry *e, ReorderBufferChange *change);

/* encode.c */
extern void pgt_encode_row(PgtSession *s, PgtTarget *t, const PgtRow *row);
extern bool pgt_values_differ(const PgtColumn *col, Datum a, Datum b);
/* json.c: one line each */
extern void pgt_json_begin(PgtSession *s);
extern void pgt_json_relation(PgtSession *s, PgtRoot *root);
extern void pgt_json_row(PgtSession *s, PgtTarget *t, const PgtRow *row);
extern void pgt_json_quarantine(PgtSession *s, PgtRoot *root, const char *reason);
extern void pgt_json_commit(PgtSession *s, XLogRecPtr commit_lsn, XLogRecPtr end_lsn);
extern void pgt_json_barrier(PgtSession *s, XLogRecPtr end_lsn, bool sync);

#endif /* PGT_PLUGIN_H */
