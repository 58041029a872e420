/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracker.h: what init.c and hooks.c do around the rest of the tracker, as far as a test needs it.
 *
 * Those two are left out because their business is to take the process over: a constructor that makes a
 * ledger, and functions named malloc.
 */
#include "tracker.h"
#include "track/attach.h"
#include "track/loader.h"

#include <pthread.h>
#include <unistd.h>

#include "base/error.h"
#include "capture/capture.h"
#include "profile/profile.h"

struct tracker g;

static bool again;

/* ---- what the left-out files define ------------------------------------------------------- */

bool tracker_begin(void)
{
	return g.ready;
}

bool tracker_resolved(void)
{
	return true;
}

void tracker_forked(void) {}

void children_forked(void) {}

/* Every free is looked up. */
void filter_all(void) {}

void filter_none(void) {}

void filter_add(uint64_t addr) {}

void filter_remove(uint64_t addr) {}

bool attach_loaded_late(void)
{
	return false;
}

void attach_tick(uint64_t now_ns) {}

/* ---- up and down --------------------------------------------------------------------------- */

void tracker_up_in(const char *dir)
{
	assert_true(strlen(dir) < sizeof(opt.dir));
	strcpy(opt.dir, dir);
	t_self = &thread_cold;
	g.multi = g.suspicious = g.careful = false;
	assert_true(ledger_create(again));
	if (again) {
		modules_forked();
		unwind_forked();
	}
	g.mono_base = g.hdr->start_mono_ns;
	loader_init();
	assert_true(pthreads_there());
	totals_forked();
	threads_init();
	modules_init();
	maps_init();
	assert_true(site_init() && unwind_init() && live_init());
#ifndef __SANITIZE_THREAD__
	/* Threads end in the last round of destructors, when ThreadSanitizer has already forgotten them. */
	thread_key_init();
#endif
	g.exact = true;
	g.ready = true;
	store_release(&g.hdr->state, (uint32_t)LEDGER_LIVE);
	again = true;
	tracker_thread_begin();
}

void tracker_up(void)
{
	char dir[] = "/dev/shm/seep-test-XXXXXX", elsewhere[] = "/tmp/seep-test-XXXXXX";
	char *made = mkdtemp(dir);

	if (!made)
		made = mkdtemp(elsewhere);
	assert_non_null(made);
	tracker_up_in(made);
}

void tracker_down(void)
{
	char dir[sizeof(g.ledger_path)];

	t_self = &thread_cold;
	g.ready = false;
	control_word = &control_none;
	sys_munmap(g.ledger, g.ledger_size);
	g.ledger = NULL;
	g.hdr = NULL;
	assert_int_equal(unlink(g.ledger_path), 0);
	strcpy(dir, g.ledger_path);
	*strrchr(dir, '/') = '\0';
	assert_int_equal(rmdir(dir), 0);
	opt.dir[0] = '\0';
}

int tracker_setup(void **state)
{
	(void)state;
	tracker_up();
	return 0;
}

int tracker_teardown(void **state)
{
	(void)state;
	tracker_down();
	return 0;
}

void tracker_thread_begin(void)
{
	assert_true(thread_begin());
	assert_int_equal(t_self->state, T_READY);
}

struct profile *tracker_read(void)
{
	struct read_options opts = { .blocks = true };
	struct profile *p = NULL;
	struct seep_error *err = ledger_read(g.ledger_path, &opts, &p);

	if (err)
		fail_msg("%s", err->message);
	assert_null(profile_check(p));
	return p;
}

uint64_t tracker_losses(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < LOSS_NLOSSES; i++)
		sum += g.hdr->losses[i];
	return sum;
}
