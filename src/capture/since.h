/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process's past, from a directory of snapshots: which of them was taken so long ago.
 *
 * The directory is one that `seep run` keeps a series in, or that `seep snap -o DIR` was told to write to: the files'
 * names end in .seep, which the ones still being written do not.  Of each the head is read (snapshot_peek()): whose it is, and
 * when it was taken.  A process is known by its pid and its start, so a pid that was used twice is two processes.
 */
#ifndef SEEP_CAPTURE_SINCE_H
#define SEEP_CAPTURE_SINCE_H

#include <stddef.h>
#include <stdint.h>

struct profile;
struct seep_error;

struct since_entry {
	char *path;
	char *exe;
	int32_t pid;
	uint32_t exec_seq;
	uint64_t start_ns; /* of the process; Unix epoch */
	uint64_t time_ns;  /* when it was taken; Unix epoch */
};

struct since_list {
	struct since_entry *entries; /* in the order of their times */
	size_t n;
	size_t nbad; /* snapshots that could not be read; the first of them is `bad` */
	char *bad;   /* what is wrong with it, NULL none */
};

/* Other files are passed over.  An empty list is no error. */
struct seep_error *since_scan(const char *dir, struct since_list *ret_list);
void since_release(struct since_list *l);
#define _cleanup_since_ __attribute__((cleanup(since_release)))

/* Leaves only those of one process.  `pid` 0: of the one there is; several are an error that lists them. */
struct seep_error *since_keep(struct since_list *l, const char *dir, int32_t pid);

/* Leaves only those of the process that p is of, as it was then: before an exec it was another program. */
struct seep_error *since_keep_of(struct since_list *l, const char *dir, const struct profile *p);

/*
 * The newest entry that is at least `back_ns` older than `time_ns`.  When there is none the error tells how far the
 * list reaches back.
 */
struct seep_error *since_pick(const struct since_list *l, const char *dir, uint64_t time_ns,
                              uint64_t back_ns, const struct since_entry **ret_entry);

#endif
