/* SPDX-License-Identifier: Apache-2.0 */
/* gperftools' tcmalloc with a full page heap, with full caches, and with full thread caches and little else. */
#include "doctor_allocator.h"

#define HOARD_BLOCKS 8000 /* a thread's list has at most 8192 */
#define HOARD_SIZE 1024
#define HOARD_ROUNDS 1000

int MallocExtension_GetNumericProperty(const char *, size_t *);
int MallocExtension_SetNumericProperty(const char *, size_t);

static const char *const names[] = {
	"generic.current_allocated_bytes",       "generic.heap_size",
	"generic.total_physical_bytes",          "tcmalloc.pageheap_free_bytes",
	"tcmalloc.pageheap_unmapped_bytes",      "tcmalloc.central_cache_free_bytes",
	"tcmalloc.transfer_cache_free_bytes",    "tcmalloc.thread_cache_free_bytes",
	"tcmalloc.max_total_thread_cache_bytes", "tcmalloc.aggressive_memory_decommit",
};

static void say_figures(void)
{
	static char line[4096];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t v = 0;

		if (!MallocExtension_GetNumericProperty(names[i], &v))
			die(names[i]);
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s\"%s\": %zu", i ? ", " : "{",
		                      names[i], v);
	}
	say("%s}\n", line);
}

static size_t in_thread_caches(void)
{
	size_t v = 0;

	if (!MallocExtension_GetNumericProperty("tcmalloc.thread_cache_free_bytes", &v))
		die("tcmalloc.thread_cache_free_bytes");
	return v;
}

/*
 * A thread that keeps all it has ever freed.  A cache is allowed more only little by little, each time it overflows, and what
 * overflows goes back to the page heap; so the same blocks are taken and freed until they stay.
 */
static void *keep_all(void *arg)
{
	static _Thread_local void *mine[HOARD_BLOCKS];
	size_t before = in_thread_caches();
	char byte;

	(void)arg;
	for (int round = 0; round < HOARD_ROUNDS; round++) {
		for (size_t i = 0; i < HOARD_BLOCKS; i++) {
			mine[i] = malloc(HOARD_SIZE);
			if (!mine[i])
				die("malloc");
			memset(mine[i], 0x55, HOARD_SIZE);
		}
		for (size_t i = 0; i < HOARD_BLOCKS; i++)
			free(mine[i]);
		if (in_thread_caches() >= before + (size_t)HOARD_BLOCKS * HOARD_SIZE)
			break;
	}
	pthread_barrier_wait(&made);
	while (read(thread_pipe[0], &byte, 1) < 0)
		;
	return NULL;
}

/* One after the other, so that each knows how much the caches grew by its own. */
static void fill_thread_caches(void)
{
	pthread_t t;

	if (!MallocExtension_SetNumericProperty("tcmalloc.max_total_thread_cache_bytes", 1 << 30))
		die("tcmalloc.max_total_thread_cache_bytes");
	if (pipe(thread_pipe))
		die("pipe");
	pthread_barrier_init(&made, NULL, 2);
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&t, NULL, keep_all, NULL))
			die("pthread_create");
		pthread_barrier_wait(&made);
	}
}

int main(int argc, char **argv)
{
	static const struct shape shapes[] = {
		{ "pageheap", 100000, 50, false },
		{ "caches", 0, 0, true },
		{ "mixed", 100000, 50, true },
		{ "thread-caches", 0, 0, false },
	};

	if (argc > 1 && !strcmp(argv[1], "thread-caches"))
		fill_thread_caches();

	return doctor_main(argc, argv, shapes, sizeof(shapes) / sizeof(shapes[0]), say_figures);
}
