/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of seep that runs in the kernel: uprobes on an allocator's functions.
 *
 * An allocation is noted when its function returns: then the address is known, and the registers
 * are those of the caller, from which the stack can be unwound.  What is needed from the entry (size, old
 * address) waits in the thread's state together with the stack pointer; a return belongs to it when its
 * stack pointer is one word above.  Calls further down the stack meanwhile are the allocator's own
 * (operator new calls malloc, realloc calls malloc) and pass.
 *
 * A free is noted on entry, before another thread can be given the address.
 *
 * The stack is copied (sp to the end of the thread's stack, which the collector learns and tells) and unwound
 * outside.  Most stacks come again: for those the collector stores a path, the offsets of the words that
 * the walk depended on and their hash, and where the copy has the same hash only the path's number is sent.
 *
 * Nothing here knows a structure of the kernel: only helpers, and the registers, whose layout is the user
 * interface.  So it loads on every kernel that has the helpers (5.12), whatever it was built on.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "events.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* The kernel's own names, as user space knows them: the skeleton repeats them. */

enum function { FN_NONE, FN_POINTER, FN_REALLOC, FN_POSIX_MEMALIGN, FN_MMAP, FN_MREMAP };

#define NESTED_REACH (256u << 10) /* a call that far below is on another stack */
#define NESTED_MOST 64u
#define TAIL_MOST 2u
#define SP_NONE 0ull

struct thread_state {
	__u64 sp; /* at the entry of the call under way; SP_NONE: none */
	__u64 size, old, old_size;
	__u32 function;
	__u32 sampled; /* this call is recorded, as a sample */
	__u32 skip;    /* this call is not recorded */
	__u32 took;    /* old was taken out of the table */
	__u32 nested, pad;
	__u32 seen;
	__u32 counting; /* countdown is valid */
	__s64 countdown;
	__u64 rng;
};

struct scratch {
	__u64 busy;
	struct ev_stack ev;
	__u8 stack[EV_STACK_MAX + 512];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct thread_state);
} threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct stack_end);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct path_key);
	__type(value, struct path_value);
} paths SEC(".maps");

/* Recorded blocks, when sampling: so that the free of any other costs one look-up. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 20);
	__type(key, __u64);
	__type(value, __u8);
} live SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

const volatile __u64 ns_dev, ns_ino; /* the target's PID namespace */
const volatile __u32 nscratches = 16;
const volatile __u64 wake_at = 1 << 20; /* bytes in the ring that wake the collector */
/* Mappings made from here are libc's or an allocator's own. */
const volatile __u64 libc_lo, libc_hi, allocator_lo, allocator_hi;
const volatile __u32 plain_calls; /* malloc calls nothing that is probed, but mmap from these ranges */
const volatile __u32 minus_log2[(1 << LOG_BITS) + 1]; /* -log2(1 + i/256) + 1, 26 bits of fraction */

__u64 period;                    /* bytes; 0: every block */
__u32 active;                    /* new blocks are recorded */
__u32 epoch;                     /* of paths: another one makes all of them unknown */
__u32 first_copy = EV_STACK_MAX; /* bytes of a stack whose end is not known */
__u64 seed;
__u32 tgid; /* of the process, as the kernel numbers it; known with its first event */
__u64 losses[BPF_NLOSSES];
__u64 npaths, nstacks; /* for the figures in docs/ATTACH-BPF.md */

static __always_inline void lose(__u32 what)
{
	__sync_fetch_and_add(&losses[what], 1);
}

static __always_inline __u64 wake(void)
{
	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= wake_at ? BPF_RB_FORCE_WAKEUP
	                                                              : BPF_RB_NO_WAKEUP;
}

static __always_inline void send(const struct ev *ev)
{
	if (bpf_ringbuf_output(&ring, (void *)ev, sizeof(*ev), wake()))
		lose(BPF_LOSS_RING);
}

static __always_inline __u32 this_thread(void)
{
	return (__u32)bpf_get_current_pid_tgid();
}

/* ---- threads --------------------------------------------------------------------------- */

/* Global functions are verified once, not again for each program that calls them. */
__noinline int thread_new(__u32 tid)
{
	struct thread_state fresh = {};
	struct ev_thread first = {};
	struct bpf_pidns_info ns = {};

	tgid = bpf_get_current_pid_tgid() >> 32;
	fresh.rng = seed ^ (__u64)tid * 0x9e3779b97f4a7c15ull;
	if (bpf_map_update_elem(&threads, &tid, &fresh, BPF_NOEXIST)) {
		lose(BPF_LOSS_THREADS);
		return 0;
	}
	first.ev.kind = EV_THREAD;
	first.ev.tid = tid;
	first.ev.time = bpf_ktime_get_ns();
	first.ev.a = bpf_get_ns_current_pid_tgid(ns_dev, ns_ino, &ns, sizeof(ns)) ? tid : ns.pid;
	bpf_get_current_comm(first.comm, sizeof(first.comm));
	if (bpf_ringbuf_output(&ring, &first, sizeof(first), wake()))
		lose(BPF_LOSS_RING);
	return 1;
}

static __always_inline struct thread_state *thread_here(void)
{
	__u32 tid = this_thread();
	struct thread_state *t = bpf_map_lookup_elem(&threads, &tid);

	if (!t && thread_new(tid))
		t = bpf_map_lookup_elem(&threads, &tid);
	return t;
}

/* ---- sampling: docs/SAMPLING.md ---------------------------------------------------------- */

/* An exponentially distributed distance with the mean `period`: -ln(u) * period. */
static __always_inline __s64 draw(struct thread_state *t)
{
	__u64 x, mean = period;
	__u32 zeros = 0, at, low;
	__u64 frac, a, b, nlog;

	t->rng += 0x9e3779b97f4a7c15ull;
	x = t->rng;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	x |= 1;
	/* u = x / 2^64 = 2^-(zeros + 1) * (1 + frac) */
	if (!(x >> 32)) {
		zeros += 32;
		x <<= 32;
	}
	if (!(x >> 48)) {
		zeros += 16;
		x <<= 16;
	}
	if (!(x >> 56)) {
		zeros += 8;
		x <<= 8;
	}
	if (!(x >> 60)) {
		zeros += 4;
		x <<= 4;
	}
	if (!(x >> 62)) {
		zeros += 2;
		x <<= 2;
	}
	if (!(x >> 63)) {
		zeros += 1;
		x <<= 1;
	}
	frac = x << 1;
	at = (__u32)(frac >> (64 - LOG_BITS));
	low = (__u32)(frac >> (64 - LOG_BITS - 16)) & 0xffff;
	a = minus_log2[at & ((1 << LOG_BITS) - 1)];
	b = minus_log2[(at & ((1 << LOG_BITS) - 1)) + 1];
	nlog = ((__u64)zeros << 26) + a - ((a - b) * low >> 16); /* -log2(u), 26 bits of fraction */
	nlog = nlog * 2977044472ull >> 32;                       /* times ln 2 */
	if (mean > 1ull << 31)
		mean = 1ull << 31;
	return (__s64)(nlog * mean >> 26);
}

/* Whether a block of that size is recorded. */
static __always_inline int choose(struct thread_state *t, __u64 size)
{
	if (!t->counting) {
		t->countdown = draw(t);
		t->counting = 1;
	}
	t->countdown -= (__s64)(size ? size : 1);
	if (t->countdown >= 0)
		return 0;
	t->countdown = draw(t);
	return 1;
}

/* ---- stacks -------------------------------------------------------------------------------- */

static __always_inline struct scratch *scratch_get(void)
{
	__u32 at = bpf_get_smp_processor_id() * 2;

	/* A probe can be interrupted by another one on the same processor: each takes a free one. */
	for (int i = 0; i < 8; i++) {
		__u32 k = (at + i) % nscratches;
		struct scratch *s = bpf_map_lookup_elem(&scratches, &k);

		if (s && !__sync_val_compare_and_swap(&s->busy, 0, 1))
			return s;
	}
	return 0;
}

static __always_inline void scratch_put(struct scratch *s)
{
	__sync_lock_test_and_set(&s->busy, 0);
}

/* Page by page, until nothing is there any more. */
__noinline int copy_unknown(struct scratch *s, __u64 sp)
{
	__u32 got = 0, n = 4096 - (sp & 4095);

	if (!s)
		return 0;
	for (int i = 0; i < 17; i++) {
		if (got > EV_STACK_MAX - 4096 || n > 4096 || got >= first_copy)
			break;
		if (bpf_probe_read_user(s->stack + got, n, (void *)(sp + got)))
			break;
		got += n;
		n = 4096;
	}
	return got;
}

__noinline int path_matches(struct scratch *s, const struct path_value *p)
{
	__u64 h = PATH_SEED, v, sp;
	__u32 i;

	if (!s || !p)
		return 0;
	sp = s->ev.regs.sp;
	for (i = 0; i < PATH_WORDS; i++) {
		__u32 at;

		if (i >= p->nwords)
			break;
		at = (__u32)p->off[i] * 8;
		if (at >= EV_STACK_MAX)
			return 0;
		v = *(__u64 *)(s->stack + at);
		if (i >= p->nexact)
			v -= sp;
		PATH_STEP(h, v);
	}
	if (p->uses_bp)
		PATH_STEP(h, s->ev.regs.bp - sp);
	return h == p->hash;
}

/* The number of the path that this stack is; 0: none that is known. */
static __always_inline __u32 path_of(struct scratch *s, __u32 len)
{
	struct path_key key = { .ip = s->ev.regs.ip, .place = s->ev.place, .epoch = epoch };

	for (__u32 way = 0; way < PATH_WAYS; way++) {
		struct path_value *p;

		key.way = way;
		p = bpf_map_lookup_elem(&paths, &key);
		if (!p)
			return 0;
		if (p->span <= len && path_matches(s, p))
			return p->id;
	}
	return 0;
}

/* Copies the caller's stack behind s->ev, which the caller has filled in up to the registers, and sends it. */
static __always_inline void send_stack(struct pt_regs *ctx, struct scratch *s)
{
	__u64 sp = PT_REGS_SP(ctx), len = 0;
	__u32 tid = s->ev.ev.tid, path;
	struct stack_end *end = bpf_map_lookup_elem(&stacks, &tid);

	s->ev.regs.ip = PT_REGS_IP(ctx);
	s->ev.regs.sp = sp;
	s->ev.regs.bp = ctx->rbp;
	s->ev.regs.bx = ctx->rbx;
	s->ev.regs.r12 = ctx->r12;
	s->ev.regs.r13 = ctx->r13;
	s->ev.regs.r14 = ctx->r14;
	s->ev.regs.r15 = ctx->r15;
	s->ev.flags = 0;
	s->ev.place = 0;
	s->ev.ev.c = 0;
	if (end && sp >= end->lo && sp < end->hi) {
		len = end->hi - sp;
		s->ev.place = len;
		s->ev.flags = EV_RANGE_KNOWN;
		if (len > EV_STACK_MAX)
			len = EV_STACK_MAX;
		if (bpf_probe_read_user(s->stack, len, (void *)sp))
			len = 0;
	}
	if (!len) {
		s->ev.flags = 0;
		len = copy_unknown(s, sp);
	} else if (s->ev.ev.kind == EV_ALLOC && s->ev.ev.block == EV_HEAP) {
		path = path_of(s, len);
		if (path) {
			s->ev.ev.kind = EV_PATH;
			s->ev.ev.c = path;
			__sync_fetch_and_add(&npaths, 1);
			if (bpf_ringbuf_output(&ring, &s->ev.ev, sizeof(s->ev.ev), wake()))
				lose(BPF_LOSS_RING);
			return;
		}
	}
	s->ev.len = len;
	__sync_fetch_and_add(&nstacks, 1);
	if (len > EV_STACK_MAX)
		len = EV_STACK_MAX;
	if (bpf_ringbuf_output(&ring, &s->ev, sizeof(s->ev) + len, wake()))
		lose(BPF_LOSS_RING);
}

/* ---- calls -------------------------------------------------------------------------------------- */

/*
 * An entry's result: whether the return is wanted as well.  Where the kernel can be told so call by call (both_*),
 * the return of a call that is not recorded costs nothing.
 */
#define RETURN_WANTED 0
#define RETURN_UNWANTED 1

/* The state to fill in for a call that begins; NULL: it is the allocator's own, or cannot be followed. */
static __always_inline struct thread_state *enter(struct pt_regs *ctx, __u32 function)
{
	struct thread_state *t = thread_here();
	__u64 sp = PT_REGS_SP(ctx);

	if (!t)
		return 0;
	if (t->sp && sp < t->sp && t->sp - sp < NESTED_REACH) {
		/* So many at once are no nested calls: the outer one was left without a return (longjmp, throw). */
		if (++t->nested < NESTED_MOST)
			return 0;
		__sync_fetch_and_add(&losses[BPF_LOSS_NESTED], NESTED_MOST);
	}
	/* A call that ends in another one, as realloc(NULL, n) may in malloc. */
	if (t->sp == sp && t->nested++ < TAIL_MOST)
		return 0;
	t->nested = 0;
	t->sp = sp;
	t->function = function;
	t->took = 0;
	t->sampled = 0;
	t->skip = !active;
	return t;
}

/* The state of the call that returns here; NULL: it was not noted. */
static __always_inline struct thread_state *leave(struct pt_regs *ctx)
{
	__u32 tid = this_thread();
	struct thread_state *t = bpf_map_lookup_elem(&threads, &tid);

	if (!t || t->sp + 8 != PT_REGS_SP(ctx))
		return 0;
	t->sp = SP_NONE;
	return t;
}

static __always_inline struct thread_state *enter_heap(struct pt_regs *ctx, __u64 size)
{
	struct thread_state *t = enter(ctx, FN_POINTER);

	if (!t)
		return 0;
	t->size = size;
	if (period && !t->skip) {
		t->sampled = choose(t, size);
		t->skip = !t->sampled;
	}
	return t;
}

static __always_inline void record(struct pt_regs *ctx, struct thread_state *t, __u64 addr,
                                   __u64 size, __u32 kind, __u32 block)
{
	struct scratch *s;
	__u8 one = 1;

	if (t->sampled && bpf_map_update_elem(&live, &addr, &one, BPF_ANY)) {
		lose(BPF_LOSS_LIVE);
		return;
	}
	s = scratch_get();
	if (!s) {
		lose(BPF_LOSS_SCRATCH);
		return;
	}
	s->ev.ev.kind = kind;
	s->ev.ev.block = block;
	s->ev.ev.sampled = t->sampled;
	s->ev.ev.pad = 0;
	s->ev.ev.tid = this_thread();
	s->ev.ev.time = bpf_ktime_get_ns();
	s->ev.ev.a = addr;
	s->ev.ev.b = size;
	s->ev.old = t->old;
	s->ev.old_len = t->old_size;
	send_stack(ctx, s);
	scratch_put(s);
}

static __always_inline void send_simple(__u32 kind, __u64 a, __u64 b)
{
	struct ev ev = { .kind = kind, .tid = this_thread(), .a = a, .b = b };

	ev.time = bpf_ktime_get_ns();
	send(&ev);
}

/* Whether the block at addr, which is about to go, is a recorded one. */
static __always_inline int take(__u64 addr)
{
	return addr && (!period || !bpf_map_delete_elem(&live, &addr));
}

/* malloc, operator new, valloc, pvalloc, mallocx */
static __always_inline int size1(struct pt_regs *ctx)
{
	struct thread_state *t = enter_heap(ctx, PT_REGS_PARM1(ctx));

	if (!t)
		return RETURN_UNWANTED;
	/*
	 * These call none of the others but mmap, which is told apart by its caller: without a return the call is
	 * over here.  Any other function must be known to be under way while malloc is called by it.
	 */
	if (t->skip && plain_calls) {
		t->sp = SP_NONE;
		return RETURN_UNWANTED;
	}
	return RETURN_WANTED;
}

/* memalign, aligned_alloc */
static __always_inline int size2(struct pt_regs *ctx)
{
	return enter_heap(ctx, PT_REGS_PARM2(ctx)) ? RETURN_WANTED : RETURN_UNWANTED;
}

/* A product that wraps makes the call fail. */
static __always_inline int zeroed(struct pt_regs *ctx)
{
	return enter_heap(ctx, PT_REGS_PARM1(ctx) * PT_REGS_PARM2(ctx)) ? RETURN_WANTED
	                                                                : RETURN_UNWANTED;
}

static __always_inline int through_pointer(struct pt_regs *ctx)
{
	struct thread_state *t = enter_heap(ctx, PT_REGS_PARM3(ctx));

	if (!t)
		return RETURN_UNWANTED;
	t->function = FN_POSIX_MEMALIGN;
	t->old = PT_REGS_PARM1(ctx);
	return RETURN_WANTED;
}

static __always_inline int resize(struct pt_regs *ctx, __u64 old, __u64 size)
{
	struct thread_state *t = enter_heap(ctx, size);

	if (!t)
		return RETURN_UNWANTED;
	t->function = FN_REALLOC;
	t->old = old;
	if (take(old)) {
		t->took = 1;
		send_simple(EV_TAKE, old, 0);
	}
	return RETURN_WANTED;
}

static __always_inline int resize_one(struct pt_regs *ctx)
{
	return resize(ctx, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx));
}

static __always_inline int resize_array(struct pt_regs *ctx)
{
	return resize(ctx, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx) * PT_REGS_PARM3(ctx));
}

static __always_inline int heap_returns(struct pt_regs *ctx)
{
	struct thread_state *t = leave(ctx);
	__u64 addr = PT_REGS_RC(ctx);
	__u8 one = 1;

	if (!t)
		return 0;
	switch (t->function) {
	case FN_POSIX_MEMALIGN:
		if (addr || bpf_probe_read_user(&addr, sizeof(addr), (void *)t->old))
			return 0;
		break;
	case FN_REALLOC:
		if (addr || !t->took)
			break;
		/* realloc(p, 0) may return NULL and have freed p; any other NULL is a failure. */
		if (t->size) {
			if (period)
				bpf_map_update_elem(&live, &t->old, &one, BPF_ANY);
			send_simple(EV_UNTAKE, t->old, 0);
		}
		return 0;
	}
	if (addr && !t->skip)
		record(ctx, t, addr, t->size, EV_ALLOC, EV_HEAP);
	return 0;
}

SEC("uprobe")
int enter_free(struct pt_regs *ctx)
{
	__u64 addr = PT_REGS_PARM1(ctx);

	if (take(addr))
		send_simple(EV_FREE, addr, 0);
	return 0;
}

/* ---- mappings: few, so never sampled -------------------------------------------------------------- */

#define PROT_WRITE 2
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_STACK 0x20000
#define PAGE_UP(n) (((n) + 4095) & ~4095ull)

/* libc's own (its malloc's, its threads'), and those of an allocator. */
static __always_inline int internal_mapping(struct pt_regs *ctx)
{
	__u64 caller = 0;

	bpf_probe_read_user(&caller, sizeof(caller), (void *)PT_REGS_SP(ctx));
	return (caller >= libc_lo && caller < libc_hi) ||
	       (caller >= allocator_lo && caller < allocator_hi);
}

static __always_inline int map(struct pt_regs *ctx)
{
	__u64 prot = PT_REGS_PARM3(ctx), flags = PT_REGS_PARM4(ctx), addr = PT_REGS_PARM1(ctx);
	__u64 size = PAGE_UP(PT_REGS_PARM2(ctx));
	struct thread_state *t;

	if ((flags & MAP_FIXED) && addr)
		send_simple(EV_UNMAP, addr, size);
	if (!(flags & MAP_ANONYMOUS) || !(prot & PROT_WRITE) || (flags & MAP_STACK) || !active ||
	    internal_mapping(ctx))
		return RETURN_UNWANTED;
	t = enter(ctx, FN_MMAP);
	if (!t)
		return RETURN_UNWANTED;
	t->size = size;
	return RETURN_WANTED;
}

static __always_inline int remap(struct pt_regs *ctx)
{
	struct thread_state *t = internal_mapping(ctx) ? 0 : enter(ctx, FN_MREMAP);

	if (!t)
		return RETURN_UNWANTED;
	t->old = PT_REGS_PARM1(ctx);
	t->old_size = PAGE_UP(PT_REGS_PARM2(ctx));
	t->size = PAGE_UP(PT_REGS_PARM3(ctx));
	return RETURN_WANTED;
}

static __always_inline int map_returns(struct pt_regs *ctx)
{
	struct thread_state *t = leave(ctx);
	__u64 addr = PT_REGS_RC(ctx);

	if (!t || addr > -4096ull)
		return 0;
	if (t->function == FN_MMAP)
		record(ctx, t, addr, t->size, EV_ALLOC, EV_MMAP);
	else if (t->function == FN_MREMAP)
		record(ctx, t, addr, t->size, EV_REMAP, EV_MMAP);
	return 0;
}

SEC("uprobe")
int enter_munmap(struct pt_regs *ctx)
{
	__u64 addr = PT_REGS_PARM1(ctx), len = PAGE_UP(PT_REGS_PARM2(ctx));

	if (len && !(addr & 4095) && !internal_mapping(ctx))
		send_simple(EV_UNMAP, addr, len);
	return 0;
}

/* ---- the programs -------------------------------------------------------------------------------------- */

/*
 * Each call has a program for its entry, one for its return, and one for both (Linux 6.13), which the kernel runs at
 * the return only when the entry wanted it.  There the two are told apart by where the processor is.
 */
#define CALL(name, entry, returns)                            \
	SEC("uprobe")                                         \
	int enter_##name(struct pt_regs *ctx)                 \
	{                                                     \
		entry(ctx);                                   \
		return 0;                                     \
	}                                                     \
	SEC("uprobe")                                         \
	int both_##name(struct pt_regs *ctx)                  \
	{                                                     \
		if (PT_REGS_IP(ctx) == bpf_get_func_ip(ctx))  \
			return entry(ctx) == RETURN_UNWANTED; \
		returns(ctx);                                 \
		return 0;                                     \
	}

CALL(size1, size1, heap_returns)
CALL(size2, size2, heap_returns)
CALL(calloc, zeroed, heap_returns)
CALL(posix_memalign, through_pointer, heap_returns)
CALL(realloc, resize_one, heap_returns)
CALL(reallocarray, resize_array, heap_returns)
CALL(mmap, map, map_returns)
CALL(mremap, remap, map_returns)

SEC("uretprobe")
int leave_heap(struct pt_regs *ctx)
{
	return heap_returns(ctx);
}

SEC("uretprobe")
int leave_map(struct pt_regs *ctx)
{
	return map_returns(ctx);
}

/* ---- the process's life ----------------------------------------------------------------------------- */

SEC("uprobe")
int loader_changed(struct pt_regs *ctx)
{
	send_simple(EV_MODULES, 0, 0);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int thread_exits(void *ctx)
{
	__u32 tid = this_thread();

	if (bpf_map_lookup_elem(&threads, &tid)) {
		bpf_map_delete_elem(&threads, &tid);
		bpf_map_delete_elem(&stacks, &tid);
		send_simple(EV_THREAD_EXIT, 0, 0);
	}
	return 0;
}

SEC("raw_tp/sched_process_exec")
int process_execs(void *ctx)
{
	if (tgid && tgid == bpf_get_current_pid_tgid() >> 32)
		send_simple(EV_EXEC, 0, 0);
	return 0;
}
