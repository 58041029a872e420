/* SPDX-License-Identifier: Apache-2.0 */
/* A running truth (targets/truth.c): started, asked, ended. */
#ifndef TESTS_HEAP_TARGET_H
#define TESTS_HEAP_TARGET_H

#include "heap/heap.h"

#include <stdio.h>
#include <sys/types.h>

struct truth_block {
	uint64_t address, usable, requested;
};

struct target {
	pid_t pid;
	int in; /* it ends when this is closed */
	bool has_info;
	uint64_t info[10]; /* mallinfo2, in its order */
	struct truth_block *blocks;
	size_t nblocks;
	uint64_t lost[64];
	size_t nlost;
};

bool target_built(const char *name); /* was it built on this machine? */
/* Starts DIR/name with the modes (NULL-terminated) and waits for what it says; fails the test if it does not. */
void target_start(struct target *t, const char *name, const char *const *args);
void target_end(struct target *t);
/* Fails the test unless the heap is what the program says.  Counts blocks of libc's own that are not marked so. */
size_t target_compare(const struct target *t, const struct heap *h, bool exact_sizes);

#endif
