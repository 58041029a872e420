/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large tables in huge pages.  A profile of 50,000 sites is tens of megabytes of arrays and hash tables that are visited
 * in no order at all: with pages of 4 KiB nearly every visit misses the TLB too, and filling the tables is a fault for
 * each of them.  Where the kernel gives huge pages to those who ask (its default is "madvise"), a third of the time goes.
 *
 * Only what is aligned to a huge page can be one, which what malloc() maps never is; and a table that mremap() moves loses
 * its huge pages and pays a fault for each small one.  So large tables are aligned, and copied when they grow.
 *
 * All of these return memory for free(), or NULL when there is none.
 */
#ifndef SEEP_BASE_LARGE_H
#define SEEP_BASE_LARGE_H

#include <stddef.h>

#define LARGE_PAGE (2u << 20)

/* n bytes, not initialized. */
void *large_alloc(size_t n);
/* n bytes, zero. */
void *large_zero(size_t n);
/* p, of which `used` bytes matter, with n bytes; p is gone unless NULL comes back. */
void *large_resize(void *p, size_t used, size_t n);

/*
 * For a process that goes on, and makes such tables again and again: from now on they come from one heap that keeps up to
 * 256 MB of what was freed until large_give_back(), so that the kernel does not clear their pages anew each time.
 * In that heap they are not aligned, since glibc looks for room for the alignment besides the table's own and so does not
 * find the place that the last one of that size has left; all of the heap around them may be huge pages instead.
 * Before there is a second thread.
 */
void large_keep(void);
/* All that large_keep() had been keeping goes back to the kernel. */
void large_give_back(void);

/*
 * How many items of `size` bytes a table should have after `cap`, `first` the first time.  It doubles, but for the sizes
 * between what malloc() keeps in its heap and a huge page, which cost more faults than the huge page does.
 */
static inline size_t large_next(size_t cap, size_t first, size_t size)
{
	size_t next = cap ? cap * 2 : first;

	return next * size > (128u << 10) && next * size < LARGE_PAGE ? LARGE_PAGE / size : next;
}

#endif
