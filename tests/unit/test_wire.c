/*
 * test_wire.c - the wire format: byte order and sizes of plugin/wire.h, and the frames that plugin/frame.c builds.
 *
 * The reader below is written from docs/protocol.md alone and accepts nothing that the page does not say.
 */
/* link: plugin/frame.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <lz4.h>

#include "plugin/frame.h"
#include "extension/layout.h"

static void
numbers_are_big_endian(void **state)
{
	unsigned char b[8];

	pgt_put64(b, UINT64_C(0x0102030405060708));
	for (int i = 0; i < 8; i++)
		assert_int_equal(b[i], i + 1);
	assert_int_equal(pgt_get16(b), 0x0102);
	assert_int_equal(pgt_get32(b + 4), 0x05060708);
}

static void
numbers_survive_the_trip(void **state)
{
	static const uint64_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x8000, 0xffff, 0x80000000u, UINT64_MAX, UINT64_MAX - 1};
	unsigned char b[8];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		pgt_put64(b, values[i]);
		assert_true(pgt_get64(b) == values[i]);
		pgt_put32(b, (uint32_t) values[i]);
		assert_true(pgt_get32(b) == (uint32_t) values[i]);
		pgt_put16(b, (uint16_t) values[i]);
		assert_true(pgt_get16(b) == (uint16_t) values[i]);
	}
}

static void
layout_hash_sees_order_and_types(void **state)
{
	uint32_t ab = pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 1, 23), 2, 25);
	uint32_t ba = pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 2, 25), 1, 23);
	uint32_t other = pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 1, 23), 2, 1043);

	assert_true(ab != ba);
	assert_true(ab != other);
	assert_true(ab == pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 1, 23), 2, 25));
}

/* ---- a strict reader ---- */

typedef struct Read
{
	unsigned char *raw; /* payload, decompressed */
	size_t len;
	int node;
	char types[4096]; /* one letter per message */
	int nmessages;
	size_t start[4096]; /* of each body */
	size_t size[4096];
} Read;

/* Number of bytes of one COPY BINARY tuple at p, of at most n. */
static size_t
tuple_size(const unsigned char *p, size_t n)
{
	size_t at = 2;
	int fields;

	assert_true(n >= 2);
	fields = pgt_get16(p);
	for (int i = 0; i < fields; i++)
	{
		int32_t len;

		assert_true(n - at >= 4);
		len = (int32_t) pgt_get32(p + at);
		at += 4;
		assert_true(len >= -1);
		if (len > 0)
		{
			assert_true(n - at >= (size_t) len);
			at += (size_t) len;
		}
	}
	return at;
}

static void
check_data(const unsigned char *p, size_t n)
{
	uint32_t nrows;
	size_t at = 12;

	assert_true(n >= 12);
	nrows = pgt_get32(p + 8);
	assert_true(nrows > 0);
	for (uint32_t i = 0; i < nrows; i++)
		at += tuple_size(p + at, n - at);
	assert_true(at == n);
}

static void
read_frame(Read *r, const unsigned char *frame, size_t n)
{
	size_t at = 0;

	memset(r, 0, sizeof(*r));
	assert_true(n > PGT_FRAME_HEADER);
	assert_int_equal(frame[0], 'P');
	assert_int_equal(frame[1], 1);
	r->node = pgt_get16(frame + 2);
	assert_true((frame[4] & ~PGT_FRAME_LZ4) == 0);
	assert_true(frame[5] == 0 && frame[6] == 0 && frame[7] == 0);
	r->len = pgt_get32(frame + 8);
	r->raw = malloc(r->len);
	if (frame[4] & PGT_FRAME_LZ4)
		assert_int_equal(LZ4_decompress_safe((const char *) frame + 12, (char *) r->raw, (int) n - 12, (int) r->len), (int) r->len);
	else
	{
		assert_true(r->len == n - 12);
		memcpy(r->raw, frame + 12, r->len);
	}
	while (at < r->len)
	{
		size_t body;

		assert_true(r->len - at >= 5);
		body = pgt_get32(r->raw + at + 1);
		assert_true(body <= r->len - at - 5);
		r->types[r->nmessages] = (char) r->raw[at];
		r->start[r->nmessages] = at + 5;
		r->size[r->nmessages++] = body;
		if (r->raw[at] == 'D')
			check_data(r->raw + at + 5, body);
		at += 5 + body;
	}
}

/* ---- building ---- */

static void *
plain_realloc(void *owner, void *old, size_t size)
{
	return realloc(old, size);
}

static void
start(PgtFrame *f, bool lz4)
{
	pgt_frame_init(f, 7, lz4, plain_realloc, NULL);
}

static void
stop_frame(PgtFrame *f)
{
	free(f->buf);
	free(f->zbuf);
}

/* A row of one field of n bytes. */
static void
add_row(PgtFrame *f, uint32_t relid, uint32_t gen, int fill, size_t n)
{
	unsigned char *p;

	pgt_frame_row_begin(f, relid, gen);
	p = pgt_frame_room(f, 6 + n);
	pgt_put16(p, 1);
	pgt_put32(p + 2, (uint32_t) n);
	memset(p + 6, fill, n);
	f->len += 6 + n;
	pgt_frame_row_end(f);
}

static void
finish(PgtFrame *f, Read *r)
{
	const unsigned char *out;
	size_t n = pgt_frame_finish(f, &out);

	read_frame(r, out, n);
}

static void
an_empty_frame_is_nothing(void **state)
{
	PgtFrame f;
	const unsigned char *out;

	start(&f, false);
	assert_int_equal(pgt_frame_finish(&f, &out), 0);
	pgt_frame_row_begin(&f, 1, 1);
	pgt_frame_row_abort(&f);
	assert_int_equal(pgt_frame_finish(&f, &out), 0);
	stop_frame(&f);
}

static void
a_transaction_reads_as_written(void **state)
{
	PgtFrame f;
	Read r;

	start(&f, false);
	pgt_frame_begin(&f, UINT64_C(0x100000002));
	pgt_frame_relation(&f, (const unsigned char *) "body", 4);
	add_row(&f, 5, 1, 'a', 3);
	add_row(&f, 5, 1, 'b', 0);
	add_row(&f, 5, 2, 'c', 1);
	add_row(&f, 6, 2, 'd', 1);
	pgt_frame_quarantine(&f, 6, 2, "why");
	add_row(&f, 6, 2, 'e', 1);
	pgt_frame_commit(&f, UINT64_C(0x100000002), 10, 20, -30);
	pgt_frame_barrier(&f, UINT64_C(0xa00000000), true);
	finish(&f, &r);
	assert_string_equal(r.types, "BRDDDQDCS");
	assert_int_equal(r.node, 7);
	assert_true(pgt_get64(r.raw + r.start[0]) == UINT64_C(0x100000002));
	assert_memory_equal(r.raw + r.start[1], "body", 4);
	assert_int_equal(pgt_get32(r.raw + r.start[2] + 8), 2);
	assert_int_equal(pgt_get32(r.raw + r.start[3] + 4), 2);
	assert_memory_equal(r.raw + r.start[5] + 8, "why", 4);
	assert_int_equal(r.size[7], 32);
	assert_true((int64_t) pgt_get64(r.raw + r.start[7] + 24) == -30);
	assert_int_equal(r.size[8], 9);
	assert_int_equal(r.raw[r.start[8] + 8], 1);
	free(r.raw);
	stop_frame(&f);
}

static void
an_aborted_row_leaves_no_trace(void **state)
{
	PgtFrame f;
	Read r;

	start(&f, false);
	add_row(&f, 5, 1, 'a', 3);
	pgt_frame_row_begin(&f, 5, 1);
	memset(pgt_frame_room(&f, 100000), 0xff, 100000);
	f.len += 100000;
	pgt_frame_row_abort(&f);
	pgt_frame_row_abort(&f);       /* twice is as good as once */
	pgt_frame_row_begin(&f, 6, 1); /* its data message has no row, and must not be sent */
	pgt_frame_row_abort(&f);
	add_row(&f, 5, 1, 'b', 3);
	finish(&f, &r);
	assert_string_equal(r.types, "DD");
	assert_int_equal(r.len, 2 * (5 + 12 + 9));
	free(r.raw);
	stop_frame(&f);
}

static void
a_frame_grows_to_one_large_row(void **state)
{
	PgtFrame f;
	Read r;

	start(&f, false);
	add_row(&f, 5, 1, 'a', 3 * 1024 * 1024);
	assert_true(pgt_frame_full(&f));
	finish(&f, &r);
	assert_int_equal(r.len, 5 + 12 + 6 + 3 * 1024 * 1024);
	free(r.raw);
	pgt_frame_begin(&f, 1);
	assert_true(f.cap < 1024 * 1024); /* and shrinks again */
	assert_false(pgt_frame_full(&f));
	finish(&f, &r);
	free(r.raw);
	stop_frame(&f);
}

static void
compression_is_used_where_it_pays(void **state)
{
	PgtFrame f;
	Read r;
	const unsigned char *out;
	unsigned char *p;
	size_t n;
	unsigned x = 1;

	start(&f, true);
	add_row(&f, 5, 1, 'a', 60000);
	n = pgt_frame_finish(&f, &out);
	assert_true(n < 2000 && out[4] == PGT_FRAME_LZ4);
	read_frame(&r, out, n);
	assert_string_equal(r.types, "D");
	free(r.raw);
	pgt_frame_row_begin(&f, 5, 1);
	p = pgt_frame_room(&f, 6 + 60000);
	pgt_put16(p, 1);
	pgt_put32(p + 2, 60000);
	for (int i = 0; i < 60000; i++)
		p[6 + i] = (unsigned char) ((x = x * 1103515245 + 12345) >> 16);
	f.len += 60006;
	pgt_frame_row_end(&f);
	n = pgt_frame_finish(&f, &out);
	assert_true(n == PGT_FRAME_HEADER + 5 + 12 + 60006 && out[4] == 0);
	read_frame(&r, out, n);
	free(r.raw);
	stop_frame(&f);
}

/* Any sequence of calls gives frames that read back as the rows that were finished, in their order. */
static void
random_calls_give_readable_frames(void **state)
{
	srand(1);
	for (int round = 0; round < 300; round++)
	{
		PgtFrame f;
		unsigned char expected[400];
		int nexpected = 0;
		int seen = 0;
		int steps = rand() % 100 + 1;

		start(&f, rand() % 2);
		for (int i = 0; i < steps; i++)
		{
			int what = rand() % 10;

			if (what == 0)
				pgt_frame_begin(&f, 1);
			else if (what == 1)
				pgt_frame_quarantine(&f, 1, 1, "");
			else if (what == 2)
			{
				pgt_frame_row_begin(&f, rand() % 3, 1);
				memset(pgt_frame_room(&f, 2), 0xff, 2);
				f.len += 2;
				pgt_frame_row_abort(&f);
			}
			else
			{
				expected[nexpected] = (unsigned char) rand();
				add_row(&f, rand() % 3, rand() % 2, expected[nexpected++], rand() % 20 == 0 ? 80000 : 5);
			}
			if (pgt_frame_full(&f) || i == steps - 1)
			{
				const unsigned char *out;
				size_t n = pgt_frame_finish(&f, &out);
				Read r;

				if (n == 0)
					continue;
				read_frame(&r, out, n);
				for (int m = 0; m < r.nmessages; m++)
				{
					size_t at = 12;

					while (r.types[m] == 'D' && at < r.size[m])
					{
						assert_int_equal(r.raw[r.start[m] + at + 6], expected[seen++]);
						at += tuple_size(r.raw + r.start[m] + at, r.size[m] - at);
					}
				}
				free(r.raw);
			}
		}
		assert_int_equal(seen, nexpected);
		stop_frame(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_big_endian),
		cmocka_unit_test(numbers_survive_the_trip),
		cmocka_unit_test(layout_hash_sees_order_and_types),
		cmocka_unit_test(an_empty_frame_is_nothing),
		cmocka_unit_test(a_transaction_reads_as_written),
		cmocka_unit_test(an_aborted_row_leaves_no_trace),
		cmocka_unit_test(a_frame_grows_to_one_large_row),
		cmocka_unit_test(compression_is_used_where_it_pays),
		cmocka_unit_test(random_calls_give_readable_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
