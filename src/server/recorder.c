/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, which alone adds and removes subjects; others read them, and change what they may, under the lock.  Whatever
 * can take long (listing ledgers, /proc, the store) is done without it.
 */
#include "server/recorder.h"

#include "server/events.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/jsonw.h"
#include "server/private.h"
#include "server/recorder_private.h"
#include "server/work.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "proc/procfs.h"
#include "wire/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 500
#define LEDGERS_MS 1000
#define SPECS_MS 3000
#define DEEP_MS 10000
#define RECENT_MS 5000
#define RETAIN_MS 60000
#define KEEP_ALIVE_MS 15000
#define PASSING_MS 10000

/* ---- subjects ------------------------------------------------------------------------------------------ */

/* Under the lock, or in the recorder's thread, as everything that takes a struct tracked. */
struct tracked *recorder_by_id(struct recorder *r, int64_t id)
{
	struct tracked *t = r->first;

	while (t && t->s.id != id)
		t = t->next;
	return t;
}

static struct tracked *by_program(struct recorder *r, int32_t pid, uint64_t start_ticks,
                                  uint32_t exec_seq)
{
	struct tracked *t = r->first;

	while (t && (t->s.pid != pid || t->s.start_ticks != start_ticks || t->s.exec_seq != exec_seq))
		t = t->next;
	return t;
}

static void tracked_free(struct tracked *t)
{
	if (t->ledger_fd >= 0)
		close(t->ledger_fd);
	free(t->ledger);
	free(t);
}

void recorder_changed(struct recorder *r)
{
	struct buf nothing = { 0 };

	buf_puts(&nothing, "{}");
	events_send(r->server->events, 0, "processes", &nothing);
	buf_release(&nothing);
}

/* A new subject, which the store knows from here on.  NULL: not now. */
static struct tracked *add_subject(struct recorder *r, const struct running *p, uint32_t exec_seq,
                                   const struct ledger_entry *e)
{
	struct server *s = r->server;
	struct store_process row = { .pid = p->pid,
		                     .start_ticks = p->start_ticks,
		                     .exec_seq = exec_seq,
		                     .started_ms = p->started_ms,
		                     .name = p->name,
		                     .command = p->command,
		                     .exe = p->exe,
		                     .uid = p->uid };
	struct tracked *t;
	struct seep_error *err;

	if (r->n >= RECORDER_SUBJECTS || !(t = calloc(1, sizeof(*t))))
		return NULL;
	memcpy(row.boot, s->boot, sizeof(row.boot));
	if (e) {
		row.tracked = true;
		row.sampled = e->period > 0;
		row.period = e->period;
		row.attached = e->attached;
		row.allocator = (char *)e->allocator;
	}
	t->ledger_fd = -1;
	t->seen_ms = server_now_ms();
	t->s.pid = p->pid;
	t->s.start_ticks = p->start_ticks;
	t->s.exec_seq = exec_seq;
	t->s.uid = p->uid;
	t->s.retained = STORE_NONE;
	t->s.measured = (struct measured){ .rss = STORE_NONE,
		                           .pss = STORE_NONE,
		                           .uss = STORE_NONE,
		                           .swap = STORE_NONE,
		                           .threads = STORE_NONE,
		                           .cgroup = STORE_NONE,
		                           .cgroup_limit = STORE_NONE };
	snprintf(t->s.name, sizeof(t->s.name), "%s", p->name);
	snprintf(t->s.command, sizeof(t->s.command), "%s", p->command);
	err = store_process_put(s->store, &row, &t->s.id);
	if (err) {
		server_store_state(s, err);
		tracked_free(t);
		return NULL;
	}
	pthread_mutex_lock(&r->lock);
	t->next = r->first;
	r->first = t;
	r->n++;
	pthread_mutex_unlock(&r->lock);
	recorder_changed(r);
	return t;
}

static void remove_subject(struct recorder *r, struct tracked *t)
{
	struct tracked **at;

	pthread_mutex_lock(&r->lock);
	for (at = &r->first; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	r->n--;
	recorder_sum_ended(r, &t->s);
	pthread_mutex_unlock(&r->lock);
	tracked_free(t);
	recorder_changed(r);
}

static void mark(struct recorder *r, const struct tracked *t, const char *kind, const char *text)
{
	server_store_state(r->server,
	                   store_mark_add(r->server->store, t->s.id, server_now_ms(), kind, text));
}

/* ---- snapshots -------------------------------------------------------------------------------------------- */

/* From a job's thread. */
static void on_snapshot(void *arg, int64_t process, int64_t snapshot, uint64_t inuse)
{
	struct recorder *r = arg;
	bool settled = false;
	struct tracked *t;

	pthread_mutex_lock(&r->lock);
	t = recorder_by_id(r, process);
	if (t) {
		t->snapping = false;
		if (snapshot) {
			t->taken++;
			settled = !t->has_baseline &&
			          recorder_settled(t->taken, t->last_inuse, inuse);
			t->has_baseline |= settled;
			t->last_inuse = inuse;
		}
	}
	pthread_mutex_unlock(&r->lock);
	if (settled)
		server_store_state(r->server,
		                   store_process_baseline(r->server->store, process, snapshot));
}

/* The warm-up is over when a snapshot holds hardly more than the one before; in the end one has to begin somewhere. */
bool recorder_settled(unsigned int taken, uint64_t before, uint64_t now)
{
	return (taken >= 2 && now / 11 <= before / 10) || taken >= 10;
}

static void take(struct recorder *r, struct tracked *t, const char *reason, int fd)
{
	struct job_request q = { .kind = JOB_SNAPSHOT,
		                 .pid = fd >= 0 ? 0 : t->s.pid,
		                 .process = t->s.id,
		                 .ledger_fd = fd,
		                 .done = on_snapshot,
		                 .arg = r };
	bool joined;
	int64_t id;
	struct seep_error *err;

	snprintf(q.reason, sizeof(q.reason), "%s", reason);
	err = jobs_add(r->server->jobs, &q, &id, &joined);
	if (!err && fd < 0)
		t->snapping = true;
	seep_error_free(err); /* too many wait: the next time, then */
}

/* ---- ledgers ------------------------------------------------------------------------------------------------ */

static void take_entry(struct tracked *t, const struct ledger_entry *e)
{
	t->s.sampled = e->period > 0;
	t->s.period = e->period;
	t->s.active = !e->inactive;
	t->s.attached = e->attached;
	t->s.inuse = e->inuse_bytes;
	t->s.inuse_blocks = e->inuse_blocks;
	t->s.alloc = e->alloc_bytes;
	t->s.ledger_bytes = e->ledger_bytes;
	snprintf(t->s.allocator, sizeof(t->s.allocator), "%s", e->allocator);
}

static void begin_tracking(struct recorder *r, struct tracked *t, const struct ledger_entry *e)
{
	int fd = open(e->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool again = t->was_tracked;

	pthread_mutex_lock(&r->lock);
	t->s.tracked = true;
	t->was_tracked = true;
	if (t->ledger_fd >= 0)
		close(t->ledger_fd);
	t->ledger_fd = fd;
	free(t->ledger);
	t->ledger = strdup(e->path);
	pthread_mutex_unlock(&r->lock);
	if (e->attached || again)
		mark(r, t, "attach", "tracking began");
	recorder_changed(r);
}

/* It runs, or has run until just now. */
static void see_ledger(struct recorder *r, const struct ledger_entry *e)
{
	struct tracked *t = by_program(r, e->pid, e->start_ticks, e->exec_seq);
	struct running p;
	bool denied;

	if (!t) {
		/* One that was watched before it was tracked: it has no number of programs yet. */
		t = by_program(r, e->pid, e->start_ticks, 0);
		if (t && t->s.tracked)
			t = NULL;
	}
	if (!t) {
		if (!running_read(e->pid, &p, &denied))
			return;
		if (p.start_ticks == e->start_ticks)
			t = add_subject(r, &p, e->exec_seq, e);
		running_free(&p);
		if (!t)
			return;
	}
	t->seen = true;
	if (!t->s.tracked || !t->ledger || strcmp(t->ledger, e->path) != 0)
		begin_tracking(r, t, e);
	pthread_mutex_lock(&r->lock);
	take_entry(t, e);
	pthread_mutex_unlock(&r->lock);
}

/* How it ended, as the ledger knows it. */
static void finish(struct recorder *r, struct tracked *t, bool runs)
{
	struct ledger_entry e = { 0 };
	const char *state = "exited", *sentence = NULL;
	struct seep_error *err = NULL;
	char path[64];

	if (t->ledger_fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", t->ledger_fd);
		err = ledger_entry_read(path, &e);
		if (!err)
			take_entry(t, &e);
		if (!err && e.execed && runs) {
			state = "execed";
			sentence = "It went on as another program.";
		} else if (!err && !ledger_is_closed(e.state)) {
			state = "killed";
			sentence = "It was killed, or ended without exit handlers.";
		}
		ledger_entry_release(&e);
		seep_error_free(err);
		if (t->s.watch_s || t->taken || !strcmp(state, "killed"))
			take(r, t, "its end", TAKE_FD(t->ledger_fd));
	}
	/* A command that came and went: nobody will ask for it, and a build has thousands. */
	t->passing = server_now_ms() - t->seen_ms < PASSING_MS;
	server_store_state(r->server, store_process_end(r->server->store, t->s.id, state, sentence,
	                                                server_now_ms()));
	mark(r, t,
	     !strcmp(state, "killed")   ? "killed"
	     : !strcmp(state, "execed") ? "exec"
	                                : "ended",
	     sentence ? sentence : "It ended.");
	if (t->passing && !t->s.watch_s && !t->taken && !strcmp(state, "exited"))
		server_store_state(r->server, store_process_forget(r->server->store, t->s.id));
	remove_subject(r, t);
}

/* A subject whose ledger is no longer written. */
static void lose_ledger(struct recorder *r, struct tracked *t)
{
	struct ledger_entry e = { 0 };
	bool runs = running_alive(t->s.pid, t->s.start_ticks), execed = false;
	char path[64];
	struct seep_error *err;

	if (runs && t->ledger_fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", t->ledger_fd);
		err = ledger_entry_read(path, &e);
		execed = !err && e.execed;
		seep_error_free(err);
		ledger_entry_release(&e);
	}
	if (!runs || execed) {
		finish(r, t, runs);
		return;
	}
	mark(r, t, "detach", "tracking ended");
	pthread_mutex_lock(&r->lock);
	t->s.tracked = false;
	pthread_mutex_unlock(&r->lock);
	recorder_changed(r);
}

/* Once, at the start: those that were killed before anybody looked, as far as the store does not know them. */
static void keep_dead(struct recorder *r, const struct ledger_entry *e)
{
	struct server *s = r->server;
	char name[256];
	struct store_process row = { .pid = e->pid,
		                     .start_ticks = e->start_ticks,
		                     .exec_seq = e->exec_seq,
		                     .started_ms = (int64_t)(e->start_real_ns / 1000000),
		                     .name = name,
		                     .command = (char *)e->command,
		                     .allocator = (char *)e->allocator,
		                     .uid = e->uid,
		                     .tracked = true,
		                     .sampled = e->period > 0,
		                     .period = e->period };
	_cleanup_store_process_ struct store_process known = { 0 };
	struct tracked t = { .ledger_fd = -1 };
	bool found = false;
	struct seep_error *err;
	int fd;

	if (e->execed || ledger_is_closed(e->state) || e->state == LEDGER_DISABLED)
		return;
	procfs_name(e->name, e->command, name, sizeof(name));
	memcpy(row.boot, s->boot, sizeof(row.boot));
	err = store_process_put(s->store, &row, &t.s.id);
	if (!err)
		err = store_process_get(s->store, t.s.id, &known, &found);
	if (!err && found && !known.snapshots && !strcmp(known.state, "running") &&
	    (fd = open(e->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) >= 0) {
		take(r, &t, "its end", fd);
		err = store_process_end(
			s->store, t.s.id, "killed",
			"It was killed before anybody looked; its ledger was still there.",
			(int64_t)((e->start_real_ns + e->duration_ns) / 1000000));
	}
	server_store_state(s, err);
}

static void scan_ledgers(struct recorder *r)
{
	struct ledger_entry *entries = NULL;
	struct tracked *t, *next;
	size_t n = 0, dead = 0;
	struct seep_error *err = ledger_list(r->server->o.ledgers, &entries, &n);

	if (err) {
		seep_error_free(err);
		return;
	}
	for (t = r->first; t; t = t->next)
		t->seen = false;
	for (size_t i = 0; i < n; i++) {
		if (entries[i].alive)
			see_ledger(r, &entries[i]);
		else if (!r->scanned && dead++ < RECORDER_DEAD)
			keep_dead(r, &entries[i]);
	}
	ledger_list_free(entries, n);
	r->scanned = true;
	for (t = r->first; t; t = next) {
		next = t->next;
		if (t->s.tracked && !t->seen)
			lose_ledger(r, t);
		else if (!t->s.tracked && !running_alive(t->s.pid, t->s.start_ticks))
			finish(r, t, false);
	}
}

/* ---- watching --------------------------------------------------------------------------------------------------- */

static void set_watch(struct recorder *r, struct tracked *t, int64_t every_s)
{
	if (t->s.watch_s == every_s)
		return;
	pthread_mutex_lock(&r->lock);
	t->s.watch_s = every_s;
	t->next_snapshot = 0;
	pthread_mutex_unlock(&r->lock);
	server_store_state(r->server, store_process_watch(r->server->store, t->s.id, every_s));
}

/* Those that the store says are watched: by a server before this one, or by the page. */
static void load_watched(struct recorder *r)
{
	_cleanup_store_processes_ struct store_processes l = { 0 };
	struct seep_error *err = store_process_list(r->server->store, &l);

	for (size_t i = 0; !err && i < l.n; i++) {
		const struct store_process *p = &l.items[i];
		struct tracked *t = recorder_by_id(r, p->id);
		struct running run;
		bool denied;

		if (!p->watch_s || !p->state || strcmp(p->state, "running") != 0)
			continue;
		if (!t && running_alive(p->pid, p->start_ticks) &&
		    running_read(p->pid, &run, &denied)) {
			t = add_subject(r, &run, p->exec_seq, NULL);
			running_free(&run);
		}
		if (t) {
			pthread_mutex_lock(&r->lock);
			t->s.watch_s = p->watch_s;
			t->has_baseline = p->baseline != 0;
			t->taken = (unsigned int)p->snapshots;
			pthread_mutex_unlock(&r->lock);
		}
	}
	server_store_state(r->server, err);
}

static void match_specs(struct recorder *r)
{
	const struct server_options *o = &r->server->o;
	_cleanup_running_ struct running_list l = { 0 };

	if (!o->nwatch)
		return;
	running_scan(&l);
	for (size_t i = 0; i < l.n; i++) {
		bool wanted = false;
		struct tracked *t;

		for (size_t k = 0; k < o->nwatch && !wanted; k++)
			wanted = recorder_spec_matches(o->watch[k], &l.items[i]);
		if (!wanted)
			continue;
		for (t = r->first; t && (t->s.pid != l.items[i].pid ||
		                         t->s.start_ticks != l.items[i].start_ticks);)
			t = t->next;
		if (!t)
			t = add_subject(r, &l.items[i], 0, NULL);
		if (t && !t->s.watch_s)
			set_watch(r, t, (int64_t)o->every_s);
	}
}

/* ---- points ---------------------------------------------------------------------------------------------------------- */

static void remember_recent(struct subject *s, int64_t now)
{
	if (s->nrecent && now - s->recent_ms[s->nrecent - 1] < RECENT_MS)
		return;
	if (s->nrecent == RECORDER_RECENT) {
		s->nrecent--;
		memmove(s->recent_ms, s->recent_ms + 1, s->nrecent * sizeof(*s->recent_ms));
		memmove(s->recent_inuse, s->recent_inuse + 1, s->nrecent * sizeof(*s->recent_inuse));
		memmove(s->recent_rss, s->recent_rss + 1, s->nrecent * sizeof(*s->recent_rss));
	}
	s->recent_ms[s->nrecent] = now;
	s->recent_inuse[s->nrecent] = s->inuse;
	s->recent_rss[s->nrecent++] = s->measured.rss > 0 ? (uint64_t)s->measured.rss : 0;
}

static void add_point(struct recorder *r, struct tracked *t, int64_t now)
{
	struct measured m;
	struct store_point p = { .process = t->s.id, .time_ms = now };
	bool deep = now >= t->next_deep;

	if (!measure(t->s.pid, deep, &m))
		return;
	pthread_mutex_lock(&r->lock);
	if (!deep) { /* those of some seconds ago are good enough */
		m.pss = t->s.measured.pss;
		m.uss = t->s.measured.uss;
		m.swap = t->s.measured.swap;
	}
	t->s.measured = m;
	remember_recent(&t->s, now);
	p.value[POINT_INUSE] = t->s.tracked ? (int64_t)t->s.inuse : STORE_NONE;
	p.value[POINT_ALLOC] = t->s.tracked ? (int64_t)t->s.alloc : STORE_NONE;
	p.value[POINT_RSS] = m.rss;
	p.value[POINT_PSS] = m.pss;
	p.value[POINT_SWAP] = m.swap;
	p.value[POINT_RETAINED] = t->s.retained;
	t->s.retained = STORE_NONE;
	p.value[POINT_CGROUP] = m.cgroup > 0 ? m.cgroup : STORE_NONE;
	p.value[POINT_THREADS] = m.threads;
	pthread_mutex_unlock(&r->lock);
	if (deep)
		t->next_deep = now + DEEP_MS;
	recorder_pend(r, &p);
}

static void record(struct recorder *r)
{
	int64_t now = server_now_ms();
	char reason[64];

	for (struct tracked *t = r->first; t; t = t->next) {
		if (now >= t->next_point) {
			add_point(r, t, now);
			t->next_point = now + (int64_t)r->server->o.interval_ms;
		}
		if (t->s.tracked && t->s.watch_s && now >= t->next_snapshot && !t->snapping) {
			snprintf(reason, sizeof(reason), "every %llds", (long long)t->s.watch_s);
			take(r, t, reason, -1);
			t->next_snapshot = now + t->s.watch_s * 1000;
		}
	}
	recorder_flush(r);
}

/* ---- the thread --------------------------------------------------------------------------------------------------------- */

static void retain(struct recorder *r)
{
	const struct store_retention how = { .size = r->server->o.max_size,
		                             .age_ms = (int64_t)r->server->o.max_age_s * 1000,
		                             .snapshots = r->server->o.max_snapshots };
	size_t removed = 0;
	struct seep_error *err = store_retain(r->server->store, &how, server_now_ms(), &removed);

	server_store_state(r->server, err);
}

static bool due(int64_t *next, int64_t now, int64_t every)
{
	if (now < *next)
		return false;
	*next = now + every;
	return true;
}

static uint64_t tick_ms(const struct recorder *r)
{
	return r->server->o.interval_ms < TICK_MS ? r->server->o.interval_ms : TICK_MS;
}

static void *recorder_thread(void *arg)
{
	struct recorder *r = arg;
	int64_t ledgers = 0, specs = 0, retention = 0, alive = 0, sweep = 0;
	struct timespec until;
	bool poked = true;

	load_watched(r);
	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		int64_t now = server_now_ms();

		r->poked = false;
		pthread_mutex_unlock(&r->lock);
		if (poked)
			load_watched(r);
		if (due(&specs, now, SPECS_MS) || poked)
			match_specs(r);
		if (due(&ledgers, now, LEDGERS_MS) || poked)
			scan_ledgers(r);
		record(r);
		if (due(&retention, now, RETAIN_MS))
			retain(r);
		if (due(&alive, now, KEEP_ALIVE_MS))
			events_keep_alive(r->server->events);
		if (due(&sweep, now, 1000)) {
			http_sweep(r->server->http);
			work_rest(r->server->work, now);
		}
		pthread_mutex_lock(&r->lock);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += (long)(tick_ms(r) * 1000000);
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (!r->stop && !r->poked)
			pthread_cond_timedwait(&r->wake, &r->lock, &until);
		poked = r->poked;
	}
	pthread_mutex_unlock(&r->lock);
	recorder_flush(r);
	return NULL;
}

void recorder_start(struct recorder *r)
{
	r->started = pthread_create(&r->thread, NULL, recorder_thread, r) == 0;
}

void recorder_stop(struct recorder *r)
{
	if (!r || !r->started)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	r->started = false;
}

void recorder_free(struct recorder *r)
{
	if (!r)
		return;
	recorder_stop(r);
	while (r->first) {
		struct tracked *t = r->first;

		r->first = t->next;
		tracked_free(t);
	}
	free(r->pending);
	free(r->ended);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wake);
	free(r);
}
