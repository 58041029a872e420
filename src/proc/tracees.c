/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping threads.
 *
 * PTRACE_SEIZE attaches without a stop, so first every thread that is there is attached, and only
 * then the clock starts and all are interrupted at once: the process stands still for the time the slowest
 * one takes, not for the sum.  A thread that is not stopped yet may start others, so the list is read again
 * until it holds nothing new.
 *
 * What a thread can answer an interrupt with:
 *
 *   EVENT_STOP            it stands, in the middle of a system call or between two instructions;
 *                         with SIGSTOP or the like instead of SIGTRAP: job control had stopped it
 *   a signal's number     a signal got there first.  It goes on with that signal; the interrupt is
 *                         still pending and stops it before the first instruction of its handler
 *   an exit               gone
 *   nothing               uninterruptible: it waits for a disk, or in vfork() for its child.  After a
 *                         while it counts as missed, and is let go as soon as it wakes up
 *
 * A thread can only be detached while it stands, so one that was missed stays attached until it stops by the
 * pending interrupt, or until the guardian's end, when the kernel drops both.
 */
#include "proc/tracees.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull
#define LOOK_AGAIN (20 * MS)     /* how often those who do not stop are looked at */
#define PATIENCE_DISK (150 * MS) /* with a thread in an uninterruptible wait */
#define PATIENCE (3000 * MS)     /* with one that is only not scheduled */
#define XSTATE_MAX (64u << 10)
#define PASSES_MAX \
	1000 /* over the list of threads: a process that starts threads faster than that */

uint64_t tracees_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t real_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void *pool_add(struct pool *p, size_t n)
{
	void *at;

	if (n > p->cap - p->len) {
		size_t cap = p->cap ? p->cap : 1 << 16;
		void *m;

		while (cap - p->len < n)
			cap *= 2;
		m = p->base ? mremap(p->base, p->cap, cap, MREMAP_MAYMOVE)
		            : mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		                   -1, 0);
		if (m == MAP_FAILED)
			return NULL;
		p->base = m;
		p->cap = cap;
	}
	at = p->base + p->len;
	p->len += n;
	return at;
}

static size_t pid_limit(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/kernel/pid_max", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	long max = n > 0 ? atol(text) : 0;

	if (fd >= 0)
		close(fd);
	return max > 0 && max < 4 << 20 ? (size_t)max + 1 : (4u << 20) + 1;
}

int tracees_init(struct tracees *ts, pid_t pid, int sigfd, int hangup)
{
	char path[64];
	void *m;

	*ts = (struct tracees){ .pid = pid, .sigfd = sigfd, .hangup = hangup, .taskfd = -1 };
	ts->nindex = pid_limit();
	m = mmap(NULL, ts->nindex * sizeof(*ts->index), PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m == MAP_FAILED)
		return -ENOMEM;
	ts->index = m;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	ts->taskfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ts->taskfd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return 0;
}

/* ---- the list of threads ---------------------------------------------------- */

void tracees_list_start(struct tracees *ts, struct tracees_list *l)
{
	l->at = l->len = 0;
	lseek(ts->taskfd, 0, SEEK_SET);
}

struct dirent64_head {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
} __attribute__((packed));

pid_t tracees_list_next(struct tracees *ts, struct tracees_list *l)
{
	for (;;) {
		const struct dirent64_head *d;
		int tid;

		if (l->at >= l->len) {
			l->at = 0;
			l->len = syscall(SYS_getdents64, ts->taskfd, l->buf, sizeof(l->buf));
			if (l->len <= 0)
				return 0;
		}
		d = (const void *)(l->buf + l->at);
		l->at += d->reclen;
		tid = atoi(d->name);
		if (tid > 0 && (size_t)tid < ts->nindex)
			return tid;
	}
}

static struct tracee *find(const struct tracees *ts, pid_t tid)
{
	uint32_t i = tid > 0 && (size_t)tid < ts->nindex ? ts->index[tid] : 0;

	return i ? tracees_at(ts, i - 1) : NULL;
}

/* The state letter of a thread: 'D', 'Z', ...; 0: gone. */
static char task_state(const struct tracees *ts, pid_t tid)
{
	char path[64], text[512];
	const char *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%d/stat", (int)tid);
	fd = openat(ts->taskfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	p = strrchr(text, ')');
	return p && p[1] == ' ' ? p[2] : 0;
}

/* 1: attached; 0: there is nothing to attach to (any more); negative errno. */
static int attach(struct tracees *ts, pid_t tid, struct tracee **ret)
{
	struct tracee *t;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0)) {
		int err = errno;
		char state = task_state(ts, tid);

		/* A main thread that has ended while others run stays as a zombie. */
		if (err == ESRCH || !state || state == 'Z' || state == 'X')
			return 0;
		ts->failed_tid = tid;
		return -err;
	}
	t = find(ts, tid); /* there already: attached once more after it was let go */
	if (!t) {
		t = pool_add(&ts->list, sizeof(*t));
		if (!t)
			return -ENOMEM; /* the guardian's end detaches it */
		ts->index[tid] = (uint32_t)++ts->n;
	}
	*t = (struct tracee){ .tid = tid, .attached = 1 };
	*ret = t;
	return 1;
}

/* ---- changes ---------------------------------------------------------------- */

/* Sleeps until something has changed (or may have), the deadline, or a hang-up. */
static enum tracees_event sleep_until(struct tracees *ts, uint64_t deadline_ns)
{
	struct pollfd p[2] = { { .fd = ts->sigfd, .events = POLLIN }, { .fd = ts->hangup } };
	uint64_t now = tracees_now();
	struct signalfd_siginfo si;
	struct timespec left;

	if (now >= deadline_ns)
		return TRACEES_TIMEOUT;
	left.tv_sec = (time_t)((deadline_ns - now) / 1000000000u);
	left.tv_nsec = (long)((deadline_ns - now) % 1000000000u);
	if (ppoll(p, 2, &left, NULL) <= 0)
		return TRACEES_TIMEOUT;
	if (p[1].revents & (POLLHUP | POLLERR))
		return TRACEES_HANGUP;
	/* One SIGCHLD stands for any number of changes: what they are, waitpid() tells. */
	return read(ts->sigfd, &si, sizeof(si)) < 0 ? TRACEES_TIMEOUT : TRACEES_CHANGED;
}

enum tracees_event tracees_wait(struct tracees *ts, uint64_t deadline_ns, pid_t *ret_tid,
                                int *ret_status)
{
	for (;;) {
		pid_t tid = waitpid(-1, ret_status, __WALL | WNOHANG);

		if (tid > 0) {
			*ret_tid = tid;
			return TRACEES_CHANGED;
		}
		if (tid < 0 || tracees_now() >= deadline_ns)
			return TRACEES_TIMEOUT;
		if (sleep_until(ts, deadline_ns) == TRACEES_HANGUP)
			return TRACEES_HANGUP;
	}
}

void tracees_changed(struct tracees *ts, pid_t tid, int status)
{
	struct tracee *t = find(ts, tid);

	if (!WIFSTOPPED(status)) {
		if (t)
			t->attached = t->stopped = 0;
		return;
	}
	if (status >> 16 == PTRACE_EVENT_STOP) {
		if (t)
			t->stopped = 1;
		if (!t || ts->released) {
			ptrace(PTRACE_DETACH, tid, 0, 0);
			if (t)
				t->attached = t->stopped = 0;
		}
		return;
	}
	/* A signal on its way to the thread: it is delivered, as if nobody looked. */
	ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0 : WSTOPSIG(status));
}

/* One that does not answer: has it ended, or is it time to give it up? */
static void look_after(struct tracees *ts, struct tracee *t, uint64_t waited)
{
	char state = task_state(ts, t->tid);

	if (!state || state == 'Z' || state == 'X')
		t->attached = 0;
	else if (waited > (state == 'D' ? PATIENCE_DISK : PATIENCE))
		t->missed = 1;
}

/*
 * Waits until every attached thread stands, is gone, or counts as missed: one after the other, each asked for
 * by number.  waitpid(-1) would go through the list of all of them for every single one.
 */
static int await_stops(struct tracees *ts, size_t first, uint64_t since, uint64_t deadline_ns)
{
	for (size_t i = first; i < ts->n; i++) {
		struct tracee *t = tracees_at(ts, i);

		while (t->attached && !t->stopped && !t->missed) {
			uint64_t now = tracees_now();
			enum tracees_event ev;
			int status;
			pid_t tid = waitpid(t->tid, &status, __WALL | WNOHANG);

			if (tid > 0) {
				tracees_changed(ts, tid, status);
				continue;
			}
			if (tid < 0) { /* another thread's exec() has ended it */
				t->attached = 0;
				continue;
			}
			if (now >= deadline_ns)
				return -ETIME;
			/* With patience at its end there is none left for those that come after. */
			if (now - since > PATIENCE_DISK)
				look_after(ts, t, now - since);
			if (!t->attached || t->missed)
				continue;
			ev = sleep_until(ts, now + LOOK_AGAIN);
			if (ev == TRACEES_HANGUP)
				return -ECANCELED;
			if (ev == TRACEES_TIMEOUT)
				look_after(ts, t, now - since);
		}
	}
	return 0;
}

/* ---- registers -------------------------------------------------------------- */

/*
 * Most waiting calls are started again by the kernel after a stop.  These are not: they return EINTR, which
 * a program that handles no signals may never have expected.  As nothing was done yet, the kernel can be told to
 * start them again unless a signal handler runs (ERESTARTNOHAND); a timeout then starts anew.
 */
static bool restartable(uint64_t nr)
{
	switch (nr) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
	case SYS_io_pgetevents:
	case SYS_io_uring_enter:
	case SYS_recvfrom: /* with SO_RCVTIMEO */
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_sendto:
	case SYS_sendmsg:
		return true;
	}
	return false;
}

static void restart_call(struct tracee *t)
{
	struct iovec iov = { &t->regs, sizeof(t->regs) };

	if (t->regs.rax != (uint64_t)-EINTR || !restartable(t->regs.orig_rax))
		return;
	t->regs.rax = (uint64_t)-514; /* ERESTARTNOHAND */
	ptrace(PTRACE_SETREGSET, t->tid, NT_PRSTATUS, &iov);
}

static int read_registers(struct tracees *ts, struct tracee *t)
{
	struct iovec iov = { &t->regs, sizeof(t->regs) };
	void *room;

	if (ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &iov))
		return errno == ESRCH ? 0 : -errno; /* killed while it stood */
	if (iov.iov_len != sizeof(t->regs)) {
		ts->wrong_class = true;
		return -ENOTSUP;
	}
	t->has_regs = 1;
	restart_call(t);
	t->xstate_at = ts->xstate.len;
	room = pool_add(&ts->xstate, XSTATE_MAX);
	if (!room)
		return -ENOMEM;
	iov = (struct iovec){ room, XSTATE_MAX };
	if (ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &iov)) {
		iov = (struct iovec){ room, XSTATE_MAX };
		if (ptrace(PTRACE_GETREGSET, t->tid, NT_PRFPREG, &iov))
			iov.iov_len = 0;
	}
	t->xstate_len = (uint32_t)(iov.iov_len & ~(size_t)7);
	ts->xstate.len = t->xstate_at + t->xstate_len;
	return 0;
}

/* ---- stop and go ------------------------------------------------------------ */

int tracees_stop(struct tracees *ts, uint64_t deadline_ns)
{
	struct tracees_list l;
	size_t standing = 0;
	int r;

	for (unsigned int pass = 0; pass < PASSES_MAX; pass++) {
		size_t first = ts->n;
		uint64_t since;
		pid_t tid;

		tracees_list_start(ts, &l);
		while ((tid = tracees_list_next(ts, &l))) {
			struct tracee *t;

			if (find(ts, tid))
				continue;
			r = attach(ts, tid, &t);
			if (r < 0)
				return r;
		}
		if (first == ts->n)
			break;
		since = tracees_now();
		if (!ts->begun_ns)
			ts->begun_ns = since;
		for (size_t i = first; i < ts->n; i++)
			ptrace(PTRACE_INTERRUPT, tracees_at(ts, i)->tid, 0, 0);
		r = await_stops(ts, first, since, deadline_ns);
		if (r)
			return r;
	}
	for (size_t i = 0; i < ts->n; i++) {
		struct tracee *t = tracees_at(ts, i);

		if (!t->stopped)
			continue;
		r = read_registers(ts, t);
		if (r)
			return r;
		standing += t->has_regs;
	}
	ts->all_stopped_ns = tracees_now();
	ts->all_stopped_real_ns = real_now();
	if (standing)
		return 0;
	for (size_t i = 0; i < ts->n; i++)
		if (tracees_at(ts, i)->missed)
			return -EBUSY;
	return -ESRCH;
}

int tracees_stop_one(struct tracees *ts, pid_t tid, uint64_t deadline_ns, struct tracee **ret)
{
	struct tracee *t = find(ts, tid);
	struct iovec iov;
	int r;

	ts->released = false;
	if (t && t->attached) {
		/* It did not stop the last time.  It still is asked to, and may have by now. */
		uint64_t soon = tracees_now() + LOOK_AGAIN;

		deadline_ns = deadline_ns < soon ? deadline_ns : soon;
	} else {
		r = attach(ts, tid, &t);
		if (r <= 0)
			return r ? r : -ESRCH;
		ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	}
	while (t->attached && !t->stopped) {
		int status;
		pid_t other;

		if (tracees_wait(ts, deadline_ns, &other, &status) != TRACEES_CHANGED)
			break;
		tracees_changed(ts, other, status);
	}
	if (!t->attached)
		return -ESRCH;
	if (!t->stopped)
		return -EAGAIN;
	iov = (struct iovec){ &t->regs, sizeof(t->regs) };
	if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov) || iov.iov_len != sizeof(t->regs))
		return -ESRCH;
	t->has_regs = 1;
	restart_call(t);
	*ret = t;
	return 0;
}

void tracees_detach_one(struct tracees *ts, struct tracee *t)
{
	if (t->attached && t->stopped && !ptrace(PTRACE_DETACH, t->tid, 0, 0))
		t->attached = 0;
	t->stopped = 0;
}

void tracees_detach(struct tracees *ts)
{
	ts->released = true;
	for (size_t i = 0; i < ts->n; i++)
		tracees_detach_one(ts, tracees_at(ts, i));
	ts->ended_ns = tracees_now();
}
