/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep detach: takes the tracker out of a process again.  What it found stays in its ledger.
 */
#include "capture/attach.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/target.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>

#ifdef SEEP_HAVE_BPF
static struct seep_error *detach_from_outside(pid_t pid, const struct attach_options *o)
{
	return detach_bpf(pid, o);
}
#else
static struct seep_error *detach_from_outside(pid_t pid, const struct attach_options *o)
{
	(void)o;
	return seep_error_new(ESRCH, "no collector is at work on process %d", (int)pid);
}
#endif

/* Whichever way it was attached to; both, if it was both. */
static struct seep_error *detach_somehow(pid_t pid, const struct attach_options *o)
{
	struct seep_error *outside = detach_from_outside(pid, o);
	struct seep_error *inside = detach_inject(pid, o);

	/* A failure other than that there was nothing to do is the one to tell. */
	if (outside && outside->code != ESRCH) {
		seep_error_free(inside);
		return outside;
	}
	if (!outside || !inside) {
		seep_error_free(outside);
		seep_error_free(inside);
		return NULL;
	}
	seep_error_free(outside);
	if (inside->code != ENOTSUP)
		return inside;
	seep_error_free(inside);
	return seep_error_hint(seep_error_new(0, "process %d is not attached to", (int)pid),
	                       "`seep ps` lists what is being tracked.");
}

int cmd_detach(int argc, char **argv)
{
	struct attach_options o = { 0 };
	bool quiet = false;
	const struct cli_option opts[] = {
		{ CLI_FLAG, 'q', "quiet", &quiet, NULL, "say nothing when it worked", false, NULL },
		{ .type = CLI_END },
	};
	int n = cli_parse(opts, argc, argv, false);
	struct seep_error *err;
	pid_t pid;

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n != 1) {
		fprintf(stderr, "seep detach: %s: seep detach [OPTIONS] PID|NAME\n",
		        n ? "one process at a time" : "which process?");
		return CLI_FAILED;
	}
	err = target_find(argv[1], &pid);
	if (!err)
		err = detach_somehow(pid, &o);
	if (err)
		return cli_fail("detach", err);
	if (!quiet)
		printf("detached from process %d\n", (int)pid);
	return CLI_OK;
}
