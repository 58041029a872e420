/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach_bpf() and detach_bpf() by hand, for tests and measurements:
 *
 *     bpf_attach attach PID [full | period=BYTES] [dir=DIR] [for=NS] [budget=BYTES]
 *     bpf_attach detach PID [dir=DIR]
 *     bpf_attach obstacle PID
 *
 * attach prints the ledger's path and how many microseconds it took.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "capture/attach.h"

static int failed(struct seep_error *err)
{
	fprintf(stderr, "bpf_attach: %s\n", err->message);
	if (err->hint)
		fprintf(stderr, "%s\n", err->hint);
	seep_error_free(err);
	return 2;
}

int main(int argc, char **argv)
{
	struct attach_options opts = { .path = ATTACH_BPF };
	struct attach_result res = { 0 };
	struct seep_error *err;
	pid_t pid;

	if (argc < 3)
		return 2;
	pid = atoi(argv[2]);
	for (int i = 3; i < argc; i++) {
		const char *eq = strchr(argv[i], '=');

		if (!strcmp(argv[i], "full"))
			opts.full = true;
		else if (!strncmp(argv[i], "period=", 7))
			opts.period = strtoull(eq + 1, NULL, 10);
		else if (!strncmp(argv[i], "for=", 4))
			opts.for_ns = strtoull(eq + 1, NULL, 10);
		else if (!strncmp(argv[i], "budget=", 7))
			opts.budget = strtoull(eq + 1, NULL, 10);
		else if (!strncmp(argv[i], "dir=", 4))
			opts.ledger_dir = eq + 1;
		else
			return 2;
	}
	if (!strcmp(argv[1], "obstacle")) {
		char *why = attach_bpf_obstacle(pid);

		if (why)
			puts(why);
		free(why);
		return why ? 1 : 0;
	}
	if (!strcmp(argv[1], "detach")) {
		err = detach_bpf(pid, &opts);
		return err ? failed(err) : 0;
	}
	err = attach_bpf(pid, &opts, &res);
	if (err)
		return failed(err);
	printf("%s %" PRIu64 "\n", res.ledger, res.total_ns / 1000);
	free(res.ledger);
	return 0;
}
