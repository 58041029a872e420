/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open ledger as its reader sees it: a file whose owner may rewrite or
 * truncate it at any moment, and may hate us.
 *
 * Nothing is mapped (a truncated mapping is a SIGBUS); everything is copied with
 * pread(), into memory whose size is bounded by the storage the file really has,
 * not by what it claims.  Functions return negative errno; -ESTALE means that the
 * file became shorter than its header says while it was being read.
 */
#ifndef SEEP_CAPTURE_LEDGER_FILE_H
#define SEEP_CAPTURE_LEDGER_FILE_H

#include "wire/ledger.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct seep_error;

struct ledger_file {
	int fd;
	const char *path;       /* the caller's */
	struct stat st;         /* at the last ledger_file_counts() */
	uint64_t storage;       /* bytes the file's content can have at most */
	struct ledger_header h; /* checked copy; counts limited: see ledger_file_counts() */
};

/* Opens and checks.  On success release with ledger_file_close(). */
struct seep_error *ledger_file_open(const char *path, struct ledger_file *ret_file);
/* The same on a descriptor, which is taken over even on failure. */
struct seep_error *ledger_file_fdopen(int fd, const char *path, struct ledger_file *ret_file);
void ledger_file_close(struct ledger_file *f);

/*
 * Reads the changing half of the header again and limits every count to what its section and
 * the storage can hold.  Counts only grow while a writer lives, so reading them again after the
 * records that refer to them makes those references valid.
 */
int ledger_file_counts(struct ledger_file *f);

/* Exactly len bytes at offset `at` of a section; the range must lie inside it (-ERANGE). */
int ledger_file_read(const struct ledger_file *f, enum ledger_section_id id, uint64_t at, void *buf,
                     size_t len);

/* A malloc'ed copy of the section's first n records of `size` bytes (at least one byte is allocated). */
int ledger_file_copy(const struct ledger_file *f, enum ledger_section_id id, uint64_t n,
                     size_t size, void *ret_copy);

/*
 * The next part of [*at, end) of a section that has storage: *at moves to its start, the result is
 * its length, at most `most`; 0 when only holes are left.
 */
uint64_t ledger_file_next(const struct ledger_file *f, enum ledger_section_id id, uint64_t *at,
                          uint64_t end, uint64_t most);

/* Sums over the size classes of all shards: heap and mappings, estimated when sampled. */
struct ledger_totals {
	uint64_t inuse_bytes, alloc_bytes, inuse_blocks, alloc_blocks;
};
int ledger_file_totals(const struct ledger_file *f, struct ledger_totals *ret_totals);

/* What a user should read for an error of the functions above. */
struct seep_error *ledger_file_error(const struct ledger_file *f, int r);

#endif
