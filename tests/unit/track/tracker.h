/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tracker for tests: the real sources of src/track without the hooks and the start-up, over a
 * ledger of its own.  Nothing is intercepted; a test calls the inside.
 *
 *     tracker_up();            a new, empty ledger; this thread has a state (t_self)
 *     ... live_add(), site_intern(), ...
 *     struct profile *p = tracker_read();      what a reader finds in it
 *     tracker_down();          the file goes away
 *
 * A second tracker_up() in one process is what a forked child does: the same code, another ledger.
 */
#ifndef SEEP_TESTS_TRACKER_H
#define SEEP_TESTS_TRACKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "track/live.h"
#include "track/track.h"
#include "track/unwind.h"

#include <cmocka.h>

struct profile;

void tracker_up(void);
void tracker_up_in(const char *dir); /* one that exists or can be made; tracker_down() removes it */
void tracker_down(void);
struct profile *tracker_read(void); /* with blocks; never NULL */
uint64_t tracker_losses(void);      /* the sum of all */

/* For cmocka: up before each test, down after it. */
int tracker_setup(void **state);
int tracker_teardown(void **state);

/* What threads start with and end with: a state of their own. */
void tracker_thread_begin(void);

/* xorshift64*: the same sequence on every machine. */
static inline uint64_t random_next(uint64_t *x)
{
	*x ^= *x >> 12;
	*x ^= *x << 25;
	*x ^= *x >> 27;
	return *x * 0x2545f4914f6cdd1dull;
}

#endif
