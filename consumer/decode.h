/*
 * decode.h - frames to messages.
 *
 * Pure: no socket, no clock.  Input is not trusted: every length is checked against what is there, every order against the protocol
 * (docs/protocol.md), every COPY tuple's fields against the relation's column count.  The first error ends the decoder's
 * use; the caller reconnects.
 */
#ifndef PGT_DECODE_H
#define PGT_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consumer/err.h"

typedef struct PgtCommitMsg
{
	uint64_t xid;
	uint64_t commit_lsn; /* start of the commit record */
	uint64_t end_lsn;
	int64_t commit_time; /* microseconds since 2000-01-01 */
} PgtCommitMsg;

typedef struct PgtDataMsg
{
	uint32_t relid;
	uint32_t gen;
	uint16_t nfields; /* of each tuple: xid, op, changed_columns (unless without masks), columns */
	uint32_t nrows;
	const unsigned char *tuples;
	size_t len;
} PgtDataMsg;

typedef struct PgtDecodeOps
{
	void (*begin)(void *arg, uint64_t xid);
	void (*data)(void *arg, const PgtDataMsg *msg);
	void (*commit)(void *arg, const PgtCommitMsg *msg);
	void (*barrier)(void *arg, uint64_t lsn, bool sync);
	void (*quarantine)(void *arg, uint32_t relid, uint32_t gen, const char *reason);
} PgtDecodeOps;

typedef struct PgtDecoder PgtDecoder;

extern PgtDecoder *pgt_decoder_create(const PgtDecodeOps *ops, void *arg);
/* the stream was started with changed_columns off: tuples lack that field */
extern void pgt_decoder_without_masks(PgtDecoder *d);
extern void pgt_decoder_free(PgtDecoder *d);
extern bool pgt_decode_frame(PgtDecoder *d, const unsigned char *frame, size_t len, PgtErr *err);
extern bool pgt_decoder_in_transaction(const PgtDecoder *d);

#endif /* PGT_DECODE_H */
