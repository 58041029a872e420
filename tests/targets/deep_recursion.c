/* SPDX-License-Identifier: Apache-2.0 */
/* A stack deeper than the limit of 512 frames is cut and says so; one just below it is whole. */
#include "truth.h"

TRUTH(too_deep);
TRUTH(deep_enough);

NOINLINE static void *too_deep(int depth)
{
	void *p = depth ? too_deep(depth - 1) : BORN(too_deep, malloc(40), 40);

	NOTAIL();
	return p;
}

NOINLINE static void *deep_enough(int depth)
{
	void *p = depth ? deep_enough(depth - 1) : BORN(deep_enough, malloc(20), 20);

	NOTAIL();
	return p;
}

int main(void)
{
	for (int i = 0; i < 10; i++) {
		ESCAPE(too_deep(599));
		ESCAPE(deep_enough(479));
	}
	truth_print("deep_recursion", "main");
	return 0;
}
