/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot's layout, shared by its writer and its reader; docs/SNAPSHOT.md tells it byte by byte.
 *
 * A snapshot is a header, one zstd frame and, rarely, padding.  The frame holds sections; a
 * section is an array of one of the profile's structs, written column by column: each column
 * is one field of all records, so like stands by like and compresses well.  What the columns of a
 * section are is written once, in the tables of snapshot_layout.c, and both directions follow them.
 */
#ifndef SEEP_CAPTURE_SNAPSHOT_H
#define SEEP_CAPTURE_SNAPSHOT_H

#include "profile/profile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seep_error;

#define SNAPSHOT_VERSION 1u

/* A frame may not unpack to more than this: what a reader may have to allocate follows from the file's size. */
#define SNAPSHOT_FREE_SIZE (64ull << 20)
#define SNAPSHOT_MAX_RATIO 64u

struct snapshot_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t flags;       /* 0 */
	uint64_t file_size;   /* header, frame and padding */
	uint64_t packed_size; /* the frame */
	uint64_t raw_size;    /* what it unpacks to */
	uint64_t check;       /* FNV-1a (64 bit) of everything before and after this field */
};
_Static_assert(sizeof(struct snapshot_header) == 48, "layout");

enum snapshot_section {
	SNAP_END = 0,
	SNAP_META = 1, /* one record: the profile's own fields */
	SNAP_MODULES = 2,
	SNAP_FRAMES = 3,
	SNAP_SYMBOLS = 4, /* how many lines each has */
	SNAP_LINES = 5,   /* the lines of all symbols, one after the other */
	SNAP_SITES = 6,
	SNAP_CELLS = 7,
	SNAP_THREADS = 8,
	SNAP_BLOCKS = 9,
	SNAP_POINTS = 10,
	SNAP_CLASSES = 11,
	SNAP_MERGED =
		12, /* one record, or the section is missing: of one process, or of an older seep */
	/* Largest weights, one record for each of SNAP_SITES and SNAP_CELLS; both or none: of an older seep, or not sampled. */
	SNAP_SITE_WEIGHTS = 13,
	SNAP_CELL_WEIGHTS = 14,
	/* What was seen from outside, or marked, over time; missing: nothing, or of an older seep. */
	SNAP_RSS = 15,
	SNAP_EVENTS = 16,
	SNAP_DETACHED = 17, /* one record; missing: not detached, or of an older seep */
	SNAP_NSECTIONS
};

enum column_type {
	COL_BOOL, /* 0 or 1 */
	COL_U8,
	COL_I32, /* zigzag */
	COL_U32,
	COL_U64,
	COL_DOUBLE, /* bits ^ bits of `1.0`, bytes reversed: what is common is short */
	COL_STRING, /* 0: NULL; else length + 1, then the bytes */
};

struct column {
	uint8_t type;    /* enum column_type */
	bool delta;      /* the zigzag difference to the record before */
	uint16_t repeat; /* elements of an array field; each is a column of its own */
	uint32_t offset; /* in the struct */
};

struct layout {
	const struct column *columns;
	size_t ncolumns;
	size_t record; /* sizeof the struct */
};

/* max_weight of the values of a site and of a cell. */
struct snapshot_site_weights {
	double alloc, freed, inuse, peak;
};

struct snapshot_cell_weight {
	double inuse;
};

extern const struct layout snapshot_layouts[SNAP_NSECTIONS];
/* Each of the last PROF_LIFE_BUCKETS columns of SNAP_SITES, an array of its own; the profile may have none: then all are 0. */
extern const struct column snapshot_lifetime;

uint64_t snapshot_check(const struct snapshot_header *h, const void *rest, size_t n);

/* Unpacked sections → profile; for snapshot_read() and the fuzzer. */
struct seep_error *snapshot_decode(const void *raw, size_t n, const char *path,
                                   struct profile **ret_profile);

#endif
