/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events: who listens, and what they are still to be sent.
 *
 * A listener is told only of what happens after it came.  What it does not take in time is bounded: who falls too far behind
 * is cut off, and a browser then connects again and fetches what it shows anew.
 */
#ifndef SEEP_SERVER_EVENTS_H
#define SEEP_SERVER_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct events;
struct listener;

#define EVENTS_LISTENERS 64

struct events *events_new(void);
void events_free(struct events *e); /* after all listeners are gone */

/* `wake` is called, under a lock of the hub's, when there is something to take after there was nothing.  NULL: too many. */
struct listener *events_listen(struct events *e, int64_t process, void (*wake)(void *arg),
                               void *arg);
void events_leave(struct events *e, struct listener *l);

/*
 * Moves at most `size` bytes of what is to be sent.  0: nothing now, and `wake` will be called when there is; before this
 * returns 0 it calls `sleep` (under the same lock), so no wake-up is lost.  -1: cut off.
 */
long events_take(struct events *e, struct listener *l, char *to, size_t size,
                 void (*sleep)(void *arg));

/* To all, or with process > 0 to those who listen to it.  `json` is one line. */
void events_send(struct events *e, int64_t process, const char *name, const struct buf *json);
/* A comment to all, so that nobody on the way takes the silence for an end. */
void events_keep_alive(struct events *e);
/* Cuts off everybody: the server ends. */
void events_stop(struct events *e);
bool events_wanted(struct events *e, int64_t process); /* does anybody listen? */

#endif
