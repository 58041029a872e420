/* SPDX-License-Identifier: Apache-2.0 */
/* The store: what goes in comes out; what goes, goes evenly; what is full, newer, foreign or taken is said to be. */
#include "store/private.h"

#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "synth.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KILLS 8

static char dir[64];

static void fine(struct seep_error *err)
{
	if (err)
		fail_msg("%s", err->message);
}

static void must_say(struct seep_error *err, const char *part)
{
	assert_non_null(err);
	if (!strstr(err->message, part))
		fail_msg("'%s' does not say '%s'", err->message, part);
	seep_error_free(err);
}

static struct store *open_store(uint64_t limit)
{
	const struct store_options o = { .limit_bytes = limit };
	struct store *s = NULL;

	fine(store_open(dir, &o, &s));
	return s;
}

static int new_directory(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/seep-store-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int64_t put_process(struct store *s, int32_t pid)
{
	struct store_process p = { .boot = "b",
		                   .pid = pid,
		                   .start_ticks = 7,
		                   .started_ms = 1000,
		                   .name = (char *)"service",
		                   .command = (char *)"./service",
		                   .tracked = true };
	int64_t id = 0;

	fine(store_process_put(s, &p, &id));
	return id;
}

/* A snapshot whose one leaking site holds `bytes`; `tag` sets another site apart that never changes. */
static int64_t put_snapshot(struct store *s, int64_t process, int64_t ms, uint64_t bytes)
{
	_cleanup_profile_ struct profile *p = synth_new("./service");
	_cleanup_view_ struct view *v = NULL;
	const struct view_options all = { .kinds = PROF_ALL_KINDS };
	const struct store_snapshot info = { .process = process,
		                             .time_ms = ms,
		                             .reason = (char *)"every 60s",
		                             .format = (char *)"seep snapshot",
		                             .state = (char *)"running",
		                             .inuse_bytes = bytes,
		                             .rss_bytes = STORE_NONE };
	uint32_t module = synth_module(p, "/bin/service", 0, 1), top, leak, cache;
	int64_t id = 0;

	top = synth_frame(p, 0, module, 0x10, "main", "main.c", 1);
	leak = synth_frame(p, top, module, 0x20, "leak", "leak.c", 2);
	cache = synth_frame(p, top, module, 0x30, "cache", "cache.c", 3);
	if (bytes)
		synth_site(p, leak, PROF_HEAP, bytes, 1, 0);
	synth_site(p, cache, PROF_HEAP, 100, 4, 0);
	fine(view_new(p, &all, &v));
	fine(store_snapshot_add(s, &info, v, "data", 4, &id));
	return id;
}

static int64_t count(struct store *s, const char *sql)
{
	struct query q;
	int64_t n;

	query_init(&q, s, sql);
	assert_true(query_next(&q));
	n = query_get_int(&q);
	fine(query_end(&q, "counting"));
	return n;
}

/* The key of the site that leaks: that of the only one whose value changes. */
static uint64_t leaking_site(struct store *s)
{
	return (uint64_t)count(
		s, "SELECT site FROM sample GROUP BY site ORDER BY max(bytes) DESC LIMIT 1");
}

/* ---- processes --------------------------------------------------------------------------- */

static void process_is_known_again(void **state)
{
	_cleanup_store_ struct store *s = open_store(0);
	_cleanup_store_process_ struct store_process found = { 0 };
	struct store_process better = { .boot = "b",
		                        .pid = 5,
		                        .start_ticks = 7,
		                        .allocator = (char *)"glibc",
		                        .tracked = true,
		                        .sampled = true,
		                        .period = 4096 };
	int64_t id = put_process(s, 5), again = 0;
	bool there = false;

	(void)state;
	assert_int_not_equal(put_process(s, 6), id);
	fine(store_process_put(s, &better, &again));
	assert_int_equal(again, id);
	fine(store_process_get(s, id, &found, &there));
	assert_true(there);
	assert_string_equal(found.name, "service"); /* what was known stays */
	assert_string_equal(found.allocator, "glibc");
	assert_true(found.sampled);
	assert_int_equal(found.period, 4096);
	assert_string_equal(found.state, "running");
	assert_int_equal(found.ended_ms, STORE_NONE);
	store_process_release(&found);
	fine(store_process_get(s, 99, &found, &there));
	assert_false(there);
}

static bool only_five(int32_t pid, uint64_t start_ticks)
{
	return pid == 5 && start_ticks == 7;
}

static void those_that_ended_unseen_are_swept(void **state)
{
	_cleanup_store_ struct store *s = open_store(0);
	_cleanup_store_process_ struct store_process five = { 0 }, six = { 0 };
	int64_t a = put_process(s, 5), b = put_process(s, 6);
	bool there;

	(void)state;
	fine(store_process_sweep(s, "b", only_five, 4242));
	fine(store_process_get(s, a, &five, &there));
	fine(store_process_get(s, b, &six, &there));
	assert_string_equal(five.state, "running");
	assert_string_equal(six.state, "exited");
	assert_int_equal(six.ended_ms, 4242);
	/* After a reboot nothing of before runs. */
	store_process_release(&five);
	fine(store_process_sweep(s, "other boot", only_five, 4243));
	fine(store_process_get(s, a, &five, &there));
	assert_string_equal(five.state, "exited");
}

/* ---- points -------------------------------------------------------------------------------- */

static void points_keep_the_peak(void **state)
{
	_cleanup_store_ struct store *s = open_store(0);
	_cleanup_store_series_ struct store_series l = { 0 };
	struct store_point points[1000];
	int64_t most = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		points[i] = (struct store_point){ .process = 1, .time_ms = 1000 * i };
		for (size_t c = 0; c < POINT_NCOLUMNS; c++)
			points[i].value[c] = STORE_NONE;
		points[i].value[POINT_INUSE] = i == 567 ? 999999 : i;
	}
	fine(store_points_add(s, points, 1000));
	fine(store_points_add(s, points, 1000)); /* again: nothing is there twice */
	fine(store_points_read(s, 1, STORE_NONE, STORE_NONE, 20000, &l));
	assert_int_equal(l.n, 1000);
	assert_int_equal(l.resolution_ms, 0);
	assert_int_equal(l.items[3].value[POINT_RSS], STORE_NONE);
	store_series_release(&l);
	fine(store_points_read(s, 1, STORE_NONE, STORE_NONE, 50, &l));
	assert_in_range(l.n, 40, 50);
	assert_int_equal(l.measured, 1000);
	for (size_t i = 0; i < l.n; i++)
		if (l.items[i].value[POINT_INUSE] > most)
			most = l.items[i].value[POINT_INUSE];
	assert_int_equal(most, 999999);
	store_series_release(&l);
	fine(store_points_read(s, 1, 100000, 109000, 50, &l));
	assert_int_equal(l.n, 10);
	store_series_release(&l);
	fine(store_points_read(s, 2, STORE_NONE, STORE_NONE, 50, &l));
	assert_int_equal(l.n, 0);
}

/* ---- snapshots and sites --------------------------------------------------------------------- */

static void history_is_of_changes(void **state)
{
	static const uint64_t held[] = { 1000, 1000, 3000, 3000, 0 };
	_cleanup_store_ struct store *s = open_store(0);
	_cleanup_store_course_ struct store_course c = { 0 };
	_cleanup_buf_ struct buf data = { 0 };
	int64_t process = put_process(s, 5), ids[5];
	uint64_t key;

	(void)state;
	for (int i = 0; i < 5; i++)
		ids[i] = put_snapshot(s, process, 1000 * (i + 1), held[i] ? held[i] : 1);
	/* Two sites, and of the one that stays as it is a single row. */
	assert_int_equal(count(s, "SELECT count(*) FROM site"), 2);
	assert_int_equal(count(s, "SELECT count(*) FROM sample"), 1 + 3);
	key = leaking_site(s);
	fine(store_course_read(s, process, &key, 1, STORE_NONE, STORE_NONE, 100, &c));
	assert_int_equal(c.n, 5);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(c.snapshots[i], ids[i]);
		assert_int_equal(c.bytes[i], held[i] ? held[i] : 1);
		assert_int_equal(c.blocks[i], 1);
	}
	store_course_release(&c);
	/* What later ones say does not change when one goes. */
	fine(store_snapshot_delete(s, ids[2]));
	fine(store_snapshot_delete(s, ids[0]));
	fine(store_course_read(s, process, &key, 1, STORE_NONE, STORE_NONE, 100, &c));
	assert_int_equal(c.n, 3);
	assert_int_equal(c.bytes[0], 1000);
	assert_int_equal(c.bytes[1], 3000);
	assert_int_equal(c.bytes[2], 1);
	fine(store_snapshot_data(s, ids[1], &data));
	assert_int_equal(data.len, 4);
	assert_memory_equal(data.data, "data", 4);
	must_say(store_snapshot_data(s, ids[0], &data), "no snapshot");
}

static void stacks_outlive_their_snapshots(void **state)
{
	_cleanup_store_ struct store *s = open_store(0);
	int64_t process = put_process(s, 5);
	int64_t *ids = NULL;
	size_t n = 0;

	(void)state;
	put_snapshot(s, process, 1000, 5000);
	assert_int_equal(count(s, "SELECT count(*) FROM frame"), 3);
	assert_int_equal(
		count(s, "SELECT line FROM frame WHERE key = (SELECT frame FROM site WHERE key ="
	                 " (SELECT site FROM sample ORDER BY bytes DESC LIMIT 1))"),
		2);
	/* The same code in another process is the same site. */
	put_snapshot(s, put_process(s, 6), 1000, 5000);
	assert_int_equal(count(s, "SELECT count(*) FROM site"), 2);
	fine(store_site_processes(s, leaking_site(s), &ids, &n));
	assert_int_equal(n, 2);
	free(ids);
}

static void which_snapshot(void **state)
{
	_cleanup_store_ struct store *s = open_store(0);
	int64_t process = put_process(s, 5), ids[3], id = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		ids[i] = put_snapshot(s, process, 10000 * (i + 1), 10);
	fine(store_snapshot_find(s, process, STORE_FIRST, 0, &id));
	assert_int_equal(id, ids[0]);
	fine(store_snapshot_find(s, process, STORE_LATEST, 0, &id));
	assert_int_equal(id, ids[2]);
	fine(store_snapshot_find(s, process, STORE_NEAREST, 21000, &id));
	assert_int_equal(id, ids[1]);
	fine(store_snapshot_find(s, process, STORE_BASELINE, 0, &id));
	assert_int_equal(id, 0);
	fine(store_process_baseline(s, process, ids[1]));
	fine(store_snapshot_find(s, process, STORE_BASELINE, 0, &id));
	assert_int_equal(id, ids[1]);
}

/* ---- retention ------------------------------------------------------------------------------ */

static void thinning_leaves_even_gaps(void **state)
{
	int64_t times[1000];
	bool keep[1000] = { false };
	size_t n = 1000;
	int64_t widest = 0, narrowest = INT64_MAX;

	(void)state;
	for (size_t i = 0; i < n; i++)
		times[i] = (int64_t)i * 60;
	keep[500] = true;
	while (n > 32) {
		size_t at = store_thin_pick(times, keep, n);

		assert_in_range(at, 1, n - 2);
		assert_false(keep[at]);
		memmove(times + at, times + at + 1, (n - at - 1) * sizeof(*times));
		memmove(keep + at, keep + at + 1, (n - at - 1) * sizeof(*keep));
		n--;
	}
	assert_int_equal(times[0], 0);
	assert_int_equal(times[31], 999 * 60);
	for (size_t i = 1; i < n; i++) {
		int64_t gap = times[i] - times[i - 1];

		widest = gap > widest ? gap : widest;
		narrowest = gap < narrowest && !keep[i] && !keep[i - 1] ? gap : narrowest;
	}
	assert_true(widest <= 4 * narrowest);
	assert_true(store_thin_pick(times, keep, 2) == SIZE_MAX);
}

static void retention_spares_what_matters(void **state)
{
	const struct store_retention r = { .snapshots = 10 };
	_cleanup_store_ struct store *s = open_store(0);
	_cleanup_store_snapshots_ struct store_snapshots l = { 0 };
	int64_t process = put_process(s, 5), ids[40];
	size_t removed = 0, special = 0;

	(void)state;
	for (int i = 0; i < 40; i++)
		ids[i] = put_snapshot(s, process, 60000 * i, (uint64_t)(i + 1) * 10);
	fine(store_snapshot_pin(s, ids[7], true));
	fine(store_snapshot_label(s, ids[8], "before deploy"));
	fine(store_process_baseline(s, process, ids[9]));
	fine(store_retain(s, &r, 60000 * 40, &removed));
	assert_int_equal(removed, 28);
	fine(store_snapshot_list(s, process, STORE_NONE, 100, &l));
	assert_int_equal(l.n, 12);
	assert_int_equal(l.items[0].id, ids[39]);
	assert_int_equal(l.items[l.n - 1].id, ids[0]);
	for (size_t i = 0; i < l.n; i++)
		special += l.items[i].id == ids[7] || l.items[i].id == ids[8] ||
		           l.items[i].id == ids[9];
	assert_int_equal(special, 3);
}

static void the_old_goes(void **state)
{
	const struct store_retention r = { .age_ms = 1000000 };
	_cleanup_store_ struct store *s = open_store(0);
	_cleanup_store_process_ struct store_process p = { 0 };
	int64_t old = put_process(s, 5), labelled = put_process(s, 6), young = put_process(s, 7);
	size_t removed;
	bool there;

	(void)state;
	put_snapshot(s, old, 1000, 10);
	fine(store_process_end(s, old, "exited", NULL, 2000));
	fine(store_process_end(s, labelled, "exited", NULL, 2000));
	fine(store_process_label(s, labelled, "the one that died in March"));
	fine(store_process_end(s, young, "killed", "SIGKILL", 1500000));
	fine(store_retain(s, &r, 2000000, &removed));
	fine(store_process_get(s, old, &p, &there));
	assert_false(there);
	fine(store_process_get(s, labelled, &p, &there));
	assert_true(there);
	store_process_release(&p);
	fine(store_process_get(s, young, &p, &there));
	assert_true(there);
	assert_int_equal(count(s, "SELECT count(*) FROM snapshot"), 0);
	assert_int_equal(count(s, "SELECT count(*) FROM snapshot_data"), 0);
	assert_int_equal(count(s, "SELECT count(*) FROM sample"), 0);
}

/* ---- what goes wrong --------------------------------------------------------------------------- */

static void full_is_said_and_nothing_is_lost(void **state)
{
	_cleanup_store_ struct store *s = open_store(1u << 20);
	_cleanup_store_series_ struct store_series l = { 0 };
	struct seep_error *err = NULL;
	struct store_point p = { .process = 1 };
	int64_t n = 0;

	(void)state;
	for (; !err && n < 1000000; n += !err) {
		p.time_ms = n;
		for (size_t c = 0; c < POINT_NCOLUMNS; c++)
			p.value[c] = INT64_MAX - n;
		err = store_points_add(s, &p, 1);
	}
	assert_non_null(err);
	assert_int_equal(err->code, ENOSPC);
	assert_non_null(strstr(err->hint, "--max-size"));
	seep_error_free(err);
	fine(store_points_read(s, 1, STORE_NONE, STORE_NONE, 0, &l));
	assert_int_equal(l.n, n);
	/* It goes on as soon as there is room. */
	fine(store_process_forget(s, 1));
	fine(store_points_add(s, &p, 1));
}

static void newer_foreign_and_taken(void **state)
{
	const struct store_options o = { 0 }, reading = { .readonly = true };
	struct store *s = open_store(0), *other = NULL;
	char path[128];
	FILE *f;

	(void)state;
	must_say(store_open(dir, &o, &other), "in use by another seep");
	fine(store_open(dir, &reading, &other)); /* beside it: fine */
	store_close(other);
	sqlite3_exec(s->db, "PRAGMA user_version = 99", NULL, NULL, NULL);
	store_close(s);
	must_say(store_open(dir, &o, &other), "newer seep: it has version 99");
	snprintf(path, sizeof(path), "%s/seep.db", dir);
	assert_int_equal(sqlite3_open(path, (sqlite3 **)&s), SQLITE_OK);
	sqlite3_exec((sqlite3 *)s, "PRAGMA application_id = 1", NULL, NULL, NULL);
	sqlite3_close((sqlite3 *)s);
	must_say(store_open(dir, &o, &other), "none of seep");
	f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database", f);
	fclose(f);
	must_say(store_open(dir, &o, &other), "damaged");
	must_say(store_open("/proc/no/such", &o, &other), "cannot make the directory");
}

static void older_stores_are_brought_up_to_date(void **state)
{
	const struct store_migration steps[] = { store_migrations[0],
		                                 { "ALTER TABLE mark ADD COLUMN extra INTEGER" },
		                                 { "INSERT INTO no_such_table VALUES(1)" } };
	struct store *s = open_store(0);

	(void)state;
	put_process(s, 5);
	fine(store_migrate(s, steps, 2));
	assert_int_equal(count(s, "PRAGMA user_version"), 2);
	assert_int_equal(count(s, "SELECT count(extra) FROM mark"), 0);
	assert_int_equal(count(s, "SELECT count(*) FROM process"), 1);
	/* A step that fails leaves the version before it, whole. */
	must_say(store_migrate(s, steps, 3), "no such table");
	assert_int_equal(count(s, "PRAGMA user_version"), 2);
	store_close(s);
}

/* ---- kill -9 -------------------------------------------------------------------------------------- */

/* Writes without an end; tells in the pipe what has been acknowledged. */
static void write_forever(int out)
{
	struct store *s = open_store(0);
	int64_t process = put_process(s, 5);

	for (int64_t i = count(s, "SELECT coalesce(max(id), 0) FROM snapshot") + 1;; i++) {
		struct store_point p = { .process = process, .time_ms = i };
		int64_t told[2] = { i };

		fine(store_points_add(s, &p, 1));
		told[1] = put_snapshot(s, process, i, (uint64_t)i);
		if (write(out, told, sizeof(told)) != (ssize_t)sizeof(told))
			_exit(1);
	}
}

static void survives_kill(void **state)
{
	const char *soak = getenv("SEEP_SOAK");
	int kills = soak && *soak == '1' ? 100 : KILLS;
	int64_t told[2], last[2] = { 0, 0 }, all = 0;

	(void)state;
	for (int i = 0; i < kills; i++) {
		struct store *s;
		int ends[2], wanted = rand() % 40 + 1;
		pid_t pid;

		assert_int_equal(pipe(ends), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			close(ends[0]);
			write_forever(ends[1]);
		}
		close(ends[1]);
		for (int n = 0; n < wanted && read(ends[0], told, sizeof(told)) == sizeof(told);
		     n++) {
			memcpy(last, told, sizeof(last));
			all++;
		}
		usleep((useconds_t)(rand() % 3000)); /* somewhere in the next write */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(ends[0], told, sizeof(told)) == sizeof(told)) {
			memcpy(last, told, sizeof(last));
			all++;
		}
		close(ends[0]);
		s = open_store(0);
		assert_int_equal(count(s, "SELECT count(*) FROM pragma_integrity_check"
		                          " WHERE integrity_check <> 'ok'"),
		                 0);
		/* Everything acknowledged, and nothing by halves. */
		assert_true(count(s, "SELECT max(id) FROM snapshot") >= last[1]);
		assert_true(count(s, "SELECT max(time_ms) FROM point") >= last[0]);
		assert_true(count(s, "SELECT count(*) FROM snapshot") >= all);
		assert_int_equal(count(s, "SELECT count(*) FROM snapshot WHERE id NOT IN"
		                          " (SELECT snapshot FROM snapshot_data)"),
		                 0);
		store_close(s);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(process_is_known_again),
		TEST(those_that_ended_unseen_are_swept),
		TEST(points_keep_the_peak),
		TEST(history_is_of_changes),
		TEST(stacks_outlive_their_snapshots),
		TEST(which_snapshot),
		TEST(thinning_leaves_even_gaps),
		TEST(retention_spares_what_matters),
		TEST(the_old_goes),
		TEST(full_is_said_and_nothing_is_lost),
		TEST(newer_foreign_and_taken),
		TEST(older_stores_are_brought_up_to_date),
		TEST(survives_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
