/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process under `seep top`: its ledger, read again and again, and what /proc says beside it.  The
 * process itself is never touched: no signal, no ptrace, no lock of its.
 */
#include "cli/top.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "capture/capture.h"
#include "capture/process.h"
#include "proc/procfs.h"
#include "profile/profile.h"
#include "sym/sym.h"

uint64_t top_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* By its path, so that it can be read on when the name is gone. */
static void descriptor_path(const struct top_source *s, char *path, size_t size)
{
	snprintf(path, size, "/proc/self/fd/%d", s->fd);
}

/* A ledger's path taken over. */
static struct seep_error *use_ledger(struct top_source *s, char *path)
{
	_cleanup_close_ int fd = -1;
	struct ledger_entry entry = { 0 };
	struct seep_error *err = ledger_entry_read(path, &entry);

	if (!err) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			err = seep_error_new(errno, "cannot open %s", path);
	}
	if (err) {
		free(path);
		return err;
	}
	if (!s->pid)
		s->pid = entry.pid;
	s->uid = entry.uid;
	snprintf(s->name, sizeof(s->name), "%s", entry.name);
	ledger_entry_release(&entry);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = TAKE_FD(fd);
	free(s->path);
	s->path = path;
	return NULL;
}

static struct seep_error *no_ledger_hint(struct seep_error *err)
{
	return err->hint ? err
	                 : seep_error_hint(err,
	                                   "`seep ps` lists what is tracked; `seep run -- COMMAND` "
	                                   "starts a program so.");
}

struct seep_error *top_source_open(const struct top_cli *cli, const char *what,
                                   struct top_source *ret_source)
{
	struct top_source s = { .cli = cli, .fd = -1, .rss = TOP_UNKNOWN };
	struct view_options view = {
		.focus = cli->focus.items,
		.nfocus = cli->focus.n,
		.ignore = cli->ignore.items,
		.nignore = cli->ignore.n,
		.hide = cli->hide.items,
		.nhide = cli->hide.n,
	};
	struct top_options options = { .min_age = cli->min_age,
		                       .min_size = cli->min_size,
		                       .max_size = cli->max_size };
	struct seep_error *err;
	char *path = NULL;
	uint64_t pid;

	if (parse_u64(what, &pid) == 0 && pid && pid <= INT32_MAX)
		s.pid = (pid_t)pid;
	err = profile_locate(what, cli->ledger_dir, &path);
	if (!err)
		err = use_ledger(&s, path);
	if (!err && cli->kinds)
		err = cli_parse_kinds(cli->kinds, &view.kinds);
	else if (!err && cli->by == GROUP_KIND)
		view.kinds = PROF_ALL_KINDS;
	if (!err)
		err = symbol_cli_open(&cli->symbols, s.pid, &s.symbolizer);
	options.symbolizer = s.symbolizer;
	if (!err)
		err = top_new(&options, &view, &s.top);
	if (!err)
		err = top_source_refresh(&s);
	if (err) {
		top_source_close(&s);
		return no_ledger_hint(err);
	}
	*ret_source = s;
	return NULL;
}

void top_source_close(struct top_source *s)
{
	top_free(s->top);
	symbolizer_free(s->symbolizer);
	top_history_release(&s->history);
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	free(s->problem);
	*s = (struct top_source){ .fd = -1 };
}

/* ---- refresh -------------------------------------------------------------------------- */

static void look_outside(struct top_source *s)
{
	struct procfs_status status;
	struct timespec boot;
	uint64_t start, threads;
	char state;
	long hertz = sysconf(_SC_CLK_TCK);

	s->rss = TOP_UNKNOWN;
	if (procfs_status(s->pid, &status) < 0)
		return;
	if (status.rss)
		s->rss = status.rss;
	if (process_stat(s->pid, &start, &state, &threads) == 0 && hertz > 0 &&
	    clock_gettime(CLOCK_BOOTTIME, &boot) == 0) {
		double up = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 -
		            (double)start / (double)hertz;

		s->uptime_ns = up > 0 ? (uint64_t)(up * 1e9) : 0;
	}
	s->has_cgroup = cgroup_memory(s->pid, &s->cgroup) == 0;
}

static void set_problem(struct top_source *s, struct seep_error *err)
{
	free(s->problem);
	s->problem = err ? strdup(err->message) : NULL;
	seep_error_free(err);
}

static struct seep_error *read_once(struct top_source *s, struct profile **ret_profile)
{
	const struct read_options read = { .blocks = top_needs_blocks(s->cli) };
	char path[64];

	descriptor_path(s, path, sizeof(path));
	return ledger_read(path, &read, ret_profile);
}

/* After exec() the process has another ledger.  Whether there is one that is not ours. */
static bool next_program(struct top_source *s)
{
	struct seep_error *err;
	struct stat ours, theirs;
	char *path = NULL;

	err = ledger_find(s->pid, s->cli->ledger_dir, &path);
	if (!err && (fstat(s->fd, &ours) < 0 || stat(path, &theirs) < 0 ||
	             (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev))) {
		free(path);
		return false;
	}
	if (!err)
		err = use_ledger(s, path);
	if (!err)
		return true;
	seep_error_free(err);
	return false;
}

struct seep_error *top_source_refresh(struct top_source *s)
{
	struct seep_error *err;
	struct timespec real;
	struct profile *p = NULL;
	uint64_t start = top_now();
	bool first = !s->top->profile;

	if (s->ended)
		return NULL;
	err = read_once(s, &p);
	if (!err && p->execed && next_program(s)) {
		profile_free(p);
		p = NULL;
		top_history_release(&s->history);
		first = true;
		err = read_once(s, &p);
	}
	if (err && s->top->profile) {
		s->ended = kill(s->pid, 0) < 0 && errno == ESRCH;
		set_problem(s, err);
		return NULL;
	}
	if (err)
		return err;
	set_problem(s, NULL);
	s->ended = !p->live;
	clock_gettime(CLOCK_REALTIME, &real);
	s->time_ns = (uint64_t)real.tv_sec * 1000000000u + (uint64_t)real.tv_nsec;
	if (p->live)
		look_outside(s);
	if (first && top_history_seed(&s->history, p) < 0)
		err = &seep_error_nomem;
	if (err) {
		profile_free(p);
		return err;
	}
	err = top_take(s->top, p);
	if (!err &&
	    top_history_add(&s->history, s->top->profile->duration_ns,
	                    profile_totals_of(s->top->profile, s->top->view->kinds).inuse.bytes,
	                    s->ended ? TOP_UNKNOWN : s->rss) < 0)
		err = &seep_error_nomem;
	s->refresh_ns = top_now() - start;
	return err;
}

struct top_facts top_source_facts(const struct top_source *s)
{
	return (struct top_facts){
		.name = s->name,
		.pid = s->pid,
		.uid = s->uid,
		.uptime_ns = s->uptime_ns,
		.rss = s->ended ? TOP_UNKNOWN : s->rss,
		.time_ns = s->time_ns,
		.cgroup = s->has_cgroup ? s->cgroup.path : NULL,
		.limit = s->has_cgroup ? s->cgroup.limit : 0,
		.used = s->has_cgroup ? s->cgroup.used : 0,
		.ledger = s->path,
		.ended = s->ended,
	};
}
