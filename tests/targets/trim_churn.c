/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that allocate, fill, verify and free without a pause, for somebody to take pages out of the allocator's free
 * memory meanwhile.  Every byte of every block is known; calloc() must give zeroes; what realloc() moves must arrive.
 * The first wrong byte ends it with status 3.
 *
 *     trim_churn THREADS SECONDS [SEED]      0 threads: the main thread does it alone, and never waits
 *
 * Prints "ready", then at the end "rounds N"; a line "wrong ..." before it ends with 3.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 400

static unsigned int seconds;
static uint64_t seed;
static uint64_t rounds;
static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	ended = 1;
}

struct slot {
	unsigned char *p;
	size_t size;
	uint64_t key;
};

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* A word for every eight bytes, the rest byte by byte. */
static void fill(const struct slot *b, size_t from)
{
	for (size_t i = from; i < b->size; i++)
		if (i % 8 == 0 && i + 8 <= b->size) {
			uint64_t w = b->key + i;

			memcpy(b->p + i, &w, 8);
			i += 7;
		} else {
			b->p[i] = (unsigned char)(b->key >> i % 8 * 8);
		}
}

static void wrong(const char *what, const struct slot *b, size_t at)
{
	printf("wrong %s: block %p of %zu bytes, at %zu\n", what, (void *)b->p, b->size, at);
	fflush(stdout);
	_exit(3);
}

static void verify(const struct slot *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0 && i + 8 <= b->size && i + 8 <= len) {
			uint64_t w;

			memcpy(&w, b->p + i, 8);
			if (w != b->key + i)
				wrong("content", b, i);
			i += 7;
		} else if (i % 8 == 0 && i + 8 <= b->size) {
			return; /* the word goes over len */
		} else if (b->p[i] != (unsigned char)(b->key >> i % 8 * 8)) {
			wrong("content", b, i);
		}
	}
}

static size_t any_size(uint64_t r)
{
	switch (r >> 60) {
	case 0:
		return 1 + r % 120000; /* below the threshold for a mapping of its own */
	case 1:
	case 2:
		return 1 + r % 30000;
	case 3:
	case 4:
	case 5:
		return 1 + r % 6000;
	default:
		return 1 + r % 900;
	}
}

static void take(struct slot *b, uint64_t r)
{
	b->size = any_size(r);
	b->key = r;
	if (r % 7 == 0) {
		b->p = calloc(1, b->size);
		for (size_t i = 0; b->p && i < b->size; i++)
			if (b->p[i])
				wrong("calloc", b, i);
	} else if (r % 11 == 0) {
		if (posix_memalign((void **)&b->p, 4096, b->size))
			b->p = NULL;
	} else {
		b->p = malloc(b->size);
	}
	if (!b->p) {
		printf("wrong: out of memory\n");
		_exit(3);
	}
	fill(b, 0);
}

static void change(struct slot *b, uint64_t r)
{
	size_t old = b->size, now = any_size(r);
	unsigned char *p = realloc(b->p, now);

	if (!p) {
		printf("wrong: out of memory\n");
		_exit(3);
	}
	b->p = p;
	b->size = old < now ? old : now;
	/* What was a word may be cut now; the pattern of the shorter block is written again after a look. */
	verify(b, b->size & ~(size_t)7);
	b->size = now;
	fill(b, 0);
}

static void *churn(void *arg)
{
	uint64_t s = seed * 1000003 + (uint64_t)(uintptr_t)arg * 7919 + 88172645463325252ull, n = 0;
	struct slot *slots = calloc(SLOTS, sizeof(*slots));
	struct timespec t;
	time_t end;

	clock_gettime(CLOCK_MONOTONIC, &t);
	end = t.tv_sec + seconds;
	for (;;) {
		uint64_t r = next(&s);
		struct slot *b = &slots[r % SLOTS];

		if (!b->p) {
			take(b, next(&s));
		} else if (r >> 32 & 1) {
			verify(b, b->size);
			free(b->p);
			b->p = NULL;
		} else {
			change(b, next(&s));
		}
		/* From time to time nearly everything goes, so that there are tops and holes to take pages from. */
		if (r % 20011 == 0)
			for (unsigned int i = 0; i < SLOTS; i++)
				if (slots[i].p && i % 9) {
					verify(&slots[i], slots[i].size);
					free(slots[i].p);
					slots[i].p = NULL;
				}
		if (++n % 1024 == 0) {
			clock_gettime(CLOCK_MONOTONIC, &t);
			if (t.tv_sec >= end || ended)
				break;
		}
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		if (slots[i].p) {
			verify(&slots[i], slots[i].size);
			free(slots[i].p);
		}
	free(slots);
	__atomic_fetch_add(&rounds, n, __ATOMIC_RELAXED);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned int threads = argc > 1 ? (unsigned int)atoi(argv[1]) : 4;
	pthread_t t[64];

	seconds = argc > 2 ? (unsigned int)atoi(argv[2]) : 10;
	seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	if (threads > 64)
		return 2;
	signal(SIGTERM, on_term);
	printf("ready\n");
	fflush(stdout);
	for (unsigned int i = 0; i < threads; i++)
		if (pthread_create(&t[i], NULL, churn, (void *)(uintptr_t)(i + 1)))
			return 2;
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	if (!threads)
		churn(NULL);
	printf("rounds %llu\n", (unsigned long long)rounds);
	return 0;
}
