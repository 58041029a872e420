/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Source: a file's lines, and what each of them holds.
 *
 * Only files that a stack of the view names are shown: the names come from debug information, so whoever may make a process
 * may make names.  Therefore also: only regular files, of at most SOURCE_MOST bytes, that are text; and not below /proc, /sys and
 * /dev, where reading has effects or tells what no source is.
 */
#include "server/api_view.h"
#include "server/jsonw.h"
#include "server/look.h"
#include "server/private.h"
#include "server/stacks.h"

#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_MOST (4u << 20)

struct hot_line {
	uint32_t line;
	struct leaf_value self, total;
};

struct hot_lines {
	struct hot_line *items;
	size_t n, cap;
	uint64_t newest; /* mtime of the modules that have the file, ns; 0: not known */
	bool named;
};

static struct hot_line *hot_line(struct hot_lines *h, uint32_t line)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->items[i].line == line)
			return &h->items[i];
	if (array_grow((void **)&h->items, h->n, &h->cap, sizeof(*h->items)) < 0)
		return NULL;
	h->items[h->n] = (struct hot_line){ .line = line };
	return &h->items[h->n++];
}

static void add(struct leaf_value *to, const struct leaf_value *v)
{
	to->value = prof_add(to->value, v->value);
	to->base = prof_add(to->base, v->base);
}

/* A line that is several times in one stack counts once. */
static void add_stack(const struct view *v, const char *file, uint32_t node,
                      const struct leaf_value *value, struct hot_lines *h)
{
	uint32_t seen[64];
	size_t nseen = 0;

	for (uint32_t n = node; n; n = v->nodes[n].parent) {
		const struct view_location *l = &v->locations[v->nodes[n].location];
		struct hot_line *at;
		bool again = false;

		if (!l->file || !l->line || strcmp(l->file, file) != 0)
			continue;
		at = hot_line(h, l->line);
		if (!at)
			return;
		if (n == node)
			add(&at->self, value);
		for (size_t i = 0; i < nseen; i++)
			again |= seen[i] == l->line;
		if (again)
			continue;
		add(&at->total, value);
		if (nseen < ARRAY_SIZE(seen))
			seen[nseen++] = l->line;
	}
}

static int by_line(const void *a, const void *b)
{
	const struct hot_line *x = a, *y = b;

	return x->line < y->line ? -1 : x->line > y->line;
}

static void find_hot(const struct view *v, const struct leaf_value *values, const char *file,
                     struct hot_lines *h)
{
	for (size_t i = 0; i < v->nlocations; i++) {
		const struct view_location *l = &v->locations[i];

		if (!l->file || strcmp(l->file, file) != 0)
			continue;
		h->named = true;
		if (l->module != PROF_NO_MODULE &&
		    v->profile->modules[l->module].mtime_ns > h->newest)
			h->newest = v->profile->modules[l->module].mtime_ns;
	}
	for (size_t i = 1; h->named && i < v->nnodes; i++)
		if (values[i].value || values[i].base)
			add_stack(v, file, (uint32_t)i, &values[i], h);
	if (h->n)
		qsort(h->items, h->n, sizeof(*h->items), by_line);
}

/* NULL: read; else why not. */
static const char *read_source(const char *file, struct buf *text, struct stat *st)
{
	static const char *const elsewhere[] = { "/proc/", "/sys/", "/dev/" };
	char real[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (*file != '/' || !realpath(file, real))
		return "The file is not on this machine.";
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
		if (!strncmp(real, elsewhere[i], strlen(elsewhere[i])))
			return "That is no file of source.";
	fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, st) < 0)
		return errno == EACCES ? "The server's user may not read the file."
		                       : "The file cannot be read.";
	if (!S_ISREG(st->st_mode) || st->st_size > SOURCE_MOST)
		return "That is no file of source.";
	while (text->len <= SOURCE_MOST) {
		char chunk[16384];
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_add(text, chunk, (size_t)n);
	}
	return text->len && memchr(text->data, 0, text->len) ? "That is no text." : NULL;
}

static void put_hot(struct jsonw *j, const struct hot_lines *h, bool diff)
{
	static const char *const keys[] = { "self", "total", "self_base", "total_base" };
	_cleanup_free_ uint64_t *column = calloc(h->n + 1, sizeof(*column));

	if (!column) {
		j->out->failed = true;
		return;
	}
	jw_object(j, "hot");
	for (size_t i = 0; i < h->n; i++)
		column[i] = h->items[i].line;
	jw_column_u64(j, "line", column, h->n);
	for (size_t c = 0; c < ARRAY_SIZE(keys); c++) {
		for (size_t i = 0; i < h->n; i++) {
			const struct leaf_value *v = c % 2 ? &h->items[i].total : &h->items[i].self;

			column[i] = c < 2 ? v->value : v->base;
		}
		if (c < 2 || diff)
			jw_column_u64(j, keys[c], column, h->n);
		else
			jw_null(j, keys[c]);
	}
	jw_object_end(j);
}

static size_t count_lines(const struct buf *text)
{
	size_t n = 0;

	for (size_t i = 0; i < text->len; i++)
		n += text->data[i] == '\n';
	return n + (text->len && text->data[text->len - 1] != '\n');
}

static void put_lines(struct jsonw *j, struct buf *text, int64_t line, int64_t around)
{
	char *rest = text->data, *at;
	int64_t n = 1, first = line && around >= 0 && line > around ? line - around : 1;

	jw_int(j, "first", first);
	jw_u64(j, "total_lines", count_lines(text));
	jw_array(j, "lines");
	for (; rest && *rest && (at = strsep(&rest, "\n")); n++) {
		if (n < first)
			continue;
		if (line && around >= 0 && n > line + around)
			break;
		at[strcspn(at, "\r")] = '\0';
		jw_string(j, NULL, at);
	}
	jw_array_end(j);
}

void view_source(const struct look *l, const struct request *q, struct jsonw *j, struct reply *r)
{
	const char *file = request_param(q, "file"), *why;
	_cleanup_free_ struct leaf_value *values = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	struct hot_lines h = { 0 };
	struct stat st = { 0 };
	int64_t line = 0, around = -1;
	struct seep_error *err;

	if (!file) {
		reply_bad_param(r, "file", "a file, as frames name it");
		return;
	}
	if (!request_int(q, "line", 1, INT32_MAX, &line, r) ||
	    !request_int(q, "around", 0, INT32_MAX, &around, r))
		return;
	err = stacks_values(l, &values);
	if (err) {
		reply_fail(r, err);
		return;
	}
	find_hot(l->v, values, file, &h);
	if (!h.named) {
		reply_error(r, 404, "no_source", NULL, "no stack of this view names that file");
		free(h.items);
		return;
	}
	why = read_source(file, &text, &st);
	if (why)
		buf_reset(&text);
	jw_object(j, NULL);
	look_put_about(l, j);
	jw_string(j, "file", file);
	jw_bool(j, "readable", !why);
	jw_string(j, "why_not", why);
	put_lines(j, &text, line, around);
	jw_bool(j, "changed",
	        !why && h.newest && (uint64_t)st.st_mtim.tv_sec > h.newest / 1000000000u);
	put_hot(j, &h, l->shows_diff);
	jw_object_end(j);
	free(h.items);
}
