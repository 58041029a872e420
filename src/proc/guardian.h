/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guardian: a small process that does all tracing for an image and outlives seep when it has to.
 *
 * It is forked before the target is touched, leads a session of its own (no ^C reaches it), has all signals
 * blocked and no file of seep's but one end of a socket pair.  When the other end closes, in whatever way
 * seep ended, it lets the target go, kills and reaps the clone, and exits.
 *
 *     seep                       guardian                     target
 *      | fork ------------------>|                             |
 *      |                         | SEIZE, INTERRUPT ---------->| stands
 *      |                         | (clone: inject, detach) --->| runs on
 *      |<---- reply, threads ----|                             |
 *      | reads memory itself     | waits                       |
 *      | 'd' drop these pages -->| madvise, one by one ------>| stands (live)
 *      | 'r' resume ------------>| DETACH -------------------->| runs on (live)
 *      | 'q' or end of file ---->| (clone: kill, inject wait4) |
 *      | waitpid                 | exit                        |
 *
 * When the guardian itself is killed, the kernel detaches its tracees (they run on), and kills the
 * clone (PTRACE_O_EXITKILL).  inject.h tells what happens in the middle of an injection.  What then stays
 * behind is the dead clone as a zombie, until the target waits for it or ends.
 */
#ifndef SEEP_PROC_GUARDIAN_H
#define SEEP_PROC_GUARDIAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/tracees.h"

#define GUARDIAN_NAME \
	"seep-guardian" /* as ps shows it: who traces for seep, seep itself never does */

enum guardian_clone {
	GUARDIAN_CLONE_NOT_ASKED,
	GUARDIAN_CLONE_MADE,
	GUARDIAN_CLONE_SECCOMP, /* a filter could kill the target, and could not be suspended */
	GUARDIAN_CLONE_PLACE,   /* no thread or no code to inject at */
	GUARDIAN_CLONE_FAILED,  /* clone_errno */
};

struct guardian_reply {
	int32_t error;     /* 0, or an errno of tracees_stop() */
	int32_t error_tid; /* the thread it happened with, or 0 */
	int32_t clone;     /* enum guardian_clone */
	int32_t clone_errno;
	int32_t child;     /* the clone's pid; 0: none, the target stands */
	uint32_t nthreads; /* struct tracee follow, then xstate_bytes */
	uint64_t xstate_bytes;
	uint64_t stop_mono_ns, stop_real_ns, stopped_ns;
	uint64_t resident_bytes;
	int32_t memory_tid; /* a thread whose /proc entry shows the memory: the main thread, if it lives */
};

/* Seen by both: what the guardian did by itself. */
struct guardian_shared {
	_Atomic uint32_t released; /* 1: the target runs again; 2: because max_stop_ns had passed */
	_Atomic uint64_t stopped_ns;
};

struct guardian {
	pid_t pid;
	int sock;
	int memfd; /* /proc/PID/mem of the target or the clone, or -1 */
	struct guardian_shared *shared;
	struct guardian_reply reply;
	struct tracee *threads; /* reply.nthreads */
	uint8_t *xstate;
};

struct seep_error;

/*
 * Starts a guardian, which stops (or clones) the process, and takes its reply.  An error is about the
 * guardian itself; what the target had against it is in reply.error.  guardian_release() in every case.
 * calls: guardian_drop() will be asked for.
 */
struct seep_error *guardian_start(pid_t pid, bool clone, bool calls, uint64_t max_stop_ns,
                                  struct guardian *ret_guardian);
/* Lets a stopped target go.  false: the guardian is gone (and the target runs). */
bool guardian_resume(struct guardian *g);
/* discard_pages() (discard.h), at the guardian; false: it is gone. */
struct discard_range;
struct discard_reply;
bool guardian_drop(struct guardian *g, const struct discard_range *ranges, size_t n,
                   uint64_t until_ns, struct discard_reply *ret);
/* What a process that traces needs first: its own session, no signals, no file but *sock, which may be renumbered. */
void guardian_settle(int *sock);
/* Ends the guardian, which undoes everything, and reaps it. */
void guardian_release(struct guardian *g);

#endif
