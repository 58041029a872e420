/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How near a process is to the limit of its memory cgroup, v1 or v2.
 *
 * Limits hold at every level: the one counted is the level that is fullest.  Pages of files that the kernel
 * can take back at once (the inactive and active lists of files) are not counted as used: it takes them
 * back before it kills.  What it could only swap out is counted.
 */
#ifndef SEEP_CAPTURE_CGROUP_LEVELS_H
#define SEEP_CAPTURE_CGROUP_LEVELS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_place; /* proc/cgroup.h */

#define CGROUP_LEVELS 16

struct cgroup_level {
	int usage, limit, stat; /* descriptors; stat -1: cannot be read */
	bool v2;
};

struct cgroup_levels {
	char path[512]; /* of the group, as /proc/PID/cgroup has it; "" none */
	struct cgroup_level levels[CGROUP_LEVELS];
	unsigned int nlevels;
};

/*
 * Finds the group of a process; true: it has one in memory's hierarchy that can be read.  Called again for one that may
 * have moved: cheap when it did not.
 */
bool cgroup_levels_find(struct cgroup_levels *c, pid_t pid);
/* Bytes; *ret_limit 0: no level has a limit. */
void cgroup_levels_read(const struct cgroup_levels *c, uint64_t *ret_used, uint64_t *ret_limit);
void cgroup_levels_release(struct cgroup_levels *c); /* also of a zeroed one */

/* ---- its parts, for the tests ---- */

/* Opens the group and all above it, as far as they can be seen. */
void cgroup_levels_open(struct cgroup_levels *c, const struct cgroup_place *place);
/* The value behind "key " in text of such lines; false: not there. */
bool cgroup_stat_value(const char *text, const char *key, uint64_t *ret);

#endif
