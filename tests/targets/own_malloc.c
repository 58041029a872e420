/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with an allocator of its own linked in, as with a static jemalloc or tcmalloc: the tracker sees
 * its mappings but none of its blocks.  The allocator holds a lock that is not recursive while it maps, so a
 * tracker that allocates in the program's name just then would wait for itself.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *at, *end;

void *malloc(size_t n)
{
	char *p;

	n = (n + 31) & ~(size_t)15;
	pthread_mutex_lock(&lock);
	if ((size_t)(end - at) < n) {
		size_t size = n > 1 << 20 ? n : 1 << 20;

		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED) {
			at = end = NULL;
			pthread_mutex_unlock(&lock);
			return NULL;
		}
		end = at + size;
	}
	p = at;
	at += n;
	pthread_mutex_unlock(&lock);
	*(size_t *)p = n - 16;
	return p + 16;
}

void free(void *p)
{
	(void)p;
}

void *calloc(size_t n, size_t size)
{
	return malloc(n * size); /* fresh mappings are zero, and nothing is reused */
}

void *realloc(void *p, size_t n)
{
	void *q = malloc(n);

	if (p && q) {
		size_t old = *(size_t *)((char *)p - 16);

		memcpy(q, p, old < n ? old : n);
	}
	return q;
}

int main(void)
{
	for (int i = 0; i < 1000; i++) {
		char *p = malloc(5000);

		if (!p)
			return 1;
		memset(p, 1, 5000);
	}
	puts("{\"target\": \"own_malloc\", \"sites\": {}}");
	return 0;
}
