/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers and destructors, of the program and of a library, each leaves a trace; where do the checks come? */
#include <stdio.h>
#include <stdlib.h>

extern void exit_park_trace(const char *line);

static void handler(void)
{
	exit_park_trace("handler\n");
}

__attribute__((destructor)) static void end(void)
{
	exit_park_trace("program\n");
}

int main(void)
{
	atexit(handler);
	exit_park_trace("main\n");
	/* Not flushed by us: what is checked at the very end must not lose it. */
	printf("buffered");
	return 31;
}
