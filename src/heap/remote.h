/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of a process's own functions, one after the other, by a thread borrowed for the time it takes
 * (proc/borrow.h).  What is to be called is collected first, with its arguments and the memory they point
 * to, then done in one visit:
 *
 *     remote_init(&r, as);
 *     size = remote_word(&r, 8);
 *     at = remote_space(&r, 8);
 *     remote_call(&r, fn, REMOTE_LIST(remote_string(&r, "stats.active"), at, size));
 *     err = remote_run(&r, &visit);
 *     active = remote_get(&r, at);
 *
 * The thread's errno and registers are afterwards as they were.  Private to src/heap.
 */
#ifndef SEEP_HEAP_REMOTE_H
#define SEEP_HEAP_REMOTE_H

#include "base/buf.h"
#include "heap/allocators.h"
#include "proc/borrow.h"

#define REMOTE_ARGS 8 /* integers and pointers */

enum remote_kind {
	REMOTE_VALUE,
	REMOTE_POINTER, /* to the memory made with remote_space() */
	REMOTE_LOAD,    /* the word there */
	REMOTE_RESULT,  /* of an earlier call: its number */
	REMOTE_WRITER, /* a callback that appends text: (opaque, text), or swapped: (text, opaque) */
};

struct remote_arg {
	uint64_t value;
	enum remote_kind kind;
};

static inline struct remote_arg remote_value(uint64_t v)
{
	return (struct remote_arg){ .value = v };
}

enum remote_writer { REMOTE_OPAQUE_FIRST, REMOTE_TEXT_FIRST };

static inline struct remote_arg remote_writer(enum remote_writer w)
{
	return (struct remote_arg){ .value = w, .kind = REMOTE_WRITER };
}

static inline struct remote_arg remote_result_of(size_t call)
{
	return (struct remote_arg){ .value = call, .kind = REMOTE_RESULT };
}

/* As it lies in the target; the instructions know it. */
struct remote_op {
	uint64_t function; /* 0: not called */
	uint64_t args[REMOTE_ARGS];
	double real; /* the first floating-point argument */
	uint8_t kinds[REMOTE_ARGS];
	uint8_t virtual; /* function is an offset into the vtable of the first argument's object */
	uint8_t called;
	uint8_t unused[6];
	uint64_t result;
	double real_result;
};

struct remote {
	const struct allocators *as;
	struct buf memory;
	struct remote_op *ops;
	size_t nops, room, tail;
	bool failed; /* out of memory */
	uint64_t work_ns;
};

void remote_init(struct remote *r, const struct allocators *as);
void remote_release(struct remote *r);
#define _cleanup_remote_ __attribute__((cleanup(remote_release)))

/* Zeroed memory, aligned to 16; a word with a value; a string. */
struct remote_arg remote_space(struct remote *r, size_t len);
struct remote_arg remote_word(struct remote *r, uint64_t value);
struct remote_arg remote_string(struct remote *r, const char *text);
/* Behind all other memory, zeroed and not written to: for output only.  Once. */
struct remote_arg remote_tail(struct remote *r, size_t len);

/* Returns the call's number.  At most REMOTE_ARGS arguments. */
size_t remote_call(struct remote *r, uint64_t function, const struct remote_arg *args, size_t nargs);
/* Arguments for remote_call(), evaluated once. */
#define REMOTE_LIST(...)                            \
	(const struct remote_arg[]){ __VA_ARGS__ }, \
		sizeof((struct remote_arg[]){ __VA_ARGS__ }) / sizeof(struct remote_arg)
struct remote_op *remote_op(struct remote *r, size_t call);

/*
 * Makes the calls.  Errors say why there was no visit; whether each call was made and what it returned says its op, and
 * the memory is as the calls left it.
 */
struct seep_error *remote_run(struct remote *r, struct allocator_visit *ret_visit);

uint64_t remote_get(const struct remote *r, struct remote_arg at); /* the word there */
const void *remote_bytes(const struct remote *r, struct remote_arg at);

/* What a writer's opaque points to. */
struct remote_text {
	uint64_t room, len; /* len > room: it was longer */
	char bytes[];
};

/* allocators_find.c */
struct allocators_private {
	struct borrow_call call; /* .unsafe filled in */
	uint64_t errno_location;
	char name[16];
};

#endif
