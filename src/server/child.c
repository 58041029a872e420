/* SPDX-License-Identifier: Apache-2.0 */
#include "server/child.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define ERR_MOST 16384
#define GRACE_MS 5000 /* from SIGTERM to SIGKILL */
#define POLL_MS 100

extern char **environ;

void child_result_release(struct child_result *r)
{
	buf_release(&r->out);
	buf_release(&r->err);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int start(const struct child *c, int out, int err, pid_t *ret_pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	char *argv[CHILD_ARGS + 2] = { (char *)"seep" };
	sigset_t none, fatal;
	int r;

	for (size_t i = 0; i < CHILD_ARGS && c->args[i]; i++)
		argv[i + 1] = (char *)c->args[i];
	sigemptyset(&none);
	sigemptyset(&fatal);
	sigaddset(&fatal, SIGPIPE);
	sigaddset(&fatal, SIGINT);
	sigaddset(&fatal, SIGTERM);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &fatal);
	/* A group of its own: Ctrl-C at the server's terminal is the server's to pass on. */
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
	                                        POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_adddup2(&files, err, 2);
	if (c->inherit >= 0)
		posix_spawn_file_actions_adddup2(&files, c->inherit, 3);
	r = posix_spawn(ret_pid, c->program, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* Whole lines of what came since; the last `from` is what was told already. */
static void tell_lines(const struct child *c, struct buf *err, size_t *from)
{
	char *at, *end;

	for (at = err->data + *from; (end = strpbrk(at, "\n\r")); at = end + 1) {
		char kept = *end;

		*end = '\0';
		if (c->line && *at)
			c->line(c->arg, at);
		*end = kept;
	}
	*from = (size_t)(at - err->data);
}

/* Takes what there is to read; false: its end. */
static bool drain(int fd, struct buf *to)
{
	char chunk[16384];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n > 0)
		buf_add(to, chunk, (size_t)n);
	return n > 0;
}

/* Reads both ends until they are closed, or until it is time to end; 0, or why it must end. */
static int collect(const struct child *c, int out, int err, struct child_result *r)
{
	struct pollfd fds[2] = { { .fd = out, .events = POLLIN }, { .fd = err, .events = POLLIN } };
	uint64_t end = now_ms() + c->timeout_ms;
	size_t told = 0;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (c->cancel && atomic_load(c->cancel))
			return ECANCELED;
		if (now_ms() > end)
			return ETIMEDOUT;
		if (poll(fds, 2, POLL_MS) <= 0)
			continue;
		if (fds[0].revents && !drain(out, &r->out))
			fds[0].fd = -1;
		if (fds[1].revents && !drain(err, &r->err))
			fds[1].fd = -1;
		if (r->out.len > c->most_out)
			return EFBIG;
		if (r->err.data)
			tell_lines(c, &r->err, &told);
		if (r->err.len > ERR_MOST) {
			size_t cut = r->err.len - ERR_MOST / 2;

			memmove(r->err.data, r->err.data + cut, r->err.len - cut + 1);
			r->err.len -= cut;
			told = told > cut ? told - cut : 0;
		}
	}
	return 0;
}

static int reap(pid_t pid, bool wait_for_it)
{
	int status = 0;
	uint64_t end = now_ms() + GRACE_MS;

	while (waitpid(pid, &status, wait_for_it ? 0 : WNOHANG) <= 0) {
		struct timespec pause = { .tv_nsec = 10000000 };

		if (errno == ECHILD)
			return 0;
		if (now_ms() > end) {
			kill(-pid, SIGKILL);
			wait_for_it = true;
		}
		nanosleep(&pause, NULL);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct seep_error *child_run(const struct child *c, struct child_result *ret)
{
	_cleanup_close_ int out = -1, err = -1;
	int ends[2], r;
	pid_t pid;

	memset(ret, 0, sizeof(*ret));
	if (pipe2(ends, O_CLOEXEC) < 0)
		return seep_error_new(errno, "cannot make a pipe");
	out = ends[0];
	int out_end = ends[1];
	if (pipe2(ends, O_CLOEXEC) < 0) {
		close(out_end);
		return seep_error_new(errno, "cannot make a pipe");
	}
	err = ends[0];
	r = start(c, out_end, ends[1], &pid);
	close(out_end);
	close(ends[1]);
	if (r < 0)
		return seep_error_new(-r, "cannot run %s", c->program);
	r = collect(c, out, err, ret);
	if (r)
		kill(pid, SIGTERM);
	ret->status = reap(pid, !r);
	if (ret->out.failed || ret->err.failed)
		return &seep_error_nomem;
	if (r == ETIMEDOUT)
		return seep_error_new(r, "seep %s took more than %llu s and was ended", c->args[0],
		                      (unsigned long long)(c->timeout_ms / 1000));
	if (r == ECANCELED)
		return seep_error_new(r, "seep %s was cancelled", c->args[0]);
	if (r)
		return seep_error_new(r, "seep %s said more than %zu bytes", c->args[0],
		                      c->most_out);
	return NULL;
}

static int guess_code(const char *message)
{
	static const struct {
		const char *part;
		int code;
	} words[] = {
		{ "No such process", ESRCH },    { "has ended", ESRCH },
		{ "no process", ESRCH },         { "Operation not permitted", EACCES },
		{ "Permission denied", EACCES }, { "may not be traced", EACCES },
		{ "is traced by", EBUSY },       { "No space left on device", ENOSPC },
		{ "unknown command", ENOSYS },   { "there is no command", ENOSYS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(message, words[i].part))
			return words[i].code;
	return 0;
}

struct seep_error *child_error(const struct child *c, const struct child_result *r)
{
	_cleanup_free_ char *text = strdup(r->err.data ? r->err.data : "");
	char *message, *hint, *colon;
	struct seep_error *err;

	if (!text)
		return &seep_error_nomem;
	if (r->status >= 128)
		return seep_error_new(0, "seep %s was ended by signal %d", c->args[0],
		                      r->status - 128);
	/* The last paragraph that begins with our own name; before it stands progress. */
	message = text;
	for (char *at = text; (at = strstr(at, "seep ")); at += 5)
		if (at == text || at[-1] == '\n' || at[-1] == '\r' || at[-1] == 'K')
			message = at;
	hint = strchr(message, '\n');
	if (hint)
		*hint++ = '\0';
	colon = strstr(message, ": ");
	if (!strncmp(message, "seep ", 5) && colon)
		message = colon + 2;
	if (!*message)
		return seep_error_new(0, "seep %s ended with status %d", c->args[0], r->status);
	/* The words have the system's message in them already: only the code is added. */
	err = seep_error_set_code(seep_error_new(0, "%s", message), guess_code(message));
	if (hint) {
		hint[strcspn(hint, "\n")] = '\0';
		if (*hint)
			err = seep_error_hint(err, "%s", hint);
	}
	return err;
}
