/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ledgers say of memory for leak checks (capture/marks.h), and their live heap blocks in order
 * (capture/blocks.h): what was said comes out, in the order promised, and lies do no harm.
 *
 * The ledgers of ledger_maker.h have no MARKS; theirs are laid over the timeline, which is not read here.
 */
#include "capture/blocks.h"
#include "capture/marks.h"
#include "ledger_maker.h"

#include "base/error.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x >> 12;
	*x ^= *x << 25;
	*x ^= *x >> 27;
	return *x * 0x2545f4914f6cdd1dull;
}

static struct maker *make(void)
{
	struct maker *m = maker_new(&(struct maker_config){ .path = path, .max_dirs = 64 });

	m->h->marks = m->h->section[LEDGER_TIMELINE];
	m->h->control.active = 1;
	m->h->control.generation = 1;
	return m;
}

static void add(struct maker *m, uint32_t kind, uint64_t address, uint64_t size)
{
	struct ledger_mark *marks = maker_section(m, LEDGER_TIMELINE);

	marks[m->h->nmarks++] = (struct ledger_mark){ address, size, kind, 0 };
}

static struct ledger_marks must_read(void)
{
	struct ledger_marks marks;
	struct seep_error *err = ledger_marks_read(path, &marks);

	if (err)
		fail_msg("%s", err->message);
	return marks;
}

static void assert_ranges(const struct marks_range *r, size_t n, const uint64_t *wanted,
                          size_t nwanted)
{
	assert_int_equal(n, nwanted / 2);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(r[i].start, wanted[2 * i]);
		assert_int_equal(r[i].end, wanted[2 * i + 1]);
	}
}

#define ASSERT_RANGES(list, n, ...)                                                    \
	do {                                                                           \
		const uint64_t wanted_[] = { __VA_ARGS__ };                            \
		assert_ranges(list, n, wanted_, sizeof(wanted_) / sizeof(wanted_[0])); \
	} while (0)

/* ---- marks ----------------------------------------------------------------------------------- */

static void what_was_said_comes_out_in_order(void **state)
{
	struct maker *m = make();
	struct ledger_marks marks;

	(void)state;
	add(m, MARK_ROOT, 0x9000, 0x100);
	add(m, MARK_IGNORE, 0x7020, 0);
	add(m, MARK_TRACKER, 0x700000000000, 1ull << 36);
	add(m, MARK_IGNORE, 0x7008, 99);
	add(m, MARK_ROOT, 0x5000, 8);
	add(m, MARK_TRACKER, 0x600000000000, 4096);
	marks = must_read();
	assert_int_equal(marks.nignored, 2);
	assert_int_equal(marks.ignored[0], 0x7008);
	assert_int_equal(marks.ignored[1], 0x7020);
	ASSERT_RANGES(marks.regions, marks.nregions, 0x5000, 0x5008, 0x9000, 0x9100);
	ASSERT_RANGES(marks.tracker, marks.ntracker, 0x600000000000, 0x600000001000, 0x700000000000,
	              0x701000000000);
	assert_int_equal(marks.nstacks, 0);
	ledger_marks_release(&marks);
	assert_null(marks.ignored);
	ledger_marks_release(&marks);
	ledger_marks_release(NULL);
	maker_free(m);
}

static void what_was_taken_back_is_gone(void **state)
{
	struct maker *m = make();
	struct ledger_marks marks;

	(void)state;
	add(m, MARK_IGNORE, 0x10, 0);
	add(m, MARK_IGNORE, 0x20, 0);
	add(m, MARK_UNIGNORE, 0x10, 7); /* the size of an ignored block means nothing */
	add(m, MARK_UNIGNORE, 0x30, 0); /* never said: takes nothing back */
	add(m, MARK_IGNORE, 0x30, 0);   /* and nothing later either */
	add(m, MARK_IGNORE, 0x40, 0);   /* twice said, once taken back: holds */
	add(m, MARK_IGNORE, 0x40, 0);
	add(m, MARK_UNIGNORE, 0x40, 0);
	add(m, MARK_ROOT, 0x1000, 64);
	add(m, MARK_ROOT, 0x2000, 64);
	add(m, MARK_UNROOT, 0x1000, 64);
	add(m, MARK_UNROOT, 0x2000, 32); /* another size: another region */
	add(m, MARK_ROOT, 0x3000, 64);
	add(m, MARK_UNROOT, 0x3000, 64);
	add(m, MARK_ROOT, 0x3000, 64);
	add(m, MARK_TRACKER, 0x8000, 4096);
	add(m, MARK_UNTRACKER, 0x8000, 4096);
	add(m, MARK_TRACKER, 0xa000, 4096);
	add(m, MARK_UNROOT, 0xa000, 4096); /* another kind takes nothing back */
	marks = must_read();
	assert_int_equal(marks.nignored, 3);
	assert_int_equal(marks.ignored[0], 0x20);
	assert_int_equal(marks.ignored[1], 0x30);
	assert_int_equal(marks.ignored[2], 0x40);
	ASSERT_RANGES(marks.regions, marks.nregions, 0x2000, 0x2040, 0x3000, 0x3040);
	ASSERT_RANGES(marks.tracker, marks.ntracker, 0xa000, 0xb000);
	ledger_marks_release(&marks);
	maker_free(m);
}

static void overlapping_regions_become_one(void **state)
{
	struct maker *m = make();
	struct ledger_marks marks;

	(void)state;
	add(m, MARK_ROOT, 0x1000, 0x100);
	add(m, MARK_ROOT, 0x1080, 0x100);
	add(m, MARK_ROOT, 0x1010, 0x10);
	add(m, MARK_ROOT, 0x1180, 0x80); /* touches */
	add(m, MARK_ROOT, 0x1201, 1);    /* does not */
	marks = must_read();
	ASSERT_RANGES(marks.regions, marks.nregions, 0x1000, 0x1200, 0x1201, 0x1202);
	ledger_marks_release(&marks);
	maker_free(m);
}

static void stacks_are_the_live_records(void **state)
{
	struct maker *m = make();
	struct ledger_marks marks;
	uint32_t site = maker_site(m, 0, LEDGER_STACK), heap = maker_site(m, 0, LEDGER_HEAP);

	(void)state;
	maker_alloc(m, (struct maker_block){ .address = 0x7f0000800000,
	                                     .size = 0x800000,
	                                     .site = site,
	                                     .kind = LEDGER_STACK });
	maker_alloc(m, (struct maker_block){ .address = 0x7e0000000000,
	                                     .size = 0x10000,
	                                     .site = site,
	                                     .kind = LEDGER_STACK });
	maker_alloc(m, (struct maker_block){ .address = 0x7e0000000100,
	                                     .size = 0x100,
	                                     .site = heap,
	                                     .kind = LEDGER_HEAP });
	maker_alloc(m, (struct maker_block){ .address = 0x7d0000000000,
	                                     .size = 0x10000,
	                                     .site = site,
	                                     .kind = LEDGER_STACK });
	maker_release(m, (struct maker_block){ .address = 0x7d0000000000, .kind = LEDGER_STACK }, 1);
	marks = must_read();
	ASSERT_RANGES(marks.stacks, marks.nstacks, 0x7e0000000000, 0x7e0000010000, 0x7f0000800000,
	              0x7f0001000000);
	ledger_marks_release(&marks);
	maker_free(m);
}

static void ledgers_without_marks_have_none(void **state)
{
	struct maker *m = make();
	struct ledger_marks marks;

	(void)state;
	add(m, MARK_IGNORE, 0x10, 0);
	m->h->marks = (struct ledger_section){ 0 };
	marks = must_read();
	assert_int_equal(marks.nignored + marks.nregions + marks.ntracker + marks.nstacks, 0);
	ledger_marks_release(&marks);
	maker_free(m);
}

static void lies_are_left_out(void **state)
{
	static const struct ledger_mark lies[] = {
		{ 0x1000, 0, MARK_ROOT, 0 },                   /* empty */
		{ UINT64_MAX - 10, 100, MARK_ROOT, 0 },        /* wraps */
		{ 0x1000, UINT64_MAX, MARK_TRACKER, 0 },       /* wraps */
		{ 0x2000, UINT64_MAX - 0x1fff, MARK_ROOT, 0 }, /* ends at 2^64 */
		{ 0x1000, 64, MARK_NONE, 0 },                  /* not complete */
		{ 0x1000, 64, 7, 0 },
		{ 0x1000, 64, 0xffffffffu, 0 },
		{ 0x1000, 64, MARK_ROOT << 8, 0 },
	};
	struct maker *m = make();
	struct ledger_marks marks;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		add(m, lies[i].kind, lies[i].address, lies[i].size);
	add(m, MARK_ROOT, 0x1000, 8);
	marks = must_read();
	ASSERT_RANGES(marks.regions, marks.nregions, 0x1000, 0x1008);
	assert_int_equal(marks.nignored + marks.ntracker, 0);
	ledger_marks_release(&marks);
	maker_free(m);
}

static void counts_and_places_are_checked(void **state)
{
	const uint64_t most = LEDGER_MAX_POINTS * sizeof(struct ledger_point);
	struct maker *m = make();
	struct ledger_section right = m->h->marks;
	const struct ledger_section wrong[] = {
		{ 0, most },
		{ 4096, most },
		{ right.offset + 8, most - 4096 },
		{ right.offset, UINT64_MAX },
		{ right.offset, m->h->file_size },
		{ m->h->file_size + 4096, 4096 },
		{ UINT64_MAX & ~4095ull, 8192 },
		{ UINT64_MAX, UINT64_MAX },
	};
	struct ledger_marks marks;

	(void)state;
	add(m, MARK_ROOT, 0x1000, 8);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		m->h->marks = wrong[i];
		marks = must_read();
		assert_int_equal(marks.nregions, 0);
		ledger_marks_release(&marks);
	}
	/* A count beyond the section: as many as there are. */
	m->h->marks = right;
	m->h->nmarks = UINT64_MAX;
	marks = must_read();
	assert_int_equal(marks.nregions, 1);
	ledger_marks_release(&marks);
	/* A section smaller than an entry. */
	m->h->marks.size = sizeof(struct ledger_mark) - 1;
	marks = must_read();
	assert_int_equal(marks.nregions, 0);
	ledger_marks_release(&marks);
	maker_free(m);
}

/* Against a model that keeps a count for each of a few places. */
static void a_long_log_agrees_with_a_model(void **state)
{
	struct maker *m = make();
	struct ledger_marks marks;
	uint64_t seed = 5;
	unsigned int held[64] = { 0 };
	size_t wanted = 0, k = 0;

	(void)state;
	for (unsigned int i = 0; i < 5000; i++) {
		unsigned int place = random_next(&seed) >> 58;
		bool back = random_next(&seed) >> 62 != 0; /* 3 of 4 */

		add(m, back ? MARK_UNIGNORE : MARK_IGNORE, 0x1000 + 8 * place, i);
		if (!back)
			held[place]++;
		else if (held[place])
			held[place]--;
	}
	marks = must_read();
	for (unsigned int i = 0; i < 64; i++)
		wanted += held[i] > 0;
	assert_true(wanted > 4 && wanted < 60);
	assert_int_equal(marks.nignored, wanted);
	for (unsigned int i = 0; i < 64; i++)
		if (held[i])
			assert_int_equal(marks.ignored[k++], 0x1000 + 8 * i);
	ledger_marks_release(&marks);
	maker_free(m);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

struct heard {
	struct ledger_live_block *b;
	size_t n, cap, stop_at;
};

static int hear(void *arg, const struct ledger_live_block *b)
{
	struct heard *h = arg;

	if (h->n && b->address <= h->b[h->n - 1].address)
		fail_msg("0x%llx after 0x%llx", (unsigned long long)b->address,
		         (unsigned long long)h->b[h->n - 1].address);
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 1024;
		h->b = realloc(h->b, h->cap * sizeof(*h->b));
		assert_non_null(h->b);
	}
	h->b[h->n++] = *b;
	return h->n == h->stop_at ? -77 : 0;
}

static struct heard listen(struct ledger_facts *ret_facts, uint64_t *ret_torn)
{
	struct heard h = { 0 };
	int stopped = -1;
	struct seep_error *err = ledger_blocks_read(path, hear, &h, ret_facts, ret_torn, &stopped);

	if (err)
		fail_msg("%s", err->message);
	assert_int_equal(stopped, 0);
	return h;
}

static void a_block_has_all_its_properties(void **state)
{
	struct maker *m = make();
	uint32_t plain = maker_site(m, 0, LEDGER_HEAP), quiet = maker_site(m, 0, LEDGER_HEAP);
	struct ledger_facts facts;
	uint64_t torn = 9;
	struct heard h;

	(void)state;
	((struct ledger_site *)maker_section(m, LEDGER_SITES))[quiet].flags = LEDGER_SITE_IGNORED;
	m->h->periods[1] = 1000;
	m->h->nperiods = 2;
	m->h->start_mono_ns = 5000000000;
	maker_alloc(m, (struct maker_block){
			       .address = 0x5000, .size = 24, .site = plain, .birth = 3 });
	maker_alloc(m, (struct maker_block){ .address = 0x4ff8, .size = 0, .site = quiet });
	maker_alloc(m, (struct maker_block){
			       .address = 0x5010, .size = 1000, .site = quiet, .period = 1 });
	maker_alloc(m, (struct maker_block){
			       .address = 0x5020, .size = 8, .site = plain, .kind = LEDGER_MMAP });
	h = listen(&facts, &torn);
	assert_int_equal(torn, 0);
	assert_int_equal(h.n, 3);
	assert_int_equal(h.b[0].address, 0x4ff8);
	assert_int_equal(h.b[0].size, 0);
	assert_true(h.b[0].ignored);
	assert_int_equal(h.b[0].site, quiet);
	assert_true(h.b[0].weight == 1 && h.b[0].period == 0);
	assert_int_equal(h.b[1].address, 0x5000);
	assert_int_equal(h.b[1].size, 24);
	assert_int_equal(h.b[1].birth, 3);
	assert_int_equal(h.b[1].site, plain);
	assert_false(h.b[1].ignored);
	assert_int_equal(h.b[2].period, 1000);
	assert_true(fabs(h.b[2].weight - 1 / (1 - exp(-1))) < 1e-12);
	assert_false(facts.sampled || facts.partial || facts.forked || facts.attached);
	assert_int_equal(facts.nsites, 3);
	assert_int_equal(ledger_birth_ns(&facts, 3), 5000000000 + (3ull << LEDGER_TICK_SHIFT));
	free(h.b);

	m->h->mode = LEDGER_SAMPLED;
	m->h->flags = LEDGER_F_FORKED;
	h = listen(&facts, NULL);
	assert_true(facts.sampled && facts.partial && facts.forked && !facts.attached);
	free(h.b);
	m->h->mode = LEDGER_FULL;
	m->h->flags = 0;
	m->h->control.generation = 2; /* something was changed on the way */
	h = listen(&facts, NULL);
	assert_true(!facts.sampled && facts.partial);
	free(h.b);
	facts = (struct ledger_facts){ 0 };
	assert_null(ledger_facts_read(path, &facts));
	assert_true(!facts.sampled && facts.partial);
	assert_int_equal(facts.nsites, 3);
	assert_int_equal(facts.start_mono_ns, 5000000000);
	maker_free(m);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Pages in random order, over several segments and tables: hear() checks the order. */
static void a_large_heap_comes_in_order(void **state)
{
	enum { N = 60000 };
	static uint64_t wanted[N];
	struct maker *m = make();
	uint32_t site = maker_site(m, 0, LEDGER_HEAP);
	uint64_t seed = 11, torn;
	size_t n = 0;
	struct heard h;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		uint64_t r = random_next(&seed), base = 0x550000000000 + (r >> 61) * 0x3c0000000;
		/* Dense and sparse parts; 96 MB of each, three segments. */
		uint64_t at = base + ((r >> 20) % (r & 1 ? 6u << 20 : 96u << 20) & ~7ull);

		if (maker_find(m, at, LEDGER_HEAP))
			continue;
		maker_alloc(m, (struct maker_block){ .address = at, .size = 8, .site = site });
		wanted[n++] = at;
	}
	assert_true(n > N * 9 / 10);
	qsort(wanted, n, sizeof(wanted[0]), by_value);
	h = listen(NULL, &torn);
	assert_int_equal(torn, 0);
	assert_int_equal(h.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(h.b[i].address, wanted[i]);
	free(h.b);
	maker_free(m);
}

static void the_listener_may_stop(void **state)
{
	struct maker *m = make();
	uint32_t site = maker_site(m, 0, LEDGER_HEAP);
	struct heard h = { .stop_at = 3 };
	int stopped = 0;

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		maker_alloc(m, (struct maker_block){
				       .address = 0x10000 + 4096ull * i, .size = 1, .site = site });
	assert_null(ledger_blocks_read(path, hear, &h, NULL, NULL, &stopped));
	assert_int_equal(h.n, 3);
	assert_int_equal(stopped, -77);
	free(h.b);
	maker_free(m);
}

static void contradictions_are_counted(void **state)
{
	struct maker *m = make();
	uint32_t site = maker_site(m, 0, LEDGER_HEAP);
	struct ledger_block *slot;
	uint64_t torn;
	struct heard h;

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		maker_alloc(m, (struct maker_block){
				       .address = 0x10000 + 1024ull * i, .size = 16, .site = site });
	/* The second record says what the first does. */
	slot = maker_find(m, 0x10400, LEDGER_HEAP);
	slot->head = maker_find(m, 0x10000, LEDGER_HEAP)->head;
	/* The third names a site that does not exist, the fourth a period that does not. */
	maker_find(m, 0x10800, LEDGER_HEAP)->body |= 0xffffull << 40;
	maker_find(m, 0x10c00, LEDGER_HEAP)->head |= 63ull << 12;
	h = listen(NULL, &torn);
	assert_int_equal(h.n, 3);
	assert_int_equal(torn, 2);
	assert_int_equal(h.b[1].address, 0x10800);
	assert_int_equal(h.b[1].site, 0);
	assert_false(h.b[1].ignored);
	assert_true(h.b[2].period == 0 && h.b[2].weight == 1);
	free(h.b);
	maker_free(m);
}

/* Random damage anywhere in what is stored: whatever comes is in order, and nothing breaks. */
static void damage_does_no_harm(void **state)
{
	uint64_t seed = 77, heard = 0;

	(void)state;
	for (unsigned int round = 0; round < 300; round++) {
		struct maker *m = make();
		uint32_t site = maker_site(m, 0, LEDGER_HEAP);
		uint64_t keep = m->h->file_size;
		struct ledger_marks marks;
		struct seep_error *err;
		struct heard h = { 0 };

		for (unsigned int i = 0; i < 200; i++) {
			maker_alloc(m, (struct maker_block){ .address = 0x10000 + 40ull * i,
			                                     .size = random_next(&seed) >> 30,
			                                     .site = site,
			                                     .kind = i % 5 ? LEDGER_HEAP
			                                                   : LEDGER_STACK });
			add(m, 1 + random_next(&seed) % 6, random_next(&seed) >> 20,
			    random_next(&seed) >> (random_next(&seed) >> 58));
		}
		for (unsigned int i = 0; i < 1 + round % 40; i++) {
			static const enum ledger_section_id where[] = { LEDGER_ROOT, LEDGER_DIR,
				                                        LEDGER_BUCKETS,
				                                        LEDGER_TIMELINE,
				                                        LEDGER_SITES };
			uint64_t r = random_next(&seed);
			uint8_t *p = maker_section(m, where[r % 5]);

			p[(r >> 8) % 6000] = (uint8_t)(r >> 40);
			if (r >> 60 == 0)
				((uint8_t *)&m->h->marks)[(r >> 4) % 16] = (uint8_t)(r >> 50);
			if (r >> 60 == 1)
				((uint8_t *)&m->h->nmarks)[(r >> 4) % 8] = (uint8_t)(r >> 50);
		}
		err = ledger_marks_read(path, &marks);
		if (err) {
			seep_error_free(err);
		} else {
			for (size_t i = 1; i < marks.nregions; i++)
				assert_true(marks.regions[i].start > marks.regions[i - 1].end);
			for (size_t i = 1; i < marks.nignored; i++)
				assert_true(marks.ignored[i] > marks.ignored[i - 1]);
			for (size_t i = 0; i < marks.nstacks; i++)
				assert_true(marks.stacks[i].start < marks.stacks[i].end);
			ledger_marks_release(&marks);
		}
		err = ledger_blocks_read(path, hear, &h, NULL, NULL, NULL);
		if (err)
			seep_error_free(err);
		heard += h.n;
		free(h.b);
		m->h->file_size = keep;
		maker_free(m);
	}
	assert_true(heard > 300 * 100);
}

static void files_that_are_none_are_errors(void **state)
{
	struct ledger_marks marks;
	struct seep_error *err;
	struct heard h = { 0 };

	(void)state;
	unlink(path);
	err = ledger_marks_read(path, &marks);
	assert_non_null(err);
	seep_error_free(err);
	err = ledger_blocks_read(path, hear, &h, NULL, NULL, NULL);
	assert_non_null(err);
	seep_error_free(err);
	assert_int_equal(h.n, 0);
	err = ledger_facts_read(path, &(struct ledger_facts){ 0 });
	assert_non_null(err);
	seep_error_free(err);
}

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/dev/shm/seep-marks-XXXXXX");
	if (!mkdtemp(dir)) {
		strcpy(dir, "/tmp/seep-marks-XXXXXX");
		assert_non_null(mkdtemp(dir));
	}
	snprintf(path, sizeof(path), "%s/x.ledger", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_said_comes_out_in_order),
		cmocka_unit_test(what_was_taken_back_is_gone),
		cmocka_unit_test(overlapping_regions_become_one),
		cmocka_unit_test(stacks_are_the_live_records),
		cmocka_unit_test(ledgers_without_marks_have_none),
		cmocka_unit_test(lies_are_left_out),
		cmocka_unit_test(counts_and_places_are_checked),
		cmocka_unit_test(a_long_log_agrees_with_a_model),
		cmocka_unit_test(a_block_has_all_its_properties),
		cmocka_unit_test(a_large_heap_comes_in_order),
		cmocka_unit_test(the_listener_may_stop),
		cmocka_unit_test(contradictions_are_counted),
		cmocka_unit_test(damage_does_no_harm),
		cmocka_unit_test(files_that_are_none_are_errors),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
