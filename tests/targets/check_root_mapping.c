/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are in memory the program mapped itself; with DONTFORK no fork inherits it, so no clone has it. */
#include "leaktruth.h"

#include <sys/mman.h>

#ifdef DONTFORK
#define NAME "check_root_dontfork"
#define ADVICE MADV_DONTFORK
#else
#define NAME "check_root_mapping"
#define ADVICE MADV_NORMAL
#endif

static uintptr_t hidden;

NOINLINE static void make_kept(void **slot)
{
	*slot = leak_new(376);
	LEAK(*slot, 376, REACHABLE);
}

int main(int argc, char **argv)
{
	size_t size = 3 << 20;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	CHECK(!madvise(map, size, ADVICE));
	make_kept((void **)map);
	make_kept((void **)(map + (1 << 20)));
	make_kept((void **)(map + size) - 1);
	hidden = hide(map);
	ESCAPE(&hidden);
	leak_ready(NAME, argc, argv);
}
