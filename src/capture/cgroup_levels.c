/* SPDX-License-Identifier: Apache-2.0 */
/* Kept open, so that a look at them every few milliseconds costs a few reads: see cgroup_levels.h. */
#include "capture/cgroup_levels.h"

#include "base/cleanup.h"
#include "proc/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

static void add_level(struct cgroup_levels *c, const char *dir, bool v2)
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

void cgroup_levels_open(struct cgroup_levels *c, const struct cgroup_place *place)
{
	size_t least = strlen(place->mount);
	char dir[1024];

	/* What lies outside of what is mounted here cannot be seen; the limit of the mount's own group holds all the same. */
	if (cgroup_directory(place, dir, sizeof(dir)) < 0 || access(dir, F_OK) < 0)
		snprintf(dir, sizeof(dir), "%s", place->mount);
	for (;;) {
		add_level(c, dir, place->v2);
		if (strlen(dir) <= least)
			break;
		*strrchr(dir, '/') = '\0';
	}
}

void cgroup_levels_release(struct cgroup_levels *c)
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

bool cgroup_levels_find(struct cgroup_levels *c, pid_t pid)
{
	struct cgroup_place place;

	/* It has ended: what was known of its group still holds. */
	if (cgroup_place_of(pid, false, &place) < 0 || !strcmp(place.path, c->path))
		return c->nlevels > 0;
	cgroup_levels_release(c);
	snprintf(c->path, sizeof(c->path), "%s", place.path);
	if (cgroup_place_of(pid, true, &place) == 0 && place.mount[0])
		cgroup_levels_open(c, &place);
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

void cgroup_levels_read(const struct cgroup_levels *c, uint64_t *ret_used, uint64_t *ret_limit)
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
