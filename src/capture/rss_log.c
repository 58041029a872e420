/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll descriptor stands for the whole log: in it are a timer, set to when the next process is due, and an
 * inotify watch that tells of new ledgers.  So whoever waits for other things too needs one more line in
 * its poll, and an idle run is not woken for nothing.
 *
 * Every process is due on its own: what matters is how long *it* runs, not how long the run does.  Its
 * ledger's name has its pid and how many programs it ran before; when the next program's ledger appears,
 * the series of the one before ends.  A look is one read of /proc/PID/statm through a descriptor that stays open,
 * some microseconds; after one that took t nothing is looked at for 100 t.
 *
 * Records carry CLOCK_MONOTONIC, as ledgers do.  A profile only knows its start on the other clock; the
 * difference of the two is noted when the process is first seen, so that setting the clock later on does no harm.
 */
#include "capture/rss_log.h"

#include "capture/process.h"
#include "profile/profile.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 65536u
#define SHARE 100u /* one part of so much time may go into looking */
#define BLIND_INTERVAL \
	250000000 /* ns between looks at the directory, where inotify is not to be had */
#define TINY_SERIES 16u
#define MAX_OPEN 128u /* descriptors; of more processes each is opened for every look */

struct logged {
	pid_t pid;
	uint32_t exec_seq;
	int statm; /* -1: not open */
	bool ended;
	uint64_t real_offset; /* CLOCK_REALTIME - CLOCK_MONOTONIC when first seen */
	uint64_t due;
	struct rss_series series;
};

struct rss_log {
	char *dir;
	int epoll, timer, inotify;
	struct logged *all;
	size_t n, cap;
	uint32_t *running; /* indices of those that have not ended */
	size_t nrunning;
	uint64_t not_before;
	size_t nopen; /* of statm */
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- a series ------------------------------------------------------------------ */

/* The higher of every two stays: what a peak was is not to be lost. */
static void halve(struct rss_series *s)
{
	size_t n = 0;

	for (size_t i = 0; i + 1 < s->n; i += 2)
		s->records[n++] = s->records[i].bytes > s->records[i + 1].bytes ? s->records[i]
		                                                                : s->records[i + 1];
	s->n = n;
	s->interval *= 2;
}

bool rss_series_add(struct rss_series *s, uint64_t time, uint64_t bytes)
{
	if (!s->interval)
		s->interval = RSS_FIRST_INTERVAL;
	if (s->n == RSS_SERIES_MAX)
		halve(s);
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 4 : TINY_SERIES;
		struct rss_record *more = reallocarray(s->records, cap, sizeof(*more));

		if (!more)
			return false;
		s->records = more;
		s->cap = cap;
	}
	s->records[s->n++] = (struct rss_record){ time, bytes };
	return true;
}

/* ---- which processes ------------------------------------------------------------- */

/* "PID.EXECSEQ.ledger" */
static bool parse_name(const char *name, pid_t *ret_pid, uint32_t *ret_exec_seq)
{
	unsigned int pid, seq;
	int end = 0;

	if (sscanf(name, "%9u.%9u.ledger%n", &pid, &seq, &end) != 2 || !end || name[end] || !pid)
		return false;
	*ret_pid = (pid_t)pid;
	*ret_exec_seq = seq;
	return true;
}

static void close_one(struct rss_log *log, struct logged *p)
{
	if (p->statm < 0)
		return;
	close(p->statm);
	p->statm = -1;
	log->nopen--;
}

/* It is dropped from `running` at the next look. */
static void end_one(struct rss_log *log, struct logged *p)
{
	close_one(log, p);
	p->ended = true;
}

static bool grow(struct rss_log *log)
{
	size_t cap = log->cap ? log->cap * 2 : 16;
	struct logged *all = reallocarray(log->all, cap, sizeof(*all));
	uint32_t *running;

	if (!all)
		return false;
	log->all = all;
	running = reallocarray(log->running, cap, sizeof(*running));
	if (!running)
		return false;
	log->running = running;
	log->cap = cap;
	return true;
}

static void see(struct rss_log *log, const char *name)
{
	uint64_t mono = clock_ns(CLOCK_MONOTONIC);
	uint32_t exec_seq;
	pid_t pid;

	if (!parse_name(name, &pid, &exec_seq))
		return;
	for (size_t i = 0; i < log->nrunning; i++) {
		struct logged *p = &log->all[log->running[i]];

		if (p->pid != pid)
			continue;
		if (p->exec_seq >= exec_seq)
			return;
		end_one(log, p);
	}
	if (log->n == MAX_PROCESSES || (log->n == log->cap && !grow(log)))
		return;
	log->running[log->nrunning++] = (uint32_t)log->n;
	log->all[log->n++] = (struct logged){ .pid = pid,
		                              .exec_seq = exec_seq,
		                              .statm = -1,
		                              .real_offset = clock_ns(CLOCK_REALTIME) - mono,
		                              .due = mono };
}

static void see_all(struct rss_log *log)
{
	DIR *d = opendir(log->dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		see(log, e->d_name);
	if (d)
		closedir(d);
}

static void read_inotify(struct rss_log *log)
{
	union {
		struct inotify_event aligned;
		char bytes[8192];
	} in;
	ssize_t n;

	while ((n = read(log->inotify, in.bytes, sizeof(in.bytes))) > 0) {
		for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
			struct inotify_event e;

			memcpy(&e, in.bytes + at, sizeof(e));
			if (e.mask & IN_Q_OVERFLOW)
				see_all(log);
			else if (e.len)
				see(log, in.bytes + at + sizeof(e));
			at += (ssize_t)(sizeof(e) + e.len);
		}
	}
}

/* ---- looking ------------------------------------------------------------------------ */

/* While it is open, a pid that is used again cannot be mistaken for the process. */
static int open_one(struct rss_log *log, struct logged *p)
{
	int fd = p->statm >= 0 ? p->statm : process_open_statm(p->pid);

	if (fd >= 0 && p->statm < 0) {
		p->statm = fd;
		log->nopen++;
	}
	return fd;
}

static void look(struct rss_log *log, struct logged *p, uint64_t now)
{
	uint64_t bytes = 0;
	int r = open_one(log, p);

	if (r >= 0)
		r = process_read_rss(p->statm, &bytes);
	if (r == -ESRCH || (!r && !rss_series_add(&p->series, now, bytes))) {
		end_one(log, p);
		return;
	}
	p->due = now + (p->series.interval ? p->series.interval : RSS_FIRST_INTERVAL);
	if (r < 0 || log->nopen > MAX_OPEN)
		close_one(log, p);
}

static void arm(struct rss_log *log)
{
	uint64_t next = UINT64_MAX;
	struct itimerspec t = { 0 };

	for (size_t i = 0; i < log->nrunning; i++)
		next = log->all[log->running[i]].due < next ? log->all[log->running[i]].due : next;
	if (log->inotify < 0 && next > clock_ns(CLOCK_MONOTONIC) + BLIND_INTERVAL)
		next = clock_ns(CLOCK_MONOTONIC) + BLIND_INTERVAL;
	next = next < log->not_before ? log->not_before : next;
	if (next != UINT64_MAX) {
		t.it_value.tv_sec = (time_t)(next / 1000000000u);
		t.it_value.tv_nsec = (long)(next % 1000000000u);
	}
	timerfd_settime(log->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

void rss_log_serve(struct rss_log *log)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), times, after;
	size_t n = 0;

	if (!log)
		return;
	(void)!read(log->timer, &times, sizeof(times));
	if (log->inotify >= 0)
		read_inotify(log);
	else
		see_all(log);
	for (size_t i = 0; i < log->nrunning; i++) {
		struct logged *p = &log->all[log->running[i]];

		if (!p->ended && p->due <= now && now >= log->not_before)
			look(log, p, now);
		if (!p->ended)
			log->running[n++] = log->running[i];
	}
	log->nrunning = n;
	after = clock_ns(CLOCK_MONOTONIC);
	if (now >= log->not_before)
		log->not_before = after + (after - now) * SHARE;
	arm(log);
}

/* ---- the log ------------------------------------------------------------------------- */

struct rss_log *rss_log_new(const char *dir)
{
	_cleanup_rss_log_ struct rss_log *log = calloc(1, sizeof(*log));
	struct epoll_event in = { .events = EPOLLIN };

	if (!log)
		return NULL;
	log->epoll = epoll_create1(EPOLL_CLOEXEC);
	log->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	log->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	log->dir = strdup(dir);
	if (log->epoll < 0 || log->timer < 0 || !log->dir ||
	    epoll_ctl(log->epoll, EPOLL_CTL_ADD, log->timer, &in) < 0)
		return NULL;
	if (log->inotify >= 0 && (inotify_add_watch(log->inotify, dir, IN_CREATE | IN_MOVED_TO) < 0 ||
	                          epoll_ctl(log->epoll, EPOLL_CTL_ADD, log->inotify, &in) < 0)) {
		close(log->inotify);
		log->inotify = -1;
	}
	see_all(log);
	arm(log);
	return TAKE(log);
}

void rss_log_free(struct rss_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->n; i++) {
		end_one(log, &log->all[i]);
		free(log->all[i].series.records);
	}
	free(log->all);
	free(log->running);
	free(log->dir);
	if (log->epoll >= 0)
		close(log->epoll);
	if (log->timer >= 0)
		close(log->timer);
	if (log->inotify >= 0)
		close(log->inotify);
	free(log);
}

int rss_log_fd(const struct rss_log *log)
{
	return log ? log->epoll : -1;
}

bool rss_log_fill(const struct rss_log *log, struct profile *p)
{
	for (size_t i = 0; log && i < log->n; i++) {
		const struct logged *l = &log->all[i];
		uint64_t start = p->start_real_ns - l->real_offset;

		if (l->pid != p->pid || l->exec_seq != p->exec_seq)
			continue;
		for (size_t k = 0; k < l->series.n; k++) {
			const struct rss_record *r = &l->series.records[k];
			uint64_t time = r->time - start;

			/* The pid may have had another owner, whose time was another. */
			if (r->time < start || (!p->killed && !p->live && time > p->duration_ns))
				continue;
			if (!profile_add_rss(p, time, r->bytes))
				return false;
		}
	}
	if (p->killed && p->nrss && p->rss[p->nrss - 1].time > p->duration_ns)
		p->duration_ns = p->rss[p->nrss - 1].time;
	return true;
}
