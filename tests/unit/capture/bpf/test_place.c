/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginnings of real functions, as compilers made them, and those where the probe must stay where it is.
 */
#include "capture/bpf/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CODE(...) ((const uint8_t[]){ __VA_ARGS__ })
#define PLACE(args, ...) place_probe(CODE(__VA_ARGS__), sizeof(CODE(__VA_ARGS__)), args)

static void real_functions(void **state)
{
	(void)state;
	/* glibc 2.36: malloc: push %rbp */
	assert_int_equal(PLACE(1, 0x55, 0x53, 0x48, 0x89, 0xfb), 0);
	/* glibc 2.36: free: test %rdi,%rdi; je */
	assert_int_equal(PLACE(1, 0x48, 0x85, 0xff, 0x0f, 0x84, 0xbf, 0, 0, 0, 0x55), 3);
	/* jemalloc 5.3: malloc: cmp $0x1000,%rdi; ja */
	assert_int_equal(PLACE(1, 0x48, 0x81, 0xff, 0, 0x10, 0, 0, 0x0f, 0x87, 0x93, 0, 0, 0), 7);
	/* jemalloc 5.3: free, up to the first branch */
	assert_int_equal(PLACE(1, 0x48, 0x89, 0xf8, 0x48, 0x8b, 0x15, 0x0e, 0x53, 0x0a, 0, 0x48, 0x89,
	                       0xf9, 0x48, 0xc1, 0xe8, 0x1a, 0x48, 0x81, 0xe1, 0, 0, 0, 0xc0, 0x25,
	                       0xf0, 0, 0, 0, 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x01,
	                       0xd0, 0x48, 0x3b, 0x88, 0xb0, 1, 0, 0, 0x0f, 0x85, 0x8a, 0, 0, 0),
	                 48);
	/* gperftools 2.10: malloc: mov; test; jne */
	assert_int_equal(PLACE(1, 0x48, 0x8b, 0x05, 0x59, 0xab, 0, 0, 0x48, 0x85, 0xc0, 0x75, 0x75),
	                 10);
	/* behind endbr64 */
	assert_int_equal(PLACE(1, 0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x57, 0x41, 0x56), 4);
}

static void places_that_would_be_wrong(void **state)
{
	(void)state;
	/* mimalloc 2.0: malloc writes %rdi before it branches */
	assert_int_equal(PLACE(1, 0x48, 0x8b, 0x05, 0x49, 0xb4, 0, 0, 0x48, 0x89, 0xfe, 0x64, 0x48,
	                       0x8b, 0x38, 0x48, 0x81, 0xfe, 0, 4, 0, 0, 0x77, 0x19),
	                 0);
	/* the second argument goes; with one argument that is fine */
	assert_int_equal(PLACE(2, 0x48, 0x89, 0xfe, 0x55, 0x53), 0);
	assert_int_equal(PLACE(1, 0x48, 0x89, 0xfe, 0x55, 0x53), 3);
	/* the stack pointer moves: sub $24,%rsp; and with a register of the upper half it does not */
	assert_int_equal(PLACE(1, 0x48, 0x83, 0xec, 0x18, 0x55, 0x53), 0);
	assert_int_equal(PLACE(1, 0x49, 0x83, 0xec, 0x18, 0x55, 0x53), 4);
	/* a call, a return, something unknown */
	assert_int_equal(PLACE(1, 0x48, 0x85, 0xff, 0xe8, 0, 0, 0, 0, 0x55), 0);
	assert_int_equal(PLACE(1, 0x48, 0x85, 0xff, 0xc3, 0x55), 0);
	assert_int_equal(PLACE(1, 0x0f, 0x05, 0x55), 0);
}

static void any_bytes(void **state)
{
	(void)state;
	srand(3);
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)rand() % 40;
		uint8_t *code = malloc(len + 1); /* for the sanitizer, of that size */

		assert_non_null(code);
		for (size_t k = 0; k < len; k++)
			code[k] = rand() % 3 ? (uint8_t)rand()
			                     : CODE(0x48, 0x8b, 0x89, 0x81)[rand() % 4];
		assert_true(place_probe(code, len, 4) <= len);
		free(code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_functions),
		cmocka_unit_test(places_that_would_be_wrong),
		cmocka_unit_test(any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
