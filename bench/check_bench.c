/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leak checks are timed on (bench/check.py): N blocks of 72 bytes, 1000 of them lost,
 * the others held by
 *
 *   array      an array of pointers, in order of allocation
 *   shuffled   the same array, in random order
 *   list       one list, in order of allocation
 *   randlist   one list, in random order: each pointer must be followed before the next is known
 *   tree       a binary tree (a heap's numbering: block i holds 2i+1 and 2i+2)
 *
 * Words that hold no pointer hold small numbers, as most do.  It says "ready" and then obeys: each line on
 * its standard input is one check by LeakSanitizer, if it was built with it, answered with the nanoseconds;
 * it ends with its input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOST 1000
#define WORDS 9

__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

struct node {
	struct node *next, *other;
	uint64_t rest[WORDS - 2];
};

static void *volatile root; /* all that holds them */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct node *node_new(uint64_t i)
{
	struct node *n = malloc(sizeof(*n));

	if (!n)
		exit(1);
	n->next = n->other = NULL;
	for (unsigned int k = 0; k < WORDS - 2; k++)
		n->rest[k] = i + k;
	return n;
}

static void shuffle(struct node **a, size_t n)
{
	uint64_t seed = 1;

	for (size_t i = n; i > 1; i--) {
		struct node *t = a[i - 1];
		size_t j;

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		j = (seed >> 24) % i;
		a[i - 1] = a[j];
		a[j] = t;
	}
}

/* The array of those that are kept; the lost ones lie evenly among them. */
static __attribute__((noinline)) struct node **fill(size_t n)
{
	struct node **a = malloc((n - LOST) * sizeof(struct node *));
	size_t every = n / LOST, lost = 0, kept = 0;

	if (!a)
		exit(1);
	for (size_t i = 0; i < n; i++) {
		struct node *b = node_new(i);

		if (i % every == every / 2 && lost < LOST)
			lost++;
		else
			a[kept++] = b;
	}
	return a;
}

static __attribute__((noinline)) void build(const char *shape, size_t n)
{
	struct node **a = fill(n);

	n -= LOST;
	if (!strcmp(shape, "shuffled") || !strcmp(shape, "randlist"))
		shuffle(a, n);
	if (!strcmp(shape, "array") || !strcmp(shape, "shuffled")) {
		root = a;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(shape, "tree")) {
			a[i]->next = 2 * i + 1 < n ? a[2 * i + 1] : NULL;
			a[i]->other = 2 * i + 2 < n ? a[2 * i + 2] : NULL;
		} else {
			a[i]->next = i + 1 < n ? a[i + 1] : NULL;
		}
	}
	root = a[0];
	memset(a, 0, n * sizeof(struct node *));
	free(a);
}

/* Nothing of what was built may be left on the stack. */
static __attribute__((noinline)) void wipe(void)
{
	volatile char space[16384];

	memset((char *)space, 0, sizeof(space));
	__asm__ volatile("" : : "r"(space) : "memory");
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 8000000;

	if (argc < 2 || n < 2 * LOST) {
		fprintf(stderr, "usage: %s array|shuffled|list|randlist|tree [BLOCKS]\n", argv[0]);
		return 2;
	}
	build(argv[1], n);
	wipe();
	puts("ready");
	fflush(stdout);
	while (getchar() == '\n') {
		uint64_t start = now_ns();

		if (!__lsan_do_recoverable_leak_check)
			return 3;
		__lsan_do_recoverable_leak_check();
		printf("%llu\n", (unsigned long long)(now_ns() - start));
		fflush(stdout);
	}
	_Exit(0);
}
