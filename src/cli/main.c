/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep: one binary, one table of commands.  A command is a row here and a file
 * cmd_*.c of its own; `seep help` and the did-you-mean of a mistyped name come
 * from the same rows.
 */
#include "cli/cli.h"
#include "cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct cli_command cli_commands[] = {
	{ "run", "[OPTIONS] [--] COMMAND [ARGUMENTS]",
	  "Start a program, track its memory, report at the end", cmd_run },
	{ "attach", "[OPTIONS] PID|NAME", "Track a process that is already running", cmd_attach },
	{ "detach", "[OPTIONS] PID|NAME", "Take the tracker out of a process again", cmd_detach },
#ifdef SEEP_HAVE_REPORT
	{ "report", "[OPTIONS] LEDGER|SNAPSHOT|PID|NAME",
	  "Where the memory is: by site, function, module, thread", cmd_report },
#endif
	{ "diff", "[OPTIONS] BEFORE AFTER | --series PROFILE|DIR... | --since TIME DIR",
	  "What grew between two profiles, or over a series of them", cmd_diff },
	{ "check", "[OPTIONS] PID|NAME|CORE [EXECUTABLE]",
	  "Which blocks does nothing point to any more: leaks", cmd_check },
	{ "heap", "[OPTIONS] PID|NAME",
	  "What the allocators of a process say of themselves, asked from outside", cmd_heap },
	{ "doctor", "[OPTIONS] PID|NAME|CORE | --compare BEFORE.json AFTER.json",
	  "Where all resident memory is, why, and what to do", cmd_doctor },
	{ "top", "[OPTIONS] [PID|NAME...]",
	  "What grows right now, refreshed on the terminal or as text", cmd_top },
	{ "serve", "[OPTIONS]", "A web page of all processes: over time, compared, to the line",
	  cmd_serve },
	{ "view", "[OPTIONS] HOST[:PORT]",
	  "The page of another host's seep, or a service's profiling pages", cmd_view },
	{ "ps", "[OPTIONS]", "List tracked processes, live and dead", cmd_ps },
	{ "snap", "[OPTIONS] PID|NAME|LEDGER", "Take a snapshot without touching the process",
	  cmd_snap },
	{ "ctl", "[OPTIONS] PID|NAME|LEDGER [active=on|off] [sample=SIZE|full]",
	  "Switch tracking on and off, change its period, while a program runs", cmd_ctl },
	{ "export", "[OPTIONS] PROFILE", "Write a profile in the format of another tool",
	  cmd_export },
	{ "trim", "[OPTIONS] PID|NAME", "Give a process's free memory back to the kernel", cmd_trim },
	{ "tune", "[OPTIONS] PID|NAME [NAME=VALUE...]",
	  "Show and set parameters of a running process's allocators", cmd_tune },
	{ "help", "[COMMAND]", "What the commands are, or how one is used", cmd_help },
	{ NULL, NULL, NULL, NULL },
};

/*
 * Whoever starts seep may have closed some of these, and then a ledger or a socket would take the number, and the next
 * message go into it.  Reading only, so that what is written there fails; not for programs that seep starts.
 */
static void hold_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", (fd ? O_RDONLY : O_WRONLY) | O_CLOEXEC) < 0)
			return;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	hold_standard_files();
	if (!name || !strcmp(name, "-h") || !strcmp(name, "--help")) {
		cli_overview(name ? stdout : stderr);
		return name ? CLI_OK : CLI_FAILED;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("seep %s\n", SEEP_VERSION);
		return CLI_OK;
	}
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (strcmp(c->name, name) == 0) {
			int status = c->run(argc - 1, argv + 1);

			/* A full disk or a closed pipe must not look like success. */
			if (fflush(stdout) != 0 && status == CLI_OK) {
				perror("seep: cannot write the output");
				status = CLI_FAILED;
			}
			return status;
		}
	}
	return cli_unknown_command(name);
}
