/* SPDX-License-Identifier: Apache-2.0 */
/* A process's past: which snapshot of a directory is meant. */
#include "capture/capture.h"
#include "capture/since.h"
#include "sample_profile.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND 1000000000u
#define START 1700000000000000000u

static char dir[64];

static void clear(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", dir);
	assert_int_equal(system(command), 0);
}

/* A snapshot of process `pid`, which began at `start`, taken `age` seconds after that. */
static void put(const char *name, int pid, uint64_t start, uint64_t age)
{
	struct profile *p = sample_profile();
	struct seep_error *err;
	char path[128];

	p->pid = pid;
	p->start_real_ns = start;
	p->duration_ns = age * SECOND;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	err = snapshot_write(p, path);
	if (err)
		fail_msg("%s", err->message);
	profile_free(p);
}

static struct since_list scan(void)
{
	struct since_list l = { 0 };
	struct seep_error *err = since_scan(dir, &l);

	if (err)
		fail_msg("%s", err->message);
	return l;
}

static void must_say(struct seep_error *err, const char *message, const char *hint)
{
	assert_non_null(err);
	if (!strstr(err->message, message) || (hint && (!err->hint || !strstr(err->hint, hint))))
		fail_msg("'%s' and '%s' do not say '%s' and '%s'", err->message,
		         err->hint ? err->hint : "", message, hint ? hint : "");
	seep_error_free(err);
}

static const char *picked(const struct since_list *l, uint64_t now, uint64_t back)
{
	const struct since_entry *e = NULL;
	struct seep_error *err = since_pick(l, dir, START + now * SECOND, back * SECOND, &e);

	if (err)
		fail_msg("%s", err->message);
	return strrchr(e->path, '/') + 1;
}

static void the_newest_that_is_old_enough(void **state)
{
	const struct since_entry *e = NULL;
	struct since_list l;

	clear();
	/* the order of names is not that of times */
	put("c.seep", 7, START, 60);
	put("a.seep", 7, START, 120);
	put("b.seep", 7, START, 180);
	l = scan();
	assert_int_equal(l.n, 3);
	assert_string_equal(picked(&l, 180, 60), "a.seep");
	assert_string_equal(picked(&l, 180, 61), "c.seep");
	assert_string_equal(picked(&l, 180, 120), "c.seep");
	assert_string_equal(picked(&l, 300, 10), "b.seep");
	must_say(since_pick(&l, dir, START + 180ull * SECOND, 121ull * SECOND, &e),
	         "reach back 2 min, not 2 min 1 s", "c.seep");
	must_say(since_pick(&l, dir, START + 60ull * SECOND, 1, &e), "has no earlier snapshot",
	         NULL);
	must_say(since_pick(&l, dir, START + 8000ull * SECOND, 90061ull * SECOND, &e),
	         "reach back 2 h 12 min, not 1 d 1 h", NULL);
	since_release(&l);
}

static void only_of_the_process(void **state)
{
	struct profile *p = sample_profile();
	struct since_list l;

	clear();
	put("old.seep", 7, START - 500ull * SECOND, 100); /* another process with the same number */
	put("one.seep", 7, START, 10);
	put("two.seep", 7, START, 20);
	put("other.seep", 8, START, 30);
	l = scan();
	must_say(since_keep(&l, dir, 0), "several processes", "7 (a), 8 (a)");
	must_say(since_keep(&l, dir, 9), "no snapshot of process 9", "7 (a), 8 (a)");
	assert_null(since_keep(&l, dir, 7));
	assert_int_equal(l.n, 2);
	assert_int_equal(l.entries[0].start_ns, START);
	since_release(&l);

	l = scan();
	p->pid = 7;
	p->start_real_ns = START - 500ull * SECOND;
	assert_null(since_keep_of(&l, dir, p));
	assert_int_equal(l.n, 1);
	since_release(&l);

	l = scan();
	p->start_real_ns = START + 1;
	must_say(since_keep_of(&l, dir, p), "an earlier process 7 only", NULL);
	p->start_real_ns = START;
	p->exec_seq++;
	must_say(since_keep_of(&l, dir, p), "an earlier process 7 only", NULL);
	p->pid = 6;
	must_say(since_keep_of(&l, dir, p), "no snapshot of process 6", NULL);
	since_release(&l);
	profile_free(p);
}

static void what_is_no_snapshot_is_passed_over(void **state)
{
	char path[128];
	struct since_list l;
	FILE *f;

	clear();
	l = scan();
	assert_int_equal(l.n, 0);
	must_say(since_keep(&l, dir, 0), "has no snapshots", "seep snap");
	since_release(&l);
	put("good.seep", 7, START, 10);
	put("still.seep.Xa3bcD", 7, START, 20); /* being written */
	put("bad.seep", 7, START, 30);
	snprintf(path, sizeof(path), "%s/bad.seep", dir);
	assert_int_equal(truncate(path, 200), 0);
	snprintf(path, sizeof(path), "%s/text.seep", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("not one\n", f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/link.seep", dir);
	assert_int_equal(symlink("/dev/zero", path), 0);
	l = scan();
	assert_int_equal(l.n, 1);
	assert_int_equal(l.nbad, 1);
	assert_non_null(strstr(l.bad, "bad.seep"));
	since_release(&l);
	must_say(since_scan("/nonexistent", &l), "cannot read the snapshots in /nonexistent", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_that_is_old_enough),
		cmocka_unit_test(only_of_the_process),
		cmocka_unit_test(what_is_no_snapshot_is_passed_over),
	};
	int failed;

	snprintf(dir, sizeof(dir), "/dev/shm/seep-test-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	clear();
	rmdir(dir);
	return failed;
}
