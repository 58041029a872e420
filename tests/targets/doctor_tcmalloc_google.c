/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for Google's tcmalloc, which no distribution packages: the functions its header documents, over numbers that
 * move as the real ones do.  It shows that they are called with the right arguments, not what that allocator does.
 */
#include "doctor_allocator.h"

bool MallocExtension_Internal_GetNumericProperty(const char *name, size_t len, size_t *value);
size_t MallocExtension_Internal_ReleaseMemoryToSystem(size_t bytes);
int MallocExtension_Internal_GetStatsInPbtxt(char *buffer, int len);
size_t MallocExtension_Internal_GetBackgroundReleaseRate(void);
void MallocExtension_Internal_SetBackgroundReleaseRate(size_t rate);
int64_t MallocExtension_Internal_GetMaxTotalThreadCacheBytes(void);
void MallocExtension_Internal_SetMaxTotalThreadCacheBytes(int64_t value);

static struct {
	const char *name;
	size_t value;
} properties[] = {
	{ "generic.current_allocated_bytes", 123456789 },
	{ "generic.heap_size", 200000000 },
	{ "generic.physical_memory_used", 190000000 },
	{ "tcmalloc.pageheap_free_bytes", 50000000 },
	{ "tcmalloc.pageheap_unmapped_bytes", 1000 },
	{ "tcmalloc.central_cache_free", 111 },
	{ "tcmalloc.transfer_cache_free", 222 },
	{ "tcmalloc.sharded_transfer_cache_free", 1 },
	{ "tcmalloc.cpu_free", 333 },
	{ "tcmalloc.thread_cache_free", 4 },
	{ "tcmalloc.metadata_bytes", 5555 },
	{ "tcmalloc.max_total_thread_cache_bytes", 33554432 },
};

static size_t rate;

static size_t *property(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (strlen(properties[i].name) == len && !memcmp(properties[i].name, name, len))
			return &properties[i].value;
	return NULL;
}

bool MallocExtension_Internal_GetNumericProperty(const char *name, size_t len, size_t *value)
{
	const size_t *p = property(name, len);

	if (p)
		*value = *p;
	return p != NULL;
}

size_t MallocExtension_Internal_ReleaseMemoryToSystem(size_t bytes)
{
	size_t *free_bytes = &properties[3].value, *unmapped = &properties[4].value;
	size_t n = bytes < *free_bytes ? bytes : *free_bytes;

	*free_bytes -= n;
	*unmapped += n;
	return n;
}

int MallocExtension_Internal_GetStatsInPbtxt(char *buffer, int len)
{
	return snprintf(buffer, (size_t)len, "in_use_by_app: %zu\npage_heap_freelist: %zu\n",
	                properties[0].value, properties[3].value);
}

size_t MallocExtension_Internal_GetBackgroundReleaseRate(void)
{
	return rate;
}

void MallocExtension_Internal_SetBackgroundReleaseRate(size_t v)
{
	rate = v;
}

int64_t MallocExtension_Internal_GetMaxTotalThreadCacheBytes(void)
{
	return (int64_t)properties[11].value;
}

void MallocExtension_Internal_SetMaxTotalThreadCacheBytes(int64_t v)
{
	properties[11].value = (size_t)v;
}

static void say_figures(void)
{
	static char line[4096];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s\"%s\": %zu", i ? ", " : "{",
		                      properties[i].name, properties[i].value);
	say("%s, \"rate\": %zu}\n", line, rate);
}

int main(int argc, char **argv)
{
	static const struct shape shapes[] = { { "double", 0, 0, false } };

	return doctor_main(argc, argv, shapes, 1, say_figures);
}
