/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocators of a running process: which there are, what each says of itself, and asking each to give memory
 * back.
 *
 * glibc's and musl's malloc are only found here; heap_walk() (heap.h) reads them without running anything.
 * jemalloc, gperftools' tcmalloc, Google's tcmalloc and mimalloc keep their books in layouts that differ from build
 * to build, so they are asked: a thread of the process that stands at a safe point (proc/borrow.h) calls their own
 * exported functions and goes on with what it did.  All questions of one allocators_*() call are put in
 * one such visit (jemalloc's details need two).  The process is never stopped as a whole.
 *
 * Whatever comes back is the target's word: numbers may be nonsense, text may hold anything.
 */
#ifndef SEEP_HEAP_ALLOCATORS_H
#define SEEP_HEAP_ALLOCATORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct seep_error;

enum allocator_kind {
	ALLOCATOR_GLIBC,
	ALLOCATOR_MUSL,
	ALLOCATOR_JEMALLOC,
	ALLOCATOR_GPERFTOOLS, /* tcmalloc of gperftools: MallocExtension_* */
	ALLOCATOR_TCMALLOC,   /* Google's newer tcmalloc: MallocExtension_Internal_* */
	ALLOCATOR_MIMALLOC,
	ALLOCATOR_KINDS
};

#define ALLOCATOR_FUNCTIONS 16

struct allocator {
	enum allocator_kind kind;
	const char *name;    /* "glibc", "musl", "jemalloc", "gperftools", "tcmalloc", "mimalloc" */
	char *module;        /* path of the file it is in, as the target sees it */
	char prefix[32];     /* of its functions' names: "je_"; "" none */
	bool in_program;     /* linked into the executable */
	bool is_malloc;      /* its module defines malloc(): the program's own calls go to it */
	char version[32];    /* glibc, and where the file says so; else "" until it was asked */
	uint64_t start, end; /* of its module in memory */
	uint64_t functions[ALLOCATOR_FUNCTIONS]; /* private to allocators*.c; addresses, 0: has none */
};

struct allocators_private;

struct allocators {
	pid_t pid;
	struct allocator *items; /* those that serve malloc() first */
	size_t n;
	char **notes; /* what could not be looked at, a sentence each */
	size_t nnotes;
	struct allocators_private *private;
};

/*
 * Looks, without stopping or changing anything, at every module's exported functions in memory and at the symbol
 * table of the executable's file (/proc/PID/exe: namespaces and deleted files make no difference).  None found
 * is no error.  Errors: no such process, no permission.
 */
struct seep_error *allocators_find(pid_t pid, struct allocators **ret);
void allocators_free(struct allocators *as);

static inline void allocators_freep(struct allocators **as)
{
	allocators_free(*as);
}
#define _cleanup_allocators_ __attribute__((cleanup(allocators_freep)))

/* ---- asking ------------------------------------------------------------------------- */

#define ALLOCATOR_UNKNOWN UINT64_MAX

static inline bool allocator_known(uint64_t v)
{
	return v != ALLOCATOR_UNKNOWN;
}

/*
 * In bytes; ALLOCATOR_UNKNOWN where the allocator does not say.
 *
 * live      what the program holds, as the allocator counts it: size classes, and what lies in thread caches
 *           only where the allocator does not tell it apart (jemalloc: `allocated` includes thread caches, live
 *           does not)
 * active    pages with at least one live block (jemalloc, mimalloc)
 * dirty     free pages that are still resident and would be returned by a release: jemalloc pdirty (muzzy
 *           pages are given up with MADV_FREE already), tcmalloc the page heap's free bytes, mimalloc what is
 *           resident of free spans
 */
struct allocator_stats {
	uint64_t live, allocated, active, metadata, resident, mapped, retained;
	uint64_t dirty, muzzy;
	uint64_t pageheap_free, pageheap_unmapped;
	uint64_t thread_cache, central_cache, transfer_cache;
	uint64_t max_thread_cache; /* limit of all thread caches */
	uint64_t peak_resident, committed;
	uint64_t page_size, narenas, nthreads; /* counts, not bytes */
	char version[32];
};

struct allocator_arena {
	uint32_t index, nthreads;
	uint64_t live, active, dirty, muzzy, mapped, retained, resident, metadata, thread_cache;
	int64_t dirty_decay_ms, muzzy_decay_ms; /* -1: never */
};

struct allocator_bin {
	uint64_t size;              /* of a block */
	uint64_t blocks;            /* in use, thread caches included */
	uint64_t slabs, slab_bytes; /* runs of pages for them, and how large each is */
	uint64_t allocations, frees;
};

struct allocator_details {
	struct allocator_arena *arenas;
	size_t narenas;
	struct allocator_bin *bins; /* ascending by size; large ones have slabs == blocks */
	size_t nbins;
	/* What it says besides, by the allocator's own names: every property or option there is. */
	struct allocator_fact {
		char name[64];
		char text[64]; /* a number as it is, "true", "false", a word */
	} * facts;
	size_t nfacts;
};

/* What a visit cost the target. */
struct allocator_visit {
	pid_t tid;           /* the thread that made the calls */
	uint64_t stopped_ns; /* threads stood still, one at a time, in all */
	uint32_t tries;
};

/*
 * Asks items[i].  details, visit: NULL: not wanted.  Errors say why it cannot be asked (no thread at a safe
 * point, no permission, a seccomp filter, shadow stacks, SIGSTOP; of glibc and musl: to be walked) and leave the
 * target as it was.
 */
struct seep_error *allocator_ask(struct allocators *as, size_t i, struct allocator_stats *ret,
                                 struct allocator_details *details, struct allocator_visit *visit);
void allocator_details_release(struct allocator_details *d);

/*
 * What malloc_stats_print(), MallocExtension_GetStats() or mi_stats_print_out() write, appended to ret; nothing
 * goes to the target's own files.  opts: jemalloc's letters ("J": JSON), or NULL.  *ret_cut: it was longer than
 * there was room for (8 MiB).
 */
struct seep_error *allocator_text(struct allocators *as, size_t i, const char *opts,
                                  struct buf *ret, bool *ret_cut);

/* ---- acting ------------------------------------------------------------------------- */

/*
 * The allocator's own way to give back free pages: jemalloc arena.4096.purge (after thread caches of the borrowed thread
 * were flushed), MallocExtension_ReleaseFreeMemory, ReleaseMemoryToSystem(everything), mi_collect(true) and then, from
 * outside, what that leaves (mimalloc.h).
 * bytes: at most so many, where it can be limited (tcmallocs, mimalloc); UINT64_MAX: all.  *ret_bytes: what it said it
 * released, or ALLOCATOR_UNKNOWN; measure with /proc/PID/smaps_rollup.
 */
struct seep_error *allocator_release(struct allocators *as, size_t i, uint64_t bytes,
                                     uint64_t *ret_bytes, struct allocator_visit *visit);

enum allocator_option {
	ALLOCATOR_DIRTY_DECAY,         /* jemalloc: ms, -1 never; all arenas and those to come */
	ALLOCATOR_MUZZY_DECAY,         /* the same */
	ALLOCATOR_BACKGROUND_THREAD,   /* jemalloc: 0, 1 */
	ALLOCATOR_RELEASE_RATE,        /* gperftools: 0 to 10; tcmalloc: bytes a second */
	ALLOCATOR_AGGRESSIVE_DECOMMIT, /* gperftools: 0, 1 */
	ALLOCATOR_THREAD_CACHE,        /* both tcmallocs: bytes all thread caches may hold */
	ALLOCATOR_PURGE_DELAY,         /* mimalloc: ms, -1 never */
	ALLOCATOR_OPTIONS
};

struct allocator_value {
	bool known;             /* this allocator has it, and said what it is */
	double value;           /* jemalloc's decays: of arenas to come */
	double lowest, highest; /* over the arenas there are; else both are value */
};

/* "dirty-decay-ms", "background-thread", "release-rate", ...: as `seep tune` calls them. */
const char *allocator_option_name(enum allocator_option o);
/* false: there is no option of that name. */
bool allocator_option_find(const char *name, enum allocator_option *ret);
/* Whether allocators of this kind have it at all; whether this one does only asking shows. */
bool allocator_has_option(enum allocator_kind kind, enum allocator_option o);

/* All options in one visit, into ret[ALLOCATOR_OPTIONS]. */
struct seep_error *allocator_options_get(struct allocators *as, size_t i,
                                         struct allocator_value ret[ALLOCATOR_OPTIONS],
                                         struct allocator_visit *visit);
/*
 * Sets one; *ret_old (NULL: not wanted) and *ret_new are read in the same visit.  An error if it has no such option,
 * value out of range, or it refused.
 */
struct seep_error *allocator_option_set(struct allocators *as, size_t i, enum allocator_option o,
                                        double value, struct allocator_value *ret_old,
                                        struct allocator_value *ret_new,
                                        struct allocator_visit *visit);
/*
 * What to put into the environment so that the next start has it: appends "MALLOC_CONF=dirty_decay_ms:1000" and
 * the like; false: there is no such way.
 */
bool allocator_option_environment(const struct allocator *a, enum allocator_option o, double value,
                                  struct buf *ret);

#endif
