/* SPDX-License-Identifier: Apache-2.0 */
/* What the writers share: which sites, which value, the lines of a stack, names and their escapes. */
#include "format/private.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool output_has(const struct format_output *o, const struct prof_site *s)
{
	return (o->kinds ? o->kinds : PROF_MEMORY) & PROF_KIND_BIT(s->kind);
}

uint64_t output_value(const struct format_output *o, const struct prof_site *s)
{
	switch (o->value) {
	case FORMAT_INUSE_BLOCKS:
		return s->inuse.blocks;
	case FORMAT_ALLOC_BYTES:
		return s->alloc.bytes;
	case FORMAT_ALLOC_BLOCKS:
		return s->alloc.blocks;
	case FORMAT_PEAK_BYTES:
		return s->peak.bytes;
	case FORMAT_PEAK_BLOCKS:
		return s->peak.blocks;
	default:
		return s->inuse.bytes;
	}
}

/* ---- stacks ---------------------------------------------------------------------- */

int stack_lines(const struct profile *p, uint32_t stack, struct stack_lines *s)
{
	s->n = 0;
	for (uint32_t f = stack; f; f = p->frames[f].parent) {
		const struct prof_symbol *sym = &p->symbols[p->frames[f].symbol];

		if (s->n + sym->nlines > s->cap) {
			size_t cap = (s->n + sym->nlines) * 2 + 64;
			struct stack_line *lines = reallocarray(s->lines, cap, sizeof(*lines));

			if (!lines)
				return -ENOMEM;
			s->lines = lines;
			s->cap = cap;
		}
		for (uint32_t i = 0; i < sym->nlines; i++)
			s->lines[s->n++] =
				(struct stack_line){ f, &sym->lines[i], i + 1 == sym->nlines };
	}
	return 0;
}

void stack_lines_release(struct stack_lines *s)
{
	free(s->lines);
	*s = (struct stack_lines){ 0 };
}

struct seep_error *need_addresses(const struct profile *p, const struct format_output *o,
                                  const char *what)
{
	size_t without = 0, sites = 0;

	for (size_t i = 0; i < p->nsites; i++) {
		bool missing = false;

		if (!output_has(o, &p->sites[i]))
			continue;
		sites++;
		for (uint32_t f = p->sites[i].stack; f && !missing; f = p->frames[f].parent)
			missing = !p->frames[f].pc;
		without += missing;
	}
	if (!without)
		return NULL;
	return seep_error_hint(
		seep_error_new(
			0, "%s files are made of addresses, and %zu of %zu stacks have only names",
			what, without, sites),
		"Write pprof, folded, massif or speedscope, which hold names.");
}

/* ---- text ------------------------------------------------------------------------ */

void put_u64(struct buf *out, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	buf_add(out, digits + at, sizeof(digits) - at);
}

void put_hex(struct buf *out, uint64_t v)
{
	char digits[18];
	size_t at = sizeof(digits);

	do
		digits[--at] = "0123456789abcdef"[v & 15];
	while (v >>= 4);
	digits[--at] = 'x';
	digits[--at] = '0';
	buf_add(out, digits + at, sizeof(digits) - at);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_special(unsigned char c, const char *special)
{
	if (c < 0x20 || c == 0x7f)
		return c != 0;
	while (*special && (unsigned char)*special != c) /* one character, mostly */
		special++;
	return *special != 0;
}

/* The character that %XX at s stands for, when an escape with this set would have written it; else 0. */
static unsigned char escaped(const char *s, const char *special)
{
	int high = s[0] == '%' ? hex_digit(s[1]) : -1, low = high >= 0 ? hex_digit(s[2]) : -1;
	unsigned char c = low >= 0 ? (unsigned char)(high << 4 | low) : 0;

	return c == '%' || is_special(c, special) ? c : 0;
}

void put_escaped(struct buf *out, const char *s, const char *special)
{
	const char *from = s;

	for (; *s; s++) {
		if (!is_special((unsigned char)*s, special) && !escaped(s, special))
			continue;
		buf_add(out, from, (size_t)(s - from));
		buf_putc(out, '%');
		buf_putc(out, "0123456789ABCDEF"[(unsigned char)*s >> 4]);
		buf_putc(out, "0123456789ABCDEF"[*s & 15]);
		from = s + 1;
	}
	buf_add(out, from, (size_t)(s - from));
}

void unescape(char *s, const char *special)
{
	char *to = strchr(s, '%');

	if (!to)
		return;
	for (s = to; *s;) {
		unsigned char c = escaped(s, special);

		*to++ = c ? (char)c : *s;
		s += c ? 3 : 1;
	}
	*to = 0;
}

void put_line_name(struct buf *out, const struct profile *p, const struct stack_line *l,
                   const char *special)
{
	const struct prof_frame *f = &p->frames[l->frame];
	uint64_t address = f->pc;

	if (l->line->function) {
		put_escaped(out, l->line->function, special);
		return;
	}
	if (f->module != PROF_NO_MODULE) {
		const struct prof_module *m = &p->modules[f->module];
		const char *slash = strrchr(m->path, '/');

		put_escaped(out, slash ? slash + 1 : m->path, special);
		buf_putc(out, '+');
		address -= m->bias;
	}
	put_hex(out, address);
}

/* ---- JSON ------------------------------------------------------------------------ */

/* Length of the valid UTF-8 sequence at s, 0 when it is none. */
static size_t utf8_length(const unsigned char *s)
{
	uint32_t c = s[0];
	size_t n = c < 0x80                ? 1
	           : c >= 0xc2 && c < 0xe0 ? 2
	           : (c & 0xf0) == 0xe0    ? 3
	           : c >= 0xf0 && c < 0xf5 ? 4
	                                   : 0;

	if (n < 2)
		return n;
	c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

void put_json_string(struct buf *out, const char *s)
{
	buf_putc(out, '"');
	while (*s) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_length((const unsigned char *)s);

		if (c == '"' || c == '\\') {
			buf_putc(out, '\\');
			buf_putc(out, (char)c);
		} else if (c < 0x20) {
			buf_printf(out, "\\u%04x", c);
		} else if (n) {
			buf_add(out, s, n);
		} else {
			buf_puts(out, "\xef\xbf\xbd"); /* U+FFFD for a byte that is no UTF-8 */
		}
		s += n ? n : 1;
	}
	buf_putc(out, '"');
}
