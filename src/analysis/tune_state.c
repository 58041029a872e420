/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What parameters were before seep changed them: a small file in the ledger directory, readable by its owner only.
 *
 *     tune-PID-STARTTIME
 *     seep tune 1
 *     glibc trim_threshold 131072 0
 *
 * The start time tells processes apart that have had the same number.  The file is replaced as a whole, so there is always
 * a complete one; links are not followed, and what makes no sense in it is an error rather than a guess.
 */
#include "analysis/tune_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/launch.h"
#include "capture/process.h"

#define FIRST_LINE "seep tune 1\n"
#define FILE_MAX 65536

static void remove_stale(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		unsigned long long start;
		uint64_t now, threads;
		int pid, end = 0, r;
		char state;

		if (sscanf(e->d_name, "tune-%d-%llu%n", &pid, &start, &end) != 2 || e->d_name[end])
			continue;
		r = process_stat(pid, &now, &state, &threads);
		if (r == -ENOENT || r == -ESRCH || (!r && now != start))
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
}

static struct seep_error *parse(struct tune_state *s, char *text)
{
	char *line = text + strlen(FIRST_LINE);

	if (strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
		return seep_error_new(0, "%s is not of seep tune", s->path);
	for (char *end; (end = strchr(line, '\n')); line = end + 1) {
		struct tune_kept k = { 0 };
		unsigned long long number;
		int used = 0;

		*end = '\0';
		if (sscanf(line, "%31s %31s %llu %lf%n", k.allocator, k.name, &number, &k.real,
		           &used) != 4 ||
		    line[used])
			return seep_error_new(0, "%s is damaged", s->path);
		k.number = number;
		{
			struct seep_error *err = tune_state_add(s, &k);

			if (err)
				return err;
		}
	}
	return *line ? seep_error_new(0, "%s is damaged", s->path) : NULL;
}

struct seep_error *tune_state_read(pid_t pid, struct tune_state *ret)
{
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct buf text = { 0 };
	struct seep_error *err = launch_base(&dir);
	struct stat st;
	uint64_t start, threads;
	char state;
	int r;

	*ret = (struct tune_state){ 0 };
	if (err)
		return err;
	r = process_stat(pid, &start, &state, &threads);
	if (r < 0)
		return seep_error_new(-r, "cannot look at process %d", (int)pid);
	remove_stale(dir);
	if (asprintf(&ret->path, "%s/tune-%d-%llu", dir, (int)pid, (unsigned long long)start) < 0) {
		ret->path = NULL;
		return &seep_error_nomem;
	}
	fd = open(ret->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? NULL : seep_error_new(errno, "cannot read %s", ret->path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_size > FILE_MAX)
		return seep_error_new(0, "%s is not of seep tune", ret->path);
	for (;;) {
		char piece[4096];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n < 0)
			return seep_error_new(errno, "cannot read %s", ret->path);
		if (!n || text.len > FILE_MAX)
			break;
		if (buf_add(&text, piece, (size_t)n) < 0)
			return &seep_error_nomem;
	}
	return parse(ret, text.data ? text.data : (char[]){ "" });
}

bool tune_state_has(const struct tune_state *s, const char *allocator, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->items[i].allocator, allocator) && !strcmp(s->items[i].name, name))
			return true;
	return false;
}

struct seep_error *tune_state_add(struct tune_state *s, const struct tune_kept *k)
{
	struct tune_kept *grown;

	if (tune_state_has(s, k->allocator, k->name))
		return NULL;
	grown = realloc(s->items, (s->n + 1) * sizeof(*grown));
	if (!grown)
		return &seep_error_nomem;
	s->items = grown;
	grown[s->n++] = *k;
	return NULL;
}

struct seep_error *tune_state_write(const struct tune_state *s)
{
	_cleanup_buf_ struct buf text = { 0 };
	_cleanup_free_ char *fresh = NULL;
	_cleanup_close_ int fd = -1;

	if (!s->n) {
		if (unlink(s->path) && errno != ENOENT)
			return seep_error_new(errno, "cannot remove %s", s->path);
		return NULL;
	}
	buf_puts(&text, FIRST_LINE);
	for (size_t i = 0; i < s->n; i++)
		buf_printf(&text, "%s %s %llu %.17g\n", s->items[i].allocator, s->items[i].name,
		           (unsigned long long)s->items[i].number, s->items[i].real);
	if (text.failed || asprintf(&fresh, "%s.XXXXXX", s->path) < 0)
		return &seep_error_nomem;
	fd = mkostemp(fresh, O_CLOEXEC); /* mode 0600 */
	if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len || rename(fresh, s->path)) {
		struct seep_error *err =
			seep_error_new(errno, "cannot keep what was before in %s", s->path);

		if (fd >= 0)
			unlink(fresh);
		return err;
	}
	return NULL;
}

void tune_state_release(struct tune_state *s)
{
	free(s->path);
	free(s->items);
	*s = (struct tune_state){ 0 };
}
