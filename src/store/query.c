/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements without an error branch after every line: a query remembers its first failure, does nothing from then on, and
 * tells it at its end.  Errors name the store, and for those a person can do something about (a full disk, a damaged
 * file) say what.
 */
#include "store/private.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

struct seep_error *store_fail(struct store *s, int rc, const char *what)
{
	const char *message = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);

	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return &seep_error_nomem;
	case SQLITE_FULL:
		return seep_error_hint(
			seep_error_new(ENOSPC, "%s: cannot write %s", what, s->dir),
			"What was recorded before is still there. Make room, or keep less: --max-size.");
	case SQLITE_IOERR:
		return seep_error_hint(seep_error_new(EIO, "%s: %s: %s", what, s->dir, message),
		                       "Is the disk full, or the directory gone?");
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return seep_error_hint(seep_error_new(EBADMSG, "%s: the store in %s is damaged: %s",
		                                      what, s->dir, message),
		                       "Move the directory away to begin a new one.");
	default:
		return seep_error_new(0, "%s: %s: %s", what, s->dir, message);
	}
}

void query_init(struct query *q, struct store *s, const char *sql)
{
	*q = (struct query){ .s = s };
	q->rc = sqlite3_prepare_v2(s->db, sql, -1, &q->st, NULL);
}

void query_int(struct query *q, int64_t v)
{
	if (q->rc != SQLITE_OK)
		return;
	q->bound++;
	q->rc = v == STORE_NONE ? sqlite3_bind_null(q->st, q->bound)
	                        : sqlite3_bind_int64(q->st, q->bound, v);
}

void query_text(struct query *q, const char *v)
{
	if (q->rc != SQLITE_OK)
		return;
	q->bound++;
	q->rc = v ? sqlite3_bind_text(q->st, q->bound, v, -1, SQLITE_TRANSIENT)
	          : sqlite3_bind_null(q->st, q->bound);
}

void query_blob(struct query *q, const void *data, size_t len)
{
	if (q->rc == SQLITE_OK)
		q->rc = sqlite3_bind_blob64(q->st, ++q->bound, data, len, SQLITE_STATIC);
}

bool query_next(struct query *q)
{
	if (q->rc != SQLITE_OK && q->rc != SQLITE_ROW)
		return false;
	q->rc = sqlite3_step(q->st);
	q->column = 0;
	return q->rc == SQLITE_ROW;
}

void query_again(struct query *q)
{
	if (q->rc != SQLITE_OK && q->rc != SQLITE_ROW && q->rc != SQLITE_DONE)
		return;
	sqlite3_reset(q->st);
	q->rc = SQLITE_OK;
	q->bound = 0;
}

int64_t query_get_int(struct query *q)
{
	int at = q->column++;

	return sqlite3_column_type(q->st, at) == SQLITE_NULL ? STORE_NONE
	                                                     : sqlite3_column_int64(q->st, at);
}

bool query_get_bool(struct query *q)
{
	return sqlite3_column_int64(q->st, q->column++) != 0;
}

char *query_get_text(struct query *q)
{
	int at = q->column++;
	const char *text = (const char *)sqlite3_column_text(q->st, at);
	char *copy;

	if (!text)
		return NULL;
	copy = strdup(text);
	if (!copy)
		q->rc = SQLITE_NOMEM;
	return copy;
}

struct seep_error *query_end(struct query *q, const char *what)
{
	struct seep_error *err = NULL;

	if (q->rc != SQLITE_OK && q->rc != SQLITE_ROW && q->rc != SQLITE_DONE)
		err = store_fail(q->s, q->rc, what);
	sqlite3_finalize(q->st);
	q->st = NULL;
	return err;
}

struct seep_error *store_do(struct store *s, const char *what, const char *sql,
                            const int64_t *values, size_t n)
{
	struct query q;

	query_init(&q, s, sql);
	for (size_t i = 0; i < n; i++)
		query_int(&q, values[i]);
	query_next(&q);
	return query_end(&q, what);
}

void store_lock(struct store *s)
{
	pthread_mutex_lock(&s->lock);
}

void store_unlock(struct store *s)
{
	pthread_mutex_unlock(&s->lock);
}

struct seep_error *store_begin(struct store *s)
{
	struct seep_error *err;

	store_lock(s);
	err = store_do(s, "writing", "BEGIN IMMEDIATE", NULL, 0);
	if (err)
		store_unlock(s);
	return err;
}

struct seep_error *store_finish(struct store *s, struct seep_error *err, const char *what)
{
	if (!err)
		err = store_do(s, what, "COMMIT", NULL, 0);
	/* A statement that failed for want of room may have rolled back everything already. */
	if (err && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	store_unlock(s);
	return err;
}
