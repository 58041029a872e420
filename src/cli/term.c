/* SPDX-License-Identifier: Apache-2.0 */
/* How errors and warnings reach people, and what a terminal can do: see cli.h. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int cli_fail(const char *command, struct seep_error *err)
{
	fflush(stdout); /* keep the order of what was printed before */
	if (err) {
		fprintf(stderr, "seep %s: %s\n", command, err->message);
		if (err->hint)
			fprintf(stderr, "%s\n", err->hint);
	}
	seep_error_free(err);
	return CLI_FAILED;
}

void cli_warn(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "seep %s: warning: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

bool cli_terminal(int fd)
{
	return isatty(fd) == 1;
}

bool cli_color(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return cli_terminal(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

unsigned int cli_width(int fd)
{
	struct winsize ws;

	if (ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= 20)
		return ws.ws_col;
	return 100;
}

unsigned int cli_height(int fd)
{
	struct winsize ws;

	return ioctl(fd, TIOCGWINSZ, &ws) == 0 ? ws.ws_row : 0;
}

bool cli_utf8(int fd)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	if (!cli_terminal(fd))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *v = getenv(names[i]);

		if (v && *v)
			return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
	}
	return false; /* the C locale */
}
