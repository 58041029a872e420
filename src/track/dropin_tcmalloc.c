/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What else programs ask of tcmalloc: <gperftools/malloc_extension_c.h>.
 *
 * A program over tcmalloc gets tcmalloc's answers, all but one: the heap sample, which pages like /pprof/heap show, is made
 * from what is recorded here, with stacks that begin in the program, and also when tcmalloc was not told to
 * sample.  It is a virtual function of a C++ class; tcmalloc's own table refers to it by name, so the name is
 * enough.  The string it is put into is the program's, and so is the function that does it.
 *
 * Without tcmalloc the C functions say what is known of the allocator there is (glibc's mallinfo2), and do
 * what it can (malloc_trim).  A question without an answer is answered as tcmalloc answers an unknown property.
 */
#include <string.h>

#include "track/dropin.h"

#define NUMBER_OF_COUNTS 64 /* kMallocExtensionHistogramSize */

static const struct dropin_since ever = { .whole = true };

/* struct mallinfo2, glibc 2.33 */
struct heap_info {
	size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

static bool heap_info(struct heap_info *ret)
{
	struct heap_info (*fn)(void) = NULL;
	const char *module;
	void *p = symbol_next("mallinfo2", &module);

	memcpy(&fn, &p, sizeof(p));
	if (!fn)
		return false;
	*ret = fn();
	return ret->arena || ret->hblkhd; /* another allocator's has nothing to say */
}

static size_t in_use(void)
{
	return dropin_in_use(1u << LEDGER_HEAP);
}

/* ---- the heap sample ---------------------------------------------------------------------- */

#define STD_STRING "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE"

static bool append_profile(void *string)
{
	struct dropin_profile what = { DROPIN_GPERFTOOLS, &ever, 1u << LEDGER_HEAP, true };
	void *(*append)(void *, const char *, size_t) = NULL;
	void *p = symbol_anywhere("_Z" STD_STRING "6appendEPKcm");
	uint64_t mask, len, size;
	char *text;

	memcpy(&append, &p, sizeof(p));
	if (!append || !dropin_working() || !dropin_enter(&mask))
		return false;
	text = dropin_text(&what, &len, &size);
	dropin_leave(mask);
	if (!text)
		return false;
	append(string, text, len);
	sys_munmap(text, size);
	return true;
}

#define HEAP_SAMPLE(name)                                 \
	EXPORT void name(void *self, void *string)        \
	{                                                 \
		if (!append_profile(string) && real.name) \
			real.name(self, string);          \
	}

HEAP_SAMPLE(_ZN15MallocExtension13GetHeapSampleEPNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE)
HEAP_SAMPLE(
	_ZN22TCMallocImplementation13GetHeapSampleEPNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE)

/* ---- numbers --------------------------------------------------------------------------------- */

EXPORT int MallocExtension_GetNumericProperty(const char *property, size_t *value)
{
	static const char allocated[] = "generic.current_allocated_bytes";
	struct heap_info info;
	bool known;

	if (real.MallocExtension_GetNumericProperty)
		return real.MallocExtension_GetNumericProperty(property, value);
	if (!property || !value)
		return 0;
	known = heap_info(&info);
	if (!strncmp(property, allocated, sizeof(allocated))) {
		if (!dropin_working() && !known)
			return 0;
		*value = dropin_working() ? in_use() : info.uordblks + info.hblkhd;
	} else if (known && !strncmp(property, "generic.heap_size", 18)) {
		*value = info.arena + info.hblkhd;
	} else if (known && !strncmp(property, "tcmalloc.pageheap_free_bytes", 29)) {
		*value = info.fordblks;
	} else {
		return 0;
	}
	return 1;
}

EXPORT int MallocExtension_SetNumericProperty(const char *property, size_t value)
{
	return real.MallocExtension_SetNumericProperty
	               ? real.MallocExtension_SetNumericProperty(property, value)
	               : 0;
}

EXPORT void MallocExtension_GetStats(char *buffer, int length)
{
	struct heap_info info = { 0 };
	char *p = buffer, *end = buffer + length;

	if (real.MallocExtension_GetStats) {
		real.MallocExtension_GetStats(buffer, length);
		return;
	}
	if (!buffer || length < 1)
		return;
	*p = '\0';
	if (dropin_working()) {
		p = text_str(p, end, "MALLOC: ");
		p = text_num(p, end, in_use(), 12);
		p = text_str(p, end, " Bytes in use by application\n");
	}
	if (heap_info(&info)) {
		p = text_str(p, end, "MALLOC: ");
		p = text_num(p, end, info.fordblks, 12);
		p = text_str(p, end, " Bytes in free lists\nMALLOC: ");
		p = text_num(p, end, info.arena + info.hblkhd, 12);
		text_str(p, end, " Bytes of heap\n");
	}
}

EXPORT size_t MallocExtension_GetAllocatedSize(const void *p)
{
	size_t (*fn)(const void *) = NULL;
	const char *module;
	void *f;

	if (real.MallocExtension_GetAllocatedSize)
		return real.MallocExtension_GetAllocatedSize(p);
	f = symbol_next("malloc_usable_size", &module);
	memcpy(&fn, &f, sizeof(f));
	return fn && p ? fn(p) : 0;
}

EXPORT size_t MallocExtension_GetEstimatedAllocatedSize(size_t size)
{
	return real.MallocExtension_GetEstimatedAllocatedSize
	               ? real.MallocExtension_GetEstimatedAllocatedSize(size)
	               : size;
}

EXPORT size_t MallocExtension_GetThreadCacheSize(void)
{
	return real.MallocExtension_GetThreadCacheSize ? real.MallocExtension_GetThreadCacheSize()
	                                               : 0;
}

EXPORT int MallocExtension_GetOwnership(const void *p)
{
	return real.MallocExtension_GetOwnership ? real.MallocExtension_GetOwnership(p) : 0;
}

EXPORT int MallocExtension_MallocMemoryStats(int *blocks, size_t *total,
                                             int histogram[NUMBER_OF_COUNTS])
{
	if (real.MallocExtension_MallocMemoryStats)
		return real.MallocExtension_MallocMemoryStats(blocks, total, histogram);
	*blocks = 0;
	*total = 0;
	memset(histogram, 0, NUMBER_OF_COUNTS * sizeof(*histogram));
	return 1;
}

/* ---- giving memory back -------------------------------------------------------------------------- */

static void trim(void)
{
	int (*fn)(size_t) = NULL;
	const char *module;
	void *p = symbol_next("malloc_trim", &module);

	memcpy(&fn, &p, sizeof(p));
	if (fn)
		fn(0);
}

EXPORT void MallocExtension_ReleaseFreeMemory(void)
{
	if (real.MallocExtension_ReleaseFreeMemory)
		real.MallocExtension_ReleaseFreeMemory();
	else
		trim();
}

EXPORT void MallocExtension_ReleaseToSystem(size_t bytes)
{
	if (real.MallocExtension_ReleaseToSystem)
		real.MallocExtension_ReleaseToSystem(bytes);
	else if (bytes)
		trim();
}

/* ---- hints and checks, which only tcmalloc knows what to do with ------------------------------------ */

#define HINT(name)                   \
	EXPORT void name(void)       \
	{                            \
		if (real.name)       \
			real.name(); \
	}

HINT(MallocExtension_MarkThreadIdle)
HINT(MallocExtension_MarkThreadBusy)
HINT(MallocExtension_MarkThreadTemporarilyIdle)

EXPORT int MallocExtension_VerifyAllMemory(void)
{
	return real.MallocExtension_VerifyAllMemory ? real.MallocExtension_VerifyAllMemory() : 1;
}

#define VERIFY(name)                                 \
	EXPORT int name(const void *p)               \
	{                                            \
		return real.name ? real.name(p) : 1; \
	}

VERIFY(MallocExtension_VerifyNewMemory)
VERIFY(MallocExtension_VerifyArrayNewMemory)
VERIFY(MallocExtension_VerifyMallocMemory)
