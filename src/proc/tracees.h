/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of a process that are traced: attached, brought to a stop, read, let go.
 *
 * For the guardian process only (guardian.h): it has one thread, all signals blocked, and these functions
 * never call malloc, since the process is a fork that may come from a program with many threads.
 *
 * A stop must not be felt.  Signals that turn up on the way are passed on with their number; a process that
 * was stopped by job control is stopped afterwards; threads are stopped by PTRACE_INTERRUPT, which
 * sends no signal.  When the guardian dies the kernel itself detaches all threads.
 */
#ifndef SEEP_PROC_TRACEES_H
#define SEEP_PROC_TRACEES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* Memory that grows and may move; bytes are zero when they come. */
struct pool {
	char *base;
	size_t len, cap;
};

void *pool_add(struct pool *p, size_t n); /* NULL: out of memory */

struct tracee {
	int32_t tid;
	uint8_t attached; /* until it is detached or gone */
	uint8_t stopped;
	uint8_t missed; /* it did not stop in time */
	uint8_t has_regs;
	uint32_t xstate_len; /* bytes of its vector registers in tracees.xstate, from xstate_at */
	uint64_t xstate_at;
	struct user_regs_struct regs;
};

struct tracees {
	pid_t pid;
	int sigfd;        /* SIGCHLD */
	int hangup;       /* a socket: when its other end closes, whoever wanted this is gone */
	int taskfd;       /* /proc/PID/task */
	struct pool list; /* struct tracee */
	size_t n;
	struct pool xstate;
	uint32_t *index; /* by tid: number in list plus 1 */
	size_t nindex;
	uint64_t begun_ns, all_stopped_ns, ended_ns; /* CLOCK_MONOTONIC */
	uint64_t all_stopped_real_ns;
	bool released;    /* everything was let go; who stops late is detached at once */
	bool wrong_class; /* a thread runs in 32-bit mode */
	pid_t failed_tid; /* where attaching failed */
};

enum tracees_event { TRACEES_TIMEOUT, TRACEES_CHANGED, TRACEES_HANGUP };

uint64_t tracees_now(void); /* CLOCK_MONOTONIC, ns */

/* Opens /proc/PID/task and makes the tables.  Negative errno. */
int tracees_init(struct tracees *ts, pid_t pid, int sigfd, int hangup);

static inline struct tracee *tracees_at(const struct tracees *ts, size_t i)
{
	return (struct tracee *)(void *)ts->list.base + i;
}

/* Waits until a traced thread or child changes, or the deadline: *ret_tid and *ret_status as of waitpid(). */
enum tracees_event tracees_wait(struct tracees *ts, uint64_t deadline_ns, pid_t *ret_tid,
                                int *ret_status);
/* What has to be done about a change of a thread nobody waits for in particular. */
void tracees_changed(struct tracees *ts, pid_t tid, int status);

/*
 * Stops every thread and reads its registers.  Negative errno: -EPERM and others from attaching
 * (failed_tid), -ESRCH gone, -ECANCELED hang-up, -ETIME deadline passed, -ENOTSUP 32-bit, -EBUSY no thread
 * could be stopped.  In every case tracees_detach() undoes what was done.
 */
int tracees_stop(struct tracees *ts, uint64_t deadline_ns);
/* Attaches and stops one thread, for a while.  Negative errno; -EAGAIN: it did not stop in time. */
int tracees_stop_one(struct tracees *ts, pid_t tid, uint64_t deadline_ns, struct tracee **ret);
void tracees_detach(struct tracees *ts);
void tracees_detach_one(struct tracees *ts, struct tracee *t);

/* The next thread in /proc/PID/task after start_over; 0 at the end. */
struct tracees_list {
	char buf[8192];
	long at, len;
};
void tracees_list_start(struct tracees *ts, struct tracees_list *l);
pid_t tracees_list_next(struct tracees *ts, struct tracees_list *l);

#endif
