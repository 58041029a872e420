/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What the program in the kernel (seep.bpf.c) and the collector (collector.c) say to each other.
 *
 * Events come through one ring buffer, in the order in which they were stored: a block's free, noted
 * before the allocator sees it, comes before the next allocation of its address.
 */
#ifndef SEEP_CAPTURE_BPF_EVENTS_H
#define SEEP_CAPTURE_BPF_EVENTS_H

enum ev_kind {
	EV_ALLOC = 1,   /* struct ev_stack: a = address, b = size */
	EV_PATH,        /* struct ev: the same, the stack is that of path c */
	EV_FREE,        /* a = address */
	EV_TAKE,        /* realloc begins: a = old address */
	EV_UNTAKE,      /* realloc failed: the old block stays */
	EV_UNMAP,       /* a = address, b = length */
	EV_REMAP,       /* struct ev_stack: a, b = the new mapping, old, old_len = the former */
	EV_THREAD,      /* struct ev_thread: a thread's first event */
	EV_THREAD_EXIT, /* of a thread that had events */
	EV_EXEC,        /* the process goes on as another program */
	EV_MODULES,     /* the loader has added or removed a library */
};

/* ev.block: enum ledger_kind */
#define EV_HEAP 0
#define EV_MMAP 1

/* struct ev_stack.flags */
#define EV_RANGE_KNOWN 1u /* the copy ends where the thread's stack is known to end */

struct ev {
	unsigned char kind, block, sampled, pad;
	unsigned int tid;        /* as the kernel numbers it */
	unsigned long long time; /* CLOCK_MONOTONIC, ns */
	unsigned long long a, b, c;
};

#define EV_STACK_MAX 65024u /* bytes of stack that are copied at most */

struct ev_regs {
	unsigned long long ip, sp, bp, bx, r12, r13, r14, r15;
};

struct ev_stack {
	struct ev ev;
	unsigned long long old, old_len;
	struct ev_regs regs;
	unsigned long long place; /* distance from sp to the known end of the stack; 0: not known */
	unsigned int flags, len;  /* len: bytes of stack that follow */
};

struct ev_thread {
	struct ev ev; /* a: tid in the target's own PID namespace */
	char comm[16];
};

/* Where a thread's stack ends, as the collector learned it. */
struct stack_end {
	unsigned long long lo, hi;
};

/*
 * A path: the words of the stack that a walk depended on, as one hash.  Recalled by where the walk
 * began and how far that is from the stack's end; `way` tells paths of the same place apart.
 */
#define PATH_WORDS 128u
#define PATH_WAYS 4u

struct path_key {
	unsigned long long ip, place;
	unsigned int way, epoch;
};

struct path_value {
	unsigned long long hash;
	unsigned int id;
	unsigned short nwords; /* return addresses, then saved frame pointers relative to sp */
	unsigned short nexact; /* of them return addresses */
	unsigned short uses_bp, span;   /* span: bytes above sp that are needed */
	unsigned short off[PATH_WORDS]; /* in words from sp */
};

#define PATH_SEED 0x9e3779b97f4a7c15ull
#define PATH_STEP(h, v)                                    \
	do {                                               \
		(h) = ((h) ^ (v)) * 0xbf58476d1ce4e5b9ull; \
		(h) ^= (h) >> 29;                          \
	} while (0)

enum bpf_loss {
	BPF_LOSS_RING,    /* events that found the ring full */
	BPF_LOSS_LIVE,    /* sampled blocks that found the kernel's table of them full */
	BPF_LOSS_THREADS, /* calls of threads that found the table of threads full */
	BPF_LOSS_SCRATCH, /* stacks without a place to be copied to */
	BPF_LOSS_NESTED,  /* calls taken for nested ones until it was clear that they are not */
	BPF_NLOSSES
};

/* Steps of the table for logarithms. */
#define LOG_BITS 8u

#endif
