/*
 * test_wire.c - byte order and message sizes of plugin/wire.h, which both sides of the wire share.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "plugin/wire.h"
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
	uint32_t	ab = pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 1, 23), 2, 25);
	uint32_t	ba = pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 2, 25), 1, 23);
	uint32_t	other = pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 1, 23), 2, 1043);

	assert_true(ab != ba);
	assert_true(ab != other);
	assert_true(ab == pgt_layout_step(pgt_layout_step(PGT_LAYOUT_SEED, 1, 23), 2, 25));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_big_endian),
		cmocka_unit_test(numbers_survive_the_trip),
		cmocka_unit_test(layout_hash_sees_order_and_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
