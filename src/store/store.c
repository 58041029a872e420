/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening: one writer at a time, and never a schema it does not know.
 *
 * The directory holds the database, its write-ahead log, and a lock file that the writing handle keeps locked, with its pid for the
 * message to whom comes second.  The schema's version is SQLite's user_version; steps are applied one transaction each, so
 * a kill in between leaves a whole older version, which the next start brings up to date.
 *
 * WAL with synchronous=NORMAL: a commit is in the kernel's hands when it returns, which is what a killed process needs; the log
 * is synced at checkpoints, so a machine that loses power loses the last moments, not the store.  FULL would sync the disk
 * every two seconds for nothing a profiler's history is worth.
 */
#include "store/private.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define DATABASE "seep.db"
#define APPLICATION 0x73656570 /* "seep" */
#define PAGE 4096
#define BUSY_MS 5000

/* ---- the schema ------------------------------------------------------------------ */

const struct store_migration store_migrations[] = {
	{ /* 1 */
	  "CREATE TABLE process("
	  " id INTEGER PRIMARY KEY AUTOINCREMENT,"
	  " boot TEXT NOT NULL, pid INTEGER NOT NULL, start_ticks INTEGER NOT NULL,"
	  " exec_seq INTEGER NOT NULL, started_ms INTEGER,"
	  " name TEXT, command TEXT, exe TEXT, allocator TEXT, uid INTEGER,"
	  " tracked INTEGER, sampled INTEGER, attached INTEGER, period INTEGER,"
	  " state TEXT NOT NULL, end TEXT, ended_ms INTEGER,"
	  " label TEXT, baseline INTEGER NOT NULL DEFAULT 0, watch_s INTEGER NOT NULL DEFAULT 0,"
	  " UNIQUE(boot, pid, start_ticks, exec_seq));"

	  "CREATE TABLE point("
	  " process INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
	  " inuse INTEGER, alloc INTEGER, rss INTEGER, pss INTEGER, swap INTEGER,"
	  " retained INTEGER, cgroup INTEGER, threads INTEGER,"
	  " PRIMARY KEY(process, time_ms)) WITHOUT ROWID;"

	  "CREATE TABLE mark("
	  " process INTEGER NOT NULL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT);"
	  "CREATE INDEX mark_of ON mark(process, time_ms);"

	  "CREATE TABLE snapshot("
	  " id INTEGER PRIMARY KEY AUTOINCREMENT,"
	  " process INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
	  " reason TEXT, label TEXT, pinned INTEGER NOT NULL DEFAULT 0,"
	  " format TEXT, state TEXT, sampled INTEGER, has_blocks INTEGER, period INTEGER,"
	  " inuse_bytes INTEGER, inuse_blocks INTEGER, alloc_bytes INTEGER, alloc_blocks INTEGER,"
	  " peak_bytes INTEGER, sites INTEGER, rss_bytes INTEGER, stored_bytes INTEGER);"
	  "CREATE INDEX snapshot_of ON snapshot(process, time_ms);"
	  "CREATE TABLE snapshot_data(snapshot INTEGER PRIMARY KEY, data BLOB NOT NULL);"

	  /* The dictionary of stacks: a frame of a stack is its caller's key and a place in code. */
	  "CREATE TABLE name(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
	  "CREATE TABLE frame("
	  " key INTEGER PRIMARY KEY, parent INTEGER NOT NULL,"
	  " function INTEGER, file INTEGER, line INTEGER, module INTEGER, address INTEGER);"
	  "CREATE TABLE site(key INTEGER PRIMARY KEY, frame INTEGER NOT NULL, kind INTEGER NOT NULL);"
	  /* What a site held from this snapshot on, until its next row. */
	  "CREATE TABLE sample("
	  " process INTEGER NOT NULL, site INTEGER NOT NULL, snapshot INTEGER NOT NULL,"
	  " bytes INTEGER NOT NULL, blocks INTEGER NOT NULL,"
	  " PRIMARY KEY(process, site, snapshot)) WITHOUT ROWID;"
	  "CREATE INDEX sample_of ON sample(snapshot);"
	  "CREATE INDEX sample_site ON sample(site, process);"

	  "CREATE TABLE document("
	  " id INTEGER PRIMARY KEY AUTOINCREMENT,"
	  " process INTEGER NOT NULL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
	  " summary TEXT, json TEXT NOT NULL);"
	  "CREATE INDEX document_of ON document(process, kind, time_ms);" },
};
const size_t store_nmigrations = ARRAY_SIZE(store_migrations);

static struct seep_error *run_sql(struct store *s, const char *sql, const char *what)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? NULL : store_fail(s, rc, what);
}

static struct seep_error *pragma(struct store *s, const char *sql, int64_t *ret)
{
	struct query q;

	query_init(&q, s, sql);
	*ret = query_next(&q) ? query_get_int(&q) : 0;
	return query_end(&q, "reading");
}

struct seep_error *store_migrate(struct store *s, const struct store_migration *steps, size_t n)
{
	int64_t version = 0, tables = 0, application = 0;
	struct seep_error *err = pragma(s, "PRAGMA user_version", &version);

	if (!err)
		err = pragma(s, "PRAGMA application_id", &application);
	if (!err)
		err = pragma(s, "SELECT count(*) FROM sqlite_master", &tables);
	if (err)
		return err;
	if (tables && application != APPLICATION)
		return seep_error_hint(
			seep_error_new(0, "%s/" DATABASE " is a database, but none of seep", s->dir),
			"Name another directory with --data.");
	if (version < 0 || (size_t)version > n)
		return seep_error_hint(
			seep_error_new(
				0,
				"the store in %s was written by a newer seep: it has version %lld, "
				"this seep knows up to %zu",
				s->dir, (long long)version, n),
			"Use that seep, or begin a new store: --data=DIR.");
	if ((size_t)version < n && s->readonly)
		return seep_error_new(0, "the store in %s is of an older version", s->dir);
	for (size_t v = (size_t)version; !err && v < n; v++) {
		char text[96];

		err = store_begin(s);
		if (err)
			break;
		err = run_sql(s, steps[v].sql, "bringing the store up to date");
		snprintf(text, sizeof(text), "PRAGMA user_version = %zu; PRAGMA application_id = %d",
		         v + 1, APPLICATION);
		if (!err)
			err = run_sql(s, text, "bringing the store up to date");
		err = store_finish(s, err, "bringing the store up to date");
	}
	return err;
}

/* ---- opening -------------------------------------------------------------------------- */

/* mkdir -p, private from the first moment on. */
static int make_directory(const char *dir)
{
	char path[PATH_MAX];

	if (strlen(dir) >= sizeof(path))
		return -ENAMETOOLONG;
	strcpy(path, dir);
	for (char *at = path + 1;; at++) {
		char c = *at;

		if (c && c != '/')
			continue;
		*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		*at = c;
		if (!c)
			return 0;
	}
}

/* One writing server for a store.  The lock goes with the process, however it ends. */
static struct seep_error *take_lock(struct store *s)
{
	char path[PATH_MAX], text[32] = "";
	ssize_t n;
	int len;

	snprintf(path, sizeof(path), "%s/lock", s->dir);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return seep_error_new(errno, "cannot open %s", path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return seep_error_new(errno, "cannot lock %s", path);
		n = pread(s->lock_fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? strspn(text, "0123456789") : 0] = '\0';
		return seep_error_hint(
			seep_error_new(0, "the store in %s is in use by another seep%s%s", s->dir,
		                       *text ? ", process " : "", text),
			"Use its page, or give this one a store of its own: --data=DIR.");
	}
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	/* It is for a message only. */
	if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, text, (size_t)len, 0) < 0)
		return NULL;
	return NULL;
}

static struct seep_error *open_database(struct store *s, const struct store_options *o)
{
	char path[PATH_MAX], text[256];
	struct seep_error *err;
	int rc;

	snprintf(path, sizeof(path), "%s/" DATABASE, s->dir);
	rc = sqlite3_open_v2(path, &s->db,
	                     (o->readonly ? SQLITE_OPEN_READONLY
	                                  : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
	                             SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_FULLMUTEX,
	                     NULL);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, "opening the store");
	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* cache_size: -KiB.  The journal is cut back after a large transaction. */
	snprintf(text, sizeof(text),
	         "%sPRAGMA synchronous=NORMAL; PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY;"
	         "PRAGMA journal_size_limit=4194304; PRAGMA mmap_size=0",
	         o->readonly ? "" : "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;");
	err = run_sql(s, text, "opening the store");
	if (!err && o->limit_bytes && !o->readonly) {
		snprintf(text, sizeof(text), "PRAGMA max_page_count=%llu",
		         (unsigned long long)(o->limit_bytes / PAGE + 64));
		err = run_sql(s, text, "opening the store");
	}
	return err;
}

struct seep_error *store_open(const char *dir, const struct store_options *opts,
                              struct store **ret_store)
{
	struct store *s = calloc(1, sizeof(*s));
	pthread_mutexattr_t recursive;
	struct seep_error *err = NULL;
	int r;

	if (!s)
		return &seep_error_nomem;
	s->lock_fd = -1;
	s->readonly = opts->readonly;
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&s->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	s->dir = strdup(dir);
	if (!s->dir)
		err = &seep_error_nomem;
	if (!err && !opts->readonly) {
		r = make_directory(dir);
		if (r < 0)
			err = seep_error_new(-r, "cannot make the directory %s", dir);
		if (!err)
			err = take_lock(s);
	}
	if (!err)
		err = open_database(s, opts);
	if (!err)
		err = store_migrate(s, store_migrations, store_nmigrations);
	if (err)
		store_close(s);
	else
		*ret_store = s;
	return err;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	sqlite3_close_v2(s->db);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s);
}

uint64_t store_bytes(struct store *s)
{
	int64_t pages = 0, unused = 0, size = 0;

	store_lock(s);
	seep_error_free(pragma(s, "PRAGMA page_count", &pages));
	seep_error_free(pragma(s, "PRAGMA freelist_count", &unused));
	seep_error_free(pragma(s, "PRAGMA page_size", &size));
	store_unlock(s);
	return pages > unused ? (uint64_t)(pages - unused) * (uint64_t)size : 0;
}
