/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of questions and a table of those that are being answered.  Both, and the cache, are short lists under one lock that is held
 * for moments; a list of at most a few hundred is searched faster than a table is kept.
 */
#include "server/work.h"

#include "server/private.h"

#include "base/cleanup.h"
#include "base/idmap.h"
#include "base/large.h"
#include "proc/cgroup.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_MOST 16384
#define REST_MS 60000
#define LARGE_ANSWER (8u << 20) /* bytes of memory the heap grew by for it */
#define MOST_WARM (128u << 20)

struct work_answer {
	struct reply reply;
	atomic_uint refs;
	pthread_mutex_t lock;
	void *shared;
	void (*drop)(void *);
};

struct waiter {
	struct waiter *next;
	void (*done)(void *arg, struct work_answer *answer);
	void *arg;
};

struct question {
	struct question *next;
	const struct route *route;
	struct request request;
	char *key; /* NULL: is answered alone */
	uint64_t hash;
	struct waiter *waiters;
	bool running;
};

struct kept {
	struct kept *next;
	char *key;
	uint64_t hash;
	struct work_answer *answer;
	size_t bytes;
};

struct work {
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct question *first; /* in the order of arrival; running ones stay until they are answered */
	size_t waiting, most_waiting;
	struct kept *kept; /* newest first */
	size_t kept_bytes, cache_bytes;
	int64_t answered_ms; /* the last answer; 0: memory has been given back since */
	size_t need;         /* the most an answer since then has taken of new memory */
	bool stop;
	pthread_t threads[8];
	unsigned int nthreads;
};

/* ---- answers -------------------------------------------------------------------------------------- */

const struct reply *work_answer_reply(const struct work_answer *a)
{
	return &a->reply;
}

void *work_answer_shared(struct work_answer *a, void *(*make)(const struct reply *reply),
                         void (*drop)(void *))
{
	void *shared;

	pthread_mutex_lock(&a->lock);
	if (!a->shared) {
		a->shared = make(&a->reply);
		a->drop = drop;
	}
	shared = a->shared;
	pthread_mutex_unlock(&a->lock);
	return shared;
}

void work_answer_release(struct work_answer *a)
{
	if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
		return;
	if (a->shared)
		a->drop(a->shared);
	reply_release(&a->reply);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static struct work_answer *hold(struct work_answer *a)
{
	atomic_fetch_add(&a->refs, 1);
	return a;
}

/* ---- the cache -------------------------------------------------------------------------------------- */

static void kept_free(struct kept *k)
{
	work_answer_release(k->answer);
	free(k->key);
	free(k);
}

/* Under the lock.  What was found moves to the front. */
static struct work_answer *cache_find(struct work *w, const char *key, uint64_t hash)
{
	for (struct kept **at = &w->kept; *at; at = &(*at)->next) {
		struct kept *k = *at;

		if (k->hash != hash || strcmp(k->key, key) != 0)
			continue;
		*at = k->next;
		k->next = w->kept;
		w->kept = k;
		return hold(k->answer);
	}
	return NULL;
}

static void cache_add(struct work *w, const struct question *q, struct work_answer *a)
{
	size_t bytes = a->reply.body.len + strlen(q->key) + sizeof(struct kept), sum = 0;
	struct kept *k, **at;

	if (bytes > w->cache_bytes / 2)
		return;
	k = calloc(1, sizeof(*k));
	if (!k || !(k->key = strdup(q->key))) {
		free(k);
		return;
	}
	k->hash = q->hash;
	k->answer = hold(a);
	k->bytes = bytes;
	k->next = w->kept;
	w->kept = k;
	for (at = &w->kept; *at && sum + (*at)->bytes <= w->cache_bytes; at = &(*at)->next)
		sum += (*at)->bytes;
	while (*at) {
		struct kept *old = *at;

		*at = old->next;
		kept_free(old);
	}
}

/* ---- answering ----------------------------------------------------------------------------------------- */

static void question_free(struct question *q)
{
	request_release(&q->request);
	free(q->key);
	free(q);
}

static struct work_answer *answer_new(void)
{
	struct work_answer *a = calloc(1, sizeof(*a));

	if (a) {
		reply_init(&a->reply);
		atomic_init(&a->refs, 1);
		pthread_mutex_init(&a->lock, NULL);
	}
	return a;
}

static void tell(struct waiter *waiters, struct work_answer *answer)
{
	while (waiters) {
		struct waiter *w = waiters;

		waiters = w->next;
		w->done(w->arg, answer ? hold(answer) : NULL);
		free(w);
	}
}

/* Takes the question out of the list and gives its waiters; under the lock. */
static struct waiter *finish(struct work *w, struct question *q)
{
	struct question **at = &w->first;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	w->waiting--;
	return q->waiters;
}

/* ---- memory --------------------------------------------------------------------------------------------- */

#ifdef __GLIBC__

static uintptr_t heap_end(void)
{
	return (uintptr_t)sbrk(0);
}

static bool is_idle(struct work *w)
{
	bool idle;

	pthread_mutex_lock(&w->lock);
	idle = !w->first && !w->stop;
	pthread_mutex_unlock(&w->lock);
	return idle;
}

/* Of so many bytes, what a limit on our cgroup leaves room for several times over. */
static size_t affordable(size_t bytes)
{
	struct cgroup_memory group;
	uint64_t part;

	if (cgroup_memory(getpid(), &group) < 0 || !group.limit)
		return bytes;
	part = group.limit > group.used ? (group.limit - group.used) / 4 : 0;
	return part < bytes ? (size_t)part : bytes;
}

/*
 * An answer that took much new memory is followed by more of its kind: who looks at one snapshot of 50,000 sites compares it
 * next, and keeps what both are made of.  Half of what that takes is the kernel clearing pages.  So they are taken, touched and
 * freed while nobody asks, a huge page at a time.
 */
static void warm(struct work *w, size_t grown)
{
	void *pages[MOST_WARM / LARGE_PAGE];
	size_t wanted, there, n = 0;

	pthread_mutex_lock(&w->lock);
	if (grown >= LARGE_ANSWER && grown > w->need)
		w->need = grown;
	wanted = w->need < MOST_WARM / 2 ? 2 * w->need : MOST_WARM;
	pthread_mutex_unlock(&w->lock);
	there = wanted ? mallinfo2().fordblks : 0;
	if (there >= wanted)
		return;
	wanted = affordable(wanted - there);
	while (n < ARRAY_SIZE(pages) && (n + 1) * LARGE_PAGE <= wanted && is_idle(w)) {
		pages[n] = large_alloc(LARGE_PAGE);
		if (!pages[n])
			break;
		memset(pages[n++], 0, LARGE_PAGE);
	}
	while (n)
		free(pages[--n]);
}

#else /* other C libraries keep what they like */

static uintptr_t heap_end(void)
{
	return 0;
}

static void warm(struct work *w, size_t grown) {}

#endif

void work_rest(struct work *w, int64_t now_ms)
{
	bool rest;

	pthread_mutex_lock(&w->lock);
	rest = w->answered_ms && !w->first && now_ms - w->answered_ms > REST_MS;
	if (rest)
		w->answered_ms = w->need = 0;
	pthread_mutex_unlock(&w->lock);
	if (rest)
		large_give_back();
}

/* ---- threads -------------------------------------------------------------------------------------------- */

static void *worker(void *arg)
{
	struct work *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		struct question *q = w->first;
		struct work_answer *a;
		struct waiter *waiters;
		uintptr_t before, after;

		while (q && q->running)
			q = q->next;
		if (!q) {
			pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		q->running = true;
		pthread_mutex_unlock(&w->lock);
		before = heap_end();
		a = answer_new();
		if (a) {
			q->route->run(w->server, &q->request, &a->reply);
			if (a->reply.body.failed)
				reply_error(&a->reply, 500, "failed", NULL, "out of memory");
			else if (q->request.pack)
				reply_pack(&a->reply);
		}
		pthread_mutex_lock(&w->lock);
		waiters = finish(w, q);
		w->answered_ms = server_now_ms();
		if (a && q->key && a->reply.share && a->reply.status == 200)
			cache_add(w, q, a);
		pthread_mutex_unlock(&w->lock);
		tell(waiters, a);
		work_answer_release(a);
		question_free(q);
		after = heap_end();
		warm(w, after > before ? after - before : 0);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static char *make_key(const struct request *q)
{
	struct buf key = { 0 };

	request_canonical(q, &key);
	if (key.failed || key.len > KEY_MOST) {
		buf_release(&key);
		return NULL;
	}
	return buf_steal(&key);
}

bool work_submit(struct work *w, const struct route *route, struct request *q,
                 void (*done)(void *arg, struct work_answer *answer), void *arg)
{
	_cleanup_free_ char *key = route->flags & ROUTE_MERGE ? make_key(q) : NULL;
	uint64_t hash = key ? hash_str(key) : 0;
	struct waiter *waiter = calloc(1, sizeof(*waiter));
	struct question *question = calloc(1, sizeof(*question));
	struct question *same = NULL, **last;
	struct work_answer *found = NULL;
	bool full = false;

	if (!waiter || !question) {
		free(waiter);
		free(question);
		return false;
	}
	*waiter = (struct waiter){ .done = done, .arg = arg };
	pthread_mutex_lock(&w->lock);
	if (key)
		found = cache_find(w, key, hash);
	for (last = &w->first; !found && *last; last = &(*last)->next)
		if (key && (*last)->key && (*last)->hash == hash && !strcmp((*last)->key, key))
			same = *last;
	full = !found && !same && (w->waiting >= w->most_waiting || w->stop);
	if (!found && same) {
		waiter->next = same->waiters;
		same->waiters = waiter;
	} else if (!found && !full) {
		question->route = route;
		question->request = *q;
		question->key = TAKE(key);
		question->hash = hash;
		question->waiters = waiter;
		*last = question;
		w->waiting++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	if (full) {
		free(waiter);
		free(question);
		return false;
	}
	if (found || same) {
		request_release(q);
		free(question);
	}
	request_init(q); /* it is the question's now */
	if (found) {
		tell(waiter, found);
		work_answer_release(found);
	}
	return true;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

struct work *work_new(struct server *s, unsigned int threads, size_t most_waiting,
                      size_t cache_bytes)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->server = s;
	w->most_waiting = most_waiting;
	w->cache_bytes = cache_bytes;
	large_keep();
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	if (threads > ARRAY_SIZE(w->threads))
		threads = ARRAY_SIZE(w->threads);
	for (; w->nthreads < threads; w->nthreads++)
		if (pthread_create(&w->threads[w->nthreads], NULL, worker, w) != 0)
			break;
	if (!w->nthreads) {
		work_free(w);
		return NULL;
	}
	return w;
}

void work_stop(struct work *w)
{
	struct question *left;

	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (; w->nthreads; w->nthreads--)
		pthread_join(w->threads[w->nthreads - 1], NULL);
	pthread_mutex_lock(&w->lock); /* the network goes on asking */
	left = w->first;
	w->first = NULL;
	w->waiting = 0;
	pthread_mutex_unlock(&w->lock);
	while (left) {
		struct question *q = left;

		left = q->next;
		tell(q->waiters, NULL);
		question_free(q);
	}
}

void work_free(struct work *w)
{
	if (!w)
		return;
	work_stop(w);
	while (w->kept) {
		struct kept *k = w->kept;

		w->kept = k->next;
		kept_free(k);
	}
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->wake);
	free(w);
}
