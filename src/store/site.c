/* SPDX-License-Identifier: Apache-2.0 */
/* Sites: their keys, and what they held over time. */
#include "store/private.h"

#include "analysis/names.h"
#include "analysis/view.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

uint64_t store_site_key(uint64_t node_key, uint8_t kind)
{
	return hash_mix(node_key, kind + 1u);
}

/* A place in code; where there is no name, the file's own name and the address in it. */
static uint64_t location_key(const struct view *v, const struct view_location *l)
{
	const char *module = l->module == PROF_NO_MODULE ? NULL
	                                                 : v->profile->modules[l->module].path;

	if (l->function)
		return hash_mix(hash_mix(hash_str(l->function), hash_str(l->file)), l->line);
	return hash_mix(hash_str(module ? path_base(module) : NULL), l->address);
}

uint64_t *store_node_keys(const struct view *v)
{
	uint64_t *keys = calloc(v->nnodes ? v->nnodes : 1, sizeof(*keys));
	_cleanup_free_ uint64_t *places = calloc(v->nlocations ? v->nlocations : 1, sizeof(*places));

	if (!keys || !places) {
		free(keys);
		return NULL;
	}
	for (size_t i = 0; i < v->nlocations; i++)
		places[i] = location_key(v, &v->locations[i]);
	for (size_t i = 1; i < v->nnodes; i++)
		keys[i] = hash_mix(keys[v->nodes[i].parent], places[v->nodes[i].location]);
	return keys;
}

/* ---- courses ----------------------------------------------------------------------------- */

void store_course_release(struct store_course *c)
{
	free(c->snapshots);
	free(c->times_ms);
	free(c->bytes);
	free(c->blocks);
	memset(c, 0, sizeof(*c));
}

/* Leaves at most `most`, spread evenly, the last among them. */
static void spread(struct store_course *c, size_t most)
{
	if (!most || c->n <= most)
		return;
	for (size_t i = 0; i < most; i++) {
		size_t from = most == 1 ? c->n - 1 : i * (c->n - 1) / (most - 1);

		c->snapshots[i] = c->snapshots[from];
		c->times_ms[i] = c->times_ms[from];
	}
	c->n = most;
}

static struct seep_error *read_snapshots(struct store *s, int64_t process, int64_t from_ms,
                                         int64_t to_ms, struct store_course *c)
{
	size_t cap = 0, cap_times = 0;
	struct query q;

	query_init(&q, s,
	           "SELECT id, time_ms FROM snapshot WHERE process = ? AND time_ms BETWEEN ? AND ?"
	           " ORDER BY id");
	query_int(&q, process);
	query_int(&q, from_ms == STORE_NONE ? 0 : from_ms);
	query_int(&q, to_ms == STORE_NONE ? INT64_MAX : to_ms);
	while (query_next(&q)) {
		if (array_grow((void **)&c->snapshots, c->n, &cap, sizeof(*c->snapshots)) < 0 ||
		    array_grow((void **)&c->times_ms, c->n, &cap_times, sizeof(*c->times_ms)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		c->snapshots[c->n] = query_get_int(&q);
		c->times_ms[c->n++] = query_get_int(&q);
	}
	return query_end(&q, "reading a course");
}

/* Rows say what holds from their snapshot on: each is filled in up to the next. */
static void fill(struct store_course *c, size_t key, struct query *q)
{
	uint64_t *bytes = c->bytes + key * c->n, *blocks = c->blocks + key * c->n;
	uint64_t now_bytes = 0, now_blocks = 0;
	size_t at = 0;

	while (query_next(q)) {
		int64_t snapshot = query_get_int(q);

		for (; at < c->n && c->snapshots[at] < snapshot; at++) {
			bytes[at] = now_bytes;
			blocks[at] = now_blocks;
		}
		now_bytes = (uint64_t)query_get_int(q);
		now_blocks = (uint64_t)query_get_int(q);
	}
	for (; at < c->n; at++) {
		bytes[at] = now_bytes;
		blocks[at] = now_blocks;
	}
}

struct seep_error *store_course_read(struct store *s, int64_t process, const uint64_t *keys,
                                     size_t nkeys, int64_t from_ms, int64_t to_ms, size_t most,
                                     struct store_course *ret)
{
	struct store_course c = { .nkeys = nkeys };
	struct seep_error *err;
	struct query q;

	store_lock(s);
	err = read_snapshots(s, process, from_ms, to_ms, &c);
	spread(&c, most);
	if (!err) {
		c.bytes = calloc(c.n * nkeys + 1, sizeof(*c.bytes));
		c.blocks = calloc(c.n * nkeys + 1, sizeof(*c.blocks));
		if (!c.bytes || !c.blocks)
			err = &seep_error_nomem;
	}
	if (!err) {
		query_init(&q, s,
		           "SELECT snapshot, bytes, blocks FROM sample WHERE process = ? AND site = ?"
		           " ORDER BY snapshot");
		for (size_t i = 0; i < nkeys; i++) {
			query_again(&q);
			query_int(&q, process);
			query_int(&q, (int64_t)keys[i]);
			fill(&c, i, &q);
		}
		err = query_end(&q, "reading a course");
	}
	store_unlock(s);
	if (err)
		store_course_release(&c);
	else
		*ret = c;
	return err;
}

struct seep_error *store_site_processes(struct store *s, uint64_t key, int64_t **ret_ids,
                                        size_t *ret_n)
{
	struct seep_error *err;
	int64_t *ids = NULL;
	size_t n = 0, cap = 0;
	struct query q;

	store_lock(s);
	query_init(
		&q, s,
		"SELECT DISTINCT process FROM sample WHERE site = ? ORDER BY process DESC LIMIT 100");
	query_int(&q, (int64_t)key);
	while (query_next(&q)) {
		if (array_grow((void **)&ids, n, &cap, sizeof(*ids)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		ids[n++] = query_get_int(&q);
	}
	err = query_end(&q, "looking for a site");
	store_unlock(s);
	if (err) {
		free(ids);
		return err;
	}
	*ret_ids = ids;
	*ret_n = n;
	return NULL;
}
