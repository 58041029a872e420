/* SPDX-License-Identifier: Apache-2.0 */
/* The only pointers are in a shared mapping of a file, which is no root by itself; the program says it is one. */
#include "leaktruth.h"

#include <sys/mman.h>

extern void __lsan_register_root_region(const void *begin, size_t size) __attribute__((weak));
extern void __lsan_unregister_root_region(const void *begin, size_t size) __attribute__((weak));

NOINLINE static void make_kept(void **slot)
{
	*slot = leak_new(392);
	LEAK_AT(*slot, 392, DEFINITE, REACHABLE, REACHABLE, REACHABLE);
}

NOINLINE static void make_lost(void **slot)
{
	*slot = leak_new(408);
	LEAK(*slot, 408, DEFINITE);
}

static uintptr_t hidden;

int main(int argc, char **argv)
{
	char path[] = "/var/tmp/seep_region_XXXXXX";
	int fd = mkstemp(path);
	char *map = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(fd >= 0 && !unlink(path) && !ftruncate(fd, 16384) && map != MAP_FAILED);
	make_lost((void **)map);
	make_kept((void **)(map + 4096));
	make_kept((void **)(map + 8192) - 1);
	make_lost((void **)(map + 8192));
	if (__lsan_register_root_region && __lsan_unregister_root_region) {
		__lsan_register_root_region(map + 4096, 4096);
		__lsan_register_root_region(map + 8192, 4096);
		__lsan_unregister_root_region(map + 8192, 4096);
	}
	hidden = hide(map);
	ESCAPE(&hidden);
	leak_ready("check_root_region", argc, argv);
}
