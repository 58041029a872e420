/* SPDX-License-Identifier: Apache-2.0 */
#include "base/large.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *large_alloc(size_t n)
{
	void *p;

	if (n < LARGE_PAGE / 2)
		return malloc(n ? n : 1);
	if (n > SIZE_MAX / 2)
		return NULL;
	p = aligned_alloc(LARGE_PAGE, (n + LARGE_PAGE - 1) & ~(size_t)(LARGE_PAGE - 1));
	if (p) {
		int error = errno; /* a kernel without them may say so */

		madvise(p, n, MADV_HUGEPAGE);
		errno = error;
	}
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
