/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointer is in data that was made read-only after it was written, as the loader does after relocating. */
#include "leaktruth.h"

#include <sys/mman.h>

#define PAGE 4096

static struct {
	void *slot[2];
	char rest[PAGE - 2 * sizeof(void *)];
} table __attribute__((aligned(PAGE)));

NOINLINE static void make_kept(int i)
{
	table.slot[i] = leak_new(200);
	LEAK(table.slot[i], 200, REACHABLE);
}

int main(int argc, char **argv)
{
	make_kept(0);
	make_kept(1);
	CHECK(!mprotect(&table, PAGE, PROT_READ));
	leak_ready("check_root_relro", argc, argv);
}
