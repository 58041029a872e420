/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep trim: free memory that a process's allocator keeps goes back to the kernel, and what it brought is said.
 */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/target.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "analysis/trim.h"
#include "base/buf.h"
#include "base/error.h"
#include "output/emit.h"
#include "output/trim_report.h"
#include "proc/procfs.h"

struct command {
	struct trim_options opts;
	bool json, again_given, every_given;
	uint64_t again, every, count;
	pid_t pid;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

static bool rest(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
		               .tv_nsec = (long)(ns % 1000000000u) };

	while (!interrupted && nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
	return !interrupted;
}

static void catch_interrupts(void)
{
	/* Not restarted: a rest ends at once. */
	const struct sigaction sa = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static bool has_ended(pid_t pid)
{
	struct procfs_status st;

	return procfs_status(pid, &st) || !st.has_size;
}

static struct seep_error *put(const struct command *c, struct buf *out, struct emit *e)
{
	if (!e || out->failed)
		return &seep_error_nomem;
	fwrite(out->data ? out->data : "", 1, out->len, stdout);
	fflush(stdout);
	return NULL;
}

static struct seep_error *show(const struct command *c, const struct trim *t,
                               const struct trim_later *later, const char *error, uint64_t round)
{
	const struct emit_options eo = { .format = c->json ? EMIT_JSON : EMIT_TEXT,
		                         .width = cli_width(STDOUT_FILENO),
		                         .color = cli_color(STDOUT_FILENO) };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);

	if (e && round)
		trim_report_round(t, round, e);
	else if (e)
		trim_report(t, c->opts.dry_run, later, error, e);
	return put(c, &out, e);
}

static int once(const struct command *c)
{
	_cleanup_trim_ struct trim *t = NULL;
	struct seep_error *err = trim_process(c->pid, &c->opts, &t), *shown;
	struct trim_later later = { .after_ns = c->again };
	struct trim_memory memory = { 0 };
	bool took = false, incomplete = false;

	/* What was found, and what happened before it went wrong, is worth showing. */
	if (err && (!t || !t->nparts))
		return cli_fail("trim", err);
	if (!err && c->again && !c->opts.dry_run && t->stops && rest(c->again) &&
	    !trim_memory_read(c->pid, &memory)) {
		later.memory = &memory;
		later.back = trim_again(t);
		took = true;
	}
	shown = show(c, t, took ? &later : NULL, err ? err->message : NULL, 0);
	if (err) {
		seep_error_free(shown);
		return cli_fail("trim", err);
	}
	if (shown)
		return cli_fail("trim", shown);
	for (size_t i = 0; i < t->nparts; i++)
		incomplete = incomplete || t->parts[i].problem;
	return incomplete ? CLI_FINDINGS : CLI_OK;
}

/* Again and again: what a program frees does not stay for longer than one period. */
static int every(const struct command *c)
{
	uint64_t done = 0;

	for (uint64_t round = 1; !interrupted; round++) {
		_cleanup_trim_ struct trim *t = NULL;
		struct seep_error *err = trim_process(c->pid, &c->opts, &t);

		if (err && round > 1 && has_ended(c->pid)) {
			seep_error_free(err);
			cli_warn("trim", "process %d has ended", (int)c->pid);
			break;
		}
		if (!err)
			err = show(c, t, NULL, NULL, round);
		if (err)
			return cli_fail("trim", err);
		done++;
		if ((c->count && round >= c->count) || !rest(c->every))
			break;
	}
	return done ? CLI_OK : CLI_FAILED;
}

int cmd_trim(int argc, char **argv)
{
	struct command c = { 0 };
	const struct cli_option options[] = {
		{ CLI_FLAG, 'n', "dry-run", &c.opts.dry_run, NULL,
		  "only say what would be given back", false, NULL },
		{ CLI_SIZE, 0, "limit", &c.opts.limit, "SIZE",
		  "give back SIZE at most (with --every: each time)", false, NULL },
		{ CLI_STRING, 0, "allocator", (void *)&c.opts.allocator, "NAME",
		  "only this one's memory: glibc, musl, jemalloc, gperftools, tcmalloc, mimalloc",
		  false, NULL },
		{ CLI_DURATION, 0, "wait", &c.opts.wait_ns, "TIME",
		  "how long to try for a safe moment without getting any further (default 10s)",
		  false, NULL },
		{ CLI_DURATION, 0, "again", &c.again, "TIME",
		  "look again after TIME: how much of it is in use again", false, &c.again_given },
		{ CLI_DURATION, 0, "every", &c.every, "TIME", "do it every TIME until interrupted",
		  false, &c.every_given },
		{ CLI_U64, 0, "count", &c.count, "N", "with --every: N times", false, NULL },
		{ CLI_FLAG, 'j', "json", &c.json, NULL, "JSON (docs/TRIM-JSON.md)", false, NULL },
		{ .type = CLI_END },
	};
	struct seep_error *err;
	int n = cli_parse(options, argc, argv, false);

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n != 1) {
		fprintf(stderr, "seep trim: %s: seep trim [OPTIONS] PID|NAME\n",
		        n ? "one process at a time" : "which process?");
		return CLI_FAILED;
	}
	err = target_find(argv[1], &c.pid);
	if (!err && c.every_given && !c.every)
		err = seep_error_new(0, "--every 0: give the time between two rounds, such as 60s");
	if (!err && c.every_given && (c.again_given || c.opts.dry_run))
		err = seep_error_new(0, "--every goes with neither --again nor --dry-run");
	if (err)
		return cli_fail("trim", err);
	catch_interrupts();
	/* While the process stands still it waits for this one, which waits for a processor; only root may. */
	if (setpriority(PRIO_PROCESS, 0, -20) && errno != EACCES && errno != EPERM)
		errno = 0;
	return c.every_given ? every(&c) : once(&c);
}
