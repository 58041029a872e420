/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking for leak checks (check.c).  Nothing here does anything unless SEEP_OPTIONS has check=.
 */
#ifndef SEEP_TRACK_CHECK_H
#define SEEP_TRACK_CHECK_H

#include "track/track.h"
#include "wire/check.h"

/*
 * Parks the calling thread until seep has made the check, or is gone.  `name` (may be NULL) is that
 * of a local check.  True: *ret_reply is seep's CHECK_REPLY_GO.  False: no check was made.
 */
bool check_ask(enum check_request_kind kind, const struct arch_entry *entry, int status,
               const char *name, struct check_reply *ret_reply);

/* The socket of that name in the ledger directory; -1: there is none.  Close it with sys_close(). */
int seep_connect(const char *name);
bool seep_send(int fd, const void *buf, size_t n);
bool seep_receive(int fd, void *buf, size_t n);
void check_bring_up_to_date(void); /* what a reader finds in the ledger should be up to now */

/*
 * Whether this process may ask: checks are wanted, the tracker works, and the process has a ledger of
 * its own, which a forked child is given here.  A child of vfork, which runs on its parent's memory, may not.
 */
bool check_possible(void);

bool check_wants_main(void); /* main must be stood in for */
void check_at_start(void);   /* from our constructor: be there when all others are done */
bool check_ends_later(void); /* our destructor is not the end: the ledger is finished later */
void check_spent(void);      /* no check at exit() or at the end any more */

/* From the entry points of hooks_exit.c. */
struct arch_main check_main_entered(const struct arch_entry *entry);
void check_main_returned(int status, long unused, const struct arch_entry *entry);
void check_exit_entered(int status, const struct arch_entry *entry);
void check_quick_exit_entered(int status, const struct arch_entry *entry);
void check_underscore_exit_entered(int status, const struct arch_entry *entry);
extern int (*check_main)(int, char **, char **); /* the program's */

#endif
