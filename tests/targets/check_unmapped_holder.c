/* SPDX-License-Identifier: Apache-2.0 */
/* A mapping that held the only pointer is gone. */
#include "leaktruth.h"

#include <sys/mman.h>

NOINLINE static void make_lost(void **slot)
{
	*slot = leak_new(376);
	LEAK(*slot, 376, DEFINITE);
}

int main(int argc, char **argv)
{
	size_t size = 3 << 20;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	make_lost((void **)map);
	make_lost((void **)(map + (1 << 20)));
	CHECK(!munmap(map, size));
	leak_ready("check_unmapped_holder", argc, argv);
}
