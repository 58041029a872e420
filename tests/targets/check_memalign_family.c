/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned blocks, lost and kept: memalign, aligned_alloc, posix_memalign, valloc; small and mapped. */
#include "leaktruth.h"

static void *kept[40];
static int nkept;

NOINLINE static void *aligned(size_t alignment, size_t size, int way)
{
	void *p = NULL;

	switch (way) {
	case 0:
		p = memalign(alignment, size);
		break;
	case 1:
		p = aligned_alloc(alignment, size);
		break;
	case 2:
		CHECK(!posix_memalign(&p, alignment, size));
		break;
	case 3:
		p = valloc(size);
		break;
	}
	CHECK(p);
	memset(p, 0, size);
	return p;
}

NOINLINE static void make_lost(size_t alignment, size_t size, int way)
{
	LEAK(aligned(alignment, size, way), size, DEFINITE);
}

NOINLINE static void make_kept(size_t alignment, size_t size, int way)
{
	kept[nkept] = aligned(alignment, size, way);
	LEAK(kept[nkept], size, REACHABLE);
	nkept++;
}

int main(int argc, char **argv)
{
	static const size_t alignments[] = { 16, 64, 4096, 65536 };

	for (size_t i = 0; i < 4; i++)
		for (int way = 0; way < 4; way++) {
			make_lost(alignments[i], alignments[i] * 3, way);
			make_kept(alignments[i], alignments[i] * 5, way);
		}
	make_lost(64, 1 << 20, 0);
	make_kept(8192, 1 << 20, 1);
	ESCAPE(kept);
	leak_ready("check_memalign_family", argc, argv);
}
