/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SEEP_BASE_BYTES_H
#define SEEP_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Are there only zeros in n bytes, or none at all?  The first is, and each is like the one before it: at memcmp()'s speed. */
static inline bool bytes_are_zero(const void *data, size_t n)
{
	const unsigned char *p = data;

	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

#endif
