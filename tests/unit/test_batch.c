/*
 * test_batch.c - gathering rows: bytes come out as they went in, figures are right, many sources keep apart.
 */
/* link: consumer/batch.c */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "consumer/batch.h"
#include "plugin/wire.h"

static char *
gathered(const PgtRows *r)
{
	char *all = malloc(r->bytes + 1);
	size_t at = 0;

	for (const PgtBlock *b = r->first; b; b = b->next)
	{
		memcpy(all + at, b->data, b->used);
		at += b->used;
	}
	assert_int_equal(at, r->bytes);
	return all;
}

static void
bytes_keep_their_order(void **state)
{
	PgtBatch *b = pgt_batch_create();
	size_t total = 0;
	char *all;
	unsigned char piece[3000];

	assert_true(pgt_batch_is_empty(b));
	for (int i = 0; i < 2000; i++)
	{
		size_t len = (size_t) (i * 37 % 3000) + 1;

		memset(piece, i % 251, len);
		pgt_batch_add(b, 5, 1, 100 + (uint64_t) (i % 10), 2, piece, len);
		total += len;
	}
	assert_int_equal(b->nrows, 1);
	assert_int_equal(b->bytes, total);
	assert_int_equal(b->rows[0].nrows, 4000);
	assert_int_equal(b->rows[0].min_xid, 100);
	assert_int_equal(b->rows[0].max_xid, 109);
	all = gathered(&b->rows[0]);
	for (size_t i = 0, at = 0; i < 2000; i++)
	{
		size_t len = i * 37 % 3000 + 1;

		assert_int_equal((unsigned char) all[at], i % 251);
		assert_int_equal((unsigned char) all[at + len - 1], i % 251);
		at += len;
	}
	free(all);
	pgt_batch_free(b);
}

static void
sources_and_generations_keep_apart(void **state)
{
	PgtBatch *b = pgt_batch_create();

	for (int round = 0; round < 3; round++)
	{
		for (uint32_t relid = 1; relid <= 500; relid++)
			for (uint32_t gen = 1; gen <= 2; gen++)
				pgt_batch_add(b, relid, gen, relid, 1, "x", 1);
	}
	assert_int_equal(b->nrows, 1000);
	for (int i = 0; i < b->nrows; i++)
	{
		assert_int_equal(b->rows[i].nrows, 3);
		assert_int_equal(b->rows[i].min_xid, b->rows[i].relid);
	}
	pgt_batch_free(b);
}

static void
rows_behind_a_commit_make_it_incomplete(void **state)
{
	PgtBatch *b = pgt_batch_create();

	pgt_batch_add(b, 1, 1, 7, 1, "x", 1);
	assert_false(b->complete);
	pgt_batch_commit(b, 900);
	assert_true(b->complete);
	assert_int_equal(b->end_lsn, 900);
	pgt_batch_add(b, 1, 1, 8, 1, "x", 1);
	assert_false(b->complete);
	pgt_batch_free(b);
}

static void
a_marker_row_is_a_copy_tuple(void **state)
{
	static const unsigned char expected[] = {0, 5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 'X', 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
	PgtBatch *b = pgt_batch_create();
	char *all;

	pgt_batch_add_unknown(b, 3, 1, 9, 5);
	assert_int_equal(b->rows[0].bytes, sizeof(expected));
	all = gathered(&b->rows[0]);
	assert_memory_equal(all, expected, sizeof(expected));
	free(all);
	pgt_batch_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_keep_their_order),
		cmocka_unit_test(sources_and_generations_keep_apart),
		cmocka_unit_test(rows_behind_a_commit_make_it_incomplete),
		cmocka_unit_test(a_marker_row_is_a_copy_tuple),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
