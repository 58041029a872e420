/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One refresh of `seep top` as text or JSON (docs/TOP-JSON.md): the process, what it holds and how that moves, and
 * the rows, with their stacks and, where asked for, their blocks one by one.
 */
#ifndef SEEP_OUTPUT_TOP_REPORT_H
#define SEEP_OUTPUT_TOP_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/top.h"

struct buf;
struct emit;
struct seep_error;

#define TOP_JSON_VERSION 1

/* What is known of the process from outside the ledger.  Strings are the process's own words. */
struct top_facts {
	const char *name; /* short */
	int32_t pid;
	uint32_t uid;
	uint64_t uptime_ns;   /* 0: unknown */
	uint64_t rss;         /* TOP_UNKNOWN */
	uint64_t time_ns;     /* of the reading, since the Unix epoch */
	const char *cgroup;   /* NULL: not known */
	uint64_t limit, used; /* of the cgroup; limit 0: none */
	const char *ledger;
	bool ended;
};

struct top_report_options {
	enum group_by by;
	enum top_order order;
	bool reverse;
	size_t top;    /* rows; 0: all */
	size_t depth;  /* frames of a stack in text; 0: all */
	bool blocks;   /* list them: address, size, age */
	bool combined; /* a line for each row: no stacks */
	bool full_paths;
	const char *cwd; /* NULL: none */
};

struct seep_error *top_report_emit(struct emit *e, const struct top *t, const struct top_facts *f,
                                   const struct top_report_options *o);

/* Events that were lost, so that numbers are too low or blocks have no stack. */
uint64_t top_losses(const struct profile *p);
/* "at least 10 min 0 s old, 64.0 KiB or more"; nothing when all blocks count. */
void top_choice_words(struct buf *b, const struct top_options *o);
/* +410 KiB, -1.00 MiB, 0 B; with `per`, such as "/s", after what is not zero. */
void top_signed(struct buf *b, double bytes, const char *per);

/* A location in words, valid until the next call with the same buffer: function, and file:line or module. */
struct top_place {
	char function[512];
	char where[512];
};
void top_place_of(const struct top *t, uint32_t location, const char *cwd,
                  struct top_place *ret_place);
/* What a row is called and where it is, whatever it is by. */
void top_row_place(const struct top *t, enum group_by by, const struct top_row *row,
                   const char *cwd, struct top_place *ret_place);

#endif
