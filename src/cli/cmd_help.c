/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep help: the overview, or one command's own -h text.  The command prints its
 * help itself, so there is no second copy that could be wrong.
 */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/nearest.h"

#include <string.h>

void cli_overview(FILE *f)
{
	fprintf(f, "seep finds where the memory of a native Linux process goes.\n\n"
	           "Usage: seep COMMAND [OPTIONS] [OPERANDS]\n\nCommands:\n");
	for (const struct cli_command *c = cli_commands; c->name; c++)
		fprintf(f, "  %-8s %s\n", c->name, c->summary);
	fprintf(f, "\nStart here:  seep run -- ./program\n"
	           "`seep help COMMAND` shows a command's options, `seep --version` the version.\n");
}

const char *cli_nearest(const char *name)
{
	struct nearest n = nearest_to(name);

	for (const struct cli_command *c = cli_commands; c->name; c++)
		nearest_try(&n, c->name);
	return n.best;
}

int cli_unknown_command(const char *name)
{
	const char *near = cli_nearest(name);

	fprintf(stderr, "seep: there is no command '%s'", name);
	if (near)
		fprintf(stderr, "; did you mean '%s'?\n", near);
	else
		fprintf(stderr, ".\n");
	fprintf(stderr, "`seep help` lists the commands. To track a program: seep run -- %s\n",
	        name);
	return CLI_FAILED;
}

int cmd_help(int argc, char **argv)
{
	static const struct cli_option opts[] = { { .type = CLI_END } };
	int n = cli_parse(opts, argc, argv, false);
	char help[] = "-h";

	if (n < 0)
		return n == -2 ? CLI_OK : CLI_FAILED;
	if (!n) {
		cli_overview(stdout);
		return CLI_OK;
	}
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (!strcmp(c->name, argv[1])) {
			char *args[] = { argv[1], help, NULL };

			return c->run(2, args);
		}
	}
	return cli_unknown_command(argv[1]);
}
