/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of a process that stands are dropped: exactly those, and the process notices nothing else.  Whoever asked is
 * killed in the middle, and so is the guardian.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/discard.h"
#include "proc/image.h"
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096ull
#define PAGES 4096ull
#define KEPT(i) ((i) % 4 == 0)

static void on_usr1(int sig) {}

static void *count(void *arg)
{
	struct subject_shared *s = arg;

	for (;;)
		atomic_fetch_add(&s->counter, 1);
	return NULL;
}

/*
 * Every fourth page holds its own number for good.  The main thread looks at these all the time and waits in between
 * in a call that must be made again.
 */
static void run_subject(struct subject_shared *s)
{
	uint64_t *mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	madvise(mem, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < PAGES; i++)
		mem[i * 512] = ~i;
	if (mlock(mem + 512, PAGE) && errno != EPERM && errno != ENOMEM)
		atomic_fetch_add(&s->wrong, 1);
	signal(SIGUSR1, on_usr1);
	pthread_create(&t, NULL, count, s);
	atomic_store(&s->address, (uint64_t)(uintptr_t)mem);
	atomic_store(&s->ready, 1);
	for (;;) {
		errno = 0;
		if (usleep(1000) && errno != EINTR)
			atomic_fetch_add(&s->wrong, 1);
		for (uint64_t i = 0; i < PAGES; i += 4)
			if (mem[i * 512] != ~i)
				atomic_fetch_add(&s->wrong, 1);
		atomic_fetch_add(&s->elapsed_ns, 1);
	}
}

static size_t make_ranges(uint64_t at, struct discard_range *r)
{
	size_t n = 0;

	for (uint64_t i = 0; i < PAGES; i += 4)
		r[n++] = (struct discard_range){ at + (i + 1) * PAGE, 3 * PAGE };
	return n;
}

static struct image *open_standing(pid_t pid)
{
	const struct image_options o = { .calls = true };
	struct image *img = NULL;
	struct seep_error *err = image_open_process(pid, &o, &img);

	if (err)
		print_error("%s\n", err->message);
	assert_null(err);
	return img;
}

static void test_exactly_those(void **state)
{
	struct subject s = subject_start(run_subject);
	uint64_t at = atomic_load(&s.shared->address), before;
	struct discard_range *r = calloc(PAGES, sizeof(*r));
	struct discard_reply reply;
	struct image *img = open_standing(s.pid);
	size_t n = make_ranges(at, r);
	struct seep_error *err = discard_pages(img, r, n, subject_now() + 20000000000ull, &reply);
	uint8_t resident[PAGES];
	uint64_t there = 0;

	assert_null(err);
	assert_int_equal(reply.failure, 0);
	assert_int_equal(reply.done, n);
	/* The first range has a locked page, if the subject was allowed to lock it. */
	assert_true(reply.refused <= 1);
	assert_true(!reply.refused || reply.first_errno == EINVAL);
	image_resident(img, at, PAGES, resident);
	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t word;

		if (i >= 1 && i < 4 && reply.refused)
			continue;
		assert_int_equal(resident[i], KEPT(i));
		there += resident[i];
		if (KEPT(i)) {
			assert_true(image_read_u64(img, at + i * PAGE, &word));
			assert_true(word == ~i);
		}
	}
	assert_true(there >= PAGES / 4 - 1);
	assert_true(reply.rss_before - reply.rss_after >= (PAGES * 3 / 4 - 3 - 64) * PAGE);
	err = image_resume(img);
	assert_null(err);
	image_free(img);
	before = atomic_load(&s.shared->elapsed_ns);
	assert_true(SUBJECT_WAIT(atomic_load(&s.shared->elapsed_ns) > before + 3));
	assert_int_equal(atomic_load(&s.shared->wrong), 0);
	assert_true(subject_runs(&s));
	subject_end(&s);
	free(r);
}

/* No time: one call is made, so that something is done, and no other.  A gone guardian is told. */
static void test_in_time(void **state)
{
	struct subject s = subject_start(run_subject);
	struct discard_range *r = calloc(PAGES, sizeof(*r));
	struct discard_reply reply;
	struct image *img = open_standing(s.pid);
	size_t n = make_ranges(atomic_load(&s.shared->address), r);
	struct seep_error *err = discard_pages(img, r, n, subject_now(), &reply);

	assert_null(err);
	assert_true(reply.done <= 64);
	assert_int_equal(reply.calls, 1);
	assert_null(image_resume(img));
	err = discard_pages(img, r, n, subject_now() + 1000000000ull, &reply);
	assert_non_null(err);
	seep_error_free(err);
	image_free(img);
	assert_true(subject_runs(&s));
	subject_end(&s);
	free(r);
}

static pid_t first_child(pid_t pid)
{
	char path[64];
	FILE *f;
	int child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%d", &child) != 1)
			child = 0;
		fclose(f);
	}
	return child;
}

/* A helper that drops pages for ever, killed at some moment; then its guardian. */
static void kill_in_the_middle(bool guardian)
{
	struct subject s = subject_start(run_subject);
	struct discard_range *r = calloc(PAGES, sizeof(*r));
	size_t n = make_ranges(atomic_load(&s.shared->address), r);

	for (unsigned int round = 0; round < 25; round++) {
		pid_t helper = fork(), g = 0;
		uint64_t before;

		if (!helper) {
			for (;;) {
				const struct image_options o = { .calls = true };
				struct discard_reply reply;
				struct image *img = NULL;
				struct seep_error *err = image_open_process(s.pid, &o, &img);

				if (!err)
					err = discard_pages(img, r, n,
					                    subject_now() + 20000000000ull, &reply);
				image_free(img);
			}
		}
		usleep(20000 + (round * 7919) % 50000);
		if (guardian)
			g = first_child(helper);
		if (g > 0)
			kill(g, SIGKILL);
		usleep(1000);
		kill(helper, SIGKILL);
		waitpid(helper, NULL, 0);
		before = atomic_load(&s.shared->elapsed_ns);
		assert_true(SUBJECT_WAIT(atomic_load(&s.shared->elapsed_ns) > before + 2));
		assert_true(SUBJECT_WAIT(!subject_traced(s.pid)));
		assert_int_equal(atomic_load(&s.shared->wrong), 0);
		assert_true(subject_runs(&s));
	}
	subject_end(&s);
	free(r);
}

static void test_killed(void **state)
{
	kill_in_the_middle(false);
}

static void test_guardian_killed(void **state)
{
	kill_in_the_middle(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exactly_those),
		cmocka_unit_test(test_in_time),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_guardian_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
