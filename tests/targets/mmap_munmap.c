/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings: whole, cut in the middle, cut at both ends, moved, grown and shrunk by mremap.  The truth is
 * bytes in use; how many pieces a cut mapping counts as is the tracker's affair.
 */
#include "truth.h"

#include <sys/mman.h>

#define PAGE 4096ul

TRUTH(map_whole);
TRUTH(map_cut);
TRUTH(map_moved);
TRUTH(map_again);

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	*(char *)p = 1;
	return p;
}

NOINLINE static char *map_whole(size_t size)
{
	return BORN(map_whole, map(size), size);
}

NOINLINE static char *map_cut(size_t size)
{
	return BORN(map_cut, map(size), size);
}

NOINLINE static char *map_moved(size_t size)
{
	return BORN(map_moved, map(size), size);
}

NOINLINE static char *map_again(char *p, size_t old_size, size_t size)
{
	char *q = mremap(p, old_size, size, MREMAP_MAYMOVE);

	CHECK(q != MAP_FAILED);
	return BORN(map_again, q, size);
}

int main(void)
{
	char *p;

	for (int i = 0; i < 10; i++) {
		p = map_whole(256 * PAGE);
		if (i < 7) {
			DIED(map_whole, 256 * PAGE);
			CHECK(!munmap(p, 256 * PAGE));
		}
	}
	p = map_cut(100 * PAGE);
	DIED(map_cut, 20 * PAGE);
	CHECK(!munmap(p + 40 * PAGE, 20 * PAGE));
	DIED(map_cut, 10 * PAGE);
	CHECK(!munmap(p, 10 * PAGE));
	DIED(map_cut, 10 * PAGE);
	CHECK(!munmap(p + 90 * PAGE, 10 * PAGE));
	p = map_moved(16 * PAGE);
	DIED(map_moved, 16 * PAGE);
	p = map_again(p, 16 * PAGE, 512 * PAGE);
	DIED(map_again, 512 * PAGE);
	p = map_again(p, 512 * PAGE, 8 * PAGE);
	CHECK(*p == 1);
	truth_print("mmap_munmap", "main");
	return 0;
}
