/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of calls, and the instructions that go through it in the target.
 *
 * What is written into the target is one list of numbers and a fixed piece of code that reads it; no code is made for
 * a call.  So there is one thing to get right about stacks, registers and errno, whatever is called:
 *
 *     data: | head | op 0 | op 1 | ... | memory: strings, words, buffers | tail: output |
 *
 *     stub(data):
 *         e = errno
 *         for op in ops:
 *             for i in 0..7:  a[i] = kind i of: value | data + value | *(data + value) | code + value
 *             f = virtual ? *(*a[0] + function) : function
 *             op.result, op.real_result = f(a[0..7], real)        unless f is 0, or virtual and a[0] is 0
 *         errno = e
 *         head.state = 2
 *
 * Two callbacks lie beside it, which append a string to a struct remote_text: allocators print through
 * them instead of to the target's standard error.
 */
#include "heap/remote.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/procfs.h"
#include "proc/refusal.h"

#define SECOND 1000000000ull
#define FIND_TIME \
	(8 * SECOND) /* on a busy machine a thread can stay in malloc for long without running */
#define WORK_TIME (20 * SECOND)
#define STATE_DONE 2u

/* Kinds as the instructions know them. */
enum { CODE_VALUE, CODE_POINTER, CODE_LOAD, CODE_CODE };

struct head {
	uint32_t state, nops;
	uint64_t errno_location;
};

_Static_assert(sizeof(struct head) == 16, "the stub's offsets");
_Static_assert(offsetof(struct head, nops) == 4, "the stub's offsets");
_Static_assert(offsetof(struct head, errno_location) == 8, "the stub's offsets");
_Static_assert(sizeof(struct remote_op) == 112, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, args) == 8, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, real) == 72, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, kinds) == 80, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, virtual) == 88, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, called) == 89, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, result) == 96, "the stub's offsets");
_Static_assert(offsetof(struct remote_op, real_result) == 104, "the stub's offsets");
_Static_assert(offsetof(struct remote_text, bytes) == 16, "the stub's offsets");

extern const char remote_stub[] __attribute__((visibility("hidden")));
extern const char remote_stub_end[] __attribute__((visibility("hidden")));
extern const char remote_write_opaque_first[] __attribute__((visibility("hidden")));
extern const char remote_write_text_first[] __attribute__((visibility("hidden")));

__asm__(".pushsection .rodata\n"
        ".globl remote_stub, remote_stub_end, remote_write_opaque_first, remote_write_text_first\n"
        ".hidden remote_stub, remote_stub_end, remote_write_opaque_first, remote_write_text_first\n"
        "remote_stub:\n"
        "	endbr64\n"
        "	push %rbp\n"
        "	push %rbx\n"
        "	push %r12\n"
        "	push %r13\n"
        "	push %r14\n"
        "	push %r15\n"
        "	sub $88, %rsp\n" /* 7th and 8th argument, the six before, errno; aligned for calls */
        "	mov %rdi, %rbx\n"
        "	lea remote_stub(%rip), %r15\n"
        "	call *8(%rbx)\n"
        "	mov %rax, %r14\n"
        "	mov (%r14), %eax\n"
        "	mov %eax, 64(%rsp)\n"
        "	lea 16(%rbx), %r12\n"
        "	mov 4(%rbx), %r13d\n"
        "1:	test %r13d, %r13d\n"
        "	je 9f\n"
        "	xor %ecx, %ecx\n"
        "2:	mov 8(%r12,%rcx,8), %rax\n"
        "	movzbl 80(%r12,%rcx), %edx\n"
        "	test %edx, %edx\n"
        "	je 5f\n"
        "	cmp $3, %edx\n"
        "	je 4f\n"
        "	add %rbx, %rax\n"
        "	cmp $2, %edx\n"
        "	jne 5f\n"
        "	mov (%rax), %rax\n"
        "	jmp 5f\n"
        "4:	add %r15, %rax\n"
        "5:	lea 2(%rcx), %edx\n"
        "	and $7, %edx\n"
        "	mov %rax, (%rsp,%rdx,8)\n"
        "	inc %ecx\n"
        "	cmp $8, %ecx\n"
        "	jb 2b\n"
        "	mov (%r12), %rax\n"
        "	test %rax, %rax\n"
        "	je 8f\n"
        "	cmpb $0, 88(%r12)\n"
        "	je 6f\n"
        "	mov 16(%rsp), %rdx\n"
        "	test %rdx, %rdx\n"
        "	je 8f\n"
        "	mov (%rdx), %rdx\n"
        "	mov (%rdx,%rax), %rax\n"
        "6:	mov 16(%rsp), %rdi\n"
        "	mov 24(%rsp), %rsi\n"
        "	mov 32(%rsp), %rdx\n"
        "	mov 40(%rsp), %rcx\n"
        "	mov 48(%rsp), %r8\n"
        "	mov 56(%rsp), %r9\n"
        "	movsd 72(%r12), %xmm0\n"
        "	call *%rax\n"
        "	mov %rax, 96(%r12)\n"
        "	movsd %xmm0, 104(%r12)\n"
        "	movb $1, 89(%r12)\n"
        "8:	add $112, %r12\n"
        "	dec %r13d\n"
        "	jmp 1b\n"
        "9:	mov 64(%rsp), %eax\n"
        "	mov %eax, (%r14)\n"
        "	movl $2, (%rbx)\n"
        "	add $88, %rsp\n"
        "	pop %r15\n"
        "	pop %r14\n"
        "	pop %r13\n"
        "	pop %r12\n"
        "	pop %rbx\n"
        "	pop %rbp\n"
        "	ret\n"
        "remote_write_opaque_first:\n"
        "	endbr64\n"
        "	xchg %rdi, %rsi\n"
        "	jmp 1f\n"
        "remote_write_text_first:\n"
        "	endbr64\n"
        "1:	mov 8(%rsi), %rax\n"
        "2:	movzbl (%rdi), %ecx\n"
        "	test %ecx, %ecx\n"
        "	je 4f\n"
        "	cmp (%rsi), %rax\n"
        "	jae 3f\n"
        "	mov %cl, 16(%rsi,%rax)\n"
        "3:	inc %rax\n"
        "	inc %rdi\n"
        "	jmp 2b\n"
        "4:	mov %rax, 8(%rsi)\n"
        "	ret\n"
        "remote_stub_end:\n"
        ".popsection\n");

/* ---- collecting ----------------------------------------------------------------------- */

void remote_init(struct remote *r, const struct allocators *as)
{
	*r = (struct remote){ .as = as, .work_ns = WORK_TIME };
}

void remote_release(struct remote *r)
{
	buf_release(&r->memory);
	free(r->ops);
	r->ops = NULL;
}

struct remote_arg remote_space(struct remote *r, size_t len)
{
	size_t at = (r->memory.len + 15) & ~(size_t)15;

	if (at + len > BORROW_DATA_MAX || buf_reserve(&r->memory, at - r->memory.len + len + 1)) {
		r->failed = true;
		return remote_value(0);
	}
	memset(r->memory.data + r->memory.len, 0, at - r->memory.len + len + 1);
	r->memory.len = at + len;
	return (struct remote_arg){ .value = at, .kind = REMOTE_POINTER };
}

struct remote_arg remote_word(struct remote *r, uint64_t value)
{
	struct remote_arg at = remote_space(r, sizeof(value));

	if (!r->failed)
		memcpy(r->memory.data + at.value, &value, sizeof(value));
	return at;
}

struct remote_arg remote_string(struct remote *r, const char *text)
{
	size_t len = strlen(text) + 1;
	struct remote_arg at = remote_space(r, len);

	if (!r->failed)
		memcpy(r->memory.data + at.value, text, len);
	return at;
}

struct remote_arg remote_tail(struct remote *r, size_t len)
{
	struct remote_arg at = remote_space(r, 16);

	r->tail = len;
	return at;
}

size_t remote_call(struct remote *r, uint64_t function, const struct remote_arg *args, size_t nargs)
{
	struct remote_op op = { .function = function };

	if (r->nops == r->room) {
		size_t room = r->room ? r->room * 2 : 64;
		struct remote_op *grown = realloc(r->ops, room * sizeof(*grown));

		if (!grown) {
			r->failed = true;
			return 0;
		}
		r->ops = grown;
		r->room = room;
	}
	for (size_t i = 0; i < REMOTE_ARGS && i < nargs; i++) {
		op.args[i] = args[i].value;
		op.kinds[i] = (uint8_t)args[i].kind;
	}
	r->ops[r->nops] = op;
	return r->nops++;
}

struct remote_op *remote_op(struct remote *r, size_t call)
{
	static struct remote_op none;

	if (call < r->nops)
		return &r->ops[call];
	none = (struct remote_op){ 0 };
	return &none;
}

uint64_t remote_get(const struct remote *r, struct remote_arg at)
{
	uint64_t v = 0;

	if (at.kind == REMOTE_POINTER && r->memory.data && at.value + 8 <= r->memory.len)
		memcpy(&v, r->memory.data + at.value, sizeof(v));
	return v;
}

const void *remote_bytes(const struct remote *r, struct remote_arg at)
{
	return r->memory.data + at.value;
}

/* ---- the visit -------------------------------------------------------------------------- */

/* The op as it goes into the target. */
static struct remote_op encode(const struct remote_op *op, uint64_t memory)
{
	const char *writers[] = { remote_write_opaque_first, remote_write_text_first };
	struct remote_op out = *op;

	for (size_t i = 0; i < REMOTE_ARGS; i++) {
		switch ((enum remote_kind)op->kinds[i]) {
		case REMOTE_VALUE:
			out.kinds[i] = CODE_VALUE;
			break;
		case REMOTE_POINTER:
			out.kinds[i] = CODE_POINTER;
			out.args[i] += memory;
			break;
		case REMOTE_LOAD:
			out.kinds[i] = CODE_LOAD;
			out.args[i] += memory;
			break;
		case REMOTE_RESULT:
			out.kinds[i] = CODE_LOAD;
			out.args[i] = sizeof(struct head) + op->args[i] * sizeof(*op) +
			              offsetof(struct remote_op, result);
			break;
		case REMOTE_WRITER:
			out.kinds[i] = CODE_CODE;
			out.args[i] = (uint64_t)(writers[op->args[i] & 1] - remote_stub);
			break;
		}
	}
	return out;
}

static struct seep_error *obstacle(pid_t pid, const char *name, const char *why, const char *hint)
{
	return seep_error_hint(seep_error_new(0, "cannot call functions of process %d (%s): %s",
	                                      (int)pid, name, why),
	                       "%s", hint);
}

static struct seep_error *look_first(const struct allocators *as)
{
	const char *name = as->private->name;
	struct seep_error *err = refusal_check(as->pid);
	struct procfs_status st;

	if (err)
		return err;
	if (procfs_status(as->pid, &st))
		return seep_error_new(ESRCH, "process %d is not there", (int)as->pid);
	if (st.state == 'T')
		return obstacle(as->pid, name, "it is stopped (SIGSTOP)",
		                "Its threads have to run to answer: kill -CONT.");
	if (st.seccomp == 1)
		return obstacle(as->pid, name, "it runs under seccomp's strict mode",
		                "Any system call but four would kill it.");
	if (st.shstk)
		return obstacle(as->pid, name, "its threads run with shadow stacks",
		                "A borrowed thread could not return.");
	if (!as->private->errno_location)
		return obstacle(
			as->pid, name, "its C library's errno was not found",
			"It may be stripped; what a walk sees without running code is shown.");
	return NULL;
}

static struct seep_error *outcome(const struct allocators *as, const struct borrow_result *res)
{
	const char *name = as->private->name;
	int pid = (int)as->pid;

	switch ((enum borrow_failure)res->failure) {
	case BORROW_FINE:
		return NULL;
	case BORROW_CANNOT_TRACE:
		return refusal_explain(as->pid, res->code, res->tid);
	case BORROW_NO_PLACE:
		return obstacle(as->pid, name, "no thread could be made to do a system call",
		                "It may have ended, or run under another tracer.");
	case BORROW_NO_MEMORY:
		return seep_error_new(res->code, "process %d (%s) has no memory to spare", pid,
		                      name);
	case BORROW_NOT_SAFE:
		return seep_error_hint(
			seep_error_new(
				0, "found no thread of process %d (%s) at a safe point in %u tries",
				pid, name, res->tries),
			"All were inside the allocator, the C library or a signal handler, or in a program "
			"that has its allocator linked in and never waits; try again.");
	case BORROW_TOO_SLOW:
		return seep_error_hint(
			seep_error_new(0, "process %d (%s) did not answer in time", pid, name),
			"It may be stopped or starved; 1 MiB of its memory stays mapped.");
	case BORROW_GONE:
		return seep_error_new(0, "process %d (%s) ended meanwhile", pid, name);
	case BORROW_FILTERED:
		return seep_error_hint(
			seep_error_new(0, "process %d (%s) has a seccomp filter that might kill it",
		                       pid, name),
			"Root (CAP_SYS_ADMIN, itself without a filter) can suspend it for the call.");
	case BORROW_LOST:
	case BORROW_NO_FILES:
		break;
	}
	return seep_error_hint(
		seep_error_new(0, "the process that was tracing process %d was killed", pid),
		"The target runs on.");
}

struct seep_error *remote_run(struct remote *r, struct allocator_visit *ret_visit)
{
	struct borrow_call call = r->as->private->call;
	size_t memory = sizeof(struct head) + r->nops * sizeof(*r->ops), len;
	_cleanup_free_ char *data = NULL;
	struct head head = { .nops = (uint32_t)r->nops,
		             .errno_location = r->as->private->errno_location };
	struct borrow_result res;
	struct seep_error *err;

	memory = (memory + 15) & ~(size_t)15;
	len = memory + r->memory.len;
	if (r->failed || len + r->tail > BORROW_DATA_MAX || r->memory.failed)
		return &seep_error_nomem;
	err = look_first(r->as);
	if (err)
		return err;
	data = calloc(1, len + r->tail);
	if (!data)
		return &seep_error_nomem;
	memcpy(data, &head, sizeof(head));
	for (size_t i = 0; i < r->nops; i++) {
		struct remote_op op = encode(&r->ops[i], memory);

		memcpy(data + sizeof(head) + i * sizeof(op), &op, sizeof(op));
	}
	if (r->memory.len)
		memcpy(data + memory, r->memory.data, r->memory.len);
	call.code = remote_stub;
	call.code_len = (size_t)(remote_stub_end - remote_stub);
	call.data = data;
	call.data_len = len + r->tail;
	call.write_len = len;
	call.state_at = offsetof(struct head, state);
	call.done_from = STATE_DONE;
	call.find_ns = FIND_TIME;
	call.work_ns = r->work_ns;
	call.foreign_locks = true;
	call.careful = true;
	call.avoid = "jemalloc_bg"; /* it would be told to end, and wait for itself */
	err = borrow_thread(r->as->pid, &call, &res);
	if (!err)
		err = outcome(r->as, &res);
	if (err)
		return err;
	/* All but results and memory is ours, and stays as it was. */
	for (size_t i = 0; i < r->nops; i++) {
		struct remote_op op;

		memcpy(&op, data + sizeof(head) + i * sizeof(op), sizeof(op));
		r->ops[i].called = op.called;
		r->ops[i].result = op.result;
		r->ops[i].real_result = op.real_result;
	}
	if (buf_reserve(&r->memory, r->tail + 1))
		return &seep_error_nomem;
	memcpy(r->memory.data, data + memory, r->memory.len + r->tail);
	r->memory.len += r->tail;
	r->memory.data[r->memory.len] = '\0';
	r->tail = 0;
	if (ret_visit) {
		ret_visit->tid = res.tid;
		ret_visit->stopped_ns += res.stopped_ns;
		ret_visit->tries += res.tries;
	}
	return NULL;
}
