/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing in for other heap profilers: their environment, their C interfaces, their files (docs/DROP-IN.md).
 *
 *   dropin_gperftools.c   HeapProfilerStart() and relatives
 *   dropin_jemalloc.c     mallctl("prof.*")
 *   dropin_tcmalloc.c     the rest of tcmalloc's C interface
 *   dropin_conf.c         settings, MALLOC_CONF
 *   dropin.c              what all share: the environment, the lock, when a profile is due
 *   dropin_write.c        the two text formats, in memory or as files
 *
 * A profile is made from the ledger's own counters in the process itself: return addresses and /proc/self/maps, no
 * symbols.  Nothing here allocates from the program, and one profile is written at a time, with signals blocked;
 * who finds another one under way for longer than lock_take() waits does without.
 *
 * Unless a profiler is on, none of this costs anything: thresholds are looked at where a thread looks at
 * the clock anyway, and that only looks further when g.next_point_ns lets it.
 */
#ifndef SEEP_TRACK_DROPIN_H
#define SEEP_TRACK_DROPIN_H

#include "track/track.h"

#define DROPIN_PATH 4096

/*
 * What a profile covers.  From the start of the process on, counters alone tell.  Later, what was allocated before is
 * subtracted, and what is in use is counted block by block: those born since.
 */
struct dropin_since {
	bool whole;
	uint32_t tick; /* blocks born in this tick or later belong to it */
	uint32_t nbase;
	uint64_t base_size;       /* of the mapping */
	struct ledger_peak *base; /* what each site had allocated before */
};

enum dropin_format { DROPIN_GPERFTOOLS, DROPIN_JEMALLOC };

struct dropin_profile {
	enum dropin_format format;
	const struct dropin_since *since;
	unsigned int kinds; /* 1 << enum ledger_kind */
	bool accum;         /* with what was ever allocated */
};

struct dropin_totals {
	uint64_t blocks, bytes, alloc_blocks, alloc_bytes; /* as in the file */
	uint64_t stacks;                                   /* with something in use */
	uint64_t estimated_blocks, estimated_bytes;        /* in use, what a reader makes of it */
};

/* ---- dropin_write.c ----------------------------------------------------------------------- */

/* Puts a profile under that name when it is complete, not before.  Negative errno. */
long dropin_write(const struct dropin_profile *p, const char *path,
                  struct dropin_totals *ret_totals);
/* In a mapping of *ret_size bytes, for sys_munmap(), NUL-terminated; NULL: no memory. */
char *dropin_text(const struct dropin_profile *p, uint64_t *ret_len, uint64_t *ret_size);
/* From now on: the counters as they are, and a tick that has only just begun. */
void dropin_begin(struct dropin_since *s);
void dropin_forget(struct dropin_since *s);
uint64_t dropin_in_use(unsigned int kinds); /* bytes */

/* Text without stdio: always terminated, cut at `end`. */
char *text_str(char *p, char *end, const char *s);
char *text_num(char *p, char *end, uint64_t v, int width);
char *text_zeros(char *p, char *end, uint64_t v, int digits);
/* A line on stderr: the parts up to NULL. */
void text_say(const char *const *parts);
#define SAY(...) text_say((const char *const[]){ __VA_ARGS__, NULL })

/* ---- dropin_conf.c -------------------- */

void conf_parse(const char *conf);                /* MALLOC_CONF, into `dropin` */
bool dropin_number(const char *s, uint64_t *ret); /* decimal, nothing else */

/* ---- dropin.c ------------------------------------------------------------------------------- */

struct dropin_settings {
	/* gperftools */
	char heapprofile[DROPIN_PATH]; /* HEAPPROFILE; "": not set */
	int signal;                    /* HEAPPROFILESIGNAL; 0: none */
	uint64_t alloc_interval, free_interval, inuse_interval, time_interval;
	bool mmap, only_mmap, cleanup, quiet;
	uint64_t sample_parameter;
	/* jemalloc's, as opt.* says them */
	bool prof, prof_active, prof_accum, prof_gdump, prof_final, prof_leak, prof_leak_error,
		prof_thread_active_init;
	uint64_t lg_sample;
	int64_t lg_interval;
	char prefix[DROPIN_PATH];
	/* what follows from them */
	bool threads_inactive; /* new threads do not record */
	bool transient; /* nobody but a drop-in wants the ledger: it goes when the program ends */
};
extern struct dropin_settings dropin __attribute__((visibility("hidden")));

/* Reads the environment into `dropin` and `opt`; `asked`: seep itself was asked for, too. */
void dropin_options(bool asked);
void dropin_start(void); /* from our constructor: the tracker works */
void dropin_end(void); /* at the program's end: final profiles, and a ledger nobody asked for goes */
void dropin_gone(void);                          /* only the latter */
void dropin_forked(void);                        /* in a forked child that has its own ledger */
void dropin_look(struct thread *t, uint64_t ns); /* from totals_tick(), when g.watch says so */

/*
 * The lock of all that is here; signals are blocked while it is held.  False: not to be had (dropin_try: at once).
 */
bool dropin_enter(uint64_t *ret_mask);
bool dropin_try(uint64_t *ret_mask);
void dropin_leave(uint64_t mask);

bool dropin_working(void);       /* events are recorded, in a ledger of this very process */
void dropin_arm(void);           /* what is waited for has changed */
uint64_t dropin_allocated(void); /* bytes ever, estimated when sampling */
uint64_t dropin_watched(void);   /* the same as looks count them */
uint64_t dropin_now_ns(void);    /* since the start of tracking */
bool dropin_is_active(void);     /* new blocks are recorded */
void dropin_active(bool on);
void dropin_period(uint64_t bytes); /* from now on; 1: every block */
void dropin_thread_active(bool on); /* of the calling thread */

/* ---- dropin_gperftools.c, dropin_jemalloc.c: looks say how many bytes are left until something is due ---- */

void gperftools_options(const char *heapprofile);
void gperftools_start(void);
void gperftools_end(void);
void gperftools_forked(void);
bool gperftools_armed(void);
uint64_t gperftools_look(uint64_t allocated, uint64_t in_use, uint64_t ns);

void jemalloc_options(const char *conf);
void jemalloc_start(void);
void jemalloc_end(void);
void jemalloc_forked(void);
bool jemalloc_armed(void);
uint64_t jemalloc_look(uint64_t allocated, uint64_t in_use);

#endif
