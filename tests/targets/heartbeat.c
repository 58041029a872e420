/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heartbeat FILE THREADS BLOCKS: threads that allocate, free and count, each in a word of FILE, until standard input ends.
 *
 * Each thread has a tree of its share of BLOCKS behind a global and turns part of it over all the time: the heap is never at rest.
 * Nothing is ever lost; a check that finds a definite leak here has seen a moment that never was.
 */
#include "truth.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#define MAX_THREADS 64

struct node {
	struct node *next;
	char *text;
};

static volatile uint64_t *beats;
static struct node **lists[MAX_THREADS];
static long per_thread;
static int stop;

static struct node *renew(struct node *old, unsigned int seed)
{
	struct node *n = malloc(sizeof(*n));
	size_t size = 8 + seed % 400;

	CHECK(n);
	n->next = NULL;
	n->text = malloc(size);
	CHECK(n->text);
	memset(n->text, 'a', size);
	if (old) {
		free(old->text);
		free(old);
	}
	return n;
}

static void *run(void *arg)
{
	long me = (intptr_t)arg;
	unsigned int seed = (unsigned int)me + 1;
	struct node **list = calloc((size_t)per_thread, sizeof(*list));

	CHECK(list);
	lists[me] = list;
	for (long i = 0; i < per_thread; i++)
		list[i] = renew(NULL, seed = seed * 1103515245 + 12345);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct node **slot = &list[(seed >> 8) % (unsigned long)per_thread];

		seed = seed * 1103515245 + 12345;
		*slot = renew(*slot, seed);
		beats[me]++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 2 ? atoi(argv[2]) : 4, fd;
	pthread_t thread[MAX_THREADS];
	char c;

	CHECK(argc > 3 && threads > 0 && threads <= MAX_THREADS);
	per_thread = atol(argv[3]) / threads / 2;
	CHECK(per_thread > 0);
	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, MAX_THREADS * 8));
	beats = mmap(NULL, MAX_THREADS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(beats != MAP_FAILED);
	for (long i = 0; i < threads; i++)
		CHECK(!pthread_create(&thread[i], NULL, run, (void *)(intptr_t)i));
	for (int i = 0; i < threads; i++)
		while (!beats[i])
			usleep(1000);
	truth_print("heartbeat", "main");
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < threads; i++)
		CHECK(!pthread_join(thread[i], NULL));
	return 0;
}
