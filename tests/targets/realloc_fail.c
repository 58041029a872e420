/* SPDX-License-Identifier: Apache-2.0 */
/* A realloc that fails leaves the old block in use, where it was, with its old size. */
#include "truth.h"

#include <errno.h>

TRUTH(keep_old);
TRUTH(regrow);

NOINLINE static char *keep_old(size_t size)
{
	return BORN(keep_old, malloc(size), size);
}

NOINLINE static char *regrow(char *p, size_t size)
{
	return BORN(regrow, realloc(p, size), size);
}

int main(void)
{
	volatile size_t impossible = PTRDIFF_MAX, overflow = SIZE_MAX / 2;
	char *blocks[50];

	for (int i = 0; i < 50; i++) {
		blocks[i] = keep_old(100);
		CHECK(blocks[i]);
		memset(blocks[i], i, 100);
		errno = 0;
		CHECK(!regrow(blocks[i], impossible) && errno == ENOMEM);
		errno = 0;
		CHECK(!reallocarray(blocks[i], overflow, 3) && errno == ENOMEM);
		CHECK(blocks[i][99] == (char)i);
	}
	for (int i = 0; i < 10; i++) {
		DIED(keep_old, 100);
		blocks[i] = regrow(blocks[i], 200);
		CHECK(blocks[i] && blocks[i][99] == (char)i);
	}
	ESCAPE(blocks);
	truth_print("realloc_fail", "main");
	return 0;
}
