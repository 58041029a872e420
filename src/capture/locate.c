/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operand names: a ledger or snapshot by path, or a process by pid or name.
 *
 * A path that exists wins; then a number is a pid; then a name is looked for among
 * the programs that have ledgers, those that still run before those that ended.
 * Several matches are an error that lists them: guessing would report on the
 * wrong process.
 */
#include "capture/capture.h"
#include "capture/process.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "wire/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define NO_TRACKER_HINT \
	"Start it with `seep run -- COMMAND`; `seep ps` lists the processes that are being tracked."

#define MOST_MAPPINGS 64u

/* A path as a process sees it → one that we can open; NULL when there is none. */
static char *seen_from_here(pid_t pid, char *inside)
{
	char *path = NULL;
	struct stat st;

	/* In another mount namespace the path means something else here; the inode tells. */
	if (stat(inside, &st) == 0 && process_maps_file(pid, &st) == 1)
		return inside;
	if (asprintf(&path, "/proc/%d/root%s", (int)pid, inside) < 0)
		path = NULL;
	free(inside);
	if (path && stat(path, &st) < 0)
		free(TAKE(path));
	return path;
}

/*
 * The ledger that a running process maps.  A forked child may still map its parent's, so the one
 * that names this pid is meant; in another pid namespace none does, and the first is.
 */
static char *mapped_ledger(pid_t pid)
{
	char *first = NULL, *inside;

	for (unsigned int i = 0;
	     i < MOST_MAPPINGS && process_find_mapping(pid, ".ledger", i, &inside) == 0; i++) {
		_cleanup_free_ char *path = seen_from_here(pid, inside);
		struct ledger_entry e;
		struct seep_error *err = path ? ledger_entry_read(path, &e) : NULL;
		bool ours = path && !err && e.pid == pid;

		seep_error_free(err);
		if (path && !err)
			ledger_entry_release(&e);
		if (ours) {
			free(first);
			return TAKE(path);
		}
		if (!first)
			first = TAKE(path);
	}
	return first;
}

struct seep_error *ledger_find(pid_t pid, const char *dir, char **ret_path)
{
	const struct ledger_entry *best = NULL;
	struct ledger_entry *entries = NULL;
	struct seep_error *err;
	char *path = NULL;
	size_t n = 0;

	if (!dir) {
		path = mapped_ledger(pid);
		if (path) {
			*ret_path = path;
			return NULL;
		}
	}
	err = ledger_list(dir, &entries, &n);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) /* in the order of their starts: the last is the newest */
		if (entries[i].pid == pid)
			best = &entries[i];
	if (best) {
		path = strdup(best->path);
		err = path ? NULL : &seep_error_nomem;
	} else if (!dir && (path = process_collector_ledger(pid))) {
		err = NULL; /* tracked from outside, into another directory */
	} else {
		uint64_t start, threads;
		char state;

		err = process_stat(pid, &start, &state, &threads) < 0
		              ? seep_error_new(0, "there is no process %d, and no ledger of one",
		                               (int)pid)
		              : seep_error_new(0,
		                               "process %d has no ledger: it is not being tracked",
		                               (int)pid);
		seep_error_hint(err, NO_TRACKER_HINT);
	}
	ledger_list_free(entries, n);
	if (!err)
		*ret_path = path;
	return err;
}

/* The first word's file name of the command line, as an interpreter's script would be called. */
static bool named(const struct ledger_entry *e, const char *name)
{
	size_t len = strcspn(e->command, " ");
	const char *base = memrchr(e->command, '/', len);

	base = base ? base + 1 : e->command;
	len -= (size_t)(base - e->command);
	return !strcmp(e->name, name) || (strlen(name) == len && !memcmp(base, name, len));
}

/* Lists what matched; every line starts a new one of the hint. */
static struct seep_error *several(const char *name, const struct ledger_entry *entries, size_t n,
                                  bool alive)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct seep_error *err =
		seep_error_new(0, "several tracked processes are called '%s'", name);
	unsigned int shown = 0;

	buf_puts(&text, "Name one by its pid:");
	for (size_t i = 0; i < n; i++) {
		if (!named(&entries[i], name) || entries[i].alive != alive || entries[i].execed)
			continue;
		if (++shown > 10) {
			buf_puts(&text, "\n  ...");
			break;
		}
		buf_printf(&text, "\n  %d  %.100s", (int)entries[i].pid, entries[i].command);
	}
	return text.failed ? err : seep_error_hint(err, "%s", text.data);
}

static struct seep_error *find_by_name(const char *name, const char *dir, char **ret_path)
{
	struct ledger_entry *entries = NULL;
	size_t n = 0, count[2] = { 0, 0 }; /* [alive] */
	const struct ledger_entry *match[2] = { NULL, NULL };
	struct seep_error *err = ledger_list(dir, &entries, &n);
	char *path = NULL;

	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		if (named(&entries[i], name) && !entries[i].execed) {
			count[entries[i].alive]++;
			match[entries[i].alive] = &entries[i];
		}
	}
	if (count[1] == 1 || (!count[1] && count[0] == 1)) {
		path = strdup(match[count[1] == 1]->path);
		err = path ? NULL : &seep_error_nomem;
	} else if (count[0] || count[1]) {
		err = several(name, entries, n, count[1] > 0);
	} else {
		err = seep_error_new(0, "there is no file '%s' and no tracked process of that name",
		                     name);
		seep_error_hint(err, NO_TRACKER_HINT);
	}
	ledger_list_free(entries, n);
	if (!err)
		*ret_path = path;
	return err;
}

struct seep_error *profile_locate(const char *what, const char *dir, char **ret_path)
{
	struct stat st;
	uint64_t pid;

	if (stat(what, &st) == 0 && !S_ISDIR(st.st_mode)) {
		*ret_path = strdup(what);
		return *ret_path ? NULL : &seep_error_nomem;
	}
	if (parse_u64(what, &pid) == 0 && pid > 0 && pid <= INT32_MAX)
		return ledger_find((pid_t)pid, dir, ret_path);
	if (strchr(what, '/')) {
		if (stat(what, &st) == 0)
			return seep_error_new(EISDIR, "cannot read %s", what);
		return seep_error_new(errno, "cannot read %s", what);
	}
	return find_by_name(what, dir, ret_path);
}

static struct seep_error *open_path(const char *path, const struct read_options *opts,
                                    struct profile **ret_profile)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	uint8_t magic[8] = { 0 };
	uint64_t ledger = LEDGER_MAGIC;
	ssize_t n;

	if (fd < 0)
		return seep_error_new(errno, "cannot open %s", path);
	n = pread(fd, magic, sizeof(magic), 0);
	close(fd);
	if (n < 0)
		return seep_error_new(errno, "cannot read %s", path);
	if (!memcmp(magic, &ledger, sizeof(magic)))
		return ledger_read(path, opts, ret_profile);
	if (!memcmp(magic, SNAPSHOT_MAGIC, sizeof(magic)))
		return snapshot_read(path, ret_profile);
	return seep_error_hint(
		seep_error_new(0, "%s is neither a seep ledger nor a snapshot", path),
		"Ledgers end in .ledger and are listed by `seep ps`; snapshots end in .seep.");
}

struct seep_error *profile_open(const char *what, const struct read_options *opts,
                                struct profile **ret_profile)
{
	_cleanup_free_ char *path = NULL;
	struct seep_error *err = profile_locate(what, NULL, &path);

	return err ? err : open_path(path, opts, ret_profile);
}
