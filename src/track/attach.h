/* SPDX-License-Identifier: Apache-2.0 */
/* Being attached to a program that already runs: attach.c explains it. */
#ifndef SEEP_TRACK_ATTACH_H
#define SEEP_TRACK_ATTACH_H

#include "track/track.h"

/* This library came by dlopen() into a program that was started without it. */
bool attach_loaded_late(void);
extern struct attach_status seep_attach_status; /* wire/attach.h */
/* On a slow event: modules that were loaded meanwhile. */
void attach_tick(uint64_t now_ns);
/* After dlclose(). */
void attach_module_closed(void);

/* init.c */
void tracker_resolve_late(void);
int tracker_begin_late(bool multi); /* 0, or enum attach_refusal */
bool tracker_end(void);             /* false: a thread is still inside; nothing was unmapped */

/* real.c */
void real_resolve_late(void);
void real_detach_self(void);

/* thread.c: all threads' states, of a tracker that is sent away or comes back. */
bool threads_leave(void);
void threads_return(void);

/* ledger_file.c */
/* The next ledger is this file, of a process that its readers know by these numbers. */
void ledger_adopt(int fd, const char *path, int pid, unsigned int uid);
void ledger_let_go(void); /* nothing is written to it any more */
uint64_t ledger_clock_ns(void);

#endif
