/* SPDX-License-Identifier: Apache-2.0 */
/* Documents: the JSON of `seep check`, `seep doctor` and `seep trim`, as it is.  Only its own page interprets it. */
#include "store/private.h"

#include "base/array.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS "id, process, time_ms, kind, summary"
/* Of one kind and process; the oldest go. */
#define KEPT 200

struct seep_error *store_document_add(struct store *s, const struct store_document *d,
                                      int64_t *ret_id)
{
	struct seep_error *err = store_begin(s);
	int64_t id = 0;
	struct query q;

	if (err)
		return err;
	query_init(&q, s,
	           "INSERT INTO document(process, time_ms, kind, summary, json) VALUES(?,?,?,?,?)");
	query_int(&q, d->process);
	query_int(&q, d->time_ms);
	query_text(&q, d->kind);
	query_text(&q, d->summary);
	query_text(&q, d->json);
	query_next(&q);
	err = query_end(&q, "recording a finding");
	id = sqlite3_last_insert_rowid(s->db);
	if (!err) {
		query_init(&q, s,
		           "DELETE FROM document WHERE process = ?1 AND kind = ?2 AND id NOT IN"
		           " (SELECT id FROM document WHERE process = ?1 AND kind = ?2"
		           " ORDER BY id DESC LIMIT ?3)");
		query_int(&q, d->process);
		query_text(&q, d->kind);
		query_int(&q, KEPT);
		query_next(&q);
		err = query_end(&q, "recording a finding");
	}
	err = store_finish(s, err, "recording a finding");
	if (!err)
		*ret_id = id;
	return err;
}

static void take_row(struct query *q, struct store_document *d, bool with_json)
{
	memset(d, 0, sizeof(*d));
	d->id = query_get_int(q);
	d->process = query_get_int(q);
	d->time_ms = query_get_int(q);
	d->kind = query_get_text(q);
	d->summary = query_get_text(q);
	if (with_json) {
		d->json = query_get_text(q);
		d->len = d->json ? strlen(d->json) : 0;
	}
}

static struct seep_error *get(struct store *s, struct query *q, struct store_document *ret,
                              bool *ret_found)
{
	struct store_document d = { 0 };
	struct seep_error *err;
	bool found = query_next(q);

	if (found)
		take_row(q, &d, true);
	err = query_end(q, "reading a finding");
	store_unlock(s);
	if (err) {
		store_document_release(&d);
		return err;
	}
	*ret = d;
	*ret_found = found;
	return NULL;
}

struct seep_error *store_document_get(struct store *s, int64_t id, struct store_document *ret,
                                      bool *ret_found)
{
	struct query q;

	store_lock(s);
	query_init(&q, s, "SELECT " COLUMNS ", json FROM document WHERE id = ?");
	query_int(&q, id);
	return get(s, &q, ret, ret_found);
}

struct seep_error *store_document_latest(struct store *s, int64_t process, const char *kind,
                                         struct store_document *ret, bool *ret_found)
{
	struct query q;

	store_lock(s);
	query_init(&q, s,
	           "SELECT " COLUMNS ", json FROM document WHERE process = ? AND kind = ?"
	           " ORDER BY id DESC LIMIT 1");
	query_int(&q, process);
	query_text(&q, kind);
	return get(s, &q, ret, ret_found);
}

struct seep_error *store_document_list(struct store *s, int64_t process, const char *kind,
                                       int64_t from_ms, int64_t to_ms, size_t most, bool with_json,
                                       struct store_documents *ret)
{
	struct store_documents l = { 0 };
	struct seep_error *err;
	size_t cap = 0;
	struct query q;

	store_lock(s);
	query_init(&q, s,
	           with_json ? "SELECT " COLUMNS ", json FROM document WHERE process = ? AND kind = ?"
	                       " AND time_ms BETWEEN ? AND ? ORDER BY id DESC LIMIT ?"
	                     : "SELECT " COLUMNS " FROM document WHERE process = ? AND kind = ?"
	                       " AND time_ms BETWEEN ? AND ? ORDER BY id DESC LIMIT ?");
	query_int(&q, process);
	query_text(&q, kind);
	query_int(&q, from_ms == STORE_NONE ? 0 : from_ms);
	query_int(&q, to_ms == STORE_NONE ? INT64_MAX : to_ms);
	query_int(&q, (int64_t)most);
	while (query_next(&q)) {
		if (array_grow((void **)&l.items, l.n, &cap, sizeof(*l.items)) < 0) {
			q.rc = SQLITE_NOMEM;
			break;
		}
		take_row(&q, &l.items[l.n++], with_json);
	}
	err = query_end(&q, "listing findings");
	store_unlock(s);
	if (err)
		store_documents_release(&l);
	else
		*ret = l;
	return err;
}

void store_document_release(struct store_document *d)
{
	free(d->kind);
	free(d->summary);
	free(d->json);
	memset(d, 0, sizeof(*d));
}

void store_documents_release(struct store_documents *l)
{
	for (size_t i = 0; i < l->n; i++)
		store_document_release(&l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}
