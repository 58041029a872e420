/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger reader against ledgers it can trust (every field comes out), ledgers it
 * cannot (damaged, cut, contradictory) and ledgers that change under it.
 */
#include "capture/capture.h"
#include "sample_ledger.h"

#include "base/error.h"
#include "profile/profile.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static struct profile *must_read(bool blocks)
{
	struct read_options opts = { .blocks = blocks };
	struct profile *p = NULL;
	struct seep_error *err = ledger_read(path, &opts, &p);

	if (err)
		fail_msg("%s", err->message);
	return p;
}

/* Either a sound profile or an error with a message; returns whether it was read. */
static bool may_read(void)
{
	struct read_options opts = { .blocks = true };
	struct profile *p = NULL;
	struct seep_error *err = ledger_read(path, &opts, &p);

	if (err) {
		assert_null(p);
		assert_non_null(err->message);
		seep_error_free(err);
		return false;
	}
	assert_null(profile_check(p));
	profile_free(p);
	return true;
}

static void must_fail(const char *words)
{
	struct profile *p = NULL;
	struct seep_error *err = ledger_read(path, NULL, &p);

	assert_non_null(err);
	if (!strstr(err->message, words))
		fail_msg("'%s' does not say '%s'", err->message, words);
	seep_error_free(err);
}

/* ---- what comes out ------------------------------------------------------------- */

static void reads_identity(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p = must_read(false);

	assert_string_equal(p->source, path);
	assert_string_equal(p->exe, "/opt/app/server");
	assert_string_equal(p->command, "./server --port 80");
	assert_string_equal(p->allocator, "/lib/libc.so.6");
	assert_int_equal(p->pid, 999999999);
	assert_int_equal(p->ppid, 12);
	assert_int_equal(p->exec_seq, 2);
	assert_true(p->forked && p->attached && !p->bypassed);
	assert_true(p->killed && !p->live && !p->execed);
	assert_int_equal(p->start_real_ns, m->h->start_real_ns);
	assert_int_equal(p->tracker_private_bytes, 5555);
	assert_true(p->tracker_ledger_bytes > 0);
	assert_int_equal(p->unwinds_fast, 66);
	assert_int_equal(p->unwinds_slow, 7);
	assert_int_equal(p->losses.count[LOSS_DEPTH], 3);
	assert_int_equal(p->losses.count[LOSS_STALE], 4);
	assert_int_equal(p->losses.torn, 0);
	/* The last sign of life is the youngest block: birth 100 + SAMPLE_BLOCKS - 1 ticks. */
	assert_int_equal(p->duration_ns, (100ull + SAMPLE_BLOCKS - 1) << LEDGER_TICK_SHIFT);
	profile_free(p);
	maker_free(m);
}

static void reads_stacks(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p = must_read(false);

	assert_int_equal(p->nmodules, 2);
	assert_string_equal(p->modules[0].path, "/opt/app/server");
	assert_string_equal(p->modules[1].path, "/opt/app/libx.so");
	assert_int_equal(p->modules[0].start, 0x400000);
	assert_int_equal(p->modules[0].end, 0x500000);
	assert_int_equal(p->modules[0].bias, 0x400000);
	assert_int_equal(p->modules[0].build_id_len, 20);
	assert_int_equal(p->modules[0].build_id[19], 20);
	assert_int_equal(p->modules[1].build_id_len, 0);
	assert_int_equal(p->modules[1].load_seq, 2);
	assert_int_equal(p->nframes, 5);
	assert_int_equal(p->frames[1].pc, 0x401234);
	assert_int_equal(p->frames[1].module, 0);
	assert_int_equal(p->frames[1].parent, 0);
	assert_int_equal(p->frames[3].pc, 0x7f0000000040);
	assert_int_equal(p->frames[3].module, 1);
	assert_int_equal(p->frames[3].parent, 2);
	assert_int_equal(p->frames[4].module, PROF_NO_MODULE);
	assert_int_equal(p->nthreads, 3);
	assert_int_equal(p->threads[2].tid, 101);
	assert_string_equal(p->threads[2].name, "worker-1");
	profile_free(p);
	maker_free(m);
}

static void reads_exact_site(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p = must_read(false);
	const struct prof_site *s = &p->sites[1];
	uint64_t live = 0, per_thread[3] = { 0 }, cells = 0;

	for (uint32_t i = 0; i < SAMPLE_BLOCKS; i++) {
		live += 16 + i;
		per_thread[i % 2 ? 1 : 2] += 16 + i;
	}
	assert_int_equal(p->nsites, 4);
	assert_int_equal(s->stack, 3);
	assert_int_equal(s->kind, PROF_HEAP);
	assert_int_equal(s->born, 10ull << LEDGER_TICK_SHIFT);
	assert_int_equal(s->inuse.blocks, SAMPLE_BLOCKS);
	assert_int_equal(s->inuse.bytes, live);
	assert_int_equal(s->alloc.blocks, SAMPLE_BLOCKS + 50);
	assert_int_equal(s->alloc.bytes, live + 50 * 24);
	assert_int_equal(s->freed.blocks, 50);
	assert_int_equal(s->freed.bytes, 50 * 24);
	assert_int_equal(s->samples, SAMPLE_BLOCKS + 50);
	assert_int_equal(s->inuse_samples, SAMPLE_BLOCKS);
	assert_true(s->alloc.var_bytes == 0 && s->inuse.var_bytes == 0);
	assert_int_equal(s->oldest, 100ull << LEDGER_TICK_SHIFT);
	assert_int_equal(profile_lifetime(p, (size_t)(s - p->sites), 0), 20);
	assert_int_equal(profile_lifetime(p, (size_t)(s - p->sites), 2), 30);
	/* No copy of the peak: what is in use is the peak. */
	assert_int_equal(s->peak.bytes, live);
	for (size_t i = 0; i < p->ncells; i++) {
		if (p->cells[i].site != 1)
			continue;
		assert_int_equal(p->cells[i].inuse.bytes, per_thread[p->cells[i].thread]);
		cells++;
	}
	assert_int_equal(cells, 2);
	profile_free(p);
	maker_free(m);
}

static void reads_mappings_beside_blocks(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p = must_read(true);
	const struct prof_site *s = &p->sites[2];
	unsigned int at_heap = 0;

	assert_int_equal(s->kind, PROF_MMAP);
	assert_true(s->cut_depth && !s->cut_no_cfi);
	assert_int_equal(s->inuse.blocks, 2);
	assert_int_equal(s->inuse.bytes, (1 << 20) + 4096);
	assert_int_equal(s->oldest, 3ull << LEDGER_TICK_SHIFT);
	assert_int_equal(p->nblocks, SAMPLE_BLOCKS + 22);
	for (size_t i = 0; i < p->nblocks; i++) {
		const struct prof_block *b = &p->blocks[i];

		if (b->address == SAMPLE_HEAP)
			at_heap++;
		if (b->site == 1) {
			uint64_t n = (b->address - SAMPLE_HEAP) / 64;

			assert_int_equal(b->size, 16 + n);
			assert_int_equal(b->born, (100 + n) << LEDGER_TICK_SHIFT);
			assert_int_equal(b->thread, n % 2 ? 1 : 2);
			assert_true(b->weight == 1);
		}
	}
	assert_int_equal(at_heap, 2); /* a heap block and a mapping, both at that address */
	profile_free(p);
	maker_free(m);
}

static void weighs_samples(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p = must_read(false);
	const struct prof_site *s = &p->sites[3];
	double blocks = 0, bytes = 0, var_blocks = 0, var_bytes = 0;

	for (uint32_t i = 0; i < 20; i++) {
		double size = 1000.0 * (i + 1), w = maker_weight(m, (uint64_t)size, 1);

		blocks += w;
		bytes += w * size;
		var_blocks += w * (w - 1);
		var_bytes += size * size * w * (w - 1);
	}
	assert_true(s->cut_no_cfi);
	assert_int_equal(s->inuse.blocks, (uint64_t)(blocks + 0.5));
	assert_int_equal(s->inuse.bytes, (uint64_t)(bytes + 0.5));
	assert_true(s->inuse.var_blocks > var_blocks * 0.999999 &&
	            s->inuse.var_blocks < var_blocks * 1.000001);
	assert_true(s->inuse.var_bytes > var_bytes * 0.999999 &&
	            s->inuse.var_bytes < var_bytes * 1.000001);
	assert_int_equal(s->inuse_samples, 20);
	/* The smallest has the largest weight; what is recorded with certainty has none. */
	assert_true(fabs(s->inuse.max_weight / maker_weight(m, 1000, 1) - 1) < 1e-9);
	assert_true(s->alloc.max_weight == (double)(float)maker_weight(m, 1000, 1));
	assert_true(s->freed.max_weight == 0);
	assert_true(s->peak.max_weight == s->inuse.max_weight);
	assert_true(p->sites[1].alloc.max_weight == 0 && p->sites[1].inuse.max_weight == 0);
	for (size_t i = 0; i < p->ncells; i++)
		assert_true(p->cells[i].inuse.max_weight ==
		            p->sites[p->cells[i].site].inuse.max_weight);
	/* Nothing of it was freed, so allocated is the same but for rounding in the counters. */
	assert_in_range(s->alloc.bytes, s->inuse.bytes - 20, s->inuse.bytes + 20);
	assert_true(s->freed.var_bytes < var_bytes * 1e-6);
	assert_true(p->sampled);
	profile_free(p);
	maker_free(m);
}

/* The largest weight of what is in use is that of the live records; those of allocated and freed stay. */
static void forgets_the_weight_of_the_freed(void **state)
{
	struct maker *m = sample_ledger(path);
	struct ledger_tail *tails = maker_section(m, LEDGER_TAILS);
	struct profile *p;

	assert_true(maker_release(m, (struct maker_block){ .address = 0x555500000000 }, 1));
	p = must_read(false);
	assert_true(fabs(p->sites[3].inuse.max_weight / maker_weight(m, 2000, 1) - 1) < 1e-9);
	assert_true(p->sites[3].alloc.max_weight == (double)(float)maker_weight(m, 1000, 1));
	assert_true(p->sites[3].freed.max_weight == p->sites[3].alloc.max_weight);
	profile_free(p);
	/* A ledger of an earlier build has none; one that lies has one that is no number. */
	for (uint32_t i = 0; i < 3; i++) {
		const float lies[] = { 0, INFINITY, -5 };

		for (uint32_t k = 0; k < m->h->nshards; k++)
			tails[k * m->h->max_sites + 3].max_weight =
				tails[k * m->h->max_sites + 3].max_weight_freed = lies[i];
		p = must_read(false);
		assert_true(p->sites[3].alloc.max_weight == 0);
		assert_true(p->sites[3].freed.max_weight == 0);
		assert_true(fabs(p->sites[3].inuse.max_weight / maker_weight(m, 2000, 1) - 1) < 1e-9);
		profile_free(p);
	}
	maker_free(m);
}

static void reads_classes_and_timeline(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p = must_read(false);
	unsigned int c = ledger_size_class(24);

	assert_int_equal(p->classes[c].freed.blocks, 50);
	assert_int_equal(p->classes[c].freed.bytes, 50 * 24);
	/* 24..31 is one class; the live blocks of it are those of the sizes 24 to 31. */
	assert_int_equal(p->classes[c].alloc.blocks, 50 + 8);
	assert_int_equal(p->npoints, 11); /* those of the ledger, and the end */
	assert_int_equal(p->points[9].time, 9000000);
	assert_int_equal(p->points[9].inuse, 900);
	assert_int_equal(p->points[9].alloc_bytes, 1800);
	assert_int_equal(p->points[9].alloc_blocks, 27);
	assert_int_equal(p->points[10].time, p->duration_ns);
	assert_int_equal(p->points[10].inuse, profile_totals_of(p, PROF_MEMORY).inuse.bytes);
	assert_int_equal(p->points[10].alloc_bytes, profile_totals_of(p, PROF_MEMORY).alloc.bytes);
	profile_free(p);
	maker_free(m);
}

static void reads_peak_copy(void **state)
{
	struct maker *m = sample_ledger(path);
	struct ledger_peak *peak = (struct ledger_peak *)maker_section(m, LEDGER_PEAK) +
	                           m->h->max_sites;
	struct profile *p;

	peak[1] = (struct ledger_peak){ 500ull << 16, 50000000 };
	peak[2] = (struct ledger_peak){ 7ull << 16, 70000 };
	m->h->peak_which = 1;
	m->h->peak_valid = 1;
	m->h->peak_copy_sites = 3;
	m->h->peak_copy_bytes = 50070000;
	m->h->peak_bytes = 50080000;
	m->h->peak_mono_ns = m->h->start_mono_ns + 123;
	p = must_read(false);
	assert_int_equal(p->sites[1].peak.blocks, 500);
	assert_int_equal(p->sites[1].peak.bytes, 50000000);
	assert_int_equal(p->sites[2].peak.bytes, 70000);
	assert_int_equal(p->sites[3].peak.bytes, 0);
	assert_int_equal(p->peak_copy_bytes, 50070000);
	assert_int_equal(p->peak_bytes, 50080000);
	assert_int_equal(p->peak_time, 123);
	/* the timeline has the peak, right behind its first point */
	assert_int_equal(p->npoints, 12);
	assert_int_equal(p->points[1].time, 123);
	assert_int_equal(p->points[1].inuse, 50080000);
	profile_free(p);
	/* A copy smaller than what is in use now is old. */
	peak[1].bytes = 5;
	peak[2].bytes = 0;
	p = must_read(false);
	assert_int_equal(p->sites[1].peak.bytes, p->sites[1].inuse.bytes);
	assert_int_equal(p->sites[3].peak.bytes, p->sites[3].inuse.bytes);
	profile_free(p);
	maker_free(m);
}

static void tells_how_it_ended(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p;

	m->h->state = LEDGER_EXITED;
	m->h->end_mono_ns = m->h->start_mono_ns + 77;
	p = must_read(false);
	assert_true(!p->killed && !p->live && !p->execed);
	assert_int_equal(p->duration_ns, 77);
	profile_free(p);
	m->h->state = LEDGER_EXECED;
	p = must_read(false);
	assert_true(!p->killed && !p->live && p->execed);
	profile_free(p);
	m->h->state = LEDGER_DETACHED;
	p = must_read(false);
	assert_true(!p->killed && !p->live && !p->execed && p->detached);
	profile_free(p);
	/* Ours: this very process, which maps it. */
	m->h->state = LEDGER_LIVE;
	m->h->pid = getpid();
	p = must_read(false);
	assert_true(p->live && !p->killed);
	profile_free(p);
	/* The pid is somebody else's now. */
	m->h->start_ticks = 1;
	p = must_read(false);
	assert_true(!p->live && p->killed);
	profile_free(p);
	m->h->start_ticks = 0;
	m->h->boot_id[3] = 1;
	p = must_read(false);
	assert_true(!p->live && p->killed);
	profile_free(p);
	maker_free(m);
}

static void notices_exec_by_its_mapping(void **state)
{
	struct maker *m = sample_ledger(path);
	struct profile *p;

	m->h->pid = getpid();
	maker_free(m); /* unmapped: the process went on without it */
	p = must_read(false);
	assert_true(p->execed && !p->live && !p->killed);
	profile_free(p);
}

/* ---- damage ---------------------------------------------------------------------- */

static void refuses_what_is_no_ledger(void **state)
{
	struct maker *m = sample_ledger(path);

	m->h->magic ^= 1;
	must_fail("not a seep ledger");
	m->h->magic ^= 1;
	m->h->version = 99;
	must_fail("version 99");
	m->h->version = LEDGER_VERSION;
	m->h->state = LEDGER_STARTING;
	must_fail("still being set up");
	m->h->state = LEDGER_LIVE;
	m->h->section[LEDGER_NODES].offset += 8;
	must_fail("section NODES");
	m->h->section[LEDGER_NODES].offset -= 8;
	m->h->section[LEDGER_BUCKETS].size = UINT64_MAX - 4096;
	must_fail("section BUCKETS");
	m->h->section[LEDGER_BUCKETS].size = 0;
	m->h->nshards = 65536;
	must_fail("too small");
	maker_free(m);
	assert_int_equal(truncate(path, 100), 0);
	must_fail("too short");
	unlink(path);
	must_fail("No such file");
	assert_int_equal(mkdir(path, 0700), 0);
	must_fail("not a regular file");
	rmdir(path);
}

/* Every 4 bytes of the header, to several values each: an error or a sound profile. */
static void survives_any_header(void **state)
{
	static const uint32_t values[] = { 0, 1, 0x7fffffff, 0xffffffff, 0x1000 };
	struct maker *m = sample_ledger(path);
	struct ledger_header good = *m->h;
	unsigned int read = 0, refused = 0;

	for (size_t at = 0; at < sizeof(good); at += 4) {
		/* Text, and the padding between the parts, is the same all over. */
		if ((at > offsetof(struct ledger_header, exe) + 8 &&
		     at < offsetof(struct ledger_header, control)) ||
		    at > offsetof(struct ledger_header, peak_valid) + 8)
			continue;
		for (size_t i = 0; i < 5; i++) {
			memcpy((uint8_t *)m->h + at, &values[i], 4);
			if (may_read())
				read++;
			else
				refused++;
			memcpy(m->h, &good, sizeof(good));
		}
	}
	assert_true(read > 100 && refused > 100);
	maker_free(m);
}

static void survives_truncation(void **state)
{
	struct maker *m = sample_ledger(path);
	struct ledger_header good = *m->h;

	maker_free(m);
	for (uint64_t pages = good.file_size / 4096; pages-- > 0;) {
		/* All of the first 64 pages, and each section's first and last. */
		bool edge = pages < 64;

		for (unsigned int i = 0; i < LEDGER_NSECTIONS && !edge; i++)
			edge = pages == good.section[i].offset / 4096 ||
			       pages == (good.section[i].offset + good.section[i].size) / 4096 - 1;
		if (!edge)
			continue;
		assert_int_equal(truncate(path, (off_t)(pages * 4096)), 0);
		assert_false(may_read());
	}
}

/* The header claims the truncated size, so the sections end early. */
static void survives_sections_cut_off(void **state)
{
	struct maker *m = sample_ledger(path);

	for (unsigned int i = 0; i < LEDGER_NSECTIONS; i++) {
		struct ledger_section good = m->h->section[i];

		for (uint64_t size = 0; size <= 8192; size += 64) {
			m->h->section[i].size = size;
			may_read();
		}
		m->h->section[i] = good;
	}
	assert_true(may_read());
	maker_free(m);
}

static uint64_t rng_state = 1;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static void survives_random_flips(void **state)
{
	for (unsigned int round = 0; round < 20; round++) {
		struct maker *m = sample_ledger(path);

		for (unsigned int i = 0; i < 50; i++) {
			for (unsigned int k = 0; k < 20; k++) {
				const struct ledger_section *s =
					&m->h->section[rng() % LEDGER_NSECTIONS];
				uint64_t most = s->size < 8192 ? s->size : 8192;

				m->map[s->offset + rng() % most] ^= (uint8_t)(1u << rng() % 8);
			}
			may_read();
		}
		maker_free(m);
	}
}

static void counts_torn_records(void **state)
{
	struct maker *m = sample_ledger(path);
	struct ledger_block *b = maker_find(m, SAMPLE_HEAP + 64, LEDGER_HEAP), good = *b;
	uint64_t *word = maker_word(m, SAMPLE_HEAP, false), word_good = *word;
	struct ledger_node *nodes = maker_section(m, LEDGER_NODES);
	struct profile *p;
	const struct {
		uint64_t head, body;
	} bad[] = {
		{ good.head & ~1ull, good.body },             /* not valid, but not empty */
		{ good.head | 3ull << 1, good.body },         /* no such kind */
		{ good.head, good.body | 0xffffffull << 40 }, /* no such site */
		{ good.head | 63ull << 12, good.body },       /* no such period */
	};

	for (size_t i = 0; i < 4; i++) {
		*b = (struct ledger_block){ bad[i].head, bad[i].body };
		p = must_read(true);
		assert_int_equal(p->losses.torn, 1);
		assert_int_equal(p->sites[1].inuse.blocks, SAMPLE_BLOCKS - 1);
		assert_int_equal(p->nblocks, SAMPLE_BLOCKS + 21);
		profile_free(p);
	}
	*b = good;
	/* A thread nobody knows is "other", not torn. */
	b->head |= 0x3fffull << 18;
	p = must_read(false);
	assert_int_equal(p->losses.torn, 0);
	assert_int_equal(p->sites[1].inuse.blocks, SAMPLE_BLOCKS);
	profile_free(p);
	*b = good;
	/* Two pages that name one bucket: its blocks count once. */
	maker_word(m, SAMPLE_HEAP + (7ull << 12), false)[100] = word_good;
	p = must_read(false);
	assert_int_equal(p->sites[1].inuse.blocks, SAMPLE_BLOCKS);
	assert_int_equal(p->losses.torn, LEDGER_DIR_COUNT(word_good));
	profile_free(p);
	maker_word(m, SAMPLE_HEAP + (7ull << 12), false)[100] = 0;
	/* A bucket beyond what was ever handed out. */
	*word = word_good | 1ull << 60;
	p = must_read(false);
	assert_int_equal(p->losses.torn, LEDGER_DIR_COUNT(word_good));
	profile_free(p);
	*word = word_good;
	/* A frame that is its own caller. */
	nodes[3].parent = 3;
	p = must_read(false);
	assert_int_equal(p->losses.torn, 1);
	assert_int_equal(p->frames[3].parent, 0);
	profile_free(p);
	maker_free(m);
}

/* Every ROOT word names the one DIR table: it is read once, not 262,144 times. */
static void bounds_aliased_tables(void **state)
{
	struct maker *m = sample_ledger(path);
	uint64_t *root = maker_section(m, LEDGER_ROOT);
	struct profile *p;

	for (uint32_t i = 0; i < LEDGER_ROOT_SLOTS; i++)
		if (!root[i])
			root[i] = 1;
	p = must_read(true);
	assert_true(p->losses.torn >= LEDGER_ROOT_SLOTS - 4);
	assert_true(p->nblocks <= SAMPLE_BLOCKS + 22);
	profile_free(p);
	maker_free(m);
}

/* Counts far beyond the storage: memory follows the storage. */
static void bounds_claimed_counts(void **state)
{
	struct maker *m = maker_new(&(struct maker_config){
		.path = path, .max_sites = 1u << 24, .nshards = 1, .max_nodes = 1u << 28 });
	struct profile *p;

	m->h->nsites = 1u << 24;
	m->h->nnodes = 1u << 28;
	m->h->buckets_used = UINT64_MAX;
	m->h->nmodules = UINT64_MAX;
	m->h->pid = 999999999;
	p = must_read(true);
	assert_true(p->nsites < 200000 && p->nframes < 1000000);
	profile_free(p);
	maker_free(m);
}

/* ---- while it changes --------------------------------------------------------------- */

struct scribbler {
	struct maker *m;
	int stop;
	unsigned int mode;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t seed = 88172645463325252ull;

	for (uint64_t i = 0; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED); i++) {
		unsigned int id = (unsigned int)(seed >> 20) % LEDGER_NSECTIONS;
		/* s->m->h is what the other thread may be destroying: use the copy of the first page's geometry. */
		const struct ledger_section *sec = &s->m->h->section[id];
		uint64_t value;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		value = seed;
		if (s->mode == 0 &&
		    pwrite(s->m->fd, &value, 8, (off_t)(sec->offset + seed % 16384)) != 8)
			break;
		if (s->mode == 1 && i % 64 == 0) {
			/* A reader must never see SIGBUS, whatever size the file has at the moment. */
			if (ftruncate(s->m->fd, (off_t)(seed % (8u << 20))) < 0)
				break;
		}
		if (s->mode == 1 && i % 64 == 32 && ftruncate(s->m->fd, 64 << 20) < 0)
			break;
	}
	return NULL;
}

static void survives_scribbling(void **state)
{
	struct scribbler s = { .m = sample_ledger(path) };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	for (unsigned int i = 0; i < 300; i++)
		may_read();
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	maker_free(s.m);
}

static void survives_truncating_owner(void **state)
{
	struct maker *m = sample_ledger(path);
	static struct ledger_header copy_of;
	struct ledger_header *copy = &copy_of;
	struct scribbler s = { .mode = 1 };
	struct maker view = { .fd = m->fd, .h = copy };
	pthread_t thread;
	unsigned int refused = 0;

	*copy = *m->h;
	munmap(m->map, m->h->file_size); /* nobody maps it from here on */
	s.m = &view;
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	for (unsigned int i = 0; i < 300; i++)
		refused += !may_read();
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(refused > 0);
	close(m->fd);
	free(m);
}

/* A writer that allocates, frees and grows buckets by the rules; only its last records may be missing. */
static void *write_on(void *arg)
{
	struct scribbler *s = arg;

	for (uint32_t i = 0; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED) && i < 6000; i++) {
		struct maker_block b = {
			.address = 0x600000000000 + i * 48ull, .size = 40, .site = 2, .birth = i
		};

		maker_alloc(s->m, b);
		if (i % 3 == 0)
			maker_release(s->m, b, 1);
	}
	return NULL;
}

static void reads_beside_an_honest_writer(void **state)
{
	struct scribbler s = { .m = sample_ledger(path) };
	uint64_t last = 0;
	pthread_t thread;
	struct profile *p;

	assert_int_equal(pthread_create(&thread, NULL, write_on, &s), 0);
	for (unsigned int i = 0; i < 100; i++) {
		p = must_read(true);
		/* What was there before stays complete, and nothing is ever counted twice. */
		assert_int_equal(p->sites[1].inuse.blocks, SAMPLE_BLOCKS);
		assert_true(p->sites[2].inuse.blocks <= 2 + 4001);
		/* One block at most is between its insertion and its removal at each moment. */
		assert_true(p->sites[2].inuse.blocks + 1 >= last);
		last = p->sites[2].inuse.blocks;
		profile_free(p);
	}
	pthread_join(thread, NULL);
	p = must_read(true);
	assert_int_equal(p->sites[2].inuse.blocks, 2 + 4000);
	assert_int_equal(p->losses.torn, 0);
	profile_free(p);
	maker_free(s.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_identity),
		cmocka_unit_test(reads_stacks),
		cmocka_unit_test(reads_exact_site),
		cmocka_unit_test(reads_mappings_beside_blocks),
		cmocka_unit_test(weighs_samples),
		cmocka_unit_test(forgets_the_weight_of_the_freed),
		cmocka_unit_test(reads_classes_and_timeline),
		cmocka_unit_test(reads_peak_copy),
		cmocka_unit_test(tells_how_it_ended),
		cmocka_unit_test(notices_exec_by_its_mapping),
		cmocka_unit_test(refuses_what_is_no_ledger),
		cmocka_unit_test(survives_any_header),
		cmocka_unit_test(survives_truncation),
		cmocka_unit_test(survives_sections_cut_off),
		cmocka_unit_test(survives_random_flips),
		cmocka_unit_test(counts_torn_records),
		cmocka_unit_test(bounds_aliased_tables),
		cmocka_unit_test(bounds_claimed_counts),
		cmocka_unit_test(survives_scribbling),
		cmocka_unit_test(survives_truncating_owner),
		cmocka_unit_test(reads_beside_an_honest_writer),
	};
	int r;

	snprintf(dir, sizeof(dir), "/dev/shm/seep-test-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/1.0.ledger", dir);
	r = cmocka_run_group_tests_name("ledger_read", tests, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return r;
}
