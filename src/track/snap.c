/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that the target asks for.
 *
 * The signal.  Its handler only counts, in the ledger's header, where the seep that watches sees it at its next look: no
 * socket, no lock, nothing that a signal handler may not do.  It is put in place only where the signal
 * has its default action, before main; a program that sets a handler of its own later takes the signal away
 * from us, as it would from the default action.  SA_RESTART, since a program without a handler does not expect EINTR;
 * SA_ONSTACK, since some (Go's) run on stacks too small for a signal frame.
 *
 * The call.  It goes over a socket and waits, so that the snapshot is of this moment and not of a later one.
 */
#include "track/snap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "track/check.h"
#include "wire/snap.h"

/* ---- by a call ------------------------------------------------------------------------ */

static int connect_to_watcher(void)
{
	char name[32] = "snap.", digits[12], *p = name + 5;
	int fd, n = 0, pid = g.pid;

	do
		digits[n++] = (char)('0' + pid % 10);
	while (pid /= 10);
	while (n)
		*p++ = digits[--n];
	memcpy(p, ".sock", 6);
	fd = seep_connect(name);
	return fd >= 0 ? fd : seep_connect(SNAP_SOCKET);
}

int snap_ask(const char *name)
{
	struct { /* struct timeval as the system call has it */
		int64_t sec, usec;
	} wait = { SNAP_PATIENCE_S, 0 };
	struct snap_request q;
	struct snap_reply reply;
	bool ok;
	int fd;

	/* A child of vfork runs on its parent's memory: what it could show is the parent's. */
	if (!g.ready || forked_child() || sys_getpid() != g.pid)
		return -1;
	memset(&q, 0, sizeof(q));
	q.magic = SNAP_MAGIC;
	q.protocol = SNAP_PROTOCOL;
	q.pid = g.pid;
	q.tid = sys_gettid();
	for (size_t i = 0; name && name[i] && i < sizeof(q.name) - 1; i++)
		q.name[i] = name[i];
	check_bring_up_to_date();
	fd = connect_to_watcher();
	if (fd < 0)
		return -1;
	sys6(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, (long)&wait, sizeof(wait), 0);
	ok = seep_send(fd, &q, sizeof(q)) && seep_receive(fd, &reply, sizeof(reply));
	sys_close(fd);
	return ok && reply.magic == SNAP_MAGIC && !reply.status ? 0 : -1;
}

/* ---- by a signal ------------------------------------------------------------------------- */

static uint32_t pending; /* requests while there was no ledger to count them in */

static void on_signal(int sig)
{
	struct ledger_header *h = g.hdr;

	(void)sig;
	if (g.ready && h && !forked_child())
		__atomic_fetch_add(&h->snap_requests, 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&pending, 1, __ATOMIC_RELAXED);
}

static void take_pending(void)
{
	uint32_t n = __atomic_exchange_n(&pending, 0, __ATOMIC_RELAXED);

	if (n)
		__atomic_fetch_add(&g.hdr->snap_requests, n, __ATOMIC_RELAXED);
}

/* Returning from a handler for these would bring them back at once, or hide a crash. */
static bool may_be_handled(int sig)
{
	switch (sig) {
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGTRAP:
	case SIGABRT:
	case SIGSYS:
	case SIGCHLD:
		return false;
	default:
		return sig > 0 && sig <= 64;
	}
}

void snap_at_start(void)
{
	struct sigaction now, ours;

	if (!may_be_handled(opt.signal))
		return;
	memset(&ours, 0, sizeof(ours));
	ours.sa_handler = on_signal;
	ours.sa_flags = SA_RESTART | SA_ONSTACK;
	if (sigaction(opt.signal, NULL, &now) || (now.sa_flags & SA_SIGINFO) ||
	    now.sa_handler != SIG_DFL)
		return;
	sigaction(opt.signal, &ours, NULL);
	take_pending();
}

void snap_forked(void)
{
	take_pending();
}
