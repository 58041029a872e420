/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sites with their past.  The present comes from a profile, the past from the store's samples, by the site's key; who is
 * growing is judged from the past (trend.h), and what a leak check found is matched by the same key.
 */
#include "server/api_sites.h"
#include "server/api.h"
#include "server/jsonw.h"
#include "server/look.h"
#include "server/rows.h"
#include "server/stacks.h"
#include "server/trend.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "profile/profile.h"

#include <inttypes.h>
#include <json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COURSE_ALL 10000 /* snapshots of one site's course */
#define RANKED 20000     /* sites whose growth is looked up to sort by it */
#define GROWING 10       /* sites named as findings */

/* ---- leaks by site ---------------------------------------------------------------------------------------- */

struct leak {
	uint64_t key, bytes;
	unsigned int class; /* place in class_names */
};

struct leak_list {
	struct leak *items;
	size_t n;
};

/* Worst first. */
static const char *const class_names[] = { "definite", "indirect", "possible" };

static struct seep_error *take_class(struct json_object *document, unsigned int class,
                                     struct leak_list *list)
{
	const struct view_options all = { .kinds = PROF_ALL_KINDS };
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_groups_ struct groups g = { 0 };
	_cleanup_free_ uint64_t *keys = NULL;
	struct seep_error *err = look_leaked(document, class_names[class], &p);
	struct leak *more;

	if (!err)
		err = view_new(p, &all, &v);
	if (!err)
		err = groups_collect(v, GROUP_SITE, &g);
	if (err)
		return err;
	keys = store_node_keys(v);
	more = reallocarray(list->items, list->n + g.n + 1, sizeof(*more));
	if (!more || !keys) {
		list->items = more ? more : list->items;
		return &seep_error_nomem;
	}
	list->items = more;
	for (size_t i = 0; i < g.n; i++)
		list->items[list->n++] =
			(struct leak){ .key = keys[g.items[i].id],
			               .bytes = g.items[i].self.value[MEASURE_INUSE].bytes,
			               .class = class };
	return NULL;
}

static struct seep_error *read_leaks(struct server *s, int64_t process, struct leak_list *list)
{
	_cleanup_store_document_ struct store_document d = { 0 };
	struct json_object *document;
	bool found = false;
	struct seep_error *err = store_document_latest(s->reader, process, "check", &d, &found);

	if (err || !found)
		return err;
	document = json_tokener_parse(d.json);
	for (unsigned int c = 0; !err && c < ARRAY_SIZE(class_names); c++)
		err = take_class(document, c, list);
	json_object_put(document);
	return err;
}

/* The worst class of a site, and all its lost bytes; NULL: none is lost. */
static const char *leak_of(const struct leak_list *list, uint64_t node_key, uint64_t *ret_bytes)
{
	const char *worst = NULL;

	*ret_bytes = 0;
	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].key == node_key) {
			if (!worst)
				worst = class_names[list->items[i].class];
			*ret_bytes += list->items[i].bytes;
		}
	return worst;
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

struct site_table {
	struct look look;
	struct rows rows;
	uint64_t *node_keys;
	uint64_t *keys; /* of the rows, in their order */
	struct store_course course;
	struct leak_list leaks;
	bool blocks;
};

static void table_release(struct site_table *t)
{
	rows_release(&t->rows);
	store_course_release(&t->course);
	free(t->node_keys);
	free(t->keys);
	free(t->leaks.items);
	look_release(&t->look);
}

static uint64_t key_of(const struct site_table *t, const struct row *row)
{
	return store_site_key(t->node_keys[row->group.id], row->group.kind);
}

static struct seep_error *read_course(struct server *s, struct site_table *t, size_t first,
                                      size_t n, int64_t from, int64_t to, size_t points)
{
	store_course_release(&t->course);
	free(t->keys);
	t->keys = calloc(n + 1, sizeof(*t->keys));
	if (!t->keys)
		return &seep_error_nomem;
	for (size_t i = 0; i < n; i++)
		t->keys[i] = key_of(t, &t->rows.items[first + i]);
	return store_course_read(s->reader, t->look.process, t->keys, n, from, to, points,
	                         &t->course);
}

struct ranked {
	struct row row;
	double rate;
};

static int fastest_first(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->rate > y->rate ? -1 : x->rate < y->rate ? 1 : y->row.self > x->row.self;
}

/* By growth: the past of all is needed, if only at a few moments. */
static struct seep_error *sort_by_growth(struct server *s, struct site_table *t, int64_t from,
                                         int64_t to)
{
	size_t n = t->rows.n < RANKED ? t->rows.n : RANKED;
	_cleanup_free_ struct ranked *ranked = calloc(n + 1, sizeof(*ranked));
	struct seep_error *err = ranked ? read_course(s, t, 0, n, from, to, 8) : &seep_error_nomem;

	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		struct trend_result r = trend_of(t->course.times_ms,
		                                 t->course.bytes + i * t->course.n, t->course.n);

		ranked[i].row = t->rows.items[i];
		ranked[i].rate = isnan(r.rate) ? 0 : r.rate;
	}
	qsort(ranked, n, sizeof(*ranked), fastest_first);
	for (size_t i = 0; i < n; i++)
		t->rows.items[i] = ranked[i].row;
	return NULL;
}

static void put_trend(struct jsonw *j, const struct trend_result *r)
{
	_cleanup_buf_ struct buf text = { 0 };

	trend_evidence(r, &text);
	jw_string(j, "verdict", trend_word(r->trend));
	jw_string(j, "evidence", text.data);
}

static void put_site(const struct site_table *t, size_t number, size_t rank, struct frames *f,
                     struct jsonw *j)
{
	const struct row *row = &t->rows.items[rank - 1];
	const struct group_sum *s = &row->group.self;
	const uint64_t *course = t->course.bytes + number * t->course.n;
	struct trend_result r = trend_of(t->course.times_ms, course, t->course.n);
	uint64_t lost;
	const char *leak = leak_of(&t->leaks, t->node_keys[row->group.id], &lost);

	jw_object(j, NULL);
	jw_hex(j, "site", t->keys[number], 16);
	jw_u64(j, "rank", rank);
	jw_string(j, "kind", rows_kind(row->group.kind));
	rows_put_stack(&t->look, f, row->group.id, j);
	jw_u64(j, "inuse_bytes", s->value[MEASURE_INUSE].bytes);
	jw_u64(j, "inuse_blocks", s->value[MEASURE_INUSE].blocks);
	jw_u64(j, "alloc_bytes", s->value[MEASURE_ALLOC].bytes);
	jw_u64(j, "alloc_blocks", s->value[MEASURE_ALLOC].blocks);
	jw_u64(j, "freed_blocks", s->value[MEASURE_FREED].blocks);
	jw_int(j, "base_bytes", t->look.shows_diff ? (int64_t)row->self_base : STORE_NONE);
	jw_real(j, "share", t->rows.sum ? (double)row->self / (double)t->rows.sum : 0);
	jw_int(j, "low", row->low);
	jw_int(j, "high", row->high);
	jw_int(j, "oldest_age_ns", rows_age(&t->look, row));
	jw_real(j, "growth", r.rate);
	put_trend(j, &r);
	jw_string(j, "leak", leak);
	jw_int(j, "leaked_bytes", leak ? (int64_t)lost : STORE_NONE);
	jw_column_u64(j, "history", course, t->course.n);
	jw_object_end(j);
}

static void put_history(const struct store_course *c, struct jsonw *j)
{
	jw_object(j, "history");
	jw_column_int(j, "time_ms", c->times_ms, c->n);
	jw_column_int(j, "snapshots", c->snapshots, c->n);
	jw_object_end(j);
}

/* What the sort parameter says: an order of rows, or by growth over time. */
static bool parse_sort(const char *text, enum rows_order *ret, bool *ret_growth)
{
	static const struct {
		const char *word;
		enum rows_order order;
		bool growth;
	} words[] = {
		{ "inuse", ROWS_VALUE, false },   { "growth", ROWS_VALUE, true },
		{ "change", ROWS_GROWTH, false }, { "blocks", ROWS_BLOCKS, false },
		{ "age", ROWS_AGE, false },       { "alloc", ROWS_ALLOC, false },
		{ "name", ROWS_NAME, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!text || !strcmp(words[i].word, text)) {
			*ret = words[i].order;
			*ret_growth = words[i].growth;
			return true;
		}
	return false;
}

void route_sites(struct server *s, struct request *q, struct reply *r)
{
	struct site_table t = { 0 };
	_cleanup_who_ struct who w = { 0 };
	int64_t from = STORE_NONE, to = STORE_NONE, limit = 100, offset = 0, points = 40;
	const char *text = request_param(q, "q");
	enum rows_order order;
	char latest[64];
	struct seep_error *err;
	struct frames f = { 0 };
	size_t end;
	bool growth;
	struct jsonw j;

	if (!parse_sort(request_param(q, "sort"), &order, &growth)) {
		reply_bad_param(r, "sort", "inuse, growth, change, blocks, age, alloc, name");
		return;
	}
	if (!request_int(q, "from", 0, INT64_MAX, &from, r) ||
	    !request_int(q, "to", 0, INT64_MAX, &to, r) ||
	    !request_int(q, "limit", 1, SERVER_ROWS, &limit, r) ||
	    !request_int(q, "offset", 0, INT32_MAX, &offset, r) ||
	    !request_int(q, "points", 2, 1000, &points, r) || !api_who(s, q->args[0], false, &w, r))
		return;
	snprintf(latest, sizeof(latest), "latest:%" PRId64, w.id);
	/* Here from and to are of the history: the look must not take them for a window. */
	if (!request_param(q, "view") && !request_add_param(q, "view", latest)) {
		reply_fail(r, &seep_error_nomem);
		return;
	}
	if (!look_make(s, q, latest, &t.look, r))
		return;
	t.node_keys = store_node_keys(t.look.v);
	err = t.node_keys ? rows_make(&t.look, GROUP_SITE, &t.rows) : &seep_error_nomem;
	if (!err && text)
		rows_filter(&t.look, &t.rows, text);
	if (!err)
		rows_sort(&t.look, &t.rows, order);
	if (!err && growth)
		err = sort_by_growth(s, &t, from, to);
	if ((size_t)offset > t.rows.n)
		offset = (int64_t)t.rows.n;
	end = (size_t)offset + (size_t)limit < t.rows.n ? (size_t)offset + (size_t)limit : t.rows.n;
	if (!err)
		err = read_course(s, &t, (size_t)offset, end - (size_t)offset, from, to,
		                  (size_t)points);
	if (!err)
		err = read_leaks(s, t.look.process, &t.leaks);
	if (!err)
		err = stacks_frames_init(&f, t.look.v);
	if (err) {
		reply_fail(r, err);
	} else {
		j = api_json(r);
		jw_object(&j, NULL);
		look_put_about(&t.look, &j);
		jw_u64(&j, "rows_total", t.rows.n);
		put_history(&t.course, &j);
		jw_array(&j, "rows");
		for (size_t i = (size_t)offset; i < end; i++)
			put_site(&t, i - (size_t)offset, i + 1, &f, &j);
		jw_array_end(&j);
		stacks_put_frames(&f, &j);
		jw_object_end(&j);
	}
	stacks_frames_release(&f);
	table_release(&t);
}

/* ---- one site ------------------------------------------------------------------------------------------------- */

static struct seep_error *put_course(struct server *s, int64_t process, uint64_t key, int64_t from,
                                     int64_t to, struct jsonw *j)
{
	_cleanup_store_course_ struct store_course c = { 0 };
	struct seep_error *err =
		store_course_read(s->reader, process, &key, 1, from, to, COURSE_ALL, &c);

	if (err)
		return err;
	jw_object(j, NULL);
	jw_hex(j, "site", key, 16);
	jw_int(j, "process", process);
	jw_column_int(j, "time_ms", c.times_ms, c.n);
	jw_column_int(j, "snapshots", c.snapshots, c.n);
	jw_column_u64(j, "inuse_bytes", c.bytes, c.n);
	jw_column_u64(j, "inuse_blocks", c.blocks, c.n);
	jw_object_end(j);
	return NULL;
}

void route_site(struct server *s, struct request *q, struct reply *r)
{
	const char *process = request_param(q, "process");
	_cleanup_who_ struct who w = { 0 };
	_cleanup_free_ int64_t *ids = NULL;
	int64_t from = STORE_NONE, to = STORE_NONE;
	struct seep_error *err = NULL;
	char *end;
	uint64_t key = strtoull(q->args[0], &end, 16);
	size_t n = 0;
	struct jsonw j;

	if (*end || strlen(q->args[0]) != 16) {
		reply_error(r, 404, "not_found", NULL, "there is no such site");
		return;
	}
	if (!request_int(q, "from", 0, INT64_MAX, &from, r) ||
	    !request_int(q, "to", 0, INT64_MAX, &to, r) ||
	    (process && !api_who(s, process, false, &w, r)))
		return;
	if (!process)
		err = store_site_processes(s->reader, key, &ids, &n);
	j = api_json(r);
	if (!err && process) {
		err = put_course(s, w.id, key, from, to, &j);
	} else if (!err) {
		jw_object(&j, NULL);
		jw_array(&j, "courses");
		for (size_t i = 0; !err && i < n; i++)
			err = put_course(s, ids[i], key, from, to, &j);
		jw_array_end(&j);
		jw_object_end(&j);
	}
	if (err)
		reply_fail(r, err);
}

/* ---- growth as a finding ----------------------------------------------------------------------------------------- */

/* In use of the whole process at each snapshot, and the sites that grow fastest. */
struct seep_error *sites_put_growth(struct server *s, int64_t process, struct jsonw *j,
                                    const char *key)
{
	_cleanup_store_snapshots_ struct store_snapshots l = { 0 };
	struct request q;
	struct reply ignored;
	struct site_table t = { 0 };
	char latest[64];
	_cleanup_free_ int64_t *times = NULL;
	_cleanup_free_ uint64_t *values = NULL;
	struct trend_result r;
	struct seep_error *err = store_snapshot_list(s->reader, process, STORE_NONE, 1000, &l);

	if (err)
		return err;
	if (l.n < 2) {
		jw_null(j, key);
		return NULL;
	}
	times = calloc(l.n, sizeof(*times));
	values = calloc(l.n, sizeof(*values));
	if (!times || !values)
		return &seep_error_nomem;
	for (size_t i = 0; i < l.n; i++) {
		times[i] = l.items[l.n - 1 - i].time_ms;
		values[i] = l.items[l.n - 1 - i].inuse_bytes;
	}
	r = trend_of(times, values, l.n);
	request_init(&q);
	reply_init(&ignored);
	snprintf(latest, sizeof(latest), "latest:%" PRId64, process);
	if (look_make(s, &q, latest, &t.look, &ignored)) {
		t.node_keys = store_node_keys(t.look.v);
		err = t.node_keys ? rows_make(&t.look, GROUP_SITE, &t.rows) : &seep_error_nomem;
		if (!err)
			err = sort_by_growth(s, &t, STORE_NONE, STORE_NONE);
		if (!err)
			err = read_course(s, &t, 0, t.rows.n < GROWING ? t.rows.n : GROWING,
			                  STORE_NONE, STORE_NONE, 100);
	}
	reply_release(&ignored);
	request_release(&q);
	if (!err) {
		jw_object(j, key);
		put_trend(j, &r);
		jw_real(j, "rate", r.rate);
		jw_int(j, "since_ms", times[0]);
		jw_array(j, "sites");
		for (size_t i = 0; i < t.course.nkeys; i++)
			sites_put_growing(&t.look, &t.rows.items[i], t.keys[i], &t.course, i, j);
		jw_array_end(j);
		jw_object_end(j);
	}
	table_release(&t);
	return err;
}

void sites_put_growing(const struct look *l, const struct row *row, uint64_t key,
                       const struct store_course *c, size_t number, struct jsonw *j)
{
	struct trend_result r = trend_of(c->times_ms, c->bytes + number * c->n, c->n);
	uint32_t node = view_culprit(l->v, row->group.id);
	const struct view_location *at =
		&l->v->locations[l->v->nodes[node ? node : row->group.id].location];

	if (!(r.rate > 0) || r.trend == TREND_STEADY || !row->group.id)
		return;
	jw_object(j, NULL);
	jw_hex(j, "site", key, 16);
	jw_string(j, "function", at->function);
	jw_string(j, "file", at->file);
	jw_int(j, "line", at->line ? (int64_t)at->line : STORE_NONE);
	jw_real(j, "growth", r.rate);
	jw_u64(j, "inuse_bytes", row->group.self.value[MEASURE_INUSE].bytes);
	put_trend(j, &r);
	jw_object_end(j);
}
