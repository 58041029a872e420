/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a program under the tracker: see launch.h.
 *
 * The program is a plain child in our own process group: it keeps the terminal,
 * job control works as without seep, and its parent's death does not touch it.
 * The user's own LD_PRELOAD and SEEP_OPTIONS stay in force behind ours.
 */
#include "capture/launch.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#ifndef SEEP_LIBRARY_DIR
#define SEEP_LIBRARY_DIR "/usr/local/lib/seep"
#endif

#define LIBRARY "libseep.so"
#define LEAST_ROOM (16ull << 20)
#define STANDARD_PLACE "/dev/shm"

/* ---- the library ------------------------------------------------------------- */

static struct seep_error *check_library(const char *path)
{
	if (access(path, R_OK) < 0)
		return seep_error_new(errno, "cannot use the tracker %s", path);
	/* ld.so splits LD_PRELOAD at both, and knows no quoting. */
	if (strpbrk(path, " :"))
		return seep_error_hint(
			seep_error_new(0, "cannot preload %s: its path has a blank or a colon", path),
			"Set SEEP_LIBRARY to a copy of it elsewhere.");
	return NULL;
}

struct seep_error *launch_find_library(char **ret_path)
{
	/* Relative to the directory of the running seep: a build tree, an installation, a moved installation. */
	static const char *const places[] = { "../track", "../lib/seep", "../lib64/seep",
		                              "../lib/x86_64-linux-gnu/seep",
		                              "../lib/aarch64-linux-gnu/seep" };
	const char *set = getenv("SEEP_LIBRARY");
	char exe[4096], *slash;
	ssize_t n;

	if (set && *set) {
		_cleanup_free_ char *real = realpath(set, NULL);
		struct seep_error *err = real ? check_library(real)
		                              : seep_error_new(errno, "SEEP_LIBRARY=%s", set);

		if (!err)
			*ret_path = TAKE(real);
		return err;
	}
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i <= ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path = NULL, *real = NULL;
		int r = i < ARRAY_SIZE(places)
		                ? asprintf(&path, "%s/%s/%s", exe, places[i], LIBRARY)
		                : asprintf(&path, "%s/%s", SEEP_LIBRARY_DIR, LIBRARY);

		if (r < 0) {
			path = NULL;
			return &seep_error_nomem;
		}
		real = realpath(path, NULL);
		if (real) {
			struct seep_error *err = check_library(real);

			if (!err)
				*ret_path = TAKE(real);
			return err;
		}
	}
	return seep_error_hint(
		seep_error_new(0, "cannot find the tracker " LIBRARY " near %s or in %s", exe,
	                       SEEP_LIBRARY_DIR),
		"Install seep as a whole, or set SEEP_LIBRARY to the library's path.");
}

/* ---- the place ------------------------------------------------------------------ */

/* /dev/shm/seep-UID: ours alone, or refused, since anybody can make names in /dev/shm. */
struct seep_error *launch_base(char **ret_base)
{
	_cleanup_free_ char *base = NULL;
	struct stat st;

	if (stat(STANDARD_PLACE, &st) < 0 || !S_ISDIR(st.st_mode))
		return seep_error_hint(
			seep_error_new(0, "there is no " STANDARD_PLACE " to keep the ledger in"),
			"Choose a directory with --ledger-dir; memory-backed ones are fastest.");
	if (asprintf(&base, STANDARD_PLACE "/seep-%u", geteuid()) < 0) {
		base = NULL;
		return &seep_error_nomem;
	}
	if (mkdir(base, 0700) < 0 && errno != EEXIST)
		return seep_error_hint(seep_error_new(errno, "cannot make the ledger directory %s",
		                                      base),
		                       "Choose another one with --ledger-dir.");
	if (lstat(base, &st) < 0)
		return seep_error_new(errno, "cannot look at %s", base);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return seep_error_hint(
			seep_error_new(0, "%s does not belong to you alone", base),
			"Somebody else may have made it; choose another directory with --ledger-dir.");
	*ret_base = TAKE(base);
	return NULL;
}

struct seep_error *launch_make_dir(const char *given, char **ret_dir)
{
	_cleanup_free_ char *base = NULL, *dir = NULL;
	struct statvfs fs;

	if (!given) {
		struct seep_error *err = launch_base(&base);

		if (err)
			return err;
	} else {
		base = realpath(given, NULL);
		if (!base)
			return seep_error_hint(
				seep_error_new(errno, "cannot use the ledger directory %s", given),
				"It must exist: mkdir -p %s", given);
		if (strchr(base, ','))
			return seep_error_new(
				0, "cannot use the ledger directory %s: its path has a comma", base);
	}
	if (statvfs(base, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < LEAST_ROOM)
		return seep_error_hint(
			seep_error_new(ENOSPC, "%s has room for %" PRIu64 " KB only", base,
		                       (uint64_t)fs.f_bavail * fs.f_frsize >> 10),
			"A ledger needs at least %llu MB. `seep ps --clean` removes those of ended "
			"processes; --ledger-dir puts new ones elsewhere.",
			LEAST_ROOM >> 20);
	if (asprintf(&dir, "%s/run-%d.XXXXXX", base, (int)getpid()) < 0) {
		dir = NULL;
		return &seep_error_nomem;
	}
	if (!mkdtemp(dir))
		return seep_error_hint(
			seep_error_new(errno, "cannot make a directory for the ledgers in %s", base),
			"Choose another place with --ledger-dir.");
	*ret_dir = TAKE(dir);
	return NULL;
}

/* ---- environment and start ---------------------------------------------------------- */

extern char **environ;

/* "NAME=ours" or "NAME=ours<sep>theirs", or theirs first. */
static char *combine(const char *name, const char *first, char sep, const char *second)
{
	char *s = NULL;

	if (asprintf(&s, "%s=%s%.*s%s", name, first, *first && *second, &sep, second) < 0)
		return NULL;
	return s;
}

static const char *env_or_empty(const char *name)
{
	const char *v = getenv(name);

	return v ? v : "";
}

struct start {
	char *preload, *options; /* the two strings of the new environment */
	char *only;              /* where `only=PID` goes in options, or NULL */
	char **env;
	char *path;
};

static void start_release(struct start *s)
{
	free(s->preload);
	free(s->options);
	free(s->env);
	free(s->path);
}

static struct seep_error *prepare_env(const struct launch_options *o, const char *library,
                                      struct start *s)
{
	_cleanup_buf_ struct buf ours = { 0 };
	size_t n = 0, at = 0;

	buf_printf(&ours, "dir=%s,", o->ledger_dir);
	if (o->period)
		buf_printf(&ours, "mode=sampled,sample=%" PRIu64, o->period);
	else
		buf_puts(&ours, "mode=full");
	if (o->tracker_options && *o->tracker_options)
		buf_printf(&ours, ",%s", o->tracker_options);
	if (!o->follow)
		buf_puts(&ours, ",only=          "); /* room for a pid, filled in by the child */
	if (ours.failed)
		return &seep_error_nomem;
	/* Ours come last: a later setting wins. */
	s->options = combine("SEEP_OPTIONS", env_or_empty("SEEP_OPTIONS"), ',', ours.data);
	s->preload = combine("LD_PRELOAD", library, ':', env_or_empty("LD_PRELOAD"));
	while (environ[n])
		n++;
	s->env = calloc(n + 3, sizeof(*s->env));
	if (!s->options || !s->preload || !s->env)
		return &seep_error_nomem;
	if (!o->follow)
		s->only = s->options + strlen(s->options) - 10;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0 &&
		    strncmp(environ[i], "SEEP_OPTIONS=", 13) != 0)
			s->env[at++] = environ[i];
	s->env[at++] = s->preload;
	s->env[at] = s->options;
	return NULL;
}

static void run_child(const struct launch_options *o, struct start *s, int report)
{
	int code;

	if (s->only)
		snprintf(s->only, 11, "%d", (int)getpid());
	if (o->sigmask)
		sigprocmask(SIG_SETMASK, o->sigmask, NULL);
	execve(s->path, o->argv, s->env);
	code = errno;
	(void)!write(report, &code, sizeof(code));
	_exit(LAUNCH_NOT_EXECUTABLE);
}

static struct seep_error *start(const struct launch_options *o, struct start *s, pid_t *ret_pid,
                                int *ret_status)
{
	int report[2], code = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return seep_error_new(errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0) {
		code = errno;
		close(report[0]);
		close(report[1]);
		return seep_error_new(code, "cannot start another process");
	}
	if (pid == 0)
		run_child(o, s, report[1]);
	close(report[1]);
	do /* ends with the child's execve(), which closes the other end */
		n = read(report[0], &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	close(report[0]);
	if (n == (ssize_t)sizeof(code)) {
		waitpid(pid, NULL, 0);
		*ret_status = code == ENOENT ? LAUNCH_NOT_FOUND : LAUNCH_NOT_EXECUTABLE;
		return seep_error_new(code, "cannot run %s", s->path);
	}
	*ret_pid = pid;
	return NULL;
}

struct seep_error *launch_start(const struct launch_options *opts, pid_t *ret_pid, int *ret_status)
{
	_cleanup_free_ char *library = NULL;
	struct start s = { 0 };
	struct seep_error *err = launch_check(opts->argv[0], &s.path, ret_status);

	if (!err) {
		*ret_status = LAUNCH_NOT_TRACKABLE;
		err = launch_find_library(&library);
	}
	if (!err)
		err = prepare_env(opts, library, &s);
	if (!err)
		err = start(opts, &s, ret_pid, ret_status);
	start_release(&s);
	return err;
}
