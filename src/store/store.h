/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `seep serve` remembers: processes, their timelines, snapshots, and what checks, doctors and trims found.
 *
 * One SQLite database in a directory of its own (WAL): whatever a function has returned success for is there after a
 * kill -9 at any instant, and a transaction that was not finished is not there at all.  A full disk is an error that says so, with
 * code ENOSPC, and leaves what was there.  docs/SERVER.md has the schema and the reasons.
 *
 * A handle may be used by several threads; calls on it take turns.  A second handle, opened read-only, reads beside the first
 * one's writes.  Times are milliseconds since the epoch.  Strings given are copied; strings returned belong to the struct they
 * are in, and go with its release function.
 */
#ifndef SEEP_STORE_STORE_H
#define SEEP_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct seep_error;
struct store;
struct view;

#define STORE_NONE INT64_MIN /* a number that is not known */

struct store_options {
	bool readonly;
	uint64_t limit_bytes; /* the database never gets larger than this; 0: no limit */
};

/*
 * Opens, makes or brings up to date the store in `dir` (made, mode 0700, when missing).  Errors: written by a newer seep;
 * no store; in use by another server (not with `readonly`, which needs a store that another handle has opened before).
 */
struct seep_error *store_open(const char *dir, const struct store_options *opts,
                              struct store **ret_store);
void store_close(struct store *s); /* NULL is fine */

static inline void store_closep(struct store **s)
{
	store_close(*s);
}
#define _cleanup_store_ __attribute__((cleanup(store_closep)))

uint64_t store_bytes(struct store *s); /* on disk, without pages that are free */

/* ---- processes ---------------------------------------------------------------- */

/* Who it is: pid, start and exec_seq within one boot tell every program that ever ran apart. */
struct store_process {
	int64_t id;
	char boot[40]; /* the boot's id; "" of an uploaded file */
	int32_t pid;
	uint64_t start_ticks;
	uint32_t exec_seq;
	int64_t started_ms; /* STORE_NONE: not known */

	char *name, *command, *exe, *allocator;
	uint32_t uid;
	bool tracked, sampled, attached;
	uint64_t period;

	/* Set by the functions below, not by store_process_put(). */
	char *state;               /* "running", "exited", "killed", "execed", "file" */
	char *end;                 /* a sentence; NULL */
	int64_t ended_ms;          /* STORE_NONE */
	int64_t first_ms, last_ms; /* of what was recorded; STORE_NONE: nothing */
	char *label;               /* NULL */
	int64_t baseline;          /* snapshot; 0 none */
	int64_t watch_s;           /* 0: not watched */
	int64_t snapshots;         /* how many */
};

void store_process_release(struct store_process *p);
#define _cleanup_store_process_ __attribute__((cleanup(store_process_release)))

/* Finds the process that *p is, or makes it; what is known better now is updated.  *ret_id: its number. */
struct seep_error *store_process_put(struct store *s, const struct store_process *p,
                                     int64_t *ret_id);
/* *ret_found false: there is none, and *ret is empty. */
struct seep_error *store_process_get(struct store *s, int64_t id, struct store_process *ret,
                                     bool *ret_found);

struct store_processes {
	struct store_process *items; /* the latest first */
	size_t n;
};

struct seep_error *store_process_list(struct store *s, struct store_processes *ret);
void store_processes_release(struct store_processes *l);
#define _cleanup_store_processes_ __attribute__((cleanup(store_processes_release)))

struct seep_error *store_process_end(struct store *s, int64_t id, const char *state,
                                     const char *sentence, int64_t ms);
/* Those that the store says run, and that `alive` (of pid and start) says do not, have ended while nobody looked. */
struct seep_error *store_process_sweep(struct store *s, const char *boot,
                                       bool (*alive)(int32_t pid, uint64_t start_ticks), int64_t ms);
struct seep_error *store_process_label(struct store *s, int64_t id, const char *label);
struct seep_error *store_process_baseline(struct store *s, int64_t id, int64_t snapshot);
struct seep_error *store_process_watch(struct store *s, int64_t id, int64_t seconds);
struct seep_error *store_process_forget(struct store *s, int64_t id);

/* ---- timelines ------------------------------------------------------------------ */

enum store_column {
	POINT_INUSE,
	POINT_ALLOC,
	POINT_RSS,
	POINT_PSS,
	POINT_SWAP,
	POINT_RETAINED,
	POINT_CGROUP,
	POINT_THREADS,
	POINT_NCOLUMNS
};

struct store_point {
	int64_t process, time_ms;
	int64_t value[POINT_NCOLUMNS]; /* STORE_NONE: not known */
};

/* All or none.  A second point of one process and time is passed over. */
struct seep_error *store_points_add(struct store *s, const struct store_point *points, size_t n);

struct store_series {
	struct store_point *items; /* ascending */
	size_t n;
	uint64_t measured;      /* how many there are behind them */
	int64_t resolution_ms;  /* 0: every point */
	int64_t from_ms, to_ms; /* what was asked for, cut to what there is */
};

/*
 * At most `most` points between the two times (STORE_NONE: open): of each stretch of time the one with most in use, or, where that
 * is not known, most resident.
 */
struct seep_error *store_points_read(struct store *s, int64_t process, int64_t from_ms,
                                     int64_t to_ms, size_t most, struct store_series *ret);
void store_series_release(struct store_series *l);
#define _cleanup_store_series_ __attribute__((cleanup(store_series_release)))

struct store_mark {
	int64_t time_ms, id; /* id 0: none */
	char *kind, *text;
};

struct store_marks {
	struct store_mark *items;
	size_t n;
};

struct seep_error *store_mark_add(struct store *s, int64_t process, int64_t ms, const char *kind,
                                  const char *text);
/* Marks, snapshots and documents of a time, as one list; at most 2000, the newest. */
struct seep_error *store_marks_read(struct store *s, int64_t process, int64_t from_ms,
                                    int64_t to_ms, struct store_marks *ret);
void store_marks_release(struct store_marks *l);
#define _cleanup_store_marks_ __attribute__((cleanup(store_marks_release)))

/* ---- snapshots -------------------------------------------------------------------- */

struct store_snapshot {
	int64_t id, process, time_ms;
	char *reason, *label; /* label may be NULL */
	bool pinned;
	char *format, *state;
	bool sampled, has_blocks;
	uint64_t period, inuse_bytes, inuse_blocks, alloc_bytes, alloc_blocks, peak_bytes, sites;
	int64_t rss_bytes; /* STORE_NONE */
	uint64_t stored_bytes;
};

void store_snapshot_release(struct store_snapshot *s);
#define _cleanup_store_snapshot_ __attribute__((cleanup(store_snapshot_release)))

/*
 * Keeps the snapshot file's bytes as they are, and beside them what each site of `v` has in use.  `v` is a view of that
 * snapshot without filters and of all kinds (store_view_options): what makes a site's history one query.
 */
struct seep_error *store_snapshot_add(struct store *s, const struct store_snapshot *info,
                                      const struct view *v, const void *data, size_t len,
                                      int64_t *ret_id);
struct seep_error *store_snapshot_get(struct store *s, int64_t id, struct store_snapshot *ret,
                                      bool *ret_found);
/* The snapshot file's bytes. */
struct seep_error *store_snapshot_data(struct store *s, int64_t id, struct buf *ret);

enum store_which { STORE_FIRST, STORE_LATEST, STORE_BASELINE, STORE_NEAREST };
/* One of a process's, for STORE_NEAREST the one nearest to `ms`; 0: there is none. */
struct seep_error *store_snapshot_find(struct store *s, int64_t process, enum store_which which,
                                       int64_t ms, int64_t *ret_id);

struct store_snapshots {
	struct store_snapshot *items; /* newest first */
	size_t n;
};

/* Of one process (0: of all), older than `before_ms` (STORE_NONE: all), at most `most`. */
struct seep_error *store_snapshot_list(struct store *s, int64_t process, int64_t before_ms,
                                       size_t most, struct store_snapshots *ret);
void store_snapshots_release(struct store_snapshots *l);
#define _cleanup_store_snapshots_ __attribute__((cleanup(store_snapshots_release)))

struct seep_error *store_snapshot_label(struct store *s, int64_t id, const char *label);
struct seep_error *store_snapshot_pin(struct store *s, int64_t id, bool pinned);
struct seep_error *store_snapshot_delete(struct store *s, int64_t id);

/* ---- sites -------------------------------------------------------------------------- */

/*
 * A site's key: its stack as a person sees it (functions, files, lines; addresses in files where there is no name) and
 * its kind.  The same in every snapshot and run of one build.
 */
uint64_t store_site_key(uint64_t node_key, uint8_t kind);
/* The keys of a view's nodes; n of them, malloc'ed.  NULL: out of memory. */
uint64_t *store_node_keys(const struct view *v);

struct store_course {
	int64_t *snapshots, *times_ms; /* ascending */
	size_t n;
	uint64_t *bytes, *blocks; /* [site * n + snapshot], in the order of the keys asked for */
	size_t nkeys;
};

/*
 * What sites held at each snapshot of a time (STORE_NONE: open): at most `most` snapshots, spread evenly, the last among them.
 */
struct seep_error *store_course_read(struct store *s, int64_t process, const uint64_t *keys,
                                     size_t nkeys, int64_t from_ms, int64_t to_ms, size_t most,
                                     struct store_course *ret);
void store_course_release(struct store_course *c);
#define _cleanup_store_course_ __attribute__((cleanup(store_course_release)))

/* The processes that have the site; malloc'ed. */
struct seep_error *store_site_processes(struct store *s, uint64_t key, int64_t **ret_ids,
                                        size_t *ret_n);

/* ---- documents: what commands found, as their JSON -------------------------------------- */

struct store_document {
	int64_t id, process, time_ms;
	char *kind;    /* "check", "doctor", "trim" */
	char *summary; /* a line for lists; may be NULL */
	char *json;    /* NULL in lists */
	size_t len;
};

struct store_documents {
	struct store_document *items; /* newest first */
	size_t n;
};

struct seep_error *store_document_add(struct store *s, const struct store_document *d,
                                      int64_t *ret_id);
struct seep_error *store_document_get(struct store *s, int64_t id, struct store_document *ret,
                                      bool *ret_found);
/* The newest of a kind. */
struct seep_error *store_document_latest(struct store *s, int64_t process, const char *kind,
                                         struct store_document *ret, bool *ret_found);
/* Without `json` unless `with_json`; of `kind`, from `from_ms` on, at most `most`. */
struct seep_error *store_document_list(struct store *s, int64_t process, const char *kind,
                                       int64_t from_ms, int64_t to_ms, size_t most, bool with_json,
                                       struct store_documents *ret);
void store_document_release(struct store_document *d);
#define _cleanup_store_document_ __attribute__((cleanup(store_document_release)))
void store_documents_release(struct store_documents *l);
#define _cleanup_store_documents_ __attribute__((cleanup(store_documents_release)))

/* ---- retention -------------------------------------------------------------------------- */

struct store_retention {
	uint64_t size;    /* bytes; thinned until it is below; 0: no bound */
	int64_t age_ms;   /* what is older goes, but pinned and labelled snapshots; 0: no bound */
	size_t snapshots; /* of one process; 0: no bound */
	bool points_full; /* points are not thinned with age */
};

/*
 * Thins evenly over time: of the snapshots that may go, the one goes whose absence leaves the smallest gap.  Never the first,
 * the last, the baseline, pinned or labelled ones.  *ret_removed: how many snapshots went.
 */
struct seep_error *store_retain(struct store *s, const struct store_retention *r, int64_t now_ms,
                                size_t *ret_removed);

/* The one to give up, for store_retain() and its test: an index into times (ascending), SIZE_MAX none. */
size_t store_thin_pick(const int64_t *times_ms, const bool *keep, size_t n);

#endif
