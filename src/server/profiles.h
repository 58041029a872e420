/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles in memory: those that are looked at stay for a while, since who looks at one flame graph looks at the next.
 *
 * A held profile is shared and never changes; who needs to change one asks for a copy of its own (profiles_own()).  What is kept is bounded
 * in bytes; what is in use is never dropped.
 */
#ifndef SEEP_SERVER_PROFILES_H
#define SEEP_SERVER_PROFILES_H

#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct profile;
struct profiles;
struct seep_error;
struct server;

struct held {
	struct profile *profile; /* with names */
	int64_t snapshot;        /* 0: of this moment */
	int64_t process;         /* 0: of one that is not recorded */
	int64_t time_ms;
	char *reason, *label; /* of a snapshot; NULL */
	struct buf *file;     /* of this moment: the snapshot's bytes; else NULL */
};

struct profiles *profiles_new(struct server *s, size_t most_bytes);
void profiles_free(struct profiles *p);

/* A stored snapshot.  ENOENT: there is none. */
struct seep_error *profiles_snapshot(struct profiles *p, int64_t id, struct held **ret_held);
/* The process as it is now, or was a second ago.  ESRCH: it is not tracked any more. */
struct seep_error *profiles_now(struct profiles *p, int32_t pid, int64_t process, bool blocks,
                                struct held **ret_held);
/* Once more: it is to be released once more, too. */
struct held *profiles_hold(struct profiles *p, struct held *h);
void profiles_release(struct profiles *p, struct held *h); /* NULL is fine */

/* What a held one is made of, read again: the caller's, to be changed. */
struct seep_error *profiles_own(struct profiles *p, const struct held *h,
                                struct profile **ret_profile);

/* A snapshot file's bytes → a profile, checked. */
struct seep_error *profiles_read(const void *data, size_t len, struct profile **ret_profile);

/*
 * Runs `seep snap` on a ledger: by path, or with fd >= 0 of an open one.  The file's bytes are appended to `ret_file`;
 * blocks only when there are at most server_options.max_blocks of them.
 */
struct seep_error *profiles_take(struct server *s, const char *ledger, int fd, bool blocks,
                                 struct buf *ret_file);

/* What the store keeps of a profile beside the file. */
struct seep_error *profiles_store(struct server *s, int64_t process, const struct profile *p,
                                  const struct buf *file, const char *reason, const char *label,
                                  bool pinned, int64_t rss, int64_t *ret_id);

#endif
