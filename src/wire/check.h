/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation between a tracker that wants to be checked and the seep that runs
 * it: a stream socket, DIR/check.sock, where DIR is the ledger directory (SEEP_OPTIONS
 * dir=).  The tracker connects, sends one request, and stands still until the reply: the
 * thread that asks waits in recv(), the others are stopped by seep.  When seep is gone the
 * connection breaks and the program goes on at once; no socket, no check.
 *
 * Both sides are the same user on the same machine; seep takes the process's identity from
 * SO_PEERCRED, not from the request, and believes nothing else without checking.
 */
#ifndef SEEP_WIRE_CHECK_H
#define SEEP_WIRE_CHECK_H

#include <stdint.h>

#define CHECK_SOCKET "check.sock" /* in the ledger directory */
#define CHECK_MAGIC 0x4b484353u   /* "SCHK" */
#define CHECK_PROTOCOL 1u

enum check_request_kind {
	CHECK_REQ_EXIT = 1, /* exit() was entered, or main returned: before handlers and destructors */
	CHECK_REQ_END = 2,         /* after all of them, or _exit() was called */
	CHECK_REQ_NOW = 3,         /* seep_check(), __lsan_do_leak_check() */
	CHECK_REQ_LOCAL_BEGIN = 4, /* named local check */
	CHECK_REQ_LOCAL_END = 5,
};

#define CHECK_WORDS 16

struct check_request {
	uint32_t magic, protocol;
	uint32_t kind; /* enum check_request_kind */
	int32_t pid;   /* in the target's own namespace */
	int32_t tid;
	int32_t status; /* exit status, where known */
	uint64_t sp; /* the stack below is dead (exit: the frame that called exit(), or main's caller) */
	uint32_t nwords;
	uint32_t flags; /* CHECK_REQ_F_* */
	uint64_t words[CHECK_WORDS]; /* registers that the program's frames still own: callee-saved ones at the entry */
	char name[128]; /* of a local check; NUL-terminated */
};

enum check_reply_kind {
	CHECK_REPLY_GO = 1, /* done: go on */
	CHECK_REPLY_STRING =
		2, /* call the function at `address` (it takes nothing and returns const char *), answer with its text */
};

struct check_reply {
	uint32_t magic;
	uint32_t kind;
	uint64_t address;
	uint64_t leaked_bytes,
		leaked_blocks; /* of the check: definite and possible, not suppressed */
	/*
	 * GO: -1, or what the program shall end with at once.  Only __lsan_do_leak_check() does: at exit() and at
	 * the end a program ends as it would have, its output flushed, and seep run has the last word.
	 */
	int32_t status;
	int32_t pad;
};

/* The answer to CHECK_REPLY_STRING: length, then the bytes without NUL. */
struct check_string {
	uint32_t magic, length; /* at most CHECK_STRING_MAX */
};
#define CHECK_STRING_MAX 65536u

_Static_assert(sizeof(struct check_request) == 296, "layout");
_Static_assert(sizeof(struct check_reply) == 40, "layout");
_Static_assert(sizeof(struct check_string) == 8, "layout");

#endif
