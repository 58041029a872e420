/* SPDX-License-Identifier: Apache-2.0 */
/* gperftools' tcmalloc with a full page heap, and with full thread caches. */
#include "doctor_allocator.h"

int MallocExtension_GetNumericProperty(const char *, size_t *);

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

int main(int argc, char **argv)
{
	static const struct shape shapes[] = {
		{ "pageheap", 100000, 50, false },
		{ "caches", 0, 0, true },
		{ "mixed", 100000, 50, true },
	};

	return doctor_main(argc, argv, shapes, sizeof(shapes) / sizeof(shapes[0]), say_figures);
}
