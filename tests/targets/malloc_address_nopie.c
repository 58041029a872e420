/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program at a fixed address that keeps &malloc and &free in a table, as CPython does: there
 * the address of malloc is a stub in the program itself, but the allocator is libc's all the same.
 */
#include "truth.h"

TRUTH(make_by_pointer);

static const struct allocator {
	void *(*alloc)(size_t);
	void (*release)(void *);
} raw = { malloc, free };
static const struct allocator *volatile allocator = &raw;

NOINLINE static void *make_by_pointer(size_t size)
{
	return BORN(make_by_pointer, allocator->alloc(size), size);
}

int main(void)
{
	for (size_t i = 0; i < 100; i++) {
		void *p = make_by_pointer(i);

		if (i % 2) {
			DIED(make_by_pointer, i);
			allocator->release(p);
		}
	}
	truth_print("malloc_address_nopie", "main");
	return 0;
}
