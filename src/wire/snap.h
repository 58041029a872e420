/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a program asks for a snapshot of this moment (seep_snapshot()): a stream socket in the ledger directory,
 * snap.PID.sock of a seep that watches this one process, else snap.sock of the seep that runs it.  The tracker connects, sends
 * one request, and the calling thread waits for the reply, bounded; the other threads go on.  No socket: nobody is
 * there to take one.
 *
 * seep takes the process's identity from SO_PEERCRED, not from the request.
 */
#ifndef SEEP_WIRE_SNAP_H
#define SEEP_WIRE_SNAP_H

#include <stdint.h>

#define SNAP_SOCKET "snap.sock"
#define SNAP_MAGIC 0x504e5353u /* "SSNP" */
#define SNAP_PROTOCOL 1u
#define SNAP_PATIENCE_S 30 /* how long a program waits for its snapshot */

struct snap_request {
	uint32_t magic, protocol;
	int32_t pid, tid; /* in the target's own namespace */
	char name[112];   /* NUL-terminated; "" none */
};

struct snap_reply {
	uint32_t magic;
	int32_t status; /* 0: written; -1: could not */
};

_Static_assert(sizeof(struct snap_request) == 128, "layout");
_Static_assert(sizeof(struct snap_reply) == 8, "layout");

#endif
