/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls malloc() through one of 256 different call stacks, 8 to 24 frames deep below the caller.
 *
 * Four functions call each other through a table; two bits of the path choose the next one, so that
 * no two paths share all their frames.  Built with -O2 and without frame pointers, as most of what runs
 * on Linux is.  The empty asm after the call keeps the compiler from turning it into a jump.
 */
#ifndef BENCH_STACKS_H
#define BENCH_STACKS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define STACKS 256u
#define STACK_MIN_DEPTH 8u
#define STACK_MAX_DEPTH 24u

typedef void *stack_hop(unsigned int path, unsigned int left, size_t size);

static stack_hop hop_read, hop_parse, hop_build, hop_store;
static stack_hop *const stack_hops[] = { hop_read, hop_parse, hop_build, hop_store };

static inline void *stack_step(unsigned int path, unsigned int left, size_t size)
{
	void *p;

	if (!left)
		p = malloc(size);
	else
		p = stack_hops[path & 3]((path >> 2) | (path & 3) << 6, left - 1, size);
	__asm__ volatile("" : "+r"(p));
	return p;
}

/* Different work around the call, so that the frames differ in size and saved registers. */
__attribute__((noinline)) static void *hop_read(unsigned int path, unsigned int left, size_t size)
{
	return stack_step(path, left, size);
}

__attribute__((noinline)) static void *hop_parse(unsigned int path, unsigned int left, size_t size)
{
	volatile unsigned int seen[4] = { path, left };
	void *p = stack_step(path, left, size);

	return seen[1] == left ? p : NULL;
}

__attribute__((noinline)) static void *hop_build(unsigned int path, unsigned int left, size_t size)
{
	volatile size_t total = size;
	void *p = stack_step(path, left, size);

	return total == size ? p : NULL;
}

__attribute__((noinline)) static void *hop_store(unsigned int path, unsigned int left, size_t size)
{
	volatile unsigned char scratch[96];
	void *p;

	scratch[path % sizeof(scratch)] = (unsigned char)left;
	p = stack_step(path, left, size);
	return scratch[path % sizeof(scratch)] == (unsigned char)left ? p : NULL;
}

static inline void *stack_malloc(unsigned int path, size_t size)
{
	unsigned int depth = STACK_MIN_DEPTH + path % (STACK_MAX_DEPTH - STACK_MIN_DEPTH + 1);

	/* The last hop calls malloc itself: depth frames lie between the caller and malloc. */
	return stack_hops[path >> 3 & 3](path, depth - 1, size);
}

/* xorshift64*: fast enough not to be what is measured. */
static inline uint64_t stack_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

#endif
