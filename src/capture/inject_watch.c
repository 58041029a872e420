/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detaching by itself: after a time, or when the ledger has grown too large.
 *
 * A small process of its own session waits for either, or for the target's end, or for somebody else to detach.
 * The tracker knows the time too: should the watcher be killed, it stops recording at its next event after
 * that; its slots then stay until `seep detach`.
 */
#include "capture/inject_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "capture/attach.h"
#include "wire/ledger.h"

#define LOOK_MS 250
#define TRIES 20

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool still_attached(int ledger_fd)
{
	uint32_t state;

	return pread(ledger_fd, &state, sizeof(state), offsetof(struct ledger_header, state)) ==
	               (ssize_t)sizeof(state) &&
	       state == LEDGER_LIVE;
}

static bool over_budget(int ledger_fd, uint64_t budget)
{
	struct stat st;

	return budget && !fstat(ledger_fd, &st) && (uint64_t)st.st_blocks * 512 > budget;
}

static void watch(pid_t pid, int pidfd, int ledger_fd, const struct attach_options *opts,
                  uint64_t end)
{
	struct attach_options none = { 0 };

	while (still_attached(ledger_fd)) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		uint64_t now = now_ns();
		int ms = opts->budget ? LOOK_MS : 10 * LOOK_MS;

		if (opts->for_ns && end <= now)
			break;
		if (opts->for_ns && (end - now) / 1000000 < (uint64_t)ms)
			ms = (int)((end - now) / 1000000) + 1;
		if (poll(&p, 1, ms) > 0)
			return; /* it has ended */
		if (over_budget(ledger_fd, opts->budget))
			break;
	}
	for (unsigned int i = 0; i < TRIES && still_attached(ledger_fd); i++) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		struct seep_error *err;

		if (poll(&p, 1, i ? LOOK_MS : 0) > 0)
			return;
		err = detach_inject(pid, &none);
		if (!err)
			return;
		seep_error_free(err);
	}
}

struct seep_error *inject_watch_start(pid_t pid, int ledger_fd, const struct attach_options *opts)
{
	uint64_t end = now_ns() + opts->for_ns;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	pid_t child;

	if (pidfd < 0)
		return errno == ESRCH ? NULL
		                      : seep_error_new(errno, "cannot watch process %d", (int)pid);
	child = fork();
	if (child == 0) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };
		int null;

		/* Nobody's child, of no terminal; its parent's pipes must not stay open because of it. */
		if (setsid() < 0 || fork() != 0)
			_exit(0);
		sigaction(SIGINT, &dfl, NULL);
		sigaction(SIGCHLD, &dfl, NULL);
		prctl(PR_SET_NAME, "seep-watch");
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		ledger_fd = dup2(ledger_fd, 300);
		pidfd = dup2(pidfd, 301);
		syscall(SYS_close_range, 3u, 299u, 0u);
		syscall(SYS_close_range, 302u, ~0u, 0u);
		if (chdir("/") == 0 || errno)
			watch(pid, pidfd, ledger_fd, opts, end);
		_exit(0);
	}
	close(pidfd);
	if (child < 0)
		return seep_error_new(errno, "cannot start the process that is to detach");
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return NULL;
}
