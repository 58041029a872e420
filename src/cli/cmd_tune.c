/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep tune: parameters of a running process's allocators, shown, set and put back.
 */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "analysis/tune.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/emit.h"
#include "output/tune_report.h"

/* "name=value", cut at the sign. */
static struct seep_error *parse_wishes(char **words, size_t n, struct tune_wish *ret)
{
	for (size_t i = 0; i < n; i++) {
		char *sign = strchr(words[i], '=');

		if (!sign || sign == words[i] || !sign[1])
			return seep_error_hint(seep_error_new(0, "'%s' is no NAME=VALUE", words[i]),
			                       "For example: seep tune PID trim_threshold=128K");
		*sign = '\0';
		ret[i] = (struct tune_wish){ words[i], sign + 1 };
	}
	return NULL;
}

static int show(const struct tune *t, bool json)
{
	const struct emit_options eo = { .format = json ? EMIT_JSON : EMIT_TEXT,
		                         .width = cli_width(STDOUT_FILENO),
		                         .color = cli_color(STDOUT_FILENO) };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);

	if (e)
		tune_report(t, e);
	if (!e || out.failed)
		return cli_fail("tune", &seep_error_nomem);
	fwrite(out.data ? out.data : "", 1, out.len, stdout);
	return CLI_OK;
}

int cmd_tune(int argc, char **argv)
{
	const char *allocator = NULL;
	bool json = false, undo = false;
	const struct cli_option options[] = {
		{ CLI_FLAG, 0, "undo", &undo, NULL, "put back everything seep has changed in it",
		  false, NULL },
		{ CLI_STRING, 0, "allocator", &allocator, "NAME",
		  "only this one's parameters: glibc, jemalloc, gperftools, tcmalloc, mimalloc",
		  false, NULL },
		{ CLI_FLAG, 'j', "json", &json, NULL, "JSON (docs/TRIM-JSON.md)", false, NULL },
		{ .type = CLI_END },
	};
	_cleanup_tune_ struct tune *t = NULL;
	_cleanup_free_ struct tune_wish *wishes = NULL;
	struct seep_error *err;
	int n = cli_parse(options, argc, argv, false);
	size_t nwishes;
	pid_t pid;

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (n < 1 || (undo && n > 1)) {
		fprintf(stderr, "seep tune: %s: seep tune [OPTIONS] PID|NAME [NAME=VALUE...]\n",
		        n ? "--undo puts back everything" : "which process?");
		return CLI_FAILED;
	}
	nwishes = (size_t)n - 1;
	wishes = calloc(nwishes + 1, sizeof(*wishes));
	err = wishes ? target_find(argv[1], &pid) : &seep_error_nomem;
	if (!err)
		err = parse_wishes(argv + 2, nwishes, wishes);
	if (err)
		return cli_fail("tune", err);
	/* While the process stands still it waits for this one, which waits for a processor; only root may. */
	if (setpriority(PRIO_PROCESS, 0, -20) && errno != EACCES && errno != EPERM)
		errno = 0;
	if (undo)
		err = tune_undo(pid, &t);
	else if (nwishes)
		err = tune_set(pid, allocator, wishes, nwishes, &t);
	else
		err = tune_read(pid, allocator, &t);
	return err ? cli_fail("tune", err) : show(t, json);
}
