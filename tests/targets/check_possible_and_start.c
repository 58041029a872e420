/* SPDX-License-Identifier: Apache-2.0 */
/* A pointer to the middle and one to the start: the better one counts, on every way. */
#include "leaktruth.h"

static void *start;
static char *middle, *other_middle;

NOINLINE static void make_both(void)
{
	char *p = leak_new(72);

	start = p;
	middle = p + 32;
	LEAK(p, 72, REACHABLE);
}

/* Reached through the middle first, and then from the start of a reachable block. */
NOINLINE static void make_late(void)
{
	char *p = leak_new(88);

	other_middle = p + 8;
	*(char **)start = p;
	LEAK(p, 88, REACHABLE);
}

int main(int argc, char **argv)
{
	make_both();
	make_late();
	ESCAPE(&middle);
	ESCAPE(&other_middle);
	leak_ready("check_possible_and_start", argc, argv);
}
