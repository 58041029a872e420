/* SPDX-License-Identifier: Apache-2.0 */
/* Views that are tables. */
#include "server/api_view.h"
#include "server/jsonw.h"
#include "server/look.h"
#include "server/private.h"
#include "server/rows.h"
#include "server/stacks.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

static const char *const by_words[] = { [GROUP_SITE] = "site",
	                                [GROUP_FUNCTION] = "function",
	                                [GROUP_MODULE] = "module",
	                                [GROUP_THREAD] = "thread",
	                                [GROUP_KIND] = "kind" };
static const char *const order_words[] = {
	[ROWS_VALUE] = "value",   [ROWS_SELF] = "self",     [ROWS_TOTAL] = "total",
	[ROWS_GROWTH] = "growth", [ROWS_BLOCKS] = "blocks", [ROWS_NAME] = "name",
	[ROWS_AGE] = "age",       [ROWS_ALLOC] = "alloc"
};

static bool find_word(const char *text, const char *const *words, size_t n, unsigned int *ret)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i], text)) {
			*ret = (unsigned int)i;
			return true;
		}
	return false;
}

static void put_base(struct jsonw *j, const struct look *l, const char *key, uint64_t v)
{
	jw_int(j, key, l->shows_diff ? (int64_t)v : STORE_NONE);
}

/* The heaviest place of a function is not known here; its first one tells the file. */
static const struct view_location *place_of(const struct look *l, enum group_by by,
                                            const struct row *row)
{
	uint32_t node;

	if (by == GROUP_SITE && row->group.id) {
		node = view_culprit(l->v, row->group.id);
		return &l->v->locations[l->v->nodes[node ? node : row->group.id].location];
	}
	for (size_t i = 0; by == GROUP_FUNCTION && i < l->v->nlocations; i++)
		if (l->v->locations[i].func == row->group.id)
			return &l->v->locations[i];
	return NULL;
}

static const char *module_path(const struct look *l, enum group_by by, const struct row *row,
                               const struct view_location *at)
{
	uint32_t module = at ? at->module : by == GROUP_MODULE ? row->group.id : PROF_NO_MODULE;

	return module == PROF_NO_MODULE ? NULL : l->v->profile->modules[module].path;
}

static void put_row(const struct look *l, const struct rows *rows, const struct row *row,
                    size_t rank, const uint64_t *keys, struct frames *f, struct jsonw *j)
{
	const struct group_sum *s = &row->group.self;
	const struct view_location *at = place_of(l, rows->by, row);
	const struct profile *p = look_profile(l);
	const struct prof_thread *t = rows->by == GROUP_THREAD ? &p->threads[row->group.id] : NULL;

	jw_object(j, NULL);
	jw_u64(j, "rank", rank);
	jw_string(j, "name",
	          rows->by == GROUP_SITE && at ? at->function
	                                       : group_name(l->v, rows->by, &row->group));
	jw_string(j, "module", module_path(l, rows->by, row, at));
	jw_string(j, "file", at ? at->file : NULL);
	jw_int(j, "line", at && at->line ? (int64_t)at->line : STORE_NONE);
	jw_u64(j, "self", row->self);
	jw_u64(j, "total", row->total);
	put_base(j, l, "self_base", row->self_base);
	put_base(j, l, "total_base", row->total_base);
	jw_u64(j, "blocks", row->blocks);
	put_base(j, l, "blocks_base", row->blocks_base);
	jw_u64(j, "alloc_bytes", s->value[MEASURE_ALLOC].bytes);
	jw_u64(j, "alloc_blocks", s->value[MEASURE_ALLOC].blocks);
	jw_u64(j, "freed_blocks", s->value[MEASURE_FREED].blocks);
	jw_int(j, "low", row->low);
	jw_int(j, "high", row->high);
	jw_bool(j, "noise", row->noise);
	jw_int(j, "oldest_age_ns", rows_age(l, row));
	jw_string(j, "kind",
	          rows->by == GROUP_SITE || rows->by == GROUP_KIND ? rows_kind(row->group.kind)
	                                                           : NULL);
	jw_int(j, "tid", t ? t->tid : STORE_NONE);
	if (t)
		jw_bool(j, "ended", t->died != 0);
	else
		jw_null(j, "ended");
	if (rows->by == GROUP_SITE) {
		jw_hex(j, "site", store_site_key(keys[row->group.id], row->group.kind), 16);
		rows_put_stack(l, f, row->group.id, j);
	} else {
		jw_null(j, "site");
		jw_null(j, "stack");
		jw_null(j, "look_here");
	}
	jw_object_end(j);
}

void view_top(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r)
{
	const char *by_text = request_param(q, "by"), *sort = request_param(q, "sort");
	const char *text = request_param(q, "q");
	unsigned int by = GROUP_FUNCTION, order = ROWS_VALUE;
	int64_t limit = 200, offset = 0;
	_cleanup_rows_ struct rows rows = { 0 };
	_cleanup_free_ uint64_t *keys = NULL;
	struct frames f;
	struct seep_error *err;

	if (by_text && !find_word(by_text, by_words, ARRAY_SIZE(by_words), &by)) {
		reply_bad_param(r, "by", "function, site, module, thread, kind");
		return;
	}
	if (sort && !find_word(sort, order_words, ARRAY_SIZE(order_words), &order)) {
		reply_bad_param(r, "sort", "value, self, total, growth, blocks, name, age, alloc");
		return;
	}
	if (by == GROUP_THREAD && l->measure.value != MEASURE_INUSE) {
		reply_bad_param(r, "by", "of threads only what is in use is known");
		return;
	}
	if (!request_int(q, "limit", 1, SERVER_ROWS, &limit, r) ||
	    !request_int(q, "offset", 0, INT64_MAX, &offset, r))
		return;
	keys = store_node_keys(l->v);
	err = keys ? rows_make(l, (enum group_by)by, &rows) : &seep_error_nomem;
	if (!err)
		err = stacks_frames_init(&f, l->v);
	if (err) {
		reply_fail(r, err);
		return;
	}
	if (text)
		rows_filter(l, &rows, text);
	rows_sort(l, &rows, (enum rows_order)order);
	jw_object(j, NULL);
	look_put_about(l, j);
	jw_string(j, "by", by_words[by]);
	jw_u64(j, "rows_total", rows.n);
	jw_array(j, "rows");
	for (size_t i = (size_t)offset; i < rows.n && i < (size_t)offset + (size_t)limit; i++)
		put_row(l, &rows, &rows.items[i], i + 1, keys, &f, j);
	jw_array_end(j);
	stacks_put_frames(&f, j);
	jw_object_end(j);
	stacks_frames_release(&f);
}
