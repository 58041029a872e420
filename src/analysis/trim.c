/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of a trim.
 *
 * Largest runs first: when time or patience runs out, or the program uses its heap again, most of the gain is made.  A plan
 * is good for as many stops as it takes; what the program has changed meanwhile is left out, and if that was much a new
 * plan is made of what is there then.
 */
#include "analysis/trim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "analysis/trim_private.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "heap/heap.h"
#include "heap/recheck.h"
#include "proc/discard.h"
#include "proc/image.h"
#include "proc/maps.h"
#include "proc/procfs.h"

#define MS UINT64_C(1000000)
#define STOP_BASE (10 * MS)
#define STOP_PER_GB (100 * MS)
#define STOP_RESERVE (MS) /* to let the process go again */
#define LOST_MAX (250 * MS)
#define WAIT (10000 * MS) /* without getting any further */
#define PAUSE_MIN (MS)
#define PAUSE_MAX (32 * MS)
#define CHECK_NS 40000u /* looking at a run and dropping it, until it is known better */
#define PLANS 3
#define WORTH (1u << 20) /* bytes that a further plan must promise */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void nap(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}

void trim_note(struct trim *t, const char *fmt, ...)
{
	char **grown = realloc(t->notes, (t->nnotes + 1) * sizeof(*grown)), *text;
	va_list ap;
	int n;

	if (!grown)
		return;
	t->notes = grown;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		t->notes[t->nnotes++] = text;
}

struct trim_part *trim_add_part(struct trim *t)
{
	struct trim_part *grown = realloc(t->parts, (t->nparts + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	t->parts = grown;
	grown[t->nparts] = (struct trim_part){ 0 };
	return &grown[t->nparts++];
}

/* ---- the process's memory ------------------------------------------------------------ */

static uint64_t kilobytes(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? strtoull(p + strlen(name), NULL, 10) * 1024 : 0;
}

int trim_memory_read(pid_t pid, struct trim_memory *ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct trim_memory m = { .exact = true };
	int r = procfs_read(pid, "smaps_rollup", 1 << 16, &text);

	if (!r && text.data && strstr(text.data, "\nRss:")) {
		m.rss = kilobytes(text.data, "\nRss:");
		m.swap = kilobytes(text.data, "\nSwap:");
		m.huge = kilobytes(text.data, "\nAnonHugePages:");
	} else {
		buf_reset(&text);
		m.exact = false;
		r = procfs_read(pid, "status", 1 << 16, &text);
		if (r)
			return r;
		if (!text.data)
			return -EIO;
		m.rss = kilobytes(text.data, "\nVmRSS:");
		m.swap = kilobytes(text.data, "\nVmSwap:");
	}
	*ret = m;
	return 0;
}

/*
 * Locked memory stays: it was locked for a reason, and the kernel refuses anyway.  Which it is only smaps says, which
 * takes long; status says whether there is any.
 */
static int locked_memory(pid_t pid, struct heap_range **ret, size_t *ret_n)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct heap_range *list = NULL, now = { 0 };
	size_t n = 0, room = 0;
	char *line;

	*ret = NULL;
	*ret_n = 0;
	if (procfs_read(pid, "status", 1 << 16, &text) || !text.data ||
	    !kilobytes(text.data, "\nVmLck:"))
		return 0;
	buf_reset(&text);
	if (procfs_read(pid, "smaps", 256 << 20, &text) || !text.data)
		return -EIO;
	for (line = text.data; line && *line;) {
		char *end = strchr(line, '\n');
		unsigned long start, stop;

		if (end)
			*end = '\0';
		if (sscanf(line, "%lx-%lx ", &start, &stop) == 2)
			now = (struct heap_range){ start, stop };
		else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " lo")) {
			if (n == room) {
				struct heap_range *grown;

				room = room ? room * 2 : 16;
				grown = realloc(list, room * sizeof(*grown));
				if (!grown) {
					free(list);
					return -ENOMEM;
				}
				list = grown;
			}
			list[n++] = now;
		}
		line = end ? end + 1 : NULL;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ---- the plan ---------------------------------------------------------------------------- */

struct plan {
	struct heap *heap;
	struct free_pages pages;
	struct heap_range code;
	struct free_run *pending; /* largest gain first: what is still to be done */
	size_t npending;
};

static void plan_release(struct plan *p)
{
	heap_free(p->heap);
	free_pages_release(&p->pages);
	free(p->pending);
	*p = (struct plan){ 0 };
}
#define _cleanup_plan_ __attribute__((cleanup(plan_release)))

static int by_gain(const void *a, const void *b)
{
	const struct free_run *x = a, *y = b;
	uint64_t gx = x->resident + x->swapped, gy = y->resident + y->swapped;

	return gx > gy ? -1 : gx < gy ? 1 : x->start < y->start ? -1 : x->start > y->start;
}

/* At most limit bytes: the runs that bring most, the last one cut. */
static void cut_to(struct plan *p, uint64_t limit, uint64_t page)
{
	uint64_t left = limit / page;
	size_t n = 0;

	for (; n < p->npending && left; n++) {
		struct free_run *r = &p->pending[n];

		if (r->resident > left) {
			/* From the end: the allocator uses the beginning first. */
			r->start += (r->npages - left) * page;
			r->npages = left;
			r->resident = left;
			r->swapped = 0;
		}
		left -= r->resident;
	}
	p->npending = n;
}

static struct seep_error *make_plan(pid_t pid, struct trim *t, struct plan *p)
{
	const struct image_options opts = { .clone = true };
	const struct heap_options heap_opts = { .free_chunks = true };
	_cleanup_image_ struct image *img = NULL;
	_cleanup_free_ struct heap_range *locked = NULL;
	struct seep_error *err;
	size_t nlocked;

	if (locked_memory(pid, &locked, &nlocked))
		return seep_error_new(0,
		                      "process %d has locked memory, and which it is cannot be read",
		                      (int)pid);
	err = image_open_process(pid, &opts, &img);
	if (!err)
		err = heap_walk_with(img, &heap_opts, &p->heap);
	if (!err)
		err = free_pages_find(img, p->heap, locked, nlocked, &p->pages);
	if (err)
		return err;
	recheck_find_code(img, p->heap, &p->code);
	t->clone_ns += img->stopped_ns;
	if (!t->exe)
		t->exe = strdup(img->exe);
	for (size_t i = 0; i < img->nnotes; i++)
		trim_note(t, "%s", img->notes[i]);
	err = image_resume(img);
	if (err)
		return err;
	p->npending = p->pages.nruns;
	p->pending = malloc((p->npending + 1) * sizeof(*p->pending));
	if (!p->pending)
		return &seep_error_nomem;
	if (p->npending)
		memcpy(p->pending, p->pages.runs, p->npending * sizeof(*p->pending));
	qsort(p->pending, p->npending, sizeof(*p->pending), by_gain);
	return NULL;
}

/* ---- stops --------------------------------------------------------------------------------- */

struct act {
	pid_t pid;
	struct trim *t;
	struct plan *plan;
	struct recheck_range *ranges; /* room for plan->npending */
	uint8_t *state;               /* enum recheck_state, likewise */
	struct discard_range *orders;
	uint64_t page, run_ns;
	uint64_t kernel_refused; /* ranges, for reasons of the kernel's */
	int kernel_errno;
	uint64_t moved; /* runs done, or found changed, in the last stop */
	char *problem;
};

static bool keep_dropped(struct trim *t, uint64_t start, uint64_t len)
{
	/* Doubling at powers of two. */
	if (!(t->ndropped & (t->ndropped - 1))) {
		size_t room = t->ndropped ? t->ndropped * 2 : 1;
		struct trim_range *grown = realloc(t->dropped, room * sizeof(*grown));

		if (!grown)
			return false;
		t->dropped = grown;
	}
	t->dropped[t->ndropped++] = (struct trim_range){ start, len };
	return true;
}

static uint64_t run_bytes(const struct act *a, const struct free_run *r)
{
	return (r->resident + r->swapped) * a->page;
}

/* The beginning of a long run is through: the rest waits for the next stop. */
static void shorten(struct act *a, struct free_run *run, const struct recheck_range *range,
                    uint64_t bytes)
{
	uint64_t end = run->start + run->npages * a->page;

	keep_dropped(a->t, range->start, bytes);
	run->start = range->start + bytes;
	run->npages = end > run->start ? (end - run->start) / a->page : 0;
	if (run->resident > run->npages)
		run->resident = run->npages;
	a->moved++;
}

/* Takes out of the pending runs what is settled: dropped, or no longer there.  Locked ones wait. */
static void settle(struct act *a, const struct recheck *r, const struct discard_reply *reply)
{
	struct plan *p = a->plan;
	size_t keep = 0, k = 0;

	a->moved = 0;
	for (size_t i = 0; i < p->npending; i++) {
		bool gone = a->state[i] == RECHECK_IS_CHANGED, done = false;

		if (a->state[i] == RECHECK_HOLDS && k < r->n) {
			done = k < reply->done;
			if (done)
				keep_dropped(a->t, a->ranges[k].start, a->ranges[k].len);
			else if (k == reply->done && reply->partial)
				shorten(a, &p->pending[i], &a->ranges[k], reply->partial);
			k++;
		}
		if (gone)
			a->t->left += run_bytes(a, &p->pending[i]);
		if (gone || done)
			a->moved++;
		else
			p->pending[keep++] = p->pending[i];
	}
	p->npending = keep;
}

static struct seep_error *explain_discard(const struct act *a, const struct discard_reply *reply)
{
	struct seep_error *err;

	if (reply->failure == EPERM) {
		err = seep_error_new(
			0,
			"process %d has a seccomp filter, which could kill it for a call it does "
			"not expect",
			(int)a->pid);
		return seep_error_hint(
			err, "Root (CAP_SYS_ADMIN) can suspend the filter for that moment.");
	}
	if (reply->failure == ENOSYS)
		return seep_error_new(0, "process %d has no thread or no code to make a call with",
		                      (int)a->pid);
	return seep_error_new(reply->failure, "no call could be made in process %d", (int)a->pid);
}

/* In the stop: looks at what is pending, drops what holds. */
static struct seep_error *in_stop(struct act *a, struct image *img, uint64_t until,
                                  struct recheck *r, struct discard_reply *reply)
{
	struct plan *p = a->plan;
	uint64_t now = now_ns(), left = until > now ? until - now : 0;
	size_t most = (size_t)(left / a->run_ns) + 16;
	struct seep_error *err;

	if (most > p->npending)
		most = p->npending;
	if (most > DISCARD_MAX)
		most = DISCARD_MAX;
	recheck_runs(img, p->heap, &p->code, p->pending, most, now + left / 2, r, a->ranges,
	             a->state);
	if (!r->n)
		return NULL;
	for (size_t i = 0; i < r->n; i++)
		a->orders[i] = (struct discard_range){ a->ranges[i].start, a->ranges[i].len };
	err = discard_pages(img, a->orders, r->n, until, reply);
	if (!err && reply->failure)
		err = explain_discard(a, reply);
	if (!err && reply->done) {
		uint64_t each = (now_ns() - now) / reply->done;

		a->run_ns = each > 1000 ? each : 1000;
	}
	return err;
}

static struct seep_error *one_stop(struct act *a, struct recheck *r)
{
	const struct image_options opts = { .calls = true };
	_cleanup_image_ struct image *img = NULL;
	struct discard_reply reply = { 0 };
	struct seep_error *err = image_open_process(a->pid, &opts, &img), *late;
	struct trim *t = a->t;
	uint64_t until, each, spent, least;

	*r = (struct recheck){ 0 };
	memset(a->state, RECHECK_NOT_LOOKED, a->plan->npending);
	if (err)
		return err;
	each = STOP_BASE + img->resident_bytes / 1024 * STOP_PER_GB / (1024 * 1024);
	if (t->allowed_ns < each)
		t->allowed_ns = each;
	until = img->stop_mono_ns + each - STOP_RESERVE;
	/*
	 * On a machine that has no time for us the stop alone may have taken all of it.  Then as much again is spent on
	 * what it is for, or the process would stand still more often, for nothing.
	 */
	spent = now_ns() - img->stop_mono_ns;
	least = spent < each / 2 ? each / 2 : spent < LOST_MAX ? spent : LOST_MAX;
	if (until < now_ns() + least)
		until = now_ns() + least;
	err = in_stop(a, img, until, r, &reply);
	late = image_resume(img);
	if (!err)
		err = late;
	else
		seep_error_free(late);
	t->stopped_ns += img->stopped_ns;
	if (t->longest_ns < img->stopped_ns)
		t->longest_ns = img->stopped_ns;
	t->calls += reply.calls;
	a->kernel_refused += reply.refused;
	if (reply.first_errno)
		a->kernel_errno = reply.first_errno;
	if (reply.rss_before > reply.rss_after)
		t->returned += reply.rss_before - reply.rss_after;
	settle(a, r, &reply);
	if (reply.calls) {
		t->stops++;
	} else {
		t->refused++;
		t->refused_malloc += r->refusal == RECHECK_IN_MALLOC ||
		                     r->refusal == RECHECK_NO_CODE;
		t->refused_locked += r->refusal == RECHECK_LOCKED;
		t->refused_changed += r->refusal == RECHECK_CHANGED;
	}
	return err;
}

static void describe_refusal(struct act *a, const struct recheck *r)
{
	int n = 0;

	switch (r->refusal) {
	case RECHECK_IN_MALLOC:
		n = asprintf(&a->problem,
		             "thread %d was inside malloc, or may have been, at each of %llu looks",
		             (int)r->tid, (unsigned long long)a->t->refused);
		break;
	case RECHECK_NO_CODE:
		n = asprintf(&a->problem,
		             "malloc's code was not found in this program, so that only a moment at which "
		             "it waits is safe: there was none in %llu looks",
		             (unsigned long long)a->t->refused);
		break;
	case RECHECK_LOCKED:
		n = asprintf(&a->problem, "the arenas were locked at each of %llu looks",
		             (unsigned long long)a->t->refused);
		break;
	default:
		n = asprintf(&a->problem, "%zu stretches are left: time was up", a->plan->npending);
		break;
	}
	if (n < 0)
		a->problem = NULL;
}

static struct seep_error *act_on(struct act *a, uint64_t wait)
{
	struct plan *p = a->plan;
	uint64_t pause = PAUSE_MIN, deadline = now_ns() + wait;
	struct recheck r = { 0 };
	struct seep_error *err = NULL;

	a->ranges = malloc((p->npending + 1) * sizeof(*a->ranges));
	a->orders = malloc((p->npending + 1) * sizeof(*a->orders));
	a->state = calloc(1, p->npending + 1);
	if (!a->ranges || !a->orders || !a->state)
		err = &seep_error_nomem;
	while (!err && p->npending && now_ns() < deadline) {
		err = one_stop(a, &r);
		if (err || !p->npending)
			break;
		/* The program gets at least as much time as it stood still; and out of step with what it does. */
		if (a->moved)
			deadline = now_ns() + wait;
		pause = a->moved ? PAUSE_MIN : pause < PAUSE_MAX ? pause * 2 : PAUSE_MAX;
		nap(pause + now_ns() % MS);
	}
	if (!err && p->npending)
		describe_refusal(a, &r);
	free(a->ranges);
	free(a->orders);
	free(a->state);
	a->ranges = NULL;
	a->orders = NULL;
	a->state = NULL;
	return err;
}

/* ---- glibc, musl ------------------------------------------------------------------------------ */

static struct seep_error *again_while_worth(struct trim *t, const struct trim_options *o,
                                            struct plan *p, struct trim_part *part)
{
	uint64_t wait = o->wait_ns ? o->wait_ns : WAIT;
	struct act a = { .pid = t->pid,
		         .t = t,
		         .plan = p,
		         .page = (uint64_t)sysconf(_SC_PAGESIZE),
		         .run_ns = CHECK_NS };
	struct seep_error *err = NULL;

	for (unsigned int plans = 1;; plans++) {
		uint64_t left = t->left, before = t->returned;

		err = act_on(&a, wait);
		part->returned += t->returned - before;
		left = t->left - left;
		if (err || a.problem || plans == PLANS || left < WORTH || o->limit)
			break;
		plan_release(p);
		err = make_plan(t->pid, t, p);
		if (err)
			break;
	}
	if (a.kernel_refused)
		trim_note(t, "the kernel refused %llu stretches: %s",
		          (unsigned long long)a.kernel_refused, strerror(a.kernel_errno));
	part->problem = a.problem;
	return err;
}

static struct seep_error *trim_walked(struct trim *t, const struct trim_options *o)
{
	_cleanup_plan_ struct plan p = { 0 };
	struct trim_part *part;
	struct seep_error *err = make_plan(t->pid, t, &p);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (err)
		return err;
	if (!p.heap->allocator[0] || !trim_wanted(o, p.heap->allocator))
		return NULL;
	part = trim_add_part(t);
	if (!part)
		return &seep_error_nomem;
	snprintf(part->allocator, sizeof(part->allocator), "%s", p.heap->allocator);
	snprintf(part->detail, sizeof(part->detail), "%s", p.heap->layout);
	for (size_t i = 0; i < p.heap->nnotes; i++)
		trim_note(t, "%s", p.heap->notes[i]);
	t->unfit = p.pages.unfit;
	part->narenas = p.heap->narenas;
	memcpy(part->pages.kinds, p.pages.kinds, sizeof(part->pages.kinds));
	part->pages.total = p.pages.total;
	if (o->limit)
		cut_to(&p, o->limit, page);
	for (size_t i = 0; i < p.npending; i++) {
		part->predicted += p.pending[i].resident * page;
		part->predicted_swap += p.pending[i].swapped * page;
	}
	part->predicted_known = true;
	part->tier = p.npending ? TRIM_MADVISE : TRIM_NOTHING;
	t->predicted += part->predicted;
	if (o->dry_run || !p.npending)
		return NULL;
	return again_while_worth(t, o, &p, part);
}

/* ---- all ------------------------------------------------------------------------------------------ */

/* Allocators the walker knows only by name were asked themselves: that there is no walker is no news then. */
static void drop_walker_notes(struct trim *t)
{
	size_t n = 0;
	bool asked = false;

	for (size_t i = 0; i < t->nparts; i++)
		asked = asked || t->parts[i].tier == TRIM_RELEASE;
	for (size_t i = 0; i < t->nnotes; i++) {
		if (asked && heap_note_no_walker(t->notes[i]))
			free(t->notes[i]);
		else
			t->notes[n++] = t->notes[i];
	}
	t->nnotes = n;
}

struct seep_error *trim_process(pid_t pid, const struct trim_options *opts, struct trim **ret_trim)
{
	struct trim *t = calloc(1, sizeof(*t));
	struct seep_error *err;

	if (!t)
		return &seep_error_nomem;
	t->pid = pid;
	trim_memory_read(pid, &t->before);
	err = trim_walked(t, opts);
	if (!err)
		err = trim_released(t, opts);
	if (!err && !t->nparts)
		err = trim_nobody(t, opts);
	drop_walker_notes(t);
	trim_memory_read(pid, &t->after);
	*ret_trim = t;
	return err;
}

void trim_free(struct trim *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->nnotes; i++)
		free(t->notes[i]);
	for (size_t i = 0; i < t->nparts; i++)
		free(t->parts[i].problem);
	free(t->notes);
	free(t->parts);
	free(t->exe);
	free(t->dropped);
	free(t);
}

uint64_t trim_again(const struct trim *t)
{
	uint64_t entries[512], page = (uint64_t)sysconf(_SC_PAGESIZE), back = 0;
	char path[64];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < t->ndropped && fd >= 0; i++)
		for (uint64_t at = 0, n = t->dropped[i].len / page; at < n;) {
			uint64_t k = n - at < 512 ? n - at : 512;
			uint64_t first = t->dropped[i].start / page + at;
			ssize_t got = pread(fd, entries, k * 8, (off_t)(first * 8));

			if (got < 8)
				break;
			for (ssize_t e = 0; e < got / 8; e++)
				back += maps_page_state(entries[e]) == 1 ? page : 0;
			at += (uint64_t)got / 8;
		}
	return back;
}
