/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks so large that each is a mapping of its own: lost, possibly lost, kept, and one that holds another. */
#include "leaktruth.h"

static void *kept;
static char *middle;

NOINLINE static void *make_mapped(size_t size, enum leak_class class)
{
	void *p = leak_new(size);

	LEAK(p, size, class);
	return p;
}

NOINLINE static void make_all(void)
{
	void **holder;

	ESCAPE(make_mapped(200000, DEFINITE));
	ESCAPE(make_mapped((1 << 20) + 4080, DEFINITE));
	kept = make_mapped(300000, REACHABLE);
	middle = (char *)make_mapped(400000, POSSIBLE) + 200000;
	holder = make_mapped(500000, DEFINITE);
	holder[60000] = make_mapped(600000, INDIRECT);
}

int main(int argc, char **argv)
{
	make_all();
	ESCAPE(&kept);
	ESCAPE(&middle);
	leak_ready("check_size_mmapped", argc, argv);
}
