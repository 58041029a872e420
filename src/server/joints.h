/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences between two stored snapshots, kept for the next look: whoever sees one as a flame graph wants the table next,
 * and joining 50,000 stacks anew for each takes longer than all the rest.
 *
 * A difference has the values of one side at a time, so a joint belongs to one request; it is given back, not shared.
 * Each holds the two profiles it is made of.  A few wait to be taken again, the one that was given back last first.
 */
#ifndef SEEP_SERVER_JOINTS_H
#define SEEP_SERVER_JOINTS_H

#include "server/profiles.h"

struct diff;
struct joints;
struct profile;
struct seep_error;

struct joint {
	struct diff *diff; /* of base and view; diff_load() first */
	const struct profile *sides[2];
	struct held *base, *view; /* its own hold of them */
	struct joint *next;
};

struct joints *joints_new(struct profiles *p);
void joints_free(struct joints *j); /* NULL is fine */

struct seep_error *joints_take(struct joints *j, struct held *base, struct held *view,
                               struct joint **ret_joint);
void joints_give(struct joints *j, struct joint *joint); /* NULL is fine */

#endif
