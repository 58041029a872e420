/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Baselines: the leaks a project knows of and has decided to live with for now, as a text file that is
 * kept beside its sources.  A line is a fingerprint; what follows is for the people who review changes of
 * that file, and not read.
 *
 *     # seep baseline 1
 *     3f0c9a5be2d17788  definite  open_session (libapp.so) < serve (app) < main (app)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/leaks.h"
#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/tracker_name.h"
#include "profile/profile.h"

#define HEADER                                                                                    \
	"# seep baseline 1: leaks that are known, a fingerprint a line.  Checks with --baseline " \
	"fail\n# only on others.\n"
#define DIGITS 16
#define SHOWN_FRAMES 4
#define MAX_FILE (64u << 20)

static bool parse_fingerprint(const char *s, size_t len, uint64_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < DIGITS; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = i < len && s[i] ? strchr(digits, s[i]) : NULL;

		if (!digit)
			return false;
		*ret = *ret << 4 | (uint64_t)(digit - digits);
	}
	return len == DIGITS || s[DIGITS] == ' ' || s[DIGITS] == '\t' || s[DIGITS] == '\r';
}

static bool is_in(const struct idmap *set, uint64_t fingerprint)
{
	size_t pos = idmap_first(set, fingerprint);
	uint32_t id;

	return idmap_get(set, &pos, fingerprint, &id);
}

static struct seep_error *read_set(struct idmap *set, const char *text, size_t size,
                                   const char *path)
{
	const char *at = text, *end = text + size;
	uint64_t fingerprint;

	for (size_t line = 1; at < end; line++) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		const char *last = eol ? eol : end;

		while (at < last && (*at == ' ' || *at == '\t' || *at == '\r'))
			at++;
		if (at < last && *at != '#') {
			if (!parse_fingerprint(at, (size_t)(last - at), &fingerprint))
				return seep_error_hint(
					seep_error_new(
						0, "%s:%zu: expected a fingerprint of 16 hex digits",
						path, line),
					"Baselines are written by --write-baseline=FILE.");
			if (!is_in(set, fingerprint) && idmap_add(set, fingerprint, 0) < 0)
				return &seep_error_nomem;
		}
		at = eol ? eol + 1 : end;
	}
	return NULL;
}

struct seep_error *leaks_baseline_read(struct leaks *l, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_idmap_ struct idmap set = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	char chunk[65536];
	struct seep_error *err;
	size_t n;

	if (!f)
		return seep_error_new(errno, "cannot open the baseline %s", path);
	while ((n = fread(chunk, 1, sizeof(chunk), f))) {
		if (buf_add(&text, chunk, n) < 0)
			return &seep_error_nomem;
		if (text.len > MAX_FILE)
			return seep_error_new(0, "%s is no baseline: it has more than %u MiB", path,
			                      MAX_FILE >> 20);
	}
	if (ferror(f))
		return seep_error_new(errno, "cannot read the baseline %s", path);
	err = text.len ? read_set(&set, text.data, text.len, path) : NULL;
	if (err)
		return err;
	for (size_t i = 0; i < l->n; i++) {
		uint64_t fingerprint;

		if (parse_fingerprint(l->records[i].fingerprint, DIGITS, &fingerprint))
			l->records[i].known = is_in(&set, fingerprint);
	}
	return NULL;
}

/* ---- writing -------------------------------------------------------------------------- */

/* A name from the target: nothing that would end the line. */
static void put_clean(struct buf *out, const char *s)
{
	for (; *s; s++)
		buf_putc(out, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void put_stack(struct buf *out, const struct profile *p, uint32_t leaf)
{
	unsigned int shown = 0;

	for (uint32_t i = leaf; i && shown < SHOWN_FRAMES; i = p->frames[i].parent) {
		const struct prof_frame *f = &p->frames[i];
		const struct prof_symbol *s = &p->symbols[f->symbol];
		const char *path = f->module == PROF_NO_MODULE ? "" : p->modules[f->module].path;

		if (module_is_tracker(path) || (!shown && module_is_allocator(path)))
			continue;
		for (uint32_t j = 0; j < s->nlines && shown < SHOWN_FRAMES; j++) {
			const char *function = s->lines[j].function;

			if (!shown && name_is_allocator(function))
				continue;
			buf_puts(out, shown++ ? " < " : "  ");
			put_clean(out, function ? function : "?");
			if (*path) {
				buf_puts(out, " (");
				put_clean(out, path_base(path));
				buf_putc(out, ')');
			}
		}
	}
}

void leaks_baseline_write(struct buf *out, const struct leaks *l, const struct profile *p)
{
	_cleanup_idmap_ struct idmap written = { 0 };

	if (!out->len)
		buf_puts(out, HEADER);
	for (size_t i = 0; i < l->n; i++) {
		const struct leak_record *r = &l->records[i];
		uint64_t fingerprint;

		if ((r->class != REACH_DEFINITE && r->class != REACH_POSSIBLE) ||
		    !parse_fingerprint(r->fingerprint, strlen(r->fingerprint), &fingerprint) ||
		    is_in(&written, fingerprint))
			continue;
		if (idmap_add(&written, fingerprint, 0) < 0)
			out->failed = true;
		buf_printf(out, "%s  %s", r->fingerprint,
		           r->class == REACH_DEFINITE ? "definite" : "possible");
		if (r->site && p && r->site < p->nsites) {
			put_stack(out, p, p->sites[r->site].stack);
		} else if (r->content == CONTENT_VTABLE && r->what) {
			buf_puts(out, "  objects of ");
			put_clean(out, r->what);
		} else if (r->content == CONTENT_TEXT) {
			buf_puts(out, "  text");
		} else {
			buf_printf(out, "  blocks of %llu bytes", (unsigned long long)r->min_size);
		}
		buf_putc(out, '\n');
	}
}
