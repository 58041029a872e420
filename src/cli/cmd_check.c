/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep check: which blocks does nothing point to any more, in a process that need not have
 * been prepared, or in a core file.
 *
 *     operand → image → check → report
 *
 * A running process is looked at twice when the first look finds something lost, and again when it was stopped inside
 * malloc, with the chain of blocks half rewritten.
 *
 * With --watch this is done again and again, and only what stayed lost from one check to the
 * next is reported: while a program runs, a pointer may be on its way from one place to another.
 */
#include <errno.h>
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
#include "capture/blocks.h"
#include "capture/capture.h"
#include "cli/check_cli.h"
#include "cli/commands.h"
#include "cli/target.h"
#include "proc/image.h"
#include "proc/procfs.h"
#include "profile/profile.h"

#define CONFIRM_NS (20 * UINT64_C(1000000)) /* between two looks at a running process */
#define MAX_LOOKS 5 /* at a heap that was caught in the middle of a change */

struct command {
	struct check_cli cli;
	const char *ledger, *ledger_dir, *why;
	uint64_t watch, count, max_stop;
	bool watch_given, clone, explain;
	struct cli_list debug_dirs;
	/* the operands */
	const char *what, *exe;
	bool core;
	pid_t pid;
};

/* ---- input ------------------------------------------------------------------------ */

/* A path is one when it names a file that is there; a bare name is a process first. */
static struct seep_error *find_target(struct command *c)
{
	struct stat st;
	uint64_t number;

	if (parse_u64(c->what, &number) < 0 && stat(c->what, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return seep_error_hint(seep_error_new(EISDIR, "cannot check %s", c->what),
			                       "Give a pid, a process's name or a core file.");
		c->core = true;
		return NULL;
	}
	if (c->exe)
		return seep_error_new(0, "%s: an executable is given with a core file only", c->exe);
	return target_find(c->what, &c->pid);
}

/*
 * Blocks of an allocator without a walker come from the ledger alone, which goes on changing: it is read while the
 * process stands still, or blocks freed and made meanwhile would look like leaks.
 */
static bool only_ledger_knows(const char *ledger)
{
	struct ledger_facts facts;
	struct seep_error *err;
	const char *base;

	if (!ledger)
		return false;
	err = ledger_facts_read(ledger, &facts);
	if (err) {
		seep_error_free(err);
		return false;
	}
	base = strrchr(facts.allocator, '/');
	base = base ? base + 1 : facts.allocator;
	return *base && strncmp(base, "libc.", 5) != 0 && strncmp(base, "libc-", 5) != 0;
}

static struct seep_error *open_image(const struct command *c, const char *ledger,
                                     struct image **ret_image)
{
	const struct image_options opts = { .clone = c->clone && !only_ledger_knows(ledger),
		                            .max_stop_ns = c->max_stop };

	if (c->core)
		return image_open_core(c->what, c->exe, ret_image);
	return image_open_process(c->pid, &opts, ret_image);
}

/* The ledger of the process, when it writes one; *ret_path NULL otherwise. */
static struct seep_error *find_ledger(const struct command *c, char **ret_path)
{
	struct ledger_entry entry = { 0 };
	struct seep_error *err;
	char *path = NULL;
	bool alive;

	*ret_path = NULL;
	if (c->ledger) {
		*ret_path = strdup(c->ledger);
		return *ret_path ? NULL : &seep_error_nomem;
	}
	if (c->core)
		return NULL;
	err = ledger_find(c->pid, c->ledger_dir, &path);
	if (!err)
		err = ledger_entry_read(path, &entry);
	alive = !err && entry.alive;
	if (!err)
		ledger_entry_release(&entry);
	seep_error_free(err); /* most processes have none */
	if (alive)
		*ret_path = TAKE(path);
	free(path);
	return NULL;
}

/* ---- one check ---------------------------------------------------------------------- */

struct input {
	struct image *img;
	char *ledger;
	const char **dirs;
	struct check_options opts;
};

static void input_release(struct input *in)
{
	image_free(in->img);
	free(in->ledger);
	free(in->dirs);
}
#define _cleanup_input_ __attribute__((cleanup(input_release)))

static struct seep_error *input_open(const struct command *c, struct input *in)
{
	struct seep_error *err = find_ledger(c, &in->ledger);

	if (!err)
		err = open_image(c, in->ledger, &in->img);
	if (err)
		return err;
	in->dirs = calloc(c->debug_dirs.n + 1, sizeof(*in->dirs));
	if (!in->dirs)
		return &seep_error_nomem;
	for (size_t i = 0; i < c->debug_dirs.n; i++)
		in->dirs[i] = c->debug_dirs.items[i];
	check_cli_apply(&c->cli, &in->opts);
	in->opts.ledger = in->ledger;
	in->opts.debug_dirs = in->dirs;
	in->opts.moment = in->img->kind == IMAGE_CORE    ? CHECK_CORE
	                  : in->img->kind == IMAGE_CLONE ? CHECK_CLONE
	                                                 : CHECK_LIVE;
	return NULL;
}

static struct seep_error *check_once(const struct command *c, const struct check_lost *persisted,
                                     struct check **ret_check)
{
	_cleanup_input_ struct input in = { 0 };
	uint64_t start;
	struct timespec ts;
	struct seep_error *err;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	start = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	err = input_open(c, &in);
	if (err)
		return err;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	in.opts.persisted = persisted;
	suppressions_clear_counts(c->cli.suppressions);
	err = check_make(in.img, &in.opts, ret_check);
	if (!err)
		(*ret_check)->coverage.ns_image = (uint64_t)ts.tv_sec * 1000000000u +
		                                  (uint64_t)ts.tv_nsec - start;
	return err;
}

/* ---- why ------------------------------------------------------------------------------ */

static int why(const struct command *c)
{
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_input_ struct input in = { 0 };
	uint64_t addr;
	struct seep_error *err;
	char *end;

	errno = 0;
	addr = strtoull(c->why, &end, 16);
	if (errno || *end || end == c->why)
		return cli_fail("check",
		                seep_error_hint(seep_error_new(0, "--why cannot be '%s'", c->why),
		                                "Give an address in hexadecimal: 0x55d0c8f012a0"));
	err = input_open(c, &in);
	if (!err)
		err = check_why(in.img, &in.opts, addr, c->explain, &out);
	if (err)
		return cli_fail("check", err);
	fwrite(out.data, 1, out.len, stdout);
	return CLI_OK;
}

/* ---- watching ----------------------------------------------------------------------- */

/* What the last check reported, by fingerprint, to tell what is new or grew. */
struct seen {
	char fingerprint[17];
	uint64_t bytes, times;
};

struct seen_list {
	struct seen *items;
	size_t n;
};

static const struct seen *seen_find(const struct seen_list *l, const char *fingerprint)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].fingerprint, fingerprint))
			return &l->items[i];
	return NULL;
}

/* Keeps what is new or grew since the last check; *ret_same counts the rest. */
static struct seep_error *keep_news(struct check *check, struct seen_list *seen, size_t *ret_same)
{
	struct leaks *l = &check->leaks;
	struct seen_list now = { calloc(l->n + 1, sizeof(struct seen)), 0 };
	size_t kept = 0, same = 0;

	if (!now.items)
		return &seep_error_nomem;
	for (size_t i = 0; i < l->n; i++) {
		struct leak_record *r = &l->records[i], swap;
		const struct seen *last = seen_find(seen, r->fingerprint);
		uint64_t bytes = r->bytes + r->indirect_bytes;

		r->persisted = last ? last->times + 1 : 1;
		memcpy(now.items[now.n].fingerprint, r->fingerprint, sizeof(r->fingerprint));
		now.items[now.n].bytes = bytes;
		now.items[now.n++].times = r->persisted;
		if (last && last->bytes >= bytes) {
			same += r->class == REACH_DEFINITE || r->class == REACH_POSSIBLE;
			continue;
		}
		swap = l->records[kept];
		l->records[kept++] = *r;
		*r = swap;
	}
	/* Those left out stay behind the end, so that they can be put back and freed. */
	l->n = kept;
	free(seen->items);
	*seen = now;
	*ret_same = same;
	return NULL;
}

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

/*
 * One check of a running program that was not stopped with a block half split or half joined: such a chain is whole
 * again a moment later.  What stays broken is damage, and is reported.
 */
static struct seep_error *check_whole(const struct command *c, const struct check_lost *persisted,
                                      struct check **ret_check)
{
	_cleanup_check_ struct check *check = NULL;
	struct seep_error *err = NULL;

	for (int looks = 0; !err && looks < MAX_LOOKS; looks++) {
		if (looks)
			rest(CONFIRM_NS);
		check_free(check);
		check = NULL;
		err = check_once(c, persisted, &check);
		if (!err && (c->core || !check->coverage.torn))
			break;
	}
	if (!err)
		*ret_check = TAKE(check);
	return err;
}

/* Whether the process is gone, or as good as: a zombie, or at its last steps with its memory released. */
static bool has_ended(pid_t pid)
{
	struct procfs_status st;

	return procfs_status(pid, &st) || !st.has_size;
}

static void say_round(const struct check *check, uint64_t round, size_t same)
{
	char when[32];
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&now, &tm));
	if (round == 1)
		printf("%s  check 1: %zu blocks are not reachable now; those that still are not at the "
		       "next check will be reported\n",
		       when, check->lost.n);
	else if (same)
		printf("%s  check %llu: %zu %s as before\n", when, (unsigned long long)round, same,
		       same == 1 ? "leak" : "leaks");
	fflush(stdout);
}

static int watch(const struct command *c)
{
	struct check_lost last = { 0 };
	struct seen_list seen = { 0 };
	struct seep_error *err = NULL;
	struct check *check = NULL;
	bool fails = false;

	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	for (uint64_t round = 1; !err && !interrupted; round++) {
		size_t same = 0, all;

		err = check_whole(c, round > 1 ? &last : NULL, &check);
		if (err && round > 1 && has_ended(c->pid)) {
			seep_error_free(err);
			err = NULL;
			cli_warn("check", "process %d has ended", (int)c->pid);
			break;
		}
		if (err)
			break;
		all = check->leaks.n;
		if (round > 1) {
			fails = check_cli_fails(&c->cli, &check, 1);
			err = keep_news(check, &seen, &same);
		}
		if (!c->cli.json)
			say_round(check, round, same);
		if (!err && round > 1 && (check->leaks.n || c->cli.json))
			err = check_cli_show(&c->cli, check, STDOUT_FILENO);
		if (!err && round > 1)
			err = check_cli_finish(&c->cli, &check, 1, STDOUT_FILENO);
		check->leaks.n = all;
		free(last.addresses);
		last = check->lost;
		check->lost = (struct check_lost){ 0 };
		check_free(check);
		check = NULL;
		if ((c->count && round >= c->count) || err || !rest(c->watch))
			break;
	}
	free(last.addresses);
	free(seen.items);
	check_free(check);
	if (err)
		return cli_fail("check", err);
	return fails ? c->cli.fail_status : CLI_OK;
}

/* ---- the command ----------------------------------------------------------------------- */

/*
 * A running program moves pointers about, and so does malloc: what is lost at this very moment need not be.  Only what
 * still is lost a moment later is reported; what is in a core, or not running, does not change.
 */
static struct seep_error *check_twice(const struct command *c, struct check **ret_check)
{
	_cleanup_check_ struct check *first = NULL;
	struct seep_error *err = check_whole(c, NULL, &first);

	if (!err && !c->core && first->lost.n) {
		rest(CONFIRM_NS);
		return check_whole(c, &first->lost, ret_check);
	}
	if (!err)
		*ret_check = TAKE(first);
	return err;
}

static int once(const struct command *c)
{
	_cleanup_check_ struct check *check = NULL;
	struct seep_error *err = check_twice(c, &check);

	if (!err)
		err = check_cli_show(&c->cli, check, STDOUT_FILENO);
	if (!err)
		err = check_cli_finish(&c->cli, &check, 1, STDOUT_FILENO);
	if (err)
		return cli_fail("check", err);
	return check_cli_fails(&c->cli, &check, 1) ? c->cli.fail_status : CLI_OK;
}

static int run(struct command *c)
{
	struct seep_error *err = check_cli_resolve(&c->cli);

	if (!err)
		err = find_target(c);
	if (!err && c->watch_given && c->core)
		err = seep_error_new(0, "--watch needs a process; %s is a file", c->what);
	if (!err && c->watch_given && !c->watch)
		err = seep_error_new(0, "--watch 0: give the time between two checks, such as 60s");
	if (!err && c->explain && !c->why)
		err = seep_error_new(0, "--explain-unreached needs --why ADDRESS");
	if (!err && c->cli.output && truncate(c->cli.output, 0) < 0 && errno != ENOENT)
		err = seep_error_new(errno, "cannot write %s", c->cli.output);
	if (err)
		return cli_fail("check", err);
	return c->why ? why(c) : c->watch_given ? watch(c) : once(c);
}

int cmd_check(int argc, char **argv)
{
	struct command c = { .clone = true };
	struct cli_option options[CHECK_CLI_ROWS + 16];
	const struct cli_option own[] = {
		{ CLI_FLAG, 0, "clone", &c.clone, NULL,
		  "check a copy-on-write clone (default); --no-clone: the process stands still "
		  "meanwhile",
		  false, NULL },
		{ CLI_DURATION, 0, "max-stop", &c.max_stop, "TIME",
		  "give up when the process would have to stand still for longer (default 30s)",
		  false, NULL },
		{ CLI_DURATION, 'w', "watch", &c.watch, "TIME",
		  "check again every TIME; report what stays lost, and then what is new", false,
		  &c.watch_given },
		{ CLI_U64, 0, "count", &c.count, "N", "end after N checks (with --watch)", false,
		  NULL },
		{ CLI_STRING, 0, "why", &c.why, "ADDRESS",
		  "show how the block at ADDRESS is held, from a root on", false, NULL },
		{ CLI_FLAG, 0, "explain-unreached", &c.explain, NULL,
		  "with --why: also look for unaligned and tagged pointers to it", false, NULL },
		{ CLI_STRING, 0, "ledger", &c.ledger, "FILE",
		  "the ledger that has the stacks (default: the one the process writes)", false,
		  NULL },
		{ CLI_STRING, 0, "ledger-dir", &c.ledger_dir, "DIR", "look for its ledger there",
		  false, NULL },
		{ CLI_FLAG, 'j', "json", &c.cli.json, NULL, "JSON (docs/CHECK-JSON.md)", false,
		  NULL },
		{ CLI_STRING, 'o', "output", &c.cli.output, "FILE", "write to FILE", false, NULL },
		{ CLI_FLAG, 0, "symbols", &c.cli.symbols, NULL,
		  "give addresses names (default; --no-symbols: do not)", false, NULL },
		{ CLI_LIST, 0, "debug-dir", &c.debug_dirs, "DIR", "also look for debug files here",
		  false, NULL },
		{ .type = CLI_END },
	};
	int n, status;

	check_cli_init(&c.cli);
	memcpy(options + check_cli_options(&c.cli, options), own, sizeof(own));
	n = cli_parse(options, argc, argv, false);
	if (n < 0) {
		check_cli_release(&c.cli);
		return n == -2 ? CLI_OK : CLI_FAILED;
	}
	if (!n || n > 2) {
		status = cli_fail(
			"check",
			seep_error_hint(seep_error_new(0, n ? "too many operands" : "check what?"),
		                        "Name a pid, a process or a core file (and its executable)."));
	} else {
		c.what = argv[1];
		c.exe = n > 1 ? argv[2] : NULL;
		status = run(&c);
	}
	check_cli_release(&c.cli);
	free(c.debug_dirs.items);
	return status;
}
