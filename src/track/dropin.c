/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stand-ins for other profilers share: settings from the environment, one lock, and when to look whether a
 * profile is due (dropin.h).
 *
 * Bytes allocated are counted without an instruction more for the events: when every block is recorded, a thread's
 * countdown has gone down by just what it allocated since the last look.
 */
#include "track/dropin.h"

#include <string.h>
#include <time.h>

#include "track/event.h"

#define CLOSE_BY (32ull << 20) /* this near to a threshold every event looks */

static struct lock lock, look_lock;
static uint64_t watched; /* bytes allocated, as far as looks have seen */

/* ---- the lock ----------------------------------------------------------------------------- */

/* Signals wait meanwhile: their handlers may ask for a profile too. */
static void block_signals(uint64_t *ret_old)
{
	uint64_t all = ~0ull;

	sys6(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, (long)&all, (long)ret_old, sizeof(all), 0, 0);
}

static void restore_signals(uint64_t old)
{
	sys6(SYS_rt_sigprocmask, 2, (long)&old, 0, sizeof(old), 0, 0);
}

bool dropin_enter(uint64_t *ret_mask)
{
	block_signals(ret_mask);
	if (lock_take(&lock))
		return true;
	restore_signals(*ret_mask);
	return false;
}

bool dropin_try(uint64_t *ret_mask)
{
	block_signals(ret_mask);
	if (!__atomic_exchange_n(&lock.word, 1, __ATOMIC_ACQUIRE))
		return true;
	restore_signals(*ret_mask);
	return false;
}

void dropin_leave(uint64_t mask)
{
	lock_give(&lock);
	restore_signals(mask);
}

/* ---- the environment ------------------------------------------------------------------------ */

enum {
	V_HEAPPROFILE,
	V_SIGNAL,
	V_ALLOC,
	V_FREE,
	V_INUSE,
	V_TIME,
	V_MMAP,
	V_ONLY_MMAP,
	V_CLEANUP,
	V_SAMPLE,
	V_VERBOSE,
	V_MALLOC_CONF,
	NVARS
};

/* As gperftools reads them: what begins like yes. */
static bool truth(const struct variable *v, bool otherwise)
{
	return v->set ? memchr("tTyY1", v->value[0], 5) != NULL : otherwise;
}

static void read_gperftools(struct variable *v)
{
	uint64_t n;

	dropin_number(v[V_ALLOC].value, &dropin.alloc_interval);
	dropin_number(v[V_FREE].value, &dropin.free_interval);
	dropin_number(v[V_INUSE].value, &dropin.inuse_interval);
	dropin_number(v[V_TIME].value, &dropin.time_interval);
	dropin_number(v[V_SAMPLE].value, &dropin.sample_parameter);
	if (dropin_number(v[V_SIGNAL].value, &n) && n > 0 && n < 65)
		dropin.signal = (int)n;
	dropin.mmap = truth(&v[V_MMAP], false);
	dropin.only_mmap = truth(&v[V_ONLY_MMAP], false);
	dropin.cleanup = truth(&v[V_CLEANUP], true);
	dropin.quiet = v[V_VERBOSE].value[0] == '-';
}

/* The real user is not the effective one: nothing is to be written where the environment says. */
static bool set_uid(void)
{
	return sys6(SYS_getuid, 0, 0, 0, 0, 0, 0) != sys6(SYS_geteuid, 0, 0, 0, 0, 0, 0);
}

/* What seep itself was asked for counts more than what another profiler's variables say. */
static void choose_mode(bool asked)
{
	uint64_t period = 0;

	/* Where there is a jemalloc, it is it that is meant, if it can profile. */
	if (dropin.prof && !real.mallctl) {
		period = 1ull << dropin.lg_sample;
		if (!asked) {
			opt.active &= dropin.prof_active;
			dropin.threads_inactive = !dropin.prof_thread_active_init;
		}
	}
	if (dropin.sample_parameter)
		period = dropin.sample_parameter;
	if (opt.mode_set || !period)
		return;
	opt.period = period;
	opt.sampled = period > 1;
}

void dropin_options(bool asked)
{
	static char profile[DROPIN_PATH], conf[DROPIN_PATH], small[NVARS][24];
	static const char *const names[NVARS] = {
		[V_HEAPPROFILE] = "HEAPPROFILE",
		[V_SIGNAL] = "HEAPPROFILESIGNAL",
		[V_ALLOC] = "HEAP_PROFILE_ALLOCATION_INTERVAL",
		[V_FREE] = "HEAP_PROFILE_DEALLOCATION_INTERVAL",
		[V_INUSE] = "HEAP_PROFILE_INUSE_INTERVAL",
		[V_TIME] = "HEAP_PROFILE_TIME_INTERVAL",
		[V_MMAP] = "HEAP_PROFILE_MMAP",
		[V_ONLY_MMAP] = "HEAP_PROFILE_ONLY_MMAP",
		[V_CLEANUP] = "HEAP_PROFILE_CLEANUP",
		[V_SAMPLE] = "TCMALLOC_SAMPLE_PARAMETER",
		[V_VERBOSE] = "PERFTOOLS_VERBOSE",
		[V_MALLOC_CONF] = "MALLOC_CONF",
	};
	struct variable v[NVARS];

	for (int i = 0; i < NVARS; i++)
		v[i] = (struct variable){ names[i], small[i], sizeof(small[i]), false };
	v[V_HEAPPROFILE].value = profile;
	v[V_HEAPPROFILE].size = sizeof(profile);
	v[V_MALLOC_CONF].value = conf;
	v[V_MALLOC_CONF].size = sizeof(conf);
	environ_read(v, NVARS);
	if (set_uid())
		return;
	read_gperftools(v);
	gperftools_options(profile);
	jemalloc_options(conf);
	choose_mode(asked);
	dropin.transient = !asked &&
	                   (dropin.heapprofile[0] || dropin.prof || dropin.sample_parameter);
}

/* ---- the tracker -------------------------------------------------------------------------------- */

bool dropin_working(void)
{
	if (!tracker_resolved())
		tracker_begin();
	/* In a child of vfork all memory is its parent's, and so would be the profile. */
	if (g.ready && !forked_child() && sys_getpid() != g.pid)
		return false;
	if (t_self->state == T_COLD)
		thread_begin();
	return g.ready && !forked_child();
}

bool dropin_is_active(void)
{
	return load_relaxed(&g.hdr->control.active) != 0;
}

static void settings_changed(void)
{
	struct thread *t = t_self;

	__atomic_add_fetch(&g.hdr->control.generation, 1, __ATOMIC_RELEASE);
	if (t->state == T_READY) {
		store_relaxed(&t->state, (uint32_t)T_TRACKER);
		thread_settings(t);
		store_release(&t->state, (uint32_t)T_READY);
	}
}

void dropin_active(bool on)
{
	if (dropin_is_active() == on)
		return;
	store_relaxed(&g.hdr->control.active, (uint32_t)on);
	settings_changed();
}

void dropin_period(uint64_t bytes)
{
	struct ledger_control *c = &g.hdr->control;

	store_relaxed(&c->period, bytes);
	store_relaxed(&c->mode, (uint32_t)(bytes > 1 ? LEDGER_SAMPLED : LEDGER_FULL));
	settings_changed();
}

void dropin_thread_active(bool on)
{
	struct thread *t = t_self;

	if (t->state != T_READY || t->inactive == !on)
		return;
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	t->inactive = !on;
	thread_settings(t);
	store_release(&t->state, (uint32_t)T_READY);
}

uint64_t dropin_allocated(void)
{
	const struct ledger_class *base =
		(const void *)(g.ledger + g.hdr->section[LEDGER_CLASSES].offset);
	uint64_t bytes = 0;

	for (uint32_t s = 0; s < shards_used(); s++) {
		if (!shard_has(s, 0))
			continue;
		for (uint32_t i = 0; i < LEDGER_SIZE_CLASSES; i++)
			bytes += load_relaxed(&base[s * LEDGER_SIZE_CLASSES + i].alloc_bytes);
	}
	return bytes;
}

uint64_t dropin_now_ns(void)
{
	struct timespec ts = { 0, 0 };
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	return ns > g.mono_base ? ns - g.mono_base : 0;
}

/* ---- looking --------------------------------------------------------------------------------------- */

static uint64_t allocated_by_now(struct thread *t)
{
	int64_t since = t->watched - t->countdown;

	if (t->mode != M_FULL)
		return dropin_allocated();
	t->watched = t->countdown;
	/* The first look of a thread, or the countdown began anew in between. */
	if (since <= 0 || since >= (int64_t)1 << 50)
		return load_relaxed(&watched);
	return __atomic_add_fetch(&watched, (uint64_t)since, __ATOMIC_RELAXED);
}

COLD void dropin_look(struct thread *t, uint64_t ns)
{
	uint64_t allocated, in_use, left;
	int64_t sum = load_relaxed(&g.inuse);

	if (t->quiet || !g.ready)
		return;
	allocated = allocated_by_now(t);
	in_use = sum > 0 ? (uint64_t)sum : 0;
	if (__atomic_exchange_n(&look_lock.word, 1, __ATOMIC_ACQUIRE))
		return;
	left = gperftools_look(allocated, in_use, ns);
	if (left > CLOSE_BY) {
		uint64_t other = jemalloc_look(allocated, in_use);

		left = other < left ? other : left;
	} else {
		jemalloc_look(allocated, in_use);
	}
	lock_give(&look_lock);
	if (left < CLOSE_BY)
		t->now_left = 0;
}

void dropin_arm(void)
{
	bool on = gperftools_armed() || jemalloc_armed();

	if (on && !g.watch)
		store_relaxed(&watched, dropin_allocated());
	store_relaxed(&g.watch, on);
	store_relaxed(&g.next_point_ns, on ? 0 : load_relaxed(&g.point_due_ns));
}

uint64_t dropin_watched(void)
{
	return t_self->mode == M_FULL && g.watch ? load_relaxed(&watched) : dropin_allocated();
}

/* ---- beginning and end ------------------------------------------------------------------------------- */

void dropin_start(void)
{
	jemalloc_start();
	gperftools_start();
	dropin_arm();
}

void dropin_end(void)
{
	if (!g.ready || forked_child() || sys_getpid() != g.pid)
		return;
	jemalloc_end();
	gperftools_end();
	dropin_gone();
}

void dropin_gone(void)
{
	char *slash;

	if (!dropin.transient || !g.ready || forked_child() || sys_getpid() != g.pid)
		return;
	sys_unlink(g.ledger_path);
	/* The folder too, when no other ledger is in it. */
	slash = strrchr(opt.dir, '/');
	if (slash && !strncmp(opt.dir, "/dev/shm/seep-", 14))
		sys6(SYS_rmdir, (long)opt.dir, 0, 0, 0, 0, 0);
}

void dropin_forked(void)
{
	lock.word = look_lock.word = 0;
	store_relaxed(&watched, 0ull);
	gperftools_forked();
	jemalloc_forked();
	dropin_arm();
}
