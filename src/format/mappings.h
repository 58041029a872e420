/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAPPED_LIBRARIES: /proc/PID/maps in a profile, both ways.
 */
#ifndef SEEP_FORMAT_MAPPINGS_H
#define SEEP_FORMAT_MAPPINGS_H

#include "format/builder.h"

struct mapping {
	uint64_t start, end, offset;
	char *path;
};

struct mappings {
	struct mapping *items;
	size_t n, cap;
};

/* One line of maps; false: it is none.  Mappings without a file are left out. */
bool mappings_line(struct builder *b, struct mappings *m, char *line);
/* Makes modules of them and gives every frame without one its module. */
void mappings_apply(struct builder *b, struct mappings *m);
void mappings_release(struct mappings *m);
#define _cleanup_mappings_ __attribute__((cleanup(mappings_release)))

/*
 * What to subtract from an address in a mapping of `path` from `offset` on at `start` to get an address of the
 * file's own: from the file's program headers when it is there, else by what linkers usually do.
 */
uint64_t mapping_bias(const char *path, uint64_t start, uint64_t offset);

/* The maps lines of a profile's modules. */
void mappings_write(struct buf *out, const struct profile *p);

#endif
