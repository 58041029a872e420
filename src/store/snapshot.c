/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots, twice: the file itself, whole, for everything that looks at one moment; and per site, for everything that looks
 * along time.
 *
 *     snapshot_data   snapshot → the .seep file's bytes (compressed, with names)
 *     frame, site     the dictionary of stacks, for all processes and times
 *     sample          (process, site, snapshot) → bytes and blocks in use, a row only where they changed
 *
 * Rows only where something changed are what makes a history of 50,000 sites affordable: most of a service's sites hold the same in
 * every snapshot.  A site's value at a snapshot is that of its last row at or before it.  So when a snapshot goes, its rows
 * move to the next one, unless that has rows of its own for them: what later snapshots say is as before.
 */
#include "store/private.h"

#include "analysis/group.h"
#include "analysis/view.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                             \
	"id, process, time_ms, reason, label, pinned, format, state, sampled, has_blocks,"  \
	" period, inuse_bytes, inuse_blocks, alloc_bytes, alloc_blocks, peak_bytes, sites," \
	" rss_bytes, stored_bytes"

void store_snapshot_release(struct store_snapshot *s)
{
	free(s->reason);
	free(s->label);
	free(s->format);
	free(s->state);
	memset(s, 0, sizeof(*s));
}

/* ---- the dictionary ------------------------------------------------------------------- */

struct names {
	struct query insert, find;
	const char *last; /* the same pointer again is the same name */
	int64_t last_id;
};

static int64_t name_id(struct names *n, const char *text)
{
	int64_t id = STORE_NONE;

	if (!text)
		return STORE_NONE;
	if (text == n->last)
		return n->last_id;
	query_again(&n->find);
	query_text(&n->find, text);
	if (query_next(&n->find)) {
		id = query_get_int(&n->find);
	} else {
		query_again(&n->insert);
		query_text(&n->insert, text);
		query_next(&n->insert);
		id = sqlite3_last_insert_rowid(n->insert.s->db);
	}
	n->last = text;
	n->last_id = id;
	return id;
}

static struct seep_error *put_frames(struct store *s, const struct view *v, const uint64_t *keys)
{
	struct seep_error *err, *other;
	struct names names = { 0 };
	struct query known, put;

	query_init(&names.insert, s, "INSERT INTO name(text) VALUES(?)");
	query_init(&names.find, s, "SELECT id FROM name WHERE text = ?");
	query_init(&known, s, "SELECT 1 FROM frame WHERE key = ?");
	query_init(&put, s, "INSERT OR IGNORE INTO frame VALUES(?,?,?,?,?,?,?)");
	for (size_t i = 1; i < v->nnodes; i++) {
		const struct view_location *l = &v->locations[v->nodes[i].location];

		query_again(&known);
		query_int(&known, (int64_t)keys[i]);
		if (query_next(&known))
			continue;
		query_again(&put);
		query_int(&put, (int64_t)keys[i]);
		query_int(&put, (int64_t)keys[v->nodes[i].parent]);
		query_int(&put, name_id(&names, l->function));
		query_int(&put, name_id(&names, l->file));
		query_int(&put, l->line);
		query_int(&put, name_id(&names, l->module == PROF_NO_MODULE
		                                        ? NULL
		                                        : v->profile->modules[l->module].path));
		query_int(&put, (int64_t)l->address);
		query_next(&put);
		if (put.rc != SQLITE_DONE)
			break;
	}
	err = query_end(&put, "recording stacks");
	struct query *rest[] = { &known, &names.find, &names.insert };
	for (size_t i = 0; i < ARRAY_SIZE(rest); i++) {
		other = query_end(rest[i], "recording stacks");
		if (err)
			seep_error_free(other);
		else
			err = other;
	}
	return err;
}

/* ---- samples ----------------------------------------------------------------------------- */

static int by_site(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

struct sample {
	int64_t key;
	uint64_t bytes, blocks;
	uint64_t node;
	uint8_t kind;
};

static int collect(const struct view *v, const uint64_t *keys, struct sample **ret, size_t *ret_n,
                   struct seep_error **ret_err)
{
	_cleanup_groups_ struct groups g = { 0 };
	struct sample *samples;
	size_t n = 0;

	*ret_err = groups_collect(v, GROUP_SITE, &g);
	if (*ret_err)
		return -1;
	samples = calloc(g.n + 1, sizeof(*samples));
	if (!samples)
		return -1;
	for (size_t i = 0; i < g.n; i++) {
		const struct prof_value *value = &g.items[i].self.value[MEASURE_INUSE];
		uint64_t key = keys[g.items[i].id];

		samples[n++] = (struct sample){ .key = (int64_t)store_site_key(key, g.items[i].kind),
			                        .bytes = value->bytes,
			                        .blocks = value->blocks,
			                        .node = key,
			                        .kind = g.items[i].kind };
	}
	/* In the order of the index, neighbouring look-ups meet the same pages. */
	qsort(samples, n, sizeof(*samples), by_site);
	*ret = samples;
	*ret_n = n;
	return 0;
}

static struct seep_error *put_samples(struct store *s, int64_t process, int64_t snapshot,
                                      const struct sample *samples, size_t n)
{
	struct query last, put, site;
	struct seep_error *err, *other;

	query_init(&last, s,
	           "SELECT bytes, blocks FROM sample WHERE process = ? AND site = ?"
	           " ORDER BY snapshot DESC LIMIT 1");
	query_init(&put, s, "INSERT OR REPLACE INTO sample VALUES(?,?,?,?,?)");
	query_init(&site, s, "INSERT OR IGNORE INTO site VALUES(?,?,?)");
	for (size_t i = 0; i < n; i++) {
		int64_t bytes = 0, blocks = 0;
		bool known;

		query_again(&last);
		query_int(&last, process);
		query_int(&last, samples[i].key);
		known = query_next(&last);
		if (known) {
			bytes = query_get_int(&last);
			blocks = query_get_int(&last);
		}
		if (bytes == (int64_t)samples[i].bytes && blocks == (int64_t)samples[i].blocks)
			continue;
		if (!known) {
			query_again(&site);
			query_int(&site, samples[i].key);
			query_int(&site, (int64_t)samples[i].node);
			query_int(&site, samples[i].kind);
			query_next(&site);
		}
		query_again(&put);
		query_int(&put, process);
		query_int(&put, samples[i].key);
		query_int(&put, snapshot);
		query_int(&put, (int64_t)samples[i].bytes);
		query_int(&put, (int64_t)samples[i].blocks);
		query_next(&put);
		if (put.rc != SQLITE_DONE)
			break;
	}
	err = query_end(&put, "recording sites");
	other = query_end(&last, "recording sites");
	err = err ? (seep_error_free(other), err) : other;
	other = query_end(&site, "recording sites");
	return err ? (seep_error_free(other), err) : other;
}

static struct seep_error *put_row(struct store *s, const struct store_snapshot *i, size_t len,
                                  int64_t *ret_id)
{
	struct seep_error *err;
	struct query q;

	query_init(
		&q, s,
		"INSERT INTO snapshot(process, time_ms, reason, label, pinned, format, state, sampled,"
		" has_blocks, period, inuse_bytes, inuse_blocks, alloc_bytes, alloc_blocks, peak_bytes,"
		" sites, rss_bytes, stored_bytes) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
	query_int(&q, i->process);
	query_int(&q, i->time_ms);
	query_text(&q, i->reason);
	query_text(&q, i->label);
	query_int(&q, i->pinned);
	query_text(&q, i->format);
	query_text(&q, i->state);
	query_int(&q, i->sampled);
	query_int(&q, i->has_blocks);
	query_int(&q, (int64_t)i->period);
	query_int(&q, (int64_t)i->inuse_bytes);
	query_int(&q, (int64_t)i->inuse_blocks);
	query_int(&q, (int64_t)i->alloc_bytes);
	query_int(&q, (int64_t)i->alloc_blocks);
	query_int(&q, (int64_t)i->peak_bytes);
	query_int(&q, (int64_t)i->sites);
	query_int(&q, i->rss_bytes);
	query_int(&q, (int64_t)len);
	query_next(&q);
	err = query_end(&q, "recording a snapshot");
	*ret_id = sqlite3_last_insert_rowid(s->db);
	return err;
}

struct seep_error *store_snapshot_add(struct store *s, const struct store_snapshot *info,
                                      const struct view *v, const void *data, size_t len,
                                      int64_t *ret_id)
{
	_cleanup_free_ uint64_t *keys = store_node_keys(v);
	_cleanup_free_ struct sample *samples = NULL;
	struct seep_error *err = NULL;
	int64_t id = 0;
	struct query q;
	size_t n = 0;

	if (!keys || collect(v, keys, &samples, &n, &err) < 0)
		return err ? err : &seep_error_nomem;
	err = store_begin(s);
	if (err)
		return err;
	err = put_row(s, info, len, &id);
	if (!err) {
		query_init(&q, s, "INSERT INTO snapshot_data VALUES(?,?)");
		query_int(&q, id);
		query_blob(&q, data, len);
		query_next(&q);
		err = query_end(&q, "recording a snapshot");
	}
	if (!err)
		err = put_frames(s, v, keys);
	if (!err)
		err = put_samples(s, info->process, id, samples, n);
	err = store_finish(s, err, "recording a snapshot");
	if (!err)
		*ret_id = id;
	return err;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void take_row(struct query *q, struct store_snapshot *s)
{
	memset(s, 0, sizeof(*s));
	s->id = query_get_int(q);
	s->process = query_get_int(q);
	s->time_ms = query_get_int(q);
	s->reason = query_get_text(q);
	s->label = query_get_text(q);
	s->pinned = query_get_bool(q);
	s->format = query_get_text(q);
	s->state = query_get_text(q);
	s->sampled = query_get_bool(q);
	s->has_blocks = query_get_bool(q);
	s->period = (uint64_t)query_get_int(q);
	s->inuse_bytes = (uint64_t)query_get_int(q);
	s->inuse_blocks = (uint64_t)query_get_int(q);
	s->alloc_bytes = (uint64_t)query_get_int(q);
	s->alloc_blocks = (uint64_t)query_get_int(q);
	s->peak_bytes = (uint64_t)query_get_int(q);
	s->sites = (uint64_t)query_get_int(q);
	s->rss_bytes = query_get_int(q);
	s->stored_bytes = (uint64_t)query_get_int(q);
}

struct seep_error *store_snapshot_get(struct store *s, int64_t id, struct store_snapshot *ret,
                                      bool *ret_found)
{
	struct store_snapshot row = { 0 };
	struct seep_error *err;
	struct query q;
	bool found;

	store_lock(s);
	query_init(&q, s, "SELECT " COLUMNS " FROM snapshot WHERE id = ?");
	query_int(&q, id);
	found = query_next(&q);
	if (found)
		take_row(&q, &row);
	err = query_end(&q, "reading a snapshot");
	store_unlock(s);
	if (err) {
		store_snapshot_release(&row);
		return err;
	}
	*ret = row;
	*ret_found = found;
	return NULL;
}

struct seep_error *store_snapshot_data(struct store *s, int64_t id, struct buf *ret)
{
	struct seep_error *err;
	struct query q;
	bool found;

	store_lock(s);
	query_init(&q, s, "SELECT data FROM snapshot_data WHERE snapshot = ?");
	query_int(&q, id);
	found = query_next(&q);
	if (found &&
	    buf_add(ret, sqlite3_column_blob(q.st, 0), (size_t)sqlite3_column_bytes(q.st, 0)) < 0)
		q.rc = SQLITE_NOMEM;
	err = query_end(&q, "reading a snapshot");
	store_unlock(s);
	if (!err && !found)
		err = seep_error_new(0, "there is no snapshot %lld", (long long)id);
	return err;
}

struct seep_error *store_snapshot_find(struct store *s, int64_t process, enum store_which which,
                                       int64_t ms, int64_t *ret_id)
{
	static const char *const sql[] = {
		[STORE_FIRST] = "SELECT id FROM snapshot WHERE process=?1 ORDER BY id LIMIT 1",
		[STORE_LATEST] = "SELECT id FROM snapshot WHERE process=?1 ORDER BY id DESC LIMIT 1",
		[STORE_BASELINE] = "SELECT id FROM snapshot WHERE id ="
				   " (SELECT baseline FROM process WHERE id=?1)",
		[STORE_NEAREST] = "SELECT id FROM snapshot WHERE process=?1"
				  " ORDER BY abs(time_ms - ?2), id DESC LIMIT 1",
	};
	struct seep_error *err;
	struct query q;
	int64_t id = 0;

	store_lock(s);
	query_init(&q, s, sql[which]);
	query_int(&q, process);
	if (which == STORE_NEAREST)
		query_int(&q, ms);
	if (query_next(&q))
		id = query_get_int(&q);
	err = query_end(&q, "looking for a snapshot");
	store_unlock(s);
	if (!err)
		*ret_id = id;
	return err;
}

struct seep_error *store_snapshot_list(struct store *s, int64_t process, int64_t before_ms,
                                       size_t most, struct store_snapshots *ret)
{
	struct store_snapshots l = { 0 };
	struct seep_error *err;
	size_t cap = 0;
	struct query q;

	store_lock(s);
	query_init(&q, s,
	           "SELECT " COLUMNS " FROM snapshot WHERE (?1 = 0 OR process = ?1) AND time_ms < ?2"
	           " ORDER BY id DESC LIMIT ?3");
	query_int(&q, process);
	query_int(&q, before_ms == STORE_NONE ? INT64_MAX : before_ms);
	query_int(&q, (int64_t)most);
	while (query_next(&q)) {
		if (array_grow((void **)&l.items, l.n, &cap, sizeof(*l.items)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		take_row(&q, &l.items[l.n++]);
	}
	err = query_end(&q, "listing snapshots");
	store_unlock(s);
	if (err)
		store_snapshots_release(&l);
	else
		*ret = l;
	return err;
}

void store_snapshots_release(struct store_snapshots *l)
{
	for (size_t i = 0; i < l->n; i++)
		store_snapshot_release(&l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

/* ---- changing ----------------------------------------------------------------------------- */

struct seep_error *store_snapshot_label(struct store *s, int64_t id, const char *label)
{
	struct seep_error *err = store_begin(s);
	struct query q;

	if (err)
		return err;
	query_init(&q, s, "UPDATE snapshot SET label = ? WHERE id = ?");
	query_text(&q, label);
	query_int(&q, id);
	query_next(&q);
	return store_finish(s, query_end(&q, "labelling"), "labelling");
}

struct seep_error *store_snapshot_pin(struct store *s, int64_t id, bool pinned)
{
	struct seep_error *err = store_begin(s);
	int64_t values[] = { pinned, id };

	if (err)
		return err;
	return store_finish(
		s, store_do(s, "pinning", "UPDATE snapshot SET pinned = ? WHERE id = ?", values, 2),
		"pinning");
}

struct seep_error *store_snapshot_delete(struct store *s, int64_t id)
{
	static const char *const steps[] = {
		/* What later snapshots say stays as it is: the rows move on to the next one. */
		"INSERT OR IGNORE INTO sample"
		" SELECT a.process, a.site, n.id, a.bytes, a.blocks FROM sample a,"
		" (SELECT id FROM snapshot WHERE process = (SELECT process FROM snapshot WHERE id = ?1)"
		"  AND id > ?1 ORDER BY id LIMIT 1) n WHERE a.snapshot = ?1",
		"DELETE FROM sample WHERE snapshot = ?1",
		"UPDATE process SET baseline = 0 WHERE baseline = ?1",
		"DELETE FROM snapshot_data WHERE snapshot = ?1",
		"DELETE FROM snapshot WHERE id = ?1",
	};
	struct seep_error *err = store_begin(s);

	if (err)
		return err;
	for (size_t i = 0; !err && i < ARRAY_SIZE(steps); i++)
		err = store_do(s, "deleting a snapshot", steps[i], &id, 1);
	return store_finish(s, err, "deleting a snapshot");
}
