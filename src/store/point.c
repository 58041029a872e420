/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timelines.  A point that is shown is always one that was measured: of each stretch of time the one with most in use, since a
 * peak that a chart leaves out is the one thing one must not leave out.  SQLite picks it: beside max() the other
 * columns of a group are those of the row that has it.
 */
#include "store/private.h"

#include "base/array.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define MARKS 2000

struct seep_error *store_points_add(struct store *s, const struct store_point *points, size_t n)
{
	struct seep_error *err;
	struct query q;

	if (!n)
		return NULL;
	err = store_begin(s);
	if (err)
		return err;
	query_init(&q, s, "INSERT OR IGNORE INTO point VALUES(?,?,?,?,?,?,?,?,?,?)");
	for (size_t i = 0; i < n; i++) {
		query_again(&q);
		query_int(&q, points[i].process);
		query_int(&q, points[i].time_ms);
		for (size_t c = 0; c < POINT_NCOLUMNS; c++)
			query_int(&q, points[i].value[c]);
		query_next(&q);
	}
	return store_finish(s, query_end(&q, "recording points"), "recording points");
}

/* The times there are between two, and how many points: resolution follows from them. */
static struct seep_error *measure(struct store *s, int64_t process, struct store_series *l)
{
	int64_t first, last, n;
	struct query q;

	query_init(&q, s,
	           "SELECT count(*), min(time_ms), max(time_ms) FROM point WHERE process = ?1"
	           " AND time_ms >= ?2 AND time_ms <= ?3");
	query_int(&q, process);
	query_int(&q, l->from_ms);
	query_int(&q, l->to_ms);
	if (query_next(&q)) {
		n = query_get_int(&q);
		first = query_get_int(&q);
		last = query_get_int(&q);
		l->measured = (uint64_t)n;
		if (n) {
			l->from_ms = first;
			l->to_ms = last;
		}
	}
	return query_end(&q, "reading points");
}

static struct seep_error *read_points(struct store *s, int64_t process, struct store_series *l)
{
	size_t cap = 0;
	struct query q;

	query_init(&q, s,
	           l->resolution_ms
	                   ? "SELECT time_ms, inuse, alloc, rss, pss, swap, retained, cgroup, threads,"
	                     " max(coalesce(inuse, rss, 0)) FROM point"
	                     " WHERE process = ?1 AND time_ms >= ?2 AND time_ms <= ?3"
	                     " GROUP BY (time_ms - ?2) / ?4 ORDER BY time_ms"
	                   : "SELECT time_ms, inuse, alloc, rss, pss, swap, retained, cgroup, threads"
	                     " FROM point WHERE process = ?1 AND time_ms >= ?2 AND time_ms <= ?3"
	                     " ORDER BY time_ms");
	query_int(&q, process);
	query_int(&q, l->from_ms);
	query_int(&q, l->to_ms);
	if (l->resolution_ms)
		query_int(&q, l->resolution_ms);
	while (query_next(&q)) {
		struct store_point *p;

		if (array_grow((void **)&l->items, l->n, &cap, sizeof(*l->items)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		p = &l->items[l->n++];
		p->process = process;
		p->time_ms = query_get_int(&q);
		for (size_t c = 0; c < POINT_NCOLUMNS; c++)
			p->value[c] = query_get_int(&q);
	}
	return query_end(&q, "reading points");
}

struct seep_error *store_points_read(struct store *s, int64_t process, int64_t from_ms,
                                     int64_t to_ms, size_t most, struct store_series *ret)
{
	struct store_series l = { .from_ms = from_ms == STORE_NONE ? 0 : from_ms,
		                  .to_ms = to_ms == STORE_NONE ? INT64_MAX : to_ms };
	struct seep_error *err;

	store_lock(s);
	err = measure(s, process, &l);
	if (!err && l.measured > most && most)
		l.resolution_ms = (l.to_ms - l.from_ms) / (int64_t)most + 1;
	if (!err && l.measured)
		err = read_points(s, process, &l);
	store_unlock(s);
	if (err)
		store_series_release(&l);
	else
		*ret = l;
	return err;
}

void store_series_release(struct store_series *l)
{
	free(l->items);
	memset(l, 0, sizeof(*l));
}

/* ---- marks ------------------------------------------------------------------------------ */

struct seep_error *store_mark_add(struct store *s, int64_t process, int64_t ms, const char *kind,
                                  const char *text)
{
	struct seep_error *err = store_begin(s);
	struct query q;

	if (err)
		return err;
	query_init(&q, s, "INSERT INTO mark VALUES(?,?,?,?)");
	query_int(&q, process);
	query_int(&q, ms);
	query_text(&q, kind);
	query_text(&q, text);
	query_next(&q);
	return store_finish(s, query_end(&q, "recording a mark"), "recording a mark");
}

struct seep_error *store_marks_read(struct store *s, int64_t process, int64_t from_ms,
                                    int64_t to_ms, struct store_marks *ret)
{
	struct store_marks l = { 0 };
	struct seep_error *err;
	size_t cap = 0;
	struct query q;

	store_lock(s);
	query_init(&q, s,
	           "SELECT * FROM ("
	           " SELECT time_ms, 0, kind, text FROM mark"
	           "  WHERE process = ?1 AND time_ms BETWEEN ?2 AND ?3"
	           " UNION ALL SELECT time_ms, id, 'snapshot', coalesce(label, reason) FROM snapshot"
	           "  WHERE process = ?1 AND time_ms BETWEEN ?2 AND ?3"
	           " UNION ALL SELECT time_ms, id, kind, summary FROM document"
	           "  WHERE process = ?1 AND time_ms BETWEEN ?2 AND ?3"
	           " ORDER BY 1 DESC LIMIT ?4) ORDER BY 1, 2");
	query_int(&q, process);
	query_int(&q, from_ms == STORE_NONE ? 0 : from_ms);
	query_int(&q, to_ms == STORE_NONE ? INT64_MAX : to_ms);
	query_int(&q, MARKS);
	while (query_next(&q)) {
		struct store_mark *m;

		if (array_grow((void **)&l.items, l.n, &cap, sizeof(*l.items)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		m = &l.items[l.n++];
		m->time_ms = query_get_int(&q);
		m->id = query_get_int(&q);
		m->kind = query_get_text(&q);
		m->text = query_get_text(&q);
	}
	err = query_end(&q, "reading marks");
	store_unlock(s);
	if (err)
		store_marks_release(&l);
	else
		*ret = l;
	return err;
}

void store_marks_release(struct store_marks *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].kind);
		free(l->items[i].text);
	}
	free(l->items);
	memset(l, 0, sizeof(*l));
}
