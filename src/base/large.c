/* SPDX-License-Identifier: Apache-2.0 */
#include "base/large.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KEPT_MOST ((size_t)32 << 20) /* glibc maps what is larger, whatever it is told */

static bool kept; /* set before there is a second thread */

void large_keep(void)
{
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, (int)KEPT_MOST);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_TOP_PAD, 8 << 20); /* whole huge pages, before anything in them is touched */
	kept = true;
#endif
}

void large_give_back(void)
{
#ifdef __GLIBC__
	if (kept)
		malloc_trim(0);
#endif
}

static void want_huge(const void *p, size_t n)
{
	uintptr_t from = (uintptr_t)p & ~(uintptr_t)(LARGE_PAGE - 1);
	int error = errno; /* a kernel without them may say so; and that not all of it is mapped */

	madvise((void *)from, (uintptr_t)p + n - from, MADV_HUGEPAGE);
	errno = error;
}

void *large_alloc(size_t n)
{
	void *p;

	if (n < LARGE_PAGE / 2)
		return malloc(n ? n : 1);
	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + LARGE_PAGE - 1) & ~(size_t)(LARGE_PAGE - 1);
	p = kept && n < KEPT_MOST ? malloc(n) : aligned_alloc(LARGE_PAGE, n);
	if (p)
		want_huge(p, n);
	return p;
}

void *large_zero(size_t n)
{
	void *p;

	if (n < LARGE_PAGE / 2)
		return calloc(1, n ? n : 1);
	p = large_alloc(n);
	return p ? memset(p, 0, n) : NULL;
}

void *large_resize(void *p, size_t used, size_t n)
{
	void *to;

	if (n < LARGE_PAGE / 2)
		return realloc(p, n ? n : 1);
	to = large_alloc(n);
	if (!to)
		return NULL;
	if (used)
		memcpy(to, p, used < n ? used : n);
	free(p);
	return to;
}
