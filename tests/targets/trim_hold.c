/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that was freed and that the allocator keeps, in each of the places it can be in, and a program that waits.
 *
 *     trim_hold holes MB      1 KB blocks, one of 500 kept: free chunks in bins, and no way to shrink the heap
 *     trim_hold tops MB N     N threads free all they had, with thresholds that have risen: tops of arenas, which
 *                             malloc_trim() does not look at
 *     trim_hold rounds MB     the same amount taken and freed at each line on stdin, for thresholds to show
 *     trim_hold locked MB     holes, in memory that is locked
 *     trim_hold spin MB       holes, and the main thread computes for ever instead of waiting
 *
 * Prints "ready" and, at a line "check" on stdin, "intact" or "damaged"; ends at the end of stdin.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK 1024
#define KEEP 500
#define LARGE 40000

static size_t bytes;
static char **kept;
static size_t nkept;
static pthread_barrier_t freed;

static void say(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

static void make_holes(void)
{
	size_t n = bytes / BLOCK;
	char **all = malloc(n * sizeof(*all));

	kept = malloc((n / KEEP + 1) * sizeof(*kept));
	for (size_t i = 0; i < n; i++) {
		all[i] = malloc(BLOCK - 8);
		memset(all[i], (int)(i % 251), BLOCK - 8);
	}
	for (size_t i = 0; i < n; i++) {
		if (i % KEEP == 0)
			kept[nkept++] = all[i];
		else
			free(all[i]);
	}
	free(all);
}

static const char *check(void)
{
	for (size_t i = 0; i < nkept; i++)
		for (size_t k = 0; k < BLOCK - 8; k++)
			if (kept[i][k] != (char)(i * KEEP % 251))
				return "damaged";
	return "intact";
}

static void *take_and_free(void *arg)
{
	size_t n = bytes / LARGE;
	void **all = malloc(n * sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		all[i] = malloc(LARGE);
		memset(all[i], 1, LARGE);
	}
	for (size_t i = n; i > 0; i--)
		free(all[i - 1]);
	free(all);
	pthread_barrier_wait(&freed);
	for (;;)
		pause();
	return NULL;
}

/* Free a large mapped block: both thresholds rise with it. */
static void raise_thresholds(void)
{
	char *volatile p = malloc(31 << 20);

	memset(p, 1, 31 << 20);
	free(p);
}

static void make_tops(unsigned int threads)
{
	pthread_t t;

	raise_thresholds();
	pthread_barrier_init(&freed, NULL, threads + 1);
	for (unsigned int i = 0; i < threads; i++)
		pthread_create(&t, NULL, take_and_free, NULL);
	pthread_barrier_wait(&freed);
}

static void round_trip(void)
{
	size_t n = bytes / LARGE;
	void **all = malloc(n * sizeof(*all));

	for (size_t i = 0; i < n; i++)
		all[i] = memset(malloc(LARGE), 1, LARGE);
	for (size_t i = n; i > 0; i--)
		free(all[i - 1]);
	free(all);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned int threads = argc > 3 ? (unsigned int)atoi(argv[3]) : 4;
	char line[64];

	bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 100) << 20;
	if (!strcmp(what, "locked") && mlockall(MCL_CURRENT | MCL_FUTURE)) {
		say("may not lock");
		return 4;
	}
	if (!strcmp(what, "holes") || !strcmp(what, "locked") || !strcmp(what, "spin"))
		make_holes();
	else if (!strcmp(what, "tops"))
		make_tops(threads);
	else if (!strcmp(what, "rounds"))
		raise_thresholds();
	else
		return 2;
	say("ready");
	if (!strcmp(what, "spin"))
		for (volatile uint64_t n = 0;; n++)
			;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "check\n")) {
			say(check());
		} else if (!strcmp(line, "round\n")) {
			round_trip();
			say("round");
		}
	}
	return 0;
}
