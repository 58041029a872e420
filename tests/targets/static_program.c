/* SPDX-License-Identifier: Apache-2.0 */
/* A statically linked program: the loader never runs, a preloaded library is never seen. */
#include "truth.h"

TRUTH(unseen);

NOINLINE static void *unseen(void)
{
	return BORN(unseen, malloc(10), 10);
}

int main(void)
{
	ESCAPE(unseen());
	truth_print("static_program", "main");
	return 0;
}
