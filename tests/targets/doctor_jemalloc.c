/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jemalloc in the states that cost memory: dirty pages, half-empty slabs, full thread caches.  With PREFIX its functions have a
 * prefix, and malloc() is the C library's.
 */
#ifdef PREFIX
#define DOCTOR_MALLOC je_malloc
#define DOCTOR_FREE je_free
void *je_malloc(unsigned long);
void je_free(void *);
int je_mallctl(const char *, void *, unsigned long *, void *, unsigned long);
#define mallctl je_mallctl
#else
int mallctl(const char *, void *, unsigned long *, void *, unsigned long);
#endif
#include "doctor_allocator.h"

static uint64_t number(const char *name, size_t width)
{
	uint64_t v = 0;
	size_t len = width;

	if (mallctl(name, &v, &len, NULL, 0)) {
		fprintf(stderr, "mallctl %s\n", name);
		_exit(1);
	}
	return v;
}

static void say_figures(void)
{
	uint64_t one = 1;

	mallctl("epoch", NULL, NULL, &one, sizeof(one));
	say("{\"allocated\": %" PRIu64 ", \"active\": %" PRIu64 ", \"metadata\": %" PRIu64
	    ", \"resident\": %" PRIu64 ", \"mapped\": %" PRIu64 ", \"retained\": %" PRIu64
	    ", \"pdirty\": %" PRIu64 ", \"pmuzzy\": %" PRIu64 ", \"tcache_bytes\": %" PRIu64
	    ", \"narenas\": %" PRIu64 ", \"dirty_decay_ms\": %" PRId64 ", \"arena0_decay\": %" PRId64
	    ", \"muzzy_decay_ms\": %" PRId64 ", \"background_thread\": %" PRIu64 "}\n",
	    number("stats.allocated", 8), number("stats.active", 8), number("stats.metadata", 8),
	    number("stats.resident", 8), number("stats.mapped", 8), number("stats.retained", 8),
	    number("stats.arenas.4096.pdirty", 8), number("stats.arenas.4096.pmuzzy", 8),
	    number("stats.arenas.4096.tcache_bytes", 8), number("arenas.narenas", 4),
	    (int64_t)number("arenas.dirty_decay_ms", 8),
	    (int64_t)number("arena.0.dirty_decay_ms", 8),
	    (int64_t)number("arenas.muzzy_decay_ms", 8), number("background_thread", 1));
}

int main(int argc, char **argv)
{
	static const struct shape shapes[] = {
		{ "dirty", BLOCK, 500, false },
		{ "internal", BLOCK, 4, false }, /* a block in each slab of four */
		{ "caches", 0, 0, true },
		{ "mixed", BLOCK, 500, true },
	};

	return doctor_main(argc, argv, shapes, sizeof(shapes) / sizeof(shapes[0]), say_figures);
}
