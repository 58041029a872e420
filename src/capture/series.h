/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A series: a directory of snapshots of one run, bounded in number and bytes, that is at every
 * moment what it should be.
 *
 * Everything a reader needs to know of an entry stands in its file's name, so there is no index
 * that a crash could leave behind, and `ls` shows what there is:
 *
 *     NAME.PID.SEQ.YYYYMMDDThhmmss-uuuuuuZ.INUSE.REASON.seep
 *     service.4711.000012.20260131T120000-250000Z.371195904.cgroup-90.seep
 *
 * NAME is the program's, PID its number; SEQ counts all entries ever written to the directory; the time
 * is UTC, to the microsecond; INUSE bytes of heap and mappings; REASON is of letters, digits, '-' and '_'.
 *
 * Entries are written under a temporary name, synced and renamed (snapshot_write()); what a killed
 * writer left is removed by the next one.  A writer holds a lock on the directory: one at a time.
 *
 * When a bound is exceeded, entries go one by one: the one whose absence leaves the smallest gap between
 * its neighbours of the same process, so what is left stays spread over time.  Never those that every
 * series must have: the first, the latest, and the highest in-use one; and as long as there are others,
 * not those that somebody asked for, and not the first, latest and highest of each process, which stay longest.
 *
 * The bytes bound counts against everything but the highest: when even first, highest and latest together are
 * too large, the first goes, then the latest.
 */
#ifndef SEEP_CAPTURE_SERIES_H
#define SEEP_CAPTURE_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct profile;
struct seep_error;

#define SERIES_REASON_MAX 40u /* characters of a reason in a name; longer ones are cut */

struct series_entry {
	char *path;
	char *name; /* the program's */
	char *reason;
	pid_t pid;
	uint64_t seq;
	uint64_t time_ns; /* Unix epoch */
	uint64_t inuse;   /* bytes */
	uint64_t size;    /* of the file */
};

struct series {
	struct series_entry *entries; /* by time, then by number */
	size_t n;
};

/*
 * What is in a directory; needs no lock and disturbs no writer.  Files that are not named as above, links and
 * everything that is no regular file are passed over; nothing is opened.  An empty series is no error.
 */
struct seep_error *series_open(const char *dir, struct series *ret_series);
void series_release(struct series *s);

struct series_limits {
	size_t most;         /* entries; 0: no bound */
	uint64_t most_bytes; /* 0: no bound */
};

struct series_writer {
	char *dir;
	int fd; /* of the directory, locked; -1: not open */
	struct series_limits limits;
	struct series series;
	uint64_t next_seq, bytes;
	uint64_t pruned; /* entries removed so far */
};

/*
 * Makes the directory when it is missing (not its parents), locks it, removes stray temporaries, prunes what is
 * beyond the limits.  Errors: it cannot be made or written, or another seep is writing to it.
 */
struct seep_error *series_begin(const char *dir, const struct series_limits *limits,
                                struct series_writer *ret_writer);

/*
 * Adds a snapshot of p taken at time_ns (Unix epoch) and prunes.  `reason` is any text; in the name stands what
 * series_reason() makes of it.  The entry added may be pruned at once only by a bound of bytes it alone exceeds.
 * *ret_path (may be NULL; malloc'ed): where it went.
 */
struct seep_error *series_add(struct series_writer *w, const struct profile *p, uint64_t time_ns,
                              const char *reason, char **ret_path);
void series_end(struct series_writer *w); /* also of a zeroed one */

/* "in use +10 %" → "in-use-10": letters, digits, '_' and '-'; never empty. */
void series_reason(const char *text, char ret_slug[SERIES_REASON_MAX + 1]);

/* The entry to be removed next, or s->n: none may go.  For the tests; limits as above. */
size_t series_victim(const struct series *s, const struct series_limits *limits, uint64_t bytes);

#endif
