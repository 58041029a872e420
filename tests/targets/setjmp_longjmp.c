/* SPDX-License-Identifier: Apache-2.0 */
/* longjmp() out of many frames: the next stack is the new one, not what was remembered of the old. */
#include "truth.h"

#include <setjmp.h>

TRUTH(deep_alloc);
TRUTH(shallow_alloc);

static jmp_buf escape;

NOINLINE static void *deep_alloc(int depth)
{
	void *p;

	if (depth) {
		p = deep_alloc(depth - 1);
		NOTAIL();
		return p;
	}
	p = BORN(deep_alloc, malloc(64), 64);
	if (p)
		longjmp(escape, 1);
	return p;
}

NOINLINE static void *shallow_alloc(void)
{
	return BORN(shallow_alloc, malloc(32), 32);
}

int main(void)
{
	for (volatile int i = 0; i < 500; i++) {
		if (!setjmp(escape))
			deep_alloc(i % 30);
		ESCAPE(shallow_alloc());
	}
	truth_print("setjmp_longjmp", "main");
	return 0;
}
