/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor_jemalloc, doctor_tcmalloc and doctor_mimalloc programs share: shapes of memory, and answering on stdin.
 *
 *     doctor_jemalloc SHAPE [MEGABYTES]
 *
 * makes a shape, says {"ready": pid} and then answers each letter with a line:
 *
 *     s  its allocator's own figures, {"name": number, ...}
 *     m  allocates and frees a little and says {"moved": blocks}: the memory still works, contents are checked
 *     q  ends
 *
 * While it waits nothing in it allocates, so that what it says and what is asked from outside are of the same
 * moment.  Lines go through write(2).
 */
#ifndef TARGETS_DOCTOR_ALLOCATOR_H
#define TARGETS_DOCTOR_ALLOCATOR_H

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 1000u
#define THREADS 4
#define THREAD_BLOCKS 2000

struct kept {
	unsigned char **blocks;
	size_t n;
};

/* The program's functions for memory: prefixed allocators have their own. */
#ifndef DOCTOR_MALLOC
#define DOCTOR_MALLOC malloc
#define DOCTOR_FREE free
#endif

static struct kept kept;
static pthread_barrier_t made;
static int thread_pipe[2];

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	static char line[16384];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(1);
}

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

/* All blocks filled; then all but one in `keep_one_of` are freed.  0: none is kept. */
static void fill_and_free(size_t megabytes, size_t block, size_t keep_one_of)
{
	size_t n = megabytes * 1000000 / block, k = 0;
	unsigned char **all = DOCTOR_MALLOC(n * sizeof(*all));

	if (!all)
		die("malloc");
	for (size_t i = 0; i < n; i++) {
		all[i] = DOCTOR_MALLOC(block);
		if (!all[i])
			die("malloc");
		memset(all[i], (int)(i & 0xff), block);
	}
	for (size_t i = 0; i < n; i++) {
		if (keep_one_of && i % keep_one_of == 0)
			all[k++] = all[i];
		else
			DOCTOR_FREE(all[i]);
	}
	kept.blocks = all;
	kept.n = k;
}

/* A thread that has had many small blocks and now waits, its cache full. */
static void *hoard(void *arg)
{
	static _Thread_local void *mine[THREAD_BLOCKS];
	char byte;

	(void)arg;
	for (size_t size = 64; size <= 4096; size *= 2) {
		for (size_t i = 0; i < THREAD_BLOCKS; i++) {
			mine[i] = DOCTOR_MALLOC(size);
			if (!mine[i])
				die("malloc");
			memset(mine[i], 0x55, size);
		}
		for (size_t i = 0; i < THREAD_BLOCKS; i++)
			DOCTOR_FREE(mine[i]);
	}
	pthread_barrier_wait(&made);
	while (read(thread_pipe[0], &byte, 1) < 0)
		;
	return NULL;
}

static void hoard_in_threads(void)
{
	pthread_barrier_init(&made, NULL, THREADS + 1);
	if (pipe(thread_pipe))
		die("pipe");
	for (int i = 0; i < THREADS; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, hoard, NULL))
			die("pthread_create");
	}
	pthread_barrier_wait(&made);
}

/* The number of blocks that hold what was written, or an end. */
static size_t check_kept(size_t block, size_t keep_one_of)
{
	for (size_t i = 0; i < kept.n; i++)
		for (size_t k = 0; k < block; k++)
			if (kept.blocks[i][k] != ((i * keep_one_of) & 0xff)) {
				fprintf(stderr, "block %zu is damaged\n", i);
				_exit(2);
			}
	return kept.n;
}

static void move(void)
{
	for (size_t i = 0; i < 1000; i++) {
		unsigned char *p = DOCTOR_MALLOC(1 + i * 37 % 30000);

		if (!p)
			die("malloc");
		memset(p, 7, 1 + i * 37 % 30000);
		DOCTOR_FREE(p);
	}
}

struct shape {
	const char *name;
	size_t block, keep_one_of;
	bool threads;
};

/* say_figures() prints one line. */
static int doctor_main(int argc, char **argv, const struct shape *shapes, size_t n,
                       void (*say_figures)(void))
{
	size_t megabytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
	const struct shape *s = NULL;
	char c;

	for (size_t i = 0; i < n && argc > 1; i++)
		if (!strcmp(shapes[i].name, argv[1]))
			s = &shapes[i];
	if (!s) {
		fprintf(stderr, "usage: %s SHAPE [MEGABYTES]\n", argv[0]);
		return 2;
	}
	if (s->threads)
		hoard_in_threads();
	if (s->block)
		fill_and_free(megabytes, s->block, s->keep_one_of);
	say_figures(); /* what the C library makes at first use is made now */
	say("{\"ready\": %d}\n", (int)getpid());
	while (read(STDIN_FILENO, &c, 1) == 1) {
		if (c == 's')
			say_figures();
		if (c == 'm') {
			move();
			say("{\"moved\": %zu}\n",
			    s->block ? check_kept(s->block, s->keep_one_of) : (size_t)0);
		}
		if (c == 'q')
			return 0;
	}
	return 0;
}

#endif
