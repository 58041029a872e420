/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control word: see control.h.
 *
 * Two seeps may change it at once, so a writer locks the file; the tracker never does.  The generation is
 * written last, by a call of its own: a tracker that sees it sees the rest.
 */
#include "capture/control.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/ledger_file.h"
#include "capture/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define STEP_NS 2000000
#define CONTROL_AT offsetof(struct ledger_header, control)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool runs(const struct ledger_file *f)
{
	return f->h.state == LEDGER_LIVE && writer_state(&f->h, &f->st) == WRITER_RUNNING;
}

static struct seep_error *count_threads(const struct ledger_file *f, struct control *c)
{
	_cleanup_free_ struct ledger_thread *threads = NULL;
	int r = ledger_file_copy(f, LEDGER_THREADS, f->h.nthreads, sizeof(*threads), &threads);

	if (r < 0)
		return ledger_file_error(f, r);
	for (uint64_t i = 1; i < f->h.nthreads; i++) {
		if (threads[i].flags & 1)
			continue;
		c->threads++;
		c->threads_taken += threads[i].control == c->generation;
	}
	return NULL;
}

static struct seep_error *read_from(const struct ledger_file *f, struct control *ret_control)
{
	const struct ledger_control *w = &f->h.control;
	struct control c = { .pid = f->h.pid,
		             .running = runs(f),
		             .active = w->active != 0,
		             .generation = w->generation,
		             .taken = w->taken };
	struct seep_error *err = count_threads(f, &c);

	if (err)
		return err;
	if (w->mode == LEDGER_SAMPLED && w->period > 1)
		c.period = w->period;
	*ret_control = c;
	return NULL;
}

struct seep_error *control_read(const char *path, struct control *ret_control)
{
	struct ledger_file f;
	struct seep_error *err = ledger_file_open(path, &f);

	if (err)
		return err;
	err = read_from(&f, ret_control);
	ledger_file_close(&f);
	return err;
}

/* ---- changing -------------------------------------------------------------------------- */

static struct seep_error *open_writable(const char *path, struct ledger_file *ret_file)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);

	if (fd < 0)
		return seep_error_hint(
			seep_error_new(errno, "cannot change the ledger %s", path),
			errno == EACCES || errno == EPERM
				? "It belongs to another user: ask that user, or root."
				: "`seep ps` lists the processes that are being tracked.");
	return ledger_file_fdopen(fd, path, ret_file);
}

static struct seep_error *check_owner(const struct ledger_file *f)
{
	uid_t me = geteuid();

	if (f->st.st_uid != me && (me != 0 || f->st.st_uid != f->h.uid))
		return seep_error_new(0, "%s does not belong to %s", f->path,
		                      me ? "you" : "the user whose process it names");
	if (f->st.st_nlink > 1)
		return seep_error_new(0, "%s has more than one name in the file system", f->path);
	return NULL;
}

static struct seep_error *check_running(const struct ledger_file *f)
{
	if (f->h.state == LEDGER_DISABLED)
		return seep_error_hint(seep_error_new(0, "the tracker of process %d has given up",
		                                      f->h.pid),
		                       "`seep report %s` says what it lost.", f->path);
	if (!runs(f))
		return seep_error_hint(
			seep_error_new(0, "process %d has ended: there is nothing to switch",
		                       f->h.pid),
			"`seep report %s` shows what it left.", f->path);
	return NULL;
}

static int put(const struct ledger_file *f, size_t at, const void *value, size_t n)
{
	ssize_t w;

	do
		w = pwrite(f->fd, value, n, (off_t)(CONTROL_AT + at));
	while (w < 0 && errno == EINTR);
	return w == (ssize_t)n ? 0 : w < 0 ? -errno : -EIO;
}

#define PUT(f, field, value)                                                     \
	({                                                                       \
		__typeof__(((struct ledger_control *)NULL)->field) v_ = (value); \
		put(f, offsetof(struct ledger_control, field), &v_, sizeof(v_)); \
	})

static struct seep_error *write_change(struct ledger_file *f, const struct control_change *change)
{
	bool sampled = change->period > 1;
	int r;

	if (flock(f->fd, LOCK_EX) < 0)
		return seep_error_new(errno, "cannot lock %s", f->path);
	r = ledger_file_counts(f); /* as it is now that nobody else writes */
	if (!r && change->set_period && sampled)
		r = PUT(f, period, change->period);
	if (!r && change->set_period)
		r = PUT(f, mode, sampled ? LEDGER_SAMPLED : LEDGER_FULL);
	if (!r && change->set_active)
		r = PUT(f, active, change->active);
	/* 0 is what a thread has that never looked. */
	if (!r)
		r = PUT(f, generation,
		        f->h.control.generation + 1 ? f->h.control.generation + 1 : 1);
	return r ? seep_error_new(-r, "cannot change the ledger %s", f->path) : NULL;
}

struct seep_error *control_change(const char *path, const struct control_change *change)
{
	struct ledger_file f;
	struct seep_error *err = open_writable(path, &f);

	if (err)
		return err;
	err = check_owner(&f);
	if (!err)
		err = check_running(&f);
	if (!err)
		err = write_change(&f, change);
	ledger_file_close(&f);
	return err;
}

struct seep_error *control_wait(const char *path, uint64_t timeout_ns, struct control *ret_control)
{
	const struct timespec step = { .tv_nsec = STEP_NS };
	uint64_t end = now_ns() + timeout_ns;
	struct ledger_file f;
	struct control c;
	struct seep_error *err = ledger_file_open(path, &f);

	if (err)
		return err;
	for (;;) {
		int r = ledger_file_counts(&f);

		err = r < 0 ? ledger_file_error(&f, r) : read_from(&f, &c);
		if (err || !c.running ||
		    (c.taken == c.generation && c.threads_taken == c.threads) || now_ns() >= end)
			break;
		nanosleep(&step, NULL);
	}
	ledger_file_close(&f);
	if (!err)
		*ret_control = c;
	return err;
}
