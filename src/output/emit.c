/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The emitter: emit.h.  JSON is written straight through, two blanks per level;
 * the only state is whether the open object or array has members yet.  Text is
 * written straight through as well, except for tables, whose rows are kept until
 * the widths are known: emit_table.c.
 */
#include "output/emit.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "output/emit_private.h"
#include "output/units.h"

#define LABEL_WIDTH 12u

struct emit *emit_new(const struct emit_options *opts, struct buf *out)
{
	struct emit *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->o = *opts;
	if (e->o.width < 40)
		e->o.width = 40;
	e->out = out;
	return e;
}

void emit_free(struct emit *e)
{
	if (!e)
		return;
	emit_table_release(e);
	free(e);
}

bool emit_is_text(const struct emit *e)
{
	return e->o.format == EMIT_TEXT;
}

unsigned int emit_width(const struct emit *e)
{
	return e->o.width;
}

/* ---- JSON ------------------------------------------------------------------ */

static void json_string(struct buf *b, const char *s)
{
	buf_putc(b, '"');
	while (*s) {
		size_t n = utf8_length(s);
		unsigned char c = (unsigned char)*s;

		if (!n)
			buf_puts(b, "\\ufffd");
		else if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_puts(b, "\\n");
		else if (c == '\t')
			buf_puts(b, "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(b, "\\u%04x", c);
		else
			buf_add(b, s, n);
		s += n ? n : 1;
	}
	buf_putc(b, '"');
}

static void json_indent(struct emit *e)
{
	if (e->level || e->members)
		buf_putc(e->out, '\n');
	for (unsigned int i = 0; i < e->level; i++)
		buf_puts(e->out, "  ");
}

static void json_begin(struct emit *e, const char *key)
{
	if (e->members)
		buf_putc(e->out, ',');
	if (e->compact)
		buf_puts(e->out, e->members && key ? " " : "");
	else
		json_indent(e);
	if (key) {
		json_string(e->out, key);
		buf_puts(e->out, ": ");
	}
	e->members = true;
}

static void json_open(struct emit *e, const char *key, char bracket)
{
	if (emit_is_text(e))
		return;
	json_begin(e, key);
	buf_putc(e->out, bracket);
	e->level++;
	e->members = false;
}

static void json_close(struct emit *e, char bracket)
{
	if (emit_is_text(e) || !e->level)
		return;
	e->level--;
	if (e->members && !e->compact)
		json_indent(e);
	buf_putc(e->out, bracket);
	e->members = true;
	if (!e->level)
		buf_putc(e->out, '\n');
}

void emit_object(struct emit *e, const char *key)
{
	json_open(e, key, '{');
}

void emit_object_end(struct emit *e)
{
	json_close(e, '}');
}

void emit_array(struct emit *e, const char *key)
{
	json_open(e, key, '[');
}

void emit_array_end(struct emit *e)
{
	json_close(e, ']');
}

static void json_value(struct buf *b, const struct emit_value *v)
{
	switch (v->type) {
	case EMIT_STRING:
		if (v->string)
			json_string(b, v->string);
		else
			buf_puts(b, "null");
		break;
	case EMIT_BOOL:
		buf_puts(b, v->boolean ? "true" : "false");
		break;
	case EMIT_BYTES:
	case EMIT_COUNT:
	case EMIT_DURATION:
	case EMIT_TIME:
		buf_printf(b, "%" PRIu64, v->u64);
		break;
	case EMIT_NUMBER:
		buf_printf(b, "%" PRId64, v->number);
		break;
	case EMIT_RATIO:
		if (isfinite(v->ratio))
			buf_printf(b, "%.6g", v->ratio);
		else
			buf_puts(b, "null");
		break;
	case EMIT_ADDRESS:
		buf_printf(b, "\"0x%" PRIx64 "\"", v->u64);
		break;
	case EMIT_NONE:
	case EMIT_BAR:
		buf_puts(b, "null");
		break;
	}
}

void emit_json_member(struct emit *e, const char *key, const struct emit_value *v)
{
	char name[64];

	if (!key)
		return;
	json_begin(e, key);
	json_value(e->out, v);
	if (!v->sampled)
		return;
	snprintf(name, sizeof(name), "%s_low", key);
	json_begin(e, name);
	buf_printf(e->out, "%" PRIu64, v->interval.low);
	snprintf(name, sizeof(name), "%s_high", key);
	json_begin(e, name);
	buf_printf(e->out, "%" PRIu64, v->interval.high);
}

void emit_list(struct emit *e, const char *key)
{
	json_open(e, key, '[');
	e->compact = !emit_is_text(e);
}

void emit_item(struct emit *e, struct emit_value v)
{
	if (emit_is_text(e))
		return;
	json_begin(e, NULL);
	json_value(e->out, &v);
}

void emit_list_end(struct emit *e)
{
	json_close(e, ']');
	e->compact = false;
}

/* ---- text ------------------------------------------------------------------- */

void emit_value_text(struct buf *b, const struct emit_value *v)
{
	switch (v->type) {
	case EMIT_STRING:
		if (v->string)
			text_clean(b, v->string);
		break;
	case EMIT_BOOL:
		buf_puts(b, v->boolean ? "yes" : "no");
		break;
	case EMIT_BYTES:
		unit_bytes(b, v->u64);
		break;
	case EMIT_COUNT:
		unit_count(b, v->u64);
		break;
	case EMIT_NUMBER:
		buf_printf(b, "%" PRId64, v->number);
		break;
	case EMIT_RATIO:
		unit_ratio(b, v->ratio);
		break;
	case EMIT_DURATION:
		unit_duration(b, v->u64);
		break;
	case EMIT_TIME:
		unit_time(b, v->u64);
		break;
	case EMIT_ADDRESS:
		buf_printf(b, "0x%" PRIx64, v->u64);
		break;
	case EMIT_NONE:
	case EMIT_BAR:
		break;
	}
}

void emit_value_text_sampled(struct buf *b, const struct emit_value *v)
{
	struct emit_value margin = *v;

	emit_value_text(b, v);
	if (!v->sampled || v->interval.low == v->interval.high)
		return;
	margin.u64 = prof_interval_margin(&v->interval, v->u64);
	buf_puts(b, " ±");
	emit_value_text(b, &margin);
}

void emit_style_on(struct emit *e, unsigned int style)
{
	if (!e->o.color || !style)
		return;
	if (style & EMIT_BOLD)
		buf_puts(e->out, "\033[1m");
	if (style & EMIT_DIM)
		buf_puts(e->out, "\033[2m");
	if (style & EMIT_MARK)
		buf_puts(e->out, "\033[1;33m");
	if (style & EMIT_WARN)
		buf_puts(e->out, "\033[31m");
}

void emit_style_off(struct emit *e, unsigned int style)
{
	if (e->o.color && style)
		buf_puts(e->out, "\033[0m");
}

/* Blanks at a line's end are noise in a terminal's copy and in a diff. */
void emit_newline(struct emit *e)
{
	while (e->out->len && e->out->data[e->out->len - 1] == ' ')
		e->out->data[--e->out->len] = '\0';
	buf_putc(e->out, '\n');
}

void emit_blank(struct emit *e)
{
	if (!emit_is_text(e) || !e->out->len)
		return;
	if (e->out->len >= 2 && !strcmp(e->out->data + e->out->len - 2, "\n\n"))
		return;
	buf_putc(e->out, '\n');
}

void emit_heading(struct emit *e, const char *fmt, ...)
{
	struct buf raw = { 0 };
	va_list ap;

	if (!emit_is_text(e))
		return;
	emit_blank(e);
	va_start(ap, fmt);
	buf_vprintf(&raw, fmt, ap);
	va_end(ap);
	emit_style_on(e, EMIT_BOLD);
	text_clean(e->out, raw.data ? raw.data : "");
	emit_style_off(e, EMIT_BOLD);
	emit_newline(e);
	buf_release(&raw);
}

static void indent_by(struct emit *e, unsigned int n)
{
	while (n--)
		buf_putc(e->out, ' ');
}

/* The byte where `columns` columns of s end. */
static const char *after_columns(const char *s, size_t columns)
{
	for (; *s; s++)
		if (((unsigned char)*s & 0xc0) != 0x80 && !columns--)
			break;
	return s;
}

/* Where to break before `end`: at the last blank, or for `clauses` after a comma or semicolon that is not far. */
static const char *line_break(const char *words, const char *end, bool clauses)
{
	const char *last = NULL;

	for (const char *p = end; p > words; p--) {
		if (*p != ' ')
			continue;
		last = last ? last : p;
		if (clauses && (p[-1] == ',' || p[-1] == ';') && p > words + (end - words) / 2)
			return p;
	}
	return last ? last : words + strcspn(words, " ");
}

/*
 * One line, broken at blanks where it is wider than the terminal; what follows is indented by
 * `hang`.  A word wider than the line stands on a line of its own.
 */
static void put_wrapped(struct emit *e, unsigned int style, unsigned int hang, const char *text,
                        bool clauses)
{
	size_t room = e->o.width;

	for (;;) {
		const char *end = after_columns(text, room), *cut = end;
		const char *words = text + strspn(text, " ");

		if (*end)
			cut = line_break(words, end, clauses);
		emit_style_on(e, style);
		buf_add(e->out, text, (size_t)(cut - text));
		emit_style_off(e, style);
		emit_newline(e);
		text = cut + strspn(cut, " ");
		if (!*cut || !*text)
			return;
		indent_by(e, hang);
		room = e->o.width - hang;
	}
}

void emit_text(struct emit *e, unsigned int style, unsigned int indent, const char *fmt, ...)
{
	struct buf raw = { 0 }, clean = { 0 };
	bool item = !strncmp(fmt, "• ", 4);
	va_list ap;

	if (!emit_is_text(e))
		return;
	va_start(ap, fmt);
	buf_vprintf(&raw, fmt, ap);
	va_end(ap);
	for (unsigned int i = 0; i < indent; i++)
		buf_putc(&clean, ' ');
	text_clean(&clean, raw.data ? raw.data : "");
	if (clean.data)
		put_wrapped(e, style, indent + (item ? 2 : 0), clean.data, false);
	buf_release(&raw);
	buf_release(&clean);
}

/* ---- both -------------------------------------------------------------------- */

void emit_field(struct emit *e, const char *key, const char *label, struct emit_value v)
{
	if (!emit_is_text(e)) {
		emit_json_member(e, key, &v);
	} else if (label) {
		size_t columns = text_columns(label);

		buf_puts(e->out, "  ");
		emit_style_on(e, EMIT_DIM);
		buf_puts(e->out, label);
		emit_style_off(e, EMIT_DIM);
		indent_by(e, columns < LABEL_WIDTH ? (unsigned int)(LABEL_WIDTH - columns) : 1);
		emit_value_text_sampled(e->out, &v);
		emit_newline(e);
	}
}

void emit_line(struct emit *e, unsigned int style, const char *fmt, const struct emit_part *parts,
               size_t n)
{
	struct buf line = { 0 };
	size_t next = 0;

	if (!emit_is_text(e)) {
		for (size_t i = 0; i < n; i++)
			emit_json_member(e, parts[i].key, &parts[i].value);
		return;
	}
	if (!fmt)
		return;
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			buf_putc(&line, *fmt);
			continue;
		}
		if (fmt[1] == '%') {
			buf_putc(&line, *fmt++);
			continue;
		}
		while (next < n && parts[next].json_only)
			next++;
		if (next < n)
			emit_value_text_sampled(&line, &parts[next++].value);
	}
	if (line.data)
		put_wrapped(e, style, 4, line.data, true);
	e->out->failed |= line.failed;
	buf_release(&line);
}
