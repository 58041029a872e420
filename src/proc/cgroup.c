/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup limits a process's memory.
 *
 * /proc/PID/cgroup has a line for each hierarchy, "ID:CONTROLLERS:PATH".  On a v1 or hybrid system memory is
 * where the controller list says so; else it is v2's line, "0::PATH".  Where that hierarchy can be seen is
 * in mountinfo, and what counts is the tightest limit between there and the process: a service's own
 * group often has none, its slice or its container does.
 */
#include "proc/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "proc/procfs.h"

#define MAX_FILE (1u << 20)
#define MAX_LEVELS 64
#define V1_NO_LIMIT (1ull << 60) /* v1 says "none" with the largest page-aligned number */

static bool has_word(const char *list, size_t len, const char *word)
{
	size_t n = strlen(word);

	while (len) {
		const char *comma = memchr(list, ',', len);
		size_t one = comma ? (size_t)(comma - list) : len;

		if (one == n && !memcmp(list, word, n))
			return true;
		if (!comma)
			return false;
		list += one + 1;
		len -= one + 1;
	}
	return false;
}

static int copy(char *to, size_t size, const char *from, size_t len)
{
	if (len >= size)
		return -ENAMETOOLONG;
	memcpy(to, from, len);
	to[len] = '\0';
	return 0;
}

/* The path of a process: v1's memory hierarchy if there is one, else v2's. */
static int parse_path(const char *text, struct cgroup_place *ret)
{
	int found = -ENOENT;

	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		const char *list = memchr(line, ':', len), *path;
		bool v1, v2;

		path = list ? memchr(list + 1, ':', len - (size_t)(list + 1 - line)) : NULL;
		v2 = path && path == list + 1;
		v1 = path && has_word(list + 1, (size_t)(path - list - 1), "memory");
		if (v1 || (v2 && found < 0)) {
			int r = copy(ret->path, sizeof(ret->path), path + 1,
			             len - (size_t)(path + 1 - line));

			if (r < 0)
				return r;
			ret->v2 = !v1;
			found = 0;
		}
		line += len + (line[len] == '\n');
	}
	return found;
}

/* "36 35 98:0 /root /mount/point opts ... - type source super": fields have no blanks (they are \040). */
static void parse_mount(const char *line, size_t len, struct cgroup_place *ret)
{
	_cleanup_free_ char *text = strndup(line, len);
	char *fields[5] = { NULL }, *rest = text, *tail, *type, *super;

	tail = text ? strstr(text, " - ") : NULL;
	if (!tail)
		return;
	*tail = '\0';
	tail += 3;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = strsep(&rest, " ");
	type = strsep(&tail, " ");
	(void)strsep(&tail, " ");
	super = tail;
	if (!fields[4] || !type || strcmp(type, ret->v2 ? "cgroup2" : "cgroup") != 0)
		return;
	if (!ret->v2 && (!super || !has_word(super, strlen(super), "memory")))
		return;
	if (copy(ret->mount, sizeof(ret->mount), fields[4], strlen(fields[4])) < 0 ||
	    copy(ret->root, sizeof(ret->root), fields[3], strlen(fields[3])) < 0)
		ret->mount[0] = '\0';
}

int cgroup_parse(const char *cgroup, const char *mountinfo, struct cgroup_place *ret)
{
	struct cgroup_place place = { 0 };
	int r = parse_path(cgroup, &place);

	if (r < 0)
		return r;
	for (const char *line = mountinfo; *line && !place.mount[0];) {
		size_t len = strcspn(line, "\n");

		parse_mount(line, len, &place);
		line += len + (line[len] == '\n');
	}
	*ret = place;
	return 0;
}

/* Whether path is `dir` or below it; *ret_rest is what follows, "" or "/...". */
static bool below(const char *path, const char *dir, const char **ret_rest)
{
	size_t n = strlen(dir);

	while (n && dir[n - 1] == '/')
		n--;
	if (strncmp(path, dir, n) != 0 || (path[n] && path[n] != '/'))
		return false;
	*ret_rest = path + n;
	return true;
}

int cgroup_directory(const struct cgroup_place *p, char *ret_dir, size_t size)
{
	const char *rest;
	int n;

	if (!p->mount[0] || strstr(p->path, "/.."))
		return -ENOENT;
	if (!below(p->path, p->root, &rest))
		return -ENOENT;
	n = snprintf(ret_dir, size, "%s%s", p->mount, strcmp(rest, "/") ? rest : "");
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int cgroup_place_of(pid_t pid, bool mounts, struct cgroup_place *ret)
{
	_cleanup_buf_ struct buf cgroup = { 0 }, info = { 0 };
	int r = procfs_read(pid, "cgroup", MAX_FILE, &cgroup);

	if (!r && mounts)
		r = procfs_read_file("/proc/self/mountinfo", MAX_FILE, &info);
	if (r < 0)
		return r;
	return cgroup_parse(cgroup.data ? cgroup.data : "", info.data ? info.data : "", ret);
}

/* A file of one number; UINT64_MAX: "max", or none there. */
static uint64_t number_in(const char *dir, const char *name)
{
	_cleanup_buf_ struct buf text = { 0 };
	char path[1200];
	uint64_t v;

	snprintf(path, sizeof(path), "%.1024s/%s", dir, name);
	if (procfs_read_file(path, 64, &text) < 0 || !text.data)
		return UINT64_MAX;
	text.data[strcspn(text.data, "\n")] = '\0';
	return parse_u64(text.data, &v) < 0 ? UINT64_MAX : v;
}

int cgroup_memory(pid_t pid, struct cgroup_memory *ret)
{
	struct cgroup_memory m = { .limit = UINT64_MAX };
	struct cgroup_place place;
	char dir[1024];
	int r = cgroup_place_of(pid, true, &place);

	if (!r)
		r = cgroup_directory(&place, dir, sizeof(dir));
	if (r < 0)
		return r;
	memcpy(m.path, place.path, sizeof(m.path));
	for (int i = 0; i < MAX_LEVELS && strlen(dir) >= strlen(place.mount); i++) {
		uint64_t limit = number_in(dir, place.v2 ? "memory.max" : "memory.limit_in_bytes");
		char *slash = strrchr(dir, '/');

		if (limit < m.limit && limit < V1_NO_LIMIT) {
			uint64_t used = number_in(dir, place.v2 ? "memory.current"
			                                        : "memory.usage_in_bytes");

			m.limit = limit;
			m.used = used == UINT64_MAX ? 0 : used;
		}
		if (!slash)
			break;
		*slash = '\0';
	}
	if (m.limit == UINT64_MAX)
		m.limit = 0;
	*ret = m;
	return 0;
}

bool cgroup_contains(const char *path, pid_t pid)
{
	struct cgroup_place place;
	const char *rest;
	char dir[1024];

	if (cgroup_place_of(pid, true, &place) < 0)
		return false;
	if (below(place.path, path, &rest))
		return true;
	return cgroup_directory(&place, dir, sizeof(dir)) == 0 && below(dir, path, &rest);
}
