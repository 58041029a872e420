/* SPDX-License-Identifier: Apache-2.0 */
/* One process, two programs one after the other: the first's ledger stays, the second's starts anew. */
#include "truth.h"

TRUTH(first_life);
TRUTH(second_life);

NOINLINE static void *first_life(void)
{
	return BORN(first_life, malloc(400), 400);
}

NOINLINE static void *second_life(void)
{
	return BORN(second_life, malloc(500), 500);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		for (int i = 0; i < 12; i++)
			ESCAPE(second_life());
		truth_print("exec_self", "second");
		return 0;
	}
	for (int i = 0; i < 40; i++)
		ESCAPE(first_life());
	truth_print("exec_self", "first");
	execl("/proc/self/exe", argv[0], "second", (char *)NULL);
	return 97;
}
