/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perf maps: how JIT compilers name code that belongs to no file
 * ("START SIZE name" in hex, a line each, in /tmp/perf-PID.map).
 */
#ifndef SEEP_SYM_PERFMAP_H
#define SEEP_SYM_PERFMAP_H

#include <stddef.h>
#include <stdint.h>

#define PERFMAP_MAX_BYTES (64u << 20) /* what comes after that is not read */

struct perfmap_entry;

struct perfmap {
	struct perfmap_entry *entries;
	size_t n, cap;
	char *text;
	size_t bad_lines;
};

/*
 * Reads an open map; the fd stays the caller's.  Damaged lines are counted and skipped; where
 * entries overlap the later line wins, because a JIT appends when it reuses an address.
 * 0 or -errno.
 */
int perfmap_read(struct perfmap *m, int fd);

/* The same over text, which is modified and stays the caller's. */
int perfmap_parse(struct perfmap *m, char *text, size_t len);

const char *perfmap_find(const struct perfmap *m, uint64_t addr); /* NULL unknown */
void perfmap_release(struct perfmap *m);

#endif
