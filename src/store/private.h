/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: the handle, and statements whose errors are looked at once, at their end. */
#ifndef SEEP_STORE_PRIVATE_H
#define SEEP_STORE_PRIVATE_H

#include "store/store.h"

#include <pthread.h>
#include <sqlite3.h>

struct store {
	sqlite3 *db;
	pthread_mutex_t lock; /* of every call; recursive */
	char *dir;
	int lock_fd; /* -1: read-only */
	bool readonly;
};

/*
 * A statement: query_init(), bind from left to right, query_next() until it is false, query_end().
 * After a failure every call does nothing, and query_end() says what failed.
 */
struct query {
	struct store *s;
	sqlite3_stmt *st;
	int bound, column;
	int rc;
};

void query_init(struct query *q, struct store *s, const char *sql);
void query_int(struct query *q, int64_t v); /* STORE_NONE is NULL */
void query_text(struct query *q, const char *v);
void query_blob(struct query *q, const void *data, size_t len);
bool query_next(struct query *q);
void query_again(struct query *q); /* the same statement with other values */
/* Columns of the row, from left to right. */
int64_t query_get_int(struct query *q); /* NULL is STORE_NONE */
bool query_get_bool(struct query *q);
char *query_get_text(struct query *q); /* malloc'ed; NULL stays NULL */
struct seep_error *query_end(struct query *q, const char *what);

/* A statement without rows that takes integers only. */
struct seep_error *store_do(struct store *s, const char *what, const char *sql,
                            const int64_t *values, size_t n);

struct seep_error *store_fail(struct store *s, int rc, const char *what);

void store_lock(struct store *s);
void store_unlock(struct store *s);
/* Takes the lock; until store_finish() all changes are one. */
struct seep_error *store_begin(struct store *s);
/* Commits when err is NULL, else rolls back; gives the lock back; returns what went wrong. */
struct seep_error *store_finish(struct store *s, struct seep_error *err, const char *what);

struct store_migration {
	const char *sql;
};
/* Brings the database to version n, a transaction for each step; a higher version there is an error. */
struct seep_error *store_migrate(struct store *s, const struct store_migration *steps, size_t n);

extern const struct store_migration store_migrations[];
extern const size_t store_nmigrations;

#endif
