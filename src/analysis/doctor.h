/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor: where all the resident memory of a process is, why it is there, and what to do.
 *
 *   split      every resident byte in exactly one class (doctor_split.c)
 *   facts      what else was counted: swap, page tables, thresholds, the cgroup's limit
 *   verdicts   causes of what is resident, or of how it grew between two looks, with evidence and remedies
 *              (doctor_rules.c: one table); most important first
 *   pins       the live blocks that keep free memory from being returned (doctor_pins.c)
 *   parts      who holds what is in use: arenas, threads, modules (doctor_parts.c)
 *
 * All of it works without symbols and without a ledger, which adds stacks.  What could not be looked at is named in
 * the notes; its figures are DOCTOR_UNKNOWN, never 0.  docs/DOCTOR.md has the method and the thresholds,
 * docs/DOCTOR-JSON.md what output/doctor_report.h makes of this and doctor_read() reads back.
 */
#ifndef SEEP_ANALYSIS_DOCTOR_H
#define SEEP_ANALYSIS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct profile;
struct seep_error;

#define DOCTOR_UNKNOWN_FACT UINT64_MAX

/*
 * Classes of resident bytes: key in JSON, words for people, where the number comes from.
 * They are disjoint and sum up to the facts' `rss`.
 */
#define DOCTOR_CLASSES(X)                                                                           \
	X(REACHABLE, "reachable", "in use, reachable", "heap walk, marking, pagemap")               \
	X(LEAKED, "leaked", "in use, leaked", "heap walk, marking, pagemap")                        \
	X(MAPPED_REACHABLE, "mapped_reachable", "in use, large, reachable",                         \
	  "heap walk (blocks that are mappings), marking, pagemap")                                 \
	X(MAPPED_LEAKED, "mapped_leaked", "in use, large, leaked",                                  \
	  "heap walk (blocks that are mappings), marking, pagemap")                                 \
	X(BINS, "free_bins", "free, could be returned", "heap walk, pagemap")                       \
	X(TOP_MAIN, "free_top", "free, end of the heap", "heap walk, pagemap")                      \
	X(TOP_THREADS, "free_thread_tops", "free, ends of threads' arenas", "heap walk, pagemap")   \
	X(PINNED, "pinned", "free, pinned by blocks in use", "heap walk, pagemap")                  \
	X(CACHED, "cached", "free, in tcaches and fastbins", "heap walk, pagemap")                  \
	X(OVERHEAD, "allocator", "allocator's own", "heap walk, pagemap")                           \
	X(OTHER_LIVE, "other_live", "in use in other allocators", "allocator's statistics")         \
	X(OTHER_INTERNAL, "other_internal", "other allocators' rounding", "allocator's statistics") \
	X(OTHER_FREE, "other_free", "free in other allocators", "allocator's statistics")           \
	X(OTHER_CACHED, "other_cached", "other allocators' caches", "allocator's statistics")       \
	X(OTHER_METADATA, "other_metadata", "other allocators' own", "allocator's statistics")      \
	X(STACKS, "stacks", "thread stacks", "registers, maps, pagemap")                            \
	X(STACKS_ENDED, "stacks_ended", "stacks of ended threads", "control blocks, maps, pagemap") \
	X(DATA, "data", "modules' data", "maps, pagemap")                                           \
	X(ANONYMOUS, "anonymous", "other anonymous", "maps, pagemap")                               \
	X(FILE, "file", "files", "smaps")                                                           \
	X(SHMEM, "shmem", "shared memory", "smaps")                                                 \
	X(SEEP, "seep", "seep's own", "ledger, smaps")                                              \
	X(UNCLASSIFIED, "unclassified", "not classified", "what is left")

enum doctor_class {
#define X(id, key, label, source) DOCTOR_##id,
	DOCTOR_CLASSES(X)
#undef X
		DOCTOR_NCLASSES
};

struct doctor_class_info {
	const char *key, *label, *source;
};
extern const struct doctor_class_info doctor_classes[DOCTOR_NCLASSES];

/*
 * Numbers beside the classes: key in JSON, whether bytes.  Unknown: DOCTOR_UNKNOWN_FACT.
 */
#define DOCTOR_FACTS(X)                                                                         \
	X(RSS, "rss", 1)                 /* the sum of the classes */                           \
	X(RSS_KERNEL, "rss_kernel", 1)   /* VmRSS when the process was stopped */               \
	X(RSS_PEAK, "rss_peak", 1)       /* VmHWM */                                            \
	X(PSS, "pss", 1)                 /* shared pages divided by who shares them */          \
	X(USS, "uss", 1)                 /* pages nobody else has */                            \
	X(VIRTUAL, "virtual", 1)         /* VmSize */                                           \
	X(SWAP, "swap", 1)               /* VmSwap */                                           \
	X(SWAP_FREE, "swap_free", 1)     /* of that: free memory of the heap */                 \
	X(PAGE_TABLES, "page_tables", 1) /* VmPTE; not in rss */                                \
	X(HUGETLB, "hugetlb", 1)         /* not in rss */                                       \
	X(LAZY_FREE, "lazy_free", 1)     /* MADV_FREE'd, in rss until somebody needs it */      \
	X(ANON_HUGE, "anon_huge", 1)     /* in transparent huge pages */                        \
	X(HUGE_WASTE, "huge_waste", 1)   /* of that: free memory of the heap */                 \
	X(HUGE_ZEROS, "huge_zeros", 1)   /* of that: pages of zeros outside of heaps */         \
	X(ANON, "anon", 1)               /* all anonymous resident bytes */                     \
	X(CGROUP_LIMIT, "cgroup_limit", 1)                                                      \
	X(CGROUP_USED, "cgroup_used", 1)                                                        \
	X(AVAILABLE, "available", 1) /* of the machine: MemAvailable */                         \
	X(THREADS, "threads", 0)                                                                \
	X(STACKS_LIVE, "stacks_live", 0)                                                        \
	X(STACKS_DEAD, "stacks_dead", 0) /* of ended threads: unjoined, or kept for reuse */    \
	X(STACKS_UNJOINED, "stacks_unjoined", 0)                                                \
	X(BLOCKS, "blocks", 0) /* in use */                                                     \
	X(IN_USE, "in_use", 1) /* their bytes, resident or not */                               \
	X(LEAKED_BLOCKS, "leaked_blocks", 0)                                                    \
	X(LEAKED_BYTES, "leaked_bytes", 1)      /* resident or not */                           \
	X(POSSIBLE_BYTES, "possibly_leaked", 1) /* counted as reachable above */                \
	X(HEAP_RESIDENT, "heap_resident", 1)    /* H: of arenas, without mapped blocks */       \
	X(HEAP_BYTES, "heap_bytes", 1)          /* the same, resident or not */                 \
	X(FREE_LISTED, "free_listed", 1)        /* free chunks and tops, resident or not */     \
	X(FREE_LARGE, "free_large", 1) /* of free_bins: what were blocks of 128 KiB and more */ \
	X(FREE_LARGEST, "free_largest", 1) /* of free_bins: the largest stretch */              \
	X(DETACHED_FREE, "detached_arenas_free",                                                \
	  1) /* free bins and tops of those without threads */                                  \
	X(DETACHED_TOPS, "detached_arenas_tops", 1)                                             \
	X(ARENAS, "arenas", 0)                                                                  \
	X(ARENAS_DETACHED, "arenas_detached", 0) /* no thread uses them */                      \
	X(ARENAS_RESIDENT, "thread_arenas_resident", 1)                                         \
	X(ARENAS_LIVE, "thread_arenas_live", 1)                                                 \
	X(ARENAS_FREE, "thread_arenas_free", 1) /* free bins and tops of thread arenas */       \
	X(TCACHE, "tcache", 1)                                                                  \
	X(FASTBINS, "fastbins", 1)                                                              \
	X(TRIM_THRESHOLD, "trim_threshold", 1)                                                  \
	X(MMAP_THRESHOLD, "mmap_threshold", 1)                                                  \
	X(MAPPED_BLOCKS, "mapped_blocks", 0)                                                    \
	X(ANON_MAPS, "anonymous_mappings", 0)                                                   \
	X(ANON_MAPS_BYTES, "anonymous_mappings_bytes", 1)                                       \
	X(JIT, "jit", 1)                       /* resident in executable anonymous mappings */  \
	X(OTHER_RESIDENT, "other_resident", 1) /* of other allocators, as they say */           \
	X(JEMALLOC_DIRTY, "jemalloc_dirty", 1)                                                  \
	X(JEMALLOC_INTERNAL, "jemalloc_internal", 1)                                            \
	X(JEMALLOC_ACTIVE, "jemalloc_active", 1)                                                \
	X(JEMALLOC_RESIDENT, "jemalloc_resident", 1)                                            \
	X(TCMALLOC_FREE, "tcmalloc_pageheap_free", 1)                                           \
	X(TCMALLOC_CACHES, "tcmalloc_caches", 1)                                                \
	X(TCMALLOC_HEAP, "tcmalloc_heap", 1)                                                    \
	X(MIMALLOC_RESIDENT, "mimalloc_resident", 1)                                            \
	X(MIMALLOC_LIVE, "mimalloc_live", 1)                                                    \
	X(STOPPED, "stopped_ns", 0)

enum doctor_fact {
#define X(id, key, bytes) FACT_##id,
	DOCTOR_FACTS(X)
#undef X
		DOCTOR_NFACTS
};

struct doctor_fact_info {
	const char *key;
	bool bytes;
};
extern const struct doctor_fact_info doctor_facts[DOCTOR_NFACTS];

/* How it was looked at. */
enum doctor_how {
	DOCTOR_STATUS, /* counters of the kernel only */
	DOCTOR_MAPS,   /* and its account of each mapping */
	DOCTOR_STOPPED,
	DOCTOR_CLONE,
	DOCTOR_CORE,
	DOCTOR_NHOWS
};
extern const char *const doctor_hows[DOCTOR_NHOWS];

struct doctor_arena {
	uint64_t address;
	bool main;
	uint32_t attached, heaps;
	uint64_t bytes; /* address space */
	uint64_t resident, live, bins, top, pinned, cached, overhead;
};

/* What pins: groups of live blocks beside or inside free memory. */
struct doctor_pin {
	uint32_t site;          /* in the profile; 0: unknown */
	char *what;             /* a type, a text, a size; NULL with a site */
	uint64_t blocks, bytes; /* the blocks themselves */
	uint64_t holds;         /* free bytes they keep resident: on their own pages ... */
	uint64_t holds_back;    /* ... and in free stretches right below them */
	uint64_t address;       /* of one of them */
};

/* A leak's records, largest first. */
struct doctor_leak {
	uint32_t site;
	char *what;
	uint64_t blocks, bytes; /* with what they alone hold */
	uint64_t address;
};

/* Who holds what is in use. */
enum doctor_by { DOCTOR_BY_MODULE, DOCTOR_BY_THREAD, DOCTOR_BY_STACK, DOCTOR_NBYS };
struct doctor_part {
	enum doctor_by by;
	char *name;
	uint64_t bytes, blocks;
};

/* Mappings that are nobody's known: largest first. */
struct doctor_mapping {
	uint64_t start, end, resident;
	enum doctor_class class; /* ANONYMOUS, FILE, SHMEM */
	char *name;              /* "" none */
};

/* Another allocator and what it said of itself. */
struct doctor_allocator {
	char *name;
	uint64_t live, active, resident, metadata, mapped, retained, free, caches;
	char *note; /* why there are no figures; NULL */
};

struct doctor_remedy {
	char *text;    /* what it does */
	char *command; /* to be typed; NULL: nothing to type */
};

enum doctor_confidence { DOCTOR_LOW, DOCTOR_MEDIUM, DOCTOR_HIGH };
extern const char *const doctor_confidences[3];

#define DOCTOR_EVIDENCE 8
#define DOCTOR_REMEDIES 5

struct doctor_verdict {
	const char *cause; /* "thread-arena-tops"; stable, docs/DOCTOR.md lists them */
	char *title;       /* a sentence */
	bool problem;      /* false: good to know */
	uint64_t bytes;    /* of rss it explains */
	double share;      /* the same of rss */
	bool has_growth;
	int64_t growth;      /* bytes of the growth between two looks it explains */
	double growth_share; /* of all growth */
	enum doctor_confidence confidence;
	char *evidence[DOCTOR_EVIDENCE];
	struct doctor_remedy remedies[DOCTOR_REMEDIES];
	size_t nevidence, nremedies;
};

struct doctor {
	int32_t pid;
	char *exe, *command;
	enum doctor_how how;
	uint64_t real_ns;         /* of the look */
	char *allocator, *layout; /* "" none walked */
	char *runtime;            /* with a heap of its own: "Java" (doctor_runtime.h); "" none */
	char *cgroup;             /* path; "" none */
	bool ledger, sampled;
	uint64_t classes[DOCTOR_NCLASSES];
	uint64_t facts[DOCTOR_NFACTS];
	struct doctor_arena *arenas;
	struct doctor_pin *pins;
	struct doctor_leak *leaks;
	struct doctor_part *parts;
	struct doctor_mapping *mappings;
	struct doctor_allocator *allocators;
	size_t narenas, npins, nleaks, nparts, nmappings, nallocators;
	char **notes; /* what was not looked at, and why; a sentence each */
	size_t nnotes;
	struct profile *profile; /* symbolized; NULL without a ledger */
	bool torn;               /* the chain of blocks was broken: malloc at work, or damage */
	uint64_t ns_total;       /* it took */
	/* from doctor_judge() */
	struct doctor_verdict *verdicts;
	size_t nverdicts;
	int64_t growth;     /* of rss since `before`; 0 without one */
	uint64_t window_ns; /* between the two looks; 0: one look */
	uint64_t until_limit_ns; /* at that rate, until the limit (the cgroup's or the machine's); UINT64_MAX: never */
};

/* Of the other allocators the one that says it holds the most; NULL: none says. */
const struct doctor_allocator *doctor_largest_allocator(const struct doctor *d);

struct doctor_options {
	const char *ledger; /* path; NULL: none */
	const char *const *debug_dirs;
	bool no_symbols;
	bool no_leaks; /* leaves out the marking: all blocks count as reachable */
	bool no_clone; /* the process stands still all the while */
	bool no_ask;   /* other allocators are not asked (a call made in the process) */
	uint64_t max_stop_ns;
};

/*
 * Looks at a process.  What is refused is left out and noted; an error is a process that is not there,
 * or lack of memory.
 */
struct seep_error *doctor_process(int32_t pid, const struct doctor_options *opts,
                                  struct doctor **ret_doctor);
/* A core: residency is what was dumped; the kernel's counters are unknown. */
struct seep_error *doctor_core(const char *path, const char *exe, const struct doctor_options *opts,
                               struct doctor **ret_doctor);
void doctor_free(struct doctor *d);

static inline void doctor_freep(struct doctor **d)
{
	doctor_free(*d);
}
#define _cleanup_doctor_ __attribute__((cleanup(doctor_freep)))

/*
 * Applies the rules to d (replacing earlier verdicts); with `before`, an earlier look at the same process,
 * they also explain the growth since.
 */
struct seep_error *doctor_judge(struct doctor *d, const struct doctor *before);

/* A doctor as its JSON says it: classes, facts, arenas, parts, mappings; no profile.  text: len bytes. */
struct seep_error *doctor_read(const char *text, size_t len, struct doctor **ret_doctor);

void doctor_note(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool doctor_knows(const struct doctor *d, enum doctor_fact f)
{
	return d->facts[f] != DOCTOR_UNKNOWN_FACT;
}

/* The fact, or 0. */
static inline uint64_t doctor_fact(const struct doctor *d, enum doctor_fact f)
{
	return doctor_knows(d, f) ? d->facts[f] : 0;
}

#endif
