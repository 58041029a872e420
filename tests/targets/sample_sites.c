/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample_sites: known numbers of blocks of known sizes from small to large, half of them freed, for the sampler to
 * estimate; the last site mixes sizes, equally many blocks of each.
 */
#include "truth.h"

TRUTH(tiny);
TRUTH(small);
TRUTH(medium);
TRUTH(large);
TRUTH(huge);
TRUTH(mixed);

#define SITE(name)                                     \
	NOINLINE static void *name(size_t size)        \
	{                                              \
		return BORN(name, malloc(size), size); \
	}                                              \
	static void name##_many(int n, size_t size)    \
	{                                              \
		for (int i = 0; i < n; i++) {          \
			void *p = name(size);          \
			if (i % 2) {                   \
				DIED(name, size);      \
				free(p);               \
			}                              \
		}                                      \
	}
SITE(tiny)
SITE(small)
SITE(medium)
SITE(large)
SITE(huge)

NOINLINE static void *mixed(size_t size)
{
	return BORN(mixed, malloc(size), size);
}

/* Of each size, 32 to 1,024 bytes, every second block is freed. */
static void mixed_many(int n)
{
	for (int i = 0; i < n; i++) {
		size_t size = 32u << (i / 2 % 6);
		void *p = mixed(size);

		if (i % 2) {
			DIED(mixed, size);
			free(p);
		}
	}
}

int main(void)
{
	tiny_many(200000, 24);
	small_many(50000, 200);
	medium_many(5000, 4000);
	large_many(400, 50000);
	huge_many(40, 600000);
	mixed_many(24000);
	truth_print("sample_sites", "main");
	return 0;
}
