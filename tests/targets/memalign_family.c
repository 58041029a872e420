/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memalign_family [no-pvalloc]: every way C has to ask for aligned memory; alignments from one word to many
 * pages.  The argument is for valgrind, which stops a program that calls pvalloc.
 */
#include "truth.h"

#include <malloc.h>

TRUTH(by_posix_memalign);
TRUTH(by_aligned_alloc);
TRUTH(by_memalign);
TRUTH(by_valloc);
TRUTH(by_pvalloc);

NOINLINE static void *by_posix_memalign(size_t alignment, size_t size)
{
	void *p = NULL;

	return posix_memalign(&p, alignment, size) ? NULL : BORN(by_posix_memalign, p, size);
}

NOINLINE static void *by_aligned_alloc(size_t alignment, size_t size)
{
	return BORN(by_aligned_alloc, aligned_alloc(alignment, size), size);
}

NOINLINE static void *by_memalign(size_t alignment, size_t size)
{
	return BORN(by_memalign, memalign(alignment, size), size);
}

NOINLINE static void *by_valloc(size_t size)
{
	return BORN(by_valloc, valloc(size), size);
}

NOINLINE static void *by_pvalloc(size_t size)
{
	return BORN(by_pvalloc, pvalloc(size), size);
}

int main(int argc, char **argv)
{
	void *untouched = (void *)0x1234;
	volatile size_t bad_alignment = 24;

	(void)argv;
	for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
		for (size_t k = 1; k <= 20; k++) {
			void *p = by_posix_memalign(alignment, k * 10);
			void *q = by_aligned_alloc(alignment, alignment * k);
			void *r = by_memalign(alignment, k * 33);

			CHECK(p && q && r);
			CHECK(!((uintptr_t)p % alignment) && !((uintptr_t)q % alignment) &&
			      !((uintptr_t)r % alignment));
			memset(p, 1, k * 10);
			memset(r, 2, k * 33);
			if (k % 2) {
				DIED(by_posix_memalign, k * 10);
				free(p);
			}
			DIED(by_aligned_alloc, alignment * k);
			free(q);
			if (k % 5) {
				DIED(by_memalign, k * 33);
				free(r);
			}
		}
	}
	for (size_t k = 1; k <= 10; k++) {
		void *p = by_valloc(k * 1000), *q = argc > 1 ? NULL : by_pvalloc(k * 8192);

		CHECK(p && (q || argc > 1) && !((uintptr_t)p % 4096) && !((uintptr_t)q % 4096));
		DIED(by_valloc, k * 1000);
		free(p);
	}
	CHECK(posix_memalign(&untouched, bad_alignment, 10) && untouched == (void *)0x1234);
	truth_print("memalign_family", "main");
	return 0;
}
