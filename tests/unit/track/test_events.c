/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole events under threads: unwinding real frames of this program, interning, recording, counting.  The
 * threads go through the same calls, so they must come to the same sites whether a stack was walked, recalled or
 * predicted, also while another one makes all of them forget; and every count must come out exactly, also
 * where threads share the last shard, and where one frees what another allocated.
 */
#include "tracker.h"

#include <pthread.h>

#include "profile/profile.h"
#include "track/event.h"

#define DEPTHS 24u
#define BLOCKS 600u
#define MOST_THREADS 80u
#ifdef __clang__
#define WHOLE __attribute__((noinline))
#else
#define WHOLE __attribute__((noinline, noclone))
#endif
#define NOTAIL() __asm__ volatile("" : : : "memory")

static unsigned int nthreads, rounds;
static bool flushing, handing;
static pthread_barrier_t barrier;
static uint64_t sizes[MOST_THREADS][BLOCKS]; /* 0: free */
static uint64_t allocs, alloc_bytes, frees, free_bytes, wrong;

/* Neighbours in memory belong to different threads. */
static uint64_t address(unsigned int owner, unsigned int k)
{
	return 0x600000000000 + ((uint64_t)k * nthreads + owner) * 48;
}

static WHOLE void make(uint64_t addr, uint64_t size)
{
	struct origin o = ORIGIN_HERE();

	if (t_self->mode == M_SAMPLED)
		event_sampled(t_self, addr, size, &o);
	else
		event_heap(t_self, addr, size, &o, unwind_guess(t_self, &o));
	NOTAIL();
}

/* One site for each depth. */
static WHOLE void descend(unsigned int depth, uint64_t addr, uint64_t size)
{
	if (depth)
		descend(depth - 1, addr, size);
	else
		make(addr, size);
	NOTAIL();
}

static void allocate(unsigned int owner, unsigned int k, uint64_t size, unsigned int depth)
{
	sizes[owner][k] = size;
	__atomic_fetch_add(&allocs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&alloc_bytes, size, __ATOMIC_RELAXED);
	descend(depth, address(owner, k), size);
}

static void release(unsigned int owner, unsigned int k)
{
	if (!event_free(t_self, address(owner, k), LEDGER_HEAP))
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&frees, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&free_bytes, sizes[owner][k], __ATOMIC_RELAXED);
	sizes[owner][k] = 0;
}

static void *worker(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg;
	uint64_t seed = 17 + me;

	tracker_thread_begin();
	for (unsigned int round = 0; round < rounds; round++) {
		unsigned int owner = handing ? (me + round) % nthreads : me;

		pthread_barrier_wait(&barrier);
		for (unsigned int i = 0; i < BLOCKS; i++) {
			uint64_t r = random_next(&seed);
			unsigned int k = (unsigned int)(r % BLOCKS);

			if (sizes[owner][k])
				release(owner, k);
			else
				allocate(owner, k, 1 + (r >> 20) % 100000,
				         (unsigned int)(r >> 50) % DEPTHS);
			if (flushing && me == 0 && i % 150 == 0)
				unwind_flush();
		}
	}
	totals_flush(t_self);
	totals_unwinds(t_self);
	return NULL;
}

static void *start(void *arg)
{
	void *r = worker(arg);

	NOTAIL();
	return r;
}

static void run(unsigned int n, unsigned int times)
{
	pthread_t threads[MOST_THREADS];

	nthreads = n;
	rounds = times;
	allocs = alloc_bytes = frees = free_bytes = wrong = 0;
	memset(sizes, 0, sizeof(sizes));
	g.multi = g.careful = true;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, n), 0);
	for (uintptr_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, start, (void *)i), 0);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&barrier);
	assert_int_equal(wrong, 0);
	assert_int_equal(tracker_losses(), 0);
}

/* Everything a reader says, against what was done. */
static void check_exact(void)
{
	struct profile *p = tracker_read();
	struct prof_totals t = profile_totals(p, -1);
	uint64_t live = 0, class_allocs = 0, class_free_bytes = 0, lives = 0;
	unsigned int used = 0;

	for (unsigned int i = 0; i < nthreads; i++)
		for (unsigned int k = 0; k < BLOCKS; k++)
			live += sizes[i][k] != 0;
	assert_int_equal(t.alloc.blocks, allocs);
	assert_int_equal(t.alloc.bytes, alloc_bytes);
	assert_int_equal(t.freed.blocks, frees);
	assert_int_equal(t.freed.bytes, free_bytes);
	assert_int_equal(t.inuse.blocks, live);
	assert_int_equal(t.inuse.bytes, alloc_bytes - free_bytes);
	assert_int_equal(p->nblocks, live);
	for (unsigned int i = 0; i < PROF_SIZE_CLASSES; i++) {
		class_allocs += p->classes[i].alloc.blocks;
		class_free_bytes += p->classes[i].freed.bytes;
	}
	assert_int_equal(class_allocs, allocs);
	assert_int_equal(class_free_bytes, free_bytes);
	assert_true(p->peak_bytes >= alloc_bytes - free_bytes && p->peak_bytes <= alloc_bytes);
	for (size_t i = 0; i < p->nsites; i++) {
		used += p->sites[i].alloc.blocks > 0;
		for (unsigned int k = 0; k < PROF_LIFE_BUCKETS; k++)
			lives += profile_lifetime(p, i, k);
		assert_false(p->sites[i].cut_depth || p->sites[i].cut_no_cfi);
	}
	assert_int_equal(lives, frees);
	/* Recalled or walked: one site for each depth, in all threads. */
	assert_int_equal(used, DEPTHS);
	assert_true(p->unwinds_fast > 0 && p->unwinds_slow > 0);
	assert_int_equal(p->unwinds_fast + p->unwinds_slow, allocs);
	profile_free(p);
}

static void one_thread(void **state)
{
	(void)state;
	flushing = handing = false;
	run(1, 40);
	check_exact();
}

static void four_threads(void **state)
{
	(void)state;
	flushing = false;
	handing = true;
	run(4, 20);
	check_exact();
}

static void four_threads_while_one_forgets(void **state)
{
	(void)state;
	flushing = handing = true;
	run(4, 20);
	check_exact();
}

/* ---- more stacks than there is room for paths ---------------------------------------------------- */

#define TURNS 14u
#define WAYS_THERE (1u << TURNS)
#define AHEAD 220u /* frames: a path of 2.3 KB, and 36 MB of them in half a space of 32 */

static uint32_t site_of_way[WAYS_THERE];

static WHOLE uint32_t arrive(void)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = t_self;
	bool usable;
	uint32_t site;

	store_relaxed(&t->state,
	              (uint32_t)T_TRACKER); /* as the hooks do: what it reads stays while it is inside */
	site = unwind_site(t, &o, LEDGER_HEAP, unwind_guess(t, &o), &usable);
	store_release(&t->state, (uint32_t)T_READY);
	NOTAIL();
	return site;
}

static uint32_t turn(unsigned int way, unsigned int left);

static WHOLE uint32_t turn_left(unsigned int way, unsigned int left)
{
	uint32_t site = turn(way, left);

	NOTAIL();
	return site;
}

static WHOLE uint32_t turn_right(unsigned int way, unsigned int left)
{
	uint32_t site = turn(way, left);

	NOTAIL();
	return site;
}

static WHOLE uint32_t turn(unsigned int way, unsigned int left)
{
	uint32_t site = !left     ? arrive()
	                : way & 1 ? turn_left(way >> 1, left - 1)
	                          : turn_right(way >> 1, left - 1);

	NOTAIL();
	return site;
}

static WHOLE uint32_t go(unsigned int ahead, unsigned int way)
{
	uint32_t site = ahead ? go(ahead - 1, way) : turn(way, TURNS);

	NOTAIL();
	return site;
}

static void *traveller(void *arg)
{
	const unsigned int first = (unsigned int)(uintptr_t)arg;

	tracker_thread_begin();
	/* volatile: unrolled, each pass would be a stack of its own */
	for (volatile unsigned int pass = 0; pass < 4; pass++) {
		for (volatile unsigned int i = 0; i < WAYS_THERE; i++) {
			unsigned int way = (first * (WAYS_THERE / 3) + i) % WAYS_THERE;
			uint32_t site = go(AHEAD, way), none = 0;

			assert_int_not_equal(site, 0);
			if (!__atomic_compare_exchange_n(&site_of_way[way], &none, site, false,
			                                 __ATOMIC_RELAXED, __ATOMIC_RELAXED) &&
			    none != site)
				__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		}
	}
	totals_unwinds(t_self);
	return NULL;
}

static void *start_travel(void *arg)
{
	void *r = traveller(arg);

	NOTAIL();
	return r;
}

/* Each half of the space is filled again and again: what is recalled is right, and things are still remembered afterwards. */
static void paths_are_forgotten_when_their_space_is_full(void **state)
{
	pthread_t threads[3];
	uint32_t site = 0;
	bool recalled = false;

	(void)state;
	wrong = 0;
	memset(site_of_way, 0, sizeof(site_of_way));
	g.multi = g.careful = true;
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, start_travel, (void *)i), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(wrong, 0);
	for (unsigned int i = 0; i < 1000 && !recalled;
	     i++) { /* this thread's is another stack than theirs */
		uint64_t before = t_self->unwinds_fast;
		uint32_t found = go(AHEAD, 5);

		assert_true(found && (!i || found == site));
		site = found;
		recalled = t_self->unwinds_fast > before;
	}
	assert_true(recalled);
	assert_true(g.private_bytes < 96u << 20); /* the space is 64 MB, the sites' tables some */
	assert_int_equal(tracker_losses(), 0);
}

/* More threads than shards: the last one is shared. */
static void more_threads_than_shards(void **state)
{
	(void)state;
	assert_true(MOST_THREADS > g.nshards + 8);
	flushing = false;
	handing = true;
	run(MOST_THREADS, 4);
	check_exact();
}

/* Sampled events: each is a record with its weight. */
static void sampled_events(void **state)
{
	double blocks = 0;
	struct profile *p;
	uint64_t samples = 0;

	(void)state;
	g.hdr->periods[1] = g.hdr->control.period = 4096;
	g.hdr->control.mode = LEDGER_SAMPLED;
	flushing = false;
	handing = true;
	run(4, 10);
	p = tracker_read();
	for (size_t i = 0; i < p->nsites; i++)
		samples += p->sites[i].samples;
	assert_int_equal(samples, allocs);
	assert_true(p->sampled);
	assert_int_equal(p->period, 4096);
	for (size_t i = 0; i < p->nblocks; i++) {
		double probability, w = sampler_weight(p->blocks[i].size, 4096, &probability);
		const struct prof_site *s = &p->sites[p->blocks[i].site];

		assert_true(s->inuse.max_weight >= w * 0.999999);
		assert_true(s->alloc.max_weight >= s->inuse.max_weight * 0.999999);
		assert_true(s->alloc.max_weight >= s->freed.max_weight);
		assert_true((s->freed.max_weight > 0) == (s->freed.blocks > 0));
		assert_true(p->blocks[i].weight > w * 0.999999 && p->blocks[i].weight < w * 1.000001);
		blocks += w;
	}
	/* What is in use by the counters is what the records stand for; each count is rounded to 2^-16. */
	assert_true((double)profile_totals(p, -1).inuse.blocks < blocks * 1.001 + (double)p->nsites);
	assert_true((double)profile_totals(p, -1).inuse.blocks > blocks * 0.999 - (double)p->nsites);
	profile_free(p);
}

/* The tail of a site keeps the largest weight of all its records, also when several threads raise it. */
static void *weigher(void *arg)
{
	struct ledger_tail *tail = arg;

	for (uint64_t i = 0; i < 100000; i++)
		event_weigh(17 + i * 7919 % 10007, 1, tail, i % 2);
	return NULL;
}

/* The float next to it or it, never above it. */
static void assert_weight(float found, double wanted)
{
	assert_true((double)found <= wanted && (double)found > wanted * (1 - 1e-6));
}

static void the_largest_weight_is_kept(void **state)
{
	struct ledger_tail tail = { 0 };
	pthread_t threads[4];
	double p;

	(void)state;
	g.hdr->periods[1] = 4096;
	event_weigh(1000, 1, &tail, false);
	assert_weight(tail.max_weight, sampler_weight(1000, 4096, &p));
	event_weigh(5000, 1, &tail, false);
	assert_weight(tail.max_weight, sampler_weight(1000, 4096, &p));
	assert_true(tail.max_weight_freed == 0);
	event_weigh(5000, 1, &tail, true);
	assert_weight(tail.max_weight_freed, sampler_weight(5000, 4096, &p));
	assert_weight(tail.max_weight, sampler_weight(1000, 4096, &p));
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, weigher, &tail), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_weight(tail.max_weight, sampler_weight(17, 4096, &p));
	/* 10,007 is odd: every size comes at an even and at an odd turn. */
	assert_weight(tail.max_weight_freed, sampler_weight(17, 4096, &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, tracker_setup, tracker_teardown)
		T(one_thread),
		T(four_threads),
		T(four_threads_while_one_forgets),
		T(more_threads_than_shards),
		T(paths_are_forgotten_when_their_space_is_full),
		T(sampled_events),
		T(the_largest_weight_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
