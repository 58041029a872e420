/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resident memory of the processes of a run over time, as /proc tells it, in bounded memory.
 *
 * The log watches a directory of ledgers: a process is looked at from the moment its ledger appears until it
 * ends.  Each has a series of its own that begins dense (10 ms) and loses half of its records, the lower
 * of every two, whenever it is full; so the second of a short program and the week of a daemon both
 * get a few hundred values, and a program of a second at least fifty.  Looking never takes more than a
 * hundredth of one processor.
 *
 *     rss_log_new(dir, &log)
 *     poll rss_log_fd(log); when readable: rss_log_serve(log)
 *     rss_log_fill(log, profile)     after the end, for each profile
 *
 * The log is a luxury: whatever fails in it leaves gaps in the log and nothing else.  All functions take NULL.
 */
#ifndef SEEP_CAPTURE_RSS_LOG_H
#define SEEP_CAPTURE_RSS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct profile;
struct rss_log;

#define RSS_SERIES_MAX 1024u        /* records; half of them after the first time it is full */
#define RSS_FIRST_INTERVAL 10000000 /* ns */

struct rss_log *rss_log_new(const char *dir); /* NULL: there will be none */
void rss_log_free(struct rss_log *log);

static inline void rss_log_freep(struct rss_log **log)
{
	rss_log_free(*log);
}
#define _cleanup_rss_log_ __attribute__((cleanup(rss_log_freep)))

int rss_log_fd(const struct rss_log *log); /* readable: there is something to do; -1 without a log */
void rss_log_serve(struct rss_log *log);   /* never waits */

/*
 * Adds what was seen of the process p is of (its pid, its exec_seq, its time) to p->rss.  A process that was
 * killed cannot say how long it lived; the log can, and p->duration_ns grows to that.  False: out of memory.
 */
bool rss_log_fill(const struct rss_log *log, struct profile *p);

/* One series.  Times are the caller's; they ascend. */
struct rss_series {
	struct rss_record {
		uint64_t time, bytes;
	} * records;
	size_t n, cap;
	uint64_t interval; /* between records, now */
};
bool rss_series_add(struct rss_series *s, uint64_t time, uint64_t bytes);

#endif
