/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory cgroup of a process: see cgroup.h.
 *
 *     /proc/PID/cgroup         "0::/a/b" (v2) and "4:memory:/a/b" (v1)
 *     /proc/self/mountinfo     where those hierarchies are mounted here, and which of their groups is the root there
 *
 * In a container the mount's root is often the container's own group: what lies before it is cut from the path, and
 * when the group cannot be found below the mount point, the mount point is the next best answer, for its
 * limit holds for everything in it.
 */
#include "capture/cgroup.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MOST_LIMIT (1ull << 60) /* v1's "unlimited" is LONG_MAX rounded to pages */

/* ---- reading small files -------------------------------------------------------------- */

static bool read_text(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* "max" and what is as good as unlimited: 0. */
static bool read_number(int fd, uint64_t *ret)
{
	char text[32];

	if (!read_text(fd, text, sizeof(text)))
		return false;
	if (text[0] < '0' || text[0] > '9') {
		*ret = 0;
		return !strncmp(text, "max", 3);
	}
	errno = 0;
	*ret = strtoull(text, NULL, 10);
	if (*ret >= MOST_LIMIT)
		*ret = 0;
	return !errno;
}

bool cgroup_stat_value(const char *text, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		if (!strncmp(p, key, len) && p[len] == ' ' && p[len + 1] >= '0' &&
		    p[len + 1] <= '9') {
			*ret = strtoull(p + len + 1, NULL, 10);
			return true;
		}
	}
	return false;
}

/* ---- which group ------------------------------------------------------------------------ */

bool cgroup_parse_group(char *line, char *ret_path, size_t size, bool *ret_v2)
{
	char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL, *rest;

	line[strcspn(line, "\n")] = '\0';
	if (!path || path[1] != '/' || strlen(path + 1) >= size)
		return false;
	*path++ = '\0';
	*ret_v2 = !strncmp(line, "0::", 2) && !names[1];
	if (*ret_v2) {
		snprintf(ret_path, size, "%s", path);
		return true;
	}
	for (char *name = strtok_r(names + 1, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		if (!strcmp(name, "memory")) {
			snprintf(ret_path, size, "%s", path);
			return true;
		}
	}
	return false;
}

/* v1's memory before v2: in a mixed system v2 has no memory controller. */
static bool group_of(pid_t pid, char *ret_path, size_t size, bool *ret_v2)
{
	char file[64], line[1024];
	_cleanup_fclose_ FILE *f = NULL;
	bool found = false;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
	f = fopen(file, "re");
	while (f && fgets(line, sizeof(line), f)) {
		found |= cgroup_parse_group(line, ret_path, size, ret_v2);
		if (found && !*ret_v2)
			break;
	}
	return found;
}

bool cgroup_parse_mount(char *line, bool v2, char *ret_point, char *ret_root)
{
	char *dash = strstr(line, " - "), type[32], options[1024], *rest;

	if (!dash || sscanf(dash, " - %31s %*s %1023s", type, options) != 2 ||
	    sscanf(line, "%*d %*d %*s %4095s %4095s", ret_root, ret_point) != 2)
		return false;
	if (v2)
		return !strcmp(type, "cgroup2");
	if (strcmp(type, "cgroup") != 0)
		return false;
	for (char *o = strtok_r(options, ",", &rest); o; o = strtok_r(NULL, ",", &rest))
		if (!strcmp(o, "memory"))
			return true;
	return false;
}

/* The mount of that hierarchy: where, and which group is its root. */
static bool find_mount(bool v2, char ret_point[PATH_MAX], char ret_root[PATH_MAX])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0)
		if (cgroup_parse_mount(line, v2, ret_point, ret_root))
			return true;
	return false;
}

static void add_level(struct cgroup_memory *c, const char *dir, bool v2)
{
	static const char *const files[2][2] = {
		{ "memory.usage_in_bytes", "memory.limit_in_bytes" },
		{ "memory.current", "memory.max" },
	};
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct cgroup_level *l = &c->levels[c->nlevels];

	if (fd < 0 || c->nlevels == CGROUP_LEVELS)
		return;
	l->v2 = v2;
	l->usage = openat(fd, files[v2][0], O_RDONLY | O_CLOEXEC);
	l->limit = openat(fd, files[v2][1], O_RDONLY | O_CLOEXEC);
	l->stat = openat(fd, "memory.stat", O_RDONLY | O_CLOEXEC);
	if (l->usage >= 0 && l->limit >= 0) {
		c->nlevels++;
		return;
	}
	if (l->usage >= 0)
		close(l->usage);
	if (l->limit >= 0)
		close(l->limit);
	if (l->stat >= 0)
		close(l->stat);
}

void cgroup_open_levels(struct cgroup_memory *c, const char *point, const char *root,
                        const char *path, bool v2)
{
	_cleanup_free_ char *dir = NULL;
	size_t len = strlen(root), least = strlen(point);

	if (len > 1 && !strncmp(path, root, len) && (!path[len] || path[len] == '/'))
		path += len;
	if (asprintf(&dir, "%s%s", point, strcmp(path, "/") != 0 ? path : "") < 0) {
		dir = NULL;
		return;
	}
	/* A group outside of what is mounted here begins with "/..". */
	if (strstr(path, "/..") || access(dir, F_OK) < 0)
		dir[least] = '\0';
	for (;;) {
		add_level(c, dir, v2);
		if (strlen(dir) <= least)
			break;
		*strrchr(dir, '/') = '\0';
	}
}

void cgroup_release(struct cgroup_memory *c)
{
	for (unsigned int i = 0; i < c->nlevels; i++) {
		close(c->levels[i].usage);
		close(c->levels[i].limit);
		if (c->levels[i].stat >= 0)
			close(c->levels[i].stat);
	}
	c->nlevels = 0;
	c->path[0] = '\0';
}

bool cgroup_find(struct cgroup_memory *c, pid_t pid)
{
	char path[sizeof(c->path)], point[PATH_MAX], root[PATH_MAX];
	bool v2;

	if (!group_of(pid, path, sizeof(path), &v2))
		return c->nlevels > 0; /* it has ended; what was known of its group still holds */
	if (!strcmp(path, c->path))
		return c->nlevels > 0;
	cgroup_release(c);
	memcpy(c->path, path, sizeof(path));
	if (find_mount(v2, point, root))
		cgroup_open_levels(c, point, root, path, v2);
	return c->nlevels > 0;
}

/* ---- how full ------------------------------------------------------------------------------ */

static uint64_t files_of(const struct cgroup_level *l)
{
	uint64_t inactive = 0, active = 0;
	char text[8192];

	if (l->stat < 0 || !read_text(l->stat, text, sizeof(text)))
		return 0;
	cgroup_stat_value(text, l->v2 ? "inactive_file" : "total_inactive_file", &inactive);
	cgroup_stat_value(text, l->v2 ? "active_file" : "total_active_file", &active);
	return inactive + active;
}

void cgroup_read(const struct cgroup_memory *c, uint64_t *ret_used, uint64_t *ret_limit)
{
	uint64_t best_used = 0, best_limit = 0;

	for (unsigned int i = 0; i < c->nlevels; i++) {
		const struct cgroup_level *l = &c->levels[i];
		uint64_t used, limit, files;

		if (!read_number(l->limit, &limit) || !limit || !read_number(l->usage, &used))
			continue;
		/* The statistics cost more than all else here, and matter only near the limit. */
		if (used > limit / 2) {
			files = files_of(l);
			used = used > files ? used - files : 0;
		}
		if (!best_limit ||
		    (double)used / (double)limit > (double)best_used / (double)best_limit) {
			best_used = used;
			best_limit = limit;
		}
	}
	*ret_used = best_used;
	*ret_limit = best_limit;
}
