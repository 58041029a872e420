/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching the target of `seep run`: signals, progress, its end.
 *
 * The target shares our process group, so a terminal's signals (^C, ^\, ^Z, a
 * resize) reach it without us; passing them on again would deliver them twice.
 * Those carry si_code SI_KERNEL.  What somebody sent to us alone with kill() is
 * meant for the target and is forwarded.  ^Z stops both, as a shell expects.
 *
 * Progress comes out of the ledgers' headers; the target does not notice.
 */
#include "cli/run.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/rss_log.h"
#include "cli/run_check.h"
#include "cli/snap_cli.h"
#include "cli/status_line.h"
#include "output/units.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#define TICK_MS 1000

static const int forwarded[] = { SIGTERM, SIGINT,  SIGHUP,   SIGQUIT,
	                         SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM };

/* ---- out of memory ------------------------------------------------------------ */

/* The number behind "key " in a file of such lines; 0 when there is none. */
static uint64_t read_key(const char *path, const char *key)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char name[64];
	uint64_t v;

	while (f && fscanf(f, "%63s %" SCNu64, name, &v) == 2)
		if (!strcmp(name, key))
			return v;
	return 0;
}

static uint64_t machine_oom_kills(void)
{
	return read_key("/proc/vmstat", "oom_kill");
}

/* The memory cgroup of a process, when that cgroup has seen the OOM killer. */
static void cgroup_with_oom_kill(pid_t pid, char *name, size_t size)
{
	char path[64], line[512], events[640];
	_cleanup_fclose_ FILE *f = NULL;

	name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *v1 = strstr(line, ":memory:"), *where;

		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) != 0 && !v1)
			continue;
		where = v1 ? v1 + strlen(":memory:") : line + 3;
		snprintf(events, sizeof(events),
		         v1 ? "/sys/fs/cgroup/memory%.500s/memory.oom_control"
		            : "/sys/fs/cgroup%.500s/memory.events",
		         where);
		if (read_key(events, "oom_kill") > 0) {
			snprintf(name, size, "%s", where);
			return;
		}
	}
}

/* ---- progress ------------------------------------------------------------------ */

struct progress {
	uint64_t alloc_bytes, ns;
	uint64_t shown_ns; /* when, last */
	struct status_line line;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void progress_show(struct progress *p, const char *dir)
{
	uint64_t inuse = 0, alloc = 0, blocks = 0, sites = 0, ns = now_ns(), rate;
	struct ledger_entry *entries = NULL;
	_cleanup_buf_ struct buf line = { 0 };
	size_t n = 0, alive = 0;
	struct seep_error *err;

	err = ledger_list(dir, &entries, &n);
	seep_error_free(err);
	for (size_t i = 0; !err && i < n; i++) {
		alloc += entries[i].alloc_bytes;
		if (!entries[i].alive)
			continue;
		alive++;
		inuse += entries[i].inuse_bytes;
		blocks += entries[i].inuse_blocks;
		sites += entries[i].nsites;
	}
	ledger_list_free(entries, err ? 0 : n);
	if (err || !alive)
		return;
	rate = ns > p->ns && alloc > p->alloc_bytes
	               ? (uint64_t)((double)(alloc - p->alloc_bytes) * 1e9 / (double)(ns - p->ns))
	               : 0;
	p->alloc_bytes = alloc;
	p->ns = ns;
	buf_puts(&line, "seep: ");
	unit_bytes(&line, inuse);
	buf_puts(&line, " in use in ");
	unit_count(&line, blocks);
	buf_puts(&line, " blocks of ");
	unit_count(&line, sites);
	buf_puts(&line, " sites, ");
	unit_bytes(&line, rate);
	buf_puts(&line, "/s allocated");
	if (alive > 1)
		buf_printf(&line, ", %zu processes", alive);
	if (!line.failed)
		status_line_show(&p->line, line.data);
}

/* ---- the wait --------------------------------------------------------------------- */

struct seep_error *run_watch_init(struct run_watch *w)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTSTP);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	if (w->snaps->signo)
		sigaddset(&set, w->snaps->signo);
	signal(SIGCHLD, SIG_DFL); /* if it was ignored, the target could not be waited for */
	sigprocmask(SIG_BLOCK, &set, &w->mask);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signals < 0)
		return seep_error_new(errno, "cannot wait for signals");
	w->oom_kills = machine_oom_kills();
	return NULL;
}

void run_watch_release(struct run_watch *w)
{
	if (w->signals >= 0)
		close(w->signals);
	w->signals = -1;
}

/* ^Z: the shell shall find its terminal as it was. */
static void stop(struct progress *p)
{
	sigset_t set;

	status_line_clear(&p->line);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* here we stop, until somebody continues us */
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void handle_signals(const struct run_watch *w, struct progress *p)
{
	struct signalfd_siginfo si;
	char reason[32];

	while (read(w->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGTSTP) {
			stop(p);
		} else if (w->snaps->signo && (int)si.ssi_signo == w->snaps->signo) {
			snprintf(reason, sizeof(reason), "signal %s", w->snaps->signal_name);
			snap_cli_take(w->snaps, reason);
		} else if (si.ssi_signo != SIGCHLD && si.ssi_code != SI_KERNEL) {
			kill(w->pid, (int)si.ssi_signo);
		}
	}
}

/* Whether the target has ended; it stays a zombie, so that /proc still tells of it. */
static bool has_ended(pid_t pid)
{
	siginfo_t si = { .si_pid = 0 };

	return waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == pid;
}

/*
 * The target is gone; what is left is our own work, and ^C may end that (the ledgers stay).  The
 * ^C that ended the target waits for us too and must not; a TERM sent to the whole group may still come
 * and is no reason to lose the snapshot.
 */
static void let_interrupt(const struct run_watch *w)
{
	struct signalfd_siginfo si;
	sigset_t set;

	while (read(w->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGTSTP);
	for (int sig = SIGINT; sig <= SIGTSTP; sig++)
		if (sigismember(&w->mask, sig))
			sigdelset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* For poll(): the sooner of two waits, of which -1 is none. */
static int sooner(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Until the next line of progress; -1: there is none. */
static int until_progress(const struct run_watch *w, const struct progress *p)
{
	uint64_t ns = now_ns(), next = p->shown_ns + TICK_MS * 1000000ull;

	if (!w->progress)
		return -1;
	return next > ns ? (int)((next - ns + 999999) / 1000000) : 0;
}

struct seep_error *run_watch_wait(struct run_watch *w, struct run_end *ret_end)
{
	struct progress progress = { .ns = now_ns(), .shown_ns = now_ns() };

	while (!has_ended(w->pid)) {
		struct pollfd pfds[] = { { .fd = w->signals, .events = POLLIN },
			                 { .fd = w->check->fd, .events = POLLIN },
			                 { .fd = snap_cli_fd(w->snaps), .events = POLLIN },
			                 { .fd = w->snaps->listening, .events = POLLIN },
			                 { .fd = rss_log_fd(w->rss), .events = POLLIN } };
		int wait = sooner(snap_cli_step(w->snaps), until_progress(w, &progress));
		int r = poll(pfds, ARRAY_SIZE(pfds), wait);

		if (r < 0 && errno != EINTR) {
			status_line_release(&progress.line);
			return seep_error_new(errno, "cannot wait for process %d", (int)w->pid);
		}
		if (r > 0 && pfds[0].revents)
			handle_signals(w, &progress);
		if (r > 0 && pfds[1].revents) {
			status_line_clear(&progress.line);
			run_check_serve(w->check, w->pid);
		}
		if (r > 0 && pfds[3].revents)
			snap_cli_serve(w->snaps);
		if (r > 0 && pfds[4].revents)
			rss_log_serve(w->rss);
		/* not only when poll() had nothing else: a busy log would starve it */
		if (!until_progress(w, &progress)) {
			progress_show(&progress, w->dir);
			progress.shown_ns = now_ns();
		}
	}
	status_line_release(&progress.line);
	cgroup_with_oom_kill(w->pid, ret_end->cgroup, sizeof(ret_end->cgroup));
	if (waitpid(w->pid, &ret_end->status, 0) < 0)
		return seep_error_new(errno, "cannot wait for process %d", (int)w->pid);
	let_interrupt(w);
	/* The counter of the machine moved: somebody was killed for memory, and this one died of SIGKILL. */
	ret_end->oom = WIFSIGNALED(ret_end->status) && WTERMSIG(ret_end->status) == SIGKILL &&
	               machine_oom_kills() > w->oom_kills;
	if (!ret_end->oom)
		ret_end->cgroup[0] = '\0';
	return NULL;
}
