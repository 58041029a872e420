/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings, threads, dlclose.
 *
 * mmap is only an event when the program itself asks for writable anonymous memory: an allocator's
 * own mappings arrive while the thread is not T_READY, or from the allocator's own code.  A thread's stack is a block of its own kind: it
 * belongs to the stack of calls that created the thread, and lives until the thread is joined, or
 * ends detached; a thread that is never joined therefore shows as what it is, a leak.
 */
/* Both mmap and mmap64 are defined here, so the first must not be renamed to the second. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <string.h>

#include "track/attach.h"
#include "track/hooks.h"

/* ---- mappings ------------------------------------------------------------------------------ */

static void *raw_mmap(void *a, size_t n, int prot, int flags, int fd, off_t off)
{
	void *p = sys_mmap(a, n, prot, flags, fd, (uint64_t)off);

	if (sys_failed((long)p)) {
		errno = (int)-(long)p;
		return MAP_FAILED;
	}
	return p;
}

static bool counts(size_t n, int prot, int flags)
{
	return (flags & MAP_ANONYMOUS) && (prot & PROT_WRITE) && n;
}

static NOINLINE void *mmap_event(void *a, size_t n, int prot, int flags, int fd, off_t off)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = UNLIKELY(in_allocator(o.pc)) ? NULL : enter();
	void *p;

	if (t && settings_stale(t))
		catch_up(t);
	if (!t) {
		return real.mmap ? real.mmap(a, n, prot, flags, fd, off)
		                 : raw_mmap(a, n, prot, flags, fd, off);
	}
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if ((flags & MAP_FIXED) && a)
		maps_remove(t, (uint64_t)a, (n + 4095) & ~4095ul);
	store_release(&t->state, (uint32_t)T_REAL);
	p = real.mmap(a, n, prot, flags, fd, off);
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (p != MAP_FAILED && t->mode != M_OFF && counts(n, prot, flags))
		maps_add(t, (uint64_t)p, (n + 4095) & ~4095ul, &o);
	leave(t);
	return p;
}

EXPORT void *mmap(void *a, size_t n, int prot, int flags, int fd, off_t off)
{
	return mmap_event(a, n, prot, flags, fd, off);
}

EXPORT void *mmap64(void *a, size_t n, int prot, int flags, int fd, off_t off)
{
	return mmap_event(a, n, prot, flags, fd, off);
}

EXPORT int munmap(void *a, size_t n)
{
	struct thread *t = enter();
	int r;

	if (!t) {
		long k;

		if (real.munmap)
			return real.munmap(a, n);
		k = sys_munmap(a, n);
		if (k)
			errno = (int)-k;
		return k ? -1 : 0;
	}
	/* An invalid call changes nothing, so it must not change the records either. */
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (!((uint64_t)a & 4095) && n)
		maps_remove(t, (uint64_t)a, (n + 4095) & ~4095ul);
	store_release(&t->state, (uint32_t)T_REAL);
	r = real.munmap(a, n);
	leave(t);
	return r;
}

static NOINLINE void *mremap_event(void *a, size_t n, size_t m, int flags, void *to)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t = UNLIKELY(in_allocator(o.pc)) ? NULL : enter();
	void *p;

	if (!t)
		return real.mremap ? real.mremap(a, n, m, flags, to) : (errno = ENOMEM, MAP_FAILED);
	/*
	 * The call may fail, and then the old mapping stays; so it is made first.  Should another thread map
	 * the address given up in between, its record is the one removed here and made again below.
	 */
	p = real.mremap(a, n, m, flags, to);
	if (p != MAP_FAILED) {
		bool ours;

		store_relaxed(&t->state, (uint32_t)T_TRACKER);
		ours = maps_remove(t, (uint64_t)a, (n + 4095) & ~4095ul) > 0;
		if (flags & MREMAP_FIXED)
			maps_remove(t, (uint64_t)p, (m + 4095) & ~4095ul);
		if (ours)
			maps_add(t, (uint64_t)p, (m + 4095) & ~4095ul, &o);
	}
	leave(t);
	return p;
}

EXPORT void *mremap(void *a, size_t n, size_t m, int flags, ...)
{
	void *to = NULL;

	if (flags & MREMAP_FIXED) {
		va_list ap;

		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	return mremap_event(a, n, m, flags, to);
}

/* ---- threads ----------------------------------------------------------------------------------- */

enum { ENDED = 1, DETACHED = 2 };

struct child {
	void *(*fn)(void *);
	void *arg;
	uint32_t site;
	uint32_t state;
	uint64_t handle; /* pthread_t, once it runs */
	uint64_t stack;  /* its block's address; 0: none */
	struct child *next;
};

#define CHILD_LISTS 256u
static struct child *children[CHILD_LISTS], *spare_children; /* those that run, by their handles */
static struct lock children_lock;
static pthread_key_t child_key;
static bool have_child_key;

/*
 * Only a thread itself can say its handle: what pthread_create() wrote it to may be gone when it returns.  So a thread that is
 * detached at once may be detached before it has arrived in the list.  Such handles wait here, for as long as somebody
 * is on the way.
 */
static uint32_t arriving;
static uint64_t detached_early[64];
static uint32_t ndetached_early;

/*
 * Until the thread runs, its argument may be known to no one but us: what we keep of it lies in memory that a
 * leak check takes for roots, unlike the rest of the tracker's.  Locked.
 */
static struct child *child_cut(void)
{
	enum { BATCH = 1024 };
	static struct child *batch;
	static uint32_t used;

	if (!batch || used == BATCH) {
		batch = mem_map_roots(BATCH * sizeof(*batch));
		used = 0;
	}
	return batch ? &batch[used++] : NULL;
}

static struct child *child_new(void)
{
	struct child *c;

	if (!lock_take(&children_lock))
		return NULL;
	c = spare_children;
	if (c)
		spare_children = c->next;
	else
		c = child_cut();
	arriving += c != NULL;
	lock_give(&children_lock);
	if (c)
		*c = (struct child){ 0 };
	return c;
}

/* It has come, or never will.  Locked. */
static void child_arrived(void)
{
	if (arriving && !--arriving)
		ndetached_early = 0;
}

/* Handles are addresses of control blocks at the ends of stacks, mostly equal in their lower bits. */
static struct child **children_like(uint64_t handle)
{
	return &children[(handle >> 12 ^ handle >> 20) % CHILD_LISTS];
}

/* Unlinks c when it has ended and no one will join it; its stack's record goes.  Locked. */
static void child_settle(struct thread *t, struct child *c)
{
	if ((c->state & (ENDED | DETACHED)) != (ENDED | DETACHED))
		return;
	for (struct child **p = children_like(c->handle); *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	if (c->stack && t)
		event_free_region(t, c->stack, LEDGER_STACK);
	c->next = spare_children;
	spare_children = c;
}

static struct child *child_of(uint64_t handle)
{
	struct child *c = *children_like(handle);

	while (c && c->handle != handle)
		c = c->next;
	return c;
}

static void child_mark(uint64_t handle, struct child *c, uint32_t mark)
{
	struct thread *t = enter();

	if (t)
		store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (lock_take(&children_lock)) {
		if (!c)
			c = child_of(handle);
		if (c) {
			c->state |= mark;
			child_settle(t, c);
		} else if (mark == DETACHED && arriving &&
		           ndetached_early < sizeof(detached_early) / sizeof(detached_early[0])) {
			detached_early[ndetached_early++] = handle;
		}
		lock_give(&children_lock);
	}
	if (t)
		leave(t);
}

/* A thread is there and says its handle.  Locked. */
static void child_add(struct thread *t, struct child *c, uint64_t handle)
{
	struct child *gone = child_of(handle), **list = children_like(handle);

	/* A handle is given again when its thread has ended and nobody will join it, however that came about. */
	if (gone) {
		gone->state |= ENDED | DETACHED;
		child_settle(t, gone);
	}
	for (uint32_t i = 0; i < ndetached_early; i++) {
		if (detached_early[i] == handle) {
			detached_early[i] = detached_early[--ndetached_early];
			c->state |= DETACHED;
			break;
		}
	}
	c->handle = handle;
	c->next = *list;
	*list = c;
}

static void child_ended(void *arg)
{
	if (!forked_child())
		child_mark(0, arg, ENDED);
}

static void *child_main(void *arg)
{
	struct child *c = arg;
	void *(*fn)(void *) = c->fn, *fn_arg = c->arg;
	struct thread *t = enter();
	uint64_t lo, hi;

	c->arg = NULL; /* from here on only the thread itself says what its argument is reachable from */

	if (t)
		store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (lock_take(&children_lock)) {
		if (t)
			child_add(t, c, (uint64_t)pthread_self());
		child_arrived();
		lock_give(&children_lock);
	}
	if (t) {
		if (c->site && mapping_of((uint64_t)__builtin_frame_address(0), &lo, &hi)) {
			c->stack = lo;
			event_site_alloc(t, lo, hi - lo, LEDGER_STACK, c->site);
		}
		leave(t);
		if (have_child_key)
			pthreads.setspecific(child_key, c);
	}
	return fn(fn_arg);
}

static bool own_stack(const pthread_attr_t *attr)
{
	void *addr = NULL;
	size_t size = 0;

	/* When none was set, glibc's address is 0, so its lowest is minus the size. */
	return attr && pthreads.attr_getstack && pthreads.attr_getstack(attr, &addr, &size) == 0 &&
	       (uint64_t)addr + size != 0;
}

static NOINLINE int pthread_create_event(pthread_t *th, const pthread_attr_t *attr,
                                         void *(*fn)(void *), void *arg)
{
	struct origin o = ORIGIN_HERE();
	struct thread *t;
	struct child *c;
	int r, state = PTHREAD_CREATE_JOINABLE;

	if (!REAL(pthread_create))
		return ENOSYS;
	t = enter();
	g.multi = g.careful = true;
	if (g.hdr)
		__atomic_fetch_and(&g.hdr->flags, ~LEDGER_F_SINGLE, __ATOMIC_RELAXED);
	if (!t)
		return real.pthread_create(th, attr, fn, arg);
	if (settings_stale(t))
		catch_up(t);
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (!have_child_key && pthreads_there()) {
		store_release(&t->state, (uint32_t)T_REAL);
		thread_key_init(); /* where it could not be made at the beginning */
		have_child_key = pthreads.key_create(&child_key, child_ended) == 0;
		store_relaxed(&t->state, (uint32_t)T_TRACKER);
	}
	c = child_new();
	if (c) {
		c->fn = fn;
		c->arg = arg;
		if (attr && pthread_attr_getdetachstate(attr, &state) == 0 &&
		    state == PTHREAD_CREATE_DETACHED)
			c->state = DETACHED;
		c->site = t->mode == M_OFF || own_stack(attr) ? 0 : site_here(t, &o, LEDGER_STACK);
	}
	/* The C library allocates the thread's vector of TLS blocks: an event like any other. */
	store_release(&t->state, (uint32_t)T_READY);
	r = c ? real.pthread_create(th, attr, child_main, c)
	      : real.pthread_create(th, attr, fn, arg);
	store_relaxed(&t->state, (uint32_t)T_TRACKER);
	if (c && r && lock_take(&children_lock)) {
		child_arrived();
		c->arg = NULL;
		c->next = spare_children;
		spare_children = c;
		lock_give(&children_lock);
	}
	leave(t);
	return r;
}

EXPORT int pthread_create(pthread_t *th, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return pthread_create_event(th, attr, fn, arg);
}

EXPORT int pthread_join(pthread_t th, void **ret)
{
	int r = REAL(pthread_join) ? real.pthread_join(th, ret) : ENOSYS;

	if (!r)
		child_mark((uint64_t)th, NULL, ENDED | DETACHED);
	return r;
}

/* Variants of join, where the C library has them. */
#define JOIN_HOOK(name, params, args)                                     \
	EXPORT int name params                                            \
	{                                                                 \
		int r = REAL(name) ? real.name args : ENOSYS;             \
                                                                          \
		if (!r)                                                   \
			child_mark((uint64_t)th, NULL, ENDED | DETACHED); \
		return r;                                                 \
	}

JOIN_HOOK(pthread_tryjoin_np, (pthread_t th, void **ret), (th, ret))
JOIN_HOOK(pthread_timedjoin_np, (pthread_t th, void **ret, const struct timespec *until),
          (th, ret, until))
JOIN_HOOK(pthread_clockjoin_np,
          (pthread_t th, void **ret, clockid_t clock, const struct timespec *until),
          (th, ret, clock, until))

EXPORT int pthread_detach(pthread_t th)
{
	int r = REAL(pthread_detach) ? real.pthread_detach(th) : ENOSYS;

	if (!r)
		child_mark((uint64_t)th, NULL, DETACHED);
	return r;
}

void children_forked(void)
{
	memset(children, 0, sizeof(children));
	arriving = ndetached_early = 0;
	children_lock.word = 0;
}

/* ---- modules ----------------------------------------------------------------------------------------- */

EXPORT int dlclose(void *h)
{
	int r = REAL(dlclose) ? real.dlclose(h) : -1;
	struct thread *t = enter();

	if (t) {
		store_relaxed(&t->state, (uint32_t)T_TRACKER);
		modules_changed();
		attach_module_closed();
		leave(t);
	}
	return r;
}
