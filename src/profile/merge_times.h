/* SPDX-License-Identifier: Apache-2.0 */
/* The part of profile_merge() that lies on the time axis: points, resident memory, events. */
#ifndef SEEP_PROFILE_MERGE_TIMES_H
#define SEEP_PROFILE_MERGE_TIMES_H

#include "profile/profile.h"

/*
 * shifts[i]: ns from the start of `out` to that of in[i]; out->duration_ns is set, its points, rss and
 * events are empty.  0, or -1: out of memory.
 */
int merge_times(struct profile *out, struct profile *const *in, size_t n, const uint64_t *shifts);

#endif
