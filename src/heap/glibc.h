/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glibc's malloc as seen from outside, one file for each of its data structures:
 *
 *   glibc_arena.c     malloc_state: which layout this glibc has, and all arenas of the process
 *   glibc_params.c    mp_: where sbrk began, what is mmapped
 *   glibc_segment.c   the memory chunks lie in: heaps of the arenas, pieces of the main arena
 *   glibc_fast.c      fastbins: free chunks that their neighbours call used
 *   glibc_tcache.c    threads' caches, likewise
 *   glibc_chunks.c    the walk from chunk to chunk
 *   glibc_mmapped.c   chunks that are mappings of their own
 *   glibc.c           the order of all this, and the sums
 *
 * docs/HEAP-WALK.md has the layouts and what can go wrong.
 */
#ifndef SEEP_HEAP_GLIBC_H
#define SEEP_HEAP_GLIBC_H

#include "heap/heap_private.h"
#include "heap/reader.h"

/* Words of a chunk's size field. */
#define CHUNK_PREV_INUSE 1u
#define CHUNK_MMAPPED 2u
#define CHUNK_NON_MAIN 4u
#define CHUNK_FLAGS 7u
#define CHUNK_MIN 0x20u
#define CHUNK_FENCE 0x10u /* size of what closes a piece of heap */

#define NPAIRS 127u      /* bins 1 to 127: (fd, bk) each */
#define BINS_BYTES 2032u /* of all pairs */
#define STATE_NEXT 2048u /* offset of malloc_state.next from the bins */
#define ARENA_NONCONTIGUOUS 2u

#define MAX_ARENAS 65536u
#define MAX_SEGMENTS (1u << 20)
#define MAX_SEGMENT (1ull << 44) /* bytes; no machine has so many */

struct arena {
	uint64_t address;
	uint64_t top, top_size;
	uint64_t system, max_system, attached;
	uint64_t heap_bytes; /* non-main: alignment and largest size of its heaps; 0: unknown */
	uint64_t header;     /* non-main: bytes of its heap_info */
	uint32_t flags;
	uint32_t heaps;
	bool top_met; /* the walk came to its top */
};

struct segment {
	uint64_t first, end; /* chunks lie in it */
	uint64_t range; /* where the memory that belongs to it begins: heap_info, malloc_state */
	uint32_t arena;
	bool gaps; /* behind a fencepost can be somebody else's memory */
	/*
	 * A bit for each 16 bytes from first on: free but not in a bin.  In granules that are made when they are first needed,
	 * since a damaged image may say that a segment is far larger than its memory.  NULL: there are none.
	 */
	uint64_t **marks;
};
#define MARKS_SHIFT 22 /* of heap, for each granule: 32 KiB of bits */
#define MARKS_WORDS ((1u << MARKS_SHIFT) / 16 / 64)

struct mmapped {
	uint64_t map, total; /* of the mapping */
	uint64_t chunk;
};

struct tcache_shape {
	uint32_t chunk; /* size of the chunk it lives in */
	uint32_t nbins, count_bytes, entries;
	bool slots_left; /* counts what still fits, not what is there */
};

struct params {
	bool found;
	uint64_t address, size;
	uint32_t variant; /* index of its table */
	uint64_t sbrk_base, n_mmaps, mmapped_mem, max_n_mmaps, max_mmapped_mem;
};

struct glibc {
	const struct image *img;
	struct heap_builder *out;
	struct heap_reader reader;
	struct window window;

	/* the layout */
	uint32_t bins;        /* offset of the bins in malloc_state */
	uint32_t fast, nfast; /* offset of the fastbins, and how many; 0: this glibc has none */
	uint32_t state_bytes;
	bool attached_threads;  /* malloc_state has that field */
	bool safe_linking;      /* fd of fastbins and tcaches is mangled */
	bool safe_linking_seen; /* ... as some list shows; else there is no list at all */
	const struct tcache_shape *shape;

	struct arena *arenas; /* [0] is the main arena */
	uint32_t narenas;
	bool uninitialised; /* malloc was never called */
	struct params mp;
	struct segment *segments; /* ascending once all are there */
	size_t nsegments, segments_room;
	struct mmapped *mmapped; /* ascending */
	size_t nmmapped, mmapped_room;
	uint64_t *tcaches; /* user addresses of the threads' caches */
	size_t ntcaches;
	uint64_t *suspects; /* blocks that may be a cache of a thread nobody knows; NULL: not wanted */
	size_t nsuspects, suspects_room;
	uint64_t budget; /* looks at what may be nothing; a damaged image must not take for ever */
};

/* glibc.c */
void glibc_release(struct glibc *g);

/* glibc_arena.c: 0, -ENOENT, -ENOMEM */
int glibc_find_arenas(struct glibc *g);
bool glibc_heap_of(struct glibc *g, uint64_t arena, uint64_t *ret_header);

/* glibc_params.c */
void glibc_find_params(struct glibc *g);

/* glibc_segment.c: 0 or -ENOMEM */
int glibc_find_segments(struct glibc *g);
struct segment *glibc_segment_of(const struct glibc *g, uint64_t addr); /* or NULL */
/* A header that can be a chunk's of the arena, its chunk inside [.., end). */
bool glibc_chunk_sane(uint32_t arena, uint64_t chunk, uint64_t word, uint64_t end);
/* Do chunks follow each other from here on, as far as one looks? */
bool glibc_in_step(struct glibc *g, uint32_t arena, uint64_t chunk, uint64_t end);
/* Whether a chunk of that segment was marked as free. */
static inline bool glibc_marked(const struct segment *s, uint64_t chunk)
{
	uint64_t at = chunk - s->first;
	const uint64_t *bits = s->marks ? s->marks[at >> MARKS_SHIFT] : NULL;

	return bits && bits[at / 16 / 64 % MARKS_WORDS] >> at / 16 % 64 & 1;
}
/* Marks a chunk as free; false: it is no place for a chunk, or was marked before. */
int glibc_mark_free(struct glibc *g, uint64_t chunk, bool *ret_new);
void glibc_forget_marks(struct segment *s);

/* glibc_fast.c, glibc_tcache.c: 0 or -ENOMEM */
int glibc_mark_fastbins(struct glibc *g);
void glibc_fastbins_vote(struct glibc *g, uint64_t votes[2]);
int glibc_find_tcaches(struct glibc *g);
int glibc_settle_suspects(struct glibc *g);
void glibc_mark_internal(struct glibc *g);
const struct tcache_shape *glibc_tcache_shape(uint64_t chunk_size);

/* Work that only damage makes long: false once there was too much of it. */
static inline bool glibc_spend(struct glibc *g)
{
	if (!g->budget)
		return false;
	g->budget--;
	return true;
}

static inline uint64_t glibc_reveal(bool mangled, uint64_t at, uint64_t value)
{
	return mangled ? value ^ at >> 12 : value;
}

/* glibc_mmapped.c, glibc_chunks.c: 0 or -ENOMEM */
int glibc_find_mmapped(struct glibc *g);
/* Where the segment or mapped chunk that addr is in ends; 0: it is in none.  Once all are found. */
uint64_t glibc_known_end(const struct glibc *g, uint64_t addr);
int glibc_walk_segments(struct glibc *g);

#endif
