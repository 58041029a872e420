/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a process by what a person types.
 */
#include "cli/target.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "capture/process.h"
#include "proc/procfs.h"

#define LISTED 8 /* pids named when a name is not unique */

static bool has_name(pid_t pid, const char *name)
{
	char path[64], comm[64] = "", exe[PATH_MAX];
	_cleanup_fclose_ FILE *f = NULL;
	const char *base;
	ssize_t n;

	/* Kernel threads and processes that have ended have no executable. */
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n <= 0)
		return false;
	exe[n] = '\0';
	base = strrchr(exe, '/');
	if (!strcmp(base ? base + 1 : exe, name))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (!f || !fgets(comm, sizeof(comm), f))
		return false;
	comm[strcspn(comm, "\n")] = '\0';
	return !strcmp(comm, name);
}

static struct seep_error *find_by_name(const char *name, pid_t *ret_pid)
{
	_cleanup_buf_ struct buf pids = { 0 };
	DIR *proc = opendir("/proc");
	struct procfs_status status;
	struct dirent *e;
	pid_t found = 0;
	size_t n = 0;

	if (!proc)
		return seep_error_new(errno, "cannot read /proc");
	while ((e = readdir(proc))) {
		uint64_t pid;

		if (parse_u64(e->d_name, &pid) < 0 || pid > INT_MAX || (pid_t)pid == getpid() ||
		    !has_name((pid_t)pid, name) || procfs_status((pid_t)pid, &status) < 0 ||
		    process_is_clone((pid_t)pid, status.tracer))
			continue;
		found = (pid_t)pid;
		if (n++ < LISTED)
			buf_printf(&pids, "%s%d", n > 1 ? ", " : "", (int)pid);
	}
	closedir(proc);
	if (!n)
		return seep_error_hint(
			seep_error_new(0, "no process and no file is called '%s'", name),
			"Give a pid, the name of a running program, or the path of a core file.");
	if (n > 1)
		return seep_error_hint(seep_error_new(0, "%zu processes are called '%s': %s%s", n,
		                                      name, pids.data ? pids.data : "",
		                                      n > LISTED ? ", ..." : ""),
		                       "Give the pid of the one you mean.");
	*ret_pid = found;
	return NULL;
}

struct seep_error *target_find(const char *what, pid_t *ret_pid)
{
	uint64_t pid;

	if (parse_u64(what, &pid) < 0 || what[0] < '0' || what[0] > '9')
		return find_by_name(what, ret_pid);
	if (pid == 0 || pid > INT_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH))
		return seep_error_new(0, "there is no process %s", what);
	*ret_pid = (pid_t)pid;
	return NULL;
}
