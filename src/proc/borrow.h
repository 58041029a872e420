/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread of another process, borrowed for one call of a function.
 *
 * A process of its own does the tracing (like the guardian's, guardian.h: seep may be killed at any instant).  It
 *
 *   1. maps memory in the target by an injected system call and writes code, data and a stack into it,
 *   2. looks for a thread at a safe point (below), one after the other: the others run on all the time,
 *   3. makes it call the code (inject_borrow()) and lets it go: from here on nothing depends on anybody but
 *      the target,
 *   4. looks at the data until it says that the work is done, and unmaps what it had mapped.
 *
 * A safe point: the thread holds no lock of the C library, its allocator or its loader that the call may need.
 * It is there when it waits in a system call that none of these ever makes (epoll, poll, accept, recv, sleep,
 * condition variables, ...), or when it runs in code of none of them and has no signal handler's frame on
 * its stack: calls go down, and none of them calls back while it holds a lock.
 */
#ifndef SEEP_PROC_BORROW_H
#define SEEP_PROC_BORROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

struct borrow_range {
	uint64_t start, end;
};

#define BORROW_RANGES 64
#define BORROW_DATA_MAX (16u << 20)
#define BORROW_FILES 2

struct borrow_call {
	const void *code; /* runs anywhere; called at its first byte with the address of the data */
	size_t code_len;  /* at most a page */
	void *data;       /* written before the call, read back afterwards */
	size_t data_len;  /* at most BORROW_DATA_MAX */
	size_t write_len; /* only so much of it is written, the rest is zero; 0: all of it */
	size_t state_at;  /* where in the data a uint32_t says how far it is */
	uint32_t done_from;                        /* from this value on it is done */
	struct borrow_range unsafe[BORROW_RANGES]; /* code of the C library, loader, allocator */
	size_t nunsafe;
	bool musl; /* its C library is musl, not glibc: whose locks wait differently */
	uint64_t find_ns, work_ns; /* time to find a thread, and for the work */
	/*
	 * Where locks are not the C library's own: a thread that waits with plain FUTEX_WAIT may wait for one of
	 * them, holding another.
	 */
	bool foreign_locks;
	bool unfiltered; /* threads with a seccomp filter are left alone: the code itself makes calls */
	bool careful;      /* where a seccomp filter cannot be suspended, do nothing */
	const char *avoid; /* threads whose names begin so are not borrowed; NULL: none */
	/*
	 * Files to open in the target: seep's descriptors, and where in the data their numbers (int32_t)
	 * go.  Those still there when the work is done, not replaced by -1, are closed again.
	 */
	int fds[BORROW_FILES];
	size_t fd_at[BORROW_FILES];
	size_t nfds;
	/* Called in the tracing process once the numbers are known, to change the data; may be NULL. */
	void (*prepare)(void *data);
};

enum borrow_failure {
	BORROW_FINE,
	BORROW_CANNOT_TRACE, /* code: an errno for refusal_explain(), tid */
	BORROW_NO_PLACE,     /* no thread or no code to make a system call with */
	BORROW_NO_MEMORY,    /* code: errno of mmap() in the target */
	BORROW_NO_FILES,     /* code: errno; descriptors could not be passed */
	BORROW_NOT_SAFE,     /* no thread was at a safe point in time */
	BORROW_TOO_SLOW,     /* begun, not done in time; the memory stays mapped */
	BORROW_GONE,         /* the target has ended */
	BORROW_LOST,         /* the tracing process was killed */
	BORROW_FILTERED,     /* careful, and a seccomp filter might kill the target */
};

struct borrow_result {
	int32_t failure; /* enum borrow_failure */
	int32_t code;
	int32_t tid; /* the thread that was borrowed, or that could not be traced */
	uint32_t tries;
	uint64_t stopped_ns; /* the sum over the threads stopped, one at a time */
	uint64_t data_at;    /* where the data is (or was) in the target */
};

/* An error is about seep itself; what the target had against it is in the result. */
struct seep_error *borrow_thread(pid_t pid, struct borrow_call *call, struct borrow_result *ret);

#endif
