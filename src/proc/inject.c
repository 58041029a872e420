/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Injected system calls.
 *
 * The thread stands in PTRACE_EVENT_STOP, which is inside the kernel's signal handling: when it goes on from
 * there with its own registers, the kernel looks at orig_rax and rax and starts an interrupted call again.
 * So it has to be brought back to such a stop before its registers are put back:
 *
 *     EVENT_STOP  --(registers of the call, all signals blocked)--> PTRACE_SYSCALL
 *     entry       --> PTRACE_SYSCALL
 *     [EVENT_CLONE: the child's number]  --> PTRACE_SYSCALL
 *     exit        rax is the result; PTRACE_INTERRUPT --> PTRACE_CONT
 *     EVENT_STOP  signal mask, registers, bytes below the stack as they were
 *
 * Not PTRACE_SINGLESTEP, which works by a SIGTRAP: where that is blocked, as in threads that
 * block everything, the kernel would unblock it and drop its handler for good.
 *
 * The order matters for a guardian that is killed between two steps.  The frame (inject.h) is written first and
 * taken away last; the registers come before the mask on the way in and after it on the way out, so at no point do
 * signals stay blocked in a thread that no frame brings back.
 *
 * A thread interrupted inside a restartable sequence (rseq) is a trap of its own: the kernel forgets the
 * sequence as soon as the thread runs somewhere else, here at the call, and would let it finish half a
 * sequence on another CPU.  The pointer is put back, so that the kernel aborts the sequence as it should.
 */
#include "proc/inject.h"

#include <assert.h>
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCAN_MAX (64u << 20) /* bytes of code looked through */
#define CHUNK (64u << 10)
#define XSTATE_MAX (64u << 10)
#define RED_ZONE 128
#define ATTEMPTS 3

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

/* A traced thread's memory; through the tracer's own right, which Yama does not take away. */
static int open_memory(pid_t tid, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)tid);
	return open(path, flags | O_CLOEXEC);
}

static bool read_memory(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec l = { buf, len }, r = { (void *)(uintptr_t)addr, len };
	ssize_t n = process_vm_readv(pid, &l, 1, &r, 1, 0);
	int fd;

	if (n >= 0 || (errno != EPERM && errno != ENOSYS))
		return n == (ssize_t)len;
	fd = open_memory(pid, O_RDONLY); /* a sandbox that refuses the call */
	if (fd < 0)
		return false;
	n = pread(fd, buf, len, (off_t)addr);
	close(fd);
	return n == (ssize_t)len;
}

/* ---- where ------------------------------------------------------------------ */

static const uint8_t call_ret[] = { 0x0f, 0x05, 0xc3 }; /* syscall; ret */
static const uint8_t call_bare[] = { 0x0f, 0x05 };      /* syscall */
static const uint8_t restorer_long[] = { 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05 }; /* mov $15,%rax */
static const uint8_t restorer_short[] = { 0xb8, 15, 0, 0, 0, 0x0f, 0x05 }; /* mov $15,%eax */

struct search {
	pid_t pid;
	uint64_t bare; /* a `syscall` without `ret` */
	size_t left;
	struct inject_place *place;
};

static uint64_t look(const uint8_t *hay, size_t n, uint64_t at, const uint8_t *needle, size_t len)
{
	const uint8_t *p = memmem(hay, n, needle, len);

	return p ? at + (uint64_t)(p - hay) : 0;
}

static void scan(struct search *s, uint64_t start, uint64_t end)
{
	static uint8_t code[CHUNK];
	struct inject_place *pl = s->place;

	while (start < end && s->left && !(pl->call && pl->restorer)) {
		size_t n = end - start < CHUNK ? (size_t)(end - start) : CHUNK;

		if (n > s->left)
			n = s->left;
		if (!read_memory(s->pid, start, code, n))
			return;
		s->left -= n;
		if (!pl->call)
			pl->call = look(code, n, start, call_ret, sizeof(call_ret));
		if (!s->bare)
			s->bare = look(code, n, start, call_bare, sizeof(call_bare));
		if (!pl->restorer)
			pl->restorer = look(code, n, start, restorer_long, sizeof(restorer_long));
		if (!pl->restorer)
			pl->restorer = look(code, n, start, restorer_short, sizeof(restorer_short));
		if (n < CHUNK)
			return;
		start += n - 16; /* what lies across two chunks */
	}
}

/* One line of maps.  First round: the vdso and what looks like a libc; second: the rest. */
static void consider(struct search *s, char *line, int round)
{
	unsigned long start, end;
	char flags[5];
	const char *path;
	bool first;

	if (sscanf(line, "%lx-%lx %4s", &start, &end, flags) != 3 || start >= end)
		return;
	path = strchr(line, '[');
	if (path && strcmp(path, "[stack]") == 0) {
		s->place->stack_start = start;
		s->place->stack_end = end;
	}
	if (flags[0] != 'r' || flags[2] != 'x' || strstr(line, "[vsyscall]"))
		return;
	first = strstr(line, "[vdso]") || strstr(line, "libc") || strstr(line, "/ld-");
	if (first == (round == 0))
		scan(s, start, end);
}

static void each_map(struct search *s, int round)
{
	static char text[2 * CHUNK];
	char path[64];
	size_t have = 0;
	bool skipping = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)s->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	for (;;) {
		ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);
		char *line = text, *end;

		if (n <= 0)
			break;
		have += (size_t)n;
		while ((end = memchr(line, '\n', have - (size_t)(line - text)))) {
			*end = '\0';
			if (!skipping)
				consider(s, line, round);
			skipping = false;
			line = end + 1;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
		if (have == sizeof(text) - 1) { /* a line longer than any path */
			have = 0;
			skipping = true;
		}
	}
	close(fd);
}

void inject_find_place(pid_t pid, struct inject_place *ret)
{
	struct search s = { .pid = pid, .left = SCAN_MAX, .place = ret };

	*ret = (struct inject_place){ 0 };
	for (int round = 0; round < 2 && !(ret->call && ret->restorer); round++)
		each_map(&s, round);
	if (!ret->call) {
		ret->call = s.bare;
		ret->restorer = 0;
	}
}

bool inject_check_place(pid_t pid, const struct inject_place *place)
{
	uint8_t b[16];

	if (!place->call || !read_memory(pid, place->call, b, 2) || memcmp(b, call_bare, 2) != 0)
		return false;
	if (!place->restorer)
		return true;
	if (!read_memory(pid, place->call, b, 3) || memcmp(b, call_ret, 3) != 0)
		return false;
	return (read_memory(pid, place->restorer, b, sizeof(restorer_long)) &&
	        memcmp(b, restorer_long, sizeof(restorer_long)) == 0) ||
	       (read_memory(pid, place->restorer, b, sizeof(restorer_short)) &&
	        memcmp(b, restorer_short, sizeof(restorer_short)) == 0);
}

/* ---- the frame that restores a thread --------------------------------------- */

/* As the kernel lays them out (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h); libc's are longer. */
struct kernel_sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
};

struct kernel_ucontext {
	uint64_t flags, link;
	uint64_t stack_sp;
	int32_t stack_flags, pad;
	uint64_t stack_size;
	struct kernel_sigcontext regs;
	uint64_t mask;
};
static_assert(sizeof(struct kernel_sigcontext) == 256, "sigcontext");
static_assert(sizeof(struct kernel_ucontext) == 304, "ucontext");

#define UC_FLAGS 7u /* FP_XSTATE, SIGCONTEXT_SS, STRICT_RESTORE_SS */
#define STACK_UNCHANGED \
	0x7fffffff /* no mode there is: sigreturn leaves the alternate stack as it is */
#define XSTATE_MAGIC1 0x46505853u
#define XSTATE_MAGIC2 0x46505845u
#define XSTATE_SW 464 /* where the frame says how large it is */
#define XSTATE_HEADER 512
#define XFEATURES_DYNAMIC \
	(1ull << 18) /* that a thread's state grows by when it is used: tiles' data */

struct frame {
	int mem;
	uint64_t at; /* lowest address written; 0: there is no frame */
	size_t len;
	uint64_t scratch;
	uint64_t sp;       /* for the call: `ret` goes to the restorer from here */
	uint64_t child_sp; /* the same for the child, which ends */
	uint8_t saved[XSTATE_MAX + 4096], made[XSTATE_MAX + 4096];
};

/* How large a state of these features is, of which `len` bytes are known. */
static size_t xstate_end(uint64_t features, size_t len)
{
	size_t end = XSTATE_HEADER + 64;
	unsigned int a, b, c, d;

	for (unsigned int i = 2; i < 63; i++) {
		if (!(features >> i & 1) || !__get_cpuid_count(0xd, i, &a, &b, &c, &d) || !a)
			continue;
		if (b + a > end && b + a <= len)
			end = b + a;
	}
	return end;
}

/* What the kernel has switched on, which may be less than what the processor has.  Where there is a regset, there is the instruction. */
static uint64_t enabled_features(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

/*
 * Makes the vector state of a regset into what the kernel wants to see in a frame.  Returns how many bytes that are; 0: it cannot.
 *
 * A second magic number has to follow the state, and where that ends depends on the thread: its state grows by the tiles' data (8 KiB)
 * when it uses tiles for the first time, and stays so; which it is nothing tells a tracer.  Most kernels look for the number where the frame
 * says that the state ends, if that is no more than the thread has.  Those between Linux dc8aa31a7ac2 and its revert 44eeff9bc467 look
 * where the thread's own ends, and without the number there they take the frame for one from before AVX: the upper halves of all vector
 * registers are lost.  And as many bytes as the thread has must be there to be read (d877550eaf2d), or the thread gets a SIGSEGV.  So the
 * frame says that it ends without tiles, has the number at both ends and goes on to the second; the first lies where tiles' data would
 * begin, at which nobody looks as there are none.  Where there are some, the end is known.
 */
static size_t frame_state(uint8_t *state, size_t len)
{
	uint64_t enabled, used;
	size_t least, most;

	if (len < XSTATE_HEADER + 64 || len > XSTATE_MAX - 4)
		return 0;
	enabled = enabled_features();
	memcpy(&used, state + XSTATE_HEADER, sizeof(used));
	most = xstate_end(enabled, len);
	least = used & XFEATURES_DYNAMIC ? most : xstate_end(enabled & ~XFEATURES_DYNAMIC, len);
	memset(state + XSTATE_SW, 0, 48);
	memcpy(state + XSTATE_SW, &(uint32_t){ XSTATE_MAGIC1 }, 4);
	memcpy(state + XSTATE_SW + 4, &(uint32_t){ (uint32_t)least + 4 }, 4);
	memcpy(state + XSTATE_SW + 8, &(uint64_t){ ~0ull }, 8);
	memcpy(state + XSTATE_SW + 16, &(uint32_t){ (uint32_t)least }, 4);
	memcpy(state + least, &(uint32_t){ XSTATE_MAGIC2 }, 4);
	memcpy(state + most, &(uint32_t){ XSTATE_MAGIC2 }, 4);
	return most + 4;
}

/* Registers as they have to be in user space, where no kernel code starts an interrupted call again. */
static struct kernel_ucontext context_of(const struct user_regs_struct *r, uint64_t mask)
{
	struct kernel_ucontext uc = {
		.flags = UC_FLAGS,
		.stack_flags = STACK_UNCHANGED,
		.mask = mask,
		.regs = { .r8 = r->r8,
		          .r9 = r->r9,
		          .r10 = r->r10,
		          .r11 = r->r11,
		          .r12 = r->r12,
		          .r13 = r->r13,
		          .r14 = r->r14,
		          .r15 = r->r15,
		          .di = r->rdi,
		          .si = r->rsi,
		          .bp = r->rbp,
		          .bx = r->rbx,
		          .dx = r->rdx,
		          .ax = r->rax,
		          .cx = r->rcx,
		          .sp = r->rsp,
		          .ip = r->rip,
		          .flags = r->eflags,
		          .cs = (uint16_t)r->cs,
		          .ss = (uint16_t)r->ss },
	};

	if ((int64_t)r->orig_rax < 0)
		return uc;
	switch ((int64_t)r->rax) {
	case -512: /* ERESTARTSYS */
	case -513: /* ERESTARTNOINTR */
	case -514: /* ERESTARTNOHAND */
		uc.regs.ax = r->orig_rax;
		uc.regs.ip -= 2;
		break;
	case -516: /* ERESTART_RESTARTBLOCK */
		uc.regs.ax = (uint64_t)-EINTR;
		break;
	}
	return uc;
}

/*
 *     low    what the calls read
 *            child's return address, its ucontext
 *            return address, ucontext
 *     high   vector state (64-aligned), then the red zone and the thread's own stack
 */
static bool make_frame(struct frame *f, const struct inject_place *pl, const struct tracee *t,
                       uint64_t mask)
{
	static uint8_t state[XSTATE_MAX];
	struct iovec iov = { state, sizeof(state) };
	struct kernel_ucontext uc = context_of(&t->regs, mask), end = { 0 };
	uint64_t sp = t->regs.rsp, fp, own, child, low;
	size_t size;

	f->at = 0;
	if (!pl->restorer || sp <= pl->stack_start || sp > pl->stack_end || f->mem < 0)
		return false;
	if (ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &iov))
		return false;
	size = frame_state(state, iov.iov_len);
	if (!size)
		return false;
	fp = (sp - RED_ZONE - size) & ~63ull;
	own = ((fp - sizeof(uc)) & ~15ull) - 8;
	child = ((own - sizeof(uc)) & ~15ull) - 8;
	low = child - INJECT_SCRATCH;
	if (sp - low > sizeof(f->made) || low < pl->stack_start)
		return false;
	uc.regs.fpstate = fp;
	end.flags = UC_FLAGS & ~1u;
	end.stack_flags = STACK_UNCHANGED;
	end.mask = ~0ull;
	end.regs.ip = pl->call;
	end.regs.ax = SYS_exit_group;
	end.regs.sp = child;
	end.regs.flags = 0x202;
	end.regs.cs = (uint16_t)t->regs.cs;
	end.regs.ss = (uint16_t)t->regs.ss;

	f->len = (size_t)(fp + size - low);
	memset(f->made, 0, f->len);
	memcpy(f->made + (child - low), &pl->restorer, 8);
	memcpy(f->made + (child - low) + 8, &end, sizeof(end));
	memcpy(f->made + (own - low), &pl->restorer, 8);
	memcpy(f->made + (own - low) + 8, &uc, sizeof(uc));
	memcpy(f->made + (fp - low), state, size);
	if (pread(f->mem, f->saved, f->len, (off_t)low) != (ssize_t)f->len)
		return false;
	if (pwrite(f->mem, f->made, f->len, (off_t)low) != (ssize_t)f->len) {
		/* Part of it may be there; it lies below the stack and means nothing. */
		return false;
	}
	f->at = f->scratch = low;
	f->sp = own;
	f->child_sp = child;
	return true;
}

/* ---- the call --------------------------------------------------------------- */

/* Lets the thread go on until its next stop that belongs to the call. */
static int next_stop(struct tracees *ts, struct tracee *t, int request, struct inject_call *call,
                     uint64_t deadline_ns, int *ret_status)
{
	int sig = 0;

	for (;;) {
		int status;
		pid_t tid;

		if (request && ptrace(request, t->tid, 0, sig))
			return -ESRCH;
		request = 0;
		if (tracees_wait(ts, deadline_ns, &tid, &status) != TRACEES_CHANGED)
			return -EAGAIN;
		if (tid != t->tid) {
			/* The child's first stop may come before its parent's. */
			if (call->clones && WIFSTOPPED(status) &&
			    status >> 16 == PTRACE_EVENT_STOP && !call->child_stands &&
			    (tid == call->child || (size_t)tid >= ts->nindex || !ts->index[tid])) {
				call->child_stands = true;
				continue;
			}
			tracees_changed(ts, tid, status);
			continue;
		}
		if (!WIFSTOPPED(status)) {
			tracees_changed(ts, tid, status);
			return -ESRCH;
		}
		*ret_status = status;
		return 0;
	}
}

static bool is_syscall_stop(int status)
{
	return WSTOPSIG(status) == (SIGTRAP | 0x80);
}

static bool is_fork_event(int status)
{
	int event = status >> 16;

	return event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK ||
	       event == PTRACE_EVENT_VFORK;
}

static void set_args(struct user_regs_struct *regs, const struct inject_call *call)
{
	regs->rdi = call->args[0];
	regs->rsi = call->args[1];
	regs->rdx = call->args[2];
	regs->r10 = call->args[3];
}

static int get_regs(const struct tracee *t, struct user_regs_struct *ret)
{
	struct iovec iov = { ret, sizeof(*ret) };

	return ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &iov) ? -ESRCH : 0;
}

static int set_regs(const struct tracee *t, struct user_regs_struct *regs)
{
	struct iovec iov = { regs, sizeof(*regs) };

	return ptrace(PTRACE_SETREGSET, t->tid, NT_PRSTATUS, &iov) ? -ESRCH : 0;
}

/* At the entry of the getpid() that holds the place of a call of many: it becomes what it is to be. */
static int become(const struct tracee *t, const struct frame *f, const struct inject_call *call)
{
	struct user_regs_struct regs;
	int r = get_regs(t, &regs);

	if (!r && call->scratch_len && f->at &&
	    pwrite(f->mem, call->scratch, call->scratch_len, (off_t)f->scratch) !=
	            (ssize_t)call->scratch_len)
		r = -EFAULT;

	if (r)
		return r;
	regs.orig_rax = (uint64_t)call->nr;
	set_args(&regs, call);
	return set_regs(t, &regs);
}

/* At the exit of one of many calls: the next one, if there is one.  1: there is. */
static int repeat(const struct tracee *t, const struct inject_place *place, struct inject_call *call)
{
	struct user_regs_struct regs;
	int r;

	if (!call->again || !call->again(call))
		return 0;
	r = get_regs(t, &regs);
	if (r)
		return r;
	regs.rip = place->call;
	regs.rax = SYS_getpid;
	regs.orig_rax = (uint64_t)-1;
	r = set_regs(t, &regs);
	return r ? r : 1;
}

/* Through the entry of a call to its exit. */
static int make_call(struct tracees *ts, struct tracee *t, const struct frame *f,
                     struct inject_call *call, uint64_t deadline_ns)
{
	int stops = 0, request = PTRACE_SYSCALL, status, r;

	while (stops < 2) {
		r = next_stop(ts, t, request, call, deadline_ns, &status);
		if (r)
			return r;
		if (is_syscall_stop(status)) {
			stops++;
			if (stops == 1 && call->again && (r = become(t, f, call)))
				return r;
		} else if (is_fork_event(status)) {
			unsigned long child = 0;

			ptrace(PTRACE_GETEVENTMSG, t->tid, 0, &child);
			call->child = (pid_t)child;
		} else if (!(status >> 16) && WSTOPSIG(status) != SIGTRAP) {
			/* Only SIGSTOP gets here: everything else is blocked.  It stops the process. */
			r = ptrace(PTRACE_SYSCALL, t->tid, 0, WSTOPSIG(status));
			if (r)
				return -ESRCH;
			request = 0;
			continue;
		}
		request = stops < 2 ? PTRACE_SYSCALL : 0;
	}
	return 0;
}

/* From the first stop through the calls to the stop after them. */
static int run(struct tracees *ts, struct tracee *t, const struct inject_place *place,
               const struct frame *f, struct inject_call *call, uint64_t deadline_ns)
{
	struct user_regs_struct regs;
	int request = PTRACE_CONT, status, r;

	do {
		r = make_call(ts, t, f, call, deadline_ns);
		if (!r)
			r = get_regs(t, &regs);
		if (r)
			return r;
		call->result = (long)regs.rax;
		r = repeat(t, place, call);
	} while (r > 0);
	if (r < 0)
		return r;
	/* Back into the kernel's signal handling, where calls are started again. */
	ptrace(PTRACE_INTERRUPT, t->tid, 0, 0);
	for (;;) {
		r = next_stop(ts, t, request, call, deadline_ns, &status);
		if (r)
			return r;
		if (status >> 16 == PTRACE_EVENT_STOP)
			return 0;
		ptrace(PTRACE_CONT, t->tid, 0, status >> 16 ? 0 : WSTOPSIG(status));
		request = 0;
	}
}

/* The address and content of the thread's rseq_cs; 0: it is in no sequence. */
static uint64_t rseq_sequence(const struct frame *f, pid_t tid, uint64_t *ret_at)
{
	struct {
		uint64_t pointer;
		uint32_t size, signature, flags, pad;
	} conf = { 0 };
	uint64_t cs = 0;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(conf), &conf) <= 0 || !conf.pointer)
		return 0;
	*ret_at = conf.pointer + 8;
	if (f->mem < 0 || pread(f->mem, &cs, sizeof(cs), (off_t)*ret_at) != sizeof(cs))
		return 0;
	return cs;
}

static int attempt(struct tracees *ts, struct tracee *t, const struct inject_place *place,
                   struct inject_call *call, uint64_t deadline_ns)
{
	static struct frame f;
	struct user_regs_struct regs = t->regs;
	struct iovec own = { &t->regs, sizeof(t->regs) };
	uint64_t mask = 0, all = ~0ull, cs, cs_at = 0;
	bool framed, begins;
	int r;

	if (ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(mask), &mask))
		return -ESRCH;
	f.mem = open_memory(t->tid, O_RDWR);
	cs = rseq_sequence(&f, t->tid, &cs_at);
	framed = make_frame(&f, place, t, mask);
	regs.rip = place->call;
	regs.rax = (uint64_t)(call->again ? SYS_getpid : call->nr);
	regs.orig_rax = (uint64_t)-1;
	set_args(&regs, call);
	regs.r8 = regs.r9 = 0;
	regs.eflags &= ~0x500ull; /* no trap flag, no backwards */
	if (framed)
		regs.rsp = f.sp;
	if (call->clones) /* the child ends by its frame, or at once for want of a stack */
		regs.rsi = framed ? f.child_sp : 16;
	call->result = call->again ? 0 : -EINTR;

	call->scratch_at = framed ? f.scratch : 0;
	begins = !call->again || call->again(call);
	r = begins ? set_regs(t, &regs) : 0;
	if (!r && begins)
		ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(all), &all);
	if (!r && begins)
		r = run(ts, t, place, &f, call, deadline_ns);
	/* One that did not come back in time still has its frame, and nothing else may touch it. */
	if (!r) {
		ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask);
		ptrace(PTRACE_SETREGSET, t->tid, NT_PRSTATUS, &own);
		if (cs && pwrite(f.mem, &cs, sizeof(cs), (off_t)cs_at) < 0)
			cs = 0; /* the page is gone: then so is the sequence */
		if (framed && pwrite(f.mem, f.saved, f.len, (off_t)f.at) < 0)
			framed = false; /* below the stack: nobody misses it */
	}
	if (f.mem >= 0)
		close(f.mem);
	return r;
}

int inject_call(struct tracees *ts, struct tracee *t, const struct inject_place *place,
                struct inject_call *call, uint64_t deadline_ns)
{
	long options = PTRACE_O_TRACESYSGOOD;
	int r = 0, hangup = ts->hangup;

	if (call->clones)
		options |= PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
	if (call->seccomp)
		options |= PTRACE_O_SUSPEND_SECCOMP;
	if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, options))
		return errno == ESRCH ? -ESRCH : -EPERM;
	ts->hangup = -1; /* what is begun is finished first */
	for (unsigned int i = 0; i < ATTEMPTS && !r; i++) {
		r = attempt(ts, t, place, call, deadline_ns);
		if (call->result > -512 || call->result < -516)
			break; /* not one of the kernel's "make it again" */
	}
	ts->hangup = hangup;
	ptrace(PTRACE_SETOPTIONS, t->tid, 0, 0);
	return r;
}

/* ---- a thread that is borrowed ------------------------------------------------ */

/*
 * Stopped once already, a thread that sleeps is in restart_syscall(), and what it called at first only its code
 * tells: `mov $nr,%eax` before the `syscall`.  There are four calls that the kernel resumes like that.  0: not found.
 */
static uint64_t resumed_call(int mem, uint64_t rip)
{
	static const uint32_t calls[] = { SYS_nanosleep, SYS_clock_nanosleep, SYS_poll, SYS_futex };
	uint8_t code[34]; /* the last two are the syscall */

	if (pread(mem, code, sizeof(code), (off_t)(rip - sizeof(code))) != sizeof(code) ||
	    memcmp(code + sizeof(code) - 2, call_bare, 2) != 0)
		return 0;
	for (size_t at = sizeof(code) - 2 - 5; at; at--) {
		uint32_t nr;

		if (code[at] != 0xb8)
			continue;
		memcpy(&nr, code + at + 1, sizeof(nr));
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			if (nr == calls[i])
				return nr;
	}
	return 0;
}

int inject_borrow(struct tracee *t, const struct inject_place *place, uint64_t function,
                  uint64_t argument, uint64_t top)
{
	static struct frame f;
	static uint8_t state[XSTATE_MAX];
	struct iovec iov = { state, sizeof(state) };
	struct user_regs_struct regs = t->regs;
	uint64_t mask = 0, all = ~0ull, fp, at, cs_at;
	struct kernel_ucontext uc;
	size_t size, len;
	int r = -ENOTSUP;

	if (!place->restorer || ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(mask), &mask) ||
	    ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &iov))
		return place->restorer ? -ESRCH : -ENOTSUP;
	size = frame_state(state, iov.iov_len);
	f.mem = open_memory(t->tid, O_RDWR);
	if (!size || f.mem < 0 || rseq_sequence(&f, t->tid, &cs_at))
		goto out;
	uc = context_of(&t->regs, mask);
	/* A handler would make it return EINTR, which a program without handlers may not expect. */
	if ((int64_t)t->regs.orig_rax >= 0 && (int64_t)t->regs.rax == -516) {
		uc.regs.ax = t->regs.orig_rax;
		uc.regs.ip = t->regs.rip - 2;
		if (uc.regs.ax == SYS_restart_syscall)
			uc.regs.ax = resumed_call(f.mem, t->regs.rip);
		if (!uc.regs.ax)
			goto out;
	}
	fp = (top - size) & ~63ull;
	at = ((fp - sizeof(uc)) & ~15ull) - 8;
	len = (size_t)(fp + size - at);
	if (len > sizeof(f.made))
		goto out;
	uc.regs.fpstate = fp;
	memset(f.made, 0, len);
	memcpy(f.made, &place->restorer, 8);
	memcpy(f.made + 8, &uc, sizeof(uc));
	memcpy(f.made + (fp - at), state, size);
	if (pwrite(f.mem, f.made, len, (off_t)at) != (ssize_t)len)
		goto out;
	regs.rip = function;
	regs.rdi = argument;
	regs.rsp = at;
	regs.rax = 0;
	regs.orig_rax = (uint64_t)-1;
	regs.eflags &= ~0x500ull;
	iov = (struct iovec){ &regs, sizeof(regs) };
	r = ptrace(PTRACE_SETREGSET, t->tid, NT_PRSTATUS, &iov) ? -ESRCH : 0;
	if (!r)
		ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(all), &all);
out:
	if (f.mem >= 0)
		close(f.mem);
	return r;
}
