/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the outside writer puts into a ledger is what the reader finds there: compared with a plain model that
 * the test keeps, over random allocations and frees, with buckets that grow and pages that are shared.
 */
#include "capture/capture.h"
#include "capture/ledger_writer.h"

#include "base/error.h"
#include "profile/estimate.h"
#include "profile/profile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCKS 40000
#define STEPS 400000
#define SITES 50

static char dir[64];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct ledger_writer *made(uint64_t period)
{
	struct ledger_identity id = { .pid = getpid(),
		                      .uid = getuid(),
		                      .flags = LEDGER_F_ATTACHED | LEDGER_F_OUTSIDE,
		                      .period = period,
		                      .exe = "/bin/some",
		                      .command = "some thing",
		                      .allocator = "/lib/libsome.so" };
	struct ledger_writer *w = NULL;
	struct seep_error *err = ledger_writer_create(dir, &id, &w);

	if (err)
		fail_msg("%s", err->message);
	return w;
}

static struct profile *read_back(const struct ledger_writer *w)
{
	struct read_options opts = { .blocks = true };
	struct profile *p = NULL;
	struct seep_error *err = ledger_read(ledger_writer_path(w), &opts, &p);

	if (err)
		fail_msg("%s", err->message);
	assert_int_equal(p->losses.torn, 0);
	return p;
}

static void done(struct ledger_writer *w, struct profile *p)
{
	profile_free(p);
	unlink(ledger_writer_path(w));
	ledger_writer_free(w);
}

static void identity_comes_back(void **state)
{
	struct ledger_writer *w = made(0);
	struct ledger_writer_module m = { .start = 0x1000,
		                          .end = 0x9000,
		                          .bias = 0x1000,
		                          .path = "/lib/some.so",
		                          .build_id = (const uint8_t *)"\1\2\3\4",
		                          .build_id_len = 4 };
	uint32_t module = ledger_writer_module(w, &m), thread, site;
	uint64_t keys[] = { 0x2000 | (uint64_t)module << LEDGER_PC_MODULE_SHIFT, 0x3000, 0x4000 };
	struct ledger_writer_block b = {
		.addr = 0x7f0000001010, .size = 100, .kind = LEDGER_HEAP, .born = now_ns()
	};
	struct profile *p;

	(void)state;
	thread = ledger_writer_thread(w, 17, "worker", now_ns());
	site = ledger_writer_site(w, keys, 3, LEDGER_HEAP, 0, now_ns());
	assert_int_equal(ledger_writer_site(w, keys, 3, LEDGER_HEAP, 0, now_ns()), site);
	assert_int_not_equal(ledger_writer_site(w, keys, 3, LEDGER_MMAP, 0, now_ns()), site);
	assert_int_not_equal(ledger_writer_site(w, keys + 1, 2, LEDGER_HEAP, 0, now_ns()), site);
	b.thread = thread;
	b.site = site;
	ledger_writer_alloc(w, &b);
	ledger_writer_finish(w, LEDGER_EXITED, now_ns());
	p = read_back(w);
	assert_string_equal(p->exe, "/bin/some");
	assert_string_equal(p->command, "some thing");
	assert_string_equal(p->allocator, "/lib/libsome.so");
	assert_true(p->attached && !p->live && !p->killed && !p->sampled);
	assert_int_equal(p->nmodules, 1);
	assert_string_equal(p->modules[0].path, "/lib/some.so");
	assert_int_equal(p->modules[0].build_id_len, 4);
	assert_int_equal(p->nthreads, 2);
	assert_string_equal(p->threads[1].name, "worker");
	assert_int_equal(p->nblocks, 1);
	assert_int_equal(p->blocks[0].address, b.addr);
	assert_int_equal(p->blocks[0].size, 100);
	assert_int_equal(p->blocks[0].thread, thread);
	assert_int_equal(p->frames[p->sites[site].stack].pc, 0x1fff);
	assert_int_equal(p->frames[p->sites[site].stack].module, module - 1);
	done(w, p);
}

struct model {
	uint64_t addr[BLOCKS], size[BLOCKS];
	uint32_t site[BLOCKS];
	uint64_t allocs[SITES], alloc_bytes[SITES], frees[SITES], free_bytes[SITES];
};

static void random_events_agree(void **state)
{
	struct ledger_writer *w = made(0);
	struct model *m = calloc(1, sizeof(*m));
	uint32_t sites[SITES];
	uint64_t inuse = 0, peak = 0;
	struct profile *p;
	size_t live = 0;

	(void)state;
	srand(4711);
	for (uint64_t i = 0; i < SITES; i++) {
		uint64_t keys[] = { 0x1000 + i, 0x5000 + i / 7, 0x9000 };

		sites[i] = ledger_writer_site(w, keys, 3, LEDGER_HEAP, 0, now_ns());
	}
	for (int step = 0; step < STEPS; step++) {
		size_t i = (size_t)rand() % BLOCKS;
		struct ledger_block taken;

		if (m->addr[i]) {
			assert_true(ledger_writer_take(w, m->addr[i], LEDGER_HEAP, &taken));
			assert_int_equal(LEDGER_BLOCK_SIZE(taken.body), m->size[i]);
			assert_false(ledger_writer_take(w, m->addr[i], LEDGER_HEAP, &taken));
			if (step % 3 == 0) { /* it was not freed after all */
				ledger_writer_put(w, m->addr[i], &taken);
				continue;
			}
			ledger_writer_freed(w, &taken, now_ns());
			m->frees[m->site[i]]++;
			m->free_bytes[m->site[i]] += m->size[i];
			inuse -= m->size[i];
			m->addr[i] = 0;
		} else {
			struct ledger_writer_block b = { .kind = LEDGER_HEAP, .born = now_ns() };

			/* dense here, sparse there: 8 bytes apart up to a page each */
			m->addr[i] = 0x100000 + i * (i < BLOCKS / 2 ? 8 : 4096 + 16) +
			             (i % 5 ? 0 : 1ull << 40);
			m->size[i] = (uint64_t)rand() % 5000;
			m->site[i] = (uint32_t)rand() % SITES;
			b.addr = m->addr[i];
			b.size = m->size[i];
			b.site = sites[m->site[i]];
			ledger_writer_alloc(w, &b);
			m->allocs[m->site[i]]++;
			m->alloc_bytes[m->site[i]] += m->size[i];
			inuse += m->size[i];
			peak = inuse > peak ? inuse : peak;
		}
		if (step % 1000 == 0)
			ledger_writer_tick(w, now_ns());
	}
	p = read_back(w);
	for (int i = 0; i < SITES; i++) {
		const struct prof_site *s = &p->sites[sites[i]];

		assert_int_equal(s->alloc.blocks, m->allocs[i]);
		assert_int_equal(s->alloc.bytes, m->alloc_bytes[i]);
		assert_int_equal(s->freed.blocks, m->frees[i]);
		assert_int_equal(s->freed.bytes, m->free_bytes[i]);
		assert_int_equal(s->inuse.blocks, m->allocs[i] - m->frees[i]);
		assert_int_equal(s->inuse.bytes, m->alloc_bytes[i] - m->free_bytes[i]);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		live += m->addr[i] != 0;
	assert_int_equal(p->nblocks, live);
	assert_int_equal(p->peak_bytes, peak);
	assert_true(p->peak_copy_bytes <= peak && p->peak_copy_bytes > peak - peak / 10);
	assert_true(p->npoints > 2);
	for (unsigned int i = 0; i < PROF_NLOSSES; i++)
		assert_int_equal(p->losses.count[i], 0);
	done(w, p);
	free(m);
}

static void a_sample_stands_for_more(void **state)
{
	struct ledger_writer *w = made(65536);
	uint64_t key = 0x1000;
	uint32_t site = ledger_writer_site(w, &key, 1, LEDGER_HEAP, 0, now_ns());
	struct ledger_writer_block b = { .addr = 0x10000,
		                         .size = 1000,
		                         .period = ledger_writer_period(w, 65536),
		                         .site = site,
		                         .born = now_ns() };
	double weight = prof_weight(1000, 65536), var = prof_weight_variance(1000, 65536);
	struct profile *p;

	(void)state;
	ledger_writer_alloc(w, &b);
	b.addr += 4096;
	ledger_writer_alloc(w, &b);
	b.addr += 4096; /* and one that is exact */
	b.period = ledger_writer_period(w, 0);
	ledger_writer_alloc(w, &b);
	p = read_back(w);
	assert_true(p->sampled);
	assert_int_equal(p->period, 65536);
	assert_int_equal(p->sites[site].alloc.blocks, (uint64_t)(2 * weight + 1.5));
	assert_true(fabs((double)p->sites[site].alloc.bytes - (2000 * weight + 1000)) < 2);
	assert_true(fabs(p->sites[site].alloc.var_blocks - 2 * var) < 1e-6 * var);
	assert_true(fabs(p->sites[site].alloc.var_bytes - 2e6 * var) < var);
	assert_int_equal(p->sites[site].samples, 3);
	done(w, p);
}

static void a_stale_record_gives_way(void **state)
{
	struct ledger_writer *w = made(0);
	uint64_t key = 0x1000;
	uint32_t site = ledger_writer_site(w, &key, 1, LEDGER_HEAP, 0, now_ns());
	struct ledger_writer_block b = {
		.addr = 0x10000, .size = 1000, .site = site, .born = now_ns()
	};
	struct profile *p;

	(void)state;
	ledger_writer_alloc(w, &b);
	b.size = 10;
	ledger_writer_alloc(w, &b);
	b.addr = 0x10004; /* no allocator gives that */
	ledger_writer_alloc(w, &b);
	p = read_back(w);
	assert_int_equal(p->losses.count[LOSS_STALE], 1);
	assert_int_equal(p->losses.count[LOSS_LIVE_FULL], 1);
	assert_int_equal(p->sites[site].inuse.bytes, 10);
	assert_int_equal(p->sites[site].alloc.bytes, 1020);
	assert_int_equal(p->sites[site].freed.bytes, 1010);
	done(w, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identity_comes_back),
		cmocka_unit_test(random_events_agree),
		cmocka_unit_test(a_sample_stands_for_more),
		cmocka_unit_test(a_stale_record_gives_way),
	};
	int r;

	strcpy(dir, "/tmp/seep-writer-XXXXXX");
	if (!mkdtemp(dir))
		return 99;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return r;
}
