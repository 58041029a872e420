/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what trackers leave behind: ledgers, live or dead, and snapshots.
 */
#ifndef SEEP_CAPTURE_CAPTURE_H
#define SEEP_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct profile;
struct seep_error;

struct read_options {
	bool blocks; /* fill profile.blocks (48 bytes for each live block) */
};

/* A ledger file → a profile.  Never needs the writer, never trusts it; torn records are skipped and counted. */
struct seep_error *ledger_read(const char *path, const struct read_options *opts,
                               struct profile **ret_profile);

/* One ledger as `seep ps` lists it. */
struct ledger_entry {
	char *path;
	pid_t pid;
	uint32_t exec_seq;
	uint32_t state; /* enum ledger_state */
	bool alive;     /* the writing process still runs this program */
	uint32_t mode;
	bool inactive; /* nothing new is recorded at present */
	uint64_t period;
	uint64_t inuse_bytes, alloc_bytes; /* quick sums over size classes */
	uint64_t ledger_bytes;             /* storage in use */
	uint64_t start_real_ns;
	char command[256];
	char name[64]; /* the program's file name */
	uint32_t uid;
	bool execed; /* the process went on as another program */
	uint64_t inuse_blocks, alloc_blocks;
	uint64_t nsites;
	uint64_t duration_ns; /* since its start, for one that is alive */
	char allocator[128];  /* path of the module whose malloc is used */
	uint64_t start_ticks; /* with pid, exec_seq and this boot: which program it is */
	bool attached;        /* tracking began while it ran */
};

/* One ledger's entry without the rest; release what it holds with ledger_entry_release(). */
struct seep_error *ledger_entry_read(const char *path, struct ledger_entry *ret_entry);
void ledger_entry_release(struct ledger_entry *entry);

/* All ledgers under dir, or under every standard place (/dev/shm/seep-UID and its subfolders) when NULL. */
struct seep_error *ledger_list(const char *dir, struct ledger_entry **ret_entries, size_t *ret_n);
void ledger_list_free(struct ledger_entry *entries, size_t n);

/*
 * The newest ledger of a process, by pid; *ret_path is malloc'ed.  A running process is asked which
 * ledger it maps first, so one outside the standard places is found too.
 */
struct seep_error *ledger_find(pid_t pid, const char *dir, char **ret_path);

#define SNAPSHOT_MAGIC "\xffSEEPSNP" /* the first 8 bytes of a snapshot */

/* A snapshot (.seep): docs/SNAPSHOT.md.  Written to a temporary name beside path and renamed. */
struct seep_error *snapshot_write(const struct profile *p, const char *path);
struct seep_error *snapshot_read(const char *path, struct profile **ret_profile);
/*
 * Of a snapshot only what stands in struct profile itself (whose it is, when it was taken), none of its arrays.
 * Of a large file the beginning is read, so damage further on does not show.
 */
struct seep_error *snapshot_peek(const char *path, struct profile **ret_profile);

/* What `seep snap` and `seep report` accept: the path of the ledger or snapshot that `what` names. */
struct seep_error *profile_locate(const char *what, const char *dir, char **ret_path);

/* Whatever path or operand names: a ledger, a snapshot, a pid or a unique process name. */
struct seep_error *profile_open(const char *what, const struct read_options *opts,
                                struct profile **ret_profile);

#endif
