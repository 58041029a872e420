/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of snapshots: see series.h.
 *
 * Which entry goes is decided by a scan over all entries for each one removed: a series has tens or hundreds of
 * entries, and one is removed for each one added.  The rule "smallest gap between the neighbours" keeps any two
 * gaps of a steadily growing series within a factor of about two, whatever the rate of snapshots was
 * and without knowing how long the run will be.
 */
#include "capture/series.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "capture/capture.h"
#include "profile/profile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define SUFFIX ".seep"
#define TEMP_LETTERS 6     /* snapshot_write()'s XXXXXX */
#define MAX_ENTRIES 65536u /* a directory full of junk must end somewhere */
#define MOST_WRITTEN 8192u /* what a writer takes on: pruning looks at all for each one removed */
#define MOST_NAME 48u      /* of the program's name in a file's name */

/* ---- names ----------------------------------------------------------------------- */

void series_reason(const char *text, char ret_slug[SERIES_REASON_MAX + 1])
{
	size_t n = 0;

	for (; *text && n < SERIES_REASON_MAX; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c < 128 && isalnum(c)) || c == '_')
			ret_slug[n++] = (char)c;
		else if (n && ret_slug[n - 1] != '-')
			ret_slug[n++] = '-';
	}
	while (n && ret_slug[n - 1] == '-')
		n--;
	if (!n)
		ret_slug[n++] = '-';
	ret_slug[n] = '\0';
}

static char *file_name(const struct series_writer *w, const struct profile *p, uint64_t time_ns,
                       uint64_t inuse, const char *reason)
{
	const char *exe = p->exe && *p->exe ? p->exe : "program", *slash = strrchr(exe, '/');
	char program[MOST_NAME + 1], slug[SERIES_REASON_MAX + 1], date[32], *name = NULL;
	time_t seconds = (time_t)(time_ns / 1000000000u);
	struct tm tm;
	size_t n = 0;

	for (exe = slash ? slash + 1 : exe; exe[n] && n < MOST_NAME; n++)
		program[n] = isalnum((unsigned char)exe[n]) || strchr("._+-", exe[n]) ? exe[n] : '_';
	program[n] = '\0';
	/* A leading dot would hide it. */
	if (program[0] == '.')
		program[0] = '_';
	series_reason(reason, slug);
	if (!gmtime_r(&seconds, &tm) || !strftime(date, sizeof(date), "%Y%m%dT%H%M%S", &tm))
		return NULL;
	if (asprintf(&name, "%s.%d.%06" PRIu64 ".%s-%06uZ.%" PRIu64 ".%s" SUFFIX, program,
	             (int)p->pid, w->next_seq, date, (unsigned int)(time_ns / 1000 % 1000000),
	             inuse, slug) < 0)
		return NULL;
	return name;
}

/* Exactly n digits at *p, which moves on. */
static bool digits(const char **p, unsigned int n, unsigned int *ret)
{
	unsigned int v = 0;

	for (; n; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (unsigned int)(**p - '0');
	}
	*ret = v;
	return true;
}

/* "20260131T120000-250000Z" */
static bool parse_time(const char *p, uint64_t *ret_ns)
{
	unsigned int year, month, day, hour, minute, second, us;
	struct tm tm = { 0 };
	time_t t;

	if (!digits(&p, 4, &year) || !digits(&p, 2, &month) || !digits(&p, 2, &day) ||
	    *p++ != 'T' || !digits(&p, 2, &hour) || !digits(&p, 2, &minute) ||
	    !digits(&p, 2, &second) || *p++ != '-' || !digits(&p, 6, &us) || strcmp(p, "Z") != 0)
		return false;
	if (year < 1970 || year > 2500 || month < 1 || month > 12 || day < 1 || day > 31 ||
	    hour > 23 || minute > 59 || second > 60)
		return false;
	tm.tm_year = (int)year - 1900;
	tm.tm_mon = (int)month - 1;
	tm.tm_mday = (int)day;
	tm.tm_hour = (int)hour;
	tm.tm_min = (int)minute;
	tm.tm_sec = (int)second;
	t = timegm(&tm);
	if (t < 0)
		return false;
	*ret_ns = (uint64_t)t * 1000000000u + us * 1000ull;
	return true;
}

static bool parse_decimal(const char *s, uint64_t *ret)
{
	return *s >= '0' && *s <= '9' && strspn(s, "0123456789") == strlen(s) && !parse_u64(s, ret);
}

/* Cuts the last ".field" off s. */
static char *cut_field(char *s)
{
	char *dot = strrchr(s, '.');

	if (!dot)
		return NULL;
	*dot = '\0';
	return dot + 1;
}

/* Fills all but path and size; false: not a name of ours.  `name` is changed. */
static bool parse_name(char *name, struct series_entry *e, char **ret_program, char **ret_reason)
{
	size_t n = strlen(name);
	char *reason, *inuse, *when, *seq, *pid;
	uint64_t number;

	if (n <= strlen(SUFFIX) || strcmp(name + n - strlen(SUFFIX), SUFFIX) != 0 || name[0] == '.')
		return false;
	name[n - strlen(SUFFIX)] = '\0';
	if (!(reason = cut_field(name)) || !(inuse = cut_field(name)) || !(when = cut_field(name)) ||
	    !(seq = cut_field(name)) || !(pid = cut_field(name)) || !*name)
		return false;
	if (!*reason || strlen(reason) > SERIES_REASON_MAX ||
	    strspn(reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") !=
	            strlen(reason))
		return false;
	if (!parse_decimal(inuse, &e->inuse) || !parse_time(when, &e->time_ns) ||
	    !parse_decimal(seq, &e->seq) || e->seq == UINT64_MAX || !parse_decimal(pid, &number) ||
	    number > INT32_MAX)
		return false;
	e->pid = (pid_t)number;
	*ret_program = name;
	*ret_reason = reason;
	return true;
}

/* "NAME.….seep.XXXXXX": a snapshot that was being written when its writer died. */
static bool is_stray(const char *file)
{
	_cleanup_free_ char *copy = strdup(file);
	size_t n = strlen(file);
	struct series_entry e;
	char *program, *reason;

	if (!copy || n <= TEMP_LETTERS + 1 || copy[n - TEMP_LETTERS - 1] != '.')
		return false;
	for (size_t i = n - TEMP_LETTERS; i < n; i++)
		if (!isalnum((unsigned char)copy[i]))
			return false;
	copy[n - TEMP_LETTERS - 1] = '\0';
	return parse_name(copy, &e, &program, &reason);
}

/* ---- reading ------------------------------------------------------------------------ */

static void release_entry(struct series_entry *e)
{
	free(e->path);
	free(e->name);
	free(e->reason);
}

void series_release(struct series *s)
{
	for (size_t i = 0; i < s->n; i++)
		release_entry(&s->entries[i]);
	free(s->entries);
	s->entries = NULL;
	s->n = 0;
}

static int by_time(const void *a, const void *b)
{
	const struct series_entry *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return strcmp(x->path, y->path);
}

/* Room for one more; the series' capacity is the power of two from 16 on that holds it. */
static bool make_room(struct series *s)
{
	size_t cap;
	void *p;

	if (s->n && (s->n < 16 || (s->n & (s->n - 1))))
		return true;
	cap = s->n < 16 ? 16 : s->n * 2;
	p = reallocarray(s->entries, cap, sizeof(*s->entries));
	if (!p)
		return false;
	s->entries = p;
	return true;
}

/* NULL also when `file` is nothing of ours. */
static struct seep_error *add_file(struct series *s, int dirfd, const char *dir, const char *file)
{
	_cleanup_free_ char *copy = strdup(file);
	struct series_entry e = { 0 };
	char *program, *reason;
	struct stat st;

	if (!copy)
		return &seep_error_nomem;
	if (!parse_name(copy, &e, &program, &reason))
		return NULL;
	if (fstatat(dirfd, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	e.size = (uint64_t)st.st_size;
	if (asprintf(&e.path, "%s/%s", dir, file) < 0)
		e.path = NULL;
	e.name = strdup(program);
	e.reason = strdup(reason);
	if (!e.path || !e.name || !e.reason || !make_room(s)) {
		release_entry(&e);
		return &seep_error_nomem;
	}
	s->entries[s->n++] = e;
	return NULL;
}

/* With `strays`, temporaries that a killed writer left are removed. */
static struct seep_error *read_dir(int fd, const char *dir, bool strays, struct series *ret_series)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
	struct seep_error *err = NULL;
	struct series s = { 0 };
	struct dirent *d;

	if (!stream) {
		err = seep_error_new(errno, "cannot list the snapshots in %s", dir);
		if (copy >= 0)
			close(copy);
		return err;
	}
	while (!err && s.n < MAX_ENTRIES && (d = readdir(stream))) {
		if (strays && is_stray(d->d_name))
			(void)unlinkat(fd, d->d_name, 0);
		else
			err = add_file(&s, fd, dir, d->d_name);
	}
	closedir(stream);
	if (err) {
		series_release(&s);
		return err;
	}
	if (s.n)
		qsort(s.entries, s.n, sizeof(*s.entries), by_time);
	*ret_series = s;
	return NULL;
}

struct seep_error *series_open(const char *dir, struct series *ret_series)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return seep_error_hint(
			seep_error_new(errno, "cannot open the series of snapshots %s", dir),
			"It is the directory that `seep run --snaps=DIR` or `seep snap --snaps=DIR` wrote.");
	return read_dir(fd, dir, false, ret_series);
}

/* ---- pruning --------------------------------------------------------------------------- */

enum worth {
	WORTH_LITTLE, /* one among many */
	WORTH_ASKED,  /* somebody asked for it */
	WORTH_OWN,    /* the first, latest or highest of its process */
	WORTH_FIRST,  /* of the whole series, from here on */
	WORTH_LATEST,
	WORTH_HIGHEST,
};

static size_t highest(const struct series *s)
{
	size_t best = 0;

	for (size_t i = 1; i < s->n; i++)
		if (s->entries[i].inuse > s->entries[best].inuse)
			best = i;
	return best;
}

/* Reasons that a person or the program gave: series_add()'s callers use these words. */
static bool asked_for(const char *reason)
{
	return !strncmp(reason, "signal-", 7) || !strncmp(reason, "api", 3);
}

/* What an entry is to the others of its process. */
struct place {
	uint32_t index; /* of the entry */
	pid_t pid;
	uint64_t gap; /* between its neighbours on both sides */
	bool marked;  /* the first, latest or highest of its process */
};

static int by_process(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* One for each entry, process by process; NULL: out of memory. */
static struct place *places_of(const struct series *s)
{
	struct place *places = calloc(s->n, sizeof(*places));
	const struct series_entry *e = s->entries;

	if (!places)
		return NULL;
	for (size_t i = 0; i < s->n; i++)
		places[i] = (struct place){ .index = (uint32_t)i, .pid = e[i].pid };
	qsort(places, s->n, sizeof(*places), by_process);
	for (size_t i = 0, end; i < s->n; i = end) {
		size_t top = i;

		for (end = i; end < s->n && places[end].pid == places[i].pid; end++) {
			if (e[places[end].index].inuse > e[places[top].index].inuse)
				top = end;
			if (end > i && end + 1 < s->n && places[end + 1].pid == places[i].pid)
				places[end].gap = e[places[end + 1].index].time_ns -
				                  e[places[end - 1].index].time_ns;
		}
		places[i].marked = places[end - 1].marked = places[top].marked = true;
	}
	return places;
}

size_t series_victim(const struct series *s, const struct series_limits *limits, uint64_t bytes)
{
	bool too_many = limits->most && s->n > limits->most;
	bool too_large = limits->most_bytes && bytes > limits->most_bytes;
	_cleanup_free_ struct place *places = NULL;
	enum worth best_worth = WORTH_HIGHEST;
	uint64_t best_gap = UINT64_MAX;
	size_t best = s->n, top;

	if ((!too_many && !too_large) || s->n < 2)
		return s->n;
	places = places_of(s);
	if (!places)
		return s->n;
	top = highest(s);
	for (size_t k = 0; k < s->n; k++) {
		const struct place *p = &places[k];
		uint64_t gap = p->gap;
		size_t i = p->index;
		bool asked = asked_for(s->entries[i].reason);
		enum worth worth = i == top        ? WORTH_HIGHEST
		                   : i == s->n - 1 ? WORTH_LATEST
		                   : i == 0        ? WORTH_FIRST
		                   : p->marked     ? WORTH_OWN
		                   : asked         ? WORTH_ASKED
		                                   : WORTH_LITTLE;

		/* Of many processes with an entry or two each: spread over time as a whole. */
		if (worth == WORTH_OWN)
			gap = s->entries[i + 1].time_ns - s->entries[i - 1].time_ns;
		if (worth < best_worth || (worth == best_worth && gap < best_gap)) {
			best = i;
			best_worth = worth;
			best_gap = gap;
		}
	}
	/* The three that must stay are given up only for the bytes, never for a limit of one or two. */
	if (best_worth >= WORTH_FIRST && !too_large)
		return s->n;
	return best_worth == WORTH_HIGHEST ? s->n : best;
}

static void prune(struct series_writer *w)
{
	size_t i;

	while ((i = series_victim(&w->series, &w->limits, w->bytes)) < w->series.n) {
		struct series_entry *e = &w->series.entries[i];

		/* When it cannot be removed it must not be tried for ever: it is forgotten. */
		(void)unlinkat(w->fd, strrchr(e->path, '/') + 1, 0);
		w->bytes -= e->size < w->bytes ? e->size : w->bytes;
		release_entry(e);
		memmove(e, e + 1, (w->series.n - i - 1) * sizeof(*e));
		w->series.n--;
		w->pruned++;
	}
}

/* ---- writing ---------------------------------------------------------------------------- */

static struct seep_error *lock_dir(const char *dir, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		return seep_error_hint(
			seep_error_new(errno, "cannot make the directory %s for snapshots", dir),
			"Choose another one with --snaps=DIR.");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return seep_error_hint(seep_error_new(errno, "cannot keep snapshots in %s", dir),
		                       "Choose another directory with --snaps=DIR.");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return seep_error_hint(
			seep_error_new(0, "another seep is writing snapshots to %s", dir),
			"A series has one writer: choose another directory with --snaps=DIR.");
	if (faccessat(fd, ".", W_OK, AT_EACCESS) < 0)
		return seep_error_hint(seep_error_new(errno, "cannot write snapshots to %s", dir),
		                       "Choose another directory with --snaps=DIR.");
	*ret_fd = TAKE_FD(fd);
	return NULL;
}

struct seep_error *series_begin(const char *dir, const struct series_limits *limits,
                                struct series_writer *ret_writer)
{
	_cleanup_free_ char *copy = strdup(dir);
	struct series_writer w = { .fd = -1, .limits = *limits, .next_seq = 1 };
	struct seep_error *err = copy ? lock_dir(dir, &w.fd) : &seep_error_nomem;

	if (err)
		return err;
	w.dir = TAKE(copy);
	err = read_dir(w.fd, dir, true, &w.series);
	if (err) {
		series_end(&w);
		return err;
	}
	if (w.series.n > MOST_WRITTEN) {
		series_end(&w);
		return seep_error_hint(seep_error_new(0, "%s holds more than %u snapshots already",
		                                      dir, MOST_WRITTEN),
		                       "Choose another directory with --snaps=DIR.");
	}
	for (size_t i = 0; i < w.series.n; i++) {
		w.bytes += w.series.entries[i].size;
		if (w.series.entries[i].seq >= w.next_seq)
			w.next_seq = w.series.entries[i].seq + 1;
	}
	prune(&w);
	*ret_writer = w;
	return NULL;
}

struct seep_error *series_add(struct series_writer *w, const struct profile *p, uint64_t time_ns,
                              const char *reason, char **ret_path)
{
	uint64_t inuse = profile_totals_of(p, PROF_MEMORY).inuse.bytes;
	_cleanup_free_ char *name = file_name(w, p, time_ns, inuse, reason);
	_cleanup_free_ char *path = NULL, *told = NULL;
	struct seep_error *err;
	size_t before = w->series.n;

	if (!name)
		return &seep_error_nomem;
	if (asprintf(&path, "%s/%s", w->dir, name) < 0)
		path = NULL;
	told = path ? strdup(path) : NULL;
	if (!path || !told)
		return &seep_error_nomem;
	err = snapshot_write(p, path);
	if (err)
		return err;
	w->next_seq++;
	err = add_file(&w->series, w->fd, w->dir, name);
	if (err)
		return err;
	if (w->series.n > before) {
		w->bytes += w->series.entries[before].size;
		/* The clock may have been set back: the order is by time all the same. */
		qsort(w->series.entries, w->series.n, sizeof(*w->series.entries), by_time);
		prune(w);
	}
	if (ret_path)
		*ret_path = TAKE(told);
	return NULL;
}

void series_end(struct series_writer *w)
{
	if (!w->dir)
		return;
	series_release(&w->series);
	free(TAKE(w->dir));
	close(TAKE_FD(w->fd));
}
