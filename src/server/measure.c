/* SPDX-License-Identifier: Apache-2.0 */
#include "server/measure.h"

#include "store/store.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "capture/process.h"
#include "proc/cgroup.h"
#include "proc/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROLLUP_MOST 8192

void running_free(struct running *r)
{
	free(r->name);
	free(r->command);
	free(r->exe);
	memset(r, 0, sizeof(*r));
}

void running_release(struct running_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		running_free(&l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

const struct running *running_find(const struct running_list *l, int32_t pid)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].pid == pid)
			return &l->items[i];
	return NULL;
}

bool running_alive(int32_t pid, uint64_t start_ticks)
{
	uint64_t ticks, threads;
	char state;

	return process_stat(pid, &ticks, &state, &threads) == 0 && ticks == start_ticks &&
	       state != 'Z' && state != 'X';
}

/* Start times are told in ticks since boot. */
static int64_t started_ms(uint64_t ticks)
{
	struct timespec real, boot;
	int64_t booted;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	booted = ((int64_t)real.tv_sec - boot.tv_sec) * 1000 +
	         (real.tv_nsec - boot.tv_nsec) / 1000000;
	return booted + (int64_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

bool running_read(int32_t pid, struct running *ret, bool *ret_denied)
{
	struct running r = { .pid = pid };
	struct procfs_status status;
	char state, name[256];

	*ret_denied = false;
	if (procfs_status(pid, &status) < 0 || status.kthread || !status.has_size ||
	    status.tgid != pid || process_is_clone(pid, status.tracer) ||
	    process_stat(pid, &r.start_ticks, &state, &r.threads) < 0 || state == 'Z' ||
	    state == 'X')
		return false;
	r.exe = procfs_exe(pid);
	if (!r.exe) {
		*ret_denied = errno == EACCES || errno == EPERM || status.uid != geteuid();
		return false;
	}
	r.command = procfs_command(pid);
	procfs_name(r.exe, r.command ? r.command : "", name, sizeof(name));
	r.name = strdup(name);
	r.uid = status.uid;
	r.rss = status.rss;
	r.started_ms = started_ms(r.start_ticks);
	if (!r.name || !r.command) {
		running_free(&r);
		return false;
	}
	*ret = r;
	return true;
}

static bool own_child(pid_t pid, pid_t self)
{
	_cleanup_buf_ struct buf b = { 0 };
	const char *at;

	if (procfs_read(pid, "stat", 4096, &b) < 0 || !(at = strrchr(b.data, ')')))
		return false;
	return strlen(at) > 4 && atoi(at + 4) == self;
}

void running_scan(struct running_list *ret)
{
	struct running_list l = { 0 };
	size_t cap = 0;
	pid_t self = getpid();
	DIR *dir = opendir("/proc");
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		char *end;
		long pid = strtol(d->d_name, &end, 10);
		bool denied;

		if (*end || pid <= 0 || pid == self || own_child((pid_t)pid, self))
			continue;
		if (array_grow((void **)&l.items, l.n, &cap, sizeof(*l.items)) < 0)
			break;
		l.n += running_read((int32_t)pid, &l.items[l.n], &denied);
	}
	if (dir)
		closedir(dir);
	*ret = l;
}

void measure_parse_rollup(const char *text, struct measured *ret)
{
	int64_t private_bytes = 0;
	bool any = false;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		char key[32];
		long long kb;

		if (sscanf(line, "%31[^: ]: %lld kB", key, &kb) != 2 || kb < 0 ||
		    kb > INT64_MAX / 1024)
			continue;
		if (!strcmp(key, "Rss"))
			ret->rss = kb * 1024;
		else if (!strcmp(key, "Pss"))
			ret->pss = kb * 1024;
		else if (!strcmp(key, "Swap"))
			ret->swap = kb * 1024;
		else if (!strcmp(key, "Private_Clean") || !strcmp(key, "Private_Dirty")) {
			private_bytes += kb * 1024;
			any = true;
		}
	}
	if (any)
		ret->uss = private_bytes;
}

bool measure(int32_t pid, bool deep, struct measured *ret)
{
	struct measured m = { .rss = STORE_NONE,
		              .pss = STORE_NONE,
		              .uss = STORE_NONE,
		              .swap = STORE_NONE,
		              .threads = STORE_NONE,
		              .cgroup = STORE_NONE,
		              .cgroup_limit = STORE_NONE };
	_cleanup_buf_ struct buf rollup = { 0 };
	struct cgroup_memory group;
	struct procfs_status status;
	uint64_t ticks, threads;
	char state;

	if (procfs_status(pid, &status) < 0 || process_stat(pid, &ticks, &state, &threads) < 0 ||
	    state == 'Z' || state == 'X')
		return false;
	m.rss = (int64_t)status.rss;
	m.threads = (int64_t)threads;
	if (deep && procfs_read(pid, "smaps_rollup", ROLLUP_MOST, &rollup) >= 0 && rollup.data)
		measure_parse_rollup(rollup.data, &m);
	if (cgroup_memory(pid, &group) == 0) {
		m.cgroup = (int64_t)group.used;
		if (group.limit)
			m.cgroup_limit = (int64_t)group.limit;
		memcpy(m.cgroup_path, group.path, sizeof(m.cgroup_path));
	}
	*ret = m;
	return true;
}
