/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damaged heaps: seeds from real processes (tests/data/fuzz/heap) with words overwritten by what hurts most, many thousand
 * times.  The fuzzer's own harness does the walk and holds what must be true of any result.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "heap/heap.h"
#include "heap_seed.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static size_t nseeds, ndamaged;
static struct seed {
	uint8_t *data;
	size_t size;
	char name[64];
} seeds[16], damaged[16]; /* damaged-*: what the fuzzer found */

static void load(const char *dir)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d)) && nseeds < 16 && ndamaged < 16) {
		struct seed *s = strncmp(e->d_name, "damaged-", 8) ? &seeds[nseeds]
		                                                   : &damaged[ndamaged];
		char path[4096];
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		s->data = malloc(65536);
		s->size = fread(s->data, 1, 65536, f);
		snprintf(s->name, sizeof(s->name), "%.63s", e->d_name);
		if (s == &seeds[nseeds])
			nseeds++;
		else
			ndamaged++;
		fclose(f);
	}
	if (d)
		closedir(d);
}

/* The seeds are heaps: undamaged, they are walked to the end. */
static void test_seeds(void **state)
{
	assert_true(nseeds >= 2);
	for (size_t i = 0; i < nseeds; i++) {
		struct image *img = heap_seed_load(seeds[i].data, seeds[i].size);
		struct heap *h = NULL;
		unsigned int blocks;

		/* NAME-BLOCKS.heap says how many live blocks its program had told of. */
		assert_int_equal(sscanf(strrchr(seeds[i].name, '-'), "-%u.heap", &blocks), 1);
		assert_null(heap_walk(img, &h));
		assert_true(h->nblocks >= blocks);
		assert_true(h->nblocks <= blocks + 8); /* libc's own */
		assert_int_equal(h->resyncs, 0);
		heap_free(h);
		image_free(img);
	}
}

/* A word as an attacker, or a stray write, would have it. */
static uint64_t bad_word(const uint8_t *data, size_t size)
{
	uint64_t v;

	switch (next_random() % 8) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return next_random() % 4096;
	case 3:
		return 1ull << next_random() % 64;
	case 4:
		return next_random();
	default: /* some other word of the heap: loops, wrong lists */
		memcpy(&v, data + next_random() % (size - 8), 8);
		return v ^ (next_random() % 4 ? 0 : 16 * (next_random() % 8));
	}
}

static void test_damage(void **state)
{
	const unsigned int rounds = getenv("SEEP_SOAK") ? 200000 : 3000;
	uint8_t copy[65536];
	time_t worst = 0;

	for (unsigned int i = 0; i < rounds; i++) {
		size_t s = next_random() % nseeds, size = seeds[s].size;
		time_t start = time(NULL);

		memcpy(copy, seeds[s].data, size);
		for (uint64_t n = 1 + next_random() % 24; n; n--) {
			uint64_t v = bad_word(copy, size);
			/* pairs of place and word: hit the words, mostly */
			memcpy(copy + next_random() % (size - 8), &v, next_random() % 8 ? 8 : 2);
		}
		LLVMFuzzerTestOneInput(copy, size);
		if (time(NULL) - start > worst)
			worst = time(NULL) - start;
	}
	assert_true(worst <= 20); /* sanitized and on a busy machine, too */
}

/* Each once made the walk ask for all memory there is, crash, or go on without an end. */
static void test_found(void **state)
{
	assert_true(ndamaged >= 1);
	for (size_t i = 0; i < ndamaged; i++)
		LLVMFuzzerTestOneInput(damaged[i].data, damaged[i].size);
}

static void test_random_bytes(void **state)
{
	uint8_t bytes[4096];

	for (int i = 0; i < 2000; i++) {
		size_t n = next_random() % sizeof(bytes);

		for (size_t k = 0; k < n; k++)
			bytes[k] = (uint8_t)next_random();
		LLVMFuzzerTestOneInput(bytes, n);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_random_bytes),
	};
	int r;

	load(argc > 1 ? argv[1] : "tests/data/fuzz/heap");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < nseeds; i++)
		free(seeds[i].data);
	return r;
}
