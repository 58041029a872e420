/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table against a model: an array of what should be there.  Addresses are drawn from
 * clusters as a heap has them (runs of equal blocks, full pages, lone pages far apart), so that buckets
 * fill, collide, wrap around and grow.
 */
#include "tracker.h"

#include "profile/profile.h"

#define PAGES 96u
#define PER_PAGE 512u
#define SITES 300u

struct entry {
	bool there;
	uint32_t birth, site;
	uint64_t size;
};
static struct entry model[PAGES][PER_PAGE][2]; /* page, 8-byte unit, kind heap or mmap */
static uint32_t site_of[SITES];

/* Neighbouring pages, others a DIR page, a DIR table and a ROOT slot apart. */
static uint64_t page_address(unsigned int page)
{
	static const uint64_t base[] = { 0x555555550000, 0x7ffff0000000, 0x7fffe0200000,
		                         0x700000000000, 0x10000,        0xfffffff00000 };

	return base[page % 6] + (uint64_t)(page / 6) * (page % 3 ? 0x1000 : 0x201000);
}

static uint64_t address(unsigned int page, unsigned int unit)
{
	return page_address(page) + 8 * unit;
}

static uint64_t head_of(const struct entry *e, unsigned int kind)
{
	return LEDGER_BLOCK_VALID | kind << 1 | (uint64_t)e->birth << 32;
}

static void make_sites(void)
{
	for (uint32_t i = 0; i < SITES; i++) {
		uint64_t pc = 0x1000 + 16 * i;
		bool is_new;

		site_of[i] = site_intern(t_self, &pc, 1, LEDGER_HEAP, 0, &is_new);
		assert_true(site_of[i] && is_new);
	}
	memset(model, 0, sizeof(model));
}

static void add(unsigned int page, unsigned int unit, unsigned int kind, uint64_t r)
{
	struct entry *e = &model[page][unit][kind];

	*e = (struct entry){ true, (uint32_t)(r >> 32), site_of[r % SITES], (r >> 8) & 0xffffff };
	assert_true(
		live_add(address(page, unit), head_of(e, kind), (uint64_t)e->site << 40 | e->size));
}

static void expect(const struct entry *e, const struct ledger_block *b, unsigned int unit,
                   unsigned int kind)
{
	assert_int_equal(b->head, head_of(e, kind) | 8 * unit);
	assert_int_equal(b->body, (uint64_t)e->site << 40 | e->size);
}

static void take(unsigned int page, unsigned int unit, unsigned int kind)
{
	struct entry *e = &model[page][unit][kind];
	struct ledger_block b = { 0, 0 };

	assert_int_equal(live_take(address(page, unit), kind, &b), e->there);
	if (e->there)
		expect(e, &b, unit, kind);
	e->there = false;
}

/* A reader finds the model and nothing else. */
static void check_file(void)
{
	struct profile *p = tracker_read();
	size_t wanted = 0;

	for (unsigned int i = 0; i < PAGES * PER_PAGE * 2; i++)
		wanted += (&model[0][0][0])[i].there;
	assert_int_equal(p->nblocks, wanted);
	assert_int_equal(p->losses.torn, 0);
	for (size_t i = 0; i < p->nblocks; i++) {
		const struct prof_block *b = &p->blocks[i];
		unsigned int page = 0, unit = (unsigned int)(b->address & 4095) / 8;
		struct entry *e = NULL;

		while (page < PAGES && page_address(page) != (b->address & ~4095ull))
			page++;
		assert_true(page < PAGES);
		/* Two kinds at one address differ by what they hold; each is found once. */
		for (unsigned int kind = 0; kind < 2 && !e; kind++) {
			struct entry *k = &model[page][unit][kind];

			if (k->there && k->size == b->size &&
			    (uint64_t)k->birth << LEDGER_TICK_SHIFT == b->born &&
			    p->frames[p->sites[b->site].stack].pc ==
			            0x1000 + 16 * (uint64_t)(k->site - site_of[0]) - 1)
				e = k;
		}
		assert_non_null(e);
		e->there = false;
	}
	profile_free(p);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void churn(uint64_t seed, unsigned int steps)
{
	for (unsigned int i = 0; i < steps; i++) {
		uint64_t r = random_next(&seed);
		/* A page has blocks of one size, as a heap's has: 8 to 512 bytes apart. */
		unsigned int page = (unsigned int)(r % PAGES), stride = 1u << (page % 7);
		unsigned int unit = (unsigned int)(r >> 20) % PER_PAGE / stride * stride;
		unsigned int kind = (r >> 40) % 16 == 0 && unit == 0;

		if (!model[page][unit][kind].there) {
			/* Now and then a page is filled to the last place, then thinned out. */
			if ((r >> 44) % 4)
				add(page, unit, kind, random_next(&seed));
			else
				take(page, unit, kind);
		} else if ((r >> 44) % 4 == 0 || (i / 8192) % 2) {
			take(page, unit, kind);
		}
	}
}

static void random_operations_equal_the_model(void **state)
{
	(void)state;
	make_sites();
	churn(1, 400000);
	assert_int_equal(tracker_losses(), 0);
	check_file();
}

/* Without the short cuts for one thread the table is the same. */
static void careful_operations_equal_the_model(void **state)
{
	(void)state;
	make_sites();
	churn(2, 50000);
	g.multi = g.careful = true;
	churn(3, 200000);
	g.multi = g.careful = false;
	churn(4, 50000);
	g.suspicious = g.careful = true;
	churn(5, 100000);
	assert_int_equal(tracker_losses(), 0);
	check_file();
}

/* A record put back is as it was: what a failed realloc does. */
static void a_taken_record_is_put_back(void **state)
{
	struct ledger_block b, nothing;

	(void)state;
	make_sites();
	for (unsigned int unit = 0; unit < PER_PAGE; unit += 2)
		add(3, unit, 0, 0x123456789abcdef ^ unit);
	for (unsigned int unit = 0; unit < PER_PAGE; unit += 2) {
		assert_true(live_take(address(3, unit), 0, &b));
		assert_false(live_take(address(3, unit), 0, &nothing));
		live_put(address(3, unit), &b);
	}
	check_file();
}

/* A page has room for 512 blocks: one for each 8 bytes.  What does not fit is counted, and harms nothing. */
static void a_bucket_grows_to_a_full_page(void **state)
{
	struct ledger_block b;
	uint64_t *word = NULL;

	(void)state;
	make_sites();
	for (unsigned int n = 0; n < PER_PAGE; n++) {
		/* Neither up nor down: 37 is prime to 512. */
		add(1, n * 37 % PER_PAGE, 0, 0xfeed000000ull * n);
		word = live_word(address(1, 0));
		assert_int_equal(LEDGER_DIR_COUNT(*word), n + 1);
		assert_true(n + 1 <= 1u << LEDGER_DIR_LOG2(*word));
	}
	assert_int_equal(LEDGER_DIR_LOG2(*word), LEDGER_BUCKET_MAX_LOG2);
	assert_int_equal(tracker_losses(), 0);
	assert_false(live_add(address(1, 0), LEDGER_BLOCK_VALID | LEDGER_MMAP << 1, 1));
	assert_int_equal(g.hdr->losses[LOSS_LIVE_FULL], 1);
	assert_int_equal(tracker_losses(), 1);
	assert_false(live_take(address(1, 0), LEDGER_MMAP, &b));
	for (unsigned int n = 0; n < PER_PAGE; n += 3)
		take(1, n, 0);
	check_file();
}

/* Buckets that were outgrown serve other pages: 40 pages that grow and shrink take no more room than once. */
static void outgrown_buckets_are_used_again(void **state)
{
	uint64_t used = 0;

	(void)state;
	make_sites();
	for (unsigned int round = 0; round < 40; round++) {
		for (unsigned int unit = 0; unit < PER_PAGE; unit++)
			add(round, unit, 0, 0x1111111111ull * (unit + 1));
		for (unsigned int unit = 0; unit < PER_PAGE; unit++)
			take(round, unit, 0);
		used = g.hdr->buckets_used;
	}
	/* The largest bucket of each page stays with it; the outgrown ones together are as large as one. */
	assert_true(used <= 40 * PER_PAGE + 2 * PER_PAGE + 1);
	assert_int_equal(tracker_losses(), 0);
	check_file();
}

static void unknown_addresses_are_refused(void **state)
{
	static const uint64_t odd[] = { 0,
		                        8,
		                        4095,
		                        0x1000,
		                        0x7ffffffff000,
		                        0xffffffffffff,
		                        1ull << 48,
		                        1ull << 63,
		                        UINT64_MAX,
		                        0xffff800000000000 };
	struct ledger_block b;

	(void)state;
	make_sites();
	add(0, 5, 0, 99);
	for (unsigned int careful = 0; careful < 2; careful++) {
		g.multi = g.careful = careful;
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
			assert_false(live_take(odd[i], LEDGER_HEAP, &b));
		assert_false(live_take(address(0, 4), LEDGER_HEAP, &b));
		assert_false(live_take(address(0, 6), LEDGER_HEAP, &b));
		assert_false(live_take(address(0, 5), LEDGER_MMAP, &b));
		assert_false(live_take(address(0, 5), LEDGER_STACK, &b));
	}
	assert_int_equal(tracker_losses(), 0);
	/* Nothing beyond 48 bits or between two words can be recorded. */
	assert_false(live_add(1ull << 48, LEDGER_BLOCK_VALID, 1));
	assert_false(live_add(UINT64_MAX & ~7ull, LEDGER_BLOCK_VALID, 1));
	assert_false(live_add(address(0, 7) + 4, LEDGER_BLOCK_VALID, 1));
	assert_int_equal(g.hdr->losses[LOSS_LIVE_FULL], 3);
	take(0, 5, 0);
	check_file();
}

/* After an event was lost a record may be in the way of the next block at its address: it is replaced. */
static void stale_records_are_replaced(void **state)
{
	(void)state;
	make_sites();
	for (unsigned int unit = 0; unit < PER_PAGE; unit++)
		add(2, unit, 0, 0x77777 * (uint64_t)unit);
	g.suspicious = g.careful = true;
	for (unsigned int unit = 0; unit < PER_PAGE; unit += 4)
		add(2, unit, 0, 0x99999 * (uint64_t)unit + 1);
	assert_int_equal(g.hdr->losses[LOSS_STALE], PER_PAGE / 4);
	assert_int_equal(tracker_losses(), PER_PAGE / 4);
	assert_int_equal(LEDGER_DIR_COUNT(*live_word(address(2, 0))), PER_PAGE);
	check_file();
}

/* All 64 bits of head and body come back, also where they mean something else elsewhere. */
static void records_keep_all_their_bits(void **state)
{
	struct ledger_block b,
		wanted = { 0xfedcba98ull << 32 | 0x3fffull << 18 | 63ull << 12 | 5, UINT64_MAX };

	(void)state;
	for (unsigned int careful = 0; careful < 2; careful++) {
		g.multi = g.careful = careful;
		assert_true(live_add(0x7f0012345678, wanted.head, wanted.body));
		assert_true(live_take(0x7f0012345678, LEDGER_STACK, &b));
		assert_int_equal(b.head, wanted.head | 0x678);
		assert_int_equal(b.body, wanted.body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, tracker_setup, tracker_teardown)
		T(random_operations_equal_the_model), T(careful_operations_equal_the_model),
		T(a_taken_record_is_put_back),        T(a_bucket_grows_to_a_full_page),
		T(outgrown_buckets_are_used_again),   T(unknown_addresses_are_refused),
		T(stale_records_are_replaced),        T(records_keep_all_their_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
