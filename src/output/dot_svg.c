/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout is Graphviz's: its program is run with files in memory as its input and output, so that nothing
 * is left behind and no pipe can block.
 */
#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/dot.h"

extern char **environ;

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int read_all(int fd, struct buf *out)
{
	char chunk[16384];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, chunk, sizeof(chunk), at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (buf_add(out, chunk, (size_t)n) < 0)
			return -ENOMEM;
		at += n;
	}
	return 0;
}

static int run_dot(int in, int out, int said, int *ret_status)
{
	static char name[] = "dot", type[] = "-Tsvg";
	char *argv[] = { name, type, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
	if (!r)
		r = posix_spawnp(&pid, name, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -r;
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

struct seep_error *dot_to_svg(const struct buf *dot, struct buf *out)
{
	_cleanup_close_ int in = memfd_create("seep.dot", MFD_CLOEXEC),
			    made = memfd_create("seep.svg", MFD_CLOEXEC),
			    said = memfd_create("seep.err", MFD_CLOEXEC);
	_cleanup_buf_ struct buf errors = { 0 };
	int status = 0, r;

	if (in < 0 || made < 0 || said < 0)
		return seep_error_new(errno, "cannot run Graphviz's dot");
	r = write_all(in, dot->data ? dot->data : "", dot->len);
	if (!r)
		r = run_dot(in, made, said, &status);
	if (r == -ENOENT)
		return seep_error_hint(
			seep_error_new(
				0,
				"an SVG of the call graph takes Graphviz's program dot, which is not on PATH"),
			"Install Graphviz, or write the graph itself with --dot and draw it elsewhere.");
	if (!r && (!WIFEXITED(status) || WEXITSTATUS(status))) {
		read_all(said, &errors);
		return seep_error_new(0, "Graphviz's dot failed: %.300s",
		                      errors.data ? errors.data : "it said nothing");
	}
	if (!r)
		r = read_all(made, out);
	return r ? seep_error_new(-r, "cannot run Graphviz's dot") : NULL;
}
