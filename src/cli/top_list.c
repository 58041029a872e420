/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several tracked processes: the page one starts from.  Only the headers and size classes of ledgers are read
 * here, a few kilobytes each, so a hundred processes cost less than one that is looked into.
 */
#include "cli/top.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/names.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "capture/capture.h"
#include "proc/procfs.h"

void top_list_init(struct top_list *l, const struct top_cli *cli, char **names, size_t nnames)
{
	*l = (struct top_list){ .cli = cli, .names = names, .nnames = nnames };
}

void top_list_release(struct top_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].path);
	free(l->items);
	l->items = NULL;
	l->n = 0;
}

/* ---- which ------------------------------------------------------------------------------ */

static bool is_named(const struct ledger_entry *e, const char *name)
{
	size_t len = strcspn(e->command, " ");
	const char *base = memrchr(e->command, '/', len);
	char first[256];

	base = base ? base + 1 : e->command;
	snprintf(first, sizeof(first), "%.*s", (int)(len - (size_t)(base - e->command)), base);
	return fnmatch(name, e->name, 0) == 0 || fnmatch(name, first, 0) == 0;
}

static bool is_wanted(const struct top_list *l, const struct ledger_entry *e, uint32_t uid)
{
	const struct top_cli *c = l->cli;
	bool listed = !l->nnames;

	if (!e->alive)
		return false;
	for (size_t i = 0; i < l->nnames && !listed; i++) {
		uint64_t pid;

		listed = parse_u64(l->names[i], &pid) == 0 ? (uint64_t)e->pid == pid
		                                           : is_named(e, l->names[i]);
	}
	return listed && (!c->name || is_named(e, c->name)) && (!c->user || e->uid == uid) &&
	       (!c->cgroup || cgroup_contains(c->cgroup, e->pid));
}

static struct seep_error *user_id(const char *user, uint32_t *ret_uid)
{
	struct passwd *pw;
	uint64_t uid;

	if (!user)
		return NULL;
	if (parse_u64(user, &uid) == 0 && uid <= UINT32_MAX) {
		*ret_uid = (uint32_t)uid;
		return NULL;
	}
	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		return seep_error_hint(seep_error_new(errno, "there is no user '%s'", user),
		                       "Give a user's name or number.");
	*ret_uid = pw->pw_uid;
	return NULL;
}

/* ---- refresh ------------------------------------------------------------------------------ */

static struct top_process *find(struct top_list *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].path, path))
			return &l->items[i];
	return NULL;
}

static void update(struct top_process *p, const struct ledger_entry *e, double seconds)
{
	struct procfs_status status;
	double keep = exp(-seconds / (TOP_SMOOTH_NS / 1e9));

	if (seconds > 0) {
		double in = (double)e->inuse_bytes - (double)p->inuse,
		       alloc = (double)e->alloc_bytes - (double)p->alloc;

		p->growth = p->growth * keep + in / seconds * (1 - keep);
		p->rate = p->rate * keep + alloc / seconds * (1 - keep);
		p->weight = p->weight * keep + (1 - keep);
	}
	p->pid = e->pid;
	p->uid = e->uid;
	p->alive = e->alive;
	p->sampled = e->mode != 0;
	p->inuse = e->inuse_bytes;
	p->blocks = e->inuse_blocks;
	p->alloc = e->alloc_bytes;
	p->duration_ns = e->duration_ns;
	p->rss = procfs_status(e->pid, &status) == 0 && status.rss ? status.rss : TOP_UNKNOWN;
	snprintf(p->name, sizeof(p->name), "%s", e->name);
	snprintf(p->command, sizeof(p->command), "%s", e->command);
	snprintf(p->allocator, sizeof(p->allocator), "%.63s", path_base(e->allocator));
	p->seen = true;
}

static struct seep_error *add(struct top_list *l, const struct ledger_entry *e, double seconds)
{
	struct top_process *p = find(l, e->path), *more;

	if (!p) {
		more = reallocarray(l->items, l->n + 1, sizeof(*more));
		if (!more)
			return &seep_error_nomem;
		l->items = more;
		p = &more[l->n];
		*p = (struct top_process){ .path = strdup(e->path) };
		if (!p->path)
			return &seep_error_nomem;
		l->n++;
		seconds = 0;
	}
	update(p, e, seconds);
	return NULL;
}

static void drop_unseen(struct top_list *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->items[i].seen)
			l->items[n++] = l->items[i];
		else
			free(l->items[i].path);
	}
	l->n = n;
}

struct seep_error *top_list_refresh(struct top_list *l)
{
	struct ledger_entry *entries = NULL;
	uint64_t now = top_now();
	double seconds = l->readings ? (double)(now - l->mono_ns) / 1e9 : 0;
	struct seep_error *err;
	struct timespec real;
	uint32_t uid = 0;
	size_t n = 0;

	err = user_id(l->cli->user, &uid);
	if (!err)
		err = ledger_list(l->cli->ledger_dir, &entries, &n);
	for (size_t i = 0; i < l->n; i++)
		l->items[i].seen = false;
	for (size_t i = 0; i < n && !err; i++)
		if (is_wanted(l, &entries[i], uid))
			err = add(l, &entries[i], seconds);
	ledger_list_free(entries, n);
	if (err)
		return err;
	drop_unseen(l);
	clock_gettime(CLOCK_REALTIME, &real);
	l->time_ns = (uint64_t)real.tv_sec * 1000000000u + (uint64_t)real.tv_nsec;
	l->mono_ns = now;
	l->readings++;
	top_list_sort(l, l->cli->order, l->cli->reverse);
	return NULL;
}

/* ---- order ------------------------------------------------------------------------------------ */

static double since_start(const struct top_process *p, uint64_t bytes)
{
	return p->duration_ns ? (double)bytes * 1e9 / (double)p->duration_ns : 0;
}

double top_process_growth(const struct top_process *p)
{
	return p->weight > 0 ? p->growth / p->weight : since_start(p, p->inuse);
}

double top_process_rate(const struct top_process *p)
{
	return p->weight > 0 ? p->rate / p->weight : since_start(p, p->alloc);
}

struct list_order {
	enum top_order order;
	bool reverse;
};

static double sort_value(const struct top_process *p, enum top_order order)
{
	switch (order) {
	case TOP_BLOCKS:
		return (double)p->blocks;
	case TOP_GROWTH:
	case TOP_BASE:
		return top_process_growth(p);
	case TOP_RATE:
		return top_process_rate(p);
	case TOP_AGE:
		return (double)p->duration_ns;
	case TOP_NAME:
		return 0;
	default:
		return (double)p->inuse;
	}
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct top_process *x = a, *y = b;
	const struct list_order *o = arg;
	double vx = sort_value(x, o->order), vy = sort_value(y, o->order);
	int r = vx > vy ? -1 : vx < vy;

	if (!r && o->order == TOP_NAME)
		r = strcmp(x->name, y->name);
	if (o->reverse)
		r = -r;
	return r ? r : (x->pid > y->pid) - (x->pid < y->pid);
}

void top_list_sort(struct top_list *l, enum top_order order, bool reverse)
{
	struct list_order o = { order, reverse };

	if (l->n)
		qsort_r(l->items, l->n, sizeof(*l->items), compare, &o);
}
