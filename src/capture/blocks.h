/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All live heap blocks of a ledger, in the order of their addresses, one at a time.
 *
 * For those who meet them with something else that is in address order (a heap walker's blocks) and
 * do not want ten million of them in memory twice.  What is kept here is bounded by the blocks of 64 MB of
 * the target's addresses.
 */
#ifndef SEEP_CAPTURE_BLOCKS_H
#define SEEP_CAPTURE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct seep_error;

/* What one must know of a ledger to make sense of its blocks. */
struct ledger_facts {
	bool sampled; /* in force when read: not every block has a record */
	bool partial; /* some blocks were not recorded: sampled, forked, attached or switched off at some time */
	bool forked;             /* the process inherited blocks that are its parent's to list */
	bool attached;           /* tracking began after the program did */
	uint64_t start_mono_ns;  /* CLOCK_MONOTONIC when tracking began */
	unsigned int tick_shift; /* births are in units of 2^tick_shift ns since then */
	uint32_t nsites;         /* sites known when the reading ended */
	char allocator[128];     /* path of the module whose malloc the program uses */
};

struct ledger_live_block {
	uint64_t address, size; /* size as requested */
	uint64_t period;        /* bytes; what it was sampled with, 0: every block was recorded */
	double weight;          /* how many blocks it stands for, >= 1 */
	uint32_t site;          /* index in the ledger, and of profile.sites; 0: stack unknown */
	uint32_t birth;         /* ticks */
	bool ignored;           /* allocated while leak reports were disabled */
};

/* Without the blocks.  nsites is that of this moment. */
struct seep_error *ledger_facts_read(const char *path, struct ledger_facts *ret_facts);

/* Negative: stop the reading; the error of ledger_blocks_read() is then NULL, *ret_stopped the value. */
typedef int ledger_live_block_fn(void *arg, const struct ledger_live_block *block);

/*
 * Calls fn for every live heap block, by ascending address, each address at most once.
 * *ret_torn: blocks that could not be read, because they moved again and again or the ledger contradicts
 * itself.  ret_facts, ret_torn and ret_stopped may be NULL; with an error they are left alone, though fn may
 * have been called.
 */
struct seep_error *ledger_blocks_read(const char *path, ledger_live_block_fn *fn, void *arg,
                                      struct ledger_facts *ret_facts, uint64_t *ret_torn,
                                      int *ret_stopped);

/* When a block was born at the earliest, CLOCK_MONOTONIC in ns; a coarse clock: some milliseconds early. */
static inline uint64_t ledger_birth_ns(const struct ledger_facts *f, uint32_t birth)
{
	return f->start_mono_ns + ((uint64_t)birth << f->tick_shift);
}

#endif
