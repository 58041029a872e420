/* SPDX-License-Identifier: Apache-2.0 */
/* See sample_ledger.h; ledger_read_test.c says what must come out of it. */
#include "sample_ledger.h"

#include <stdio.h>
#include <string.h>

static void identity(struct ledger_header *h)
{
	h->pid = 999999999; /* nobody has it */
	h->ppid = 12;
	h->uid = 34;
	h->exec_seq = 2;
	h->flags = LEDGER_F_FORKED | LEDGER_F_ATTACHED;
	h->nperiods = 2;
	h->periods[1] = SAMPLE_PERIOD;
	h->private_bytes = 5555;
	h->unwinds_fast = 66;
	h->unwinds_slow = 7;
	h->losses[LOSS_DEPTH] = 3;
	h->losses[LOSS_STALE] = 4;
	snprintf(h->exe, sizeof(h->exe), "/opt/app/server");
	snprintf(h->command, sizeof(h->command), "./server --port 80");
	snprintf(h->allocator, sizeof(h->allocator), "/lib/libc.so.6");
}

static void timeline(struct maker *m)
{
	struct ledger_point *points = maker_section(m, LEDGER_TIMELINE);

	for (uint64_t i = 0; i < 10; i++)
		points[i] = (struct ledger_point){ m->h->start_mono_ns + i * 1000000, i * 100,
			                           i * 200, i * 3 };
	m->h->npoints = 10;
}

struct maker *sample_ledger(const char *path)
{
	struct maker *m = maker_new(&(struct maker_config){
		.path = path, .max_sites = 64, .nshards = 3, .max_dirs = 4, .max_slots = 1u << 15 });
	static const uint8_t id[20] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
		                        11, 12, 13, 14, 15, 16, 17, 18, 19, 20 };
	uint32_t app, lib, main_node, f, g, heap, map, sampled, t1, t2;
	struct ledger_site *sites;

	identity(m->h);
	app = maker_module(m, "/opt/app/server", 0x400000, 0x500000, id, 20);
	lib = maker_module(m, "/opt/app/libx.so", 0x7f0000000000, 0x7f0000100000, id, 0);
	t1 = maker_thread(m, 100, "server");
	t2 = maker_thread(m, 101, "worker-1");
	main_node = maker_node(m, 0, 0x401235, app);
	f = maker_node(m, main_node, 0x401301, app);
	g = maker_node(m, f, 0x7f0000000041, lib);
	heap = maker_site(m, g, LEDGER_HEAP);
	map = maker_site(m, f, LEDGER_MMAP);
	sampled = maker_site(m, maker_node(m, main_node, 0x12345, UINT32_MAX), LEDGER_HEAP);
	sites = maker_section(m, LEDGER_SITES);
	sites[heap].born = 10;
	sites[map].flags = LEDGER_SITE_CUT_DEPTH;
	sites[sampled].flags = LEDGER_SITE_CUT_NO_CFI;
	for (uint32_t i = 0; i < SAMPLE_BLOCKS; i++)
		maker_alloc(m, (struct maker_block){ .address = SAMPLE_HEAP + i * 64ull,
		                                     .size = 16 + i,
		                                     .site = heap,
		                                     .thread = i % 2 ? t1 : t2,
		                                     .birth = 100 + i,
		                                     .shard = i % 3 });
	/* Freed again: on another shard than it was allocated on. */
	for (uint32_t i = 0; i < 50; i++) {
		struct maker_block b = { .address = SAMPLE_HEAP + 0x100000 + i * 32ull,
			                 .size = 24,
			                 .site = heap,
			                 .thread = t1,
			                 .birth = 7,
			                 .shard = 0 };

		maker_alloc(m, b);
		b.shard = 2;
		maker_release(m, b, i < 20 ? 1 : 4);
	}
	maker_alloc(m, (struct maker_block){ .address = 0x7f3000000000,
	                                     .size = 1 << 20,
	                                     .site = map,
	                                     .thread = t1,
	                                     .kind = LEDGER_MMAP,
	                                     .birth = 3 });
	/* The same address as a heap block's page, another kind. */
	maker_alloc(m, (struct maker_block){ .address = SAMPLE_HEAP,
	                                     .size = 4096,
	                                     .site = map,
	                                     .thread = t1,
	                                     .kind = LEDGER_MMAP,
	                                     .birth = 4 });
	for (uint32_t i = 0; i < 20; i++)
		maker_alloc(m, (struct maker_block){ .address = 0x555500000000 + i * 8192ull,
		                                     .size = 1000u * (i + 1),
		                                     .site = sampled,
		                                     .thread = t2,
		                                     .birth = 50,
		                                     .period = 1,
		                                     .shard = 1 });
	timeline(m);
	return m;
}
