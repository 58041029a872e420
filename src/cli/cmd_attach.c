/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep attach: a tracker for a process that is already running.
 *
 * Injecting is tried first; where it cannot work and the kernel allows uprobes, those are taken, and the reason is
 * said.  --for and --budget leave a small process behind that detaches when it is time.
 */
#include "capture/attach.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/target.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FULL_BUDGET (1ull << 30)

struct attach_cli {
	struct attach_options opts;
	bool inject, bpf, sample_given, budget_given, json;
};

#ifdef SEEP_HAVE_BPF
static struct seep_error *by_bpf(pid_t pid, const struct attach_options *o, struct attach_result *r)
{
	return attach_bpf(pid, o, r);
}

static char *no_bpf(pid_t pid)
{
	return attach_bpf_obstacle(pid);
}
#else
static struct seep_error *by_bpf(pid_t pid, const struct attach_options *o, struct attach_result *r)
{
	(void)pid;
	(void)o;
	(void)r;
	return seep_error_hint(seep_error_new(0, "this seep was built without uprobes (BPF)"),
	                       "Leave --bpf out to inject the tracker.");
}

static char *no_bpf(pid_t pid)
{
	(void)pid;
	return strdup("this seep was built without uprobes (BPF)");
}
#endif

/* The one that works, and why it is not the usual one. */
static struct seep_error *attach_somehow(pid_t pid, const struct attach_options *o,
                                         struct attach_result *ret)
{
	_cleanup_free_ char *why = NULL, *why_not = NULL;
	struct seep_error *err = NULL, *other;

	if (o->path == ATTACH_BPF)
		return by_bpf(pid, o, ret);
	if (o->path == ATTACH_INJECT)
		return attach_inject(pid, o, ret);
	why = attach_inject_obstacle(pid);
	if (!why) {
		err = attach_inject(pid, o, ret);
		if (!err || !ret->untouched)
			return err;
		why = strdup(err->message);
	}
	why_not = no_bpf(pid);
	if (why_not) /* the first reason is the better one */
		return err ? err : attach_inject(pid, o, ret);
	other = by_bpf(pid, o, ret);
	if (other && err) {
		seep_error_free(other);
		return err;
	}
	seep_error_free(err);
	if (!other && !ret->reason)
		ret->reason = TAKE(why);
	return other;
}

static int tell(const struct attach_cli *c, pid_t pid, const struct attach_result *r)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct emit_options eo = { .format = c->json ? EMIT_JSON : EMIT_TEXT,
		                   .width = cli_width(STDOUT_FILENO) };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	struct emit_part parts[] = {
		{ .key = "pid", .value = emit_number(pid) },
		{ .key = "path", .value = emit_string(r->path == ATTACH_BPF ? "bpf" : "inject") },
		{ .key = "total_ns", .value = emit_duration(r->total_ns) },
	};
	struct emit_part stopped[] = {
		{ .key = "stopped_ns", .value = emit_duration(r->stopped_ns) },
	};
	struct emit_part ledger[] = {
		{ .key = "ledger", .value = emit_string(r->ledger) },
	};
	struct emit_part before[] = {
		{ .key = "before_bytes", .value = emit_bytes(r->before_bytes) },
		{ .key = "before_blocks", .value = emit_count(r->before_blocks) },
	};
	struct emit_part reason[] = {
		{ .key = "reason", .value = emit_string(r->reason ? r->reason : "") },
	};

	if (!e)
		return cli_fail("attach", &seep_error_nomem);
	emit_object(e, NULL);
	emit_line(e, EMIT_PLAIN, "attached to process % (%) in %", parts, ARRAY_SIZE(parts));
	if (r->reason)
		emit_line(e, EMIT_PLAIN, "  by uprobes: %", reason, ARRAY_SIZE(reason));
	if (r->stopped_ns)
		emit_line(e, EMIT_PLAIN, "  stood still for %", stopped, ARRAY_SIZE(stopped));
	if (r->before_blocks)
		emit_line(e, EMIT_PLAIN, "  before attach: % in % blocks, without stacks", before,
		          ARRAY_SIZE(before));
	emit_line(e, EMIT_PLAIN, "  ledger %", ledger, ARRAY_SIZE(ledger));
	emit_object_end(e);
	if (out.failed)
		return cli_fail("attach", &seep_error_nomem);
	fputs(out.data ? out.data : "", stdout);
	return CLI_OK;
}

static int usage(const char *command, int n)
{
	fprintf(stderr, "seep %s: %s: seep %s [OPTIONS] PID|NAME\n", command,
	        n ? "one process at a time" : "which process?", command);
	return CLI_FAILED;
}

int cmd_attach(int argc, char **argv)
{
	struct attach_cli c = { 0 };
	const struct cli_option opts[] = {
		{ CLI_FLAG, 0, "full", &c.opts.full, NULL, "record every block", false, NULL },
		{ CLI_SIZE, 0, "sample", &c.opts.period, "SIZE",
		  "record about one block in SIZE bytes (default: 512K)", true, &c.sample_given },
		{ CLI_DURATION, 0, "for", &c.opts.for_ns, "TIME", "detach by itself after TIME",
		  false, NULL },
		{ CLI_SIZE, 0, "budget", &c.opts.budget, "SIZE",
		  "detach by itself when the ledger takes more than SIZE (with --full: 1G; 0: never)",
		  false, &c.budget_given },
		{ CLI_FLAG, 0, "inject", &c.inject, NULL,
		  "load the tracker into the process, or fail", false, NULL },
		{ CLI_FLAG, 0, "bpf", &c.bpf, NULL, "watch from outside, by uprobes, or fail",
		  false, NULL },
		{ CLI_STRING, 0, "ledger-dir", &c.opts.ledger_dir, "DIR",
		  "where the ledger goes (default: /dev/shm/seep-UID)", false, NULL },
		{ CLI_FLAG, 0, "json", &c.json, NULL, "say what was done as JSON", false, NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(opts, argc, argv, false), status;
	struct attach_result r = { 0 };
	struct seep_error *err;
	pid_t pid;

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n != 1)
		return usage("attach", n);
	if (c.inject && c.bpf)
		return cli_fail("attach",
		                seep_error_new(0, "--inject and --bpf exclude each other"));
	if (c.opts.full && c.sample_given)
		return cli_fail("attach",
		                seep_error_new(0, "--full and --sample exclude each other"));
	if (c.sample_given && !c.opts.period)
		return cli_fail("attach",
		                seep_error_new(0, "--sample=0: sampling needs a period of at least "
		                                  "one byte; --full records every block"));
	/* A sample's ledger stays small; one of every block need not, and it is in memory. */
	if (c.opts.full && !c.budget_given)
		c.opts.budget = FULL_BUDGET;
	c.opts.path = c.inject ? ATTACH_INJECT : c.bpf ? ATTACH_BPF : ATTACH_AUTO;
	err = target_find(argv[1], &pid);
	if (!err)
		err = attach_somehow(pid, &c.opts, &r);
	if (err)
		return cli_fail("attach", err);
	status = tell(&c, pid, &r);
	attach_result_release(&r);
	return status;
}
