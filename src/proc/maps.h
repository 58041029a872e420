/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of a process, from the text of /proc/PID/maps.
 */
#ifndef SEEP_PROC_MAPS_H
#define SEEP_PROC_MAPS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/image.h"

struct maps {
	struct image_map *items; /* ascending, not overlapping; paths point into text */
	size_t n;
	size_t dropped; /* lines that made no sense, or overlapped what came before */
	char *text;
};

/*
 * Takes text over (malloc'ed, len bytes and a NUL), also when it fails: only out of memory does.
 * The paths are the kernel's words: "\012" is a newline again, " (deleted)" stays.
 */
struct seep_error *maps_parse(char *text, size_t len, struct maps *ret);
/* /proc/PID/maps, read and parsed. */
struct seep_error *maps_read(pid_t pid, struct maps *ret);
void maps_release(struct maps *m);

/*
 * What a page of pagemap says: 1 present, 2 swapped, 0 neither.
 */
static inline uint8_t maps_page_state(uint64_t entry)
{
	return entry >> 63 & 1 ? 1 : entry >> 62 & 1 ? 2 : 0;
}

#endif
