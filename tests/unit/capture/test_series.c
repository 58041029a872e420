/* SPDX-License-Identifier: Apache-2.0 */
/* Series of snapshots: bounds hold, what must stay stays, what is left is spread over time, junk is passed over. */
#include "capture/series.h"

#include "base/error.h"
#include "capture/capture.h"
#include "profile/profile.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND 1000000000ull
#define EPOCH (1769860800ull * SECOND) /* 2026-01-31 12:00:00 UTC */
#define MB (1ull << 20)

static char base[64], dir[96];

static int make_base(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/seep-series-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	snprintf(dir, sizeof(dir), "%s/s", base);
	return 0;
}

static int remove_base(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command) ? -1 : 0;
}

static struct profile *profile_of(pid_t pid, uint64_t inuse)
{
	struct profile *p = profile_new();

	assert_non_null(p);
	p->exe = strdup("/usr/bin/my.program");
	p->command = strdup("my.program --fast");
	p->pid = pid;
	p->nsites = 1;
	p->sites = calloc(1, sizeof(*p->sites));
	p->sites[0].inuse.bytes = inuse;
	p->sites[0].inuse.blocks = 1;
	return p;
}

static struct series_writer must_begin(size_t most, uint64_t most_bytes)
{
	const struct series_limits limits = { most, most_bytes };
	struct series_writer w;
	struct seep_error *err = series_begin(dir, &limits, &w);

	if (err)
		fail_msg("%s", err->message);
	return w;
}

static void must_add(struct series_writer *w, pid_t pid, uint64_t time_ns, uint64_t inuse,
                     const char *reason)
{
	struct profile *p = profile_of(pid, inuse);
	struct seep_error *err = series_add(w, p, time_ns, reason, NULL);

	if (err)
		fail_msg("%s", err->message);
	profile_free(p);
}

static struct series must_open(void)
{
	struct series s;
	struct seep_error *err = series_open(dir, &s);

	if (err)
		fail_msg("%s", err->message);
	return s;
}

static void what_is_added_is_listed(void **state)
{
	struct series_writer w = must_begin(0, 0);
	struct profile *p = NULL;
	struct series s;
	struct stat st;

	(void)state;
	must_add(&w, 4711, EPOCH + 1234567000, 17 * MB, "new high, every 10 s");
	must_add(&w, 4712, EPOCH, 0, "cgroup 90 %");
	series_end(&w);
	s = must_open();
	assert_int_equal(s.n, 2);
	/* By time, whatever the order they came in. */
	assert_int_equal(s.entries[0].pid, 4712);
	assert_int_equal(s.entries[0].time_ns, EPOCH);
	assert_int_equal(s.entries[0].seq, 2);
	assert_string_equal(s.entries[0].reason, "cgroup-90");
	assert_string_equal(s.entries[1].name, "my.program");
	assert_int_equal(s.entries[1].time_ns, EPOCH + 1234567000);
	assert_int_equal(s.entries[1].inuse, 17 * MB);
	assert_string_equal(s.entries[1].reason, "new-high-every-10-s");
	assert_non_null(strstr(s.entries[1].path,
	                       "/my.program.4711.000001.20260131T120001-234567Z.17825792."
	                       "new-high-every-10-s.seep"));
	assert_int_equal(stat(s.entries[1].path, &st), 0);
	assert_int_equal(s.entries[1].size, st.st_size);
	assert_null(snapshot_read(s.entries[1].path, &p));
	assert_int_equal(p->pid, 4711);
	profile_free(p);
	series_release(&s);
}

static void numbers_go_on(void **state)
{
	struct series_writer w = must_begin(0, 0);
	struct series s;

	(void)state;
	must_add(&w, 1, EPOCH, 1, "a");
	series_end(&w);
	w = must_begin(0, 0);
	must_add(&w, 1, EPOCH, 1, "a");
	series_end(&w);
	s = must_open();
	assert_int_equal(s.n, 2);
	assert_int_equal(s.entries[1].seq, 2);
	series_release(&s);
}

/* One every second, in use a hill whose top lies at a third. */
static uint64_t hill(uint64_t i, uint64_t n)
{
	return i < n / 3 ? (i + 1) * MB : (n - i) * MB / 2;
}

static void pruned_evenly(void **state)
{
	enum { N = 2000, MOST = 20 };
	struct series_writer w = must_begin(MOST, 0);
	uint64_t least = UINT64_MAX, largest = 0, top = 0;
	struct series s;
	size_t at = 0;

	(void)state;
	for (uint64_t i = 0; i < N; i++) {
		must_add(&w, 1, EPOCH + i * SECOND, hill(i, N), "every 1 s");
		if (hill(i, N) > hill(top, N))
			top = i;
	}
	assert_int_equal(w.pruned, N - MOST);
	series_end(&w);
	s = must_open();
	assert_int_equal(s.n, MOST);
	assert_int_equal(s.entries[0].time_ns, EPOCH);
	assert_int_equal(s.entries[MOST - 1].time_ns, EPOCH + (N - 1) * SECOND);
	while (at < MOST && s.entries[at].time_ns != EPOCH + top * SECOND)
		at++;
	assert_true(at < MOST);
	for (size_t i = 1; i + 1 < MOST; i++) {
		uint64_t gap = s.entries[i].time_ns - s.entries[i - 1].time_ns;

		/* The gaps beside what must stay may be any. */
		if (i == at || i == at + 1)
			continue;
		largest = gap > largest ? gap : largest;
		least = gap < least ? gap : least;
	}
	assert_true(largest <= 4 * least);
	assert_true(largest <= 3 * (N / MOST) * SECOND);
	series_release(&s);
}

static void bounded_in_bytes(void **state)
{
	struct series_writer w = must_begin(0, 0);
	uint64_t one, sum = 0;
	struct series s;

	(void)state;
	must_add(&w, 1, EPOCH, 5 * MB, "a");
	one = w.bytes;
	w.limits.most_bytes = one * 10;
	for (int i = 1; i < 100; i++) {
		must_add(&w, 1, EPOCH + (uint64_t)i * SECOND, i == 40 ? 9 * MB : MB, "a");
		assert_true(w.bytes <= one * 10);
	}
	s = must_open();
	for (size_t i = 0; i < s.n; i++)
		sum += s.entries[i].size;
	assert_int_equal(sum, w.bytes);
	assert_in_range(s.n, 8, 11);
	series_release(&s);
	/* Too little for the three that must stay: the highest is the last to go, and never goes. */
	series_end(&w);
	w = must_begin(0, 1);
	series_end(&w);
	s = must_open();
	assert_int_equal(s.n, 1);
	assert_int_equal(s.entries[0].inuse, 9 * MB);
	series_release(&s);
}

static void processes_keep_their_own(void **state)
{
	struct series_writer w = must_begin(12, 0);
	unsigned int asked = 0, second = 0;
	struct series s;

	(void)state;
	must_add(&w, 2, EPOCH, 3 * MB, "every 1 s");
	must_add(&w, 2, EPOCH + SECOND, 2 * MB, "end");
	must_add(&w, 1, EPOCH + SECOND + 1, MB, "signal SIGUSR2");
	for (uint64_t i = 2; i < 300; i++)
		must_add(&w, 1, EPOCH + i * SECOND, i * MB, "every 1 s");
	series_end(&w);
	s = must_open();
	assert_int_equal(s.n, 12);
	for (size_t i = 0; i < s.n; i++) {
		second += s.entries[i].pid == 2;
		asked += !strcmp(s.entries[i].reason, "signal-SIGUSR2");
	}
	assert_int_equal(second, 2);
	assert_int_equal(asked, 1);
	series_release(&s);
}

static void many_processes_spread_over_time(void **state)
{
	enum { N = 400, MOST = 20 };
	struct series_writer w = must_begin(MOST, 0);
	uint64_t largest = 0;
	struct series s;

	(void)state;
	for (uint64_t i = 0; i < N; i++)
		must_add(&w, (pid_t)(1000 - i), EPOCH + i * SECOND, MB, "end");
	series_end(&w);
	s = must_open();
	assert_int_equal(s.n, MOST);
	for (size_t i = 1; i < s.n; i++) {
		uint64_t gap = s.entries[i].time_ns - s.entries[i - 1].time_ns;

		largest = gap > largest ? gap : largest;
	}
	assert_true(largest <= 3 * (N / MOST) * SECOND);
	series_release(&s);
}

static void one_writer(void **state)
{
	struct series_writer w = must_begin(0, 0), second;
	const struct series_limits limits = { 0 };
	struct seep_error *err = series_begin(dir, &limits, &second);

	(void)state;
	assert_non_null(err);
	assert_non_null(strstr(err->message, "another seep"));
	seep_error_free(err);
	series_end(&w);
	w = must_begin(0, 0);
	series_end(&w);
}

static void touch(const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static unsigned int files(void)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	return n;
}

static void junk_is_passed_over(void **state)
{
	static const char *const junk[] = {
		"notes.txt",
		".seep",
		"a.seep",
		"p.1.2.3.4.seep",
		".p.1.000001.20260131T120000-000000Z.5.a.seep",
		"p.1.000001.20260131T120000-000000Z.5.a.seep.bak",
		"p.-1.000001.20260131T120000-000000Z.5.a.seep",
		"p.99999999999.000001.20260131T120000-000000Z.5.a.seep",
		"p.1.x.20260131T120000-000000Z.5.a.seep",
		"p.1.18446744073709551615.20260131T120000-000000Z.5.a.seep",
		"p.1.000001.20261331T120000-000000Z.5.a.seep",
		"p.1.000001.20260131T120000-000000.5.a.seep",
		"p.1.000001.00000000T000000-000000Z.5.a.seep",
		"p.1.000001.20260131T120000-000000Z.99999999999999999999999.a.seep",
		"p.1.000001.20260131T120000-000000Z.0x5.a.seep",
		"p.1.000001.20260131T120000-000000Z.5.a b.seep",
		"p.1.000001.20260131T120000-000000Z.5.\033[31m.seep",
		"p.1.000001.20260131T120000-000000Z.5.12345678901234567890123456789012345678901.seep",
		"1.000001.20260131T120000-000000Z.5.a.seep",
	};
	struct series_writer w = must_begin(0, 0);
	char path[200];
	struct series s;

	(void)state;
	must_add(&w, 7, EPOCH, 1, "a");
	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
		touch(junk[i]);
	snprintf(path, sizeof(path), "%s/p.1.000001.20260131T120000-000000Z.5.dir.seep", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/p.1.000001.20260131T120000-000000Z.5.link.seep", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/p.1.000001.20260131T120000-000000Z.5.fifo.seep", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	s = must_open();
	assert_int_equal(s.n, 1);
	assert_int_equal(s.entries[0].pid, 7);
	series_release(&s);
	/* Nor does a writer touch them. */
	series_end(&w);
	w = must_begin(1, 1);
	assert_int_equal(w.series.n, 1);
	assert_int_equal(files(), 1 + sizeof(junk) / sizeof(junk[0]) + 3);
	series_end(&w);
}

static void strays_are_removed(void **state)
{
	struct series_writer w = must_begin(0, 0);

	(void)state;
	must_add(&w, 7, EPOCH, 1, "a");
	series_end(&w);
	touch("p.1.000001.20260131T120000-000000Z.5.a.seep.AbC123");
	touch("p.1.000001.20260131T120000-000000Z.5.a.seep.AbC1234"); /* not mkstemp()'s */
	touch("other.seep.AbC123");
	w = must_begin(0, 0);
	assert_int_equal(w.series.n, 1);
	assert_int_equal(files(), 3);
	series_end(&w);
}

/* Killed at any moment, a writer leaves whole snapshots and at most one temporary. */
static void survives_kill(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 40; round++) {
		const struct timespec pause = { .tv_nsec = 200000 + round * 137000 };
		struct series_writer w;
		struct series s;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			w = must_begin(8, 0);
			for (uint64_t i = 0;; i++)
				must_add(&w, 1, EPOCH + (round * 100000 + i) * SECOND, i, "a");
		}
		nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		if (access(dir, F_OK) < 0)
			continue;
		s = must_open();
		assert_true(s.n <= 9);
		for (size_t i = 0; i < s.n; i++) {
			struct profile *p = NULL;
			struct seep_error *err = snapshot_read(s.entries[i].path, &p);

			assert_null(err);
			profile_free(p);
		}
		assert_in_range(files(), s.n, s.n + 1);
		series_release(&s);
		w = must_begin(8, 0);
		assert_true(w.series.n <= 8);
		assert_int_equal(files(), w.series.n);
		series_end(&w);
	}
}

static void errors_name_the_place(void **state)
{
	const struct series_limits limits = { 0 };
	struct series_writer w;
	struct seep_error *err;
	struct series s;
	char file[128];

	(void)state;
	err = series_begin("/nonexistent/deep/s", &limits, &w);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "/nonexistent/deep/s"));
	assert_non_null(err->hint);
	seep_error_free(err);
	snprintf(file, sizeof(file), "%s/file", base);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	err = series_begin(file, &limits, &w);
	assert_non_null(err);
	seep_error_free(err);
	err = series_open(file, &s);
	assert_non_null(err);
	seep_error_free(err);
}

static void reasons(void **state)
{
	static const char *const pairs[][2] = {
		{ "new high, every 10 s", "new-high-every-10-s" },
		{ "cgroup 90 %", "cgroup-90" },
		{ "../../etc/passwd", "etc-passwd" },
		{ "", "-" },
		{ "\xff\xfe\n\t", "-" },
		{ "a.b", "a-b" },
		{ "1234567890123456789012345678901234567890123",
		  "1234567890123456789012345678901234567890" },
	};
	char slug[SERIES_REASON_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		series_reason(pairs[i][0], slug);
		assert_string_equal(slug, pairs[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_added_is_listed, make_base, remove_base),
		cmocka_unit_test_setup_teardown(numbers_go_on, make_base, remove_base),
		cmocka_unit_test_setup_teardown(pruned_evenly, make_base, remove_base),
		cmocka_unit_test_setup_teardown(bounded_in_bytes, make_base, remove_base),
		cmocka_unit_test_setup_teardown(processes_keep_their_own, make_base, remove_base),
		cmocka_unit_test_setup_teardown(many_processes_spread_over_time, make_base,
		                                remove_base),
		cmocka_unit_test_setup_teardown(one_writer, make_base, remove_base),
		cmocka_unit_test_setup_teardown(junk_is_passed_over, make_base, remove_base),
		cmocka_unit_test_setup_teardown(strays_are_removed, make_base, remove_base),
		cmocka_unit_test_setup_teardown(survives_kill, make_base, remove_base),
		cmocka_unit_test_setup_teardown(errors_name_the_place, make_base, remove_base),
		cmocka_unit_test(reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
