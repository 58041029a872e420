/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls made in another process's name, by a stopped thread of it.
 *
 * For the guardian only; the rules of tracees.h hold (one thread, no malloc).
 *
 * Killing the tracer in the middle must not hurt the target, so the injected state restores itself: the
 * thread's stack gets, below its red zone, the frame of a signal that holds all its registers,
 *
 *     sp → address of `mov $15,%eax; syscall` (rt_sigreturn, in libc)
 *          ucontext: every register, the signal mask, the vector registers (how many bytes: frame_state() in inject.c)
 *
 * and the call is made at a `syscall; ret`.  Left alone by its tracer, the thread returns from the call into
 * rt_sigreturn and is where it was.  (A call it was waiting in is made again; one that the kernel would have
 * resumed, such as nanosleep, returns EINTR as after a signal handler.)  Usually nothing of this
 * happens: the registers and the bytes of the frame are put back.  A clone finds another frame, one that
 * ends it.
 *
 * Only the kernel's "[stack]" is written to: what lies below the sp of a coroutine may be anybody's.
 * Where no such frame can be had (no libc code of that kind, no thread there, shadow stacks) the call is made without; then a guardian that is killed between two of its instructions, or while the kernel
 * copies the page tables, leaves the thread with the registers of the call.
 */
#ifndef SEEP_PROC_INJECT_H
#define SEEP_PROC_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/tracees.h"

struct inject_place {
	uint64_t call;     /* address of `syscall; ret`, or of a bare `syscall`; 0: none found */
	uint64_t restorer; /* of rt_sigreturn's call; 0: the state does not restore itself */
	uint64_t stack_start, stack_end; /* the main thread's stack, "[stack]" */
};

/* Looks for instructions in the process's executable mappings; before the stop, since it takes a while. */
void inject_find_place(pid_t pid, struct inject_place *ret);
/* Are they still there (no exec in between)? */
bool inject_check_place(pid_t pid, const struct inject_place *place);

#define INJECT_SCRATCH 1024

struct inject_call {
	long nr;
	uint64_t args[4]; /* rdi, rsi, rdx, r10 */
	bool clones;  /* the call makes a child: traced, returned in child, stops before it runs */
	bool seccomp; /* the thread has a filter: suspend it */
	/*
	 * Not NULL: asked before every call, with the result of the last one (0 before the first); false: that was
	 * all.  Many calls in a row cost two stops each and nothing else.  Until the very moment the kernel begins
	 * one it is a getpid(): a tracer that is killed in between does not leave a call behind that is made later.
	 */
	bool (*again)(struct inject_call *call);
	void *arg;
	/*
	 * What again() wants written for the call to read: at scratch_at in the target, which is 0 where there is no
	 * frame to put it into.  It is gone afterwards.
	 */
	uint64_t scratch_at;
	uint8_t scratch[INJECT_SCRATCH];
	size_t scratch_len;
	/* results */
	long result;       /* of the call: >= 0, or -errno */
	pid_t child;       /* as this process sees it; 0: none */
	bool child_stands; /* its first stop was seen already */
};

/*
 * Makes the call on a stopped thread and leaves it stopped as it was.  0; -EPERM: the filter cannot be
 * suspended; -ESRCH: the thread is gone; -EAGAIN: the deadline passed.
 */
int inject_call(struct tracees *ts, struct tracee *t, const struct inject_place *place,
                struct inject_call *call, uint64_t deadline_ns);

/*
 * A thread lent for one call of a function, on a stack of its own.  Where inject_call() waits and puts everything
 * back, here all is prepared so that the thread itself does: it stands as if a signal handler had just been
 * entered, and when the function returns it goes on as after one.  Once this has succeeded the tracer may let
 * it go, or die.  The thread has all signals blocked meanwhile.  A call it waits in is made again, with its full
 * timeout where it has a relative one.
 *
 * The stack must be mapped and nobody's, [.., top); function(argument) is called.  0; -ENOTSUP: no frame can
 * be had here (no rt_sigreturn found, the thread is in a restartable sequence); -ESRCH: gone.
 */
int inject_borrow(struct tracee *t, const struct inject_place *place, uint64_t function,
                  uint64_t argument, uint64_t top);

#endif
