/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel counts of a process's memory: /proc/PID/status (which everybody may read), smaps and
 * smaps_rollup (which take the right to trace the process), and what the whole machine has left.
 *
 * All figures are bytes.  What a kernel does not say is MEMORY_UNKNOWN, never 0.
 */
#ifndef SEEP_PROC_MEMORY_H
#define SEEP_PROC_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;

#define MEMORY_UNKNOWN UINT64_MAX

struct memory_status {
	char name[32];
	uint64_t size, peak, rss; /* VmSize, VmHWM, VmRSS */
	uint64_t rss_anon, rss_file, rss_shmem;
	uint64_t swap, page_tables, hugetlb; /* VmSwap, VmPTE, HugetlbPages */
	uint64_t threads;                    /* not bytes */
};

/* text: of /proc/PID/status. */
void memory_status_parse(const char *text, struct memory_status *ret);
/* 0 or negative errno. */
int memory_status_read(pid_t pid, struct memory_status *ret);

/* One mapping of smaps; of smaps_rollup: everything. */
struct memory_map {
	uint64_t start, end;
	uint64_t inode;
	bool shared, writable,
		special;  /* special: the kernel's own, never counted ([vvar], VM_IO) */
	const char *path; /* "" anonymous; never NULL */
	uint64_t rss, pss, private_clean, private_dirty, anonymous;
	uint64_t lazy_free, anon_huge, shmem_huge, hugetlb, swap, swap_pss, locked;
};

struct memory_maps {
	struct memory_map *items; /* ascending, not overlapping */
	size_t n;
	size_t dropped; /* lines that made no sense, mappings out of order */
	char *text;     /* paths point into it */
};

/* Takes text over (malloc'ed, NUL-terminated); only out of memory fails. */
struct seep_error *memory_maps_parse(char *text, struct memory_maps *ret);
struct seep_error *memory_maps_read(pid_t pid, struct memory_maps *ret);
void memory_maps_release(struct memory_maps *m);
/* The mapping that holds addr, or NULL. */
const struct memory_map *memory_map_of(const struct memory_maps *m, uint64_t addr);

/* The sum over all mappings, as smaps_rollup has it.  0 or negative errno (-EACCES, -ENOENT of old kernels). */
int memory_rollup_read(pid_t pid, struct memory_map *ret);
void memory_maps_sum(const struct memory_maps *m, struct memory_map *ret);

/* MemAvailable of this machine (text: of /proc/meminfo); MEMORY_UNKNOWN when it does not say. */
uint64_t memory_available(void);
uint64_t memory_available_parse(const char *text);

#endif
