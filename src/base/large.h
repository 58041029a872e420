/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large tables in huge pages.  A profile of 50,000 sites is tens of megabytes of arrays and hash tables that are visited
 * in no order at all: with pages of 4 KiB nearly every visit misses the TLB too, and filling the tables is a fault for
 * each of them.  Where the kernel gives huge pages to those who ask (its default is "madvise"), a third of the time goes.
 */
#ifndef SEEP_BASE_LARGE_H
#define SEEP_BASE_LARGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define LARGE_TABLE (4u << 20)

/*
 * Asks for them for n bytes just got from malloc(), calloc() or realloc(), if that is large; p may be NULL.  The whole pages
 * around it are meant: the header that malloc() keeps in front is in the same mapping, and must stay so for realloc() to
 * be able to move it.
 */
static inline void large_table(void *p, size_t n)
{
	const uintptr_t page = 4096;
	uintptr_t start = (uintptr_t)p & ~(page - 1);

	if (p && n >= LARGE_TABLE)
		madvise((void *)start, ((uintptr_t)p + n - start + page - 1) & ~(page - 1),
		        MADV_HUGEPAGE);
}

#endif
