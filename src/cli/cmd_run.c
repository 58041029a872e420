/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep run: a program under the tracker from its first allocation to its end, and
 * what it did with its memory.
 *
 *     check → private directory → start → watch → collect → summary
 *
 * The target's own exit status is ours, whatever else goes wrong after it ended.
 * Everything seep says goes to stderr: stdout is the target's.
 */
#include "capture/launch.h"
#include "capture/rss_log.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/run.h"
#include "cli/run_check.h"
#include "cli/snap_cli.h"
#include "cli/snapshot_name.h"
#include "cli/status_line.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEFAULT_PERIOD (512u << 10)

/* Arguments joined by blanks, as ps shows them. */
static char *join(char *const *argv)
{
	struct buf b = { 0 };

	for (; *argv; argv++)
		buf_printf(&b, "%s%s", b.len ? " " : "", *argv);
	return buf_steal(&b);
}

static struct seep_error *check_options(struct run_options *o)
{
	if (o->sampled && !o->period)
		return seep_error_new(0, "--sample 0: sampling needs a period of at least one byte");
	if (!o->out)
		return NULL;
	/* Before a run of hours, not after it. */
	if (o->out[0] && o->out[strlen(o->out) - 1] == '/' && mkdir(o->out, 0777) < 0 &&
	    errno != EEXIST)
		return seep_error_new(errno, "cannot make the directory %s", o->out);
	if (!snapshot_out_is_dir(o->out)) {
		const char *slash = strrchr(o->out, '/');
		_cleanup_free_ char *dir =
			slash ? strndup(o->out, slash == o->out ? 1 : (size_t)(slash - o->out))
			      : strdup(".");

		if (!dir || access(dir, W_OK) < 0)
			return seep_error_new(errno, "cannot write the snapshot %s", o->out);
	}
	return NULL;
}

/* Where the summary goes: stderr, or --json=FILE. */
static struct seep_error *summarize(const struct run_options *o, const struct run_end *end,
                                    const struct run_result *res, const char *dir,
                                    char *const *argv, pid_t pid)
{
	_cleanup_free_ char *command = join(argv);
	_cleanup_fclose_ FILE *file = NULL;
	struct seep_error *err = NULL;

	if (!command)
		return &seep_error_nomem;
	if (o->json_given && o->json) {
		file = fopen(o->json, "we");
		if (!file)
			return seep_error_new(errno, "cannot write %s", o->json);
	}
	if (res->whole && !o->symbols)
		err = cli_symbolize(NULL, res->whole); /* `seep report` will say what it lacks */
	if (!err)
		err = run_summary(o, end, res, dir, command, pid, file ? file : stderr);
	if (!err && file && fflush(file) != 0)
		err = seep_error_new(errno, "cannot write %s", o->json);
	return err;
}

static int exit_status(const struct run_end *end)
{
	return WIFSIGNALED(end->status) ? 128 + WTERMSIG(end->status) : WEXITSTATUS(end->status);
}

/* What was not checked, and why: a check that is silently missing would look like a clean one. */
static void say_unchecked(const struct run_check *check, const struct run_end *end, pid_t pid)
{
	if (check->mode == CHECK_MODE_NONE || check->mode == CHECK_MODE_LOCAL ||
	    check->target_ended || check->failed)
		return;
	if (WIFSIGNALED(end->status))
		cli_warn("run",
		         "process %d was ended by signal %d (%s): it could not be checked for leaks. A "
		         "core file can: seep check CORE",
		         (int)pid, WTERMSIG(end->status), strsignal(WTERMSIG(end->status)));
	else
		cli_warn("run",
		         "process %d was not checked for leaks: its end was not seen. It may have gone "
		         "on as another program, or is one the tracker cannot be loaded into",
		         (int)pid);
}

/* The same for the other processes of the run. */
static void say_unchecked_children(const struct run_check *check, const struct run_result *res,
                                   pid_t pid)
{
	struct buf pids = { 0 };
	size_t n = 0;

	if (check->mode == CHECK_MODE_NONE || check->mode == CHECK_MODE_LOCAL)
		return;
	for (size_t i = 0; i < res->nparts; i++) {
		const struct profile *p = res->parts[i];

		if (p->pid == pid || p->execed || run_check_made(check, p->pid))
			continue;
		if (n++ < 8)
			buf_printf(&pids, "%s%d", n > 1 ? ", " : "", (int)p->pid);
	}
	if (n)
		cli_warn("run",
		         "%zu more process%s not checked for leaks (%s%s): ended by a signal, or running as "
		         "another user than this one",
		         n, n == 1 ? " was" : "es were", pids.data ? pids.data : "",
		         n > 8 ? ", ..." : "");
	buf_release(&pids);
}

/* What SEEP_OPTIONS says besides: checks, the signal, whether to begin at once. */
static char *tracker_options(const struct run_options *o, const struct run_check *check,
                             const struct snap_cli *snaps)
{
	struct buf b = { 0 };

	buf_puts(&b, run_check_tracker_options(check));
	if (snaps->signo)
		buf_printf(&b, "%ssignal=%d", b.len ? "," : "", snaps->signo);
	if (o->inactive)
		buf_printf(&b, "%sactive=0", b.len ? "," : "");
	return buf_steal(&b);
}

static void say_snaps(const struct run_options *o, const struct snap_cli *snaps)
{
	size_t n = snaps->snapper ? snapper_count(snaps->snapper) : 0;

	if (n && !o->quiet)
		fprintf(stderr, "seep: took %zu snapshot%s, %zu are in %s\n", n, n == 1 ? "" : "s",
		        snapper_kept(snaps->snapper), snapper_dir(snaps->snapper));
}

static int run(const struct run_options *o, struct run_check *check, struct snap_cli *snaps,
               char **argv)
{
	_cleanup_free_ char *options = tracker_options(o, check, snaps);
	struct run_watch watch = { .signals = -1, .check = check, .snaps = snaps };
	struct launch_options launch = { .argv = argv,
		                         .follow = o->follow,
		                         .tracker_options = options,
		                         .period = o->sampled ? o->period : 0 };
	_cleanup_free_ char *dir = NULL, *path = NULL;
	struct run_result res = { 0 };
	struct run_end end = { 0 };
	struct seep_error *err;
	int status = CLI_FAILED;

	if (!options)
		return cli_fail("run", &seep_error_nomem);
	err = launch_check(argv[0], &path, &status);
	if (err) {
		cli_fail("run", err);
		return status;
	}
	err = launch_make_dir(o->dir, &dir);
	if (err)
		return cli_fail("run", err);
	err = run_check_listen(check, dir);
	if (!err)
		err = snap_cli_listen(snaps, dir, 0);
	if (!err)
		err = run_watch_init(&watch);
	if (!err) {
		launch.ledger_dir = dir;
		launch.sigmask = &watch.mask;
		status = CLI_FAILED;
		err = launch_start(&launch, &watch.pid, &status);
	}
	if (err) {
		run_check_release(check);
		snap_cli_release(snaps);
		rmdir(dir);
		run_watch_release(&watch);
		cli_fail("run", err);
		return status;
	}
	watch.dir = dir;
	watch.rss = rss_log_new(dir);
	watch.progress = o->progress && !o->quiet && status_line_possible();
	/* The target runs: it shall not suffer from what cannot be watched. */
	err = snap_cli_start(snaps, dir, NULL, watch.pid, argv[0]);
	if (err)
		cli_fail("run", err);
	err = run_watch_wait(&watch, &end);
	snap_cli_finish(snaps);
	say_snaps(o, snaps);
	if (!err) {
		status = exit_status(&end);
		run_check_drain(check, watch.pid);
		say_unchecked(check, &end, watch.pid);
		err = run_check_finish(check);
		if (run_check_fails(check))
			status = check->cli.fail_status;
	}
	if (err) {
		cli_fail("run", err);
		err = NULL;
	}
	if (!err)
		err = run_collect(o, &watch, &end, &res);
	if (err) {
		cli_fail("run", seep_error_hint(err, "The ledgers are kept in %s", dir));
		err = NULL;
	}
	if (!err)
		say_unchecked_children(check, &res, watch.pid);
	if (o->summary && !o->quiet)
		err = summarize(o, &end, &res, dir, argv, watch.pid);
	if (err)
		cli_fail("run", err);
	run_result_release(&res);
	rss_log_free(watch.rss);
	run_watch_release(&watch);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run_options o = {
		.period = DEFAULT_PERIOD, .follow = true, .summary = true, .progress = true
	};
	struct cli_option opts[RUN_CHECK_ROWS + SNAP_CLI_ROWS + 20];
	struct run_check check;
	struct snap_cli snaps;
	size_t rows;
	bool summary_given = false;
	const struct cli_option own[] = {
		{ CLI_SIZE, 0, "sample", &o.period, "BYTES",
		  "track one block for each so many bytes on average (default 512K), not all", true,
		  &o.sampled },
		{ CLI_FLAG, 0, "follow", &o.follow, NULL,
		  "track child processes too (default; --no-follow: not)", false, NULL },
		{ CLI_STRING, 'o', "output", &o.out, "FILE|DIR",
		  "where the snapshot goes (default ./seep.PID.NAME.seep); DIR: one for each process",
		  false, NULL },
		{ CLI_FLAG, 0, "symbols", &o.symbols, NULL,
		  "put functions and lines into the snapshot", false, NULL },
		{ CLI_FLAG, 0, "blocks", &o.blocks, NULL, "keep every live block in the snapshot",
		  false, NULL },
		{ CLI_STRING, 0, "ledger-dir", &o.dir, "DIR",
		  "keep ledgers there while running (default /dev/shm)", false, NULL },
		{ CLI_FLAG, 0, "keep-ledger", &o.keep, NULL, "do not remove the ledgers afterwards",
		  false, NULL },
		{ CLI_FLAG, 'q', "quiet", &o.quiet, NULL, "say nothing but errors", false, NULL },
		{ CLI_FLAG, 0, "summary", &o.summary, NULL,
		  "summary at the end (default, but with checks; --no-summary: none)", false,
		  &summary_given },
		{ CLI_FLAG, 0, "progress", &o.progress, NULL,
		  "progress on a terminal (default; --no-progress: none)", false, NULL },
		{ CLI_FLAG, 0, "inactive", &o.inactive, NULL,
		  "record nothing until `seep ctl PID active=on` (--no-inactive: at once)", false,
		  NULL },
		{ CLI_STRING, 0, "json", &o.json, "FILE",
		  "the summary as JSON (default: to stderr)", true, &o.json_given },
		{ .type = CLI_END },
	};
	struct seep_error *err;
	int n, status = CLI_FAILED;

	run_check_init(&check);
	snap_cli_init(&snaps, "run");
	rows = run_check_options(&check, opts);
	rows += snap_cli_options(&snaps, opts + rows);
	memcpy(opts + rows, own, sizeof(own));
	n = cli_parse(opts, argc, argv, true);
	if (n < 0) {
		status = n == -2 ? CLI_OK : CLI_FAILED;
	} else if (!n) {
		fprintf(stderr, "seep run: which program?  seep run -- COMMAND [ARGUMENTS]\n");
	} else {
		err = check_options(&o);
		if (!err)
			err = run_check_resolve(&check);
		if (!err)
			err = snap_cli_resolve(&snaps);
		o.snaps = &snaps;
		snaps.symbols = o.symbols;
		snaps.blocks = o.blocks;
		if (check.mode != CHECK_MODE_NONE && !summary_given)
			o.summary = false; /* the checks are what was asked for */
		/* Without a check the snapshot is what a run is for; with one, a name for it says that it is wanted. */
		o.snapshot = check.mode == CHECK_MODE_NONE || o.out || o.summary;
		status = err ? cli_fail("run", err) : run(&o, &check, &snaps, argv + 1);
	}
	run_check_release(&check);
	snap_cli_release(&snaps);
	return status;
}
