/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping a collector.
 *
 * attach_bpf() forks; the child does everything (so that what the kernel ties to a process, the probes, is
 * tied to the collector), says through a pipe that events are being recorded, or why not, and goes on
 * in a session of its own.  When it dies, of whatever, the kernel takes the probes off.
 *
 * The ledger's header names the collector.  A ledger is a file that others could have written, so before a
 * signal is sent the file must be ours and the process the one it names: by its start time, and by the
 * program it runs, which must be the one we are.
 */
#include "capture/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/bpf/collector.h"
#include "capture/bpf/program.h"
#include "capture/capture.h"
#include "capture/ledger_file.h"
#include "capture/process.h"
#include "proc/refusal.h"

#define DEFAULT_PERIOD (512u << 10)
#define DETACH_MS 10000

static uint64_t now_ns(void)
{
	struct timespec ts = { 0, 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- what the child says to its parent -------------------------------------------------- */

struct answer {
	int32_t code;
	uint32_t failed;
	char first[4096];  /* the ledger's path; or what failed */
	char second[1024]; /* a hint */
};

static void answer_send(int fd, const struct answer *a)
{
	const char *p = (const char *)a;
	size_t left = sizeof(*a);

	while (left) {
		ssize_t n = write(fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		p += n;
		left -= (size_t)n;
	}
}

static bool answer_read(int fd, struct answer *a)
{
	char *p = (char *)a;
	size_t left = sizeof(*a);

	while (left) {
		ssize_t n = read(fd, p, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		left -= (size_t)n;
	}
	a->first[sizeof(a->first) - 1] = a->second[sizeof(a->second) - 1] = '\0';
	return true;
}

/* ---- the child ------------------------------------------------------------------------------ */

static int stop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Whoever waits for the end of our parent's output must not wait for us. */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (chdir("/") < 0)
		return;
	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
}

static _Noreturn void child_main(int out, const struct collector_options *opts)
{
	struct answer a = { 0 };
	struct collector *c = NULL;
	struct seep_error *err;
	int stop = stop_signals();

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	leave_terminal();
	prctl(PR_SET_NAME, PROCESS_COLLECTOR);
	err = collector_start(opts, &c);
	if (err) {
		a.failed = 1;
		a.code = err->code;
		snprintf(a.first, sizeof(a.first), "%s", err->message);
		snprintf(a.second, sizeof(a.second), "%s", err->hint ? err->hint : "");
		seep_error_free(err);
		answer_send(out, &a);
		_exit(1);
	}
	snprintf(a.first, sizeof(a.first), "%s", collector_ledger(c));
	answer_send(out, &a);
	close(out);
	collector_run(c, stop);
	collector_free(c);
	_exit(0);
}

/* $SEEP_BPF_LINKS, for tests: the best way that may be tried of those that newer kernels have. */
static unsigned int links_wanted(void)
{
	static const char *const names[] = { "session", "multi", "perf" };
	const char *wanted = getenv("SEEP_BPF_LINKS");

	for (unsigned int i = 0; wanted && i < ARRAY_SIZE(names); i++)
		if (!strcmp(wanted, names[i]))
			return i;
	return 0;
}

/* ---- the parent ------------------------------------------------------------------------------- */

static struct seep_error *ledger_place(const char *wanted, char **ret_dir)
{
	_cleanup_free_ char *dir = NULL;
	struct stat st;

	if (wanted) {
		*ret_dir = realpath(wanted, NULL);
		return *ret_dir ? NULL
		                : seep_error_new(errno, "cannot use the directory %s", wanted);
	}
	if (asprintf(&dir, "/dev/shm/seep-%u", (unsigned int)geteuid()) < 0) {
		dir = NULL;
		return &seep_error_nomem;
	}
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return seep_error_new(errno, "cannot make %s", dir);
	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022))
		return seep_error_hint(seep_error_new(0, "%s is not a directory of ours alone", dir),
		                       "Remove it, or name another one with --ledger-dir.");
	*ret_dir = TAKE(dir);
	return NULL;
}

/* The ledger of a collector at work on pid (path malloc'ed, header checked); NULL: there is none. */
static char *collected(pid_t pid, const char *dir, struct ledger_header *ret_header)
{
	struct ledger_entry *entries = NULL;
	char *path = NULL;
	size_t n = 0;
	struct seep_error *err = ledger_list(dir, &entries, &n);

	if (err) {
		seep_error_free(err);
		return NULL;
	}
	for (size_t i = 0; i < n && !path; i++) {
		struct ledger_file f;
		uint64_t start = 0, threads;
		char state = 0;

		if (entries[i].pid != pid)
			continue;
		err = ledger_file_open(entries[i].path, &f);
		if (err) {
			seep_error_free(err);
			continue;
		}
		if (f.h.flags & LEDGER_F_OUTSIDE && f.h.state == LEDGER_LIVE &&
		    f.h.writer_pid > 0 && f.st.st_uid == geteuid() &&
		    process_stat(f.h.writer_pid, &start, &state, &threads) == 0 &&
		    start == f.h.writer_start_ticks && state != 'Z') {
			memcpy(ret_header, &f.h, sizeof(f.h));
			path = strdup(entries[i].path);
		}
		ledger_file_close(&f);
	}
	ledger_list_free(entries, n);
	return path;
}

/* The same wherever the ledger is. */
static char *collected_anywhere(pid_t pid, struct ledger_header *ret_header)
{
	_cleanup_free_ char *path = process_collector_ledger(pid);
	char *slash = path ? strrchr(path, '/') : NULL;

	if (!slash)
		return NULL;
	*slash = '\0';
	return collected(pid, path, ret_header);
}

struct seep_error *attach_bpf(pid_t pid, const struct attach_options *opts,
                              struct attach_result *ret)
{
	struct collector_options co = {
		.pid = pid,
		.period = opts->full     ? 0
		          : opts->period ? opts->period
		                         : DEFAULT_PERIOD,
		.for_ns = opts->for_ns,
		.budget = opts->budget,
		.links = links_wanted(),
	};
	_cleanup_free_ struct ledger_header *h = NULL;
	_cleanup_free_ char *dir = NULL, *other = NULL;
	_cleanup_close_ int in = -1;
	struct answer a = { 0 };
	uint64_t begin = now_ns();
	struct seep_error *err = refusal_check(pid);
	int pipe_fds[2];
	pid_t child;

	if (err && err->code == EBUSY) { /* a debugger's: no obstacle to probes */
		seep_error_free(err);
		err = NULL;
	}
	if (!err)
		err = ledger_place(opts->ledger_dir, &dir);
	if (err)
		return err;
	h = aligned_alloc(4096, (sizeof(*h) + 4095) & ~(size_t)4095);
	if (!h)
		return &seep_error_nomem;
	other = collected(pid, opts->ledger_dir, h);
	if (!other)
		other = collected_anywhere(pid, h);
	if (other) {
		err = seep_error_new(0, "process %d is being tracked from outside already",
		                     (int)pid);
		return seep_error_hint(seep_error_set_code(err, EBUSY),
		                       "`seep report %d` shows %s; `seep detach %d` ends it.",
		                       (int)pid, other, (int)pid);
	}
	co.dir = dir;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return seep_error_new(errno, "cannot start a collector");
	fflush(NULL);
	child = fork();
	if (child < 0) {
		err = seep_error_new(errno, "cannot start a collector");
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		return err;
	}
	if (!child) {
		close(pipe_fds[0]);
		child_main(pipe_fds[1], &co);
	}
	close(pipe_fds[1]);
	in = pipe_fds[0];
	if (!answer_read(in, &a))
		return seep_error_new(0, "the collector for process %d ended without a word",
		                      (int)pid);
	if (a.failed) {
		/* The message has the errno's text already. */
		err = seep_error_set_code(seep_error_new(0, "%s", a.first), a.code);
		return a.second[0] ? seep_error_hint(err, "%s", a.second) : err;
	}
	ret->path = ATTACH_BPF;
	ret->ledger = strdup(a.first);
	ret->total_ns = now_ns() - begin;
	return ret->ledger ? NULL : &seep_error_nomem;
}

struct seep_error *detach_bpf(pid_t pid, const struct attach_options *opts)
{
	_cleanup_free_ struct ledger_header *h = NULL;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct pollfd p;

	h = aligned_alloc(4096, (sizeof(*h) + 4095) & ~(size_t)4095);
	if (!h)
		return &seep_error_nomem;
	path = collected(pid, opts->ledger_dir, h);
	if (!path)
		path = collected_anywhere(pid, h);
	if (!path)
		return seep_error_new(ESRCH, "no collector is at work on process %d", (int)pid);
	fd = (int)syscall(SYS_pidfd_open, h->writer_pid, 0);
	if (fd < 0)
		return errno == ESRCH
		               ? NULL
		               : seep_error_new(errno, "cannot reach the collector of process %d",
		                                (int)pid);
	if (!process_runs_us(h->writer_pid))
		return seep_error_new(0, "process %d, which %s names as its collector, is not seep",
		                      (int)h->writer_pid, path);
	if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
		return seep_error_new(errno, "cannot end the collector of process %d", (int)pid);
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (poll(&p, 1, DETACH_MS) == 0)
		return seep_error_hint(
			seep_error_new(ETIMEDOUT, "the collector of process %d does not end",
		                       (int)pid),
			"It is process %d; after `kill -9 %d` the kernel takes the probes off.",
			(int)h->writer_pid, (int)h->writer_pid);
	return NULL;
}

char *attach_bpf_obstacle(pid_t pid)
{
	(void)pid; /* the kernel and our rights decide; the target's allocator is looked for when attaching */
	return program_obstacle();
}
