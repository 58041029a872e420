/* SPDX-License-Identifier: Apache-2.0 */
/* A library with a destructor that leaves a trace: a line in the file that TRACE names. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void exit_park_trace(const char *line);

void exit_park_trace(const char *line)
{
	const char *path = getenv("TRACE");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

	if (fd < 0)
		abort();
	if (write(fd, line, strlen(line)) < 0)
		abort();
	close(fd);
}

static void *kept;

__attribute__((constructor)) static void begin(void)
{
	kept = malloc(4321);
}

__attribute__((destructor)) static void end(void)
{
	free(kept);
	exit_park_trace("library\n");
}
