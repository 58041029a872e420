/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder's other side: points on their way to the store, and what others ask of it. */
#include "server/recorder_private.h"

#include "server/events.h"
#include "server/jsonw.h"
#include "server/private.h"

#include "analysis/names.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "proc/cgroup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- points ------------------------------------------------------------------------------------------------ */

void recorder_pend(struct recorder *r, const struct store_point *p)
{
	if (r->npending >= RECORDER_PENDING ||
	    array_grow((void **)&r->pending, r->npending, &r->cap_pending, sizeof(*r->pending)) < 0) {
		r->lost++;
		return;
	}
	r->pending[r->npending++] = *p;
}

static void tell(struct recorder *r, const struct store_point *p)
{
	static const char *const keys[POINT_NCOLUMNS] = { "inuse", "alloc",    "rss",    "pss",
		                                          "swap",  "retained", "cgroup", "threads" };
	_cleanup_buf_ struct buf text = { 0 };
	struct jsonw j = { .out = &text };

	if (!events_wanted(r->server->events, p->process))
		return;
	jw_object(&j, NULL);
	jw_int(&j, "process", p->process);
	jw_int(&j, "time_ms", p->time_ms);
	for (size_t i = 0; i < POINT_NCOLUMNS; i++)
		jw_int(&j, keys[i], p->value[i]);
	jw_object_end(&j);
	events_send(r->server->events, p->process, "point", &text);
}

void recorder_flush(struct recorder *r)
{
	struct seep_error *err;

	if (!r->npending)
		return;
	err = store_points_add(r->server->store, r->pending, r->npending);
	if (!err) {
		for (size_t i = 0; i < r->npending; i++)
			tell(r, &r->pending[i]);
		pthread_mutex_lock(&r->lock);
		r->written += r->npending;
		r->npending = 0;
		pthread_mutex_unlock(&r->lock);
	}
	server_store_state(r->server, err);
}

uint64_t recorder_points(struct recorder *r, uint64_t *ret_pending, uint64_t *ret_lost)
{
	uint64_t written;

	pthread_mutex_lock(&r->lock);
	written = r->written;
	*ret_pending = r->npending;
	*ret_lost = r->lost;
	pthread_mutex_unlock(&r->lock);
	return written;
}

/* ---- which processes ------------------------------------------------------------------------------------------ */

bool recorder_spec_matches(const char *spec, const struct running *p)
{
	uint64_t pid;

	if (parse_u64(spec, &pid) == 0)
		return pid == (uint64_t)p->pid;
	if (*spec == '/')
		return !strcmp(spec, p->exe) || cgroup_contains(spec, p->pid);
	return !strcmp(spec, p->name) || !strcmp(spec, path_base(p->exe));
}

/* ---- for others --------------------------------------------------------------------------------------------------- */

struct seep_error *recorder_new(struct server *s, struct recorder **ret_recorder)
{
	struct recorder *r = calloc(1, sizeof(*r));
	struct seep_error *err;

	if (!r)
		return &seep_error_nomem;
	r->server = s;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wake, NULL);
	err = store_process_sweep(s->store, s->boot, running_alive, server_now_ms());
	if (err)
		recorder_free(r);
	else
		*ret_recorder = r;
	return err;
}

struct subject *recorder_list(struct recorder *r, size_t *ret_n)
{
	struct subject *list;
	size_t n = 0;

	pthread_mutex_lock(&r->lock);
	list = calloc(r->n + 1, sizeof(*list));
	for (struct tracked *t = r->first; list && t; t = t->next)
		list[n++] = t->s;
	pthread_mutex_unlock(&r->lock);
	*ret_n = n;
	return list;
}

bool recorder_find(struct recorder *r, int64_t id, struct subject *ret)
{
	struct tracked *t;

	pthread_mutex_lock(&r->lock);
	t = recorder_by_id(r, id);
	if (t)
		*ret = t->s;
	pthread_mutex_unlock(&r->lock);
	return t != NULL;
}

bool recorder_find_pid(struct recorder *r, int32_t pid, struct subject *ret)
{
	struct tracked *t;

	pthread_mutex_lock(&r->lock);
	for (t = r->first; t && t->s.pid != pid; t = t->next)
		;
	if (t)
		*ret = t->s;
	pthread_mutex_unlock(&r->lock);
	return t != NULL;
}

int64_t recorder_rss(struct recorder *r, int64_t id)
{
	struct subject s;

	return recorder_find(r, id, &s) ? s.measured.rss : STORE_NONE;
}

struct seep_error *recorder_adopt(struct recorder *r, int32_t pid, int64_t *ret_id)
{
	struct subject known;
	struct running p;
	struct store_process row = { 0 };
	struct seep_error *err;
	bool denied = false;

	if (recorder_find_pid(r, pid, &known)) {
		*ret_id = known.id;
		return NULL;
	}
	if (!running_read(pid, &p, &denied))
		return denied ? seep_error_hint(seep_error_new(EACCES,
		                                               "process %d is not this user's", pid),
		                                "Run seep serve as its user, or as root.")
		              : seep_error_new(ESRCH, "there is no process %d", pid);
	row = (struct store_process){ .pid = p.pid,
		                      .start_ticks = p.start_ticks,
		                      .started_ms = p.started_ms,
		                      .name = p.name,
		                      .command = p.command,
		                      .exe = p.exe,
		                      .uid = p.uid };
	memcpy(row.boot, r->server->boot, sizeof(row.boot));
	err = store_process_put(r->server->store, &row, ret_id);
	running_free(&p);
	server_store_state(r->server, err ? seep_error_new(err->code, "%s", err->message) : NULL);
	return err;
}

struct seep_error *recorder_watch(struct recorder *r, int64_t id, int64_t every_s)
{
	struct seep_error *err = store_process_watch(r->server->store, id, every_s);
	struct tracked *t;

	if (err)
		return err;
	pthread_mutex_lock(&r->lock);
	t = recorder_by_id(r, id);
	if (t) {
		t->s.watch_s = every_s;
		t->next_snapshot = 0;
	}
	pthread_mutex_unlock(&r->lock);
	recorder_poke(r);
	return NULL;
}

void recorder_retained(struct recorder *r, int64_t id, int64_t bytes)
{
	struct tracked *t;

	pthread_mutex_lock(&r->lock);
	t = recorder_by_id(r, id);
	if (t)
		t->s.retained = bytes;
	pthread_mutex_unlock(&r->lock);
}

void recorder_poke(struct recorder *r)
{
	pthread_mutex_lock(&r->lock);
	r->poked = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void recorder_sum_ended(struct recorder *r, const struct subject *s)
{
	size_t i = 0;

	if (!s->alloc)
		return;
	while (i < r->nended && strcmp(r->ended[i].name, s->name) != 0)
		i++;
	if (i == r->nended) {
		struct ended_sum *more;

		if (i == RECORDER_ENDED || !(more = reallocarray(r->ended, i + 1, sizeof(*more))))
			return;
		r->ended = more;
		memset(&more[i], 0, sizeof(*more));
		memcpy(more[i].name, s->name, sizeof(more[i].name));
		r->nended++;
	}
	r->ended[i].alloc += s->alloc;
}

struct ended_sum *recorder_ended(struct recorder *r, size_t *ret_n)
{
	struct ended_sum *copy;

	pthread_mutex_lock(&r->lock);
	copy = calloc(r->nended + 1, sizeof(*copy));
	if (copy && r->nended)
		memcpy(copy, r->ended, r->nended * sizeof(*copy));
	*ret_n = copy ? r->nended : 0;
	pthread_mutex_unlock(&r->lock);
	return copy;
}
