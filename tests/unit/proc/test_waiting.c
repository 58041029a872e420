/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process whose image is taken while it waits in a system call goes on waiting: the call ends as it would have,
 * and not before its time.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/image.h"
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct image *open_image(pid_t pid, bool clone)
{
	struct image_options opts = { .clone = clone };
	struct image *img = NULL;
	struct seep_error *err = image_open_process(pid, &opts, &img);

	if (err)
		fail_msg("%s (%s)", err->message, err->hint ? err->hint : "");
	return img;
}

enum waiting { NANOSLEEP, CLOCK_SLEEP, READ_PIPE, FUTEX, EPOLL, POLL, PPOLL, SIGWAIT, NWAITING };
static enum waiting waiting;
static uint64_t sleep_ns;
#define SLEEP_NS 300000000ull
#define SLEEP_MOST (64 * SLEEP_NS) /* on a machine that is busy with other things */

static void run_waiting(struct subject_shared *s)
{
	struct timespec ts = { (time_t)(sleep_ns / 1000000000u), (long)(sleep_ns % 1000000000u) };
	struct timespec rem = { 7, 7 };
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd pfd = { .events = POLLIN };
	static _Atomic uint32_t word;
	uint64_t begun;
	sigset_t usr2;
	int fds[2], ep;
	char c;

	if (pipe(fds))
		_exit(1);
	ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &ev);
	pfd.fd = fds[0];
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	begun = subject_now();
	errno = 0;
	atomic_store(&s->ready, 1);
	switch (waiting) {
	case NANOSLEEP:
		atomic_store(&s->result, nanosleep(&ts, &rem));
		break;
	case CLOCK_SLEEP:
		atomic_store(&s->result, clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &rem));
		break;
	case READ_PIPE:
		atomic_store(&s->pipe_write, fds[1]);
		atomic_store(&s->result, (int)read(fds[0], &c, 1) - 1);
		break;
	case FUTEX:
		atomic_store(&s->result,
		             (int)syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0));
		if (errno == ETIMEDOUT)
			atomic_store(&s->result, 0);
		break;
	case EPOLL:
		atomic_store(&s->result, epoll_wait(ep, &ev, 1, (int)(sleep_ns / 1000000)));
		break;
	case POLL:
		atomic_store(&s->result, poll(&pfd, 1, (int)(sleep_ns / 1000000)));
		break;
	case PPOLL:
		atomic_store(&s->result, ppoll(&pfd, 1, &ts, NULL));
		break;
	case SIGWAIT:
		atomic_store(&s->result,
		             sigtimedwait(&usr2, NULL, &ts) == -1 && errno == EAGAIN ? 0 : -1);
		break;
	default:
		break;
	}
	atomic_store(&s->error, errno);
	atomic_store(&s->elapsed_ns, subject_now() - begun);
	atomic_store(&s->done, 1);
	for (;;)
		pause();
}

/*
 * Opens images while the call waits; it must end as it would have, and not before its time.  false: its time was over
 * before all images were made.
 */
static bool check_waiting_for(enum waiting what, bool clone)
{
	struct subject sub;
	bool waited = true;

	waiting = what;
	sub = subject_start(run_waiting);
	assert_true(subject_wait_state(sub.pid, "S"));
	/* Calls whose timeout starts anew would never end under images without end. */
	for (unsigned int images = 0; images < 3 && waited; images++) {
		_cleanup_image_ struct image *img = open_image(sub.pid, clone);

		assert_int_equal(img->kind, clone ? IMAGE_CLONE : IMAGE_LIVE);
		waited = !atomic_load(&sub.shared->done);
		assert_true(waited || what != READ_PIPE);
	}
	if (what == READ_PIPE) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)sub.pid,
		         atomic_load(&sub.shared->pipe_write));
		fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, "x", 1), 1);
		close(fd);
	}
	assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->done)));
	if (atomic_load(&sub.shared->result))
		fail_msg("call %d: %d, errno %d", (int)what, atomic_load(&sub.shared->result),
		         atomic_load(&sub.shared->error));
	if (what != READ_PIPE)
		assert_true(atomic_load(&sub.shared->elapsed_ns) >= sleep_ns);
	assert_int_equal(subject_children(sub.pid, NULL), 0);
	subject_end(&sub);
	return waited;
}

/* A call that the images end is ended by the first, however long it was to wait. */
static void check_waiting(enum waiting what, bool clone)
{
	sleep_ns = SLEEP_NS;
	while (!check_waiting_for(what, clone)) {
		sleep_ns *= 2;
		assert_true(sleep_ns <= SLEEP_MOST);
	}
}

static void test_waiting_stop(void **state)
{
	for (enum waiting w = 0; w < NWAITING; w++)
		check_waiting(w, false);
}

static void test_waiting_clone(void **state)
{
	for (enum waiting w = 0; w < NWAITING; w++)
		check_waiting(w, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waiting_stop),
		cmocka_unit_test(test_waiting_clone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
