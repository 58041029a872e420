/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep ps: the ledgers there are, live and dead, and with --clean the end of the dead ones.
 *
 * Cleaning asks nothing, so it is careful: only files that are ledgers, only one's
 * own, only of processes that have ended, and none of a `seep run` that is still at
 * work, which will read them itself.
 */
#include "capture/capture.h"
#include "capture/process.h"
#include "cli/cli.h"
#include "cli/commands.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/emit.h"
#include "output/units.h"
#include "wire/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ps_options {
	bool json, clean;
	const char *dir;
};

static const char *state_name(const struct ledger_entry *e)
{
	if (e->state == LEDGER_DISABLED)
		return "disabled";
	if (e->alive)
		return "running";
	if (e->execed)
		return "replaced"; /* by exec */
	if (e->state == LEDGER_DETACHED)
		return "detached";
	return e->state == LEDGER_EXITED ? "exited" : "killed";
}

/* "full", "1/512K" for one sample each 512 KB on average, or "off". */
static void mode_text(const struct ledger_entry *e, char *text, size_t size)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (e->mode == LEDGER_SAMPLED)
		unit_bytes(&b, e->period);
	if (e->inactive && e->alive)
		snprintf(text, size, "off");
	else
		snprintf(text, size, "%s%s", b.data ? "1/" : "full", b.data ? b.data : "");
}

static uint64_t age(const struct ledger_entry *e)
{
	struct timespec now;
	uint64_t ns;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return ns > e->start_real_ns ? ns - e->start_real_ns : 0;
}

static void print(struct emit *e, const struct ledger_entry *entries, size_t n)
{
	static const struct emit_column columns[] = {
		{ .key = "pid", .title = "PID" },
		{ .key = "state", .title = "STATE" },
		{ .key = NULL, .title = "MODE" },
		{ .key = "sampled", .title = NULL },
		{ .key = "period", .title = NULL },
		{ .key = "inuse_bytes", .title = "IN USE" },
		{ .key = "inuse_blocks", .title = "BLOCKS" },
		{ .key = "alloc_bytes", .title = "ALLOCATED" },
		{ .key = "alloc_blocks", .title = NULL },
		{ .key = "sites", .title = NULL },
		{ .key = "ledger_bytes", .title = "LEDGER" },
		{ .key = "age_ns", .title = "AGE" },
		{ .key = "start_ns", .title = NULL },
		{ .key = "uid", .title = NULL },
		{ .key = "exec_seq", .title = NULL },
		{ .key = "ledger", .title = NULL },
		{ .key = "command", .title = "COMMAND", .flags = EMIT_SHRINK },
	};

	emit_object(e, NULL);
	emit_table(e, "ledgers", 0, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++) {
		const struct ledger_entry *l = &entries[i];
		char mode[32];

		mode_text(l, mode, sizeof(mode));
		emit_row(e, 0, l->alive ? EMIT_PLAIN : EMIT_DIM,
		         (struct emit_value[]){
				 emit_number(l->pid), emit_string(state_name(l)), emit_string(mode),
				 emit_bool(l->mode == LEDGER_SAMPLED), emit_bytes(l->period),
				 emit_bytes(l->inuse_bytes), emit_count(l->inuse_blocks),
				 emit_bytes(l->alloc_bytes), emit_count(l->alloc_blocks),
				 emit_count(l->nsites), emit_bytes(l->ledger_bytes),
				 emit_duration(age(l)), emit_number((int64_t)l->start_real_ns),
				 emit_number(l->uid), emit_number(l->exec_seq),
				 emit_string(l->path), emit_string(l->command) });
	}
	emit_table_end(e);
	emit_object_end(e);
}

/* ---- cleaning -------------------------------------------------------------------- */

/* ".../run-PID.XXXXXX/..." of a `seep run` that still runs. */
static bool run_at_work(const char *path)
{
	const char *slash = strrchr(path, '/'), *run;
	uint64_t start, threads;
	char state;

	run = slash ? memrchr(path, '/', (size_t)(slash - path)) : NULL;
	if (!run || strncmp(run, "/run-", 5) != 0)
		return false;
	return process_stat(atoi(run + 5), &start, &state, &threads) == 0 && state != 'Z';
}

/* The directory of a run that has lost its last ledger; fails, rightly, while it holds anything. */
static void remove_run_dir(const char *path)
{
	_cleanup_free_ char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));
	const char *slash = dir ? strrchr(dir, '/') : NULL;

	if (slash && !strncmp(slash, "/run-", 5))
		(void)rmdir(dir);
}

static int clean(const struct ps_options *o, struct emit *e, const struct ledger_entry *entries,
                 size_t n)
{
	uint64_t removed = 0, bytes = 0;
	int status = CLI_OK;

	for (size_t i = 0; i < n; i++) {
		const struct ledger_entry *l = &entries[i];

		if (l->alive || l->uid != geteuid() || run_at_work(l->path))
			continue;
		if (unlink(l->path) < 0) {
			if (errno != ENOENT)
				status = cli_fail("ps", seep_error_new(errno, "cannot remove %s",
				                                       l->path));
			continue;
		}
		remove_run_dir(l->path);
		removed++;
		bytes += l->ledger_bytes;
	}
	emit_object(e, NULL);
	emit_line(e, EMIT_PLAIN,
	          removed == 1 ? "% ledger of an ended process removed, % freed"
	                       : "% ledgers of ended processes removed, % freed",
	          (struct emit_part[]){ { .key = "removed", .value = emit_count(removed) },
	                                { .key = "freed_bytes", .value = emit_bytes(bytes) } },
	          2);
	emit_object_end(e);
	return status;
}

int cmd_ps(int argc, char **argv)
{
	struct ps_options o = { 0 };
	const struct cli_option opts[] = {
		{ CLI_FLAG, 0, "clean", &o.clean, NULL,
		  "remove your ledgers of processes that have ended", false, NULL },
		{ CLI_STRING, 0, "ledger-dir", &o.dir, "DIR",
		  "list the ledgers there (default: /dev/shm/seep-UID)", false, NULL },
		{ CLI_FLAG, 0, "json", &o.json, NULL, "print JSON", false, NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(opts, argc, argv, false), status = CLI_OK;
	struct emit_options eo = { 0 };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = NULL;
	struct ledger_entry *entries = NULL;
	struct seep_error *err;
	size_t count = 0;

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n > 0) {
		fprintf(stderr,
		        "seep ps: there is nothing to name here; `seep report %s` looks at one process\n",
		        argv[1]);
		return CLI_FAILED;
	}
	err = ledger_list(o.dir, &entries, &count);
	if (err)
		return cli_fail("ps", err);
	eo.format = o.json ? EMIT_JSON : EMIT_TEXT;
	eo.width = cli_width(STDOUT_FILENO);
	eo.color = cli_color(STDOUT_FILENO);
	e = emit_new(&eo, &out);
	if (!e)
		status = cli_fail("ps", &seep_error_nomem);
	else if (o.clean)
		status = clean(&o, e, entries, count);
	else if (count || o.json)
		print(e, entries, count);
	else
		buf_puts(&out, "Nothing is tracked. Start something with: seep run -- COMMAND\n");
	ledger_list_free(entries, count);
	if (out.failed)
		return cli_fail("ps", &seep_error_nomem);
	fputs(out.data ? out.data : "", stdout);
	return status;
}
