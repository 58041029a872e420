/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reachability: which blocks can the program still get at?
 *
 * The definitions (block, edge, heuristics, roots, classes, cycles) are those of
 * docs/LEAKS.md.  Results do not depend on the order of the input or on the
 * number of threads.
 *
 * Memory: 16 bytes a block (the caller's array) and about a bit for each 16 bytes
 * of address space between the first and the last block of a heap range; the lost blocks
 * alone are looked at as a graph.
 */
#ifndef SEEP_ANALYSIS_REACH_H
#define SEEP_ANALYSIS_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/heap.h"

struct image;
struct seep_error;

enum reach_class {
	REACH_REACHABLE =
		0, /* by a chain of pointers to starts, or interior ones a heuristic explains */
	REACH_POSSIBLE = 1,   /* every chain has another interior pointer */
	REACH_INDIRECT = 2,   /* held only by lost blocks */
	REACH_DEFINITE = 3,   /* held by nothing; of a lost cycle: its leader */
	REACH_SUPPRESSED = 4, /* lost, but suppressed or ignored, or held by such a block */
	REACH_NCLASSES
};

static inline enum reach_class block_class(const struct block *b)
{
	return (enum reach_class)((b->flags & BLOCK_CLASS_MASK) >> BLOCK_CLASS_SHIFT);
}

/* Heuristics: a set of bits. */
#define REACH_STDSTRING 0x1u
#define REACH_LENGTH64 0x2u
#define REACH_NEWARRAY 0x4u
#define REACH_MULTIPLE_INHERITANCE 0x8u
#define REACH_ALL_HEURISTICS 0xfu

/* Kinds of roots; also a set of bits (1u << kind). */
enum root_kind {
	ROOT_DATA, /* writable data of a module */
	ROOT_REGISTER,
	ROOT_STACK,       /* of a live thread, from its sp (less the red zone) on */
	ROOT_TLS,         /* static TLS, thread control block, pthread keys */
	ROOT_DYNAMIC_TLS, /* blocks the dynamic thread vector holds */
	ROOT_MAPPING,     /* anonymous writable memory that no allocator owns */
	ROOT_REGION,      /* registered by the program */
	ROOT_IGNORED,     /* blocks the program asked to ignore */
	ROOT_NKINDS
};
#define ROOT_BIT(kind) (1u << (kind))
#define ROOT_ALL (ROOT_BIT(ROOT_NKINDS) - 1)

/* A piece of memory, or a few words held elsewhere (registers), where pointers may be. */
struct root {
	enum root_kind kind;
	uint64_t start, end;   /* in the image; start == end: words */
	const uint64_t *words; /* borrowed from the image */
	size_t nwords;
	const char *name; /* module path, mapping name; borrowed; "" none */
	int32_t tid;      /* thread; 0 none */
};

struct reach_options {
	unsigned int roots;      /* set of ROOT_BIT; 0: all */
	unsigned int heuristics; /* set of REACH_*; REACH_ALL_HEURISTICS is the default of the command */
	bool interior_reachable; /* LeakSanitizer's rule: an interior pointer counts as one to the start */
	bool unaligned;          /* look at every byte offset, not only at words */
	uint64_t pointer_mask; /* applied to a word before it is looked at (top-byte tags, low bits); 0: none */
	unsigned int threads; /* 0: as many as there are processors */
	size_t chase_after; /* reads of single blocks after which pointers are tabled; 0: as it is worth */
	/*
	 * Asked about every block that is lost or possibly lost, from one thread, in ascending
	 * order: true puts it (and what it alone holds) among the suppressed.  NULL: none.
	 */
	bool (*suppressed)(void *arg, const struct block *b, enum reach_class would_be);
	void *suppressed_arg;
};

/* A block that fixing alone would bring back `indirect` more. */
struct reach_leader {
	uint32_t block;                           /* index */
	uint64_t indirect_blocks, indirect_bytes; /* dominated by it; without its own */
	bool cycle;
};

struct reach_total {
	uint64_t blocks, bytes;
};

struct reach {
	struct reach_total total[REACH_NCLASSES]; /* every block is in one of them */
	struct reach_total by_heuristic[4]; /* reachable thanks to it alone, in the order of the bits */
	/*
	 * Where three in four pointers to possible blocks go, in bytes from their start: what a program that puts a header of
	 * its own in front of each block leaves of its pointers.  0: no such place, or too few blocks to say so.
	 */
	uint32_t header;
	struct reach_leader *leaders; /* definite blocks, ascending by index */
	size_t nleaders;
	uint64_t root_bytes[ROOT_NKINDS];
	uint64_t scanned_bytes;    /* of blocks */
	uint64_t unreadable_bytes; /* roots and blocks that could not be read */
	uint64_t swapped_bytes;    /* pages that had to come from swap */
	uint64_t memory_bytes;     /* used by the checker, at its highest */
	uint64_t ns_roots, ns_mark, ns_lost;
};

/*
 * blocks[]: ascending, not overlapping; their class bits and BLOCK_CYCLE are set.  Blocks with
 * BLOCK_INTERNAL are roots.  So are those with BLOCK_IGNORED (unless ROOT_IGNORED is left out): lost ones
 * and what they alone hold are REACH_SUPPRESSED.  A block of size 0 is one byte long where pointers
 * are concerned and counts 0 bytes.  Bits 11 to 15 of the flags are scratch: 0 before and after.
 */
struct seep_error *reach_run(const struct image *img, struct block *blocks, size_t nblocks,
                             const struct root *roots, size_t nroots,
                             const struct reach_options *opts, struct reach **ret_reach);
void reach_free(struct reach *r);

static inline void reach_freep(struct reach **r)
{
	reach_free(*r);
}
#define _cleanup_reach_ __attribute__((cleanup(reach_freep)))

/* ---- why is it live? ------------------------------------------------------------ */

struct reach_step {
	uint64_t from;          /* address of the word that points on (0: a register) */
	uint64_t to;            /* its value */
	uint32_t block;         /* that it leads to */
	bool interior;          /* not to its start */
	unsigned int heuristic; /* REACH_* that explains it; 0 none */
};

struct reach_path {
	const struct root *root;  /* where it begins; borrowed from roots[] */
	struct reach_step *steps; /* from the root to the block asked for; a shortest chain */
	size_t nsteps;            /* 0: nothing leads to it */
	bool internal; /* root NULL: it begins at a block of the C library's own, steps[0] (from and to are 0) */
};

/*
 * A shortest chain from a root to the block that holds addr, by start and benign pointers if
 * there is one.  Of a lost block (root NULL) it begins at a lost block that holds it, its leader when blocks
 * carry the classes reach_run() gave them: steps[0] is that block (from and to are 0), the next ones
 * lead on.  nsteps 0: nothing points to it.
 */
struct seep_error *reach_why(const struct image *img, const struct block *blocks, size_t nblocks,
                             const struct root *roots, size_t nroots,
                             const struct reach_options *opts, uint64_t addr,
                             struct reach_path *ret_path);
void reach_path_release(struct reach_path *p);

/* ---- why is it not? ------------------------------------------------------------- */

enum reach_how {
	REACH_HIT_UNALIGNED, /* a pointer at an address that is no multiple of 8 */
	REACH_HIT_TOP_BITS,  /* the upper 16 bits are a tag */
	REACH_HIT_LOW_BITS,  /* the lower 3 bits are a tag: it points to the start without them */
	REACH_HIT_PACKED,    /* the address is in the upper 48 bits */
	REACH_HIT_END,       /* it points just past the end */
};

/* A word that would lead to a block if pointers were read in another way. */
struct reach_hit {
	enum reach_how how;
	const struct root *root; /* where it is; NULL: in a block */
	uint32_t block;          /* then this one */
	uint64_t from;           /* its address (0: a register) */
	uint64_t word;
};

/* Up to max words, anywhere in roots and blocks, that would reach the block that holds addr; in order of address, roots first. */
struct seep_error *reach_explain(const struct image *img, const struct block *blocks, size_t nblocks,
                                 const struct root *roots, size_t nroots, uint64_t addr,
                                 struct reach_hit *ret_hits, size_t max, size_t *ret_n);

/* The block that holds addr, or -1. */
int64_t block_find(const struct block *blocks, size_t nblocks, uint64_t addr);

#endif
