/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes.  One row for each program that a process ran: what tells them apart is the boot, the pid, the kernel's start
 * time and how many programs it had been before.  What is known of one gets better with time (a tracker is attached, a name
 * becomes known), and never worse: an update only fills in.
 */
#include "store/private.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                 \
	"id, boot, pid, start_ticks, exec_seq, started_ms, name, command, exe, allocator, uid," \
	" tracked, sampled, attached, period, state, end, ended_ms, label, baseline, watch_s,"  \
	" (SELECT count(*) FROM snapshot WHERE process = process.id),"                          \
	" (SELECT min(time_ms) FROM point WHERE process = process.id),"                         \
	" (SELECT max(time_ms) FROM point WHERE process = process.id),"                         \
	" (SELECT min(time_ms) FROM snapshot WHERE process = process.id),"                      \
	" (SELECT max(time_ms) FROM snapshot WHERE process = process.id)"

void store_process_release(struct store_process *p)
{
	free(p->name);
	free(p->command);
	free(p->exe);
	free(p->allocator);
	free(p->state);
	free(p->end);
	free(p->label);
	memset(p, 0, sizeof(*p));
}

static void put_identity(struct query *q, const struct store_process *p)
{
	query_text(q, p->boot);
	query_int(q, p->pid);
	query_int(q, (int64_t)p->start_ticks);
	query_int(q, p->exec_seq);
}

struct seep_error *store_process_put(struct store *s, const struct store_process *p, int64_t *ret_id)
{
	struct query q;
	struct seep_error *err = store_begin(s);
	int64_t id = 0;

	if (err)
		return err;
	query_init(
		&q, s,
		"INSERT INTO process(boot, pid, start_ticks, exec_seq, started_ms, name, command, exe,"
		" allocator, uid, tracked, sampled, attached, period, state)"
		" VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
		" ON CONFLICT(boot, pid, start_ticks, exec_seq) DO UPDATE SET"
		" name = coalesce(excluded.name, name), command = coalesce(excluded.command, command),"
		" exe = coalesce(excluded.exe, exe), allocator = coalesce(excluded.allocator, allocator),"
		" tracked = max(tracked, excluded.tracked),"
		" sampled = CASE excluded.tracked WHEN 1 THEN excluded.sampled ELSE sampled END,"
		" attached = max(attached, excluded.attached),"
		" period = CASE excluded.tracked WHEN 1 THEN excluded.period ELSE period END");
	put_identity(&q, p);
	query_int(&q, p->started_ms);
	query_text(&q, p->name);
	query_text(&q, p->command);
	query_text(&q, p->exe);
	query_text(&q, p->allocator);
	query_int(&q, p->uid);
	query_int(&q, p->tracked);
	query_int(&q, p->sampled);
	query_int(&q, p->attached);
	query_int(&q, (int64_t)p->period);
	query_text(&q, *p->boot ? "running" : "file");
	query_next(&q);
	err = query_end(&q, "recording a process");
	if (!err) {
		query_init(
			&q, s,
			"SELECT id FROM process WHERE boot=? AND pid=? AND start_ticks=? AND exec_seq=?");
		put_identity(&q, p);
		if (query_next(&q))
			id = query_get_int(&q);
		err = query_end(&q, "recording a process");
	}
	err = store_finish(s, err, "recording a process");
	if (!err)
		*ret_id = id;
	return err;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a == STORE_NONE ? b : b == STORE_NONE || a < b ? a : b;
}

static void take_row(struct query *q, struct store_process *p)
{
	char *boot;
	int64_t first, last, first_snapshot, last_snapshot;

	memset(p, 0, sizeof(*p));
	p->id = query_get_int(q);
	boot = query_get_text(q);
	if (boot)
		strncpy(p->boot, boot, sizeof(p->boot) - 1);
	free(boot);
	p->pid = (int32_t)query_get_int(q);
	p->start_ticks = (uint64_t)query_get_int(q);
	p->exec_seq = (uint32_t)query_get_int(q);
	p->started_ms = query_get_int(q);
	p->name = query_get_text(q);
	p->command = query_get_text(q);
	p->exe = query_get_text(q);
	p->allocator = query_get_text(q);
	p->uid = (uint32_t)query_get_int(q);
	p->tracked = query_get_bool(q);
	p->sampled = query_get_bool(q);
	p->attached = query_get_bool(q);
	p->period = (uint64_t)query_get_int(q);
	p->state = query_get_text(q);
	p->end = query_get_text(q);
	p->ended_ms = query_get_int(q);
	p->label = query_get_text(q);
	p->baseline = query_get_int(q);
	p->watch_s = query_get_int(q);
	p->snapshots = query_get_int(q);
	first = query_get_int(q);
	last = query_get_int(q);
	first_snapshot = query_get_int(q);
	last_snapshot = query_get_int(q);
	p->first_ms = smaller(first, first_snapshot);
	p->last_ms = last > last_snapshot ? last : last_snapshot;
}

struct seep_error *store_process_get(struct store *s, int64_t id, struct store_process *ret,
                                     bool *ret_found)
{
	struct store_process p = { 0 };
	struct seep_error *err;
	struct query q;
	bool found;

	store_lock(s);
	query_init(&q, s, "SELECT " COLUMNS " FROM process WHERE id = ?");
	query_int(&q, id);
	found = query_next(&q);
	if (found)
		take_row(&q, &p);
	err = query_end(&q, "reading a process");
	store_unlock(s);
	if (err) {
		store_process_release(&p);
		return err;
	}
	*ret = p;
	*ret_found = found;
	return NULL;
}

struct seep_error *store_process_list(struct store *s, struct store_processes *ret)
{
	struct store_processes l = { 0 };
	struct seep_error *err;
	struct query q;
	size_t cap = 0;

	store_lock(s);
	query_init(&q, s, "SELECT " COLUMNS " FROM process ORDER BY id DESC LIMIT 10000");
	while (query_next(&q)) {
		if (array_grow((void **)&l.items, l.n, &cap, sizeof(*l.items)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		take_row(&q, &l.items[l.n++]);
	}
	err = query_end(&q, "listing processes");
	store_unlock(s);
	if (err)
		store_processes_release(&l);
	else
		*ret = l;
	return err;
}

void store_processes_release(struct store_processes *l)
{
	for (size_t i = 0; i < l->n; i++)
		store_process_release(&l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

/* One text column of one row. */
static struct seep_error *set_text(struct store *s, const char *sql, const char *text, int64_t id,
                                   const char *what)
{
	struct seep_error *err = store_begin(s);
	struct query q;

	if (err)
		return err;
	query_init(&q, s, sql);
	query_text(&q, text);
	query_int(&q, id);
	query_next(&q);
	return store_finish(s, query_end(&q, what), what);
}

static struct seep_error *set_number(struct store *s, const char *sql, int64_t value, int64_t id,
                                     const char *what)
{
	struct seep_error *err = store_begin(s);

	if (err)
		return err;
	return store_finish(s, store_do(s, what, sql, (int64_t[]){ value, id }, 2), what);
}

struct seep_error *store_process_end(struct store *s, int64_t id, const char *state,
                                     const char *sentence, int64_t ms)
{
	struct seep_error *err = store_begin(s);
	struct query q;

	if (err)
		return err;
	query_init(&q, s, "UPDATE process SET state=?, end=?, ended_ms=? WHERE id=?");
	query_text(&q, state);
	query_text(&q, sentence);
	query_int(&q, ms);
	query_int(&q, id);
	query_next(&q);
	return store_finish(s, query_end(&q, "recording an end"), "recording an end");
}

struct seep_error *store_process_sweep(struct store *s, const char *boot,
                                       bool (*alive)(int32_t pid, uint64_t start_ticks), int64_t ms)
{
	_cleanup_store_processes_ struct store_processes l = { 0 };
	struct seep_error *err = store_process_list(s, &l);

	for (size_t i = 0; !err && i < l.n; i++) {
		const struct store_process *p = &l.items[i];

		if (!p->state || strcmp(p->state, "running") != 0 ||
		    (!strcmp(p->boot, boot) && alive(p->pid, p->start_ticks)))
			continue;
		err = store_process_end(s, p->id, "exited", "It ended while nobody was looking.",
		                        p->last_ms == STORE_NONE ? ms : p->last_ms);
	}
	return err;
}

struct seep_error *store_process_label(struct store *s, int64_t id, const char *label)
{
	return set_text(s, "UPDATE process SET label=? WHERE id=?", label, id, "labelling");
}

struct seep_error *store_process_baseline(struct store *s, int64_t id, int64_t snapshot)
{
	return set_number(s, "UPDATE process SET baseline=? WHERE id=?", snapshot, id,
	                  "setting the baseline");
}

struct seep_error *store_process_watch(struct store *s, int64_t id, int64_t seconds)
{
	return set_number(s, "UPDATE process SET watch_s=? WHERE id=?", seconds, id, "watching");
}

struct seep_error *store_process_forget(struct store *s, int64_t id)
{
	static const char *const tables[] = {
		"DELETE FROM sample WHERE process=?",
		"DELETE FROM snapshot_data WHERE snapshot IN (SELECT id FROM snapshot WHERE process=?)",
		"DELETE FROM snapshot WHERE process=?",
		"DELETE FROM point WHERE process=?",
		"DELETE FROM mark WHERE process=?",
		"DELETE FROM document WHERE process=?",
		"DELETE FROM process WHERE id=?",
	};
	struct seep_error *err = store_begin(s);

	if (err)
		return err;
	for (size_t i = 0; !err && i < ARRAY_SIZE(tables); i++)
		err = store_do(s, "forgetting a process", tables[i], &id, 1);
	return store_finish(s, err, "forgetting a process");
}
