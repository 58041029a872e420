/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tracker for a program that already runs.
 *
 * The library was loaded by dlopen(), so nobody calls its hooks until patch.c has put them into the modules'
 * slots.  Otherwise it is the tracker it always is, with three differences: it begins when it is told to
 * (attach_entry()), what it does not know when it is freed was there before, and it can be sent away
 * again: every slot is put back, and once no thread is inside any more the ledger is let go of.
 *
 * Sent away is not gone.  A thread may have loaded a hook's address into a register just before its slot was
 * restored, and a program may have stored the address of `free` somewhere of its own.  So the library stays, and its
 * hooks pass everything through; and where the ledger was there is memory of the same size, all zeros, in which
 * a thread that comes late finds nothing and breaks nothing.  The next ledger is mapped at the same place.
 *
 * Entered on a thread that was made for it, or on a thread of the program that seep has borrowed while it
 * waited in a system call (src/proc/borrow.h).  It runs on memory seep has mapped.
 */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "track/attach.h"
#include "track/patch.h"
#include "wire/attach.h"

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

EXPORT struct attach_status seep_attach_status = { .version = ATTACH_VERSION };

#define GRACE 2000000000ull /* whoever detaches comes first */

struct late_real late_real;

static struct thread thread_ours = { .countdown = INT64_MAX / 2, .state = T_DEAD, .mode = M_OFF };
static uint32_t busy;
static uint32_t modules_pending; /* a dlopen() that could not be waited for, or is not done */
static uint64_t retry_ns;        /* when to look again */
static uint64_t loading_ns;      /* until when such a dlopen() may still be at it */
#define RETRY_NS 10000000u
#define LOADING_NS 10000000000ull
static uint64_t stop_ns; /* CLOCK_MONOTONIC; 0: never */

/* ---- loaded late, or from the start? ----------------------------------------------------- */

bool attach_loaded_late(void)
{
	/* In a program that was started with the library, it stands in front of the C library. */
	return symbol_before_us("__libc_start_main");
}

/* ---- dlopen, dlsym -------------------------------------------------------------------------- */

struct caller {
	uint64_t pc;
	bool found, runpath, rpath;
};

static int look_at_caller(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct caller *c = arg;
	const ElfW(Dyn) *d = NULL;
	bool here = false;

	(void)size;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && c->pc - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
			here = true;
		else if (ph->p_type == PT_DYNAMIC)
			d = (const void *)(info->dlpi_addr + ph->p_vaddr);
	}
	if (!here)
		return 0;
	c->found = true;
	for (; d && d->d_tag != DT_NULL; d++) {
		c->runpath |= d->d_tag == DT_RUNPATH;
		c->rpath |= d->d_tag == DT_RPATH;
	}
	return 1;
}

/*
 * dlopen() looks at its return address: the caller's search path and namespace count.  Where they do not matter we
 * call it and look at the new modules afterwards.  Where they do it is jumped to, so that it sees its
 * caller, and nobody says when it is done: for a while the loader is asked, with slow events and with the dlsym() that mostly
 * comes next, whether it has loaded something.
 */
static bool caller_matters(const char *file, uint64_t pc)
{
	struct caller c = { .pc = pc };

	dl_iterate_phdr(look_at_caller, &c);
	return !c.found || c.rpath || strchr(file, '$') || (c.runpath && !strchr(file, '/'));
}

/* Modules that another thread is loading just now are looked at with a later event. */
static void look_at_modules(bool again)
{
	patch_all(again);
	if (!patch_unready())
		return;
	store_relaxed(&retry_ns, ledger_clock_ns() + RETRY_NS);
	store_release(&modules_pending, 1u);
}

void *late_dlopen(const char *file, int mode)
{
	void *h;

	if (!file || !g.ready || forked_child())
		return late_real.dlopen(file, mode);
	if (caller_matters(file, (uint64_t)__builtin_return_address(0))) {
		store_relaxed(&loading_ns, ledger_clock_ns() + LOADING_NS);
		store_relaxed(&retry_ns, (uint64_t)0);
		store_release(&modules_pending, 1u);
		return late_real.dlopen(file, mode);
	}
	h = late_real.dlopen(file, mode);
	if (h && g.ready)
		look_at_modules(false);
	return h;
}

/*
 * Whoever was to detach when the time is over may have been killed: then at least nothing is recorded
 * any more.
 */
static COLD void time_over(void)
{
	struct ledger_control *c = &g.hdr->control;

	stop_ns = 0;
	store_relaxed(&c->active, 0u);
	__atomic_fetch_add(&c->generation, 1, __ATOMIC_RELEASE);
}

void attach_tick(uint64_t now_ns)
{
	uint32_t one = 1;

	if (UNLIKELY(load_relaxed(&stop_ns)) && now_ns > stop_ns + GRACE)
		time_over();

	if (UNLIKELY(load_relaxed(&modules_pending)) && now_ns >= load_relaxed(&retry_ns) &&
	    __atomic_compare_exchange_n(&modules_pending, &one, 0, false, __ATOMIC_ACQUIRE,
	                                __ATOMIC_RELAXED)) {
		if (patch_stale())
			look_at_modules(false);
		if (now_ns < load_relaxed(&loading_ns)) {
			store_relaxed(&retry_ns, now_ns + RETRY_NS);
			store_release(&modules_pending, 1u);
		}
	}
}

void attach_module_closed(void)
{
	if (patch_active())
		patch_prune();
}

/* Names that are ours are the same for every caller, but for RTLD_NEXT, which is for those who wrap them. */
void *late_dlsym(void *handle, const char *name)
{
	/* Who loaded something asks for a function of it next, and calls that before there is another event. */
	if (g.ready && !forked_child() && patch_stale())
		look_at_modules(false);
	if (handle == (void *)-1l || !name || !patch_knows(name) || !g.ready)
		return late_real.dlsym(handle, name);
	return patch_hook_of(name, late_real.dlsym(handle, name));
}

/* ---- beginning and end ------------------------------------------------------------------------ */

static int resolve_all(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)info;
	(void)size;
	(void)unused;
	late_real.dlopen = (__typeof__(late_real.dlopen))symbol_anywhere("dlopen");
	late_real.dlsym = (__typeof__(late_real.dlsym))symbol_anywhere("dlsym");
	tracker_resolve_late();
	return 1; /* once is enough */
}

/*
 * Names that no module has are looked for in all of them, also in those that another thread unloads just then.  In the callback
 * the loader's lock is held, and what is on its list stays mapped.
 */
static void resolve(void)
{
	if (!tracker_resolved())
		dl_iterate_phdr(resolve_all, NULL);
}

static bool one_thread(void)
{
	struct stat st;

	/* ".", ".." and one for each thread */
	return !sys_failed(sys_stat_nofollow("/proc/self/task", &st)) && st.st_nlink == 3;
}

static int begin(struct attach_request *rq)
{
	struct patch_sums sums;
	int why;

	rq->options[sizeof(rq->options) - 1] = '\0';
	rq->ledger_path[sizeof(rq->ledger_path) - 1] = '\0';
	resolve();
	options_reset();
	options_parse(rq->options);
	opt.check = 0;
	opt.minimal = false;
	opt.only = sys_getpid(); /* forked children were not asked for */
	if (rq->ledger_fd >= 0) {
		ledger_adopt(rq->ledger_fd, rq->ledger_path, rq->pid, rq->uid);
		rq->ledger_fd = -1; /* its to close */
	}
	if (rq->library_fd >= 0) {
		module_name_self(rq->library);
		sys_close(rq->library_fd);
		rq->library_fd = -1;
	}
	why = tracker_begin_late(!one_thread());
	if (why)
		return why;
	look_at_modules(true);
	/* Whoever was binding a slot lazily just then is done by now, or is met the second time. */
	sys_yield();
	look_at_modules(true);
	patch_count(&sums);
	stop_ns = rq->for_ns ? ledger_clock_ns() + rq->for_ns : 0;
	rq->slots = seep_attach_status.slots = sums.slots;
	rq->modules = sums.modules;
	memcpy(rq->ledger, g.ledger_path, sizeof(rq->ledger));
	seep_attach_status.pid = sys_getpid();
	seep_attach_status.attached++;
	return 0;
}

static int end(struct attach_request *rq)
{
	struct patch_sums sums;

	patch_restore(&sums);
	rq->slots = sums.slots;
	rq->kept = sums.kept;
	rq->modules = sums.modules;
	memcpy(rq->ledger, g.ledger_path, sizeof(rq->ledger));
	seep_attach_status.slots = 0;
	seep_attach_status.detached++;
	return tracker_end() ? 0 : REFUSED_STUCK;
}

static int obey(struct attach_request *rq)
{
	struct attach_status *st = &seep_attach_status;
	uint32_t free = 0, mode;
	int r;

	if (rq->version != ATTACH_VERSION)
		return REFUSED_VERSION;
	if (rq->deadline_mono_ns < ledger_clock_ns())
		return REFUSED_LATE;
	if (!__atomic_compare_exchange_n(&busy, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return REFUSED_BUSY;
	/* A forked child has its parent's status, and none of its ledger. */
	mode = st->pid && st->pid != sys_getpid() ? ATTACH_MODE_IDLE : st->mode;
	if (!attach_loaded_late())
		r = REFUSED_TRACKED;
	else if (rq->order == ATTACH_BEGIN)
		r = mode == ATTACH_MODE_ATTACHED ? REFUSED_TRACKED : begin(rq);
	else
		r = mode == ATTACH_MODE_ATTACHED ? end(rq) : REFUSED_NOT_HERE;
	if (r == 0 || r == REFUSED_STUCK)
		store_release(&st->mode, rq->order == ATTACH_BEGIN ? (uint32_t)ATTACH_MODE_ATTACHED
		                                                   : (uint32_t)ATTACH_MODE_IDLE);
	store_release(&busy, 0u);
	return r;
}

EXPORT void *seep_attach_entry(struct attach_request *rq)
{
	int r;

	store_release(&rq->state, (uint32_t)ATTACH_ENTERED);
	if (rq->own_thread) {
		/* It is no thread of the program's: what it does when it ends is nobody's business. */
		t_self = &thread_ours;
		real_detach_self();
	}
	r = obey(rq);
	rq->error = r;
	store_release(&rq->state, r ? (uint32_t)ATTACH_REFUSED : (uint32_t)ATTACH_DONE);
	return NULL;
}
