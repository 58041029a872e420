/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded cache of rendered pages: it grows until it is full, then replaces its oldest entry.  Growth
 * that ends is no leak, however much it looks like one in the first minutes.
 */
#ifndef SERVICE_CACHE_H
#define SERVICE_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#define CACHE_ENTRIES 128
#define CACHE_PAGE_SIZE (32u * 1024)

/* Renders the page of that name or finds it; false: out of memory. */
bool cache_page(const char *name, bool *ret_hit, size_t *ret_entries);
void cache_clear(void);

#endif
