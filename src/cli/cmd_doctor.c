/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep doctor: where all the memory of a process is, why, and what to do.
 *
 *     seep doctor PID                       one look
 *     seep doctor --watch 5m PID            two looks, and what grew between them
 *     seep doctor --compare A.json B.json   the same from two looks that were kept
 *     seep doctor core.4711 ./service       a core file
 *
 * Ctrl-C while it waits for the second look brings that look forward.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "analysis/doctor.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "capture/capture.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/target.h"
#include "output/doctor_report.h"
#include "output/emit.h"
#include "proc/procfs.h"

#define MAX_JSON (64u << 20)

struct command {
	const char *output, *ledger, *ledger_dir;
	uint64_t watch, max_stop;
	bool watch_given, compare, json, all, clone, symbols, leaks, ask;
	struct cli_list debug_dirs;
};

/* ---- what is looked at ------------------------------------------------------------------- */

/* The ledger of the process, when it writes one; NULL otherwise. */
static char *find_ledger(const struct command *c, pid_t pid)
{
	struct ledger_entry entry = { 0 };
	struct seep_error *err;
	char *path = NULL;
	bool alive;

	if (c->ledger)
		return strdup(c->ledger);
	err = ledger_find(pid, c->ledger_dir, &path);
	if (!err)
		err = ledger_entry_read(path, &entry);
	alive = !err && entry.alive;
	if (!err)
		ledger_entry_release(&entry);
	seep_error_free(err); /* most processes have none */
	if (!alive)
		free(TAKE(path));
	return path;
}

static struct seep_error *look(const struct command *c, const char *core, const char *exe,
                               pid_t pid, struct doctor **ret)
{
	_cleanup_free_ const char **dirs = calloc(c->debug_dirs.n + 1, sizeof(*dirs));
	_cleanup_free_ char *ledger = NULL;
	struct doctor_options opts = { .no_symbols = !c->symbols,
		                       .no_leaks = !c->leaks,
		                       .no_clone = !c->clone,
		                       .no_ask = !c->ask,
		                       .max_stop_ns = c->max_stop };

	if (!dirs)
		return &seep_error_nomem;
	for (size_t i = 0; i < c->debug_dirs.n; i++)
		dirs[i] = c->debug_dirs.items[i];
	opts.debug_dirs = dirs;
	if (core) {
		opts.ledger = c->ledger;
		return doctor_core(core, exe, &opts, ret);
	}
	ledger = find_ledger(c, pid);
	opts.ledger = ledger;
	return doctor_process(pid, &opts, ret);
}

static struct seep_error *read_look(const char *path, struct doctor **ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct seep_error *err;
	int r = procfs_read_file(path, MAX_JSON, &text);

	if (r < 0)
		return seep_error_new(-r, "cannot read %s", path);
	err = doctor_read(text.data ? text.data : "", text.len, ret);
	return err ? seep_error_wrap(err, "%s", path) : NULL;
}

/* ---- what is shown ------------------------------------------------------------------------- */

static struct seep_error *write_out(const struct command *c, const struct buf *b)
{
	_cleanup_close_ int file = -1;
	int fd = STDOUT_FILENO;

	if (b->failed)
		return &seep_error_nomem;
	if (c->output)
		fd = file = open(c->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return seep_error_new(errno, "cannot write %s", c->output);
	for (size_t done = 0; done < b->len;) {
		ssize_t n = write(fd, b->data + done, b->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return seep_error_new(n < 0 ? errno : EIO, "cannot write %s",
			                      c->output ? c->output : "to standard output");
		done += (size_t)n;
	}
	return NULL;
}

static struct seep_error *show(const struct command *c, struct doctor *d,
                               const struct doctor *before)
{
	const struct emit_options eo = { .format = c->json ? EMIT_JSON : EMIT_TEXT,
		                         .width = c->output ? 100 : cli_width(STDOUT_FILENO),
		                         .color = !c->output && cli_color(STDOUT_FILENO) };
	const struct doctor_report_options o = { .all = c->all };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	struct seep_error *err = e ? NULL : &seep_error_nomem;

	if (!err)
		err = doctor_judge(d, before);
	if (!err)
		err = doctor_report_emit(e, d, before, &o);
	if (!err && c->json)
		buf_putc(&out, '\n');
	return err ? err : write_out(c, &out);
}

/* ---- the ways of looking ---------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

static void wait_for(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
		               .tv_nsec = (long)(ns % 1000000000u) };
	struct sigaction quick = { .sa_handler = on_interrupt }, old;

	sigaction(SIGINT, &quick, &old);
	while (!interrupted && nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &old, NULL);
}

static struct seep_error *compare(const struct command *c, char **operands, int n)
{
	_cleanup_doctor_ struct doctor *a = NULL, *b = NULL;
	struct seep_error *err;

	if (n != 2)
		return seep_error_hint(seep_error_new(0, "--compare needs two files"),
		                       "seep doctor --compare BEFORE.json AFTER.json");
	err = read_look(operands[0], &a);
	if (!err)
		err = read_look(operands[1], &b);
	if (!err && a->real_ns > b->real_ns && b->real_ns)
		err = seep_error_hint(seep_error_new(0, "%s is later than %s", operands[0],
		                                     operands[1]),
		                      "Give the earlier look first.");
	if (err)
		return err;
	if (a->pid != b->pid || strcmp(a->exe, b->exe) != 0)
		cli_warn("doctor", "the two looks are at different processes (%d and %d)",
		         (int)a->pid, (int)b->pid);
	return show(c, b, a);
}

static struct seep_error *process(const struct command *c, const char *what, const char *exe)
{
	_cleanup_doctor_ struct doctor *first = NULL, *second = NULL;
	struct seep_error *err;
	struct stat st;
	uint64_t ignored;
	pid_t pid = 0;

	/* A path is one when it names a file that is there; a bare name is a process first. */
	if (parse_u64(what, &ignored) < 0 && stat(what, &st) == 0 && S_ISREG(st.st_mode)) {
		if (c->watch_given)
			return seep_error_new(0, "--watch needs a process; %s is a file", what);
		err = look(c, what, exe, 0, &first);
		return err ? err : show(c, first, NULL);
	}
	if (exe)
		return seep_error_new(0, "%s: an executable is given with a core file only", exe);
	err = target_find(what, &pid);
	if (!err)
		err = look(c, NULL, NULL, pid, &first);
	if (err || !c->watch_given)
		return err ? err : show(c, first, NULL);
	wait_for(c->watch);
	err = look(c, NULL, NULL, pid, &second);
	return err ? err : show(c, second, first);
}

int cmd_doctor(int argc, char **argv)
{
	struct command c = { .clone = true, .symbols = true, .leaks = true, .ask = true };
	const struct cli_option options[] = {
		{ CLI_DURATION, 'w', "watch", &c.watch, "TIME",
		  "look twice, TIME apart, and explain what grew", false, &c.watch_given },
		{ CLI_FLAG, 0, "compare", &c.compare, NULL,
		  "compare two looks written with --json: BEFORE.json AFTER.json", false, NULL },
		{ CLI_FLAG, 'j', "json", &c.json, NULL, "JSON (docs/DOCTOR-JSON.md)", false, NULL },
		{ CLI_STRING, 'o', "output", &c.output, "FILE", "write to FILE", false, NULL },
		{ CLI_FLAG, 'a', "all", &c.all, NULL, "everything in full, not one screen first",
		  false, NULL },
		{ CLI_FLAG, 0, "leaks", &c.leaks, NULL,
		  "mark what is reachable (default); --no-leaks: all blocks count as reachable",
		  false, NULL },
		{ CLI_FLAG, 0, "ask", &c.ask, NULL,
		  "call other allocators' statistics functions in the process (default); --no-ask: do not",
		  false, NULL },
		{ CLI_FLAG, 0, "clone", &c.clone, NULL,
		  "look at a copy-on-write clone (default); --no-clone: the process stands still "
		  "meanwhile",
		  false, NULL },
		{ CLI_DURATION, 0, "max-stop", &c.max_stop, "TIME",
		  "give up when the process would have to stand still for longer (default 30s)",
		  false, NULL },
		{ CLI_STRING, 0, "ledger", &c.ledger, "FILE",
		  "the ledger that has the stacks (default: the one the process writes)", false,
		  NULL },
		{ CLI_STRING, 0, "ledger-dir", &c.ledger_dir, "DIR", "look for its ledger there",
		  false, NULL },
		{ CLI_FLAG, 0, "symbols", &c.symbols, NULL,
		  "give addresses names (default; --no-symbols: do not)", false, NULL },
		{ CLI_LIST, 0, "debug-dir", &c.debug_dirs, "DIR", "also look for debug files here",
		  false, NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(options, argc, argv, false);
	struct seep_error *err;

	if (n < 0) {
		free(c.debug_dirs.items);
		return n == -2 ? CLI_OK : CLI_FAILED;
	}
	if (c.compare && c.watch_given)
		err = seep_error_new(0, "--compare and --watch are two ways of looking: give one");
	else if (c.compare)
		err = compare(&c, argv + 1, n);
	else if (n < 1 || n > 2)
		err = seep_error_hint(seep_error_new(0, n ? "too many operands" : "look at what?"),
		                      "Name a pid, a process or a core file (and its executable).");
	else
		err = process(&c, argv[1], n > 1 ? argv[2] : NULL);
	free(c.debug_dirs.items);
	return err ? cli_fail("doctor", err) : CLI_OK;
}
