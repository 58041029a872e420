/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libseep.so from the inside: what its parts share.
 *
 * Rules for every line in src/track, because it runs in other people's programs:
 *
 *   1. Never abort, exit, hang or spin without a bound.
 *   2. Never allocate through the target: memory comes from mem_alloc() (mmap).
 *   3. Never touch errno: system calls are raw (sys.h), libc calls on event paths
 *      are those that cannot fail.
 *   4. Never call dl_iterate_phdr, dlsym or stdio on an event path.
 *   5. Whatever cannot be recorded is counted (loss()).
 *   6. Every read of the target's stack stays inside a mapping known to hold it.
 *
 * An event is one intercepted call.  Its path: hooks.c (fast checks, the real
 * call) → event.c (time, counters) → unwind.c (whose stack) → site.c (which
 * site) → live.c (the record).  While a thread is inside, thread.state says so, and
 * what the tracker or the real allocator call in turn passes through.
 */
#ifndef SEEP_TRACK_TRACK_H
#define SEEP_TRACK_TRACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "track/sys.h"
#include "wire/ledger.h"

/*
 * For programs over musl there is a build of its own (meson.build), made to be attached with: a library that comes
 * late finds its thread-local storage through the general model only, and large-file names are macros.
 */
#ifdef __GLIBC__
#define TLS_MODEL __attribute__((tls_model("initial-exec")))
#else
#define TLS_MODEL
#undef mmap64
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NOINLINE __attribute__((noinline))
#define COLD __attribute__((cold, noinline))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))

#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)

/* ---- locks ------------------------------------------------------------- */

/*
 * A lock whose wait is bounded: a holder that was stopped (ptrace, SIGSTOP, a lower
 * priority) must not hang the others.  lock_take() is false when it gave up.
 */
struct lock {
	uint32_t word;
};
bool lock_wait(struct lock *l);

/* A wait: zero at first.  False after a second: it is given up, and counted. */
struct wait {
	unsigned int rounds;
	uint64_t until_ns;
};
bool wait_on(struct wait *w);

ALWAYS_INLINE bool lock_try(struct lock *l)
{
	uint32_t zero = 0;

	return __atomic_compare_exchange_n(&l->word, &zero, 1, false, __ATOMIC_ACQUIRE,
	                                   __ATOMIC_RELAXED);
}

ALWAYS_INLINE bool lock_take(struct lock *l)
{
	return LIKELY(lock_try(l)) || lock_wait(l);
}

ALWAYS_INLINE void lock_give(struct lock *l)
{
	store_release(&l->word, 0u);
}

/* ---- threads ----------------------------------------------------------- */

/*
 * Where a thread is.  A page of zeros (T_COLD) is that of a thread not seen yet, or of a forked
 * child, wiped by the kernel.
 */
enum thread_state {
	T_COLD = 0,
	T_READY = 1,   /* in the target's own code: the next event may be recorded */
	T_REAL = 2,    /* in the real allocator: what it calls is its own business */
	T_TRACKER = 3, /* in the tracker: an event now comes from a signal handler, and is lost */
	T_DEAD = 4,    /* nothing will be recorded any more */
};
enum thread_mode { M_FULL = 0, M_SAMPLED = 1, M_OFF = 2 };

#define MAX_FRAMES LEDGER_MAX_DEPTH
#define COUNTDOWN_FULL (INT64_MIN / 2) /* never reaches zero: every event is recorded */
#define COUNTDOWN_OFF (INT64_MAX / 2)  /* inactive: never is */
#define READY_SHIFT 6                  /* counters become usable in chunks of 64 sites */

#define PREDICT_BITS 12

struct stack_range {
	uint64_t lo, hi; /* a mapping that holds stacks; hi exclusive */
	uint32_t epoch;  /* of g.unmap_epoch when looked up; only foreign ranges age */
};

struct thread {
	/* the hooks' line */
	int64_t countdown;            /* bytes until the next event of interest */
	uint32_t state;               /* enum thread_state */
	uint32_t mode;                /* enum thread_mode */
	uint32_t now;                 /* ticks, at the last look */
	uint32_t now_left, now_batch; /* events until the next look at the clock */
	uint32_t index;               /* in THREADS */
	uint32_t control_seen;        /* *control_word when the settings were made */
	uint64_t head; /* of a heap block recorded now: valid, period, thread, birth (wire/ledger.h) */
	struct ledger_counters *counters; /* this thread's shard */
	struct ledger_tail *tails;        /* and theirs */
	struct ledger_class *classes;
	int64_t inuse_delta; /* not yet added to g.inuse */
	/* the unwinder's line */
	uint64_t stack_lo, stack_hi; /* the stack in use now */
	uint64_t own_lo, own_hi;     /* the stack the thread was born with */
	uint64_t rng;                /* sampler */
	uint64_t unwinds_fast, unwinds_slow;
	uint32_t period_index;
	uint64_t period;
	int32_t shard; /* -1: shares the last one, with atomics */
	int32_t tid;
	uint32_t cut; /* LEDGER_SITE_CUT_* of the last slow unwind */
	uint32_t exit_rounds;
	int64_t watched;     /* countdown at the last look for profiles that are due */
	bool quiet;          /* in the midst of something: no such look now */
	bool inactive;       /* thread.prof.active */
	uint8_t *ready;      /* for each chunk of counters: has storage */
	struct thread *next; /* free or late ones */
	struct thread *all;  /* the next of all there ever were */
	struct stack_range foreign[64];
	/* which path came last time after the same path, from the same place: unwind.h */
	uint32_t last_path;
	uint32_t path_epoch;
	int32_t predict_credit; /* below 0: predictions fail too often to be tried */
	uint32_t predicted[1u << PREDICT_BITS];
	/* scratch of the unwinder */
	uint32_t nframes;
	uint64_t pcs[MAX_FRAMES];
	uint64_t word_addr[2 * MAX_FRAMES + 8];
	uint64_t word_value[2 * MAX_FRAMES + 8];
};

extern __thread struct thread *t_self TLS_MODEL __attribute__((visibility("hidden")));

/* The caller of a hook: where unwinding starts. */
struct origin {
	uint64_t pc, sp, fp; /* return address, sp just after the return, frame pointer register */
};

/*
 * In a hook function itself: its caller.  The frame pointer is saved at the frame
 * address, so the function that expands this is compiled with one.
 */
#define ORIGIN_HERE()                                                   \
	({                                                              \
		uint64_t *fa_ = __builtin_frame_address(0);             \
		(struct origin){ fa_[1], (uint64_t)(fa_ + 2), fa_[0] }; \
	})

/* ---- the tracker --------------------------------------------------------- */

struct tracker {
	bool ready;      /* ledger mapped, events are recorded */
	bool dead;       /* gave up for good: every hook passes through */
	bool multi;      /* there may be more than one thread */
	bool suspicious; /* an event was lost: records may be stale, look harder */
	bool careful;    /* multi or suspicious: no short cuts in the live table */
	uint8_t *ledger; /* the mapping */
	uint64_t ledger_size;
	struct ledger_header *hdr;
	struct ledger_module *modules;
	char *strings;
	struct ledger_thread *threads;
	struct ledger_node *nodes;
	struct ledger_site *sites;
	struct ledger_peak *peak;
	struct ledger_point *points;
	uint64_t *root;
	uint64_t *dirs;
	struct ledger_block *buckets;
	uint64_t max_nodes, max_sites, max_dirs, max_buckets, max_strings, max_modules;
	uint32_t nshards;
	bool exact;         /* every free of a block unknown to the ledger is a loss */
	uint64_t mono_base; /* hdr->start_mono_ns */
	int pid;
	char ledger_path[256];
	/* Written while running: away from what every event reads. */
	int64_t inuse
		__attribute__((aligned(128))); /* total in-use bytes, less the threads' deltas */
	uint64_t next_point_ns; /* when totals_tick() has more to do than to flush; 0: always */
	uint64_t point_due_ns;  /* when the next point of the timeline is due */
	bool watch;             /* a profile may be due (dropin.h) */
	uint64_t private_bytes;
	uint64_t foreign_lo, foreign_hi; /* bounds of all foreign stacks ever seen */
	uint32_t unmap_epoch;
	bool main_entered; /* minimal=1: recording began */
	uint8_t pad[128];
};

extern struct tracker g __attribute__((visibility("hidden")));

/* The ledger's control.generation; as long as there is none, a word that never changes. */
extern const uint32_t *control_word __attribute__((visibility("hidden")));
extern const uint32_t control_none __attribute__((visibility("hidden")));

/* Somebody changed what is to be recorded since this thread looked. */
ALWAYS_INLINE bool settings_stale(const struct thread *t)
{
	return UNLIKELY(load_relaxed(control_word) != t->control_seen);
}

ALWAYS_INLINE void loss(enum ledger_loss what)
{
	if (g.hdr)
		__atomic_fetch_add(&g.hdr->losses[what], 1, __ATOMIC_RELAXED);
}

/* ---- memory.c: private memory, never given back -------------------------- */

void *mem_alloc(size_t size);   /* zeroed, 16-aligned; NULL when the system has none */
void *mem_map(size_t size);     /* whole pages, zeroed, untouched; NULL */
void *mem_reserve(size_t size); /* the same, not counted: the caller counts what it touches */
void mem_count(int64_t bytes);
void mem_forked(void);
void mem_unmap(void *p, size_t size);
void *mem_map_roots(
	size_t size); /* mem_map() for what holds pointers of the program: a leak check scans it */

/* ---- marks.c: what the ledger says of memory, for leak checks -------------- */

void marks_init(void);
/* Counted and false when there is no room.  Takes no lock: also for signal handlers. */
bool mark_add(enum ledger_mark_kind kind, uint64_t address, uint64_t size);
/* In a forked child with its own ledger: takes over what held at the fork, from the parent's. */
void marks_forked(const uint8_t *parent);

/* seep_disable() and seep_enable(): how deep this thread is in them (marks.c). */
void scope_disable(void);
void scope_enable(void);
extern __thread uint32_t t_disabled TLS_MODEL __attribute__((visibility("hidden")));
ALWAYS_INLINE bool scope_disabled(void)
{
	return UNLIKELY(t_disabled != 0);
}

/* ---- options.c ------------------------------------------------------------ */

struct options {
	char dir[192];
	bool sampled, active, verbose;
	bool minimal;       /* blocks are recorded from main on */
	unsigned int check; /* CHECK_AT_*: when to ask for a leak check; 0: never */
	uint64_t period, seed;
	int only;
	int signal;    /* that asks for a snapshot; 0: none */
	bool mode_set; /* whether to sample was said here: other profilers' variables do not count */
};
#define CHECK_AT_EXIT 1u  /* exit() was entered, or main returned */
#define CHECK_AT_END 2u   /* after the last destructor */
#define CHECK_AT_LOCAL 4u /* where the program asks; the others include it */
extern struct options opt __attribute__((visibility("hidden")));
void options_parse(const char *text);

/* environ.c.  The first of that name in the environment; one that does not fit is as if not there. */
struct variable {
	const char *name;
	char *value; /* size bytes, NUL-terminated */
	size_t size;
	bool set;
};
void environ_read(struct variable *vars, size_t nvars);
/* The same from memory: NAME=value, each with its NUL. */
void environ_parse(struct variable *vars, size_t nvars, const char *text, size_t len);

void options_reset(void);
void say(const char *a, const char *b); /* "seep: a b\n" on stderr when verbose */

/* ---- ledger_file.c --------------------------------------------------------- */

bool ledger_create(bool forked);
/* Gives [off, off + len) storage; false: the file system is full (counted). */
bool ledger_ensure(const void *from, size_t len);
void ledger_finish(uint32_t state); /* LEDGER_EXITED or LEDGER_DETACHED */
bool points_room(uint64_t n);       /* the timeline has storage for n points */

/* A section that grows at its end. */
struct growing {
	uint8_t *base;
	uint64_t used, ready, size, step;
};
bool growing_need(struct growing *gr, uint64_t bytes); /* [0, bytes) has storage */

/* ---- thread.c ---------------------------------------------------------------- */

bool thread_begin(void); /* makes t_self usable; false: pass through */
void thread_key_init(void);
/*
 * Mode, period and countdown from the control word.  Never in the middle of an event: a block is weighed by the
 * settings under which it was chosen.
 */
void thread_settings(struct thread *t);
uint32_t thread_tick(struct thread *t); /* cold part of thread_now() */
bool counters_ready(struct thread *t, uint32_t site);
ALWAYS_INLINE bool counters_usable(struct thread *t, uint32_t site)
{
	return LIKELY(load_relaxed(&t->ready[site >> READY_SHIFT])) || counters_ready(t, site);
}

bool stack_switch(struct thread *t,
                  uint64_t sp); /* sp is outside the known stack: find its mapping */
bool mapping_of(uint64_t address, uint64_t *ret_lo, uint64_t *ret_hi);
extern struct thread thread_cold
	__attribute__((visibility("hidden"))); /* before a thread's first event */
extern struct thread thread_off
	__attribute__((visibility("hidden"))); /* when nothing is recorded at all */
bool forked_child(void); /* this process is a fork of the one the tracker was set up in */
void threads_init(void);
uint32_t shards_used(void);                    /* shards from this one on hold nothing */
bool shard_has(uint32_t shard, uint32_t site); /* its counters have storage */

ALWAYS_INLINE uint32_t thread_now(struct thread *t)
{
	if (LIKELY(t->now_left-- > 0))
		return t->now;
	return thread_tick(t);
}

/* ---- module.c ------------------------------------------------------------------ */

struct module {
	uint64_t start, end;
	uint32_t id;           /* index in MODULES + 1; 0: table full */
	const uint8_t *eh_hdr; /* .eh_frame_hdr, or NULL */
	bool live;
};
const struct module *module_of(uint64_t pc); /* NULL: belongs to none.  Slow, takes a lock. */
void module_name_self(
	const char *link);     /* this library was loaded as /proc/self/fd/N: what file that is */
bool module_runs(uint64_t pc); /* pc lies in code of a loaded module */
bool module_range(uint64_t pc, uint64_t *ret_start,
                  uint64_t *ret_end); /* without the table or its lock */
void modules_init(void);
void modules_changed(void); /* after dlclose: drop what is gone */
void modules_forked(void);

/* ---- cfi.c ------------------------------------------------------------------------ */

/*
 * A row says how to get from a frame to its caller.  Packed in 64 bits so that it can be
 * read and replaced atomically: docs/UNWINDING.md.
 */
enum row_kind {
	ROW_NONE = 0,
	ROW_SP = 1,     /* cfa = sp + off; return address at cfa - 8 */
	ROW_FP = 2,     /* cfa = fp + off */
	ROW_END = 3,    /* outermost frame */
	ROW_SIGNAL = 4, /* the kernel's signal frame */
	ROW_SLOW = 5,   /* needs the general unwinder */
	ROW_NOCFI = 6,  /* nothing known: frame-pointer step */
};

void cfi_forked(void);
/* Finds the row for the code before return address pc. */
uint64_t cfi_row(uint64_t pc);
/* General step over all registers; false when the stack ends or cannot be followed. */
bool cfi_step(struct arch_regs *regs, uint64_t lo, uint64_t hi, bool *ret_end, bool *ret_signal);

/* ---- unwind.c ---------------------------------------------------------------------- */

bool unwind_init(void);
void unwind_flush(void);  /* modules changed: forget rows and memo */
void unwind_forked(void); /* another ledger: site numbers mean nothing any more */
/* thread.c: every other thread is out of the tracker, or has begun an event since path_epoch was this. */
bool threads_passed(uint32_t epoch);

/* ---- site.c -------------------------------------------------------------------------- */

uint32_t site_intern(struct thread *t, const uint64_t *pcs, uint32_t n, unsigned int kind,
                     uint32_t cut, bool *ret_new);
void site_flush(void);
bool site_init(void);

/* ---- live.c ------------------------------------------------------------------------------ */

bool live_init(void); /* the rest is in live.h */

/* ---- event.c -------------------------------------------------------------------------------- */

/* A mapping or a stack; returns the site.  Heap blocks: event.h. */
uint32_t event_region(struct thread *t, uint64_t addr, uint64_t size, unsigned int kind,
                      const struct origin *o);
void event_site_alloc(struct thread *t, uint64_t addr, uint64_t size, unsigned int kind,
                      uint32_t site);
bool event_free_region(struct thread *t, uint64_t addr, unsigned int kind);
uint32_t site_here(struct thread *t, const struct origin *o, unsigned int kind);
void totals_tick(struct thread *t, uint64_t now_ns);
void totals_flush(struct thread *t);
void totals_unwinds(struct thread *t);
void totals_forked(void);

/* ---- hooks.c: which pages may hold recorded blocks ------------------------------------------- */

void filter_init(void);
void filter_add(uint64_t addr);
void filter_remove(uint64_t addr);
void filter_all(void);  /* every free is looked up */
void filter_none(void); /* none is, ever */

/* ---- maps.c: anonymous mappings, which may be unmapped in part ---------------------------------- */

void maps_init(void);
void maps_add(struct thread *t, uint64_t addr, uint64_t size, const struct origin *o);
/* Before munmap, or a mapping over it: takes out what lies in the range.  The number of pieces touched. */
unsigned int maps_remove(struct thread *t, uint64_t addr, uint64_t size);

void children_forked(void); /* hooks_sys.c */

/* ---- sampler.c ----------------------------------------------------------------------------------- */

int64_t sampler_draw(struct thread *t, uint64_t period); /* bytes to the next sample, >= 0 */
double sampler_weight(uint64_t size, uint64_t period, double *ret_probability);
void sampler_seed(struct thread *t);

/* ---- init.c ------------------------------------------------------------------------------------ */

bool tracker_begin(void); /* first event: read options, make the ledger; false: not yet or never */
bool tracker_resolved(void); /* real.* may be called */
void tracker_forked(void);   /* in a forked child, before its first event is recorded */

/* ---- real.c: the functions behind the hooks --------------------------------------------------------- */

#define HOOK(ret, name, args, call) ret(*name) args;
#define HOOK_OPT(ret, name, args, call) ret(*name) args;
struct real {
#include "track/hooks.def"
};
#undef HOOK
#undef HOOK_OPT
extern struct real real __attribute__((visibility("hidden")));

/*
 * Before glibc 2.34 threads are in a library of their own (libpthread), and so is dlclose() (libdl): a program may not have
 * them, or bring them later with dlopen().  Linking to them would keep this library from being loaded where they are not, so
 * they are looked up, and once more when somebody calls them.  Not on an event's path.
 */
struct pthreads {
	int (*key_create)(pthread_key_t *key, void (*end)(void *));
	int (*setspecific)(pthread_key_t key, const void *value);
	int (*attr_getstack)(const pthread_attr_t *attr, void **addr, size_t *size);
};
extern struct pthreads pthreads __attribute__((visibility("hidden")));
bool pthreads_there(void); /* all of them may be called */
void *real_come_late(const char *name, void **slot);
/* The real function, NULL: it is in no module. */
#define REAL(name)                 \
	(LIKELY(real.name != NULL) \
	         ? real.name       \
	         : (__typeof__(real.name))real_come_late(#name, (void **)&real.name))
/* symbols.c.  The function of that name in the modules behind us, in load order; *ret_module its path. */
void *symbol_next(const char *name, const char **ret_module);
bool symbol_before_us(const char *name); /* a module in front of us defines it */
void *symbol_first(const char *name, const char **ret_module); /* of any module but us */
void *symbol_anywhere(const char *name);
/*
 * With the loader's lock, for a name that no module may have: without it, other threads must not unload anything meanwhile.  Not on
 * an event path.
 */
void *symbol_anywhere_locked(const char *name);
void real_resolve(void);
void allocator_note(void); /* into the header: whose malloc it is, and whether the program bypasses us */
extern bool cxx_direct; /* operator new and delete do not go through malloc: they are events themselves */
extern uint64_t allocator_start,
	allocator_end; /* where an allocator that came as a library is; else 0, 0 */
ALWAYS_INLINE bool in_allocator(uint64_t pc)
{
	return pc - allocator_start < allocator_end - allocator_start;
}
#define BOOTSTRAP_SIZE (1u << 20)
extern uint8_t bootstrap_arena[BOOTSTRAP_SIZE] __attribute__((visibility("hidden")));

ALWAYS_INLINE bool bootstrap_owns(const void *p)
{
	return UNLIKELY((uintptr_t)p - (uintptr_t)bootstrap_arena < BOOTSTRAP_SIZE);
}

void *bootstrap_alloc(size_t size, size_t align);
size_t bootstrap_size(const void *p);

#endif
