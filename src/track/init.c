/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When tracking begins and how it goes on in children.
 *
 * The first event sets everything up, whichever comes first: the loader's own allocation before any
 * constructor has run, or this library's constructor.  Meanwhile events (the set-up's own, other
 * threads') pass through to the real functions, or to the bootstrap arena while those are unknown.
 *
 * A forked child gets a ledger of its own at its first event; its parent's stays the parent's.  exec
 * starts from nothing with the environment's options.
 */
#include <string.h>

#include "track/attach.h"
#include "track/check.h"
#include "track/dropin.h"
#include "track/snap.h"
#include "wire/attach.h"

struct tracker g;

enum { INIT_NONE, INIT_BUSY, INIT_DONE };
static uint32_t init_state;
static bool resolved;

bool tracker_resolved(void)
{
	return load_acquire(&resolved);
}

static void read_options(void)
{
	static char value[4096];
	struct variable options = { "SEEP_OPTIONS", value, sizeof(value), false };

	environ_read(&options, 1);
	if (options.set)
		options_parse(value);
	dropin_options(options.set);
}

static bool parts_init(void)
{
	g.mono_base = g.hdr->start_mono_ns;
	totals_forked();
	threads_init();
	modules_init();
	maps_init();
	return site_init() && unwind_init() && live_init();
}

static void give_up(void)
{
	g.dead = true;
	g.ready = false;
	store_release(&control_word, &control_none);
	if (g.hdr)
		store_release(&g.hdr->state, (uint32_t)LEDGER_DISABLED);
	filter_none();
}

bool tracker_begin(void)
{
	uint32_t none = INIT_NONE;

	if (load_acquire(&init_state) != INIT_NONE ||
	    !__atomic_compare_exchange_n(&init_state, &none, INIT_BUSY, false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_RELAXED))
		return load_acquire(&init_state) == INIT_DONE && g.ready;
	real_resolve();
	store_release(&resolved, true);
	read_options();
	if ((opt.only && opt.only != sys_getpid()) || !ledger_create(false)) {
		give_up();
		goto out;
	}
	g.exact = true;
	if (!parts_init()) {
		give_up();
		goto out;
	}
	thread_key_init();
	allocator_note();
	filter_init();
	g.ready = true;
	store_release(&g.hdr->state, (uint32_t)LEDGER_LIVE);
out:
	store_release(&init_state, INIT_DONE);
	return g.ready;
}

void tracker_forked(void)
{
	static struct lock lock;

	/* Only one thread exists right after a fork, but it may make others before its first event. */
	if (!lock_take(&lock))
		return;
	if (forked_child()) {
		void *old = g.ledger;

		/* What threads of the parent held at the fork, no one will give back. */
		mem_forked();
		cfi_forked();
		children_forked();
		uint64_t size = g.ledger_size;

		g.ready = false;
		g.multi = g.suspicious = g.careful = false;
		g.unmap_epoch++;
		/* Without a ledger of its own it must not touch its parent's. */
		if (opt.only || !ledger_create(true)) {
			g.hdr = NULL;
			give_up();
		} else {
			g.exact = true;
			marks_forked(old);
			sys_munmap(old, size);
			modules_forked();
			unwind_forked();
			if (parts_init()) {
				g.ready = true;
				filter_init();
				allocator_note();
				snap_forked();
				store_release(&g.hdr->state, (uint32_t)LEDGER_LIVE);
				dropin_forked();
			} else {
				give_up();
			}
		}
	}
	lock_give(&lock);
}

/* ---- attached to a program that runs: attach.c ------------------------------------------ */

void tracker_resolve_late(void)
{
	real_resolve_late();
	/* From here on nothing begins by itself. */
	store_release(&init_state, INIT_DONE);
	store_release(&resolved, true);
}

int tracker_begin_late(bool multi)
{
	bool forked = forked_child();

	if (forked) { /* a child of a process that was attached to */
		mem_forked();
		cfi_forked();
		children_forked();
		g.ledger = NULL;
	}
	g.ready = g.dead = false;
	g.suspicious = false;
	g.multi = g.careful = multi;
	g.unmap_epoch++;
	if (!ledger_create(false))
		return REFUSED_LEDGER;
	g.exact = false;
	modules_forked();
	unwind_forked();
	if (!parts_init()) {
		store_release(&g.hdr->state, (uint32_t)LEDGER_DISABLED);
		ledger_let_go();
		return REFUSED_MEMORY;
	}
	threads_return();
	thread_key_init();
	allocator_note();
	if (multi)
		g.hdr->flags &= ~LEDGER_F_SINGLE;
	filter_init();
	store_release(&g.ready, true);
	store_release(&g.hdr->state, (uint32_t)LEDGER_LIVE);
	return 0;
}

bool tracker_end(void)
{
	bool left;

	store_release(&g.ready, false);
	filter_none();
	left = threads_leave();
	ledger_finish(LEDGER_DETACHED);
	if (left)
		ledger_let_go();
	return left;
}

static void __attribute__((constructor(101))) library_loaded(void)
{
	if (attach_loaded_late()) {
		store_release(&init_state, INIT_DONE); /* until it is told to */
		return;
	}
	if (!tracker_begin())
		return;
	seep_attach_status.mode = ATTACH_MODE_PRELOADED;
	thread_key_init();
	/* So that even a program that never allocates leaves a ledger with its main thread. */
	if (t_self == &thread_cold)
		thread_begin();
	check_at_start();
	snap_at_start();
	dropin_start();
}

static void __attribute__((destructor(101))) library_unloaded(void)
{
	struct thread *t = t_self;

	if (!g.ready || forked_child() || check_ends_later())
		return;
	if (t->state != T_COLD && t != &thread_off) {
		totals_flush(t);
		totals_unwinds(t);
	}
	dropin_end();
	ledger_finish(LEDGER_EXITED);
}
