/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that were grown, shrunk and moved by realloc before they were lost: one block each, of its last size. */
#include "leaktruth.h"

static void *kept;

NOINLINE static void *make_resized(size_t first, size_t last)
{
	void *p = leak_new(first);
	void *q = realloc(p, last);

	CHECK(q);
	ESCAPE(q);
	memset(q, 0, malloc_usable_size(q));
	return q;
}

NOINLINE static void make_lost(size_t first, size_t last)
{
	LEAK(make_resized(first, last), last, DEFINITE);
}

NOINLINE static void make_kept(void)
{
	kept = make_resized(40, 800000);
	LEAK(kept, 800000, REACHABLE);
}

int main(int argc, char **argv)
{
	make_lost(24, 3000);
	make_lost(3000, 24);
	make_lost(1000, 900);
	make_lost(200000, 400000);
	make_lost(400000, 200000);
	make_lost(400000, 104);
	make_lost(56, 300000);
	make_kept();
	ESCAPE(&kept);
	leak_ready("check_realloc_lost", argc, argv);
}
