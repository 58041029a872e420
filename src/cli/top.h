/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of `seep top` share: the processes it watches, and its options.
 */
#ifndef SEEP_CLI_TOP_H
#define SEEP_CLI_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "analysis/top.h"
#include "analysis/view.h"
#include "cli/cli.h"
#include "cli/profile_cli.h"
#include "output/top_report.h"
#include "proc/cgroup.h"

struct seep_error;
struct symbolizer;

struct top_cli {
	/* which processes */
	bool all;
	const char *name, *cgroup, *user, *ledger_dir;
	/* how */
	bool once, json, blocks, combined, ascii;
	uint64_t interval_ns, count;
	bool count_given, interval_given, top_given;
	uint64_t top, depth;
	const char *by_name, *sort_name, *kinds;
	bool reverse, full_paths;
	enum group_by by;
	enum top_order order;
	uint64_t min_age, min_size, max_size;
	struct cli_list focus, ignore, hide;
	struct symbol_cli symbols;
	char *cwd;
};

/* Options that choose blocks need every single one; -a shows them. */
static inline bool top_needs_blocks(const struct top_cli *c)
{
	return c->blocks || c->min_age || c->min_size || c->max_size;
}

extern const struct cli_word top_by_words[];
extern const struct cli_word top_sort_words[TOP_NORDERS];

/* ---- one process (top_source.c) --------------------------------------------------- */

/*
 * Follows a process through its ledger, and over exec() into the next.  The ledger is held open: when `seep run` takes
 * it away at the end, the last state is still read.
 */
struct top_source {
	const struct top_cli *cli;
	pid_t pid;
	uint32_t uid;
	int fd;
	char *path; /* of the ledger */
	char name[64];
	struct symbolizer *symbolizer;
	struct top *top;
	struct top_history history;
	struct cgroup_memory cgroup;
	bool has_cgroup;
	bool ended;    /* nothing more will come */
	char *problem; /* why the last refresh brought nothing new; NULL: it did */
	uint64_t rss, uptime_ns, time_ns;
	uint64_t refresh_ns; /* what the last refresh cost */
};

struct seep_error *top_source_open(const struct top_cli *cli, const char *what,
                                   struct top_source *ret_source);
void top_source_close(struct top_source *s);
/* Reads again.  An error is the end of it; what may pass is told in `problem`. */
struct seep_error *top_source_refresh(struct top_source *s);
struct top_facts top_source_facts(const struct top_source *s);

/* ---- several processes (top_list.c) ------------------------------------------------ */

struct top_process {
	pid_t pid;
	char *path; /* ledger */
	char name[64], command[256];
	uint32_t uid;
	bool alive, sampled;
	uint64_t rss; /* TOP_UNKNOWN */
	uint64_t inuse, blocks, alloc, duration_ns;
	char allocator[64];
	double growth, rate, weight; /* bytes/s, smoothed; weight as in struct top */
	bool seen;
};

struct top_list {
	const struct top_cli *cli;
	char **names; /* operands; pids, names */
	size_t nnames;
	struct top_process *items; /* largest in use first */
	size_t n;
	uint64_t time_ns, mono_ns;
	uint32_t readings;
};

void top_list_init(struct top_list *l, const struct top_cli *cli, char **names, size_t nnames);
void top_list_release(struct top_list *l);
struct seep_error *top_list_refresh(struct top_list *l);
/* Sorted by: TOP_INUSE, TOP_BLOCKS, TOP_GROWTH, TOP_RATE, TOP_AGE (tracked for), TOP_NAME. */
void top_list_sort(struct top_list *l, enum top_order order, bool reverse);
/* bytes/s; in the beginning averages since tracking began */
double top_process_growth(const struct top_process *p);
double top_process_rate(const struct top_process *p);

/* ---- ways to show it --------------------------------------------------------------- */

/* Text or JSON, refresh by refresh; the exit status. */
int top_plain_one(const struct top_cli *c, const char *what);
int top_plain_list(const struct top_cli *c, char **names, size_t n);

/* The full screen; what: NULL for the list. */
int top_screen(const struct top_cli *c, const char *what, char **names, size_t n);

/* Set by SIGINT and SIGTERM in plain mode. */
uint64_t top_now(void); /* CLOCK_MONOTONIC */

#endif
