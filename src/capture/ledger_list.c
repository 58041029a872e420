/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ledgers there are.
 *
 *     /dev/shm/seep-UID/PID.EXECSEQ.ledger              preloaded by hand
 *     /dev/shm/seep-UID/run-PID.XXXXXX/PID.EXECSEQ.ledger    by `seep run`
 *
 * The names are only a habit: what counts is the header of each file.  For one
 * user that is their own directory; root sees everybody's.  A directory that does
 * not belong to the user it is named after was put there by somebody else and is
 * passed over, and links are never followed.
 */
#include "capture/capture.h"
#include "capture/ledger_file.h"
#include "capture/process.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STANDARD_PLACE "/dev/shm"
#define PLACE_PREFIX "seep-"
#define SUFFIX ".ledger"
#define MAX_LEDGERS 65536u /* a directory full of junk must end somewhere */

struct listing {
	struct ledger_entry *entries;
	size_t n, cap;
};

int ledger_file_totals(const struct ledger_file *f, struct ledger_totals *ret_totals)
{
	uint64_t alloc_count = 0, free_count = 0, free_bytes = 0, end, at = 0, len;
	struct ledger_class c[LEDGER_SIZE_CLASSES];
	struct ledger_totals t = { 0 };
	int r;

	end = f->h.nshards * sizeof(c);
	while ((len = ledger_file_next(f, LEDGER_CLASSES, &at, end, sizeof(c))) != 0) {
		at -= at % sizeof(c);
		r = ledger_file_read(f, LEDGER_CLASSES, at, c, sizeof(c));
		if (r < 0)
			return r;
		for (unsigned int i = 0; i < LEDGER_SIZE_CLASSES; i++) {
			alloc_count += c[i].alloc_count;
			t.alloc_bytes += c[i].alloc_bytes;
			free_count += c[i].free_count;
			free_bytes += c[i].free_bytes;
		}
		at += sizeof(c);
	}
	t.alloc_blocks = alloc_count >> LEDGER_COUNT_SHIFT;
	t.inuse_blocks = alloc_count > free_count ? (alloc_count - free_count) >> LEDGER_COUNT_SHIFT
	                                          : 0;
	t.inuse_bytes = t.alloc_bytes > free_bytes ? t.alloc_bytes - free_bytes : 0;
	*ret_totals = t;
	return 0;
}

/* Printable, so that a hostile name cannot play with the terminal of `seep ps`. */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t i = 0;

	for (; from[i] && i + 1 < size; i++)
		to[i] = (unsigned char)from[i] < 32 || from[i] == 127 ? '?' : from[i];
	to[i] = '\0';
}

static struct seep_error *fill_entry(struct ledger_file *f, struct ledger_entry *ret_entry)
{
	const struct ledger_header *h = &f->h;
	struct ledger_entry e = { 0 };
	enum writer_state writer = writer_state(h, &f->st);
	const char *slash = strrchr(h->exe, '/');
	struct ledger_totals t;
	struct timespec now = { 0 };

	e.path = strdup(f->path);
	if (!e.path)
		return &seep_error_nomem;
	e.pid = h->pid;
	e.exec_seq = h->exec_seq;
	e.state = h->state;
	e.alive = writer == WRITER_RUNNING;
	e.execed = !e.alive && (writer == WRITER_LEFT || h->state == LEDGER_EXECED);
	e.mode = h->mode;
	e.inactive = !h->control.active;
	e.period = h->mode == LEDGER_SAMPLED ? h->control.period : 0;
	e.ledger_bytes = (uint64_t)f->st.st_blocks * 512;
	e.start_real_ns = h->start_real_ns;
	e.uid = h->uid;
	e.start_ticks = h->start_ticks;
	e.attached = h->flags & LEDGER_F_ATTACHED;
	e.nsites = h->nsites;
	copy_text(e.command, sizeof(e.command), h->command);
	copy_text(e.allocator, sizeof(e.allocator), h->allocator);
	copy_text(e.name, sizeof(e.name), slash ? slash + 1 : h->exe);
	if (!ledger_file_totals(f, &t)) {
		e.inuse_bytes = t.inuse_bytes;
		e.alloc_bytes = t.alloc_bytes;
		e.inuse_blocks = t.inuse_blocks;
		e.alloc_blocks = t.alloc_blocks;
	}
	if (e.alive)
		clock_gettime(CLOCK_MONOTONIC, &now);
	e.duration_ns = e.alive ? (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec
	                        : h->end_mono_ns;
	e.duration_ns = e.duration_ns > h->start_mono_ns ? e.duration_ns - h->start_mono_ns : 0;
	*ret_entry = e;
	return NULL;
}

struct seep_error *ledger_entry_read(const char *path, struct ledger_entry *ret_entry)
{
	struct ledger_file f;
	struct seep_error *err = ledger_file_open(path, &f);

	if (err)
		return err;
	err = fill_entry(&f, ret_entry);
	ledger_file_close(&f);
	return err;
}

void ledger_entry_release(struct ledger_entry *entry)
{
	free(TAKE(entry->path));
}

static bool has_suffix(const char *name)
{
	size_t n = strlen(name);

	return n > strlen(SUFFIX) && !strcmp(name + n - strlen(SUFFIX), SUFFIX);
}

static struct seep_error *add_file(struct listing *l, int dirfd, const char *dir, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct seep_error *err;
	struct ledger_file f;
	int fd;

	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return &seep_error_nomem;
	}
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
	if (fd < 0)
		return NULL;
	err = ledger_file_fdopen(fd, path, &f);
	if (err) { /* something else, or not ready yet */
		seep_error_free(err);
		return NULL;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct ledger_entry *p = reallocarray(l->entries, cap, sizeof(*p));

		if (!p) {
			ledger_file_close(&f);
			return &seep_error_nomem;
		}
		l->entries = p;
		l->cap = cap;
	}
	err = fill_entry(&f, &l->entries[l->n]);
	if (!err)
		l->n++;
	ledger_file_close(&f);
	return err;
}

/* The ledgers of a directory and, `depth` times, of the directories in it.  Takes fd over. */
static struct seep_error *add_dir(struct listing *l, int fd, const char *dir, int depth)
{
	struct seep_error *err = NULL;
	struct dirent *d;
	DIR *stream = fdopendir(fd);

	if (!stream) {
		close(fd);
		return NULL;
	}
	while (!err && l->n < MAX_LEDGERS && (d = readdir(stream))) {
		_cleanup_free_ char *sub = NULL;
		int subfd;

		if (d->d_name[0] == '.')
			continue;
		if (has_suffix(d->d_name)) {
			err = add_file(l, dirfd(stream), dir, d->d_name);
			continue;
		}
		if (!depth || (d->d_type != DT_DIR && d->d_type != DT_UNKNOWN))
			continue;
		subfd = openat(dirfd(stream), d->d_name,
		               O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (subfd < 0)
			continue;
		if (asprintf(&sub, "%s/%s", dir, d->d_name) < 0) {
			sub = NULL;
			close(subfd);
			err = &seep_error_nomem;
			break;
		}
		err = add_dir(l, subfd, sub, depth - 1);
	}
	closedir(stream);
	return err;
}

/* Every user's directory that we may read and that is really theirs. */
static struct seep_error *add_standard(struct listing *l)
{
	DIR *stream = opendir(STANDARD_PLACE);
	struct seep_error *err = NULL;
	struct dirent *d;

	if (!stream)
		return NULL;
	while (!err && (d = readdir(stream))) {
		_cleanup_free_ char *dir = NULL;
		struct stat st;
		uint64_t uid;
		int fd;

		if (strncmp(d->d_name, PLACE_PREFIX, strlen(PLACE_PREFIX)) != 0 ||
		    parse_u64(d->d_name + strlen(PLACE_PREFIX), &uid) < 0)
			continue;
		fd = openat(dirfd(stream), d->d_name,
		            O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) < 0 || st.st_uid != uid) {
			close(fd);
			continue;
		}
		if (asprintf(&dir, "%s/%s", STANDARD_PLACE, d->d_name) < 0) {
			dir = NULL;
			close(fd);
			err = &seep_error_nomem;
			break;
		}
		err = add_dir(l, fd, dir, 1);
	}
	closedir(stream);
	return err;
}

static int by_start(const void *a, const void *b)
{
	const struct ledger_entry *x = a, *y = b;

	if (x->start_real_ns != y->start_real_ns)
		return x->start_real_ns < y->start_real_ns ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (x->exec_seq > y->exec_seq) - (x->exec_seq < y->exec_seq);
}

struct seep_error *ledger_list(const char *dir, struct ledger_entry **ret_entries, size_t *ret_n)
{
	struct listing l = { 0 };
	struct seep_error *err;

	if (dir) {
		int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return seep_error_new(errno, "cannot list the ledgers in %s", dir);
		err = add_dir(&l, fd, dir, 1);
	} else {
		err = add_standard(&l);
	}
	if (err) {
		ledger_list_free(l.entries, l.n);
		return err;
	}
	if (l.n)
		qsort(l.entries, l.n, sizeof(*l.entries), by_start);
	*ret_entries = l.entries;
	*ret_n = l.n;
	return NULL;
}

void ledger_list_free(struct ledger_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ledger_entry_release(&entries[i]);
	free(entries);
}
