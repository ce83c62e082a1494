/*
 * wire.h - the frame format between pgtrickle_output and trickle-consumer.
 *
 * The only C that the two programs share.  Pure: no server header, no libpq, no allocation.  docs/protocol.md
 * states the format in words; tests/unit/test_wire.c holds the two to each other.
 *
 * All integers are big-endian (network order).  A frame is one CopyData payload of the replication stream (after the
 * walsender's own XLogData header):
 *
 *   u8  magic 'P'    u8 version (1)    u16 node id    u8 flags    u8[3] zero    u32 raw length
 *   payload: raw-length bytes, or an LZ4 block that decompresses to them (flag PGT_FRAME_LZ4)
 *
 * The payload is a sequence of messages, each:  u8 type, u32 length of the body, body.
 * A message never spans frames; a transaction may (rows, then its commit in the last frame).  Several messages share a frame.
 *
 *   'B' begin      u64 xid8 (top level)                           before the first message of a transaction that sends any
 *   'R' relation   u32 relid, u32 gen, u16 natts, u16 ncols, ncols * u16 attnum, then "schema\0" "name\0"
 *                                                                before the first rows of (relid, gen) in a session, and again after any change
 *   'D' data       u32 relid, u32 gen, u32 nrows, then nrows COPY BINARY tuples (no header, no trailer)
 *   'C' commit     u64 xid8, u64 commit lsn (start of the record), u64 end lsn, i64 commit time (PostgreSQL microseconds)
 *   'S' barrier    u64 end lsn of the message record, u8 hint (1: payload was "sync"); outside of transactions
 *   'Q' quarantine u32 relid, u32 gen, then "reason\0"           for people: the relation's rows follow as 'X' rows
 */
#ifndef PGT_WIRE_H
#define PGT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define PGT_FRAME_MAGIC 'P'
#define PGT_FRAME_VERSION 1
#define PGT_FRAME_HEADER 12
#define PGT_FRAME_LZ4 0x01
#define PGT_FRAME_TARGET (64 * 1024)            /* a frame is written when it has grown to this */
#define PGT_FRAME_MAX_RAW (1024u * 1024 * 1024) /* one row may be this large, as in PostgreSQL */

typedef enum PgtMsgType
{
	PGT_MSG_BEGIN = 'B',
	PGT_MSG_RELATION = 'R',
	PGT_MSG_DATA = 'D',
	PGT_MSG_COMMIT = 'C',
	PGT_MSG_BARRIER = 'S',
	PGT_MSG_QUARANTINE = 'Q'
} PgtMsgType;

/* op column of a buffer row */
typedef enum PgtOpCode
{
	PGT_OP_PLUS = '+',
	PGT_OP_MINUS = '-',
	PGT_OP_TRUNCATE = 'T',
	PGT_OP_UNKNOWN = 'X'
} PgtOpCode;

#define PGT_MSG_HEADER 5 /* type byte + u32 body length */

static inline void
pgt_put16(unsigned char *p, uint16_t v)
{
	p[0] = (unsigned char) (v >> 8);
	p[1] = (unsigned char) v;
}

static inline void
pgt_put32(unsigned char *p, uint32_t v)
{
	pgt_put16(p, (uint16_t) (v >> 16));
	pgt_put16(p + 2, (uint16_t) v);
}

static inline void
pgt_put64(unsigned char *p, uint64_t v)
{
	pgt_put32(p, (uint32_t) (v >> 32));
	pgt_put32(p + 4, (uint32_t) v);
}

static inline uint16_t
pgt_get16(const unsigned char *p)
{
	return (uint16_t) ((p[0] << 8) | p[1]);
}

static inline uint32_t
pgt_get32(const unsigned char *p)
{
	return ((uint32_t) pgt_get16(p) << 16) | pgt_get16(p + 2);
}

static inline uint64_t
pgt_get64(const unsigned char *p)
{
	return ((uint64_t) pgt_get32(p) << 32) | pgt_get32(p + 4);
}

#endif /* PGT_WIRE_H */
