/* SPDX-License-Identifier: Apache-2.0 */
/* A large block made read-only after it was filled is a block like any other: what it holds is reachable. */
#include "leaktruth.h"

#include <sys/mman.h>

static void **table;

NOINLINE static void make_table(void)
{
	table = leak_new((1 << 20) - 16);
	LEAK(table, (1 << 20) - 16, REACHABLE);
}

NOINLINE static void make_entry(int i)
{
	void *p = leak_new(136);

	table[i] = p;
	LEAK(p, 136, REACHABLE);
}

int main(int argc, char **argv)
{
	uintptr_t page;

	make_table();
	for (int i = 1000; i < 1020; i++)
		make_entry(i);
	page = ((uintptr_t)table + 4095) & ~(uintptr_t)4095;
	CHECK(!mprotect((void *)page, 512 << 10, PROT_READ));
	leak_ready("check_read_only_block", argc, argv);
}
