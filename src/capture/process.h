/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says of the process that writes a ledger.  Everything here is a
 * best-effort answer about something that may end while we ask.
 */
#ifndef SEEP_CAPTURE_PROCESS_H
#define SEEP_CAPTURE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct ledger_header;

enum writer_state {
	WRITER_GONE,    /* no such process, or its pid belongs to another one now */
	WRITER_RUNNING, /* it runs and still writes this ledger, as far as can be seen */
	WRITER_LEFT, /* it runs, but no longer has the ledger mapped: it went on as another program */
};

/* h: of the ledger whose file is st. */
enum writer_state writer_state(const struct ledger_header *h, const struct stat *st);

/* Start time (field 22 of stat), state letter and threads of a process; 0, or negative errno. */
int process_stat(pid_t pid, uint64_t *ret_start_ticks, char *ret_state, uint64_t *ret_threads);

/*
 * Whether it is no program of its own, but the copy of one that a seep (this or another) looks at: traced by a guardian, and
 * younger than that.  tracer: of the process, 0 none.
 */
bool process_is_clone(pid_t pid, pid_t tracer);

/*
 * A descriptor of /proc/PID/statm, which keeps meaning the same process when the pid is used again; and the
 * bytes resident as it tells them now.  Negative errno; -ESRCH: it has ended, and has no memory any more.
 */
int process_open_statm(pid_t pid);
int process_read_rss(int statm, uint64_t *ret_bytes);

/* Whether a process maps the file: 1, 0, or negative errno when its maps cannot be read. */
int process_maps_file(pid_t pid, const struct stat *st);

/* The path (malloc'ed) in the nth mapping, from 0, of a file whose name ends with suffix; -ENOENT: no more. */
int process_find_mapping(pid_t pid, const char *suffix, unsigned int nth, char **ret_path);

/* Whether the process runs the program that we are. */
bool process_runs_us(pid_t pid);

/*
 * The path (malloc'ed) of the ledger that a collector of ours (src/capture/bpf) writes for the process, as far as names
 * tell; NULL: there is none.
 */
#define PROCESS_COLLECTOR "seep-collector" /* its name: at most 15 characters */
char *process_collector_ledger(pid_t pid);

#endif
