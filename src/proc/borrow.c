/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowing a thread.
 *
 *     seep                    borrower                     target
 *      | fork ---------------->|                            |
 *      |                       | stop main, mmap, go ------>| (~0.2 ms)
 *      |                       | write code and data        |
 *      |                       | stop a thread: safe? ----->| no: it goes on; the next one
 *      |                       |                            | yes: frame, registers, it goes on in the code
 *      |                       | look at the state ...      | ... returns, as from a signal handler
 *      |                       | stop main, munmap, go ---->|
 *      |<---- result, data ----|                            |
 *
 * When seep dies the borrower finishes what it has begun and undoes what it has not.  When the borrower
 * dies, at most the memory it mapped stays behind.
 *
 * Memory in the target: a page of code, then data and stack:
 *
 *     code  r-x │ data rw- │ ... stack ... rw- │ top
 */
#include "proc/borrow.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/guardian.h"
#include "proc/inject.h"
#include "proc/procfs.h"

#define MS 1000000ull
#define STOP_TIME (300 * MS)   /* one thread may take to stop */
#define CALL_TIME (5000 * MS)  /* an injected system call */
#define CLEAN_TIME (2000 * MS) /* for unmapping, afterwards */
#define CODE_SIZE 4096u
#define STACK (512u << 10)
#define STACK_LOOK (64u << 10)
#define SIGRETURN_PATIENCE \
	2 /* a frame of a handler on a waiting thread's stack may be long dead: 1/2 of the time */

struct borrower {
	struct tracees ts;
	struct borrow_call *call;
	struct borrow_result res;
	struct inject_place place;
	pid_t pid;
	int pidfd, sock;
	uint64_t code_at, space_at, space; /* space: bytes for data and stack */
	bool filtered;                     /* by seccomp */
	pid_t borrowed;
	uint64_t stop_began;
	int files[BORROW_FILES]; /* here */
};

static bool read_target(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec l = { buf, len }, r = { (void *)(uintptr_t)addr, len };

	return process_vm_readv(pid, &l, 1, &r, 1, 0) == (ssize_t)len;
}

static bool write_target(pid_t tid, uint64_t addr, const void *buf, size_t len)
{
	char path[64];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)tid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd >= 0 && pwrite(fd, buf, len, (off_t)addr) == (ssize_t)len;
}

static bool target_ended(const struct borrower *b)
{
	struct pollfd p = { .fd = b->pidfd, .events = POLLIN };

	return b->pidfd >= 0 && poll(&p, 1, 0) > 0;
}

static bool seep_gone(const struct borrower *b)
{
	struct pollfd p = { .fd = b->sock };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

static void nap(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	nanosleep(&ts, NULL);
}

/* ---- one thread at a time ------------------------------------------------------ */

/* A thread with a seccomp filter: a call made in its name might be its last. */
static bool filtered(const struct borrower *b, pid_t tid)
{
	static char text[8192];
	const char *p;
	char path[96];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)b->pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	p = strstr(text, "\nSeccomp:\t");
	return p && p[10] != '0';
}

static int stop(struct borrower *b, pid_t tid, struct tracee **ret)
{
	int r;

	if (b->call->unfiltered && filtered(b, tid))
		return -EAGAIN;
	b->stop_began = tracees_now();
	r = tracees_stop_one(&b->ts, tid, tracees_now() + STOP_TIME, ret);
	if (r == -EPERM || r == -EACCES) {
		b->res.failure = BORROW_CANNOT_TRACE;
		b->res.code = -r;
		b->res.tid = tid;
	}
	return r;
}

static void go(struct borrower *b, struct tracee *t)
{
	tracees_detach_one(&b->ts, t);
	b->res.stopped_ns += tracees_now() - b->stop_began;
}

/* ---- safe points ------------------------------------------------------------------ */

/* Calls that wait for something outside, and that neither C library, allocator nor loader make. */
static bool waits(const struct borrow_call *c, const struct user_regs_struct *r)
{
	switch ((int64_t)r->orig_rax) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_poll:
	case SYS_ppoll:
	case SYS_select:
	case SYS_pselect6:
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_connect:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_restart_syscall: /* a sleep, or a wait with a time limit: locks have none */
	case SYS_pause:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
	case SYS_io_uring_enter:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_msgrcv:
	case SYS_flock:
	case SYS_fsync:
	case SYS_fdatasync:
		return true;
	case SYS_read: /* of a terminal, a pipe, a socket; files are read without waiting */
	case SYS_readv:
		return (int64_t)r->rax <= -512 && (int64_t)r->rax >= -516;
	case SYS_futex:
		/*
		 * Locks of the C library wait for a word to be no longer 2 (glibc's lowlevellock.h), with
		 * FUTEX_WAIT; condition variables, semaphores and joins with FUTEX_WAIT_BITSET, or for other values.
		 * musl's locks wait for a negative word, or one that is a thread's number; its condition variables and
		 * joins for 2, its semaphores for 0.
		 */
		if (c->musl)
			return r->rdx == 2 || r->rdx == 0;
		switch (r->rsi & 0x7f) {
		case 9: /* FUTEX_WAIT_BITSET */
			return true;
		case 0: /* FUTEX_WAIT */
			return !c->foreign_locks && (uint32_t)r->rdx != 2;
		}
		return false;
	}
	return false;
}

static bool in_unsafe_code(const struct borrow_call *c, uint64_t pc)
{
	for (size_t i = 0; i < c->nunsafe; i++)
		if (pc >= c->unsafe[i].start && pc < c->unsafe[i].end)
			return true;
	return false;
}

/* A word of the stack is the return address into rt_sigreturn: a signal handler runs, or has run here. */
static bool handler_on_stack(const struct borrower *b, uint64_t sp)
{
	static uint64_t words[STACK_LOOK / 8];
	struct iovec l = { words, sizeof(words) },
		     r = { (void *)(uintptr_t)(sp & ~7ull), sizeof(words) };
	ssize_t n = process_vm_readv(b->pid, &l, 1, &r, 1, 0);

	for (ssize_t i = 0; i < n / 8; i++)
		if (words[i] == b->place.restorer || words[i] == b->place.restorer - 1)
			return true;
	return n <= 0;
}

static bool is_safe(const struct borrower *b, const struct tracee *t, bool patient)
{
	if ((int64_t)t->regs.orig_rax >= 0)
		return waits(b->call, &t->regs) && (patient || !handler_on_stack(b, t->regs.rsp));
	return !in_unsafe_code(b->call, t->regs.rip) && !handler_on_stack(b, t->regs.rsp);
}

/* ---- memory in the target ------------------------------------------------------------ */

static int64_t system_call(struct borrower *b, struct tracee *t, long nr, uint64_t a0, uint64_t a1,
                           uint64_t a2, uint64_t a3)
{
	struct inject_call call = { .nr = nr, .args = { a0, a1, a2, a3 }, .seccomp = b->filtered };
	int r = inject_call(&b->ts, t, &b->place, &call, tracees_now() + CALL_TIME);

	if (r == -EPERM && b->filtered && !b->call->careful) {
		call.seccomp = false;
		r = inject_call(&b->ts, t, &b->place, &call, tracees_now() + CALL_TIME);
	}
	return r ? r : call.result;
}

static bool failed(int64_t r)
{
	return r < 0 && r > -4096;
}

/* ---- files ------------------------------------------------------------------------------- */

/*
 * A pair of sockets is made in the target, one end taken over here (pidfd_getfd()), files sent through it, and
 * received there: no name is looked up, so namespaces, roots and users do not matter.
 */
#define SCRATCH 16384u /* from the beginning of the space: far from data and stack */

struct scratch {
	int32_t pair[2];
	struct msghdr message;
	struct iovec iov;
	char byte[8];
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int) * BORROW_FILES)];
	} control;
};

static bool send_files(struct borrower *b, int sock)
{
	struct scratch s = { .pair = { -1, -1 } };

	s.iov = (struct iovec){ s.byte, 1 };
	s.message = (struct msghdr){ .msg_iov = &s.iov,
		                     .msg_iovlen = 1,
		                     .msg_control = &s.control,
		                     .msg_controllen = CMSG_SPACE(sizeof(int) * b->call->nfds) };
	s.control.head.cmsg_level = SOL_SOCKET;
	s.control.head.cmsg_type = SCM_RIGHTS;
	s.control.head.cmsg_len = CMSG_LEN(sizeof(int) * b->call->nfds);
	memcpy(CMSG_DATA(&s.control.head), b->files, sizeof(int) * b->call->nfds);
	return sendmsg(sock, &s.message, MSG_NOSIGNAL) == 1;
}

/* What the target received, as numbers in it. */
static bool receive_files(struct borrower *b, struct tracee *t, uint64_t at, int32_t there)
{
	struct scratch s = { .pair = { -1, -1 } };
	size_t want = CMSG_LEN(sizeof(int) * b->call->nfds);
	int64_t r;

	s.iov = (struct iovec){ (void *)(uintptr_t)(at + offsetof(struct scratch, byte)), 1 };
	s.message = (struct msghdr){
		.msg_iov = (void *)(uintptr_t)(at + offsetof(struct scratch, iov)),
		.msg_iovlen = 1,
		.msg_control = (void *)(uintptr_t)(at + offsetof(struct scratch, control)),
		.msg_controllen = CMSG_SPACE(sizeof(int) * b->call->nfds),
	};
	if (!write_target(t->tid, at, &s, sizeof(s)))
		return false;
	r = system_call(b, t, SYS_recvmsg, (uint64_t)there, at + offsetof(struct scratch, message),
	                MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0);
	if (r != 1 || !read_target(b->pid, at, &s, sizeof(s)) || s.control.head.cmsg_len != want)
		return false;
	for (size_t i = 0; i < b->call->nfds; i++) {
		int32_t fd;

		memcpy(&fd, CMSG_DATA(&s.control.head) + i * sizeof(int), sizeof(fd));
		memcpy((char *)b->call->data + b->call->fd_at[i], &fd, sizeof(fd));
	}
	return true;
}

static bool pass_files(struct borrower *b, struct tracee *t)
{
	uint64_t at = b->space_at + SCRATCH;
	int32_t pair[2] = { -1, -1 };
	int64_t r = system_call(b, t, SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, at);
	bool ok = false;
	int sock = -1;

	b->res.failure = BORROW_NO_FILES;
	if (failed(r)) {
		b->res.code = (int32_t)-r;
		return false;
	}
	if (read_target(b->pid, at, pair, sizeof(pair)))
		sock = (int)syscall(SYS_pidfd_getfd, b->pidfd, pair[0], 0);
	if (sock < 0 || !send_files(b, sock))
		b->res.code = errno;
	else
		ok = receive_files(b, t, at, pair[1]);
	if (sock >= 0)
		close(sock);
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			system_call(b, t, SYS_close, (uint64_t)pair[i], 0, 0, 0);
	if (ok)
		b->res.failure = BORROW_FINE;
	return ok;
}

/* Those nobody has taken over. */
static void close_files(struct borrower *b, struct tracee *t)
{
	for (size_t i = 0; i < b->call->nfds; i++) {
		int32_t fd = -1;

		memcpy(&fd, (char *)b->call->data + b->call->fd_at[i], sizeof(fd));
		if (fd >= 0)
			system_call(b, t, SYS_close, (uint64_t)fd, 0, 0, 0);
		fd = -1;
		memcpy((char *)b->call->data + b->call->fd_at[i], &fd, sizeof(fd));
	}
}

static bool map_in(struct borrower *b, struct tracee *t)
{
	int64_t at;

	at = system_call(b, t, SYS_mmap, 0, CODE_SIZE, PROT_READ | PROT_EXEC,
	                 MAP_PRIVATE | MAP_ANONYMOUS);
	if (!failed(at)) {
		b->code_at = (uint64_t)at;
		at = system_call(b, t, SYS_mmap, 0, b->space, PROT_READ | PROT_WRITE,
		                 MAP_PRIVATE | MAP_ANONYMOUS);
	}
	if (failed(at)) {
		bool filter = at == -EPERM && b->filtered && b->call->careful;

		b->res.failure = filter ? BORROW_FILTERED : BORROW_NO_MEMORY;
		b->res.code = (int32_t)-at;
		return false;
	}
	b->space_at = (uint64_t)at;
	b->res.data_at = b->space_at;
	if (b->call->nfds && !pass_files(b, t))
		return false;
	if (b->call->prepare)
		b->call->prepare(b->call->data);
	if (write_target(t->tid, b->code_at, b->call->code, b->call->code_len) &&
	    write_target(t->tid, b->space_at, b->call->data,
	                 b->call->write_len ? b->call->write_len : b->call->data_len))
		return true;
	b->res.failure = BORROW_NO_MEMORY;
	b->res.code = errno;
	return false;
}

static void unmap_in(struct borrower *b, struct tracee *t)
{
	close_files(b, t);
	if (b->space_at)
		system_call(b, t, SYS_munmap, b->space_at, b->space, 0, 0);
	if (b->code_at)
		system_call(b, t, SYS_munmap, b->code_at, CODE_SIZE, 0, 0);
	b->space_at = b->code_at = 0;
}

/* The main thread first: it has the stack on which injected calls restore themselves. */
static bool with_a_thread(struct borrower *b, uint64_t deadline,
                          bool (*act)(struct borrower *, struct tracee *))
{
	static struct tracees_list l;
	struct tracee *t;
	pid_t tid;

	if (!stop(b, b->pid, &t)) {
		bool done = act(b, t);

		go(b, t);
		return done;
	}
	tracees_list_start(&b->ts, &l);
	while ((tid = tracees_list_next(&b->ts, &l)) && tracees_now() < deadline) {
		if (tid == b->pid || stop(b, tid, &t))
			continue;
		{
			bool done = act(b, t);

			go(b, t);
			return done;
		}
	}
	return false;
}

static bool act_map(struct borrower *b, struct tracee *t)
{
	if (!inject_check_place(t->tid, &b->place))
		return false;
	return map_in(b, t);
}

static bool act_unmap(struct borrower *b, struct tracee *t)
{
	/* The thread that was lent may not have left our stack yet. */
	if (t->tid == b->borrowed && t->regs.rsp >= b->space_at &&
	    t->regs.rsp <= b->space_at + b->space)
		return false;
	unmap_in(b, t);
	return true;
}

static uint32_t state_of(struct borrower *b)
{
	uint32_t state = 0;

	if (!read_target(b->pid, b->space_at + b->call->state_at, &state, sizeof(state)))
		return 0;
	return state;
}

/* Whoever ran our code has said what came of it, but not yet left the page: a few instructions, or a time slice. */
static bool in_our_code(struct borrower *b)
{
	static struct tracees_list l;
	bool found = false;
	pid_t tid;

	tracees_list_start(&b->ts, &l);
	while (!found && (tid = tracees_list_next(&b->ts, &l))) {
		struct tracee *t;

		if (stop(b, tid, &t))
			continue;
		found = t->regs.rip - b->code_at < CODE_SIZE;
		go(b, t);
	}
	return found;
}

static void clean_up(struct borrower *b)
{
	uint64_t deadline = tracees_now() + CLEAN_TIME;
	struct tracee *t;

	b->ts.hangup = -1;
	/* When all is well the code's last act is a jump out of it, before it is said. */
	while (b->borrowed && state_of(b) > b->call->done_from) {
		if (tracees_now() >= deadline)
			return;
		if (!in_our_code(b))
			break;
		nap(MS);
	}
	while (b->borrowed && b->borrowed != b->pid && tracees_now() < deadline) {
		bool on_it;

		if (stop(b, b->borrowed, &t))
			break; /* it has ended: then it is off our stack */
		on_it = t->regs.rsp >= b->space_at && t->regs.rsp <= b->space_at + b->space;
		go(b, t);
		if (!on_it)
			break;
		nap(MS);
	}
	while (b->space_at && tracees_now() < deadline && !target_ended(b))
		if (!with_a_thread(b, deadline, act_unmap))
			nap(MS);
}

/* ---- the call --------------------------------------------------------------------------- */

static bool is_avoided(const struct borrower *b, pid_t tid)
{
	char path[64], name[16] = "";
	_cleanup_close_ int fd = -1;

	if (!b->call->avoid)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)b->pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 &&
	       strncmp(name, b->call->avoid, strlen(b->call->avoid)) == 0;
}

static bool lend(struct borrower *b, pid_t tid, bool patient)
{
	struct tracee *t;
	bool lent = false;

	if (is_avoided(b, tid) || stop(b, tid, &t))
		return false;
	b->res.tries++;
	if (is_safe(b, t, patient))
		lent = inject_borrow(t, &b->place, b->code_at, b->space_at,
		                     b->space_at + b->space) == 0;
	go(b, t);
	if (lent)
		b->borrowed = b->res.tid = tid;
	return lent;
}

static bool find_and_lend(struct borrower *b)
{
	static struct tracees_list l;
	uint64_t began = tracees_now(), pause = MS;

	while (!seep_gone(b) && !target_ended(b)) {
		uint64_t waited = tracees_now() - began;
		bool patient = waited > b->call->find_ns / SIGRETURN_PATIENCE;
		pid_t tid;

		if (lend(b, b->pid, patient))
			return true;
		tracees_list_start(&b->ts, &l);
		while ((tid = tracees_list_next(&b->ts, &l)))
			if (tid != b->pid && lend(b, tid, patient))
				return true;
		if (b->res.failure)
			return false;
		if (waited > b->call->find_ns) {
			b->res.failure = BORROW_NOT_SAFE;
			return false;
		}
		/* Out of step with whatever the program does at regular times. */
		nap(pause + tracees_now() % MS);
		pause = pause < 16 * MS ? pause * 2 : pause;
	}
	b->res.failure = target_ended(b) ? BORROW_GONE : BORROW_LOST;
	return false;
}

static bool await(struct borrower *b)
{
	uint64_t deadline = tracees_now() + b->call->work_ns, pause = MS / 10;

	while (state_of(b) < b->call->done_from) {
		if (target_ended(b)) {
			b->res.failure = BORROW_GONE;
			return false;
		}
		if (tracees_now() >= deadline) {
			b->res.failure = BORROW_TOO_SLOW;
			return false;
		}
		nap(pause);
		pause = pause < 4 * MS ? pause * 2 : pause;
	}
	if (!read_target(b->pid, b->space_at, b->call->data, b->call->data_len)) {
		b->res.failure = BORROW_GONE;
		return false;
	}
	return true;
}

static void run(struct borrower *b)
{
	uint64_t deadline;
	sigset_t chld;
	int sigfd, r;
	bool mapped;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	b->pidfd = (int)syscall(SYS_pidfd_open, b->pid, 0);
	r = sigfd < 0 ? -errno : tracees_init(&b->ts, b->pid, sigfd, b->sock);
	if (r) {
		b->res.failure = r == -ESRCH ? BORROW_GONE : BORROW_CANNOT_TRACE;
		b->res.code = -r;
		return;
	}
	b->space = ((b->call->data_len + 4095) & ~4095ull) + STACK;
	inject_find_place(b->pid, &b->place);
	if (!b->place.call || !b->place.restorer) {
		b->res.failure = BORROW_NO_PLACE;
		return;
	}
	/* On a busy machine a thread may take longer to come to a stop than one attempt waits. */
	deadline = tracees_now() + CALL_TIME;
	while (!(mapped = with_a_thread(b, deadline, act_map)) && !b->res.failure && !b->space_at &&
	       !target_ended(b) && tracees_now() < deadline)
		nap(MS);
	if (!mapped) {
		if (!b->res.failure)
			b->res.failure = target_ended(b) ? BORROW_GONE : BORROW_NO_PLACE;
		clean_up(b);
		return;
	}
	if (!find_and_lend(b)) {
		clean_up(b);
		return;
	}
	if (await(b))
		clean_up(b);
}

/* ---- seep's end --------------------------------------------------------------------------- */

static bool move_all(int sock, void *data, size_t len, bool out)
{
	char *p = data;

	while (len) {
		ssize_t n = out ? send(sock, p, len, MSG_NOSIGNAL) : recv(sock, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* All files but the socket were closed when this process settled: they come through it. */
static bool take_files(struct borrower *b)
{
	struct scratch s = { .pair = { -1, -1 } };

	for (size_t i = 0; i < b->call->nfds; i++)
		memcpy((char *)b->call->data + b->call->fd_at[i], &s.pair[0], sizeof(int32_t));
	if (!b->call->nfds)
		return true;
	s.iov = (struct iovec){ s.byte, 1 };
	s.message = (struct msghdr){ .msg_iov = &s.iov,
		                     .msg_iovlen = 1,
		                     .msg_control = &s.control,
		                     .msg_controllen = CMSG_SPACE(sizeof(int) * b->call->nfds) };
	if (recvmsg(b->sock, &s.message, MSG_CMSG_CLOEXEC) != 1 ||
	    s.control.head.cmsg_len != CMSG_LEN(sizeof(int) * b->call->nfds)) {
		b->res.failure = BORROW_LOST;
		return false;
	}
	memcpy(b->files, CMSG_DATA(&s.control.head), sizeof(int) * b->call->nfds);
	return true;
}

static void __attribute__((noreturn))
borrower_main(int sock, pid_t pid, bool filtered, struct borrow_call *call)
{
	static struct borrower b;

	guardian_settle(&sock);
	b.sock = sock;
	b.pid = pid;
	b.call = call;
	b.filtered = filtered;
	if (take_files(&b))
		run(&b);
	if (move_all(sock, &b.res, sizeof(b.res), true))
		move_all(sock, call->data, call->data_len, true);
	_exit(0);
}

struct seep_error *borrow_thread(pid_t pid, struct borrow_call *call, struct borrow_result *ret)
{
	struct borrow_result res = { .failure = BORROW_LOST };
	struct procfs_status st;
	int pair[2], status;
	bool filtered;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return seep_error_new(errno, "cannot make a socket for the tracing process");
	filtered = procfs_status(pid, &st) == 0 && st.seccomp;
	child = fork();
	if (child == 0) {
		close(pair[0]);
		borrower_main(pair[1], pid, filtered, call);
	}
	close(pair[1]);
	if (child < 0) {
		struct seep_error *err = seep_error_new(errno, "cannot start the tracing process");

		close(pair[0]);
		return err;
	}
	if (call->nfds) {
		struct borrower b = { .call = call };

		memcpy(b.files, call->fds, sizeof(b.files));
		send_files(&b, pair[0]);
	}
	if (!move_all(pair[0], &res, sizeof(res), false) ||
	    !move_all(pair[0], call->data, call->data_len, false))
		res.failure = BORROW_LOST;
	close(pair[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	*ret = res;
	return NULL;
}
