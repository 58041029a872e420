/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever holds an image dies at any instant: the target runs on as it was.
 *
 * A helper process opens images in a loop and is killed after a random time, so that over many rounds it is hit
 * while threads are being stopped, while the clone is made, while the image is read, while it is freed.
 * Then the same with its guardian, which can be hit in the middle of an injected call; the target is large
 * enough for that call to take a good part of the time.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/image.h"
#include "subject.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 60
#define PAGES 16384 /* 64 MB: page tables that take a while to copy */

static void on_usr1(int sig) {}

/* Sums over registers of both kinds, with the stack and the signal mask watched. */
static void *work(void *arg)
{
	struct subject_shared *s = arg;
	volatile double x = 1.0;

	for (;;) {
		double sum = 0;
		uint64_t n = 0;

		for (unsigned int i = 1; i <= 1000; i++) {
			sum += (double)i * x;
			n += i;
		}
		if (sum != 500500.0 || n != 500500)
			atomic_fetch_add(&s->wrong, 1);
		atomic_fetch_add(&s->counter, 1);
	}
	return NULL;
}

static void check_mask(struct subject_shared *s)
{
	sigset_t now;

	sigprocmask(SIG_SETMASK, NULL, &now);
	if (!sigismember(&now, SIGUSR2) || sigismember(&now, SIGUSR1) || sigismember(&now, SIGTERM))
		atomic_fetch_add(&s->wrong, 1);
}

/* The main thread, which is injected into, alternates between work and waiting. */
static void run_main(struct subject_shared *s)
{
	char *mem = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                 -1, 0);
	pid_t self = getpid();
	pthread_t t;
	sigset_t set;

	madvise(mem, PAGES * 4096, MADV_NOHUGEPAGE);
	memset(mem, 1, PAGES * 4096);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGUSR1, on_usr1);
	if (pthread_create(&t, NULL, work, s))
		_exit(1);
	atomic_store(&s->ready, 1);
	for (;;) {
		volatile uint64_t local[64];
		struct timespec ts = { 0, 300000 };
		uint64_t sum = 0;
		volatile double d = 0;

		for (unsigned int i = 0; i < 64; i++)
			local[i] = i;
		if (nanosleep(&ts, NULL) && errno != EINTR)
			atomic_fetch_add(&s->wrong, 1);
		for (unsigned int k = 0; k < 200; k++)
			for (unsigned int i = 0; i < 64; i++) {
				sum += local[i];
				d += 0.5;
			}
		if (sum != 200 * 2016 || d != 6400.0)
			atomic_fetch_add(&s->wrong, 1);
		if (getpid() != self) /* a clone that runs */
			atomic_fetch_add(&s->wrong, 1000);
		check_mask(s);
		atomic_fetch_add(&s->signals, 1); /* rounds of the main thread */
	}
}

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static pid_t start_holder(pid_t target, bool clone)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (;;) {
		struct image_options opts = { .clone = clone };
		struct image *img = NULL;
		struct seep_error *err = image_open_process(target, &opts, &img);
		uint64_t word = 0;

		if (err) /* another one's guardian may still be busy with it */
			seep_error_free(err);
		for (size_t i = 0; img && i < img->nmaps; i++)
			image_read_u64(img, img->maps[i].start, &word);
		image_free(img);
	}
}

static bool alive_child(pid_t target)
{
	pid_t child = 0;

	return subject_children(target, &child) && subject_state(child) != 'Z' &&
	       subject_state(child) != 0;
}

static void check_target(const struct subject *sub, bool zombies)
{
	uint64_t rounds = atomic_load(&sub->shared->signals);

	assert_true(subject_runs(sub));
	assert_true(SUBJECT_WAIT(atomic_load(&sub->shared->signals) > rounds + 1));
	if (zombies)
		assert_true(SUBJECT_WAIT(!alive_child(sub->pid)));
	else
		assert_true(SUBJECT_WAIT(subject_children(sub->pid, NULL) == 0));
	assert_true(SUBJECT_WAIT(!subject_traced(sub->pid)));
	assert_true(SUBJECT_WAIT(!strchr("tT", subject_state(sub->pid))));
	assert_null(strchr("ZX", subject_state(sub->pid)));
	assert_int_equal(atomic_load(&sub->shared->wrong), 0);
}

static void wait_random(void)
{
	uint64_t until = subject_now() + random_below(40000000);

	while (subject_now() < until)
		sched_yield();
}

static void kill_holders(bool clone)
{
	struct subject sub = subject_start(run_main);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		pid_t holder = start_holder(sub.pid, clone);

		wait_random();
		kill(holder, SIGKILL);
		assert_int_equal(waitpid(holder, NULL, 0), holder);
		check_target(&sub, false);
	}
	subject_end(&sub);
}

static void test_kill_holder_of_live(void **state)
{
	kill_holders(false);
}

static void test_kill_holder_of_clone(void **state)
{
	kill_holders(true);
}

static void kill_guardians(bool clone)
{
	struct subject sub = subject_start(run_main);
	unsigned int hit = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		pid_t holder = start_holder(sub.pid, clone), guardian = 0;

		wait_random();
		if (SUBJECT_WAIT(subject_children(holder, &guardian))) {
			kill(guardian, SIGKILL);
			hit++;
		}
		kill(holder, SIGKILL);
		assert_int_equal(waitpid(holder, NULL, 0), holder);
		check_target(&sub, true);
	}
	assert_true(hit > ROUNDS / 2);
	subject_end(&sub);
}

static void test_kill_guardian_of_live(void **state)
{
	kill_guardians(false);
}

static void test_kill_guardian_of_clone(void **state)
{
	kill_guardians(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_holder_of_live),
		cmocka_unit_test(test_kill_holder_of_clone),
		cmocka_unit_test(test_kill_guardian_of_live),
		cmocka_unit_test(test_kill_guardian_of_clone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
