/* SPDX-License-Identifier: Apache-2.0 */
/* Timelines: points in columns, the doctor's split beside them, and what happened when. */
#include "server/api.h"
#include "server/jsonw.h"
#include "server/split.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define DOCTORS 200
#define GAP_TIMES 6 /* a pause so many times as long as usual: nobody was recording */
#define GAP_LEAST_MS 60000

static void put_columns(struct jsonw *j, const struct store_series *l)
{
	static const char *const keys[POINT_NCOLUMNS] = { "inuse", "alloc",    "rss",    "pss",
		                                          "swap",  "retained", "cgroup", "threads" };
	_cleanup_free_ int64_t *column = calloc(l->n + 1, sizeof(*column));

	if (!column) {
		j->out->failed = true;
		return;
	}
	for (size_t i = 0; i < l->n; i++)
		column[i] = l->items[i].time_ms;
	jw_column_int(j, "time_ms", column, l->n);
	for (size_t c = 0; c < POINT_NCOLUMNS; c++) {
		for (size_t i = 0; i < l->n; i++)
			column[i] = l->items[i].value[c];
		jw_column_int(j, keys[c], column, l->n);
	}
}

static void put_gaps(struct jsonw *j, const struct store_series *l)
{
	int64_t usual = l->n > 1 ? (l->items[l->n - 1].time_ms - l->items[0].time_ms) /
	                                   (int64_t)(l->n - 1)
	                         : 0;
	int64_t least = usual * GAP_TIMES > GAP_LEAST_MS ? usual * GAP_TIMES : GAP_LEAST_MS;

	jw_array(j, "gaps");
	for (size_t i = 1; i < l->n; i++) {
		if (l->items[i].time_ms - l->items[i - 1].time_ms < least)
			continue;
		jw_array(j, NULL);
		jw_int(j, NULL, l->items[i - 1].time_ms);
		jw_int(j, NULL, l->items[i].time_ms);
		jw_array_end(j);
	}
	jw_array_end(j);
}

static struct seep_error *put_marks(struct server *s, struct jsonw *j, int64_t process,
                                    int64_t from, int64_t to)
{
	_cleanup_store_marks_ struct store_marks l = { 0 };
	struct seep_error *err = store_marks_read(s->reader, process, from, to, &l);

	jw_array(j, "marks");
	for (size_t i = 0; i < l.n; i++) {
		jw_object(j, NULL);
		jw_int(j, "time_ms", l.items[i].time_ms);
		jw_string(j, "kind",
		          l.items[i].kind && !strcmp(l.items[i].kind, "trim-plan")
		                  ? "trim"
		                  : l.items[i].kind);
		jw_int(j, "id", l.items[i].id ? l.items[i].id : STORE_NONE);
		jw_string(j, "text", l.items[i].text);
		jw_object_end(j);
	}
	jw_array_end(j);
	return err;
}

static struct seep_error *put_split(struct server *s, struct jsonw *j, int64_t process,
                                    int64_t from, int64_t to)
{
	_cleanup_store_documents_ struct store_documents l = { 0 };
	struct seep_error *err =
		store_document_list(s->reader, process, "doctor", from, to, DOCTORS, true, &l);

	if (err)
		return err;
	return split_put(j, "split", &l);
}

void route_timeline(struct server *s, struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	_cleanup_store_series_ struct store_series l = { 0 };
	int64_t from = STORE_NONE, to = STORE_NONE, points = 600;
	struct seep_error *err;
	struct jsonw j;

	if (!request_int(q, "from", 0, INT64_MAX, &from, r) ||
	    !request_int(q, "to", 0, INT64_MAX, &to, r) ||
	    !request_int(q, "points", 2, SERVER_POINTS, &points, r) ||
	    !api_who(s, q->args[0], false, &w, r))
		return;
	err = w.id ? store_points_read(s->reader, w.id, from, to, (size_t)points, &l) : NULL;
	if (err) {
		reply_fail(r, err);
		return;
	}
	j = api_json(r);
	jw_object(&j, NULL);
	jw_int(&j, "process", w.id ? w.id : STORE_NONE);
	jw_int(&j, "from_ms", l.n ? l.from_ms : from);
	jw_int(&j, "to_ms", l.n ? l.to_ms : to);
	jw_int(&j, "resolution_ms", l.resolution_ms);
	jw_u64(&j, "measured", l.measured);
	put_columns(&j, &l);
	put_gaps(&j, &l);
	err = put_split(s, &j, w.id, from, to);
	if (!err)
		err = put_marks(s, &j, w.id, from, to);
	jw_object_end(&j);
	if (err)
		reply_fail(r, err);
}
