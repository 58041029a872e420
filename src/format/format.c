/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of formats, and the way from a file to its reader: open, expand, probe by content, read, check.
 * Names and suffixes decide only what is written; what is read is recognised by what it is.
 */
#include "format/private.h"
#include "format/stream.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_WARNINGS 20

const struct format *const formats[] = {
	&format_pprof,      &format_jemalloc,
	&format_gperftools, &format_growth,
	&format_massif,     &format_folded,
	&format_dhat,       &format_speedscope,
	&format_heaptrack,  &format_lsan,
	&format_memcheck,   &format_memcheck_xml,
	&format_memleak,    NULL,
};

const struct format *format_by_name(const char *name)
{
	for (size_t i = 0; formats[i]; i++)
		if (!strcmp(formats[i]->name, name))
			return formats[i];
	return NULL;
}

const struct format *format_by_suffix(const char *path)
{
	const struct format *best = NULL;
	size_t longest = 0, len = strlen(path);

	for (size_t i = 0; formats[i]; i++) {
		const char *s = formats[i]->suffixes;

		while (formats[i]->write && *s) {
			size_t n = strcspn(s, " ");

			if (n < len && n > longest && !memcmp(path + len - n, s, n)) {
				best = formats[i];
				longest = n;
			}
			s += n + (s[n] == ' ');
		}
	}
	return best;
}

/* ---- messages ------------------------------------------------------------------------ */

static void keep_warning(struct format_input *in, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void keep_warning(struct format_input *in, const char *fmt, va_list ap)
{
	char **list = reallocarray(in->warnings, in->nwarnings + 2, sizeof(*list)), *text;

	if (!list)
		return;
	in->warnings = list;
	if (vasprintf(&text, fmt, ap) < 0)
		return;
	list[in->nwarnings++] = text;
	list[in->nwarnings] = NULL;
}

void format_warn(struct format_input *in, const char *fmt, ...)
{
	va_list ap;

	if (in->nwarnings >= MAX_WARNINGS) {
		in->nsuppressed++;
		return;
	}
	va_start(ap, fmt);
	keep_warning(in, fmt, ap);
	va_end(ap);
}

static void keep_last(struct format_input *in, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void keep_last(struct format_input *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	keep_warning(in, fmt, ap);
	va_end(ap);
}

struct seep_error *format_bad(const struct format_input *in, const char *what, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (stream_nomem(in->stream))
		return &seep_error_nomem;
	if (stream_number(in->stream))
		return seep_error_new(0, "%s is no %s file: %s at line %llu", in->path, what, text,
		                      (unsigned long long)stream_number(in->stream));
	return seep_error_new(0, "%s is no %s file: %s", in->path, what, text);
}

void format_free_warnings(char **warnings)
{
	for (size_t i = 0; warnings && warnings[i]; i++)
		free(warnings[i]);
	free(warnings);
}

/* ---- reading -------------------------------------------------------------------------- */

static const struct format *probe_stream(struct stream *s)
{
	const struct format *best = NULL;
	const uint8_t *head;
	size_t n = stream_peek(s, FORMAT_PROBE_BYTES, &head);
	int sure = 0;

	for (size_t i = 0; formats[i] && n; i++) {
		int v = formats[i]->read ? formats[i]->probe(head, n) : 0;

		if (v > sure) {
			best = formats[i];
			sure = v;
		}
	}
	return best;
}

const struct format *format_probe(const void *data, size_t len)
{
	_cleanup_stream_ struct stream *s = NULL;
	_cleanup_error_ struct seep_error *err = stream_memory(data, len, &s);

	return err ? NULL : probe_stream(s);
}

const struct format *format_probe_file(const char *path)
{
	_cleanup_stream_ struct stream *s = NULL;
	_cleanup_error_ struct seep_error *err = NULL;
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	err = stream_open(path, &s);
	return err ? NULL : probe_stream(s);
}

static struct seep_error *unknown_format(const char *path)
{
	struct buf names = { 0 };
	struct seep_error *err;

	for (size_t i = 0; formats[i]; i++)
		if (formats[i]->read)
			buf_printf(&names, "%s%s", names.len ? ", " : "", formats[i]->name);
	err = seep_error_hint(seep_error_new(0, "%s is in no format that seep reads", path),
	                      "It reads its own ledgers and snapshots, and: %s.",
	                      names.data ? names.data : "");
	buf_release(&names);
	return err;
}

static struct seep_error *read_stream(struct stream *s, const char *path,
                                      const struct format *format, struct profile **ret_profile,
                                      char ***ret_warnings)
{
	struct format_input in = { .path = path, .stream = s };
	struct profile *p = NULL;
	struct seep_error *err;

	if (!format)
		format = probe_stream(s);
	if (!format) {
		if (stream_nomem(s))
			return &seep_error_nomem;
		if (stream_problem(s))
			return seep_error_new(0, "cannot read %s: %s", path, stream_problem(s));
		return unknown_format(path);
	}
	err = format->read(&in, &p);
	if (!err && stream_nomem(s)) {
		profile_free(p);
		err = &seep_error_nomem;
	}
	if (!err && stream_problem(s))
		keep_last(&in, "%s: %s; what came before it was read", path, stream_problem(s));
	if (!err && in.nsuppressed)
		keep_last(&in, "%s: %zu more such warnings", path, in.nsuppressed);
	if (err && stream_problem(s) && !stream_nomem(s))
		err = seep_error_hint(err, "Moreover, %s.", stream_problem(s));
	if (!err) {
		*ret_profile = p;
		if (ret_warnings)
			*ret_warnings = TAKE(in.warnings);
	}
	format_free_warnings(in.warnings);
	return err;
}

struct seep_error *format_read_file(const char *path, void (*progress)(void *, uint64_t, uint64_t),
                                    void *progress_arg, struct profile **ret_profile,
                                    char ***ret_warnings)
{
	_cleanup_stream_ struct stream *s = NULL;
	struct seep_error *err = stream_open(path, &s);

	if (err)
		return err;
	stream_progress(s, progress, progress_arg);
	return read_stream(s, path, NULL, ret_profile, ret_warnings);
}

struct seep_error *format_read_memory(const void *data, size_t len, const char *path,
                                      const struct format *format, struct profile **ret_profile,
                                      char ***ret_warnings)
{
	_cleanup_stream_ struct stream *s = NULL;
	struct seep_error *err = stream_memory(data, len, &s);

	if (err)
		return err;
	return read_stream(s, path, format, ret_profile, ret_warnings);
}

/* ---- writing -------------------------------------------------------------------------- */

struct seep_error *format_write(const struct format *f, const struct profile *p,
                                const struct format_output *o, struct buf *out)
{
	struct seep_error *err;

	if (!f->write)
		return seep_error_new(0, "seep reads %s but does not write it", f->title);
	err = f->write(p, o, out);
	if (!err && out->failed)
		err = &seep_error_nomem;
	return err;
}
