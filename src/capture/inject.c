/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching by injection, and detaching: see attach.h and docs/ATTACH.md.
 *
 *     inject_look()     what is where in the target, without touching it
 *     borrow_thread()   a thread of it runs the stub, which loads libseep.so and calls its entry
 *     library           makes the ledger, patches the modules' slots, says so in the request
 *
 * Detaching is the same with another order and no loading.
 */
#include "capture/attach.h"
#include "capture/inject_private.h"
#include "capture/launch.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/refusal.h"

#define SECOND 1000000000ull
#define FIND_TIME (5 * SECOND)
#define WORK_TIME (10 * SECOND)
#define DEFAULT_PERIOD (512u << 10)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* ---- what came of it -------------------------------------------------------------- */

static struct seep_error *refused(const struct inject_target *t)
{
	int pid = (int)t->pid;

	switch (t->request.error) {
	case REFUSED_VERSION:
		return seep_error_hint(
			seep_error_new(0, "process %d holds a libseep.so of another build", pid),
			"It stays until the process ends; use the seep it came from.");
	case REFUSED_LATE:
		return seep_error_hint(seep_error_new(0, "process %d took too long", pid),
		                       "Nothing was changed in it; try again.");
	case REFUSED_TRACKED:
		return seep_error_hint(seep_error_new(0, "process %d is already being tracked", pid),
		                       "`seep report %d` shows what was found so far.", pid);
	case REFUSED_LEDGER:
		return seep_error_hint(
			seep_error_new(0, "process %d (%s) could not make a ledger", pid, t->name),
			"It needs a directory it may write to, with room: --ledger-dir.");
	case REFUSED_MEMORY:
		return seep_error_hint(
			seep_error_new(0, "process %d (%s) has no memory for the tracker", pid,
		                       t->name),
			"Its limits (ulimit -v, the cgroup's) may be in the way.");
	case REFUSED_NOT_HERE:
		return seep_error_hint(seep_error_new(0, "process %d is not attached to", pid),
		                       "`seep ps` lists what is being tracked.");
	case REFUSED_BUSY:
		return seep_error_hint(
			seep_error_new(0, "another seep is attaching to process %d or detaching",
		                       pid),
			"Try again in a moment.");
	default:
		return seep_error_new(0, "the tracker in process %d refused (%d)", pid,
		                      t->request.error);
	}
}

static struct seep_error *no_library(const struct inject_target *t)
{
	char text[256] = "";

	/* The text is the target's. */
	if (t->request.message &&
	    dynsym_memory(&t->symbols, t->request.message, text, sizeof(text) - 1))
		for (char *p = text; *p; p++)
			if ((unsigned char)*p < 32 || *p == 127)
				*p = '?';
	return seep_error_hint(seep_error_new(0, "process %d (%s) could not load the tracker%s%s",
	                                      (int)t->pid, t->name, *text ? ": " : "", text),
	                       "Nothing was changed in it.");
}

struct seep_error *inject_outcome(const struct inject_target *t, const struct borrow_result *res)
{
	int pid = (int)t->pid;

	switch (res->failure) {
	case BORROW_FINE:
		break;
	case BORROW_CANNOT_TRACE:
		return refusal_explain(t->pid, res->code, res->tid);
	case BORROW_GONE:
		return seep_error_new(0, "process %d (%s) ended meanwhile", pid, t->name);
	case BORROW_LOST:
		return seep_error_hint(
			seep_error_new(0, "the process that was tracing process %d was killed", pid),
			"The target runs on; see with `seep ps` whether it is tracked.");
	case BORROW_NO_PLACE:
		return seep_error_new(
			0, "no thread of process %d (%s) could be made to do a system call", pid,
			t->name);
	case BORROW_NO_MEMORY:
		return seep_error_new(res->code, "process %d (%s) has no memory to spare", pid,
		                      t->name);
	case BORROW_NO_FILES:
		return seep_error_new(res->code, "process %d (%s) could not be given a file", pid,
		                      t->name);
	case BORROW_NOT_SAFE:
		return seep_error_hint(
			seep_error_new(
				0, "found no thread of process %d (%s) at a safe point in %u tries",
				pid, t->name, res->tries),
			"All were inside the allocator, the loader or a signal handler; try again, or "
			"--bpf.");
	case BORROW_TOO_SLOW:
		return seep_error_hint(
			seep_error_new(0, "process %d (%s) did not finish in time (step %u)", pid,
		                       t->name, t->request.state),
			"The loader may be busy, or the process stopped; look at `seep ps` in a while.");
	default:
		return seep_error_new(0, "attaching to process %d failed (%d)", pid, res->failure);
	}
	switch (t->request.state) {
	case ATTACH_DONE:
		return NULL;
	case ATTACH_NO_THREAD:
		return seep_error_new(t->request.error > 0 && t->request.error < 4096
		                              ? t->request.error
		                              : EAGAIN,
		                      "process %d (%s) could not start a thread", pid, t->name);
	case ATTACH_NO_LIBRARY:
		return no_library(t);
	case ATTACH_NO_ENTRY:
		return seep_error_new(0, "%s is not seep's library", t->request.library);
	case ATTACH_REFUSED:
		return refused(t);
	default:
		return seep_error_new(0, "process %d (%s) gave an answer that makes no sense", pid,
		                      t->name);
	}
}

/* Whether it may be tried another way: nothing was begun that could still come to be. */
static bool untouched(const struct inject_target *t, const struct borrow_result *res)
{
	switch (res->failure) {
	case BORROW_FINE:
		break;
	case BORROW_NO_PLACE:
	case BORROW_NO_MEMORY:
	case BORROW_NO_FILES:
	case BORROW_NOT_SAFE:
		return true;
	default:
		return false;
	}
	switch (t->request.state) {
	case ATTACH_NO_THREAD:
	case ATTACH_NO_LIBRARY:
		return true;
	case ATTACH_REFUSED:
		return t->request.error == REFUSED_LEDGER || t->request.error == REFUSED_MEMORY;
	default:
		return false;
	}
}

/* ---- the call ------------------------------------------------------------------------ */

static struct seep_error *make_call(struct inject_target *t, enum attach_order order,
                                    struct borrow_result *ret)
{
	struct attach_request *rq = &t->request;
	struct borrow_call *c = &t->call;
	struct seep_error *err;

	rq->version = ATTACH_VERSION;
	rq->order = order;
	rq->own_thread = t->threads > 1 && rq->pthread_create;
	if (!rq->own_thread)
		rq->pthread_create = 0;
	strcpy(rq->entry_name, ATTACH_ENTRY);
	rq->deadline_mono_ns = inject_foreign_time(t->pid) ? UINT64_MAX
	                                                   : now_ns() + FIND_TIME + WORK_TIME;
	c->unfiltered = true;
	c->code = inject_stub;
	c->code_len = (size_t)(inject_stub_end - inject_stub);
	c->data = rq;
	c->data_len = sizeof(*rq);
	c->state_at = offsetof(struct attach_request, state);
	c->done_from = ATTACH_DONE;
	c->find_ns = FIND_TIME;
	c->work_ns = WORK_TIME;
	err = borrow_thread(t->pid, c, ret);
	if (err)
		return err;
	return inject_outcome(t, ret);
}

static bool is_attached(const struct inject_target *t)
{
	return t->status_at && t->status.mode == ATTACH_MODE_ATTACHED;
}

static struct seep_error *already(const struct inject_target *t)
{
	bool run = t->status.mode == ATTACH_MODE_PRELOADED;

	return seep_error_hint(
		seep_error_new(0, "process %d (%s) is already being tracked, %s", (int)t->pid,
	                       t->name, run ? "since its start (seep run)" : "attached to"),
		run ? "`seep report %d` shows what was found so far."
		    : "`seep report %d` shows what was found so far; `seep detach` ends it.",
		(int)t->pid);
}

/* In the tracing process: the library has a number now. */
static void name_library(void *data)
{
	struct attach_request *rq = data;

	if (rq->library_fd >= 0)
		snprintf(rq->library, sizeof(rq->library), "/proc/self/fd/%d", rq->library_fd);
}

static void give_files(struct inject_target *t)
{
	struct borrow_call *c = &t->call;

	t->request.library_fd = t->request.ledger_fd = -1;
	if (t->ledger_fd >= 0) {
		c->fds[c->nfds] = t->ledger_fd;
		c->fd_at[c->nfds++] = offsetof(struct attach_request, ledger_fd);
	}
	if (t->library_fd >= 0) {
		c->fds[c->nfds] = t->library_fd;
		c->fd_at[c->nfds++] = offsetof(struct attach_request, library_fd);
	}
	c->prepare = name_library;
}

struct seep_error *attach_inject(pid_t pid, const struct attach_options *opts,
                                 struct attach_result *ret)
{
	_cleanup_inject_target_ struct inject_target t = { .ledger_fd = -1, .library_fd = -1 };
	_cleanup_image_ struct image *before = NULL;
	struct attach_result r = { .path = ATTACH_INJECT };
	struct attach_request *rq = &t.request;
	uint64_t began = now_ns();
	struct borrow_result res = { 0 };
	struct seep_error *err;

	err = inject_look(pid, &t);
	if (err)
		return err;
	if (t.status_at && (is_attached(&t) || t.status.mode == ATTACH_MODE_PRELOADED))
		return already(&t);
	if (!rq->entry)
		err = inject_library_choose(&t, opts->library);
	if (!err)
		err = inject_ledger_make(&t, opts->ledger_dir);
	if (err)
		return err;
	snprintf(rq->options, sizeof(rq->options), "mode=%s,sample=%" PRIu64,
	         opts->full ? "full" : "sampled",
	         opts->full     ? 1
	         : opts->period ? opts->period
	                        : DEFAULT_PERIOD);
	rq->for_ns = opts->for_ns;
	give_files(&t);
	before = inject_before_clone(&t, &r.stopped_ns);
	err = make_call(&t, ATTACH_BEGIN, &res);
	if (err) {
		/* The target may still get there, but then it finds its time to be over. */
		unlink(rq->ledger_path);
		ret->untouched = untouched(&t, &res);
		return err;
	}
	r.stopped_ns += res.stopped_ns;
	r.total_ns = now_ns() - began;
	if (before && inject_before_count(before, &r.before_blocks, &r.before_bytes))
		inject_before_write(t.ledger_fd, r.before_blocks, r.before_bytes);
	r.ledger = strdup(rq->ledger_path);
	if (!r.ledger)
		return &seep_error_nomem;
	if (opts->for_ns || opts->budget)
		err = inject_watch_start(pid, t.ledger_fd, opts);
	if (err) {
		attach_result_release(&r);
		seep_error_free(detach_inject(pid, opts));
		return err;
	}
	*ret = r;
	return NULL;
}

struct seep_error *detach_inject(pid_t pid, const struct attach_options *opts)
{
	_cleanup_inject_target_ struct inject_target t = { .ledger_fd = -1, .library_fd = -1 };
	struct borrow_result res;
	struct seep_error *err = inject_look(pid, &t);

	(void)opts;
	if (err)
		return err;
	if (!t.status_at || !t.request.entry || !is_attached(&t)) {
		bool run = t.status_at && t.status.mode == ATTACH_MODE_PRELOADED;

		return seep_error_hint(seep_error_new(0, "process %d (%s) is not attached to%s",
		                                      (int)pid, t.name,
		                                      run ? ": it was started under seep run" : ""),
		                       run ? "There its tracker stays; `seep ctl` can pause it."
		                           : "`seep ps` lists what is being tracked.");
	}
	give_files(&t);
	err = make_call(&t, ATTACH_END, &res);
	/* All that is left of it then is that the old ledger stays mapped. */
	if (err && t.request.state == ATTACH_REFUSED && t.request.error == REFUSED_STUCK) {
		seep_error_free(err);
		err = NULL;
	}
	return err;
}

char *attach_inject_obstacle(pid_t pid)
{
	_cleanup_inject_target_ struct inject_target t = { .ledger_fd = -1, .library_fd = -1 };
	_cleanup_error_ struct seep_error *err = inject_look(pid, &t);

	return err ? strdup(err->message) : NULL;
}

void attach_result_release(struct attach_result *ret)
{
	free(ret->reason);
	free(ret->ledger);
	ret->reason = ret->ledger = NULL;
}
