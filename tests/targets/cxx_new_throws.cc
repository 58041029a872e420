/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cxx_new_throws: for allocators that bring their own operator new.  Impossible requests throw, again and again, with a
 * new-handler that allocates before it gives up; between them and after them blocks are made as usual, among
 * them ones so large that operator new maps memory for each, and aligned ones.
 */
#include "truth.h"

#include <new>
#include <sys/mman.h>

TRUTH(small);
TRUTH(by_handler);
TRUTH(large);
TRUTH(aligned);
TRUTH(mapped_here);

enum {
	REFUSALS = 40,
	SMALL_BETWEEN = 25,
	ALIGNED = 2000,
	LARGE = 4,
	LARGE_SIZE = 64 << 20,
	MAPPED_SIZE = 1 << 20
};

NOINLINE static void *small(size_t size)
{
	return BORN(small, ::operator new(size), size);
}

NOINLINE static void *by_handler(size_t size)
{
	return BORN(by_handler, malloc(size), size);
}

NOINLINE static void *large(size_t size)
{
	return BORN(large, ::operator new(size), size);
}

/* An allocator may ask itself for it by a public name, or bring no such operator: then it is libstdc++'s. */
NOINLINE static void *aligned(size_t size)
{
	return BORN(aligned, ::operator new(size, std::align_val_t(64)), size);
}

/* The program's own mapping, which is not the allocator's. */
NOINLINE static void *mapped_here(size_t size)
{
	void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return BORN(mapped_here, p, size);
}

static void handler()
{
	ESCAPE(by_handler(48));
	std::set_new_handler(nullptr);
}

int main()
{
	volatile size_t impossible = SIZE_MAX / 2;
	int thrown = 0;

	for (int i = 0; i < REFUSALS; i++) {
		std::set_new_handler(handler);
		try {
			ESCAPE(::operator new(impossible));
		} catch (const std::bad_alloc &) {
			thrown++;
		}
		for (int k = 0; k < SMALL_BETWEEN; k++)
			ESCAPE(small(16));
	}
	CHECK(thrown == REFUSALS);
	for (int i = 0; i < ALIGNED; i++) {
		void *p = aligned(192);

		if (i % 4 == 0) {
			DIED(aligned, 192);
			::operator delete(p, std::align_val_t(64));
		}
	}
	for (int i = 0; i < LARGE; i++) {
		char *p = static_cast<char *>(large(LARGE_SIZE));

		p[0] = 1;
		DIED(large, LARGE_SIZE);
		::operator delete(p);
		ESCAPE(large(LARGE_SIZE));
	}
	ESCAPE(mapped_here(MAPPED_SIZE));
	truth_print("cxx_new_throws", "main");
	return 0;
}
