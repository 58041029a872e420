/* SPDX-License-Identifier: Apache-2.0 */
/*
 * realloc in all its shapes: from NULL, growing in place and moving, shrinking, to size zero.  Each
 * successful call ends the old block and begins a new one, at the place that called realloc.
 */
#include "truth.h"

TRUTH(first);
TRUTH(grow);
TRUTH(shrink);

NOINLINE static char *first(size_t size)
{
	return BORN(first, realloc(NULL, size), size);
}

NOINLINE static char *grow(char *p, size_t size)
{
	return BORN(grow, realloc(p, size), size);
}

NOINLINE static char *shrink(char *p, size_t size)
{
	return BORN(shrink, realloc(p, size), size);
}

int main(void)
{
	char *kept[8], *p, *other;

	for (size_t i = 0; i < 200; i++) {
		p = first(16);
		CHECK(p);
		memset(p, (int)i, 16);
		DIED(first, 16);
		p = grow(p, 40);
		for (size_t size = 80; size <= 1 << 20; size *= 2) {
			other = malloc(1); /* makes growing in place impossible now and then */
			ESCAPE(other);
			DIED(grow, size / 2);
			p = grow(p, size);
			CHECK(p && p[0] == (char)i && p[15] == (char)i);
			free(other);
		}
		DIED(grow, 655360);
		p = shrink(p, 100);
		CHECK(p && p[15] == (char)i);
		DIED(shrink, 100);
		if (i < 8) {
			kept[i] = shrink(p, 50);
			CHECK(kept[i]);
		} else {
			CHECK(!realloc(p, 0));
		}
	}
	ESCAPE(kept);
	truth_print("realloc_chain", "main");
	return 0;
}
