/*
 * test_decode.c - the frame decoder: what it accepts, what it refuses, and that nothing makes it read beyond its input
 * (AddressSanitizer watches: every input is an exact heap allocation).
 */
/* link: consumer/decode.c consumer/log.c plugin/frame.c */
/* libs: -lpq */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "consumer/decode.h"
#include "plugin/frame.h"

static char seen[4096]; /* what the callbacks heard, as text */

static void
on_begin(void *arg, uint64_t xid)
{
	sprintf(seen + strlen(seen), "B%llu ", (unsigned long long) xid);
}

static void
on_data(void *arg, const PgtDataMsg *m)
{
	if (strlen(seen) < 3000)
		sprintf(seen + strlen(seen), "D%u/%u:%u(%u,%zu) ", m->relid, m->gen, m->nrows, m->nfields, m->len);
}

static void
on_commit(void *arg, const PgtCommitMsg *m)
{
	sprintf(seen + strlen(seen), "C%llu@%llu-%llu ", (unsigned long long) m->xid, (unsigned long long) m->commit_lsn, (unsigned long long) m->end_lsn);
}

static void
on_barrier(void *arg, uint64_t lsn, bool sync)
{
	sprintf(seen + strlen(seen), "S%llu%s ", (unsigned long long) lsn, sync ? "!" : "");
}

static void
on_quarantine(void *arg, uint32_t relid, uint32_t gen, const char *reason)
{
	if (strlen(seen) < 3000)
		snprintf(seen + strlen(seen), 100, "Q%u/%u:%s ", relid, gen, reason);
}

static const PgtDecodeOps ops = {on_begin, on_data, on_commit, on_barrier, on_quarantine};

/* ---- building frames with the plugin's own builder ---- */

static void *
plain_realloc(void *owner, void *old, size_t size)
{
	return realloc(old, size);
}

static void
put_relation(PgtFrame *f, uint32_t relid, uint32_t gen, uint16_t ncols)
{
	unsigned char body[256];
	size_t n = 12;

	pgt_put32(body, relid);
	pgt_put32(body + 4, gen);
	pgt_put16(body + 8, ncols);
	pgt_put16(body + 10, ncols);
	for (uint16_t i = 0; i < ncols; i++, n += 2)
		pgt_put16(body + n, (uint16_t) (i + 1));
	memcpy(body + n, "public\0t", 9);
	pgt_frame_relation(f, body, n + 9);
}

/* xid, op, no mask, then ncols columns of 4 bytes */
static void
put_row(PgtFrame *f, uint32_t relid, uint32_t gen, uint16_t ncols, uint64_t xid)
{
	unsigned char *p;
	size_t n = 2 + 12 + 5 + 4 + (size_t) ncols * 8;

	pgt_frame_row_begin(f, relid, gen);
	p = pgt_frame_room(f, n);
	pgt_put16(p, (uint16_t) (3 + ncols));
	pgt_put32(p + 2, 8);
	pgt_put64(p + 6, xid);
	pgt_put32(p + 14, 1);
	p[18] = PGT_OP_PLUS;
	pgt_put32(p + 19, UINT32_MAX);
	for (uint16_t i = 0; i < ncols; i++)
	{
		pgt_put32(p + 23 + i * 8, 4);
		pgt_put32(p + 27 + i * 8, i);
	}
	f->len += n;
	pgt_frame_row_end(f);
}

/* a transaction of two sources, and a barrier behind it */
static size_t
good_frame(PgtFrame *f, bool lz4, const unsigned char **out)
{
	pgt_frame_init(f, 0, lz4, plain_realloc, NULL);
	pgt_frame_begin(f, 7);
	put_relation(f, 100, 1, 2);
	for (int i = 0; i < 3; i++)
		put_row(f, 100, 1, 2, 7);
	put_relation(f, 200, 5, 0);
	put_row(f, 200, 5, 0, 7);
	pgt_frame_quarantine(f, 200, 5, "why");
	pgt_frame_commit(f, 7, 1000, 1040, 0);
	pgt_frame_barrier(f, 1100, true);
	return pgt_frame_finish(f, out);
}

static void
free_frame(PgtFrame *f)
{
	free(f->buf);
	free(f->zbuf);
}

#define GOOD_SEEN "B7 D100/1:3(5,117) D200/5:1(3,23) Q200/5:why C7@1000-1040 S1100! "

/* in an allocation of exactly its size, by a new decoder */
static bool
decode_once(const unsigned char *frame, size_t len, PgtErr *err)
{
	PgtDecoder *d = pgt_decoder_create(&ops, NULL);
	unsigned char *copy = malloc(len ? len : 1);
	bool ok;

	memcpy(copy, frame, len);
	seen[0] = '\0';
	ok = pgt_decode_frame(d, copy, len, err);
	free(copy);
	pgt_decoder_free(d);
	return ok;
}

static void
accepts_what_the_plugin_builds(void **state)
{
	for (int lz4 = 0; lz4 <= 1; lz4++)
	{
		PgtFrame f;
		const unsigned char *out;
		size_t n = good_frame(&f, lz4, &out);
		PgtErr err;

		assert_true(decode_once(out, n, &err));
		assert_string_equal(seen, GOOD_SEEN);
		free_frame(&f);
	}
}

/* What comes after START_REPLICATION with changed_columns off has a field less; rows of the other shape are not taken for it. */
static void
rows_without_masks_have_their_own_shape(void **state)
{
	PgtFrame f;
	const unsigned char *out;
	size_t n = good_frame(&f, false, &out);
	PgtDecoder *d = pgt_decoder_create(&ops, NULL);
	PgtErr err;

	pgt_decoder_without_masks(d);
	assert_false(pgt_decode_frame(d, out, n, &err));
	pgt_decoder_free(d);
	free_frame(&f);

	d = pgt_decoder_create(&ops, NULL);
	pgt_decoder_without_masks(d);
	seen[0] = '\0';
	pgt_frame_init(&f, 0, false, plain_realloc, NULL);
	pgt_frame_begin(&f, 7);
	put_relation(&f, 100, 1, 3);
	/* two columns and the NULL that is no mask now: three columns */
	put_row(&f, 100, 1, 2, 7);
	pgt_frame_commit(&f, 7, 1000, 1040, 0);
	n = pgt_frame_finish(&f, &out);
	assert_true(pgt_decode_frame(d, out, n, &err));
	assert_string_equal(seen, "B7 D100/1:1(5,39) C7@1000-1040 ");
	pgt_decoder_free(d);
	free_frame(&f);
}

static void
a_transaction_may_span_frames(void **state)
{
	PgtDecoder *d = pgt_decoder_create(&ops, NULL);
	PgtFrame f;
	const unsigned char *out;
	size_t n;
	PgtErr err;

	seen[0] = '\0';
	pgt_frame_init(&f, 0, false, plain_realloc, NULL);
	pgt_frame_begin(&f, 9);
	put_relation(&f, 1, 1, 1);
	put_row(&f, 1, 1, 1, 9);
	n = pgt_frame_finish(&f, &out);
	assert_true(pgt_decode_frame(d, out, n, &err));
	assert_true(pgt_decoder_in_transaction(d));
	put_row(&f, 1, 1, 1, 9);
	pgt_frame_commit(&f, 9, 5, 6, 0);
	n = pgt_frame_finish(&f, &out);
	assert_true(pgt_decode_frame(d, out, n, &err));
	assert_false(pgt_decoder_in_transaction(d));
	assert_string_equal(seen, "B9 D1/1:1(4,31) D1/1:1(4,31) C9@5-6 ");
	free_frame(&f);
	pgt_decoder_free(d);
}

static void
refuses_every_prefix(void **state)
{
	for (int lz4 = 0; lz4 <= 1; lz4++)
	{
		PgtFrame f;
		const unsigned char *out;
		size_t n = good_frame(&f, lz4, &out);
		PgtErr err;

		for (size_t cut = 0; cut < n; cut++)
		{
			assert_false(decode_once(out, cut, &err));
			assert_string_equal(err.sqlstate, PGT_STATE_PROTOCOL);
		}
		free_frame(&f);
	}
}

/* each a raw payload in a correct frame header */
static bool
decode_payload_bytes(const unsigned char *payload, size_t len)
{
	unsigned char *frame = calloc(1, PGT_FRAME_HEADER + len);
	PgtErr err;
	bool ok;

	frame[0] = PGT_FRAME_MAGIC;
	frame[1] = PGT_FRAME_VERSION;
	pgt_put32(frame + 8, (uint32_t) len);
	memcpy(frame + PGT_FRAME_HEADER, payload, len);
	ok = decode_once(frame, PGT_FRAME_HEADER + len, &err);
	free(frame);
	return ok;
}

#define PAYLOAD(...) decode_payload_bytes((const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__}))
#define BEGIN_1 'B', 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1
#define RELATION_1_1 'R', 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 'a', 0, 'b', 0
#define DATA_HEAD(len, rows) 'D', 0, 0, 0, (len), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, (rows)
#define XID_1 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1
#define ROW_1 0, 3, XID_1, 0, 0, 0, 1, '+', 255, 255, 255, 255

static void
refuses_what_breaks_the_order(void **state)
{
	assert_true(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 1), ROW_1));
	assert_false(PAYLOAD(RELATION_1_1, DATA_HEAD(35, 1), ROW_1)); /* no begin */
	assert_false(PAYLOAD(BEGIN_1, DATA_HEAD(35, 1), ROW_1));      /* no relation */
	assert_false(PAYLOAD(BEGIN_1, BEGIN_1));
	assert_false(PAYLOAD(BEGIN_1, 'S', 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0)); /* barrier inside */
	assert_false(PAYLOAD('Z', 0, 0, 0, 0));
	assert_false(PAYLOAD('B', 255, 255, 255, 255));
	/* commit of another transaction, and one that ends before it begins */
	assert_false(PAYLOAD(BEGIN_1, 'C', 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0));
	assert_false(PAYLOAD(BEGIN_1, 'C', 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0));
}

static void
refuses_rows_that_do_not_fit(void **state)
{
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 2), ROW_1)); /* promises two */
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 0), ROW_1)); /* promises none */
	/* a field count other than the relation's, COPY's end marker among them */
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 1), 0, 4, XID_1, 0, 0, 0, 1, '+', 255, 255, 255, 255));
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 1), 255, 255, XID_1, 0, 0, 0, 1, '+', 255, 255, 255, 255));
	/* a field longer than the message; a negative length that is not NULL */
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 1), 0, 3, XID_1, 0, 0, 0, 99, '+', 255, 255, 255, 255));
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 1), 0, 3, XID_1, 0, 0, 0, 1, '+', 255, 255, 255, 254));
	/* a row of another transaction */
	assert_false(PAYLOAD(BEGIN_1, RELATION_1_1, DATA_HEAD(35, 1), 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, '+', 255, 255, 255, 255));
}

static void
refuses_bad_relations(void **state)
{
	assert_true(PAYLOAD(RELATION_1_1));
	assert_false(PAYLOAD('R', 0, 0, 0, 15, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 'a', 0, 'b'));        /* no end of the name */
	assert_false(PAYLOAD('R', 0, 0, 0, 17, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 'a', 0, 'b', 0, 0));  /* more than that */
	assert_false(PAYLOAD('R', 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 255, 255, 'a', 0, 'b', 0)); /* 65535 columns */
	assert_false(PAYLOAD('R', 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 'a', 0, 'b', 0));     /* relation 0 */
}

static void
refuses_bad_headers(void **state)
{
	PgtFrame f;
	const unsigned char *out;
	size_t n = good_frame(&f, true, &out);
	unsigned char copy[4096];
	PgtErr err;
	static const struct
	{
		size_t at;
		unsigned char value;
	} bad[] = {{0, 'Q'}, {1, 2}, {4, 3}, {5, 1}, {7, 1}, {8, 0x3f}, {8, 0xff}, {11, 0}};

	assert_true(n <= sizeof(copy));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		memcpy(copy, out, n);
		copy[bad[i].at] = bad[i].value;
		assert_false(decode_once(copy, n, &err));
	}
	free_frame(&f);
}

/* whatever happens to the bytes, the decoder ends with an answer; the seed is fixed so that a failure repeats */
static void
survives_damage(void **state)
{
	uint64_t rnd = 42;

	for (int lz4 = 0; lz4 <= 1; lz4++)
	{
		PgtFrame f;
		const unsigned char *out;
		size_t n = good_frame(&f, lz4, &out);
		unsigned char copy[4096];
		PgtErr err;

		for (int round = 0; round < 20000; round++)
		{
			memcpy(copy, out, n);
			for (int hits = 1 + round % 3; hits > 0; hits--)
			{
				rnd = rnd * 6364136223846793005u + 1442695040888963407u;
				copy[(rnd >> 33) % n] = (unsigned char) (rnd >> 20);
			}
			/* keep the header mostly right, or everything stops there */
			if (round % 4)
				memcpy(copy, out, PGT_FRAME_HEADER);
			decode_once(copy, n, &err);
		}
		free_frame(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_what_the_plugin_builds),
		cmocka_unit_test(rows_without_masks_have_their_own_shape),
		cmocka_unit_test(a_transaction_may_span_frames),
		cmocka_unit_test(refuses_every_prefix),
		cmocka_unit_test(refuses_what_breaks_the_order),
		cmocka_unit_test(refuses_rows_that_do_not_fit),
		cmocka_unit_test(refuses_bad_relations),
		cmocka_unit_test(refuses_bad_headers),
		cmocka_unit_test(survives_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
