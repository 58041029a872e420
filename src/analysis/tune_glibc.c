/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glibc's malloc parameters, as words of mp_.
 *
 * mallopt() does little else than write them; what it does besides (no_dyn_threshold) is done here too.  They are
 * written while the process stands, so that no thread reads half a word, and read again before it goes on.
 */
#include "analysis/tune_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "heap/heap.h"
#include "proc/image.h"

enum place { AT, AT_NO_DYN, AT_MMAP_MAX, AT_TCACHE };

static const struct param {
	const char *name;
	enum tune_unit unit;
	enum place place;
	uint32_t at;
	uint64_t standard;
	uint64_t most;
	bool fixes; /* setting it ends the thresholds' rising by themselves, as mallopt() does */
	const char *variable;
	const char *meaning;
} params[] = {
	{ "trim_threshold", TUNE_BYTES, AT, 0, 128 << 10, UINT64_MAX, true,
	  "MALLOC_TRIM_THRESHOLD_", "free memory at an arena's end above which it is given back" },
	{ "mmap_threshold", TUNE_BYTES, AT, 16, 128 << 10, 32 << 20, true, "MALLOC_MMAP_THRESHOLD_",
	  "blocks from this size on are mappings of their own, given back when freed" },
	{ "dyn_threshold", TUNE_SWITCH, AT_NO_DYN, 0, 1, 1, false, NULL,
	  "whether freeing a mapped block raises both thresholds" },
	{ "top_pad", TUNE_BYTES, AT, 8, 128 << 10, 1ull << 40, true, "MALLOC_TOP_PAD_",
	  "what is asked for, and kept, beyond what is needed" },
	{ "mmap_max", TUNE_COUNT, AT_MMAP_MAX, 0, 65536, INT32_MAX, true, "MALLOC_MMAP_MAX_",
	  "mapped blocks there may be at most" },
	{ "arena_max", TUNE_COUNT, AT, 32, 0, 1 << 20, false, "MALLOC_ARENA_MAX",
	  "arenas there may be at most; 0: 8 for each processor" },
	{ "arena_test", TUNE_COUNT, AT, 24, 8, 1 << 20, false, "MALLOC_ARENA_TEST",
	  "arenas from which on the number of processors sets a limit" },
	{ "tcache_count", TUNE_COUNT, AT_TCACHE, 0, 7, UINT16_MAX, false, NULL,
	  "blocks of a size that a thread's cache keeps" },
};

static const struct param *param_of(const struct tune_row *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		if (!strcmp(r->name, params[i].name))
			return &params[i];
	return NULL;
}

/* Offset in mp_ and bytes; 0 bytes: this glibc has none. */
static uint32_t place_of(const struct heap_params *hp, const struct param *p, uint32_t *ret_at)
{
	switch (p->place) {
	case AT:
		*ret_at = p->at;
		return 8;
	case AT_NO_DYN:
		*ret_at = hp->no_dyn_threshold_at;
		return 4;
	case AT_MMAP_MAX: /* n_mmaps, n_mmaps_max, max_n_mmaps, no_dyn_threshold */
		*ret_at = hp->no_dyn_threshold_at - 8;
		return 4;
	case AT_TCACHE:
		*ret_at = hp->tcache_count_at;
		return hp->tcache_count_at ? 8 : 0;
	}
	return 0;
}

static bool read_param(const struct image *img, const struct heap_params *hp, const struct param *p,
                       uint64_t *ret)
{
	uint64_t v = 0;
	uint32_t at = 0, n = place_of(hp, p, &at);

	if (!n || at + n > hp->size || !image_read_all(img, hp->address + at, &v, n))
		return false;
	*ret = p->place == AT_NO_DYN ? !v : v;
	return true;
}

/* The process, standing, and where its mp_ is; *ret_heap NULL: it has no glibc. */
static struct seep_error *open_standing(struct tune *t, struct image **ret_img,
                                        struct heap **ret_heap)
{
	const struct heap_options o = { .params_only = true };
	_cleanup_image_ struct image *img = NULL;
	struct seep_error *err = image_open_process(t->pid, NULL, &img);

	if (!err)
		err = heap_walk_with(img, &o, ret_heap);
	if (err)
		return err;
	if (!t->exe)
		t->exe = strdup(img->exe);
	*ret_img = TAKE(img);
	return NULL;
}

static void explain(struct tune *t, const struct param *p, struct tune_row *r)
{
	int n = 0;

	if (!strcmp(p->name, "arena_max") && t->narenas > 8)
		n = asprintf(&r->note,
		             "has no effect in this process any more: there are %llu arenas, and the "
		             "limit was settled at the ninth",
		             (unsigned long long)t->narenas);
	else if (!strcmp(p->name, "tcache_count") && strstr(t->layout, "2.35-2.42"))
		n = asprintf(&r->note,
		             "with glibc 2.42, threads that have a cache keep their limit");
	else if (!strcmp(p->name, "trim_threshold") && r->now.number > 128 << 10)
		n = asprintf(&r->note, "free ends of arenas up to this size stay in memory");
	if (n < 0)
		r->note = NULL;
}

static struct seep_error *add_rows(struct tune *t, const struct image *img, const struct heap *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		const struct param *p = &params[i];
		struct tune_row *r;
		uint64_t v;

		if (!read_param(img, &h->params, p, &v))
			continue;
		r = tune_add_row(t);
		if (!r)
			return &seep_error_nomem;
		snprintf(r->allocator, sizeof(r->allocator), "glibc");
		r->name = p->name;
		r->unit = p->unit;
		r->meaning = p->meaning;
		r->now = (struct tune_value){ .known = true, .number = v };
		r->standard = (struct tune_value){ .known = true, .number = p->standard };
		if (p->place == AT_TCACHE && strstr(h->layout, "2.43"))
			r->standard.number = 16;
		explain(t, p, r);
	}
	return NULL;
}

struct seep_error *tune_glibc_read(struct tune *t)
{
	_cleanup_image_ struct image *img = NULL;
	_cleanup_heap_ struct heap *h = NULL;
	struct seep_error *err = open_standing(t, &img, &h), *late;

	if (err)
		return err;
	if (!strcmp(h->allocator, "glibc")) {
		snprintf(t->layout, sizeof(t->layout), "%s", h->layout);
		t->narenas = h->narenas;
		if (h->params.address)
			err = add_rows(t, img, h);
		else
			tune_note(t, "glibc's parameters were not found in this process");
	}
	late = image_resume(img);
	t->stopped_ns += img->stopped_ns;
	if (err)
		seep_error_free(late);
	return err ? err : late;
}

struct seep_error *tune_glibc_check(const struct tune *t, const struct tune_order *o)
{
	const struct param *p = param_of(o->row);
	uint64_t most = p ? p->most : 0;

	/* Up to 2.29 the caches count in single bytes. */
	if (p && p->place == AT_TCACHE && strstr(t->layout, "2.26-2.34"))
		most = INT8_MAX;
	if (p && o->value.number <= most)
		return NULL;
	return seep_error_new(0, "%s may be %llu at most", o->row->name, (unsigned long long)most);
}

struct write {
	int fd;
	const struct image *img;
	const struct heap_params *hp;
};

static struct seep_error *write_param(const struct write *w, const struct param *p, uint64_t v)
{
	uint64_t raw = p->place == AT_NO_DYN ? !v : v, back;
	uint32_t at = 0, n = place_of(w->hp, p, &at);

	if (pwrite(w->fd, &raw, n, (off_t)(w->hp->address + at)) != (ssize_t)n)
		return seep_error_new(errno, "%s cannot be written", p->name);
	if (!read_param(w->img, w->hp, p, &back) || back != v)
		return seep_error_new(0, "%s is not what was written", p->name);
	return NULL;
}

static const struct param *no_dyn(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		if (params[i].place == AT_NO_DYN)
			return &params[i];
	return NULL;
}

/* The switch last, and only what was asked for: a wish for it wins over what others imply. */
static struct seep_error *write_all(const struct write *w, const struct tune_order *orders, size_t n)
{
	struct seep_error *err = NULL;
	bool fixes = false;

	for (size_t i = 0; i < n && !err; i++) {
		const struct param *p = param_of(orders[i].row);

		if (strcmp(orders[i].row->allocator, "glibc") != 0 || p->place == AT_NO_DYN)
			continue;
		err = write_param(w, p, orders[i].value.number);
		fixes = fixes || p->fixes;
	}
	if (!err && fixes)
		err = write_param(w, no_dyn(), 0);
	for (size_t i = 0; i < n && !err; i++)
		if (!strcmp(orders[i].row->allocator, "glibc") &&
		    param_of(orders[i].row)->place == AT_NO_DYN)
			err = write_param(w, no_dyn(), orders[i].value.number);
	return err;
}

struct seep_error *tune_glibc_write(struct tune *t, const struct tune_order *orders, size_t n)
{
	_cleanup_image_ struct image *img = NULL;
	_cleanup_heap_ struct heap *h = NULL;
	_cleanup_close_ int fd = -1;
	struct seep_error *err, *late;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return seep_error_new(errno, "the memory of process %d cannot be written",
		                      (int)t->pid);
	err = open_standing(t, &img, &h);
	if (err)
		return err;
	if (!h->params.address)
		err = seep_error_new(0, "glibc's parameters are not where they were");
	else
		err = write_all(&(struct write){ fd, img, &h->params }, orders, n);
	late = image_resume(img);
	t->stopped_ns += img->stopped_ns;
	if (err)
		seep_error_free(late);
	return err ? err : late;
}

void tune_glibc_environment(struct tune *t)
{
	bool tunables = t->layout[0] && !strstr(t->layout, "2.17") && !strstr(t->layout, "2.24");
	_cleanup_buf_ struct buf line = { 0 };

	if (tunables)
		buf_puts(&line, "GLIBC_TUNABLES=");
	for (size_t i = 0, n = 0; i < t->nrows; i++) {
		const struct tune_row *r = &t->rows[i];
		const struct param *p = strcmp(r->allocator, "glibc") ? NULL : param_of(r);

		if (!r->changed || !p || p->place == AT_NO_DYN || (!tunables && !p->variable))
			continue;
		if (tunables)
			buf_printf(&line, "%sglibc.malloc.%s=%llu", n++ ? ":" : "", p->name,
			           (unsigned long long)r->now.number);
		else
			buf_printf(&line, "%s%s=%llu", n++ ? " " : "", p->variable,
			           (unsigned long long)r->now.number);
	}
	if (!line.failed && line.len && line.data[line.len - 1] != '=')
		tune_environment(t, line.data);
}
