/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long ledger_read() takes: bench_read [BLOCKS] [SITES] [with-blocks].
 * Not a test: it prints, and fails only when the sums are wrong.
 */
#include "capture/capture.h"
#include "ledger_maker.h"

#include "base/error.h"
#include "profile/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	uint64_t blocks = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, sum = 0;
	uint32_t sites = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 50000;
	struct read_options opts = { .blocks = argc > 3 };
	char path[64];
	struct maker *m;
	double best = 1e9;

	snprintf(path, sizeof(path), "/dev/shm/seep-bench-%d.ledger", (int)getpid());
	m = maker_new(&(struct maker_config){ .path = path,
	                                      .max_sites = sites + 1,
	                                      .max_slots = blocks * 8 + 1024,
	                                      .nshards = 8,
	                                      .max_dirs = 64 });
	for (uint32_t i = 0; i < sites; i++) {
		uint32_t node = 0;

		for (int d = 0; d < 8; d++)
			node = maker_node(m, node, 0x400000 + ((uint64_t)i * 8 + (uint64_t)d) * 16,
			                  UINT32_MAX);
		maker_site(m, node, LEDGER_HEAP);
	}
	for (int i = 0; i < 8; i++)
		maker_thread(m, 100 + i, "worker");
	for (uint64_t i = 0; i < blocks; i++) {
		struct maker_block b = { .address = 0x7f0000000000 + i * 64,
			                 .size = 16 + i % 97,
			                 .site = 1 + (uint32_t)(i * 2654435761u % sites),
			                 .thread = 1 + (uint32_t)(i / 1000 % 8),
			                 .shard = (unsigned int)(i / 1000 % 8) };

		maker_alloc(m, b);
		sum += b.size;
	}
	for (int i = 0; i < 5; i++) {
		struct profile *p = NULL;
		struct prof_totals t;
		double start = seconds(), took;
		struct seep_error *err = ledger_read(path, &opts, &p);

		took = seconds() - start;
		if (err) {
			fprintf(stderr, "%s\n", err->message);
			return 1;
		}
		t = profile_totals(p, -1);
		if (t.inuse.bytes != sum || t.inuse.blocks != blocks || p->losses.torn)
			return 1;
		best = took < best ? took : best;
		profile_free(p);
	}
	printf("%llu blocks, %u sites%s: %.3f s\n", (unsigned long long)blocks, sites,
	       opts.blocks ? ", with blocks" : "", best);
	maker_free(m);
	unlink(path);
	return 0;
}
