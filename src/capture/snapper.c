/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching processes and taking snapshots: see snapper.h.
 *
 * Processes are looked at one by one, each when its own triggers want it (triggers_wait()), so a thousand quiet
 * children cost a thousand times four looks a second and a busy one is still seen every millisecond.
 * New ledgers are announced by inotify, ends by pidfds, both behind one epoll descriptor.
 *
 * A ledger outlives its process, so nothing is lost by being late at an end: the last snapshot is
 * read from what the process left behind.
 */
#include "capture/snapper.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/large.h"
#include "capture/capture.h"
#include "capture/cgroup_levels.h"
#include "capture/ledger_file.h"
#include "capture/process.h"
#include "profile/profile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <time.h>

#define SUFFIX ".ledger"
#define RETRY_NS 2000000u /* a ledger that is still being set up */
#define RETRIES 500u
#define FIND_NS 20000000u /* how long a process may be in another cgroup before that is noticed */
#define BURST 64

/* A snapshot that was taken: later ones of the same process tell of it. */
struct note {
	pid_t pid;
	uint64_t start_real_ns; /* of the process: pids come again */
	uint64_t time;          /* ns since then */
	uint64_t rss;
	char *reason;
};

struct watched {
	char *path;
	bool ready; /* the ledger is open; false: still being set up */
	unsigned int tries;
	struct ledger_file ledger;
	pid_t pid;
	int pidfd, statm;
	bool gone; /* the process has ended */
	struct cgroup_levels cgroup;
	uint64_t found_ns; /* when the cgroup was last looked up */
	uint64_t next_ns;  /* when to look again */
	struct triggers triggers;
};

struct snapper {
	struct snapper_options o;
	char *ledger_dir, *ledger, *dir;
	struct series_writer series;
	bool begun; /* the series is open */
	int epoll, inotify;
	struct watched **watched;
	size_t n, cap;
	size_t taken;
	struct note *notes;
	size_t nnotes;
	bool finishing;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void complain(struct snapper *s, struct seep_error *err)
{
	if (s->o.complain)
		s->o.complain(err, s->o.arg);
	else
		seep_error_free(err);
}

/* ---- the processes --------------------------------------------------------------------- */

static void watched_free(struct watched *w)
{
	if (w->ready)
		ledger_file_close(&w->ledger);
	if (w->pidfd >= 0)
		close(w->pidfd); /* epoll forgets it with that */
	if (w->statm >= 0)
		close(w->statm);
	cgroup_levels_release(&w->cgroup);
	free(w->path);
	free(w);
}

static void forget(struct snapper *s, size_t i)
{
	watched_free(s->watched[i]);
	s->watched[i] = s->watched[--s->n];
}

static struct seep_error *watch(struct snapper *s, const char *path)
{
	struct watched *w;

	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->watched[i]->path, path))
			return NULL;
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		void *p = reallocarray(s->watched, cap, sizeof(struct watched *));

		if (!p)
			return &seep_error_nomem;
		s->watched = p;
		s->cap = cap;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return &seep_error_nomem;
	w->pidfd = w->statm = -1;
	w->path = strdup(path);
	if (!w->path) {
		watched_free(w);
		return &seep_error_nomem;
	}
	s->watched[s->n++] = w;
	return NULL;
}

/* A descriptor of the process, not of one that has its number now. */
static int open_process(const struct ledger_header *h)
{
	struct stat none = { 0 };
	int fd;

	if (h->pid <= 0)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	/* Only whether it is that process: what it maps does not matter here. */
	if (fd >= 0 && writer_state(h, &none) == WRITER_GONE) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The ledger is there and says whose it is. */
static void introduce(struct snapper *s, struct watched *w)
{
	const struct ledger_header *h = &w->ledger.h;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = w };
	struct trigger_facts first = { .now_ns = now_ns(CLOCK_MONOTONIC) };
	struct ledger_totals t;
	char path[64];

	w->ready = true;
	w->pid = h->pid;
	w->pidfd = open_process(h);
	w->gone = w->pidfd < 0;
	if (w->pidfd >= 0 && epoll_ctl(s->epoll, EPOLL_CTL_ADD, w->pidfd, &ev) < 0)
		w->gone = true;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)w->pid);
	w->statm = open(path, O_RDONLY | O_CLOEXEC);
	/* In a run the watch begins with the process; one that runs already is what it is. */
	if (!s->ledger_dir && !ledger_file_totals(&w->ledger, &t)) {
		first.inuse = t.inuse_bytes;
		first.alloc = t.alloc_bytes;
		first.requests = h->snap_requests;
	}
	triggers_begin(&w->triggers, &s->o.triggers, &first);
}

static bool try_open(struct snapper *s, struct watched *w)
{
	struct seep_error *err = ledger_file_open(w->path, &w->ledger);

	if (!err) {
		introduce(s, w);
		return true;
	}
	if (++w->tries == RETRIES)
		complain(s, seep_error_wrap(err, "its process is not watched"));
	else
		seep_error_free(err);
	w->next_ns = now_ns(CLOCK_MONOTONIC) + RETRY_NS;
	return false;
}

/* ---- where they come from ------------------------------------------------------------------ */

static bool is_ledger(const char *name)
{
	size_t n = strlen(name);

	return name[0] != '.' && n > strlen(SUFFIX) && !strcmp(name + n - strlen(SUFFIX), SUFFIX);
}

static struct seep_error *watch_name(struct snapper *s, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (!is_ledger(name))
		return NULL;
	if (asprintf(&path, "%s/%s", s->ledger_dir, name) < 0) {
		path = NULL;
		return &seep_error_nomem;
	}
	return watch(s, path);
}

static struct seep_error *scan(struct snapper *s)
{
	DIR *stream = opendir(s->ledger_dir);
	struct seep_error *err = NULL;
	struct dirent *d;

	if (!stream)
		return seep_error_new(errno, "cannot list the ledgers in %s", s->ledger_dir);
	while (!err && (d = readdir(stream)))
		err = watch_name(s, d->d_name);
	closedir(stream);
	return err;
}

static void read_inotify(struct snapper *s)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while ((n = read(s->inotify, buf, sizeof(buf))) > 0) {
		const char *p = buf;

		while (p < buf + n) {
			const struct inotify_event *e = (const void *)p;
			struct seep_error *err = NULL;

			if (e->mask & IN_Q_OVERFLOW)
				err = scan(s);
			else if (e->len)
				err = watch_name(s, e->name);
			if (err)
				complain(s, err);
			p += sizeof(*e) + e->len;
		}
	}
}

/* What the descriptors say: new ledgers, ended processes. */
static void read_events(struct snapper *s)
{
	struct epoll_event ev[BURST];
	int n;

	do {
		n = epoll_wait(s->epoll, ev, BURST, 0);
		for (int i = 0; i < n; i++) {
			struct watched *w = ev[i].data.ptr;

			if (!w) {
				read_inotify(s);
				continue;
			}
			w->gone = true;
			w->next_ns = 0;
			epoll_ctl(s->epoll, EPOLL_CTL_DEL, w->pidfd, NULL);
		}
	} while (n == BURST);
}

static uint64_t read_rss(const struct watched *w)
{
	unsigned long long pages = 0;
	char text[128];
	ssize_t n = w->statm >= 0 ? pread(w->statm, text, sizeof(text) - 1, 0) : 0;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%*u %llu", &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- snapshots --------------------------------------------------------------------------------- */

bool snapper_note(const struct snapper *s, struct profile *p)
{
	for (size_t i = 0; i < s->nnotes; i++) {
		const struct note *n = &s->notes[i];

		if (n->pid != p->pid || n->start_real_ns != p->start_real_ns)
			continue;
		if (!profile_add_event(p, n->time, PROF_EVENT_SNAPSHOT, n->reason) ||
		    (n->rss && !profile_add_rss(p, n->time, n->rss)))
			return false;
	}
	return true;
}

static bool remember(struct snapper *s, const struct profile *p, const char *reason, uint64_t rss)
{
	struct note n = { p->pid, p->start_real_ns, p->duration_ns, rss, NULL };

	if (!s->notes)
		s->notes = calloc(SNAPPER_NOTES, sizeof(*s->notes));
	if (!s->notes)
		return false;
	n.reason = strdup(reason);
	if (!n.reason)
		return false;
	if (s->nnotes == SNAPPER_NOTES) {
		free(s->notes[0].reason);
		memmove(s->notes, s->notes + 1, --s->nnotes * sizeof(*s->notes));
	}
	s->notes[s->nnotes++] = n;
	return true;
}

struct seep_error *snapper_prepare(struct snapper *s)
{
	struct seep_error *err;

	if (s->begun)
		return NULL;
	err = series_begin(s->dir, &s->o.limits, &s->series);
	s->begun = !err;
	return err;
}

/* w NULL: a process that is not watched. */
static struct seep_error *read_and_add(struct snapper *s, const char *ledger, struct watched *w,
                                       const char *reason, char **ret_path)
{
	struct read_options opts = { .blocks = s->o.blocks };
	uint64_t begin = now_ns(CLOCK_MONOTONIC), when = now_ns(CLOCK_REALTIME);
	_cleanup_profile_ struct profile *p = NULL;
	struct seep_error *err = ledger_read(ledger, &opts, &p);

	if (!err)
		err = snapper_prepare(s);
	if (!err && s->o.prepare)
		err = s->o.prepare(p, s->o.arg);
	if (!err && (!remember(s, p, reason, w && !w->gone ? read_rss(w) : 0) || !snapper_note(s, p)))
		err = &seep_error_nomem;
	if (!err)
		err = series_add(&s->series, p, when, reason, ret_path);
	if (!err)
		s->taken++;
	if (w)
		triggers_taken(&w->triggers, begin, now_ns(CLOCK_MONOTONIC),
		               p ? profile_totals_of(p, PROF_MEMORY).inuse.bytes : 0);
	return err ? seep_error_wrap(err, "no snapshot (%s)", reason) : NULL;
}

/* Whoever watches beside a service holds no tables of it from one snapshot to the next. */
static struct seep_error *take(struct snapper *s, const char *ledger, struct watched *w,
                               const char *reason, char **ret_path)
{
	struct seep_error *err = read_and_add(s, ledger, w, reason, ret_path);

	large_give_back();
	return err;
}

/* Of a process whose ledger was not seen yet, or where there is nothing to watch for. */
static struct seep_error *take_unwatched(struct snapper *s, pid_t pid, const char *reason,
                                         char **ret_path)
{
	_cleanup_free_ char *path = NULL;
	struct seep_error *err = ledger_find(pid, s->ledger_dir, &path);

	return err ? err : take(s, path, NULL, reason, ret_path);
}

struct seep_error *snapper_take(struct snapper *s, pid_t pid, const char *reason, char **ret_path)
{
	struct seep_error *err = NULL;
	bool any = false;

	read_events(s);
	for (size_t i = 0; i < s->n && !err; i++) {
		struct watched *w = s->watched[i];

		if (!w->ready && !try_open(s, w))
			continue;
		if ((pid && w->pid != pid) || (!pid && w->gone))
			continue;
		/* Programs before an exec() have the same number; the last one is the one that runs. */
		if (pid && w->ledger.h.state == LEDGER_EXECED)
			continue;
		if (ret_path)
			free(TAKE(*ret_path));
		err = take(s, w->path, w, reason, ret_path);
		any = true;
	}
	if (!any && !err)
		err = pid && s->ledger_dir ? take_unwatched(s, pid, reason, ret_path)
		                           : seep_error_new(0, "no tracked process runs");
	return err;
}

/* ---- looking ------------------------------------------------------------------------------------- */

/* False: the ledger cannot be read any more. */
static bool read_facts(struct snapper *s, struct watched *w, uint64_t now,
                       struct trigger_facts *ret_facts)
{
	struct trigger_facts f = { .now_ns = now };
	struct ledger_totals t;
	uint32_t state;
	bool here;

	if (ledger_file_counts(&w->ledger) < 0 || ledger_file_totals(&w->ledger, &t) < 0)
		return false;
	f.inuse = t.inuse_bytes;
	f.alloc = t.alloc_bytes;
	f.requests = w->ledger.h.snap_requests;
	state = w->ledger.h.state;
	f.ended = w->gone || state == LEDGER_EXECED || ledger_is_closed(state);
	/* After an exec() what the kernel says of the process is about another program. */
	here = !w->gone && state != LEDGER_EXECED;
	f.rss = here && s->o.triggers.growth_rss ? read_rss(w) : 0;
	if (here && s->o.triggers.cgroup[0] > 0) {
		if (now >= w->found_ns + FIND_NS || !w->found_ns) {
			cgroup_levels_find(&w->cgroup, w->pid);
			w->found_ns = now;
		}
		cgroup_levels_read(&w->cgroup, &f.used, &f.limit);
	}
	*ret_facts = f;
	return true;
}

/* False: it has ended, and needs no more looking at. */
static bool look(struct snapper *s, struct watched *w, uint64_t now)
{
	struct trigger_fired fired;
	struct trigger_facts f;

	if (!read_facts(s, w, now, &f))
		return false;
	triggers_step(&w->triggers, &f, &fired);
	if (fired.kinds) {
		struct seep_error *err = take(s, w->path, w, fired.reason, NULL);

		if (err)
			complain(s, err);
	}
	w->next_ns = now_ns(CLOCK_MONOTONIC) + triggers_wait(&w->triggers);
	return !f.ended && w->ledger.h.state != LEDGER_DISABLED;
}

uint64_t snapper_step(struct snapper *s)
{
	uint64_t now, next = UINT64_MAX;

	if (s->epoll < 0)
		return UINT64_MAX;
	read_events(s);
	now = now_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < s->n;) {
		struct watched *w = s->watched[i];
		bool keep = true;

		if (w->next_ns <= now) {
			if (w->ready || try_open(s, w))
				keep = look(s, w, now);
			else
				keep = w->tries < RETRIES && !s->finishing;
		}
		if (!keep) {
			forget(s, i);
			continue;
		}
		if (w->next_ns < next)
			next = w->next_ns;
		i++;
	}
	now = now_ns(CLOCK_MONOTONIC);
	return next == UINT64_MAX ? next : next > now ? next - now : 0;
}

void snapper_finish(struct snapper *s)
{
	s->finishing = true;
	for (size_t i = 0; i < s->n; i++)
		s->watched[i]->next_ns = 0;
	snapper_step(s);
}

/* ---- the rest --------------------------------------------------------------------------------------- */

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static struct seep_error *begin_watching(struct snapper *s)
{
	struct epoll_event ev = { .events = EPOLLIN };

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return seep_error_new(errno, "cannot watch processes");
	if (s->ledger)
		return watch(s, s->ledger);
	s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->inotify < 0 ||
	    inotify_add_watch(s->inotify, s->ledger_dir, IN_CREATE | IN_MOVED_TO) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->inotify, &ev) < 0)
		return seep_error_hint(
			seep_error_new(errno, "cannot watch the ledgers in %s", s->ledger_dir),
			"fs.inotify.max_user_instances and max_user_watches bound how many may be watched.");
	return scan(s);
}

struct seep_error *snapper_new(const struct snapper_options *o, struct snapper **ret_snapper)
{
	struct snapper *s = calloc(1, sizeof(*s));
	struct seep_error *err = NULL;

	if (!s)
		return &seep_error_nomem;
	s->o = *o;
	s->epoll = s->inotify = s->series.fd = -1;
	s->ledger_dir = copy(o->ledger_dir);
	s->ledger = copy(o->ledger);
	s->dir = copy(o->dir);
	if ((o->ledger_dir && !s->ledger_dir) || (o->ledger && !s->ledger) || !s->dir)
		err = &seep_error_nomem;
	if (!err && trigger_options_any(&o->triggers))
		err = begin_watching(s);
	if (err) {
		snapper_free(s);
		return err;
	}
	*ret_snapper = s;
	return NULL;
}

void snapper_free(struct snapper *s)
{
	if (!s)
		return;
	while (s->n)
		forget(s, s->n - 1);
	free(s->watched);
	for (size_t i = 0; i < s->nnotes; i++)
		free(s->notes[i].reason);
	free(s->notes);
	if (s->inotify >= 0)
		close(s->inotify);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->begun)
		series_end(&s->series);
	free(s->ledger_dir);
	free(s->ledger);
	free(s->dir);
	free(s);
}

int snapper_fd(const struct snapper *s)
{
	return s->epoll;
}

size_t snapper_count(const struct snapper *s)
{
	return s->taken;
}

size_t snapper_kept(const struct snapper *s)
{
	return s->begun ? s->series.series.n : 0;
}

const char *snapper_dir(const struct snapper *s)
{
	return s->dir;
}

bool snapper_watches(const struct snapper *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->watched[i]->gone)
			return true;
	return false;
}
