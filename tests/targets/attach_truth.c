/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program to attach to: threads that allocate and free all the time, and counts of their own.
 *
 *     attach_truth THREADS [wait]
 *
 * Commands come on stdin, one letter a line, each answered by a line:
 *
 *     m    marks: all threads free what they have, and stand ("marked") until `g`; what follows counts
 *     t    stops the threads between two blocks and says the truth of all since the mark; `g`: they go on
 *     o    frees blocks that were allocated at the start ("freed")
 *     l    loads a plug-in, the second time another one, and lets each allocate ten blocks ("loaded")
 *     u    unloads them ("unloaded")
 *     q    ends
 */
#include "truth.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>

#define OLD 4000
#define KEEP 64

TRUTH(churn_small);
TRUTH(churn_large);

static void *old[OLD];
static size_t nold;
static volatile int stopping, ending, emptying;
static int standing, nthreads;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static NOINLINE void *churn_small(size_t n)
{
	void *p = malloc(n);

	NOTAIL();
	return p;
}

static NOINLINE void *churn_large(size_t n)
{
	void *p = calloc(1, n);

	NOTAIL();
	return p;
}

struct slot {
	void *p;
	size_t n;
	int large;
	unsigned int era;
};

static volatile unsigned int era; /* blocks of an earlier one are none of ours */

static void drop(struct slot *s)
{
	if (!s->p)
		return;
	free(s->p);
	if (s->era == era && era) {
		if (s->large)
			DIED(churn_large, s->n);
		else
			DIED(churn_small, s->n);
	}
	s->p = NULL;
}

static void *churn(void *arg)
{
	struct slot slots[KEEP] = { { 0 } };
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	while (!ending) {
		struct slot *s = &slots[(seed = seed * 1103515245 + 12345) >> 16 & (KEEP - 1)];

		if (stopping) {
			for (size_t i = 0; i < KEEP && emptying; i++)
				drop(&slots[i]);
			__atomic_fetch_add(&standing, 1, __ATOMIC_ACQ_REL);
			pthread_mutex_lock(&gate);
			pthread_mutex_unlock(&gate);
			__atomic_fetch_sub(&standing, 1, __ATOMIC_ACQ_REL);
			continue;
		}
		drop(s);
		s->n = seed >> 20 & 1023;
		s->large = seed >> 8 & 1;
		s->era = era;
		s->p = s->large ? churn_large(s->n) : churn_small(s->n);
		if (s->era) {
			if (s->large)
				BORN(churn_large, s->p, s->n);
			else
				BORN(churn_small, s->p, s->n);
		}
	}
	for (size_t i = 0; i < KEEP; i++)
		drop(&slots[i]);
	return NULL;
}

static void halt(void)
{
	pthread_mutex_lock(&gate);
	stopping = 1;
	while (__atomic_load_n(&standing, __ATOMIC_ACQUIRE) < nthreads)
		sched_yield();
}

static void resume(void)
{
	stopping = 0;
	pthread_mutex_unlock(&gate);
	while (__atomic_load_n(&standing, __ATOMIC_ACQUIRE) > 0)
		sched_yield();
}

static void until_go(void)
{
	char c = 0;

	while (c != 'g' && read(STDIN_FILENO, &c, 1) == 1)
		;
}

static void *plugins[2];
static int nplugins;

static void load(const char *program)
{
	const char *slash = strrchr(program, '/');

	if (nplugins < 2) {
		char path[4096];

		snprintf(path, sizeof(path), "%.*s/libplugin_%c.so",
		         (int)(slash ? slash - program : 1), slash ? program : ".", 'b' - nplugins);
		plugins[nplugins] = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
		CHECK(plugins[nplugins]);
		nplugins++;
	}
	for (int i = 0; i < nplugins; i++) {
		void *(*make)(size_t);

		*(void **)&make = dlsym(plugins[i], "plugin_make");
		CHECK(make);
		for (int k = 0; k < 10; k++)
			ESCAPE(make(60));
	}
}

static void unload(void)
{
	while (nplugins)
		CHECK(!dlclose(plugins[--nplugins]));
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	char c;

	nthreads = argc > 1 ? atoi(argv[1]) : 2;
	CHECK(nthreads >= 0 && nthreads <= 64);
	for (nold = 0; nold < OLD; nold++)
		old[nold] = malloc(nold % 300);
	for (int i = 0; i < nthreads; i++)
		CHECK(!pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(i + 1)));
	truth_write("ready\n", 6);
	while (read(STDIN_FILENO, &c, 1) == 1 && c != 'q') {
		switch (c) {
		case 'm':
			emptying = 1;
			halt();
			emptying = 0;
			era++;
			for (struct truth_site *s = truth_sites; s; s = s->next)
				s->allocs = s->alloc_bytes = s->frees = s->free_bytes = 0;
			truth_write("marked\n", 7);
			until_go();
			resume();
			truth_write("going\n", 6);
			break;
		case 't':
			halt();
			truth_print("attach_truth", "main");
			/* Whoever asked looks at the ledger now, and says when to go on. */
			until_go();
			resume();
			truth_write("going\n", 6);
			break;
		case 'l':
			load(argv[0]);
			truth_write("loaded\n", 7);
			break;
		case 'u':
			unload();
			truth_write("unloaded\n", 9);
			break;
		case 'o':
			for (int i = 0; i < 1000 && nold; i++)
				free(old[--nold]);
			truth_write("freed\n", 6);
			break;
		}
	}
	ending = 1;
	for (int i = 0; i < nthreads; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
