/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays that grow by doubling, and strings that may be NULL: what the makers of profiles and views need of both.
 *
 * An array is three variables of its owner's: the items, how many there are, and for how many there is room (0 at
 * first).  Indices into such arrays are 32 bits wide, and UINT32_MAX is kept free to mean "none".
 */
#ifndef SEEP_BASE_ARRAY_H
#define SEEP_BASE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/large.h"

/* Room for `want` items of `size` bytes in all, n of which are there.  -1: no memory, or too many; then nothing changed. */
static inline int array_reserve(void **array, size_t n, size_t *cap, size_t want, size_t size)
{
	void *p;

	if (want <= *cap)
		return 0;
	if (n >= UINT32_MAX - 1)
		return -1;
	p = large_resize(*array, n * size, want * size);
	if (!p)
		return -1;
	*array = p;
	*cap = want;
	return 0;
}

/* Room for one more. */
static inline int array_grow(void **array, size_t n, size_t *cap, size_t size)
{
	return n < *cap ? 0 : array_reserve(array, n, cap, large_next(*cap, 64, size), size);
}

/* One more of `what` in `owner`, whose count is named nWHAT; `caps` has its room, named cap_WHAT. */
#define ARRAY_GROW(owner, caps, what)                                              \
	array_grow((void **)&(owner)->what, (owner)->n##what, &(caps)->cap_##what, \
	           sizeof(*(owner)->what))
/* Room for `want` of them. */
#define ARRAY_RESERVE(owner, caps, what, want)                                              \
	array_reserve((void **)&(owner)->what, (owner)->n##what, &(caps)->cap_##what, want, \
	              sizeof(*(owner)->what))

/* A copy; of NULL it is NULL.  -1: no memory. */
static inline int str_copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -1 : 0;
}

static inline bool str_same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

#endif
