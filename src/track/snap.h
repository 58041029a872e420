/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that the target asks for: by a call, or by a signal somebody sends it (snap.c).
 */
#ifndef SEEP_TRACK_SNAP_H
#define SEEP_TRACK_SNAP_H

#include "track/track.h"

/* Asks the seep that watches and waits for its answer.  0: written; -1: nobody did. */
int snap_ask(const char *name);

/* From our constructor: the handler of SEEP_OPTIONS signal=, unless the program inherited another disposition. */
void snap_at_start(void);

/* In a forked child that has its own ledger: requests that came before it had. */
void snap_forked(void);

#endif
