/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seep snap with triggers: the watch that `seep run` keeps, over a process that is tracked already.
 */
#include "cli/snap_cli.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "output/emit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

static struct seep_error *open_signals(const struct snap_cli *c, int *ret_fd)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (c->signo)
		sigaddset(&set, c->signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret_fd < 0 ? seep_error_new(errno, "cannot wait for signals") : NULL;
}

/* Whether one of them says that it is enough. */
static bool read_signals(struct snap_cli *c, int fd)
{
	struct signalfd_siginfo si;
	char reason[32];
	bool enough = false;

	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (c->signo && (int)si.ssi_signo == c->signo) {
			snprintf(reason, sizeof(reason), "signal %s", c->signal_name);
			snap_cli_take(c, reason);
		} else {
			enough = true;
		}
	}
	return enough;
}

static struct seep_error *wait_for_end(struct snap_cli *c, int signals)
{
	for (;;) {
		struct pollfd pfds[] = { { .fd = signals, .events = POLLIN },
			                 { .fd = snap_cli_fd(c), .events = POLLIN },
			                 { .fd = c->listening, .events = POLLIN } };
		int wait = snap_cli_step(c);

		if (!snapper_watches(c->snapper))
			return NULL;
		if (poll(pfds, ARRAY_SIZE(pfds), wait) < 0 && errno != EINTR)
			return seep_error_new(errno, "cannot wait for the process");
		if ((pfds[0].revents & POLLIN) && read_signals(c, signals))
			return NULL;
		if (pfds[2].revents & POLLIN)
			snap_cli_serve(c);
	}
}

static struct seep_error *tell(const struct snap_cli *c, pid_t pid, bool json)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct emit_options eo = { .format = json ? EMIT_JSON : EMIT_TEXT,
		                   .width = cli_width(STDOUT_FILENO) };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	struct emit_part parts[] = {
		{ .key = "taken", .value = emit_count(snapper_count(c->snapper)) },
		{ .key = "pid", .value = emit_number(pid) },
		{ .key = "kept", .value = emit_count(snapper_kept(c->snapper)) },
		{ .key = "series", .value = emit_string(snapper_dir(c->snapper)) },
		{ .key = "failed", .value = emit_count(c->failed), .json_only = true },
	};

	if (!e)
		return &seep_error_nomem;
	emit_object(e, NULL);
	emit_line(e, EMIT_PLAIN, "% snapshots of process % were taken; % are in %", parts,
	          ARRAY_SIZE(parts));
	emit_object_end(e);
	if (out.failed)
		return &seep_error_nomem;
	fputs(out.data ? out.data : "", stdout);
	return NULL;
}

struct seep_error *snap_watch(struct snap_cli *c, const char *ledger, bool json)
{
	const char *slash = strrchr(ledger, '/');
	_cleanup_free_ char *dir = slash ? strndup(ledger, (size_t)(slash - ledger)) : strdup(".");
	_cleanup_close_ int signals = -1;
	struct ledger_entry l;
	struct seep_error *err = ledger_entry_read(ledger, &l);
	pid_t pid;

	if (err)
		return err;
	pid = l.pid;
	if (!l.alive) {
		ledger_entry_release(&l);
		return seep_error_hint(
			seep_error_new(0, "process %d has ended: there is nothing to watch",
		                       (int)pid),
			"Without triggers, `seep snap %s` keeps what it left.", ledger);
	}
	err = dir ? open_signals(c, &signals) : &seep_error_nomem;
	if (!err)
		err = snap_cli_start(c, NULL, ledger, pid, l.name);
	ledger_entry_release(&l);
	if (!err)
		err = snap_cli_listen(c, dir, pid);
	if (err)
		return err;
	snap_cli_take(c, "start");
	if (c->failed)
		return seep_error_new(0, "the series cannot be begun");
	err = wait_for_end(c, signals);
	snap_cli_finish(c);
	return err ? err : tell(c, pid, json);
}
