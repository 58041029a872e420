/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing still to be checked for leaks: when, and from where on the stack is dead.
 *
 * Moments.  EXIT is the entry of exit(), or main's return: the program's data is complete, what lies below the
 * frame that ended is not the program's any more.  END is after the last destructor: an exit handler
 * that was registered before anything else runs last, after the loader's own, which runs the
 * libraries' destructors.  (Registered for no module: one of ours would run with our destructor.)  _exit() and
 * quick_exit() pass handlers by and are their own ends.
 *
 * The dead part.  At EXIT it is what lies below the caller's frame.  At END the thread is deep in the C library's
 * exit(); what counts is the frame that called exit(), noted on its entry, or main's caller, noted
 * when main was entered.  The C library also calls exit() itself (err(), the last thread's end), which cannot
 * be seen; main's caller then still stands where it called main: the word below its frame is main's
 * return address, not that of the call of exit().
 *
 * A forked child, and its children, do the same on their own account: every "done" is a process id.
 *
 * The parked thread is in no lock and in no state of the tracker's: what a signal handler allocates meanwhile
 * is recorded as ever.
 */
#include "track/check.h"
#include "track/dropin.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECT_SECONDS 5 /* for a seep that does not accept; once it has, it may take its time */
#define HIGH_FD 200       /* out of the way of programs that closed their lowest ones */
#define MAX_STRINGS 64

static bool end_registered;

bool check_possible(void)
{
	if (!opt.check || !tracker_resolved())
		return false;
	/* In a child of vfork the memory is its parent's, and so is everything we know. */
	if (g.ready && !forked_child() && sys_getpid() != g.pid)
		return false;
	if (t_self->state == T_COLD)
		thread_begin();
	return g.ready && !forked_child();
}

/* ---- the conversation ----------------------------------------------------------------------- */

bool seep_send(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n) {
		long r = sys6(SYS_sendto, fd, (long)p, (long)n, MSG_NOSIGNAL, 0, 0);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

bool seep_receive(int fd, void *buf, size_t n)
{
	char *p = buf;

	while (n) {
		long r = sys6(SYS_recvfrom, fd, (long)p, (long)n, 0, 0, 0);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static char *put(char *p, char *end, const char *s)
{
	while (*s && p < end - 1)
		*p++ = *s++;
	*p = '\0';
	return p;
}

/* The socket's address; a directory with a long path is reached through a descriptor. */
static bool address_of(struct sockaddr_un *sa, const char *name, int *ret_dir)
{
	char *p = sa->sun_path, *end = p + sizeof(sa->sun_path);
	char digits[12];
	long fd;
	int n = 0;

	*ret_dir = -1;
	sa->sun_family = AF_UNIX;
	if (strlen(opt.dir) + 1 + strlen(name) < sizeof(sa->sun_path)) {
		put(put(put(p, end, opt.dir), end, "/"), end, name);
		return true;
	}
	fd = sys_open(opt.dir, O_PATH | O_DIRECTORY, 0);
	if (sys_failed(fd))
		return false;
	*ret_dir = (int)fd;
	p = put(p, end, "/proc/self/fd/");
	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		*p++ = digits[--n];
	put(put(p, end, "/"), end, name);
	return true;
}

int seep_connect(const char *name)
{
	struct { /* struct timeval as the system call has it */
		int64_t sec, usec;
	} wait = { CONNECT_SECONDS, 0 };
	struct sockaddr_un sa;
	long fd, r, high;
	int dir;

	memset(&sa, 0, sizeof(sa));
	if (!address_of(&sa, name, &dir))
		return -1;
	fd = sys6(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0, 0);
	if (!sys_failed(fd)) {
		high = sys6(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_FD, 0, 0, 0);
		if (!sys_failed(high)) {
			sys_close((int)fd);
			fd = high;
		}
		sys6(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, (long)&wait, sizeof(wait), 0);
		do
			r = sys6(SYS_connect, fd, (long)&sa, sizeof(sa), 0, 0, 0);
		while (r == -EINTR);
		if (r) {
			sys_close((int)fd);
			fd = -1;
		}
	}
	if (dir >= 0)
		sys_close(dir);
	return sys_failed(fd) ? -1 : (int)fd;
}

/* CHECK_REPLY_STRING: only code may be called, and only so much is answered. */
static bool answer_string(int fd, uint64_t address)
{
	struct check_string head = { .magic = CHECK_MAGIC };
	const char *text = NULL;

	if (module_runs(address))
		text = ((const char *(*)(void))address)();
	while (text && head.length < CHECK_STRING_MAX && text[head.length])
		head.length++;
	return seep_send(fd, &head, sizeof(head)) && seep_send(fd, text, head.length);
}

/*
 * Where Yama restricts ptrace to ancestors: seep's helper, which does the stopping, is no ancestor of ours but a child
 * of the seep at the other end.  Elsewhere the kernel refuses, and nothing is changed.
 */
static void allow_seep(int fd)
{
	struct { /* struct ucred */
		int32_t pid;
		uint32_t uid, gid;
	} peer = { 0, 0, 0 };
	uint32_t len = sizeof(peer);

	if (!sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, (long)&peer, (long)&len, 0) &&
	    peer.pid > 0)
		sys6(SYS_prctl, PR_SET_PTRACER, peer.pid, 0, 0, 0, 0);
}

static bool converse(int fd, const struct check_request *q, struct check_reply *reply)
{
	if (!seep_send(fd, q, sizeof(*q)))
		return false;
	for (unsigned int strings = 0; seep_receive(fd, reply, sizeof(*reply)); strings++) {
		if (reply->magic != CHECK_MAGIC)
			return false;
		if (reply->kind != CHECK_REPLY_STRING)
			return reply->kind == CHECK_REPLY_GO;
		if (strings == MAX_STRINGS || !answer_string(fd, reply->address))
			return false;
	}
	return false;
}

/* What a reader finds in the ledger should be up to now. */
void check_bring_up_to_date(void)
{
	struct thread *t = t_self;

	if (t->state != T_READY)
		return;
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	totals_flush(t);
	totals_unwinds(t);
	store_release(&t->state, (uint32_t)T_READY);
}

/* LeakSanitizer's way for a program to say that it does not want to be checked. */
static bool turned_off(void)
{
	int (*off)(void) = NULL;
	void *p = symbol_anywhere_locked("__lsan_is_turned_off");

	memcpy(&off, &p, sizeof(off));
	return off && off();
}

bool check_ask(enum check_request_kind kind, const struct arch_entry *entry, int status,
               const char *name, struct check_reply *ret_reply)
{
	struct check_request q;
	int fd;
	bool ok;

	memset(&q, 0, sizeof(q));
	q.magic = CHECK_MAGIC;
	q.protocol = CHECK_PROTOCOL;
	q.kind = kind;
	q.pid = sys_getpid();
	q.tid = sys_gettid();
	q.status = status;
	q.sp = entry->sp;
	q.nwords = ARCH_NSAVED;
	memcpy(q.words, entry->saved, sizeof(entry->saved));
	if (name)
		put(q.name, q.name + sizeof(q.name), name);
	if (turned_off())
		return false;
	check_bring_up_to_date();
	fd = seep_connect(CHECK_SOCKET);
	if (fd < 0) {
		loss(LOSS_UNCHECKED);
		return false;
	}
	allow_seep(fd);
	ok = converse(fd, &q, ret_reply);
	sys_close(fd);
	if (!ok)
		loss(LOSS_UNCHECKED);
	return ok;
}

/* ---- once for each process ------------------------------------------------------------------ */

static int asked_exit, asked_end; /* the process that did */

static bool first_in_process(int *who)
{
	int pid = sys_getpid(), old = load_relaxed(who);

	return old != pid && __atomic_compare_exchange_n(who, &old, pid, false, __ATOMIC_ACQ_REL,
	                                                 __ATOMIC_RELAXED);
}

void check_spent(void)
{
	first_in_process(&asked_exit);
	first_in_process(&asked_end);
}

static void ask_at(unsigned int moment, enum check_request_kind kind, int *asked,
                   const struct arch_entry *entry, int status)
{
	struct check_reply reply;

	/* The reply's status is for seep run, which passes it on when the program has ended by itself. */
	if ((opt.check & moment) && first_in_process(asked))
		check_ask(kind, entry, status, NULL, &reply);
}

static bool register_handler(const char *kind, void (*handler)(void *));
extern void check_late_handler(void *) __attribute__((visibility("hidden")));
extern void check_last_handler(void *) __attribute__((visibility("hidden")));

/* ---- main ------------------------------------------------------------------------------------- */

int (*check_main)(int, char **, char **);
static struct arch_entry main_entry;
static struct arch_entry exit_entry; /* of the first call of exit() or quick_exit() */
static int exit_status, exit_noted, exit_pid;

bool check_wants_main(void)
{
	return g.ready && ((opt.check & (CHECK_AT_EXIT | CHECK_AT_END)) || opt.minimal);
}

/* minimal=1: what constructors allocated has no records; from here on, all have. */
static void begin_recording(void)
{
	struct ledger_control *c = &g.hdr->control;
	struct thread *t = t_self;

	g.main_entered = true;
	if (!opt.active || load_relaxed(&c->active) || load_relaxed(&c->generation) != 1)
		return; /* as was asked for, or someone else decided meanwhile */
	store_relaxed(&c->active, 1u);
	store_release(&c->generation, 2u);
	if (t->state == T_READY) {
		store_relaxed(&t->state, (uint32_t)T_TRACKER);
		thread_settings(t);
		store_release(&t->state, (uint32_t)T_READY);
	}
}

struct arch_main check_main_entered(const struct arch_entry *entry)
{
	struct arch_main m = { (void *)check_main, (opt.check & CHECK_AT_EXIT) != 0 };

	main_entry = *entry;
	/* exit() called by the C library itself is seen here: before any library's destructors. */
	if (m.come_back)
		register_handler("__cxa_atexit", check_late_handler);
	if (opt.minimal)
		begin_recording();
	return m;
}

void check_main_returned(int status, long unused, const struct arch_entry *entry)
{
	(void)unused;
	if (check_possible())
		ask_at(CHECK_AT_EXIT, CHECK_REQ_EXIT, &asked_exit, entry, status);
}

/* ---- exit ---------------------------------------------------------------------------------------- */

static void note_exit(int status, const struct arch_entry *entry)
{
	if (!first_in_process(&exit_noted))
		return;
	exit_entry = *entry;
	exit_status = status;
	store_release(&exit_pid, sys_getpid());
}

void check_exit_entered(int status, const struct arch_entry *entry)
{
	if (!check_possible())
		return;
	note_exit(status, entry);
	ask_at(CHECK_AT_EXIT, CHECK_REQ_EXIT, &asked_exit, entry, status);
}

void check_quick_exit_entered(int status, const struct arch_entry *entry)
{
	check_exit_entered(status, entry);
}

/* No handler runs any more: this is the end.  Its caller's frames are alive, also inside exit(). */
void check_underscore_exit_entered(int status, const struct arch_entry *entry)
{
	if (!check_possible())
		return;
	ask_at(CHECK_AT_END, CHECK_REQ_END, &asked_end, entry, status);
}

/* ---- the very end ----------------------------------------------------------------------------------- */

/* Whether `outer` is a frame further out on the stack that `inner` is on. */
static bool same_stack(const struct arch_entry *outer, const struct arch_entry *inner)
{
	uint64_t lo, hi;

	return outer->sp > inner->sp && mapping_of(inner->sp, &lo, &hi) && outer->sp <= hi;
}

/*
 * Main's call left its return address just below its caller's frame; when main is done, the call of exit() has
 * put another one there.
 */
static bool main_is_done(const struct arch_entry *here)
{
	return main_entry.sp && same_stack(&main_entry, here) &&
	       ((const uint64_t *)main_entry.sp)[-1] != main_entry.pc;
}

/* What the C library passes to a handler as its second argument is the exit status. */
__attribute__((used)) void check_handlers_done(void *unused, long status,
                                               const struct arch_entry *entry)
{
	const struct arch_entry *from = entry;

	(void)unused;
	if (!check_possible())
		return;
	if (load_acquire(&exit_pid) == sys_getpid()) {
		status = exit_status;
		if (same_stack(&exit_entry, entry))
			from = &exit_entry;
	} else if (main_is_done(entry)) {
		from = &main_entry;
	}
	ask_at(CHECK_AT_END, CHECK_REQ_END, &asked_end, from, (int)status);
	check_bring_up_to_date();
	dropin_end();
	ledger_finish(LEDGER_EXITED);
}

__attribute__((used)) void check_handlers_begin(void *unused, long status,
                                                const struct arch_entry *entry)
{
	(void)unused;
	if (check_possible())
		ask_at(CHECK_AT_EXIT, CHECK_REQ_EXIT, &asked_exit, entry, (int)status);
}

ARCH_ENTRY_CALL(".hidden", check_late_handler, check_handlers_begin);
ARCH_ENTRY_CALL(".hidden", check_last_handler, check_handlers_done);

/* Handlers that belong to no module, __cxa_atexit() or __cxa_at_quick_exit(). */
static bool register_handler(const char *kind, void (*handler)(void *))
{
	int (*add)(void (*)(void *), void *, void *) = NULL;
	int (*add_quick)(void (*)(void *), void *) = NULL;
	const char *module;
	void *p = symbol_next(kind, &module);

	if (!strncmp(kind, "__cxa_atexit", 13)) {
		memcpy(&add, &p, sizeof(p));
		return add && add(handler, NULL, NULL) == 0;
	}
	memcpy(&add_quick, &p, sizeof(p));
	return add_quick && add_quick(handler, NULL) == 0;
}

void check_at_start(void)
{
	if (!(opt.check & CHECK_AT_END))
		return;
	end_registered = register_handler("__cxa_atexit", check_last_handler);
	register_handler("__cxa_at_quick_exit", check_last_handler);
}

bool check_ends_later(void)
{
	return end_registered;
}
