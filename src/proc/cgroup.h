/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory cgroup of a process (v2, or v1 with the memory controller): what it may use, and what
 * it does use.  Best-effort answers about something that may end or change while we ask.
 */
#ifndef SEEP_PROC_CGROUP_H
#define SEEP_PROC_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_memory {
	char path[512];       /* in the hierarchy, as we see it: "/system.slice/x.service" */
	uint64_t limit, used; /* bytes, of the tightest limit on the way up; limit 0: none */
};

/* Negative errno: there is no such process, or no memory controller to be seen. */
int cgroup_memory(pid_t pid, struct cgroup_memory *ret);

/*
 * Whether the process is in the cgroup or in one below it.  path: as in /proc/PID/cgroup, or of its
 * directory (/sys/fs/cgroup/...).
 */
bool cgroup_contains(const char *path, pid_t pid);

/* The same two from text: of /proc/PID/cgroup and of /proc/self/mountinfo; for tests. */
struct cgroup_place {
	bool v2;
	char path[512];  /* of the process, in the hierarchy */
	char mount[512]; /* the directory that shows the hierarchy; "" none */
	char root[512];  /* what of the hierarchy that directory is */
};
int cgroup_parse(const char *cgroup, const char *mountinfo, struct cgroup_place *ret);
/* That of a process; without `mounts`, which cost more, only its path.  Negative errno as above. */
int cgroup_place_of(pid_t pid, bool mounts, struct cgroup_place *ret);
/* The directory of the place; negative errno when it cannot be seen from here. */
int cgroup_directory(const struct cgroup_place *p, char *ret_dir, size_t size);

#endif
