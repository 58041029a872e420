/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the target's end: its ledgers, and those of its children, become snapshots.
 *
 * One run gives one snapshot: all its processes merged, which is what somebody who
 * ran `make test` wants to read.  With `-o DIR/` every process gets its own.  A program
 * that went on as another by exec() took its memory with it, so its ledger is left
 * out of the whole, and said to be.
 *
 * Ledgers are removed only when their snapshot is safely on disk.  Children that
 * outlive the target are not waited for: their ledgers stay where `seep ps` finds them.
 */
#include "cli/run.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/snap_cli.h"
#include "cli/snapshot_name.h"
#include "profile/profile.h"
#include "wire/ledger.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define SETTLE_STEPS 50
#define SETTLE_STEP_NS 10000000 /* half a second altogether */

/*
 * The list of ledgers once nothing more ends: a signal that ended the target usually ends
 * its children in the same instant.  Bounded: some are meant to stay.
 */
static struct seep_error *settled_list(const char *dir, struct ledger_entry **ret_entries,
                                       size_t *ret_n)
{
	const struct timespec step = { .tv_nsec = SETTLE_STEP_NS };

	for (int i = 0;; i++) {
		struct seep_error *err = ledger_list(dir, ret_entries, ret_n);
		size_t alive = 0;

		if (err)
			return err;
		for (size_t k = 0; k < *ret_n; k++)
			alive += (*ret_entries)[k].alive;
		if (!alive || i == SETTLE_STEPS)
			return NULL;
		ledger_list_free(*ret_entries, *ret_n);
		nanosleep(&step, NULL);
	}
}

static void free_parts(struct run_result *res)
{
	for (size_t i = 0; i < res->nparts; i++)
		if (res->parts[i] != res->whole)
			profile_free(res->parts[i]);
	free(res->parts);
	res->parts = NULL;
	res->nparts = 0;
}

void run_result_release(struct run_result *res)
{
	free_parts(res);
	profile_free(res->whole);
	for (size_t i = 0; i < res->nsnapshots; i++)
		free(res->snapshots[i]);
	free(res->snapshots);
	free(res->left);
	memset(res, 0, sizeof(*res));
}

/* The whole's name and number are the target's, whatever its children are called. */
static struct seep_error *name_whole(struct run_result *res, pid_t pid)
{
	const struct profile *target = res->parts[0];
	struct profile *w = res->whole;

	for (size_t i = 0; i < res->nparts; i++)
		if (res->parts[i]->pid == pid)
			target = res->parts[i];
	if (w == target)
		return NULL;
	free(w->exe);
	free(w->command);
	w->exe = strdup(target->exe ? target->exe : "");
	w->command = strdup(target->command ? target->command : "");
	w->pid = target->pid;
	w->ppid = target->ppid;
	w->killed = target->killed;
	return w->exe && w->command ? NULL : &seep_error_nomem;
}

static struct seep_error *make_whole(struct run_result *res, pid_t pid)
{
	_cleanup_free_ struct profile **in = calloc(res->nparts + 1, sizeof(*in));
	struct seep_error *err;
	size_t n = 0;

	if (!in)
		return &seep_error_nomem;
	for (size_t i = 0; i < res->nparts; i++)
		if (!res->parts[i]->execed)
			in[n++] = res->parts[i];
	res->replaced = n ? res->nparts - n : 0;
	if (!n) /* only programs that were replaced by ones we could not track: better than nothing */
		for (; n < res->nparts; n++)
			in[n] = res->parts[n];
	if (!n)
		return NULL;
	if (n == 1) {
		res->whole = in[0];
		return NULL;
	}
	err = profile_merge(in, n, &res->whole);
	return err ? err : name_whole(res, pid);
}

static struct seep_error *save(const struct run_options *o, struct run_result *res,
                               struct profile *p)
{
	struct seep_error *err = o->symbols ? cli_symbolize("run", p) : NULL;
	char *name;

	if (err)
		return err;
	name = snapshot_name(o->out, p);
	if (!name)
		return &seep_error_nomem;
	err = snapshot_write(p, name);
	if (err)
		free(name);
	else
		res->snapshots[res->nsnapshots++] = name;
	return err;
}

static struct seep_error *save_all(const struct run_options *o, struct run_result *res)
{
	struct seep_error *err = NULL;

	res->snapshots = calloc(res->nparts + 1, sizeof(*res->snapshots));
	if (!res->snapshots)
		return &seep_error_nomem;
	if (!o->out || !snapshot_out_is_dir(o->out))
		return save(o, res, res->whole);
	for (size_t i = 0; i < res->nparts && !err; i++)
		err = save(o, res, res->parts[i]);
	return err;
}

/* Reads one dead ledger into parts. */
static void read_part(const struct run_options *o, pid_t pid, const struct ledger_entry *l,
                      struct run_result *res)
{
	struct read_options read = { .blocks = o->blocks };
	struct profile *p = NULL;
	struct seep_error *err = ledger_read(l->path, &read, &p);

	if (!err && o->snaps->snapper && !snapper_note(o->snaps->snapper, p)) {
		profile_free(p);
		err = &seep_error_nomem;
	}
	if (err) {
		cli_fail("run", err);
		res->unreadable++;
		return;
	}
	if (l->pid == pid) {
		res->target_tracked = true;
		res->target_unfinished = p->killed;
	}
	res->parts[res->nparts++] = p;
}

/* Read by nobody any more, or kept for a person to look at. */
static void remove_ledgers(const struct ledger_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!entries[i].alive)
			(void)unlink(entries[i].path);
}

struct seep_error *run_collect(const struct run_options *o, const struct run_watch *w,
                               const struct run_end *end, struct run_result *res)
{
	const char *dir = w->dir;
	pid_t pid = w->pid;
	struct ledger_entry *entries = NULL;
	size_t n = 0;
	struct seep_error *err = settled_list(dir, &entries, &n);

	if (err)
		return err;
	res->ledgers_kept = true;
	res->parts = calloc(n + 1, sizeof(struct profile *));
	res->left = calloc(n + 1, sizeof(pid_t));
	if (!res->parts || !res->left)
		err = &seep_error_nomem;
	for (size_t i = 0; i < n && !err; i++) {
		if (entries[i].alive)
			res->left[res->nleft++] = entries[i].pid;
		else
			read_part(o, pid, &entries[i], res);
	}
	if (!err)
		err = run_times_add(w, end, res);
	if (!err)
		err = make_whole(res, pid);
	if (!err && res->whole && o->snapshot)
		err = save_all(o, res);
	if (!err && !o->keep && !res->unreadable) {
		remove_ledgers(entries, n);
		res->ledgers_kept = rmdir(dir) < 0 && errno != ENOENT;
	}
	ledger_list_free(entries, n);
	return err;
}
