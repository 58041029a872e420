/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table under several threads.  A block has one owner at a time, but its page has many: all threads work
 * in the same pages, each on units of its own, and then hand their blocks to a neighbour, as programs that
 * free what another thread allocated do.  What each finds must be what its owner put there, whatever
 * the others do to the page meanwhile; at the end a reader must find exactly what is left.
 */
#include "tracker.h"

#include <pthread.h>

#include "profile/profile.h"

#define THREADS 4u
#define PAGES 24u
#define PER_PAGE 512u
#define ROUNDS 6u

static uint64_t body[PAGES][PER_PAGE]; /* 0: nothing there; each entry is touched by its owner only */
static pthread_barrier_t barrier;
static uint64_t wrong;
static uint32_t site;
static unsigned int steps;

static uint64_t address(unsigned int page, unsigned int unit)
{
	/* Two DIR pages; both grow while all threads ask for them. */
	return 0x7f5500000000 + (page % 2) * 0x200000 + (uint64_t)(page / 2) * 4096 + 8 * unit;
}

static void add(unsigned int page, unsigned int unit, uint64_t r)
{
	uint64_t size = r & 0xffffff;

	body[page][unit] = (uint64_t)site << 40 | size;
	if (!live_add(address(page, unit), LEDGER_BLOCK_VALID | (size & 0xffff) << 32,
	              body[page][unit]))
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
}

static void take(unsigned int page, unsigned int unit)
{
	struct ledger_block b = { 0, 0 };
	bool found = live_take(address(page, unit), LEDGER_HEAP, &b);

	if (found != (body[page][unit] != 0) ||
	    (found && (b.body != body[page][unit] || LEDGER_BLOCK_OFFSET(b.head) != 8 * unit ||
	               LEDGER_BLOCK_BIRTH(b.head) != (b.body & 0xffff))))
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	body[page][unit] = 0;
}

static void *worker(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg;
	uint64_t seed = 1000 + me;

	tracker_thread_begin();
	for (unsigned int round = 0; round < ROUNDS; round++) {
		/* Rounds move the ownership on: mine are the units ≡ owner mod THREADS. */
		unsigned int owner = (me + round) % THREADS;

		pthread_barrier_wait(&barrier);
		for (unsigned int i = 0; i < steps; i++) {
			uint64_t r = random_next(&seed);
			unsigned int page = (unsigned int)(r % PAGES);
			unsigned int unit =
				(unsigned int)(r >> 24) % (PER_PAGE / THREADS) * THREADS + owner;

			if (body[page][unit])
				take(page, unit);
			else if ((r >> 50) % 8)
				add(page, unit, r >> 8);
			else
				take(page, unit); /* unknown */
		}
	}
	return NULL;
}

/* A reader in the same time: it may miss what moves, but what it returns has been there. */
static void *reader(void *arg)
{
	bool *stop = arg;
	uint64_t rounds = 0;

	while (!load_acquire(stop) || !rounds) {
		struct profile *p = tracker_read();

		if (p->nblocks > PAGES * PER_PAGE)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		for (size_t i = 0; i < p->nblocks; i++)
			if (p->blocks[i].address - 0x7f5500000000 >= 0x400000 ||
			    p->blocks[i].address & 7)
				__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		profile_free(p);
		rounds++;
	}
	return NULL;
}

static void check_left(void)
{
	struct profile *p = tracker_read();
	size_t n = 0;

	for (unsigned int page = 0; page < PAGES; page++)
		for (unsigned int unit = 0; unit < PER_PAGE; unit++)
			n += body[page][unit] != 0;
	assert_int_equal(p->nblocks, n);
	for (size_t i = 0; i < p->nblocks; i++) {
		uint64_t at = p->blocks[i].address - 0x7f5500000000;
		unsigned int page = (unsigned int)((at % 0x200000) / 4096 * 2 + at / 0x200000);
		unsigned int unit = (unsigned int)(at % 4096 / 8);

		assert_true(page < PAGES);
		assert_int_equal(p->blocks[i].size, body[page][unit] & 0xffffff);
		body[page][unit] = 0;
	}
	profile_free(p);
}

static void storm(bool suspicious, bool reading)
{
	pthread_t threads[THREADS], read_thread;
	bool stop = false;
	uint64_t pc = 0x1234;
	bool is_new;

	memset(body, 0, sizeof(body));
	wrong = 0;
	site = site_intern(t_self, &pc, 1, LEDGER_HEAP, 0, &is_new);
	g.multi = g.careful = true;
	g.suspicious = suspicious;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
	if (reading)
		assert_int_equal(pthread_create(&read_thread, NULL, reader, &stop), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	store_release(&stop, true);
	if (reading)
		assert_int_equal(pthread_join(read_thread, NULL), 0);
	pthread_barrier_destroy(&barrier);
	assert_int_equal(wrong, 0);
	assert_int_equal(tracker_losses(), 0);
	check_left();
}

static void threads_share_pages(void **state)
{
	(void)state;
	storm(false, false);
}

static void threads_share_pages_after_a_loss(void **state)
{
	(void)state;
	storm(true, false);
}

static void threads_share_pages_with_a_reader(void **state)
{
	(void)state;
	storm(false, true);
}

/* ---- sites and counters ------------------------------------------------------------------------ */

#define STACKS 3000u
static uint32_t sites_of[THREADS][STACKS];

static void make_stack(unsigned int n, uint64_t *pcs, uint32_t *ret_depth)
{
	uint64_t seed = n + 1;
	uint32_t depth = 2 + n % 30;

	/* Outer frames are shared by many, the innermost tells them apart. */
	for (uint32_t i = 0; i < depth; i++)
		pcs[i] = 0x2000 + (random_next(&seed) % (2 + (depth - i))) * 16;
	pcs[0] = 0x100000 + 16 * n;
	*ret_depth = depth;
}

static void *interner(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg;
	uint64_t pcs[MAX_FRAMES];

	tracker_thread_begin();
	pthread_barrier_wait(&barrier);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < STACKS; i++) {
			unsigned int n = (i * 7 + me * 13) % STACKS; /* each in an order of its own */
			uint32_t depth, s;
			bool is_new;

			make_stack(n, pcs, &depth);
			s = site_intern(t_self, pcs, depth, LEDGER_HEAP, 0, &is_new);
			if (!s || (sites_of[me][n] && sites_of[me][n] != s))
				__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
			sites_of[me][n] = s;
			if (me == 0 && round == 1 && i % 1000 == 0)
				site_flush();
		}
	}
	return NULL;
}

static void threads_agree_on_sites(void **state)
{
	pthread_t threads[THREADS];
	static bool seen[THREADS * STACKS * 2];

	(void)state;
	wrong = 0;
	memset(sites_of, 0, sizeof(sites_of));
	memset(seen, 0, sizeof(seen));
	g.multi = g.careful = true;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, interner, (void *)i), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&barrier);
	assert_int_equal(wrong, 0);
	assert_int_equal(tracker_losses(), 0);
	assert_int_equal(g.hdr->nsites, STACKS + 1);
	for (unsigned int n = 0; n < STACKS; n++) {
		for (unsigned int i = 1; i < THREADS; i++)
			assert_int_equal(sites_of[i][n], sites_of[0][n]);
		assert_false(seen[sites_of[0][n]]);
		seen[sites_of[0][n]] = true;
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, tracker_setup, tracker_teardown)
		T(threads_share_pages),
		T(threads_share_pages_after_a_loss),
		T(threads_share_pages_with_a_reader),
		T(threads_agree_on_sites),
	};

	steps = argc > 1 ? (unsigned int)atoi(argv[1]) : 20000;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
