/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep detach: takes the tracker out of a process again.  What it found stays in its ledger.
 */
#include "capture/attach.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/target.h"

#include "base/error.h"

#include <stdio.h>

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
		err = detach_inject(pid, &o);
#ifdef SEEP_HAVE_BPF
	if (err) {
		struct seep_error *other = detach_bpf(pid, &o);

		if (!other) {
			seep_error_free(err);
			err = NULL;
		} else {
			seep_error_free(other);
		}
	}
#endif
	if (err)
		return cli_fail("detach", err);
	if (!quiet)
		printf("detached from process %d\n", (int)pid);
	return CLI_OK;
}
