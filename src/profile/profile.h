/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile: the in-memory model every analysis and every format works on.
 *
 * A profile is built by a reader (ledger, snapshot, later the other formats),
 * read by everyone else and freed by its owner.  It owns all its strings.
 *
 *   modules   what was mapped; a frame belongs to one or to none
 *   frames    a trie: frame 0 is the root (no code); every other has a parent,
 *             which is its caller.  A stack is a frame id, leaf first by
 *             following parents.
 *   sites     (stack, kind) with its values
 *   cells     (site, thread) in use: what the by-thread report is made of
 *   blocks    every live record, where the source knows them (may be empty)
 *
 * Units: bytes and blocks.  Values of sampled profiles are unbiased estimates
 * rounded to integers; var_* is the estimated variance of the value (0 when
 * exact), so the standard error is its square root and estimate.h makes the
 * interval; max_weight is the most blocks that one record behind it stands for, or
 * an upper bound of that (0 when it is not known).  Times: ns since the Unix epoch, or ns since profile.start for `born`.
 */
#ifndef SEEP_PROFILE_PROFILE_H
#define SEEP_PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROF_LIFE_BUCKETS 24  /* as wire/ledger.h: ledger_life_bucket() */
#define PROF_SIZE_CLASSES 128 /* as wire/ledger.h: ledger_size_class() */
#define PROF_NLOSSES 32       /* as wire/ledger.h: enum ledger_loss */

enum prof_kind { PROF_HEAP = 0, PROF_MMAP = 1, PROF_STACK = 2, PROF_NKINDS = 3 };

struct prof_value {
	uint64_t blocks, bytes;
	double var_blocks, var_bytes;
	double max_weight;
};

/* Sums saturate: a hostile file must not make a total wrap around. */
static inline uint64_t prof_add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static inline void prof_value_add(struct prof_value *to, const struct prof_value *v)
{
	to->blocks = prof_add(to->blocks, v->blocks);
	to->bytes = prof_add(to->bytes, v->bytes);
	to->var_blocks += v->var_blocks;
	to->var_bytes += v->var_bytes;
	if (v->max_weight > to->max_weight)
		to->max_weight = v->max_weight;
}

struct prof_module {
	char *path; /* as the target saw it; "" unknown */
	uint64_t start, end, bias;
	uint8_t build_id[20];
	uint8_t build_id_len;
	uint32_t load_seq, unload_seq;
	uint64_t dev, inode, mtime_ns; /* of the file at recording; 0 unknown */
};

/* One line of source at a frame; a frame has several when functions were inlined, innermost first. */
struct prof_line {
	char *function; /* demangled; NULL unknown */
	char *file;     /* NULL unknown */
	uint32_t line;  /* 0 unknown */
	bool inlined;   /* inlined into the next entry */
	char *linkage;  /* mangled; NULL: the same as function, or unknown (snapshots lack it) */
};

#define PROF_NO_MODULE UINT32_MAX

struct prof_frame {
	uint64_t pc;     /* address to symbolize: inside the call instruction */
	uint32_t parent; /* caller; 0: root */
	uint32_t module; /* index, or PROF_NO_MODULE */
	uint32_t symbol; /* index in symbols once symbolized, 0 before (symbols[0] is "unknown") */
};

/* What (module, pc) means; shared by all frames with that pc. */
struct prof_symbol {
	struct prof_line *lines; /* at least one entry, [0] innermost */
	uint32_t nlines;
};

struct prof_site {
	uint32_t stack;  /* leaf frame; 0: unknown stack */
	uint8_t kind;    /* enum prof_kind */
	bool cut_depth;  /* deeper than the tracker's limit */
	bool cut_no_cfi; /* outermost frames missing */
	uint64_t born;   /* ns since start, first seen */
	struct prof_value alloc, freed, inuse, peak;
	uint64_t samples;       /* records behind alloc; equals alloc.blocks when exact */
	uint64_t inuse_samples; /* records behind inuse */
	uint64_t oldest;        /* born of the oldest live block, UINT64_MAX none */
};

struct prof_cell {
	uint32_t site, thread;
	struct prof_value inuse;
};

struct prof_thread {
	int32_t tid;
	char *name;
	uint64_t born, died; /* ns since start; died 0: alive */
};

struct prof_block {
	uint64_t address, size;
	uint64_t born; /* ns since start */
	double weight; /* how many blocks it stands for */
	uint32_t site, thread;
};

struct prof_class {
	struct prof_value alloc, freed; /* no variance */
};

struct prof_point {
	uint64_t time; /* ns since start */
	uint64_t inuse, alloc_bytes, alloc_blocks;
};

/* Resident memory at one moment, as the kernel counts it (VmRSS), read from outside. */
struct prof_rss {
	uint64_t time; /* ns since start */
	uint64_t bytes;
};

/* Something worth a mark on the time axis.  The words are for people; the kind is for programs. */
enum prof_event_kind {
	PROF_EVENT_SNAPSHOT = 0, /* text: why it was taken: "every 60s", "new high", "SIGUSR2" */
	PROF_EVENT_FORK = 1,
	PROF_EVENT_EXEC = 2,
	PROF_EVENT_LOAD = 3, /* text: the module's path */
	PROF_EVENT_UNLOAD = 4,
	PROF_EVENT_CONTROL = 5, /* tracking switched, or its period changed; text: to what */
	PROF_EVENT_KILLED = 6,  /* text: by whom, as far as is known */
	PROF_EVENT_NKINDS
};

struct prof_event {
	uint64_t time; /* ns since start */
	uint8_t kind;  /* enum prof_event_kind */
	char *text;    /* NULL: none */
};

/* What an exact or sampled source says of itself; printed by every report. */
struct prof_losses {
	uint64_t count[PROF_NLOSSES]; /* enum ledger_loss */
	uint64_t torn;                /* records the reader had to skip */
};

struct profile {
	char *source; /* path it was read from */
	char *format; /* "seep ledger", "seep snapshot", ... */
	char *exe, *command, *allocator;
	int32_t pid, ppid;
	uint32_t exec_seq;
	uint32_t nmerged; /* processes summed up here; 0: just this one */
	bool sampled;
	uint64_t period;                 /* bytes, in force at the end; 0: every block */
	bool bypassed, forked, attached; /* ledger flags of those names */
	uint64_t before_blocks,
		before_bytes;   /* attached: in use just before, not in here; 0, 0: not known */
	bool live;              /* the process was still running when this was read */
	bool killed;            /* ended without its destructors (SIGKILL, OOM, _exit, crash) */
	bool execed;            /* the process went on as another program */
	bool detached;          /* the tracker was sent away, and the process went on */
	uint64_t start_real_ns; /* Unix epoch */
	uint64_t duration_ns;   /* tracked so far */
	uint64_t tracker_ledger_bytes, tracker_private_bytes; /* the tracker's own memory */
	uint64_t unwinds_fast, unwinds_slow;
	struct prof_losses losses;

	uint64_t peak_bytes, peak_time; /* highest total; time in ns since start */
	uint64_t peak_copy_bytes;       /* total of sites' peak values */

	struct prof_module *modules;
	struct prof_frame *frames;   /* [0] root */
	struct prof_symbol *symbols; /* [0] unknown */
	struct prof_site *sites;     /* [0] may be the "stack unknown" site */
	/*
	 * Freed blocks by how long they had lived: of each bucket a number for each site, NULL where that is 0 at all of them.
	 * Most formats know none, and a program frees within a few buckets: as a part of each site they were half of a profile.
	 */
	uint64_t *lifetimes[PROF_LIFE_BUCKETS];
	struct prof_cell *cells;
	struct prof_thread *threads; /* [0]: unknown/other */
	struct prof_block *blocks;
	struct prof_point *points;
	struct prof_rss *rss;      /* ascending by time */
	struct prof_event *events; /* ascending by time */
	size_t nmodules, nframes, nsymbols, nsites, ncells, nthreads, nblocks, npoints, nrss,
		nevents;
	struct prof_class classes[PROF_SIZE_CLASSES];
};

static inline uint64_t profile_lifetime(const struct profile *p, size_t site, unsigned int bucket)
{
	return p->lifetimes[bucket] ? p->lifetimes[bucket][site] : 0;
}

struct seep_error;

/* One more; its place is by time, after those of the same.  text is copied.  False: out of memory. */
bool profile_add_event(struct profile *p, uint64_t time, enum prof_event_kind kind,
                       const char *text);
bool profile_add_rss(struct profile *p, uint64_t time, uint64_t bytes);

struct profile *profile_new(void); /* NULL: out of memory; has the root frame and the unknown symbol */
void profile_free(struct profile *p);

static inline void profile_freep(struct profile **p)
{
	profile_free(*p);
}
#define _cleanup_profile_ __attribute__((cleanup(profile_freep)))

/*
 * Checks every index in p (hand-made and file-made profiles alike): parents come before
 * their children (parent < index), sites name existing frames, and so on.
 */
struct seep_error *profile_check(const struct profile *p);

/*
 * Sets of kinds.  What a report calls memory is heap and mappings: the stack of a thread is
 * address space reserved for it, of which it may touch a page or two.
 */
#define PROF_KIND_BIT(kind) (1u << (kind))
#define PROF_MEMORY (PROF_KIND_BIT(PROF_HEAP) | PROF_KIND_BIT(PROF_MMAP))
#define PROF_ALL_KINDS (PROF_KIND_BIT(PROF_NKINDS) - 1)

struct prof_totals {
	struct prof_value alloc, freed, inuse, peak;
};
/* Sum over all sites of these kinds (a set of PROF_KIND_BIT). */
struct prof_totals profile_totals_of(const struct profile *p, unsigned int kinds);
/* "running", "exited", "killed", "execed" or "detached" */
const char *profile_state(const struct profile *p);
/* What to head a report or a picture with: the command, else the program, else where it was read from. */
const char *profile_title(const struct profile *p);
/* Of one kind, or of all kinds with kind < 0. */
struct prof_totals profile_totals(const struct profile *p, int kind);

/* The stacks of threads, in numbers. */
struct prof_stacks {
	uint64_t created, live, reserved; /* stacks, stacks, bytes of the live ones */
	uint64_t unjoined; /* live ones whose thread has ended; 0 when that cannot be told */
};
struct prof_stacks profile_stacks(const struct profile *p);

/* Copies a symbol's lines into a place its profile owns already: what was copied before memory ran out (-1) is freed with it. */
int prof_symbol_copy(struct prof_symbol *to, const struct prof_symbol *from);

/*
 * Gives the frames of `to` that have no symbol those that `from` has for the same code: the same address in the same file.
 * A frame that `from` could not name either stays without.
 */
struct seep_error *profile_take_names(struct profile *to, const struct profile *from);

/*
 * A new profile that holds all of `in` (children of one run, several processes):
 * modules are matched by build-id and path, frames by (module, file address,
 * parent), sites by stack and kind; values and variances add up; threads stay apart.
 * in[] stays the caller's.
 *
 * Timelines are added as step functions on a common clock: a point is the sum of what
 * lived at that moment.  A process that has ended holds nothing from then on, so the last
 * point may be far below the sum of what each process held at its own end, which is what
 * the sites' in-use values add up to.  Those that end last count until the end.  Resident memory
 * is added in the same way, of the processes whose is known; shared pages count in each.  Events stay as they are.  The peaks of several processes need not
 * fall together: peak_bytes, peak_copy_bytes and the sites' peak values are sums of each
 * process's own and thus only an upper bound of what was in use at any one moment.
 */
struct seep_error *profile_merge(struct profile *const *in, size_t n, struct profile **ret_merged);

#endif
