/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cxx_new_delete [no-throw]: every form of operator new and delete: plain, array, nothrow, aligned, sized.  Each
 * block counts once.  The argument is for valgrind, which cannot throw std::bad_alloc.
 */
#include "truth.h"

#include <new>

TRUTH(by_new);
TRUTH(by_new_array);
TRUTH(by_new_nothrow);
TRUTH(by_new_array_nothrow);
TRUTH(by_new_aligned);
TRUTH(by_new_array_aligned);
TRUTH(by_new_aligned_nothrow);

#define SITE(name, expression)                       \
	NOINLINE static void *name(size_t size)      \
	{                                            \
		return BORN(name, expression, size); \
	}
static const std::align_val_t line{ 64 };
SITE(by_new, ::operator new(size))
SITE(by_new_array, ::operator new[](size))
SITE(by_new_nothrow, ::operator new(size, std::nothrow))
SITE(by_new_array_nothrow, ::operator new[](size, std::nothrow))
SITE(by_new_aligned, ::operator new(size, line))
SITE(by_new_array_aligned, ::operator new[](size, line))
SITE(by_new_aligned_nothrow, ::operator new(size, line, std::nothrow))

/* Throws; the exception is a block, too, but not one of by_new's. */
NOINLINE static void *too_much(size_t size)
{
	void *p = ::operator new(size);

	ESCAPE(p);
	return p;
}

/* Alternates between the forms of delete that match; every fifth block stays. */
#define LIVES(name, i, size, plain, sized) \
	do {                               \
		void *p = name(size);      \
		CHECK(p);                  \
		if ((i) % 5) {             \
			DIED(name, size);  \
			if ((i) % 2)       \
				plain;     \
			else               \
				sized;     \
		}                          \
	} while (0)

/* The exception inside is not one of by_new_nothrow's blocks. */
static __attribute__((noinline)) void *nothrow_too_much(size_t size)
{
	void *p = ::operator new(size, std::nothrow);

	__asm__ volatile("" : : "r"(p) : "memory");
	return p;
}

int main(int argc, char **)
{
	volatile size_t impossible = SIZE_MAX / 2;
	bool thrown = false;

	/* First, so that what follows shows whether a refused request put the tracker off. */
	CHECK(argc > 1 || !nothrow_too_much(impossible));
	try {
		if (argc == 1)
			too_much(impossible);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	CHECK(thrown == (argc == 1));
	for (int i = 0; i < 200; i++) {
		size_t n = static_cast<size_t>(64 * (1 + i % 10));

		LIVES(by_new, i, n, ::operator delete(p), ::operator delete(p, n));
		LIVES(by_new_array, i, n, ::operator delete[](p), ::operator delete[](p, n));
		LIVES(by_new_nothrow, i, n, ::operator delete(p),
		      ::operator delete(p, std::nothrow));
		LIVES(by_new_array_nothrow, i, n, ::operator delete[](p),
		      ::operator delete[](p, std::nothrow));
		LIVES(by_new_aligned, i, n, ::operator delete(p, line),
		      ::operator delete(p, n, line));
		LIVES(by_new_array_aligned, i, n, ::operator delete[](p, line),
		      ::operator delete[](p, n, line));
		LIVES(by_new_aligned_nothrow, i, n, ::operator delete(p, line),
		      ::operator delete(p, line, std::nothrow));
	}
	truth_print("cxx_new_delete", "main");
	return 0;
}
