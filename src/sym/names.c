/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: see names.h.
 *
 * Demanglers are where hostile binaries hurt: forty bytes of substitutions expand
 * to gigabytes, and nesting becomes recursion.  So libiberty is only called
 * through its callback forms, which keep their state on the stack and hand the
 * text out in pieces: when the piece that fills our buffer arrives we longjmp out,
 * and nothing is leaked or computed further.
 *
 * libiberty's recursion limit refuses every name above 1,024 characters, because
 * it fears one level per character.  Real C++ names are often longer than that,
 * but most of their characters are identifiers, which do not nest.  We count the
 * others: up to MAX_NESTING of them the limit is lifted, which bounds the stack
 * to a few times what libiberty itself allows.
 */
#include "sym/names.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMITED_LEN 1000 /* libiberty handles these with its limit on */
#define UNLIMITED_LEN 16384
#define MAX_NESTING 4096
#define CHUNK_SIZE (64u << 10)
#define MAX_TEXT (512u << 20) /* of one pool; what comes after that stays unknown */

struct names_chunk {
	struct names_chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

/* One address may be a key in several ways. */
enum kind { FUNCTION, FILE_NAME, SCOPED };

struct names_entry {
	const void *raw; /* NULL: free */
	const char *shown;
	enum kind kind;
};

void names_release(struct names *n)
{
	struct names_chunk *c = n->chunks, *next;

	for (; c; c = next) {
		next = c->next;
		free(c);
	}
	free(n->table);
	n->table = NULL;
	n->chunks = NULL;
	n->cap = n->used = 0;
}

void *names_alloc(struct names *n, size_t size)
{
	struct names_chunk *c = n->chunks;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!c || c->size - c->used < size) {
		size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;

		c = calloc(1, sizeof(*c) + room);
		if (!c)
			return NULL;
		c->size = room;
		c->next = n->chunks;
		n->chunks = c;
	}
	p = c->data + c->used;
	c->used += size;
	return p;
}

/* ---- demangling ------------------------------------------------------- */

struct sink {
	char *out;
	size_t len, size;
	jmp_buf full;
};

static void sink_add(const char *text, size_t len, void *opaque)
{
	struct sink *s = opaque;
	size_t room = s->size - 1 - s->len;

	if (len > room) {
		memcpy(s->out + s->len, text, room);
		s->len += room;
		longjmp(s->full, 1);
	}
	memcpy(s->out + s->len, text, len);
	s->len += len;
}

/* Characters of a mangled name that may open a level of nesting: all but the identifiers'. */
static size_t nesting_bound(const char *raw)
{
	size_t n = 0, len;

	while (*raw) {
		if (*raw < '0' || *raw > '9') {
			n++;
			raw++;
			continue;
		}
		for (len = 0; *raw >= '0' && *raw <= '9' && len < NAMES_MAX_RAW; raw++)
			len = len * 10 + (size_t)(*raw - '0');
		n++;
		while (len-- && *raw)
			raw++;
	}
	return n;
}

bool names_is_mangled(const char *raw)
{
	if (raw[0] != '_')
		return false;
	if (raw[1] == 'Z' || raw[1] == 'R')
		return true;
	return raw[1] == '_' && (raw[2] == 'Z' || raw[2] == 'R');
}

typedef int demangle_fn(const char *, int, demangle_callbackref, void *);

/* One demangler over one name; a text that does not fit is cut and ends in "...". */
static bool demangle_with(demangle_fn *demangle, const char *raw, int options, char *out,
                          size_t size)
{
	struct sink s = { .out = out, .size = size };

	if (setjmp(s.full)) {
		memcpy(out + size - 4, "...", 4);
		return true;
	}
	if (!demangle(raw, options, sink_add, &s))
		return false;
	out[s.len] = 0;
	return s.len > 0;
}

bool names_demangle(const char *raw, char *out, size_t size)
{
	int options = DMGL_PARAMS | DMGL_ANSI;
	size_t len = strnlen(raw, UNLIMITED_LEN + 1);

	if (!names_is_mangled(raw) || len > UNLIMITED_LEN || size < 4)
		return false;
	if (len > LIMITED_LEN) {
		if (nesting_bound(raw) > MAX_NESTING)
			return false;
		options |= DMGL_NO_RECURSE_LIMIT;
	}
	/* Rust first: its old names are valid C++ names with a hash at their end. */
	return demangle_with(rust_demangle_callback, raw, options, out, size) ||
	       demangle_with(cplus_demangle_v3_callback, raw, options, out, size);
}

/* ---- the pool --------------------------------------------------------- */

/* A terminal obeys what a file says if we let it: no control bytes get through. */
static char *copy_clean(struct names *n, const char *text, size_t len)
{
	bool cut = len > NAMES_MAX_SHOWN - 4;
	char *copy, *q;

	if (cut)
		len = NAMES_MAX_SHOWN - 4;
	copy = n->text < MAX_TEXT ? names_alloc(n, len + 4) : NULL;
	if (!copy)
		return NULL;
	n->text += len + 4;
	for (q = copy; len--; text++)
		*q++ = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
	memcpy(q, cut ? "..." : "", cut ? 4 : 1);
	return copy;
}

/*
 * Length without what tools append: a symbol version, and the marks of a function's clones, which
 * DWARF does not show either and which would make two functions of one.
 */
static size_t plain_length(const char *raw, size_t len)
{
	static const char *const marks[] = { ".cold", ".constprop.", ".isra.", ".part.",
		                             ".lto_priv." };
	const char *p = raw;
	size_t i;

	while ((p = memchr(p, '.', len - (size_t)(p - raw)))) {
		for (i = 0; p > raw && i < sizeof(marks) / sizeof(marks[0]); i++)
			if (!strncmp(p, marks[i], strlen(marks[i])))
				return (size_t)(p - raw);
		p++;
	}
	p = memchr(raw, '@', len);
	return p && p > raw ? (size_t)(p - raw) : len;
}

static char *shown_function(struct names *n, const char *raw)
{
	size_t len = strnlen(raw, NAMES_MAX_RAW), plain = plain_length(raw, len);
	char text[NAMES_MAX_SHOWN], *copy;

	if (n->no_demangle || !names_is_mangled(raw) || plain > UNLIMITED_LEN)
		return copy_clean(n, raw, plain);
	copy = names_alloc(n, plain + 1);
	if (!copy)
		return NULL;
	memcpy(copy, raw, plain);
	if (names_demangle(copy, text, sizeof(text)))
		return copy_clean(n, text, strlen(text));
	return copy_clean(n, raw, plain);
}

static char *shown_file(struct names *n, const char *raw, const char *dir)
{
	char joined[NAMES_MAX_SHOWN], *copy, *from, *to;

	if (raw[0] != '/' && dir && dir[0] == '/' &&
	    (size_t)snprintf(joined, sizeof(joined), "%s/%s", dir, raw) < sizeof(joined))
		raw = joined;
	copy = copy_clean(n, raw, strnlen(raw, NAMES_MAX_RAW));
	if (!copy)
		return NULL;
	for (from = to = copy; *from;) {
		if (from[0] == '/' && from[1] == '/')
			from++;
		else if (from[0] == '/' && from[1] == '.' && from[2] == '/')
			from += 2;
		else
			*to++ = *from++;
	}
	*to = 0;
	return copy;
}

static size_t slot_of(const struct names *n, const void *raw, enum kind kind)
{
	uint64_t h = ((uint64_t)(uintptr_t)raw * 4 + kind) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(h >> 32) & (n->cap - 1);

	while (n->table[i].raw && (n->table[i].raw != raw || n->table[i].kind != kind))
		i = (i + 1) & (n->cap - 1);
	return i;
}

static bool grow(struct names *n)
{
	struct names bigger = { .cap = n->cap ? n->cap * 2 : 256 };
	size_t i;

	bigger.table = calloc(bigger.cap, sizeof(*bigger.table));
	if (!bigger.table)
		return false;
	for (i = 0; i < n->cap; i++) {
		const struct names_entry *e = &n->table[i];

		if (e->raw)
			bigger.table[slot_of(&bigger, e->raw, e->kind)] = *e;
	}
	free(n->table);
	n->table = bigger.table;
	n->cap = bigger.cap;
	return true;
}

/* Where the entry of a key is or belongs; NULL: out of memory. */
static struct names_entry *entry_of(struct names *n, const void *raw, enum kind kind)
{
	if (n->used * 4 >= n->cap * 3 && !grow(n))
		return NULL;
	return &n->table[slot_of(n, raw, kind)];
}

static const char *enter(struct names *n, struct names_entry *e, const void *raw, enum kind kind,
                         const char *shown)
{
	if (shown) {
		*e = (struct names_entry){ raw, shown, kind };
		n->used++;
	}
	return shown;
}

const char *names_function(struct names *n, const char *raw)
{
	struct names_entry *e = raw && *raw ? entry_of(n, raw, FUNCTION) : NULL;

	if (!e || e->raw)
		return e ? e->shown : NULL;
	return enter(n, e, raw, FUNCTION, shown_function(n, raw));
}

const char *names_file(struct names *n, const char *raw, const char *dir)
{
	struct names_entry *e = raw && *raw ? entry_of(n, raw, FILE_NAME) : NULL;

	if (!e || e->raw)
		return e ? e->shown : NULL;
	return enter(n, e, raw, FILE_NAME, shown_file(n, raw, dir));
}

const char *names_scoped(struct names *n, const void *key, const char *scope, const char *name)
{
	struct names_entry *e = entry_of(n, key, SCOPED);
	char text[NAMES_MAX_SHOWN];

	if (!e || e->raw)
		return e ? e->shown : NULL;
	snprintf(text, sizeof(text), "%s%s%s", scope ? scope : "", scope ? "::" : "", name);
	return enter(n, e, key, SCOPED, copy_clean(n, text, strlen(text)));
}
