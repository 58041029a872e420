/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row compiler against damaged unwind tables, without a fuzzer: a small module with every kind of
 * instruction is built here, and bytes of it are changed in a fixed sequence.  What is checked is in
 * tests/fuzz/fuzz_cfi.c; under a sanitizer, also every read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t input[4096];
static size_t used;

static void put(const void *p, size_t n)
{
	memcpy(input + used, p, n);
	used += n;
}

static void put32(uint32_t v)
{
	put(&v, 4);
}

static void set32(size_t at, uint32_t v)
{
	memcpy(input + at, &v, 4);
}

#define CODE(...)                                               \
	do {                                                    \
		static const uint8_t code_[] = { __VA_ARGS__ }; \
		put(code_, sizeof(code_));                      \
	} while (0)

/* One function's entry; `at` is its place in the table, `start` its code's, from the header. */
static void fde(size_t base, size_t cie, unsigned int n, uint32_t start, uint32_t len,
                const uint8_t *program, size_t program_len)
{
	size_t at = used;

	set32(base + 12 + 8 * n, start);
	set32(base + 12 + 8 * n + 4, (uint32_t)(at - base));
	put32(0);
	put32((uint32_t)(used - cie));
	put32(start - (uint32_t)(used - base)); /* pcrel sdata4 */
	put32(len);
	CODE(0); /* augmentation length */
	put(program, program_len);
	while ((used - at) % 8)
		CODE(0);
	set32(at, (uint32_t)(used - at - 4));
}

static void build(void)
{
	static const uint8_t plain[] = { 0x41, 0x0e, 0x10, 0x86, 0x02, 0x43, 0x0d, 0x06, 0x02, 0x20,
		                         0x0a, 0xc6, 0x0c, 0x07, 0x08, 0x41, 0x0b, 0x2e, 0x10 };
	static const uint8_t plt[] = { 0x0e, 0x10, 0x46, 0x0e, 0x18, 0x4a, 0x0f, 0x0b, 0x77, 0x08,
		                       0x80, 0x00, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22 };
	static const uint8_t drap[] = { 0x44, 0x0c, 0x0a, 0x00, 0x47, 0x10, 0x06, 0x02,
		                        0x76, 0x00, 0x45, 0x0f, 0x03, 0x76, 0x78, 0x06,
		                        0x16, 0x0c, 0x03, 0x77, 0x10, 0x06 };
	static const uint8_t rare[] = { 0x07, 0x10, 0x03, 0x08, 0x00, 0x05, 0x03, 0x02, 0x06, 0x03,
		                        0x08, 0x03, 0x09, 0x03, 0x0c, 0x11, 0x06, 0x7e, 0x12, 0x07,
		                        0x7f, 0x13, 0x7e, 0x14, 0x0d, 0x02, 0x15, 0x0e, 0x7d, 0x2f,
		                        0x0f, 0x03, 0x04, 0x01, 0x00, 0x00, 0x00 };
	const size_t base = 16, cie = base + 12 + 8 * 4;

	used = 16;
	CODE(1, 0x1b, 0x03, 0x3b);
	put32(8);
	put32(4);
	used = cie;
	put32(0);
	put32(0);
	CODE(1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 0x07, 0x08, 0x90, 0x01, 0, 0);
	set32(cie, (uint32_t)(used - cie - 4));
	fde(base, cie, 0, 0x100, 0x80, plain, sizeof(plain));
	fde(base, cie, 1, 0x180, 0x80, plt, sizeof(plt));
	fde(base, cie, 2, 0x200, 0x80, drap, sizeof(drap));
	fde(base, cie, 3, 0x280, 0x100, rare, sizeof(rare));
	used = base + 0x400;
}

static void damaged_tables_are_survived(void **state)
{
	static uint8_t copy[sizeof(input)];
	uint64_t x = 99;

	(void)state;
	build();
	for (unsigned int i = 0; i < 30000; i++) {
		size_t n = used;
		unsigned int changes;

		memcpy(copy, input, used);
		for (unsigned int k = 0; k < 16; k++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			copy[k] = (uint8_t)(x >> 40);
		}
		changes = (unsigned int)(x >> 33) % 6;
		while (changes--) {
			static const uint8_t nasty[] = { 0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x0f, 0x10 };

			x = x * 6364136223846793005u + 1442695040888963407u;
			copy[16 + (x >> 33) % 330] = (x >> 62) ? (uint8_t)(x >> 16)
			                                       : nasty[(x >> 20) % 8];
		}
		if (i % 7 == 0)
			n = 20 + (size_t)(x >> 33) % (used - 20);
		LLVMFuzzerTestOneInput(copy, n);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(damaged_tables_are_survived) };

	/* test_cfi_hostile FILE: writes the sound module, a seed for the fuzzer. */
	if (argc > 1) {
		FILE *f = fopen(argv[1], "w");

		build();
		return !f || fwrite(input, used, 1, f) != 1 || fclose(f);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
