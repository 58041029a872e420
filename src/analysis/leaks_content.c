/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a block is, from its own bytes, for those whose stack nobody recorded.
 *
 *     block    vtable pointer ─┐   ...          an object; in a list's node or an array with a cookie the
 *                              │                pointer comes after a few other words
 *     module   offset to top   │   typeinfo ─┐
 *              ^ -16           └─> ^ -8      │   first virtual function ...
 *                                            └─> vtable of type_info, name ──> "N3app4ItemE"
 *
 * The type's name is read through the run-time type information, which needs no symbols and is there in
 * stripped programs too; where it was compiled out (-fno-rtti), the vtable's symbol has the name.
 * A vtable is looked at once, however many blocks point to it.  All of it is the target's
 * memory, so every word is checked before it is followed, and a wrong guess costs a read.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/leaks_private.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "proc/image.h"
#include "profile/profile.h"
#include "sym/data.h"
#include "sym/names.h"
#include "sym/sym.h"

#define WORDS 8    /* of a block's beginning that may point to a vtable */
#define TEXT_MIN 4 /* bytes */
#define TEXT_MAX 32
#define MAX_TYPE 1024     /* bytes of a type's mangled name */
#define MAX_TOP (1 << 20) /* a base class further from its object's start is none */
#define MAX_VTABLES 65536 /* words remembered */
#define AHEAD_MIN 256     /* bytes read around a block that stands alone */
#define AHEAD_MAX (64u << 10)
#define NEAR 4096

struct vtable {
	uint64_t address;
	char *type; /* NULL: no vtable */
};

struct content_reader {
	const struct image *img;
	struct sym_options sym;
	struct data_symbols **data; /* by module, opened on demand */
	bool *opened;
	struct idmap map;
	struct vtable *vtables;
	size_t n, cap;
	char *placed; /* "TYPE at +16" of the last call */
	struct buf text;
	/*
	 * Blocks come in the order of their addresses, and a leak of millions of small ones lies close together: the longer
	 * they do, the more is read ahead, so that there is not a system call for each.
	 */
	uint8_t *ahead;
	uint64_t start, end; /* what is in it */
	size_t want;
};

struct content_reader *content_reader_new(const struct image *img, const char *const *debug_dirs)
{
	struct content_reader *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->img = img;
	c->sym.debug_dirs = debug_dirs;
	c->sym.pid = img->kind == IMAGE_LIVE || img->kind == IMAGE_CLONE ? img->pid : 0;
	c->sym.no_debuginfod = true; /* a look-up on a guess is no reason to go to the network */
	c->data = calloc(img->nmodules + 1, sizeof(*c->data));
	c->opened = calloc(img->nmodules + 1, sizeof(*c->opened));
	c->ahead = malloc(AHEAD_MAX);
	c->want = AHEAD_MIN;
	if (c->data && c->opened && c->ahead)
		return c;
	content_reader_free(c);
	return NULL;
}

void content_reader_free(struct content_reader *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->data && i < c->img->nmodules; i++)
		data_symbols_free(c->data[i]);
	for (size_t i = 0; i < c->n; i++)
		free(c->vtables[i].type);
	free(c->vtables);
	free(c->data);
	free(c->opened);
	free(c->ahead);
	free(c->placed);
	idmap_release(&c->map);
	buf_release(&c->text);
	free(c);
}

/* ---- types ------------------------------------------------------------------------- */

/* What comes after "vtable for " or "typeinfo name for " in a demangled name; NULL: it is something else. */
static char *type_in(const char *raw, const char *before)
{
	char text[2048];
	size_t n = strlen(before);

	if (!names_demangle(raw, text, sizeof(text)) || strncmp(text, before, n) || !text[n])
		return NULL;
	for (char *p = text + n; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return strdup(text + n);
}

static bool is_type_name(const char *s)
{
	for (; *s; s++)
		if (!isascii((unsigned char)*s) ||
		    (!isalnum((unsigned char)*s) && !strchr("_.$", *s)))
			return false;
	return true;
}

/* The type whose type_info is at `info`. */
static char *type_by_rtti(const struct image *img, uint64_t info)
{
	char raw[MAX_TYPE + 8] = "_ZTS";
	uint64_t class, name;
	const char *at = raw + 4;
	size_t n;

	if (!image_module_of(img, info) || !image_read_u64(img, info, &class) ||
	    !image_read_u64(img, info + 8, &name) || !image_module_of(img, class) ||
	    !image_module_of(img, name))
		return NULL;
	n = image_read(img, name, raw + 4, MAX_TYPE);
	if (strnlen(at, n) == n)
		return NULL;
	if (*at == '*') /* compared by address: a local type */
		memmove(raw + 4, raw + 5, strlen(raw + 5) + 1);
	return *at && is_type_name(at) ? type_in(raw, "typeinfo name for ") : NULL;
}

static struct seep_error *type_by_symbol(struct content_reader *c, uint64_t address, char **ret_type)
{
	const struct image_module *m = image_module_of(c->img, address);
	size_t i = m ? (size_t)(m - c->img->modules) : c->img->nmodules;
	struct data_symbol symbol;
	struct seep_error *err;

	*ret_type = NULL;
	if (!m)
		return NULL;
	if (!c->opened[i]) {
		struct prof_module pm = {
			.path = (char *)m->path,
			.start = m->start,
			.end = m->end,
			.bias = m->bias,
			.build_id_len = m->build_id_len <= sizeof(pm.build_id) ? m->build_id_len : 0,
		};

		memcpy(pm.build_id, m->build_id, pm.build_id_len);
		c->opened[i] = true;
		err = data_symbols_open(&c->sym, &pm, &c->data[i]);
		if (err)
			return err;
	}
	if (data_symbols_find(c->data[i], address, &symbol) && !strncmp(symbol.raw, "_ZTV", 4))
		*ret_type = type_in(symbol.raw, "vtable for ");
	return NULL;
}

/* The type whose vtable `address` points into; *ret_type NULL: it does not look like one. */
static struct seep_error *find_type(struct content_reader *c, uint64_t address, char **ret_type)
{
	const struct image_map *map = image_map_of(c->img, address);
	uint64_t info, first;
	int64_t top;

	*ret_type = NULL;
	if (address % 8 || !map || (map->flags & IMAGE_EXEC) ||
	    !image_read_all(c->img, address - 16, &top, sizeof(top)) ||
	    !image_read_u64(c->img, address - 8, &info) || !image_read_u64(c->img, address, &first))
		return NULL;
	if (top > 0 || top < -MAX_TOP || (info && !image_module_of(c->img, info)))
		return NULL;
	*ret_type = info ? type_by_rtti(c->img, info) : NULL;
	if (*ret_type)
		return NULL;
	/* a type without virtual functions of its own has nothing but this; else they come first */
	if (first && !image_module_of(c->img, first))
		return NULL;
	return type_by_symbol(c, address, ret_type);
}

static struct seep_error *type_of(struct content_reader *c, uint64_t address, const char **ret_type)
{
	uint64_t hash = hash_mix(address, 0);
	size_t pos = idmap_first(&c->map, hash);
	struct seep_error *err;
	char *type;
	uint32_t id;

	*ret_type = NULL;
	if (!image_module_of(c->img, address))
		return NULL;
	while (idmap_get(&c->map, &pos, hash, &id))
		if (c->vtables[id].address == address) {
			*ret_type = c->vtables[id].type;
			return NULL;
		}
	if (c->n == MAX_VTABLES)
		return NULL;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 64;
		struct vtable *grown = reallocarray(c->vtables, cap, sizeof(*grown));

		if (!grown)
			return &seep_error_nomem;
		c->vtables = grown;
		c->cap = cap;
	}
	err = find_type(c, address, &type);
	if (err)
		return err;
	c->vtables[c->n] = (struct vtable){ address, type };
	if (idmap_add(&c->map, hash, (uint32_t)c->n) < 0) {
		free(type);
		return &seep_error_nomem;
	}
	c->n++;
	*ret_type = type;
	return NULL;
}

/* ---- text and nothing ------------------------------------------------------------------- */

/* Bytes of the printable UTF-8 character at s (n bytes left), 0: there is none. */
static size_t printable(const unsigned char *s, size_t n)
{
	size_t len = s[0] < 0x80   ? 1
	             : s[0] < 0xc2 ? 0
	             : s[0] < 0xe0 ? 2
	             : s[0] < 0xf0 ? 3
	             : s[0] < 0xf5 ? 4
	                           : 0;

	if (!len || len > n)
		return 0;
	if (len == 1)
		return (s[0] >= 0x20 && s[0] < 0x7f) || s[0] == '\n' || s[0] == '\t' || s[0] == '\r';
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90) ||
	    (s[0] == 0xc2 && s[1] < 0xa0))
		return 0;
	return len;
}

/* The text at the block's start, escaped, into c->text; false: none. */
static bool read_text(struct content_reader *c, const unsigned char *s, size_t n)
{
	size_t at = 0, len;
	uint64_t word;

	/* six bytes of an address may all be letters */
	memcpy(&word, s, n < sizeof(word) ? 0 : sizeof(word));
	if (n >= sizeof(word) && image_map_of(c->img, word))
		return false;
	buf_reset(&c->text);
	while (at < n && at < TEXT_MAX && (len = printable(s + at, n - at))) {
		if (s[at] == '\n')
			buf_puts(&c->text, "\\n");
		else if (s[at] == '\t')
			buf_puts(&c->text, "\\t");
		else if (s[at] == '\r')
			buf_puts(&c->text, "\\r");
		else if (s[at] == '"' || s[at] == '\\')
			buf_printf(&c->text, "\\%c", s[at]);
		else
			buf_add(&c->text, s + at, len);
		at += len;
	}
	if (at < TEXT_MIN)
		return false;
	if (at < n && s[at])
		buf_puts(&c->text, "…");
	return c->text.data && !c->text.failed;
}

static bool all_zero(const struct image *img, uint64_t address, uint64_t size)
{
	unsigned char bytes[4096];
	size_t n = size < sizeof(bytes) ? (size_t)size : sizeof(bytes);

	return n && image_read_all(img, address, bytes, n) && bytes_are_zero(bytes, n);
}

/* The first n bytes at `address`; returns how many there are. */
static size_t beginning(struct content_reader *c, uint64_t address, unsigned char *to, size_t n)
{
	if (address < c->start || address + n > c->end) {
		bool near = address >= c->start && address - c->start < c->want + NEAR;

		c->want = !near ? AHEAD_MIN : c->want < AHEAD_MAX / 2 ? 2 * c->want : AHEAD_MAX;
		c->start = address;
		c->end = address + image_read(c->img, address, c->ahead, c->want);
	}
	if (address + n > c->end) /* the memory ends here */
		n = (size_t)(c->end - address);
	memcpy(to, c->ahead + (address - c->start), n);
	return n;
}

struct seep_error *content_of(struct content_reader *c, uint64_t address, uint64_t size,
                              struct content *ret_content)
{
	unsigned char bytes[WORDS * 8];
	size_t n = size < sizeof(bytes) ? (size_t)size : sizeof(bytes);
	struct seep_error *err;

	*ret_content = (struct content){ CONTENT_UNKNOWN, NULL };
	n = beginning(c, address, bytes, n);
	if (!n)
		return NULL;
	if (bytes_are_zero(bytes, n)) {
		if (all_zero(c->img, address, size))
			ret_content->kind = CONTENT_ZERO;
		return NULL;
	}
	for (size_t i = 0; i + 8 <= n; i += 8) {
		const char *type;
		uint64_t word;

		memcpy(&word, bytes + i, sizeof(word));
		err = type_of(c, word, &type);
		if (err)
			return err;
		if (!type)
			continue;
		free(TAKE(c->placed));
		if (i && asprintf(&c->placed, "%s at +%zu", type, i) < 0) {
			c->placed = NULL;
			return &seep_error_nomem;
		}
		*ret_content = (struct content){ CONTENT_VTABLE, i ? c->placed : type };
		return NULL;
	}
	if (read_text(c, bytes, n))
		*ret_content = (struct content){ CONTENT_TEXT, c->text.data };
	return NULL;
}
