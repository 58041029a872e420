/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profile → pprof's profile.proto, gzipped.
 *
 * The message is a handful of tables that refer to each other by number: samples → locations → functions
 * and mappings → strings.  Each table is encoded into a buffer of its own as its entries are first needed, and the
 * buffers are joined at the end, since protobuf does not care for order.
 *
 * Values are unbiased estimates, which is what pprof expects (it never scales protobuf profiles).  A site
 * whose blocks belong to threads becomes several samples: one for each thread with what is in use there, and
 * one without thread for the rest and for all that was allocated; their sum is the site.
 */
#include "format/pprof.h"

#include "format/gzip.h"

#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/idmap.h"

#include <stdlib.h>
#include <string.h>

#define GZIP_LEVEL 4 /* half the time of 6 for a few percent more bytes */

/* ---- protobuf ------------------------------------------------------------------------ */

static void put_varint(struct buf *out, uint64_t v)
{
	char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (char)(v & 0x7f);
		v >>= 7;
		if (v)
			bytes[n] |= (char)0x80;
		n++;
	} while (v);
	buf_add(out, bytes, n);
}

/* A number; protobuf leaves zeros out. */
static void put_number(struct buf *out, unsigned int field, uint64_t v)
{
	if (!v)
		return;
	put_varint(out, field << 3);
	put_varint(out, v);
}

static void put_bytes(struct buf *out, unsigned int field, const void *data, size_t len)
{
	put_varint(out, field << 3 | 2);
	put_varint(out, len);
	buf_add(out, data, len);
}

/* What is in `message`, which is emptied. */
static void put_message(struct buf *out, unsigned int field, struct buf *message)
{
	put_bytes(out, field, message->len ? message->data : "", message->len);
	out->failed |= message->failed;
	message->len = 0;
}

/* ---- tables -------------------------------------------------------------------------- */

struct writer {
	const struct profile *p;
	struct buf samples, mappings, locations, functions, strings;
	struct buf message, inner; /* under construction */
	struct idmap string_index, function_index, location_index;
	const char **string_list; /* by number; borrowed */
	struct function {
		uint32_t name, linkage, file;
	} * function_list; /* number - 1 */
	struct location {
		uint64_t pc;
		uint32_t module, symbol;
	} * location_list;      /* number - 1 */
	uint32_t *location_of;  /* of frames; 0: not yet */
	uint32_t *mapping_of;   /* of modules: their numbers, from 1 */
	uint32_t *first, *next; /* cells of sites: [site] → cell + 1 → … */
	size_t nstrings, cap_strings, nfunctions, cap_functions, nlocations, cap_locations;
	uint32_t thread, tid, kind, kinds[PROF_NKINDS], bytes;
	bool failed;
};

static bool room(struct writer *w, void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 256;
	void *p;

	if (n < *cap)
		return true;
	p = n < UINT32_MAX - 1 ? reallocarray(*(void **)array, want, size) : NULL;
	if (!p) {
		w->failed = true;
		return false;
	}
	*(void **)array = p;
	*cap = want;
	return true;
}

static void index_it(struct writer *w, struct idmap *m, uint64_t hash, uint32_t id)
{
	if (idmap_add(m, hash, id) < 0)
		w->failed = true;
}

/* s must live until the end. */
static uint32_t string(struct writer *w, const char *s)
{
	uint64_t hash = hash_str(s ? s : "");
	size_t pos = idmap_first(&w->string_index, hash);
	uint32_t id;

	s = s ? s : "";
	while (idmap_get(&w->string_index, &pos, hash, &id))
		if (!strcmp(w->string_list[id], s))
			return id;
	if (!room(w, &w->string_list, w->nstrings, &w->cap_strings, sizeof(*w->string_list)))
		return 0;
	id = (uint32_t)w->nstrings++;
	w->string_list[id] = s;
	index_it(w, &w->string_index, hash, id);
	put_bytes(&w->strings, PPROF_STRING, s, strlen(s));
	return id;
}

static uint32_t function(struct writer *w, const struct prof_line *l)
{
	struct function f = { string(w, l->function),
		              string(w, l->linkage ? l->linkage : l->function), string(w, l->file) };
	uint64_t hash = hash_mix(hash_mix(f.name, f.linkage), f.file);
	size_t pos = idmap_first(&w->function_index, hash);
	uint32_t id;

	while (idmap_get(&w->function_index, &pos, hash, &id)) {
		const struct function *g = &w->function_list[id];

		if (g->name == f.name && g->linkage == f.linkage && g->file == f.file)
			return id + 1;
	}
	if (!room(w, &w->function_list, w->nfunctions, &w->cap_functions, sizeof(*w->function_list)))
		return 0;
	id = (uint32_t)w->nfunctions++;
	w->function_list[id] = f;
	index_it(w, &w->function_index, hash, id);
	put_number(&w->inner, PPROF_FUNCTION_ID, id + 1);
	put_number(&w->inner, PPROF_FUNCTION_NAME, f.name);
	put_number(&w->inner, PPROF_FUNCTION_SYSTEM_NAME, f.linkage);
	put_number(&w->inner, PPROF_FUNCTION_FILE, f.file);
	put_message(&w->functions, PPROF_FUNCTION, &w->inner);
	return id + 1;
}

static void put_location(struct writer *w, uint32_t number, const struct location *l)
{
	const struct prof_symbol *s = &w->p->symbols[l->symbol];

	put_number(&w->message, PPROF_LOCATION_ID, number);
	if (l->module != PROF_NO_MODULE)
		put_number(&w->message, PPROF_LOCATION_MAPPING, w->mapping_of[l->module]);
	put_number(&w->message, PPROF_LOCATION_ADDRESS, l->pc);
	for (uint32_t i = 0; i < s->nlines; i++) {
		uint32_t f;

		if (!s->lines[i].function)
			continue;
		f = function(w, &s->lines[i]);
		put_number(&w->inner, PPROF_LINE_FUNCTION, f);
		put_number(&w->inner, PPROF_LINE_NUMBER, s->lines[i].line);
		put_message(&w->message, PPROF_LOCATION_LINE, &w->inner);
	}
	put_message(&w->locations, PPROF_LOCATION, &w->message);
}

static uint32_t location(struct writer *w, uint32_t frame)
{
	const struct prof_frame *f = &w->p->frames[frame];
	struct location l = { f->pc, f->module, f->symbol };
	uint64_t hash = hash_mix(l.pc, (uint64_t)l.module << 32 | l.symbol);
	size_t pos = idmap_first(&w->location_index, hash);
	uint32_t id;

	if (w->location_of[frame])
		return w->location_of[frame];
	while (idmap_get(&w->location_index, &pos, hash, &id)) {
		const struct location *o = &w->location_list[id];

		if (o->pc == l.pc && o->module == l.module && o->symbol == l.symbol)
			return w->location_of[frame] = id + 1;
	}
	if (!room(w, &w->location_list, w->nlocations, &w->cap_locations, sizeof(*w->location_list)))
		return 0;
	id = (uint32_t)w->nlocations++;
	w->location_list[id] = l;
	index_it(w, &w->location_index, hash, id);
	put_location(w, id + 1, &l);
	return w->location_of[frame] = id + 1;
}

/* ---- mappings: the program itself comes first ------------------------------------------ */

static void put_mapping(struct writer *w, size_t module, uint32_t number)
{
	const struct prof_module *m = &w->p->modules[module];
	uint32_t path = string(w, m->path);

	w->mapping_of[module] = number;
	put_number(&w->message, PPROF_MAPPING_ID, number);
	put_number(&w->message, PPROF_MAPPING_START, m->start);
	put_number(&w->message, PPROF_MAPPING_LIMIT, m->end);
	put_number(&w->message, PPROF_MAPPING_FILE, path);
	if (m->build_id_len) {
		char hex[2 * sizeof(m->build_id)];

		for (size_t i = 0; i < m->build_id_len; i++) {
			hex[2 * i] = "0123456789abcdef"[m->build_id[i] >> 4];
			hex[2 * i + 1] = "0123456789abcdef"[m->build_id[i] & 15];
		}
		/* Not shared with other strings: each is there once anyway. */
		put_number(&w->message, PPROF_MAPPING_BUILD_ID, w->nstrings);
		if (room(w, &w->string_list, w->nstrings, &w->cap_strings, sizeof(*w->string_list))) {
			w->string_list[w->nstrings++] = "";
			put_bytes(&w->strings, PPROF_STRING, hex, 2 * (size_t)m->build_id_len);
		}
	}
}

/* Go's pprof asks the symbols of a mapping from the file again when these are not set. */
static void put_mappings(struct writer *w)
{
	const struct profile *p = w->p;
	size_t main = p->nmodules;
	uint32_t number = 1;
	bool named = false;

	for (size_t i = 1; i < p->nsymbols && !named; i++)
		named = p->symbols[i].lines[0].function;
	for (size_t i = 0; i < p->nmodules && main == p->nmodules; i++)
		if (p->exe && !strcmp(p->modules[i].path, p->exe))
			main = i;
	for (size_t k = 0; k <= p->nmodules; k++) {
		size_t i = k ? k - 1 : main;

		if (i >= p->nmodules || (k && i == main))
			continue;
		put_mapping(w, i, number++);
		put_number(&w->message, PPROF_MAPPING_HAS_FUNCTIONS, named);
		put_number(&w->message, PPROF_MAPPING_HAS_FILES, named);
		put_number(&w->message, PPROF_MAPPING_HAS_LINES, named);
		put_number(&w->message, PPROF_MAPPING_HAS_INLINES, named);
		put_message(&w->mappings, PPROF_MAPPING, &w->message);
	}
}

/* ---- samples ------------------------------------------------------------------------- */

static void put_label(struct writer *w, uint32_t key, uint32_t str, uint64_t num, uint32_t unit)
{
	put_number(&w->inner, PPROF_LABEL_KEY, key);
	put_number(&w->inner, PPROF_LABEL_STR, str);
	put_number(&w->inner, PPROF_LABEL_NUM, num);
	put_number(&w->inner, PPROF_LABEL_UNIT, unit);
	put_message(&w->message, PPROF_SAMPLE_LABEL, &w->inner);
}

/* pprof's numbers have a sign. */
static uint64_t positive(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : v;
}

static void put_sample(struct writer *w, const struct prof_site *s, const struct prof_value *alloc,
                       const struct prof_value *inuse, uint32_t thread)
{
	const struct prof_value *sizes = alloc->blocks ? alloc : inuse;

	if (!alloc->blocks && !alloc->bytes && !inuse->blocks && !inuse->bytes)
		return;
	for (uint32_t f = s->stack; f; f = w->p->frames[f].parent)
		location(w, f); /* may use the buffers below */
	for (uint32_t f = s->stack; f; f = w->p->frames[f].parent)
		put_varint(&w->inner, w->location_of[f]);
	put_message(&w->message, PPROF_SAMPLE_LOCATION, &w->inner);
	put_varint(&w->inner, positive(alloc->blocks));
	put_varint(&w->inner, positive(alloc->bytes));
	put_varint(&w->inner, positive(inuse->blocks));
	put_varint(&w->inner, positive(inuse->bytes));
	put_message(&w->message, PPROF_SAMPLE_VALUE, &w->inner);
	if (sizes->blocks && sizes->bytes)
		put_label(w, w->bytes, 0, positive(sizes->bytes / sizes->blocks), w->bytes);
	put_label(w, w->kind, w->kinds[s->kind], 0, 0);
	if (thread) {
		const struct prof_thread *t = &w->p->threads[thread];

		put_label(w, w->thread, string(w, t->name), 0, 0);
		put_label(w, w->tid, 0, (uint64_t)(int64_t)t->tid, 0);
	}
	put_message(&w->samples, PPROF_SAMPLE, &w->message);
}

static uint64_t take(uint64_t *from, uint64_t v)
{
	v = v < *from ? v : *from;
	*from -= v;
	return v;
}

static void put_site(struct writer *w, size_t site)
{
	const struct prof_value none = { 0 };
	const struct prof_site *s = &w->p->sites[site];
	struct prof_value rest = s->inuse;

	for (uint32_t c = w->first[site]; c; c = w->next[c - 1]) {
		const struct prof_cell *cell = &w->p->cells[c - 1];
		struct prof_value part = { .blocks = take(&rest.blocks, cell->inuse.blocks),
			                   .bytes = take(&rest.bytes, cell->inuse.bytes) };

		put_sample(w, s, &none, &part, cell->thread);
	}
	put_sample(w, s, &s->alloc, &rest, 0);
}

static void list_cells(struct writer *w)
{
	for (size_t i = w->p->ncells; i-- > 0;) {
		const struct prof_cell *c = &w->p->cells[i];

		if (!c->thread)
			continue;
		w->next[i] = w->first[c->site];
		w->first[c->site] = (uint32_t)i + 1;
	}
}

/* ---- the whole ----------------------------------------------------------------------- */

static void put_type(struct writer *w, struct buf *out, unsigned int field, const char *name,
                     const char *unit)
{
	put_number(&w->inner, PPROF_TYPE_NAME, string(w, name));
	put_number(&w->inner, PPROF_TYPE_UNIT, string(w, unit));
	put_message(out, field, &w->inner);
}

static void put_head(struct writer *w, const struct buf *comments, size_t ncomments, struct buf *out)
{
	const struct profile *p = w->p;
	const char *comment = comments->data;

	put_type(w, out, PPROF_SAMPLE_TYPE, "alloc_objects", "count");
	put_type(w, out, PPROF_SAMPLE_TYPE, "alloc_space", "bytes");
	put_type(w, out, PPROF_SAMPLE_TYPE, "inuse_objects", "count");
	put_type(w, out, PPROF_SAMPLE_TYPE, "inuse_space", "bytes");
	put_type(w, out, PPROF_PERIOD_TYPE, "space", "bytes");
	put_number(out, PPROF_PERIOD, p->sampled && p->period ? positive(p->period) : 1);
	if (p->start_real_ns)
		put_number(out, PPROF_TIME_NANOS, positive(p->start_real_ns + p->duration_ns));
	put_number(out, PPROF_DURATION_NANOS, positive(p->duration_ns));
	for (size_t i = 0; i < ncomments; i++) {
		put_number(out, PPROF_COMMENT, string(w, comment));
		comment += strlen(comment) + 1;
	}
}

/* One after the other, each with its NUL. */
static size_t make_comments(const struct profile *p, struct buf *out)
{
	size_t n = 0;

	if (p->command) {
		buf_printf(out, PPROF_COMMAND_COMMENT "%s", p->command);
		buf_putc(out, 0);
		n++;
	}
	if (p->pid) {
		buf_printf(out, PPROF_PID_COMMENT "%d", p->pid);
		buf_putc(out, 0);
		n++;
	}
	return n;
}

static void encode(struct writer *w, const struct format_output *o, const struct buf *comments,
                   size_t ncomments, struct buf *out)
{
	static const char *const kinds[PROF_NKINDS] = { "heap", "mmap", "stack" };

	string(w, ""); /* number 0, as the format demands */
	w->kind = string(w, "kind");
	w->thread = string(w, "thread");
	w->tid = string(w, "tid");
	w->bytes = string(w, "bytes");
	for (size_t i = 0; i < PROF_NKINDS; i++)
		w->kinds[i] = string(w, kinds[i]);
	list_cells(w);
	put_mappings(w);
	for (size_t i = 0; i < w->p->nsites && !w->failed; i++)
		if (output_has(o, &w->p->sites[i]))
			put_site(w, i);
	put_head(w, comments, ncomments, out);
	for (struct buf *b = &w->samples; b <= &w->strings; b++) {
		buf_add(out, b->data ? b->data : "", b->len);
		w->failed |= b->failed;
	}
	w->failed |= w->message.failed | w->inner.failed;
}

static void release(struct writer *w)
{
	for (struct buf *b = &w->samples; b <= &w->inner; b++)
		buf_release(b);
	idmap_release(&w->string_index);
	idmap_release(&w->function_index);
	idmap_release(&w->location_index);
	free(w->string_list);
	free(w->function_list);
	free(w->location_list);
	free(w->location_of);
	free(w->mapping_of);
	free(w->first);
	free(w->next);
}

static struct seep_error *pprof_write(const struct profile *p, const struct format_output *o,
                                      struct buf *out)
{
	_cleanup_buf_ struct buf raw = { 0 }, comments = { 0 };
	size_t ncomments = make_comments(p, &comments);
	struct seep_error *err = &seep_error_nomem;
	struct writer w = {
		.p = p,
		.location_of = calloc(p->nframes + 1, sizeof(*w.location_of)),
		.mapping_of = calloc(p->nmodules + 1, sizeof(*w.mapping_of)),
		.first = calloc(p->nsites + 1, sizeof(*w.first)),
		.next = calloc(p->ncells + 1, sizeof(*w.next)),
	};

	if (w.location_of && w.mapping_of && w.first && w.next && !comments.failed) {
		encode(&w, o, &comments, ncomments, &raw);
		if (!w.failed && !raw.failed)
			err = gzip_pack(&raw, GZIP_LEVEL, out) < 0 ? &seep_error_nomem : NULL;
	}
	release(&w);
	return err;
}

/* A gzipped one is expanded before it gets here.  Fields in order, each of them one that a profile has. */
static int pprof_probe(const uint8_t *head, size_t len)
{
	struct cursor c = cursor_make(head, len);
	unsigned int fields = 0, types = 0;

	while (cursor_left(&c)) {
		uint64_t tag = cursor_uleb(&c), size;
		bool is_bytes = (tag & 7) == 2;

		if (c.failed && len == FORMAT_PROBE_BYTES)
			break;
		if (c.failed || !(tag >> 3) || tag >> 3 >= PPROF_LAST_FIELD ||
		    ((tag & 7) != 0 && !is_bytes))
			return 0;
		if (is_bytes && (tag >> 3 == PPROF_TIME_NANOS || tag >> 3 == PPROF_DURATION_NANOS ||
		                 tag >> 3 == PPROF_PERIOD))
			return 0;
		size = cursor_uleb(&c);
		types += tag == (PPROF_SAMPLE_TYPE << 3 | 2) && size <= 16;
		fields++;
		if (is_bytes && !cursor_bytes(&c, size > len ? len + 1 : (size_t)size))
			break; /* goes on behind what is seen of the file */
	}
	return types && fields > 1 ? 60 : 0;
}

const struct format format_pprof = {
	.name = "pprof",
	.title = "pprof protobuf (gzip)",
	.suffixes = ".pb.gz .pprof .pb",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES | FORMAT_ALLOC_BLOCKS,
	.names = true,
	.probe = pprof_probe,
	.read = pprof_read,
	.write = pprof_write,
};
