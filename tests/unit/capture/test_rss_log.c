/* SPDX-License-Identifier: Apache-2.0 */
/* Resident memory over time: bounded, keeps peaks, finds processes by their ledgers, ends when they do. */
#include "capture/rss_log.h"
#include "profile/profile.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static char dir[64];

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void put_ledger(pid_t pid, unsigned int seq)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d.%u.ledger", dir, (int)pid, seq);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

static void remove_ledger(pid_t pid, unsigned int seq)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%d.%u.ledger", dir, (int)pid, seq);
	assert_int_equal(unlink(path), 0);
}

/* As `seep run` does, for so long. */
static void serve(struct rss_log *log, uint64_t ns)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + ns;

	while (clock_ns(CLOCK_MONOTONIC) < end) {
		struct pollfd fd = { .fd = rss_log_fd(log), .events = POLLIN };

		if (poll(&fd, 1, 5) > 0)
			rss_log_serve(log);
	}
}

static void series_are_bounded_and_keep_their_peak(void **state)
{
	struct rss_series s = { 0 };
	uint64_t interval = RSS_FIRST_INTERVAL, time = 0;

	for (unsigned int i = 0; i < 12000; i++) {
		assert_true(rss_series_add(&s, time, i == 3141 ? 1000 * MIB : MIB + i % 7));
		assert_true(s.n <= RSS_SERIES_MAX);
		time += s.interval;
		assert_true(s.interval >= interval);
		interval = s.interval;
	}
	/* evenly spread, save what a peak moved by: as many in the first half of the time as in the second */
	assert_true(s.n >= RSS_SERIES_MAX / 2);
	for (size_t i = 1, peaks = s.records[0].bytes == 1000 * MIB; i < s.n; i++) {
		assert_true(s.records[i].time > s.records[i - 1].time);
		peaks += s.records[i].bytes == 1000 * MIB;
		if (i + 1 == s.n)
			assert_int_equal(peaks, 1);
	}
	assert_in_range(s.records[s.n / 2].time, time / 2 - time / 20, time / 2 + time / 20);
	free(s.records);
}

/* A child that holds more and more, and says when. */
static pid_t start_child(int ready[2], int go[2])
{
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		char c = 'r';

		close(ready[0]);
		close(go[1]);
		while (write(ready[1], &c, 1) == 1 && read(go[0], &c, 1) == 1 && c == 'm') {
			char *p = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE,
			               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			memset(p, 1, 32 * MIB);
		}
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	return pid;
}

static void sees_a_process_grow_and_end(void **state)
{
	struct rss_log *log = rss_log_new(dir);
	struct profile *p = profile_new();
	int ready[2], go[2], status;
	size_t before, held;
	pid_t pid;
	char c;

	assert_non_null(log);
	assert_non_null(p);
	p->start_real_ns = clock_ns(CLOCK_REALTIME);
	pid = start_child(ready, go);
	p->pid = pid;
	p->exec_seq = 2;
	assert_int_equal(read(ready[0], &c, 1), 1);
	put_ledger(pid, 2);
	serve(log, 200000000);
	assert_true(rss_log_fill(log, p));
	assert_int_equal(p->nrss, 0); /* its duration is not known yet, and it did not die by force */
	p->live = true;
	assert_true(rss_log_fill(log, p));
	before = p->nrss;
	assert_in_range(before, 4, 21); /* every 10 ms, on a busy machine */
	assert_int_equal(write(go[1], "m", 1), 1);
	assert_int_equal(read(ready[0], &c, 1), 1);
	serve(log, 100000000);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	serve(log, 50000000);
	p->live = false;
	p->killed = true;
	p->nrss = 0;
	p->duration_ns = 1;
	assert_true(rss_log_fill(log, p));
	held = p->nrss;
	assert_true(held > before);
	assert_true(p->rss[held - 1].bytes >= p->rss[0].bytes + 31 * MIB);
	assert_true(p->rss[held - 1].bytes < p->rss[0].bytes + 40 * MIB);
	/* it was alive when it was looked at */
	assert_int_equal(p->duration_ns, p->rss[held - 1].time);
	assert_in_range(p->duration_ns, 200000000, 60000000000);
	serve(log, 50000000);
	p->nrss = 0;
	assert_true(rss_log_fill(log, p));
	assert_int_equal(p->nrss, held); /* nothing is added any more */
	p->exec_seq = 1;
	p->nrss = 0;
	assert_true(rss_log_fill(log, p));
	assert_int_equal(p->nrss, 0); /* another program of the same process */
	remove_ledger(pid, 2);
	close(ready[0]);
	close(go[1]);
	profile_free(p);
	rss_log_free(log);
}

static void the_next_program_ends_the_series_of_the_one_before(void **state)
{
	struct profile *first = profile_new(), *second = profile_new();
	struct rss_log *log;

	first->pid = second->pid = getpid();
	first->live = second->live = true;
	first->start_real_ns = second->start_real_ns = clock_ns(CLOCK_REALTIME);
	second->exec_seq = 1;
	put_ledger(getpid(), 0);
	log = rss_log_new(dir); /* there already */
	serve(log, 60000000);
	put_ledger(getpid(), 1);
	serve(log, 60000000);
	assert_true(rss_log_fill(log, first) && rss_log_fill(log, second));
	assert_true(first->nrss > 0 && second->nrss > 0);
	assert_true(first->rss[first->nrss - 1].time <= second->rss[0].time);
	remove_ledger(getpid(), 0);
	remove_ledger(getpid(), 1);
	profile_free(first);
	profile_free(second);
	rss_log_free(log);
}

static void junk_is_nobody(void **state)
{
	char path[128];
	struct rss_log *log;
	FILE *f;

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir,
		         i == 0   ? "1x.0.ledger"
		         : i == 1 ? "99999999999.0.ledger"
		                  : "0.0.ledger");
		f = fopen(path, "w");
		assert_non_null(f);
		fclose(f);
	}
	log = rss_log_new(dir);
	serve(log, 20000000);
	rss_log_free(log);
	rss_log_serve(NULL);
	rss_log_free(NULL);
	assert_int_equal(rss_log_fd(NULL), -1);
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir,
		         i == 0   ? "1x.0.ledger"
		         : i == 1 ? "99999999999.0.ledger"
		                  : "0.0.ledger");
		assert_int_equal(unlink(path), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(series_are_bounded_and_keep_their_peak),
		cmocka_unit_test(sees_a_process_grow_and_end),
		cmocka_unit_test(the_next_program_ends_the_series_of_the_one_before),
		cmocka_unit_test(junk_is_nobody),
	};
	int failed;

	snprintf(dir, sizeof(dir), "/dev/shm/seep-test-rss-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
