/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times are the target's own (its start by the wall clock, and how long it had been tracked), so they are of one clock
 * for all snapshots of a process and for its ledger, whatever happened to the files since.
 */
#include "capture/since.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "profile/profile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_LISTED 10

/* "4 min 10 s", "3 h": two units are enough for an error. */
static void put_span(struct buf *b, uint64_t ns)
{
	static const struct {
		const char *word;
		uint64_t ns;
	} units[] = { { "d", 86400000000000u }, { "h", 3600000000000u }, { "min", 60000000000u },
		      { "s", 1000000000u },     { "ms", 1000000u },      { "ns", 1 } };
	size_t i = 0;
	uint64_t rest;

	while (i < ARRAY_SIZE(units) - 1 && ns < units[i].ns)
		i++;
	buf_printf(b, "%" PRIu64 " %s", ns / units[i].ns, units[i].word);
	rest = i < 3 ? ns % units[i].ns / units[i + 1].ns : 0;
	if (rest)
		buf_printf(b, " %" PRIu64 " %s", rest, units[i + 1].word);
}

/* ---- scanning ---------------------------------------------------------------- */

static bool is_named_so(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && !strcmp(dot, ".seep");
}

static bool is_snapshot(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char magic[8] = { 0 };
	struct stat st;
	bool is = false;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		is = pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
		     !memcmp(magic, SNAPSHOT_MAGIC, sizeof(magic));
	close(fd);
	return is;
}

static struct seep_error *add(struct since_list *l, size_t *cap, const char *path)
{
	_cleanup_profile_ struct profile *p = NULL;
	struct seep_error *err = snapshot_peek(path, &p);
	struct since_entry *e;

	if (err == &seep_error_nomem)
		return err;
	if (err) { /* one damaged file does not spoil the others */
		if (!l->nbad++)
			l->bad = strdup(err->message);
		seep_error_free(err);
		return NULL;
	}
	if (array_grow((void **)&l->entries, l->n, cap, sizeof(*l->entries)) < 0)
		return &seep_error_nomem;
	e = &l->entries[l->n];
	*e = (struct since_entry){ .pid = p->pid,
		                   .exec_seq = p->exec_seq,
		                   .start_ns = p->start_real_ns,
		                   .time_ns = prof_add(p->start_real_ns, p->duration_ns) };
	if (str_copy(&e->path, path) < 0 || str_copy(&e->exe, p->exe ? p->exe : "") < 0) {
		free(e->path);
		return &seep_error_nomem;
	}
	l->n++;
	return NULL;
}

static int by_time(const void *a, const void *b)
{
	const struct since_entry *x = a, *y = b;

	return x->time_ns != y->time_ns ? (x->time_ns < y->time_ns ? -1 : 1)
	                                : strcmp(x->path, y->path);
}

struct seep_error *since_scan(const char *dir, struct since_list *ret_list)
{
	_cleanup_since_ struct since_list l = { 0 };
	DIR *d = opendir(dir);
	struct seep_error *err = NULL;
	struct dirent *entry;
	size_t cap = 0;

	if (!d)
		return seep_error_new(errno, "cannot read the snapshots in %s", dir);
	while (!err && (entry = readdir(d))) {
		_cleanup_free_ char *path = NULL;

		if (entry->d_name[0] == '.' || !is_named_so(entry->d_name))
			continue;
		if (asprintf(&path, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/",
		             entry->d_name) < 0) {
			path = NULL;
			err = &seep_error_nomem;
		} else if (is_snapshot(path)) {
			err = add(&l, &cap, path);
		}
	}
	closedir(d);
	if (err)
		return err;
	if (l.n)
		qsort(l.entries, l.n, sizeof(*l.entries), by_time);
	*ret_list = l;
	memset(&l, 0, sizeof(l));
	return NULL;
}

static void release_entry(struct since_entry *e)
{
	free(e->path);
	free(e->exe);
}

void since_release(struct since_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		release_entry(&l->entries[i]);
	free(l->entries);
	free(l->bad);
	memset(l, 0, sizeof(*l));
}

/* ---- whose ------------------------------------------------------------------- */

static bool same_process(const struct since_entry *a, const struct since_entry *b)
{
	return a->pid == b->pid && a->start_ns == b->start_ns && a->exec_seq == b->exec_seq;
}

static void keep(struct since_list *l, const struct since_entry *like)
{
	struct since_entry of = *like; /* its place may be taken */
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (same_process(&l->entries[i], &of))
			l->entries[n++] = l->entries[i];
		else
			release_entry(&l->entries[i]);
	}
	l->n = n;
}

/* "4711 (service), 4712 (worker)": each process once. */
static void put_processes(struct buf *b, const struct since_list *l)
{
	size_t shown = 0;

	for (size_t i = 0; i < l->n; i++) {
		const char *slash = strrchr(l->entries[i].exe, '/');
		bool known = false;

		for (size_t k = 0; k < i && !known; k++)
			known = l->entries[k].pid == l->entries[i].pid;
		if (known)
			continue;
		if (shown == MOST_LISTED) {
			buf_puts(b, ", …");
			break;
		}
		buf_printf(b, "%s%d (%.40s)", shown++ ? ", " : "", (int)l->entries[i].pid,
		           slash ? slash + 1 : l->entries[i].exe);
	}
}

static struct seep_error *none(const struct since_list *l, const char *dir, int32_t pid)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct seep_error *err =
		pid ? seep_error_new(0, "%s has no snapshot of process %d", dir, (int)pid)
		    : seep_error_new(0, "%s has no snapshots", dir);

	if (l->n) {
		put_processes(&text, l);
		return seep_error_hint(err, "It has those of %s.", text.failed ? "" : text.data);
	}
	if (l->bad)
		return seep_error_hint(err, "%zu could not be read: %s", l->nbad, l->bad);
	return seep_error_hint(err, "`seep snap -o %s/ PID` puts one there.", dir);
}

struct seep_error *since_keep(struct since_list *l, const char *dir, int32_t pid)
{
	const struct since_entry *newest = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	bool several = false;

	for (size_t i = 0; i < l->n; i++) {
		if (pid && l->entries[i].pid != pid)
			continue;
		/* of one pid the process that was last; of several pids nobody knows which is meant */
		several |= !pid && newest && newest->pid != l->entries[i].pid;
		newest = &l->entries[i];
	}
	if (!newest)
		return none(l, dir, pid);
	if (several) {
		put_processes(&text, l);
		return seep_error_hint(seep_error_new(0, "%s has snapshots of several processes",
		                                      dir),
		                       "Name one by its pid, with --snaps=%s: %s.", dir,
		                       text.failed ? "" : text.data);
	}
	keep(l, newest);
	return NULL;
}

struct seep_error *since_keep_of(struct since_list *l, const char *dir, const struct profile *p)
{
	struct since_entry like = { .pid = p->pid,
		                    .exec_seq = p->exec_seq,
		                    .start_ns = p->start_real_ns };

	for (size_t i = 0; i < l->n; i++) {
		if (same_process(&l->entries[i], &like)) {
			keep(l, &like);
			return NULL;
		}
	}
	for (size_t i = 0; i < l->n; i++)
		if (l->entries[i].pid == p->pid)
			return seep_error_new(
				0,
				"%s has snapshots of an earlier process %d only, or of the program "
				"it was before it went on as another",
				dir, (int)p->pid);
	return none(l, dir, p->pid);
}

/* ---- which ------------------------------------------------------------------- */

struct seep_error *since_pick(const struct since_list *l, const char *dir, uint64_t time_ns,
                              uint64_t back_ns, const struct since_entry **ret_entry)
{
	_cleanup_buf_ struct buf reach = { 0 }, asked = { 0 };
	struct seep_error *err;

	for (size_t i = l->n; i-- > 0;) {
		const struct since_entry *e = &l->entries[i];

		if (e->time_ns <= time_ns && time_ns - e->time_ns >= back_ns) {
			*ret_entry = e;
			return NULL;
		}
	}
	put_span(&asked, back_ns);
	if (!l->n || l->entries[0].time_ns >= time_ns)
		return seep_error_new(0, "%s has no earlier snapshot, so nothing from %s before",
		                      dir, asked.failed ? "so long" : asked.data);
	put_span(&reach, time_ns - l->entries[0].time_ns);
	if (asked.failed || reach.failed)
		return &seep_error_nomem;
	err = seep_error_new(0, "the snapshots in %s reach back %s, not %s", dir, reach.data,
	                     asked.data);
	return seep_error_hint(err, "Ask for less, or compare with the oldest, %s.",
	                       l->entries[0].path);
}
