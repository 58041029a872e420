/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes ledgers for tests, without a tracker: a writer of wire/ledger.h that does
 * what a tracker does, one thing at a time, and whose every byte a test may spoil.
 *
 *     struct maker *m = maker_new(&(struct maker_config){ .path = path });
 *     uint32_t mod = maker_module(m, "/bin/x", 0x1000, 0x2000, build_id, 20);
 *     uint32_t site = maker_site(m, maker_node(m, 0, 0x1234, mod), LEDGER_HEAP);
 *     maker_alloc(m, (struct maker_block){ .address = 0x7000, .size = 16, .site = site });
 *     maker_free(m);
 *
 * The file stays.  Functions assert: a test that asks for nonsense is wrong.
 */
#ifndef SEEP_TESTS_LEDGER_MAKER_H
#define SEEP_TESTS_LEDGER_MAKER_H

#include "wire/ledger.h"

#include <stdbool.h>

struct maker_config {
	const char *path;
	uint32_t max_sites; /* 0: 4096 */
	uint32_t nshards;   /* 0: 4 */
	uint32_t max_dirs;  /* 0: 16 */
	uint64_t max_slots; /* 0: 1 << 20 */
	uint64_t max_nodes; /* 0: 16 * max_sites */
};

struct maker {
	int fd;
	uint8_t *map;
	struct ledger_header *h;
	uint64_t strings;
};

struct maker_block {
	uint64_t address, size;
	uint32_t site, thread, birth;
	unsigned int kind, period;
	unsigned int shard;
};

struct maker *maker_new(const struct maker_config *config);
void maker_free(struct maker *m); /* unmaps and closes; the file stays */

void *maker_section(struct maker *m, enum ledger_section_id id);
uint64_t maker_string(struct maker *m, const char *s);
uint32_t maker_module(struct maker *m, const char *path, uint64_t start, uint64_t end,
                      const uint8_t *id, size_t len);
uint32_t maker_thread(struct maker *m, int tid, const char *name); /* its index */
/* parent 0: an outermost frame; module: index or UINT32_MAX; ret: the return address. */
uint32_t maker_node(struct maker *m, uint32_t parent, uint64_t ret, uint32_t module);
uint32_t maker_site(struct maker *m, uint32_t node, unsigned int kind);

/* Inserts a record and counts it (weight 1, or the sampler's weight for a period). */
void maker_alloc(struct maker *m, struct maker_block b);
/* Removes it and counts it as freed after `life` ticks; false when it is not there. */
bool maker_release(struct maker *m, struct maker_block b, uint32_t life);
/* The slot of a block, or NULL; its DIR word. */
struct ledger_block *maker_find(struct maker *m, uint64_t address, unsigned int kind);
uint64_t *maker_word(struct maker *m, uint64_t address, bool make);

struct ledger_counters *maker_counters(struct maker *m, unsigned int shard, uint32_t site);

/* The weight and variance terms, written down once more, independently of the reader. */
double maker_weight(const struct maker *m, uint64_t size, unsigned int period);

#endif
