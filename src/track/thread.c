/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread keeps for itself: its page of state, its shard of counters, the stack it
 * runs on.
 *
 * The state lies in pages the kernel wipes in a forked child (MADV_WIPEONFORK, which also catches a
 * raw clone): a page of zeros reads as T_COLD, so the child notices at its first event, at no
 * cost for the parent.
 *
 * A thread ends in the last round of its pthread-key destructors.  What it allocates or frees after that
 * (the C library's own clean-up) makes a new state; since no one says when such a thread is gone,
 * those states are kept on a list and reused once their thread no longer exists.
 */
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <time.h>

#include "track/attach.h"
#include "track/dropin.h"

#define MAX_SHARDS 64
#define READY_CHUNKS ((1u << 19) >> READY_SHIFT)
#define MAX_BATCH 16u

const uint32_t control_none;
const uint32_t *control_word = &control_none;
struct thread thread_cold;
struct thread thread_off = { .countdown = INT64_MAX / 2, .state = T_DEAD, .mode = M_OFF };
__thread struct thread *t_self TLS_MODEL = &thread_cold;

static struct lock threads_lock;
static struct thread *free_threads, *late_threads;
static struct thread *all_threads; /* never shorter, but in a forked child */
static bool shard_taken[MAX_SHARDS];
static uint8_t shard_ready[MAX_SHARDS][READY_CHUNKS];
static struct growing thread_space;
static uint32_t shard_top;   /* shards from here on were never used */
static uint32_t *alive_mark; /* 1; 0 in a forked child */
static pthread_key_t key;
static bool have_key;

/* ---- wiped pages ---------------------------------------------------------------------- */

static void *wiped_pages(size_t size)
{
	void *p = mem_map(size);

	if (p && sys_failed(sys_madvise(p, (size + 4095) & ~4095ul, MADV_WIPEONFORK))) {
		/* Linux before 4.14: forks are not noticed; their children record into copies of nothing. */
		say("kernel has no MADV_WIPEONFORK; forked children are not told apart", NULL);
	}
	return p;
}

bool forked_child(void)
{
	return alive_mark && !*alive_mark;
}

/* ---- end of a thread ---------------------------------------------------------------------- */

static void thread_end(void *arg)
{
	struct thread *t = arg;

	if (t != t_self || forked_child() || t->state == T_COLD)
		return;
	if (++t->exit_rounds < 4) {
		/* Other destructors may still allocate: come again, as late as possible. */
		pthreads.setspecific(key, t);
		return;
	}
	totals_flush(t);
	totals_unwinds(t);
	if (t->index && t->index != LEDGER_THREAD_OTHER) {
		g.threads[t->index].died = thread_tick(t);
		store_release(&g.threads[t->index].flags, 1u);
	}
	t_self = &thread_cold;
	if (!lock_take(&threads_lock))
		return;
	if (t->shard >= 0)
		store_release(&shard_taken[t->shard], false);
	t->tid = 0;
	t->next = free_threads;
	free_threads = t;
	lock_give(&threads_lock);
}

void thread_key_init(void)
{
	if (!have_key && pthreads.key_create && pthreads.setspecific)
		have_key = pthreads.key_create(&key, thread_end) == 0;
}

/* ---- beginning --------------------------------------------------------------------------------- */

void threads_init(void)
{
	memset(&thread_space, 0, sizeof(thread_space));
	thread_space.base = (uint8_t *)g.threads;
	thread_space.size = LEDGER_MAX_THREADS * sizeof(struct ledger_thread);
	thread_space.ready = 4096;
	thread_space.step = 4096;
	threads_lock.word = 0;
	memset(shard_taken, 0, sizeof(shard_taken));
	/* Only what a forked child's parent used: touching the rest would give it storage. */
	memset(shard_ready, 0, shard_top * sizeof(shard_ready[0]));
	shard_top = 0;
	free_threads = late_threads = NULL;
	if (forked_child())
		all_threads = NULL; /* wiped */
	if (!alive_mark)
		alive_mark = wiped_pages(4096);
	if (alive_mark)
		*alive_mark = 1;
}

/* A late thread's state whose thread is gone.  Locked. */
static struct thread *late_reuse(void)
{
	for (struct thread **p = &late_threads; *p; p = &(*p)->next) {
		struct thread *t = *p;

		if (sys6(SYS_tgkill, g.pid, t->tid, 0, 0, 0, 0) != -ESRCH)
			continue;
		*p = t->next;
		if (t->shard >= 0)
			shard_taken[t->shard] = false;
		return t;
	}
	return NULL;
}

static struct thread *state_new(int tid, int32_t *ret_shard)
{
	struct thread *t;
	int32_t shard = -1;

	if (!lock_take(&threads_lock))
		return NULL;
	if (t_self != &thread_cold && t_self != &thread_off && t_self->tid == tid) {
		t = t_self; /* from an earlier attachment */
	} else {
		t = free_threads;
		if (t)
			free_threads = t->next;
		else
			t = late_reuse();
	}
	/* The last shard is shared by all threads that find no other. */
	for (int32_t i = 0; i < (int32_t)g.nshards - 1; i++) {
		if (!shard_taken[i]) {
			shard_taken[i] = true;
			shard = i;
			break;
		}
	}
	lock_give(&threads_lock);
	if (!t) {
		t = wiped_pages(sizeof(*t));
		if (t) {
			t->all = load_relaxed(&all_threads);
			while (!__atomic_compare_exchange_n(&all_threads, &t->all, t, false,
			                                    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
				;
		}
	}
	if (t) {
		struct thread *all = t->all;

		memset(t, 0, offsetof(struct thread, pcs));
		t->all = all;
		t->tid = tid;
	}
	*ret_shard = shard;
	return t;
}

/* The thread's entry in the ledger: one for each tid, also when its state is made anew. */
static uint32_t ledger_index(int tid)
{
	uint64_t n;
	uint32_t index = LEDGER_THREAD_OTHER;

	if (!lock_take(&threads_lock))
		return index;
	n = g.hdr->nthreads;
	for (uint64_t i = n; i-- > 1 && n - i < 64;) {
		if (g.threads[i].tid == tid) {
			index = (uint32_t)i;
			goto out;
		}
	}
	if (n < LEDGER_THREAD_OTHER &&
	    growing_need(&thread_space, (n + 1) * sizeof(struct ledger_thread))) {
		struct ledger_thread *lt = &g.threads[n];

		lt->tid = tid;
		lt->born = thread_cold.now;
		sys6(SYS_prctl, 16 /* PR_GET_NAME */, (long)lt->name, 0, 0, 0, 0);
		store_release(&g.hdr->nthreads, n + 1);
		index = (uint32_t)n;
	} else {
		loss(LOSS_THREADS_FULL);
	}
out:
	lock_give(&threads_lock);
	return index;
}

/* ---- a tracker that is sent away and comes back: attach.c ------------------------------------- */

#define LEAVE_ROUNDS 2000 /* of about a millisecond */

static void pause_ms(void)
{
	struct timespec ts = { 0, 1000000 };

	sys6(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
}

/*
 * No slot leads here any more, so threads only come out.  One that had read its state just before
 * it was changed here still goes through once, and says READY afterwards: hence several quiet rounds.
 */
bool threads_leave(void)
{
	unsigned int quiet = 0;

	for (unsigned int round = 0; round < LEAVE_ROUNDS && quiet < 3; round++) {
		bool all_out = true, changed = false;

		for (struct thread *t = load_acquire(&all_threads); t; t = t->all) {
			uint32_t ready = T_READY, state = load_acquire(&t->state);

			if (state == T_COLD || t == t_self)
				continue;
			if (state == T_READY &&
			    __atomic_compare_exchange_n(&t->state, &ready, (uint32_t)T_COLD, false,
			                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
				totals_flush(t);
				totals_unwinds(t);
				changed = true;
			} else if (t->tid && sys6(SYS_tgkill, g.pid, t->tid, 0, 0, 0, 0) != -ESRCH) {
				all_out = false;
			}
		}
		quiet = all_out && !changed ? quiet + 1 : 0;
		pause_ms();
	}
	if (t_self->state == T_REAL || t_self->state == T_TRACKER)
		t_self->state = T_COLD;
	for (struct thread *t = load_acquire(&all_threads); t; t = t->all)
		store_relaxed(&t->countdown, INT64_MAX / 2);
	store_relaxed(&thread_cold.countdown, INT64_MAX / 2);
	return quiet >= 3;
}

bool threads_passed(uint32_t epoch)
{
	for (struct thread *t = load_acquire(&all_threads); t; t = t->all)
		if (t != t_self && load_acquire(&t->state) == T_TRACKER &&
		    (int32_t)(load_acquire(&t->path_epoch) - epoch) < 0)
			return false;
	return true;
}

/* Under a new ledger: every thread begins again with its next event. */
void threads_return(void)
{
	if (!lock_take(&threads_lock))
		return;
	for (struct thread *t = load_acquire(&all_threads); t; t = t->all) {
		store_relaxed(&t->state, (uint32_t)T_COLD);
		store_relaxed(&t->countdown, 0);
		/* Its owner takes it up again, unless there is none any more. */
		if (!t->tid || sys6(SYS_tgkill, g.pid, t->tid, 0, 0, 0, 0) == -ESRCH) {
			t->tid = 0;
			t->next = free_threads;
			free_threads = t;
		}
	}
	store_relaxed(&thread_cold.countdown, 0);
	/* Where a forked child of such a process was left alone, its threads stand here. */
	thread_off.countdown = 0;
	store_release(&thread_off.state, (uint32_t)T_COLD);
	lock_give(&threads_lock);
}

static bool thread_dead_already(int tid)
{
	/* The main thread's state may be made anew too; only a thread whose entry says so is late. */
	for (uint64_t i = load_acquire(&g.hdr->nthreads), k = 0; i-- > 1 && k < 64; k++)
		if (g.threads[i].tid == tid)
			return load_acquire(&g.threads[i].flags) & 1;
	return false;
}

bool thread_begin(void)
{
	struct thread *t;
	int32_t shard;
	int tid;
	bool late;

	if (g.dead) {
		t_self = &thread_off;
		return false;
	}
	if (g.ready && forked_child())
		tracker_forked();
	else if (!g.ready && !tracker_begin())
		return false;
	if (g.dead) {
		t_self = &thread_off;
		return false;
	}
	if (t_self != &thread_cold && t_self->state != T_COLD)
		return true; /* tracker_begin() did it */
	tid = sys_gettid();
	late = thread_dead_already(tid);
	t = state_new(tid, &shard);
	if (!t) {
		loss(LOSS_THREADS_FULL);
		return false;
	}
	t->shard = shard;
	if (shard < 0)
		shard = (int32_t)g.nshards - 1;
	t->counters = (struct ledger_counters *)(g.ledger + g.hdr->section[LEDGER_COUNTERS].offset) +
	              (uint64_t)shard * g.max_sites;
	if ((uint32_t)shard >= load_relaxed(&shard_top))
		store_relaxed(&shard_top, (uint32_t)shard + 1);
	t->tails = (struct ledger_tail *)(g.ledger + g.hdr->section[LEDGER_TAILS].offset) +
	           (uint64_t)shard * g.max_sites;
	t->classes = (struct ledger_class *)(g.ledger + g.hdr->section[LEDGER_CLASSES].offset) +
	             (uint64_t)shard * LEDGER_SIZE_CLASSES;
	t->ready = shard_ready[shard];
	t->index = ledger_index(tid);
	t->now_batch = 1;
	if (!ledger_ensure(t->classes, LEDGER_SIZE_CLASSES * sizeof(struct ledger_class)) ||
	    !counters_ready(t, 0)) {
		t_self = &thread_off;
		return false;
	}
	sampler_seed(t);
	t->state = T_REAL;
	t_self = t;
	thread_tick(t);
	if (t->index < LEDGER_THREAD_OTHER && !g.threads[t->index].born)
		g.threads[t->index].born = t->now;
	t->inactive = dropin.threads_inactive;
	thread_settings(t);
	t->state = T_READY;
	if (!late && have_key) {
		pthreads.setspecific(key, t); /* may allocate: an event */
	} else if (late && lock_take(&threads_lock)) {
		t->next = late_threads;
		late_threads = t;
		lock_give(&threads_lock);
	}
	return true;
}

bool counters_ready(struct thread *t, uint32_t site)
{
	uint32_t chunk = site >> READY_SHIFT;
	uint64_t first = (uint64_t)chunk << READY_SHIFT;

	if (!ledger_ensure(&t->counters[first], sizeof(struct ledger_counters) << READY_SHIFT) ||
	    !ledger_ensure(&t->tails[first], sizeof(struct ledger_tail) << READY_SHIFT))
		return false;
	store_release(&t->ready[chunk], (uint8_t)1);
	return true;
}

uint32_t shards_used(void)
{
	return load_relaxed(&shard_top);
}

bool shard_has(uint32_t shard, uint32_t site)
{
	return load_acquire(&shard_ready[shard][site >> READY_SHIFT]);
}

/* ---- settings and time -------------------------------------------------------------------------- */

/* The period's entry in the header's list, or 0. */
static uint32_t period_known(uint64_t period)
{
	const struct ledger_header *h = g.hdr;
	uint64_t n = load_acquire(&h->nperiods);

	for (uint64_t i = 1; i < n && i < LEDGER_MAX_PERIODS; i++)
		if (h->periods[i] == period)
			return (uint32_t)i;
	return 0;
}

/* The shortest period of the list that is not shorter than this one, else the longest. */
static uint32_t period_nearest(uint64_t period)
{
	const struct ledger_header *h = g.hdr;
	uint64_t n = load_acquire(&h->nperiods);
	uint32_t best = 1;

	for (uint32_t i = 2; i < n && i < LEDGER_MAX_PERIODS; i++) {
		uint64_t p = h->periods[i], b = h->periods[best];

		if (b < period ? p > b : p >= period && p < b)
			best = i;
	}
	return best;
}

/*
 * Index of a period in the header's list.  When the list is full, or its lock not to be had, of the nearest that is
 * in it: recording every block instead is what nobody wanted who asked for samples.
 */
static uint32_t period_index(uint64_t period)
{
	struct ledger_header *h = g.hdr;
	uint32_t index = period_known(period);

	if (index)
		return index;
	if (!lock_take(&threads_lock))
		return period_nearest(period);
	index = period_known(period);
	if (!index && h->nperiods < LEDGER_MAX_PERIODS) {
		index = (uint32_t)h->nperiods;
		h->periods[index] = period;
		store_release(&h->nperiods, (uint64_t)index + 1);
	}
	lock_give(&threads_lock);
	return index ? index : period_nearest(period);
}

void thread_settings(struct thread *t)
{
	struct ledger_control *c = &g.hdr->control;
	uint32_t generation = load_acquire(&c->generation);
	uint64_t period = load_relaxed(&c->period);

	t->control_seen = generation;
	t->period = period ? period : 1;
	t->period_index = 0;
	if (!load_relaxed(&c->active) || t->inactive) {
		t->mode = M_OFF;
		t->countdown = COUNTDOWN_OFF;
		store_relaxed(&g.exact, false);
		__atomic_fetch_or(&g.hdr->flags, LEDGER_F_ATTACHED, __ATOMIC_RELAXED);
	} else if (load_relaxed(&c->mode) == LEDGER_SAMPLED && period > 1) {
		t->period_index = period_index(period);
		t->period = g.hdr->periods[t->period_index];
		t->mode = M_SAMPLED;
		t->countdown = sampler_draw(t, t->period);
		store_relaxed(&g.exact, false);
	} else {
		t->mode = M_FULL;
		t->countdown = COUNTDOWN_FULL;
		filter_all(); /* for good: what is recorded from here on has no byte in the filter */
	}
	t->head = LEDGER_BLOCK_VALID | (uint64_t)t->period_index << 12 | (uint64_t)t->index << 18 |
	          (uint64_t)t->now << 32;
	if (t->mode != M_OFF)
		store_relaxed(&g.hdr->mode, t->mode == M_SAMPLED ? LEDGER_SAMPLED : LEDGER_FULL);
	if (t->index && t->index != LEDGER_THREAD_OTHER)
		store_relaxed(&g.threads[t->index].control, generation);
	store_release(&c->taken, generation);
}

uint32_t thread_tick(struct thread *t)
{
	struct timespec ts = { 0, 0 };
	uint64_t ns;
	uint32_t now, elapsed;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	ns = ns > g.mono_base ? ns - g.mono_base : 0;
	now = (uint32_t)(ns >> LEDGER_TICK_SHIFT);
	elapsed = now - t->now;
	/*
	 * A busy thread need not look at the clock at every event; a slow one must, or its
	 * blocks would be born in the past.
	 */
	if (elapsed > 1)
		t->now_batch = 1;
	else if (!elapsed && t->now_batch < MAX_BATCH)
		t->now_batch *= 2;
	t->now_left = t->now_batch - 1;
	t->now = now;
	t->head = LEDGER_BLOCK_VALID | (uint64_t)t->period_index << 12 | (uint64_t)t->index << 18 |
	          (uint64_t)now << 32;
	totals_tick(t, ns);
	attach_tick(g.mono_base + ns);
	return now;
}

/* ---- stacks ------------------------------------------------------------------------------------------ */

#ifndef PROCMAP_QUERY
/* Linux 6.11, include/uapi/linux/fs.h */
struct procmap_query {
	uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size,
		vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)
#endif
#define VMA_WRITABLE 2

static const char *parse_hex(const char *p, const char *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (; p < end; p++) {
		if (*p >= '0' && *p <= '9')
			v = v << 4 | (uint64_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			v = v << 4 | (uint64_t)(*p - 'a' + 10);
		else
			break;
	}
	*ret = v;
	return p;
}

/* Older kernels: read the text up to the line that holds the address. */
static bool mapping_by_text(int fd, uint64_t address, uint64_t *ret_lo, uint64_t *ret_hi)
{
	char buf[1024];
	size_t have = 0;

	for (;;) {
		long r = sys_read(fd, buf + have, sizeof(buf) - have);
		char *p = buf, *end;

		if (r <= 0)
			return false;
		end = buf + have + r;
		for (;;) {
			char *nl = memchr(p, '\n', (size_t)(end - p));
			uint64_t lo, hi;
			const char *q;

			/* A long path may not fit: what counts stands at the line's beginning. */
			if (!nl && end - p < 64)
				break;
			q = parse_hex(p, end, &lo);
			if (q < end && *q == '-') {
				q = parse_hex(q + 1, end, &hi);
				if (address >= lo && address < hi && q + 2 < end) {
					*ret_lo = lo;
					*ret_hi = hi;
					return q[2] == 'w';
				}
			}
			if (!nl) {
				/* Skip the rest of this line. */
				p = end;
				break;
			}
			p = nl + 1;
		}
		have = (size_t)(end - p);
		memmove(buf, p, have);
	}
}

bool mapping_of(uint64_t address, uint64_t *ret_lo, uint64_t *ret_hi)
{
	struct procmap_query q;
	long fd = sys_open("/proc/self/maps", O_RDONLY, 0), r;
	bool ok;

	if (sys_failed(fd))
		return false;
	memset(&q, 0, sizeof(q));
	q.size = sizeof(q);
	q.query_addr = address;
	r = sys_ioctl((int)fd, PROCMAP_QUERY, &q);
	if (!r) {
		*ret_lo = q.vma_start;
		*ret_hi = q.vma_end;
		ok = (q.vma_flags & VMA_WRITABLE) != 0;
	} else {
		ok = r != -ENOENT && mapping_by_text((int)fd, address, ret_lo, ret_hi);
	}
	sys_close((int)fd);
	return ok;
}

/* The thread's control block sits at the top of its stack, unless it is the main thread. */
#ifdef __GLIBC__
extern void *__libc_stack_end;
#define main_stack() ((uint64_t)__libc_stack_end)
#else
#define main_stack() getauxval(AT_RANDOM) /* bytes that the kernel put there, too */
#endif

static uint64_t thread_pointer(void)
{
	uint64_t tp;

	__asm__("movq %%fs:0, %0" : "=r"(tp));
	return tp;
}

bool stack_switch(struct thread *t, uint64_t sp)
{
	uint64_t lo, hi, tp = thread_pointer();
	struct stack_range *r =
		&t->foreign[(sp >> 14) & (sizeof(t->foreign) / sizeof(t->foreign[0]) - 1)];
	uint32_t epoch = load_relaxed(&g.unmap_epoch);

	if (sp >= t->own_lo && sp < t->own_hi) {
		t->stack_lo = t->own_lo;
		t->stack_hi = t->own_hi;
		return true;
	}
	if (r->epoch == epoch && sp >= r->lo && sp < r->hi) {
		t->stack_lo = r->lo;
		t->stack_hi = r->hi;
		return true;
	}
	if (!mapping_of(sp, &lo, &hi))
		return false;
	if (tp > sp && tp < hi)
		hi = tp & ~15ull;
	if ((tp & ~15ull) == hi || (main_stack() >= lo && main_stack() < hi && t->tid == g.pid)) {
		/* The thread's own; it may have grown downwards since the last time. */
		t->own_lo = lo;
		t->own_hi = hi;
	} else {
		*r = (struct stack_range){ lo, hi, epoch };
		if (!g.foreign_lo || lo < g.foreign_lo)
			g.foreign_lo = lo;
		if (hi > g.foreign_hi)
			g.foreign_hi = hi;
	}
	t->stack_lo = lo;
	t->stack_hi = hi;
	return true;
}
