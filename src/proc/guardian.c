/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guardian process, and seep's end of it.
 *
 * What it must survive decides its shape: seep may be killed at any instant, so nothing that has to be
 * undone is known to seep alone; seep may be stopped (^Z) or hang, so it has a clock of its own and
 * lets the target go when its time is up; it may be forked from a program with threads, so it calls nothing
 * that could take a lock; it must leave nothing behind, so everything it holds is something the
 * kernel takes back when it exits.
 */
#include "proc/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "proc/discard.h"
#include "proc/inject.h"

#define MS 1000000ull
#define CALL_TIME (30000 * MS)  /* an injected call may take: a clone of many GB */
#define REAP_TIME (8000 * MS)   /* until a zombie is given up on */
#define LEAVE_TIME (12000 * MS) /* seep waits so long for the guardian's end */

/* ---- the process ------------------------------------------------------------ */

struct ward {
	struct tracees ts;
	struct guardian_shared *shared;
	int sock;
	int pidfd;                 /* of the target, or -1 */
	pid_t child, child_inside; /* the clone, as seen here and as the target sees it */
	bool child_dead;
	struct inject_place place;
	struct guardian_reply reply;
	struct pool ranges; /* struct discard_range */
};

/* A file of a thread, cut to the buffer; "" when it cannot be read. */
static void read_text(pid_t pid, pid_t tid, const char *name, char *text, size_t size)
{
	char path[96];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

static bool filtered(pid_t pid, pid_t tid, bool *ret_shadow_stack)
{
	static char text[8192];
	const char *p;

	read_text(pid, tid, "status", text, sizeof(text));
	p = strstr(text, "\nx86_Thread_features:");
	*ret_shadow_stack = p && strstr(p, "shstk");
	p = strstr(text, "\nSeccomp:\t");
	return p && p[10] != '0';
}

static bool target_ended(const struct ward *w)
{
	struct pollfd p = { .fd = w->pidfd, .events = POLLIN };

	return w->pidfd >= 0 && poll(&p, 1, 0) > 0;
}

static uint64_t resident(pid_t pid)
{
	char text[128];
	const char *p;

	read_text(pid, pid, "statm", text, sizeof(text));
	p = strchr(text, ' ');
	return p ? strtoull(p, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Through the first thread that shows the memory: a main thread that has ended does not. */
static void find_place(struct ward *w)
{
	static struct tracees_list l;
	pid_t tid;

	tracees_list_start(&w->ts, &l);
	while (!w->place.call && (tid = tracees_list_next(&w->ts, &l)))
		inject_find_place(tid, &w->place);
}

/* The thread to inject into: the main thread on its own stack, else one that waits in a call. */
static struct tracee *choose(const struct ward *w)
{
	struct tracee *best = NULL;
	int points = -1;

	for (size_t i = 0; i < w->ts.n; i++) {
		struct tracee *t = tracees_at(&w->ts, i);
		int p = 0;

		if (!t->stopped || !t->has_regs)
			continue;
		if (t->regs.rsp > w->place.stack_start && t->regs.rsp <= w->place.stack_end)
			p += 2;
		if ((int64_t)t->regs.orig_rax >= 0)
			p += 1;
		if (p > points) {
			points = p;
			best = t;
		}
	}
	return best;
}

static void clone_target(struct ward *w)
{
	struct inject_call call = { .nr = SYS_clone, .clones = true };
	struct inject_place place = w->place;
	struct tracee *t = choose(w);
	bool shadow;
	int r;

	if (!t || !inject_check_place(t->tid, &place)) {
		w->reply.clone = GUARDIAN_CLONE_PLACE;
		return;
	}
	/*
	 * Of the clone flags only CLONE_FILES, and no exit signal.  With a table of its own the child would keep
	 * every file open that the target closes meanwhile: connections would not end, locks not be
	 * released, and epoll would go on reporting closed files.
	 */
	call.args[0] = 0x400;
	call.seccomp = filtered(w->ts.pid, t->tid, &shadow);
	if (shadow)
		place.restorer = 0;
	r = inject_call(&w->ts, t, &place, &call, tracees_now() + CALL_TIME);
	if (call.child > 0) {
		w->child = call.child;
		w->child_inside = call.result > 0 ? (pid_t)call.result : 0;
	}
	if (r == -EPERM && call.seccomp) {
		w->reply.clone = GUARDIAN_CLONE_SECCOMP;
	} else if (r || call.result < 0 || !call.child) {
		w->reply.clone = GUARDIAN_CLONE_FAILED;
		w->reply.clone_errno = r ? -r : call.result < 0 ? (int)-call.result : ENOSYS;
	} else {
		w->reply.clone = GUARDIAN_CLONE_MADE;
		/* If its first stop was not among the changes seen, it is waited for with the target running. */
		w->child_dead = false;
		w->reply.child = call.child_stands ? call.child : -call.child;
	}
}

/* Waits for the child's first stop and sees to it that it never outlives this process. */
static void hold_child(struct ward *w)
{
	uint64_t deadline = tracees_now() + CALL_TIME;
	char path[64];
	int fd;

	while (w->reply.child < 0) {
		int status;
		pid_t tid;

		if (tracees_wait(&w->ts, deadline, &tid, &status) != TRACEES_CHANGED) {
			w->reply.child = 0;
			break;
		}
		if (tid == w->child) {
			w->child_dead = !WIFSTOPPED(status);
			w->reply.child = w->child_dead ? 0 : w->child;
		} else {
			tracees_changed(&w->ts, tid, status);
		}
	}
	if (!w->reply.child) {
		w->reply.clone = GUARDIAN_CLONE_FAILED;
		w->reply.clone_errno = ESRCH;
		return;
	}
	ptrace(PTRACE_SETOPTIONS, w->child, 0, PTRACE_O_EXITKILL);
	/* When memory runs out because of the copy, the copy is what has to go. */
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)w->child);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1000", 4) < 0)
			w->reply.clone_errno = 0; /* a help, not a need */
		close(fd);
	}
}

/* Makes the target wait for its dead child, with whichever thread can be stopped. */
static void reap(struct ward *w)
{
	uint64_t give_up = tracees_now() + REAP_TIME;
	static struct tracees_list l;

	w->ts.hangup = -1;
	while (tracees_now() < give_up && !target_ended(w)) {
		pid_t tid;

		tracees_list_start(&w->ts, &l);
		while ((tid = tracees_list_next(&w->ts, &l))) {
			struct inject_call call = { .nr = SYS_wait4 };
			struct inject_place place;
			struct tracee *t;
			bool shadow;
			int r = tracees_stop_one(&w->ts, tid, tracees_now() + 200 * MS, &t);

			if (r)
				continue;
			call.args[0] = (uint64_t)w->child_inside;
			call.args[2] = __WALL | WNOHANG;
			call.seccomp = filtered(w->ts.pid, tid, &shadow);
			if (!inject_check_place(tid, &w->place)) /* it has called exec */
				inject_find_place(tid, &w->place);
			place = w->place;
			if (shadow)
				place.restorer = 0;
			r = place.call ? inject_call(&w->ts, t, &place, &call,
			                             tracees_now() + CALL_TIME)
			               : -ENOSYS;
			tracees_detach_one(&w->ts, t);
			if (!r && (call.result == w->child_inside || call.result == -ECHILD))
				return;
		}
		usleep(20000); /* traced by someone else, or nobody can be stopped just now */
	}
}

static void end_child(struct ward *w)
{
	uint64_t deadline = tracees_now() + REAP_TIME;

	if (!w->child)
		return;
	w->ts.hangup = -1;
	if (!w->child_dead)
		kill(w->child, SIGKILL);
	while (!w->child_dead) {
		int status;
		pid_t tid;

		if (tracees_wait(&w->ts, deadline, &tid, &status) != TRACEES_CHANGED)
			break;
		if (tid != w->child)
			tracees_changed(&w->ts, tid, status);
		else if (!WIFSTOPPED(status))
			w->child_dead = true;
	}
	if (w->child_inside)
		reap(w);
}

static void let_go(struct ward *w, uint32_t why)
{
	tracees_detach(&w->ts);
	if (w->ts.begun_ns)
		atomic_store(&w->shared->stopped_ns, w->ts.ended_ns - w->ts.begun_ns);
	atomic_store(&w->shared->released, why);
}

/* ---- pages to drop ---------------------------------------------------------- */

static bool receive_all(int sock, void *data, size_t len, uint64_t deadline)
{
	char *p = data;

	while (len) {
		struct pollfd pfd = { .fd = sock, .events = POLLIN };
		uint64_t now = tracees_now();
		ssize_t n;

		if (now >= deadline || poll(&pfd, 1, (int)((deadline - now) / MS) + 1) < 0)
			return false;
		n = recv(sock, p, len, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static void drop_pages(struct ward *w, size_t n, uint64_t until, struct discard_reply *r)
{
	struct inject_place place = w->place;
	struct tracee *t = w->ts.released ? NULL : choose(w);
	bool seccomp, shadow;

	if (!t || !inject_check_place(t->tid, &place)) {
		r->failure = ENOSYS;
		return;
	}
	seccomp = filtered(w->ts.pid, t->tid, &shadow);
	if (shadow)
		place.restorer = 0;
	r->rss_before = resident(w->ts.pid);
	discard_run(&w->ts, t, &place, seccomp,
	            (const struct discard_range *)(void *)w->ranges.base, n, until, w->sock, r);
	r->rss_after = resident(w->ts.pid);
}

static bool send_all(int sock, const void *data, size_t len);

/* The order and its ranges come in one piece; false: seep is gone, or makes no sense. */
static bool obey_drop(struct ward *w, uint64_t deadline)
{
	struct discard_reply reply = { 0 };
	uint64_t head[2]; /* how many, until when */

	w->ranges.len = 0;
	if (!receive_all(w->sock, head, sizeof(head), deadline) || head[0] > DISCARD_MAX ||
	    !pool_add(&w->ranges, head[0] * sizeof(struct discard_range) + 1) ||
	    !receive_all(w->sock, w->ranges.base, head[0] * sizeof(struct discard_range), deadline))
		return false;
	drop_pages(w, head[0], head[1] < deadline ? head[1] : deadline, &reply);
	return send_all(w->sock, &reply, sizeof(reply));
}

static bool send_all(int sock, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = send(sock, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool send_reply(struct ward *w)
{
	struct guardian_reply *r = &w->reply;
	struct iovec iov = { r, sizeof(*r) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	char path[64];
	int mem;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)(r->child ? r->child : r->memory_tid));
	mem = r->error ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (mem >= 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &mem, sizeof(int));
	}
	ok = sendmsg(w->sock, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(*r);
	if (mem >= 0)
		close(mem);
	return ok && send_all(w->sock, w->ts.list.base, r->nthreads * sizeof(struct tracee)) &&
	       send_all(w->sock, w->ts.xstate.base, r->xstate_bytes);
}

/* Until seep says so or is gone, or the target's time is up. */
static void watch(struct ward *w, uint64_t deadline)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = w->sock, .events = POLLIN },
			               { .fd = w->ts.sigfd, .events = POLLIN } };
		uint64_t now = tracees_now();
		bool standing = !w->ts.released;
		int status, timeout = -1;
		char command;
		pid_t tid;

		while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
			if (tid == w->child)
				w->child_dead = w->child_dead || !WIFSTOPPED(status);
			else
				tracees_changed(&w->ts, tid, status);
		}
		if (standing && now >= deadline) {
			let_go(w, 2);
			continue;
		}
		if (standing)
			timeout = (int)((deadline - now) / MS < INT_MAX ? (deadline - now) / MS + 1
			                                                : INT_MAX);
		if (poll(p, 2, timeout) <= 0)
			continue;
		if (p[1].revents & POLLIN) {
			struct signalfd_siginfo si;

			if (read(w->ts.sigfd, &si, sizeof(si)) < 0)
				continue;
		}
		if (!p[0].revents)
			continue;
		if (recv(w->sock, &command, 1, MSG_DONTWAIT) != 1 || command == 'q')
			return;
		if (command == 'r') {
			if (!w->ts.released)
				let_go(w, 1);
			if (!send_all(w->sock, "k", 1))
				return;
		}
		if (command == 'd' && !obey_drop(w, deadline))
			return;
	}
}

void guardian_settle(int *sock)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t all;
	int null, fd;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigaction(SIGCHLD, &dfl, NULL); /* ignored, it would lose the stops */
	setsid();
	prctl(PR_SET_NAME, GUARDIAN_NAME);
	/* Every moment it waits for a processor the target stands still; only root may. */
	if (setpriority(PRIO_PROCESS, 0, -20))
		errno = 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (fd = 0; fd < 3; fd++)
		dup2(null, fd);
	*sock = dup2(*sock, 3); /* itself, when it is 3 */
	syscall(SYS_close_range, 4u, ~0u, 0u);
	if (chdir("/")) /* keeps no directory busy; if it cannot, it keeps one */
		return;
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0) /* only root may; it needs next to nothing anyway */
			null = -1;
		close(fd);
	}
}

static void guard(struct ward *w, pid_t pid, bool clone, bool calls, uint64_t max_stop_ns)
{
	struct guardian_reply *r = &w->reply;
	sigset_t chld;
	uint64_t deadline;
	int sigfd, err;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	err = sigfd < 0 ? -errno : tracees_init(&w->ts, pid, sigfd, w->sock);
	if ((clone || calls) && !err)
		find_place(w);
	deadline = tracees_now() + max_stop_ns;
	if (!err)
		err = tracees_stop(&w->ts, deadline);
	if (err) {
		if (w->ts.n)
			let_go(w, 1);
		r->error = -err;
		r->error_tid = w->ts.failed_tid;
		send_reply(w);
		return;
	}
	r->resident_bytes = resident(pid);
	if (clone)
		clone_target(w);
	if (r->child) {
		let_go(w, 1);
		hold_child(w);
	}
	r->nthreads = (uint32_t)w->ts.n;
	r->xstate_bytes = w->ts.xstate.len;
	r->stop_mono_ns = w->ts.all_stopped_ns;
	r->stop_real_ns = w->ts.all_stopped_real_ns;
	r->stopped_ns = (w->ts.released ? w->ts.ended_ns : tracees_now()) - w->ts.begun_ns;
	for (size_t i = 0; i < w->ts.n; i++) {
		const struct tracee *t = tracees_at(&w->ts, i);

		if ((t->has_regs && !r->memory_tid) || t->tid == pid)
			r->memory_tid = t->tid;
	}
	if (send_reply(w))
		watch(w, deadline);
	if (!w->ts.released)
		let_go(w, 1);
	end_child(w);
}

static void __attribute__((noreturn))
guardian_main(int sock, pid_t pid, bool clone, bool calls, uint64_t max_stop_ns,
              struct guardian_shared *shared)
{
	static struct ward w;
	struct timeval tv = { .tv_sec = (time_t)(max_stop_ns / 1000000000u) + 1 };

	guardian_settle(&sock);
	w.sock = sock;
	w.shared = shared;
	/* A seep that does not read must not keep the target standing. */
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	guard(&w, pid, clone, calls, max_stop_ns);
	_exit(0);
}

/* ---- seep's end ------------------------------------------------------------- */

static bool receive(int sock, void *data, size_t len, uint64_t deadline, int *ret_fd)
{
	char *p = data;

	while (len) {
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec iov = { p, len };
		struct msghdr m = { .msg_iov = &iov,
			            .msg_iovlen = 1,
			            .msg_control = &control,
			            .msg_controllen = sizeof(control) };
		struct pollfd pfd = { .fd = sock, .events = POLLIN };
		uint64_t now = tracees_now();
		struct cmsghdr *c;
		ssize_t n;

		if (now >= deadline)
			return false;
		if (poll(&pfd, 1, (int)((deadline - now) / MS) + 1) <= 0)
			continue; /* a signal, or the deadline */
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return false;
		for (c = CMSG_FIRSTHDR(&m); c && ret_fd; c = CMSG_NXTHDR(&m, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
			    c->cmsg_len == CMSG_LEN(sizeof(int)))
				memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
		p += n;
		len -= (size_t)n;
	}
	return true;
}

struct seep_error *guardian_start(pid_t pid, bool clone, bool calls, uint64_t max_stop_ns,
                                  struct guardian *ret)
{
	struct guardian g = { .pid = -1, .sock = -1, .memfd = -1 };
	struct seep_error *err = NULL;
	uint64_t deadline;
	int pair[2];

	*ret = g;
	g.shared = mmap(NULL, sizeof(*g.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	                -1, 0);
	if (g.shared == MAP_FAILED)
		return seep_error_new(errno, "cannot share memory with the guardian process");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		err = seep_error_new(errno, "cannot make a socket for the guardian process");
		munmap(g.shared, sizeof(*g.shared));
		return err;
	}
	deadline = tracees_now() + max_stop_ns + 2 * CALL_TIME;
	g.pid = fork();
	if (g.pid == 0) {
		close(pair[0]);
		guardian_main(pair[1], pid, clone, calls, max_stop_ns, g.shared);
	}
	if (g.pid < 0)
		err = seep_error_new(errno, "cannot start the guardian process");
	close(pair[1]);
	g.sock = pair[0];
	*ret = g;
	if (err)
		return err;
	if (!receive(g.sock, &g.reply, sizeof(g.reply), deadline, &g.memfd))
		goto gone;
	*ret = g;
	g.threads = calloc(g.reply.nthreads + 1, sizeof(*g.threads));
	g.xstate = malloc(g.reply.xstate_bytes + 1);
	*ret = g;
	if (!g.threads || !g.xstate)
		return &seep_error_nomem;
	if (!receive(g.sock, g.threads, g.reply.nthreads * sizeof(*g.threads), deadline, NULL) ||
	    !receive(g.sock, g.xstate, g.reply.xstate_bytes, deadline, NULL))
		goto gone;
	return NULL;
gone:
	err = seep_error_new(0,
	                     "the guardian process that holds process %d ended before it answered",
	                     (int)pid);
	return seep_error_hint(err, "it was killed, or memory ran out; process %d runs on",
	                       (int)pid);
}

bool guardian_resume(struct guardian *g)
{
	char k;

	return send_all(g->sock, "r", 1) &&
	       receive(g->sock, &k, 1, tracees_now() + LEAVE_TIME, NULL);
}

bool guardian_drop(struct guardian *g, const struct discard_range *ranges, size_t n,
                   uint64_t until_ns, struct discard_reply *ret)
{
	uint64_t head[2] = { n, until_ns };

	return send_all(g->sock, "d", 1) && send_all(g->sock, head, sizeof(head)) &&
	       send_all(g->sock, ranges, n * sizeof(*ranges)) &&
	       receive(g->sock, ret, sizeof(*ret), until_ns + LEAVE_TIME, NULL);
}

void guardian_release(struct guardian *g)
{
	if (g->sock >= 0)
		close(g->sock); /* the end of file is the order to leave */
	if (g->pid > 0) {
		int pidfd = (int)syscall(SYS_pidfd_open, g->pid, 0), status;
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		uint64_t deadline = tracees_now() + LEAVE_TIME;

		while (pidfd >= 0 && tracees_now() < deadline)
			if (poll(&p, 1, (int)(LEAVE_TIME / MS)) > 0)
				break;
		/* One that somebody has stopped would keep seep here for ever. */
		if (pidfd >= 0 && tracees_now() >= deadline)
			kill(g->pid, SIGKILL);
		if (pidfd >= 0)
			close(pidfd);
		while (waitpid(g->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (g->memfd >= 0)
		close(g->memfd);
	if (g->shared)
		munmap(g->shared, sizeof(*g->shared));
	free(g->threads);
	free(g->xstate);
	*g = (struct guardian){ .pid = -1, .sock = -1, .memfd = -1 };
}
