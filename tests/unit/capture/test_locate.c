/* SPDX-License-Identifier: Apache-2.0 */
/* Listing ledgers and finding the one somebody means. */
#include "capture/capture.h"
#include "sample_ledger.h"

#include "base/error.h"
#include "profile/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

struct spec {
	const char *name, *exe, *command;
	int pid;
	uint32_t exec_seq, state;
	uint64_t start;
};

static struct maker *make(const struct spec *s)
{
	char path[128];
	struct maker *m;

	snprintf(path, sizeof(path), "%s/%s", dir, s->name);
	m = sample_ledger(path);
	m->h->pid = s->pid;
	m->h->exec_seq = s->exec_seq;
	m->h->state = s->state;
	m->h->start_real_ns = s->start;
	snprintf(m->h->exe, sizeof(m->h->exe), "%s", s->exe);
	snprintf(m->h->command, sizeof(m->h->command), "%s", s->command);
	return m;
}

static void clear(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", dir);
	assert_int_equal(system(command), 0);
}

static void lists_by_start(void **state)
{
	struct ledger_entry *e = NULL;
	char sub[128], path[160];
	struct seep_error *err;
	size_t n = 0;
	FILE *f;

	snprintf(sub, sizeof(sub), "%s/run-1.abc", dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	maker_free(make(&(struct spec){ "2.0.ledger", "/bin/two", "two\033[31m 2", 999999902, 0,
	                                LEDGER_EXITED, 20 }));
	maker_free(make(&(struct spec){ "run-1.abc/1.0.ledger", "/bin/one", "one", 999999901, 0,
	                                LEDGER_LIVE, 10 }));
	maker_free(make(&(struct spec){ "1.1.ledger", "/bin/three", "three", 999999901, 1,
	                                LEDGER_EXECED, 30 }));
	/* What is no ledger is passed over: junk, a link, a directory of that name. */
	snprintf(path, sizeof(path), "%s/junk.ledger", dir);
	f = fopen(path, "w");
	fputs("junk", f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/link.ledger", dir);
	assert_int_equal(symlink("2.0.ledger", path), 0);
	snprintf(path, sizeof(path), "%s/dir.ledger", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_null(ledger_list(dir, &e, &n));
	assert_int_equal(n, 3);
	assert_string_equal(e[0].name, "one");
	assert_non_null(strstr(e[0].path, "/run-1.abc/1.0.ledger"));
	assert_int_equal(e[1].pid, 999999902);
	assert_string_equal(e[1].command, "two?[31m 2"); /* nothing that a terminal would obey */
	assert_int_equal(e[2].exec_seq, 1);
	assert_true(e[2].execed && !e[0].execed && !e[0].alive);
	/* The sums of the size classes. */
	assert_int_equal(e[0].alloc_blocks - e[0].inuse_blocks, 50);
	assert_int_equal(e[0].alloc_bytes - e[0].inuse_bytes, 50 * 24);
	assert_int_equal(e[0].nsites, 4);
	assert_true(e[0].ledger_bytes > 0);
	ledger_list_free(e, n);
	clear();
	assert_null(ledger_list(dir, &e, &n));
	assert_int_equal(n, 0);
	ledger_list_free(e, n);
	err = ledger_list("/nonexistent", &e, &n);
	assert_non_null(err);
	seep_error_free(err);
}

static void must_find(const char *what, const char *name)
{
	char *path = NULL;
	struct seep_error *err = profile_locate(what, dir, &path);

	if (err)
		fail_msg("%s", err->message);
	assert_string_equal(strrchr(path, '/') + 1, name);
	free(path);
}

static void must_not_find(const char *what, const char *words, const char *hint)
{
	char *path = NULL;
	struct seep_error *err = profile_locate(what, dir, &path);

	assert_non_null(err);
	assert_null(path);
	if (!strstr(err->message, words))
		fail_msg("'%s' does not say '%s'", err->message, words);
	if (hint && (!err->hint || !strstr(err->hint, hint)))
		fail_msg("the hint '%s' does not say '%s'", err->hint ? err->hint : "", hint);
	seep_error_free(err);
}

static void finds_by_pid_and_name(void **state)
{
	struct maker *live[2];
	char self[32];

	maker_free(make(&(struct spec){ "1.0.ledger", "/bin/web", "web -a", 999999901, 0,
	                                LEDGER_EXECED, 10 }));
	maker_free(make(&(struct spec){ "1.1.ledger", "/bin/web2", "web2", 999999901, 1,
	                                LEDGER_EXITED, 20 }));
	maker_free(make(&(struct spec){ "2.0.ledger", "/usr/bin/python3.11", "./tool.py x",
	                                999999902, 0, LEDGER_EXITED, 30 }));
	maker_free(make(&(struct spec){ "3.0.ledger", "/bin/twin", "twin 1", 999999903, 0,
	                                LEDGER_EXITED, 40 }));
	maker_free(make(&(struct spec){ "4.0.ledger", "/bin/twin", "twin 2", 999999904, 0,
	                                LEDGER_LIVE, 50 }));
	must_find("999999901", "1.1.ledger"); /* the newest program of that process */
	must_find("web2", "1.1.ledger");
	must_not_find("web", "no tracked process", "seep ps"); /* replaced by exec */
	must_find("tool.py", "2.0.ledger");
	must_find("python3.11", "2.0.ledger");
	must_not_find("twin", "several", "999999904  twin 2");
	must_not_find("nobody", "no file 'nobody'", "seep run");
	must_not_find("999999999", "there is no process", NULL);
	must_not_find("/nonexistent/x.seep", "No such file", NULL);
	snprintf(self, sizeof(self), "%d", (int)getpid());
	must_not_find(self, "has no ledger", "seep run");
	/* A live one wins over dead ones of the same name; two live ones are ambiguous. */
	live[0] = make(&(struct spec){ "5.0.ledger", "/bin/twin", "twin 3", getpid(), 0,
	                               LEDGER_LIVE, 60 });
	must_find("twin", "5.0.ledger");
	must_find(self, "5.0.ledger");
	live[1] = make(&(struct spec){ "6.0.ledger", "/bin/twin", "twin 4", getpid(), 1,
	                               LEDGER_LIVE, 70 });
	must_not_find("twin", "several", "twin 4");
	maker_free(live[0]);
	maker_free(live[1]);
	clear();
}

static void opens_by_content(void **state)
{
	struct profile *p = NULL, *q = NULL;
	struct seep_error *err;
	char path[128];
	FILE *f;

	maker_free(make(
		&(struct spec){ "1.0.ledger", "/bin/x", "x", 999999901, 0, LEDGER_EXITED, 10 }));
	snprintf(path, sizeof(path), "%s/1.0.ledger", dir);
	assert_null(profile_open(path, NULL, &p));
	assert_string_equal(p->format, "seep ledger");
	snprintf(path, sizeof(path), "%s/any.name", dir);
	assert_null(snapshot_write(p, path));
	assert_null(profile_open(path, NULL, &q));
	assert_string_equal(q->format, "seep snapshot");
	assert_int_equal(q->sites[1].inuse.bytes, p->sites[1].inuse.bytes);
	profile_free(p);
	profile_free(q);
	f = fopen(path, "w");
	fputs("something else altogether", f);
	fclose(f);
	err = profile_open(path, NULL, &p);
	assert_non_null(strstr(err->message, "neither a seep ledger nor a snapshot"));
	seep_error_free(err);
	err = profile_open(dir, NULL, &p);
	assert_non_null(err);
	seep_error_free(err);
	clear();
}

/* A process that maps a ledger in a place nobody lists is found through its mappings. */
static void finds_what_is_mapped_elsewhere(void **state)
{
	/* As a forked child may: its parent's ledger is mapped too, and comes first or last. */
	struct maker *a =
		make(&(struct spec){ "6.0.ledger", "/bin/x", "x", getppid(), 0, LEDGER_LIVE, 10 });
	struct maker *b =
		make(&(struct spec){ "7.0.ledger", "/bin/x", "x", getpid(), 0, LEDGER_LIVE, 10 });
	char *path = NULL, self[32];

	snprintf(self, sizeof(self), "%d", (int)getpid());
	assert_null(profile_locate(self, NULL, &path));
	assert_memory_equal(path, dir, strlen(dir));
	assert_string_equal(strrchr(path, '/'), "/7.0.ledger");
	free(path);
	a->h->pid = getpid();
	b->h->pid = getppid();
	assert_null(profile_locate(self, NULL, &path));
	assert_string_equal(strrchr(path, '/'), "/6.0.ledger");
	free(path);
	maker_free(a);
	maker_free(b);
	clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_by_start),
		cmocka_unit_test(finds_by_pid_and_name),
		cmocka_unit_test(opens_by_content),
		cmocka_unit_test(finds_what_is_mapped_elsewhere),
	};
	int r;

	snprintf(dir, sizeof(dir), "/tmp/seep-test-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests_name("locate", tests, NULL, NULL);
	rmdir(dir);
	return r;
}
