/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator's heap found in an image: every block that is in use, what the
 * allocator keeps besides, and what it would say of itself (mallinfo2).
 *
 * No symbols are needed and no code runs in the target.  Several allocators may live
 * in one process: heap_walk() finds those it has a walker for (glibc, musl's
 * mallocng) and names the others it can see by their modules.
 */
#ifndef SEEP_HEAP_HEAP_H
#define SEEP_HEAP_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct seep_error;

/* block.flags */
#define BLOCK_IMPRECISE 0x1u  /* size is the usable size; what was asked for may be less */
#define BLOCK_MMAPPED 0x2u    /* a mapping of its own */
#define BLOCK_INTERNAL 0x4u   /* the C library's or the loader's own (tcache, DTV, ...) */
#define BLOCK_RECORDED 0x8u   /* a ledger knows it: size is exact, site is its stack */
#define BLOCK_INHERITED 0x10u /* born before the fork, in the parent */
#define BLOCK_IGNORED 0x20u   /* the program asked for it not to be reported */
#define BLOCK_CYCLE 0x40u     /* leader of a lost cycle */
#define BLOCK_CLASS_SHIFT 8   /* enum reach_class, 3 bits (analysis/reach.h) */
#define BLOCK_CLASS_MASK 0x700u

/* 16 bytes, however many millions of them there are. */
struct block {
	uint64_t address : 48, flags : 16;
	uint64_t size : 40, site : 24; /* site: index in the profile's sites; 0 unknown */
};
_Static_assert(sizeof(struct block) == 16, "layout");

/* Memory that belongs to an allocator: no root, whatever lies in it is blocks, free or the allocator's own. */
struct heap_range {
	uint64_t start, end; /* end exclusive */
};

/* What mallinfo2() would return, summed over all arenas the way glibc does. */
struct heap_mallinfo {
	uint64_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks,
		keepcost;
};

struct heap_arena {
	uint64_t address; /* of malloc_state; musl: of the context */
	bool main;
	uint64_t system_bytes, top, top_size;
	uint64_t used_blocks, used_bytes; /* chunk bytes, headers included */
	uint64_t bin_chunks, bin_bytes, fast_chunks, fast_bytes, tcache_chunks, tcache_bytes;
	uint32_t attached_threads;
	uint32_t heaps;
	uint64_t heap_bytes; /* glibc, not main: alignment and largest size of its heaps; 0 unknown */
};

/* What a free stretch is to its allocator. */
enum heap_free_kind {
	HEAP_FREE_BIN, /* glibc: in a bin; its first 48 bytes and the last 8 are the list's */
	HEAP_FREE_TOP, /* glibc: the end of an arena's newest heap; its first 16 bytes are a header */
	HEAP_FREE_FAST,   /* glibc: in a fastbin, its neighbours call it used */
	HEAP_FREE_TCACHE, /* glibc: in a thread's cache, likewise */
	HEAP_FREE_SLOT, /* musl: a slot of a group; the 4 bytes before it and the last 4 are headers */
	HEAP_FREE_NKINDS
};

struct heap_free {
	uint64_t address, size; /* glibc: of the chunk, header included; musl: of the slot */
	uint32_t arena;         /* index */
	enum heap_free_kind kind;
	uint64_t owner, owner_bits; /* musl: address of the slot's meta, and its last word */
};

/* Memory of an arena: a heap or what sbrk gave, a group of musl's, or a block that is a mapping of its own. */
struct heap_piece {
	uint64_t start, end;
	uint32_t arena;
	bool mapped; /* that block's; the arena says nothing */
};

/* glibc's mp_: what decides whether free memory is given back. */
struct heap_params {
	uint64_t address; /* 0: not found, and nothing else is known */
	uint64_t size;    /* bytes of it */
	uint64_t trim_threshold, mmap_threshold;
	uint64_t arena_test, arena_max;
	uint32_t no_dyn_threshold_at; /* offset of that int in mp_ */
	bool no_dyn_threshold;        /* the thresholds do not rise by themselves */
	uint32_t tcache_count_at;     /* offset of that word; 0: this glibc has no caches */
	uint32_t tcache_count_most;   /* what it may be */
};

struct heap {
	char allocator[32];   /* "glibc", "musl mallocng"; "" when none was found */
	char layout[64];      /* which layout was seen, for people: "glibc 2.27-2.42" */
	struct block *blocks; /* in use, ascending by address */
	size_t nblocks;
	struct heap_range *ranges; /* ascending, not overlapping */
	size_t nranges;
	struct heap_arena *arenas;
	size_t narenas;
	struct heap_free *free; /* ascending, not overlapping; only where asked for */
	size_t nfree;
	struct heap_piece *pieces; /* ascending; only where asked for */
	size_t npieces;
	struct heap_params params; /* glibc's */
	uint32_t bins_at;          /* glibc: offset of the bins in malloc_state; 0: not glibc */
	struct heap_mallinfo info;
	uint64_t resyncs;       /* places where the chain of chunks was broken and found again */
	uint64_t skipped_bytes; /* heap that could not be read or made no sense */
	uint64_t tcaches;       /* per-thread caches found */
	char **notes;           /* what is missing or uncertain, a sentence each */
	size_t nnotes;
};

struct image_module;
/* Did Go's linker make the module?  Then Go's heap is in the process, which is not walked. */
bool heap_module_is_go(const struct image *img, const struct image_module *mod);

/*
 * Never fails for want of an allocator: then heap.allocator is "" and a note says what was seen
 * instead ("libjemalloc.so.2: no walker; blocks are known only with a ledger").
 */
struct seep_error *heap_walk(const struct image *img, struct heap **ret_heap);
bool heap_note_no_walker(const char *note); /* a note of that kind */

struct heap_options {
	bool params_only; /* the allocator, glibc's params and how many arenas: nothing is walked */
	bool free_chunks; /* fill in free and pieces: 24 bytes more for each free chunk */
};

struct seep_error *heap_walk_with(const struct image *img, const struct heap_options *opts,
                                  struct heap **ret_heap);
void heap_free(struct heap *h);

static inline void heap_freep(struct heap **h)
{
	heap_free(*h);
}
#define _cleanup_heap_ __attribute__((cleanup(heap_freep)))

#endif
