/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes from outside, without touching them: who runs, and what the kernel says they take.
 *
 * Only those are seen that the user may look into (PTRACE_MODE_READ, which readlink of /proc/PID/exe asks the kernel for):
 * the page shows nothing that its user could not read anyway.
 */
#ifndef SEEP_SERVER_MEASURE_H
#define SEEP_SERVER_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct running {
	int32_t pid;
	uint64_t start_ticks;
	int64_t started_ms;
	uint32_t uid;
	char *name, *command, *exe; /* name: the executable's file name */
	uint64_t rss, threads;
};

struct running_list {
	struct running *items;
	size_t n;
};

/* All that may be looked into, but this server and its children; out of memory: fewer. */
void running_scan(struct running_list *ret);
void running_release(struct running_list *l);
#define _cleanup_running_ __attribute__((cleanup(running_release)))
const struct running *running_find(const struct running_list *l, int32_t pid);

/* One of them; false: it has ended, or may not be looked into (*ret_denied). */
bool running_read(int32_t pid, struct running *ret, bool *ret_denied);
void running_free(struct running *r);

bool running_alive(int32_t pid, uint64_t start_ticks);

struct measured {
	int64_t rss, pss, uss, swap, threads; /* STORE_NONE: not known */
	int64_t cgroup, cgroup_limit;         /* limit STORE_NONE: none */
	char cgroup_path[512];
};

/* `deep`: also what the kernel has to walk the page tables for (PSS, USS, swap). */
bool measure(int32_t pid, bool deep, struct measured *ret);

/* "Pss:    123 kB" lines of smaps_rollup; for its test. */
void measure_parse_rollup(const char *text, struct measured *ret);

#endif
