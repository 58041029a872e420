/* SPDX-License-Identifier: Apache-2.0 */
#include "server/events.h"

#include "base/buf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PENDING (256u << 10)

struct listener {
	struct listener *next;
	int64_t process; /* 0: none in particular */
	struct buf pending;
	bool asleep, cut;
	void (*wake)(void *arg);
	void *arg;
};

struct events {
	pthread_mutex_t lock;
	struct listener *first;
	size_t n;
	bool stopped;
};

struct events *events_new(void)
{
	struct events *e = calloc(1, sizeof(*e));

	if (e)
		pthread_mutex_init(&e->lock, NULL);
	return e;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	pthread_mutex_destroy(&e->lock);
	free(e);
}

struct listener *events_listen(struct events *e, int64_t process, void (*wake)(void *arg), void *arg)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	*l = (struct listener){ .process = process, .wake = wake, .arg = arg };
	pthread_mutex_lock(&e->lock);
	if (e->n >= EVENTS_LISTENERS || e->stopped) {
		pthread_mutex_unlock(&e->lock);
		free(l);
		return NULL;
	}
	l->next = e->first;
	e->first = l;
	e->n++;
	pthread_mutex_unlock(&e->lock);
	return l;
}

void events_leave(struct events *e, struct listener *l)
{
	struct listener **at;

	pthread_mutex_lock(&e->lock);
	for (at = &e->first; *at && *at != l; at = &(*at)->next)
		;
	if (*at) {
		*at = l->next;
		e->n--;
	}
	pthread_mutex_unlock(&e->lock);
	buf_release(&l->pending);
	free(l);
}

/* Under the lock. */
static void put(struct listener *l, const char *text, size_t len)
{
	if (l->cut)
		return;
	if (l->pending.len + len > PENDING || buf_add(&l->pending, text, len) < 0)
		l->cut = true;
	if (l->asleep) {
		l->asleep = false;
		l->wake(l->arg);
	}
}

void events_send(struct events *e, int64_t process, const char *name, const struct buf *json)
{
	struct buf text = { 0 };

	buf_printf(&text, "event: %s\ndata: ", name);
	buf_add(&text, json->data, json->len);
	buf_add(&text, "\n\n", 2);
	if (!text.failed && !json->failed) {
		pthread_mutex_lock(&e->lock);
		for (struct listener *l = e->first; l; l = l->next)
			if (!process || l->process == process)
				put(l, text.data, text.len);
		pthread_mutex_unlock(&e->lock);
	}
	buf_release(&text);
}

void events_keep_alive(struct events *e)
{
	pthread_mutex_lock(&e->lock);
	for (struct listener *l = e->first; l; l = l->next)
		put(l, ":\n\n", 3);
	pthread_mutex_unlock(&e->lock);
}

void events_stop(struct events *e)
{
	pthread_mutex_lock(&e->lock);
	e->stopped = true;
	for (struct listener *l = e->first; l; l = l->next) {
		l->cut = true;
		if (l->asleep) {
			l->asleep = false;
			l->wake(l->arg);
		}
	}
	pthread_mutex_unlock(&e->lock);
}

bool events_wanted(struct events *e, int64_t process)
{
	bool wanted = false;

	pthread_mutex_lock(&e->lock);
	for (struct listener *l = e->first; l && !wanted; l = l->next)
		wanted = l->process == process;
	pthread_mutex_unlock(&e->lock);
	return wanted;
}

long events_take(struct events *e, struct listener *l, char *to, size_t size,
                 void (*sleep)(void *arg))
{
	size_t n;

	pthread_mutex_lock(&e->lock);
	if (l->cut) {
		pthread_mutex_unlock(&e->lock);
		return -1;
	}
	n = l->pending.len < size ? l->pending.len : size;
	if (n) {
		memcpy(to, l->pending.data, n);
		memmove(l->pending.data, l->pending.data + n, l->pending.len - n + 1);
		l->pending.len -= n;
	} else {
		l->asleep = true;
		sleep(l->arg);
	}
	pthread_mutex_unlock(&e->lock);
	return (long)n;
}
