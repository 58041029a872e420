/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads_storm [THREADS [OPS [TRUTHFILE]]]: many threads allocate, resize and free all the time.
 *
 * With a truth file it can be killed at any instant: each thread keeps, in that shared file, what it is
 * about to do and what it has done, so that a test knows between which bounds the number of blocks and bytes in use
 * lies at the moment of death, whatever instruction that was.  OPS 0: until killed.
 */
#include "truth.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#define MAX_THREADS 64
#define LIVE 500

/* One thread's line of the truth file; `begun` is stored before an operation, `done` after it. */
struct progress {
	uint64_t alloc_begun, alloc_done, free_begun, free_done;
	uint64_t alloc_bytes_begun, alloc_bytes_done, free_bytes_begun, free_bytes_done;
};
_Static_assert(sizeof(struct progress) == 64, "read by tests/e2e/kill9.py");

TRUTH(storm_alloc);

static struct progress private_lines[MAX_THREADS];
static struct progress *lines = private_lines;
static unsigned long ops = 20000;
static pthread_barrier_t all_here; /* all threads at once: libc uses the memory of a dead one again */

#define ADD(field, n) __atomic_store_n(&(field), (field) + (n), __ATOMIC_RELEASE)

NOINLINE static void *storm_alloc(struct progress *t, void *old, size_t old_size, size_t size)
{
	void *p;

	ADD(t->alloc_begun, 1);
	ADD(t->alloc_bytes_begun, size);
	if (old) {
		ADD(t->free_begun, 1);
		ADD(t->free_bytes_begun, old_size);
		DIED(storm_alloc, old_size);
		p = realloc(old, size);
		ADD(t->free_done, 1);
		ADD(t->free_bytes_done, old_size);
	} else {
		p = malloc(size);
	}
	CHECK(p);
	ADD(t->alloc_done, 1);
	ADD(t->alloc_bytes_done, size);
	return BORN(storm_alloc, p, size);
}

NOINLINE static void storm_free(struct progress *t, void *p, size_t size)
{
	ADD(t->free_begun, 1);
	ADD(t->free_bytes_begun, size);
	DIED(storm_alloc, size);
	free(p);
	ADD(t->free_done, 1);
	ADD(t->free_bytes_done, size);
}

static void *storm(void *arg)
{
	uintptr_t id = (uintptr_t)arg;
	struct progress *t = &lines[id];
	uint64_t random = 88172645463325252ull + id;
	void *blocks[LIVE] = { NULL };
	size_t sizes[LIVE] = { 0 };

	pthread_barrier_wait(&all_here);
	for (unsigned long i = 0; !ops || i < ops; i++) {
		size_t k, size;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		k = random % LIVE;
		size = 1 + (random >> 32) % 2000;
		if (blocks[k] && random >> 62) {
			storm_free(t, blocks[k], sizes[k]);
			blocks[k] = NULL;
			continue;
		}
		blocks[k] = storm_alloc(t, blocks[k], sizes[k], size);
		sizes[k] = size;
		*(char *)blocks[k] = (char)i;
	}
	for (size_t k = 0; k < LIVE; k += 2)
		if (blocks[k])
			storm_free(t, blocks[k], sizes[k]);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 0) : 4;
	pthread_t threads[MAX_THREADS];
	int fd;

	CHECK(n >= 1 && n <= MAX_THREADS);
	if (argc > 2)
		ops = strtoul(argv[2], NULL, 0);
	if (argc > 3) {
		fd = open(argv[3], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		CHECK(fd >= 0 && !ftruncate(fd, sizeof(private_lines)));
		lines = mmap(NULL, sizeof(private_lines), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		CHECK(lines != MAP_FAILED);
		close(fd);
	}
	CHECK(!pthread_barrier_init(&all_here, NULL, (unsigned int)n));
	for (unsigned long i = 0; i < n; i++)
		CHECK(!pthread_create(&threads[i], NULL, storm, (void *)i));
	for (unsigned long i = 0; i < n; i++)
		CHECK(!pthread_join(threads[i], NULL));
	truth_print("threads_storm", "main");
	return 0;
}
