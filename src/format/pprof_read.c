/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pprof's profile.proto → profile.
 *
 * The message refers to entries that may come later, so it is taken apart in two rounds: the first notes
 * where every table entry lies (pointers into the message, nothing is copied), the second goes through the
 * samples and makes what they mention.  Numbers in the file are looked up, never used as indices.
 *
 * A message that ends early has lost a tail of entries.  Whatever is whole is used; if that tail held
 * the strings, names are missing, and the warning says at which byte it broke.
 *
 * Which of a sample's values is what is told by the names of the sample types.  What no one calls a
 * memory profile (cpu, contention) is refused rather than shown as bytes.
 */
#include "format/mappings.h"
#include "format/pprof.h"
#include "format/stream.h"

#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/large.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TYPES 64
#define MAX_MESSAGE (2ull << 30)

struct span {
	const uint8_t *data;
	size_t len;
	uint64_t id; /* of mappings, locations and functions */
};

struct spans {
	struct span *items;
	size_t n, cap;
	struct idmap index; /* by the entry's id, for mappings, locations and functions */
	bool counted;       /* the ids are 1, 2, 3 …: not indexed */
};

/* Which value of a sample is what; MAX_TYPES: none. */
struct roles {
	size_t alloc_blocks, alloc_bytes, inuse_blocks, inuse_bytes;
};

struct type {
	uint64_t name, unit;
};

struct reader {
	struct builder b;
	struct format_input *in;
	struct spans strings, mappings, locations, functions, samples;
	struct type types[MAX_TYPES];
	size_t ntypes;
	size_t end; /* of what could be read of the message */
	struct roles roles;
	uint64_t period, default_type;
	uint64_t *comments;
	size_t ncomments, cap_comments;
	struct {
		uint32_t module, symbol;
		uint64_t pc;
		bool made;
	} * made;              /* by location */
	uint32_t *module_made; /* by mapping; index + 1 */
	struct buf scratch[4];
	uint64_t negative, missing;
	uint64_t *ids, *values;
	size_t cap_ids, cap_values;
};

static void add_span(struct reader *r, struct spans *s, const uint8_t *data, size_t len)
{
	if (s->n == s->cap) {
		size_t cap = large_next(s->cap, 256, sizeof(*s->items));
		struct span *p = s->n < UINT32_MAX / 2 ? large_resize(s->items, s->n * sizeof(*p),
		                                                      cap * sizeof(*p))
		                                       : NULL;

		if (!p) {
			r->b.failed = true;
			return;
		}
		s->items = p;
		s->cap = cap;
	}
	s->items[s->n++] = (struct span){ .data = data, .len = len };
}

/* One field of a message: its number, and its value or its bytes. */
struct field {
	unsigned int number;
	bool is_bytes;
	uint64_t value;
	struct span bytes;
};

/* false at the end, or where it makes no sense (c->failed). */
static bool next_field(struct cursor *c, struct field *ret)
{
	uint64_t tag, len;

	if (!cursor_left(c))
		return false;
	tag = cursor_uleb(c);
	*ret = (struct field){ .number = tag >> 3 > 1000 ? 1000 : (unsigned int)(tag >> 3),
		               .bytes = { .data = (const uint8_t *)"" } };
	switch (tag & 7) {
	case 0:
		ret->value = cursor_uleb(c);
		break;
	case 1:
		ret->value = cursor_u64(c);
		break;
	case 2:
		len = cursor_uleb(c);
		ret->bytes.data = cursor_bytes(c, len > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t)len);
		ret->bytes.len = (size_t)len;
		ret->is_bytes = true;
		break;
	case 5:
		ret->value = cursor_u32(c);
		break;
	default:
		c->failed = true;
	}
	return !c->failed;
}

static struct cursor inside(struct span s)
{
	return cursor_make(s.data, s.len);
}

/* No writer has an entry with more in front of its numbers; a hostile one must not be searched at length, often. */
#define MAX_ENTRY 4096

/* The number in `field` of a message, the last one when there are several; 0 when there is none. */
static uint64_t number_in(struct span message, unsigned int field)
{
	struct cursor c =
		cursor_make(message.data, message.len < MAX_ENTRY ? message.len : MAX_ENTRY);
	uint64_t v = 0;
	struct field f;

	while (next_field(&c, &f))
		if (f.number == field && !f.is_bytes)
			v = f.value;
	return v;
}

/* A string as a C string in scratch buffer `slot`, "" when it is not there. */
static char *string(struct reader *r, uint64_t number, unsigned int slot)
{
	struct buf *b = &r->scratch[slot];
	static char none[1];

	buf_reset(b);
	if (number && number < r->strings.n)
		buf_add(b, r->strings.items[number].data, r->strings.items[number].len);
	else if (number)
		r->missing++;
	r->b.failed |= b->failed;
	return b->data && b->len ? b->data : none;
}

/* ---- first round ------------------------------------------------------------------------ */

static void take_top(struct reader *r, const struct field *f)
{
	struct type t;

	switch ((enum pprof_profile)f->number) {
	case PPROF_SAMPLE_TYPE:
		t = (struct type){ number_in(f->bytes, PPROF_TYPE_NAME),
			           number_in(f->bytes, PPROF_TYPE_UNIT) };
		if (r->ntypes < MAX_TYPES)
			r->types[r->ntypes++] = t;
		break;
	case PPROF_SAMPLE:
		add_span(r, &r->samples, f->bytes.data, f->bytes.len);
		break;
	case PPROF_MAPPING:
		add_span(r, &r->mappings, f->bytes.data, f->bytes.len);
		break;
	case PPROF_LOCATION:
		add_span(r, &r->locations, f->bytes.data, f->bytes.len);
		break;
	case PPROF_FUNCTION:
		add_span(r, &r->functions, f->bytes.data, f->bytes.len);
		break;
	case PPROF_STRING:
		add_span(r, &r->strings, f->bytes.data, f->bytes.len);
		break;
	case PPROF_TIME_NANOS:
		r->b.p->start_real_ns = f->value > INT64_MAX ? 0 : f->value;
		break;
	case PPROF_DURATION_NANOS:
		r->b.p->duration_ns = f->value > INT64_MAX ? 0 : f->value;
		break;
	case PPROF_PERIOD:
		r->period = f->value > INT64_MAX ? 0 : f->value;
		break;
	case PPROF_DEFAULT_TYPE:
		r->default_type = f->value;
		break;
	default:
		break;
	}
}

/* The comments: pid and command, as the writer puts them. */
static void take_comment(struct reader *r, uint64_t number)
{
	const char *s = string(r, number, 0);

	if (!strncmp(s, PPROF_COMMAND_COMMENT, strlen(PPROF_COMMAND_COMMENT)))
		builder_string(&r->b, &r->b.p->command, s + strlen(PPROF_COMMAND_COMMENT));
	else if (!strncmp(s, PPROF_PID_COMMENT, strlen(PPROF_PID_COMMENT)))
		r->b.p->pid = (int32_t)strtol(s + strlen(PPROF_PID_COMMENT), NULL, 10);
}

/* The entry with that id; s->n: none. */
static size_t entry(const struct spans *s, uint64_t id)
{
	if (s->counted)
		return id && id <= s->n ? id - 1 : s->n;

	uint64_t hash = hash_mix(id, 0);
	size_t pos = idmap_first(&s->index, hash);
	uint32_t i;

	while (idmap_get(&s->index, &pos, hash, &i))
		if (s->items[i].id == id)
			return i;
	return s->n;
}

/* Of several with one id the first counts (and only that is indexed, or a hostile file would make long chains). */
static void index_by_id(struct reader *r, struct spans *s)
{
	s->counted = true;
	for (size_t i = 0; i < s->n; i++) {
		s->items[i].id = number_in(s->items[i], 1);
		s->counted &= s->items[i].id == i + 1;
	}
	if (s->counted) /* as most writers do: there is nothing to look up */
		return;
	r->b.failed |= idmap_reserve(&s->index, s->n) < 0;
	for (size_t i = 0; i < s->n && !r->b.failed; i++) {
		uint64_t id = s->items[i].id;

		if (entry(s, id) == s->n && idmap_add(&s->index, hash_mix(id, 0), (uint32_t)i) < 0)
			r->b.failed = true;
	}
}

static bool is_one_of(const char *s, const char *a, const char *b, const char *c)
{
	return !strcmp(s, a) || !strcmp(s, b) || !strcmp(s, c);
}

static struct seep_error *find_roles(struct reader *r)
{
	struct roles *o = &r->roles;
	char list[200] = "";
	bool nameless = false;

	*o = (struct roles){ MAX_TYPES, MAX_TYPES, MAX_TYPES, MAX_TYPES };
	for (size_t i = 0; i < r->ntypes; i++) {
		const char *name = string(r, r->types[i].name, 0),
			   *unit = string(r, r->types[i].unit, 1);
		size_t n = strlen(list);

		nameless |= r->types[i].name >= r->strings.n;
		snprintf(list + n, sizeof(list) - n, "%s%.40s/%.20s", n ? ", " : "", name, unit);
		if (is_one_of(name, "alloc_objects", "alloc_count", "allocations"))
			o->alloc_blocks = i;
		else if (is_one_of(name, "alloc_space", "alloc_bytes", "alloc_size"))
			o->alloc_bytes = i;
		else if (is_one_of(name, "inuse_objects", "objects", "inuse_count"))
			o->inuse_blocks = i;
		else if (is_one_of(name, "inuse_space", "space", "inuse_bytes"))
			o->inuse_bytes = i;
	}
	/* Nothing has a name we know: one value in bytes is in use, the last is what pprof would show. */
	for (size_t i = 0;
	     i < r->ntypes && o->inuse_bytes == MAX_TYPES && o->alloc_bytes == MAX_TYPES &&
	     o->inuse_blocks == MAX_TYPES && o->alloc_blocks == MAX_TYPES;
	     i++) {
		size_t k = r->ntypes - 1 - i;

		if (is_one_of(string(r, r->types[k].unit, 1), "bytes", "byte", "B"))
			o->inuse_bytes = k;
	}
	if (o->inuse_bytes != MAX_TYPES || o->alloc_bytes != MAX_TYPES ||
	    o->inuse_blocks != MAX_TYPES || o->alloc_blocks != MAX_TYPES)
		return NULL;
	if (!r->ntypes)
		return format_bad(r->in, PPROF_TITLE, "it has no sample types");
	/* writers put the strings last */
	if (nameless)
		return seep_error_new(0, "%s breaks off at byte %zu, before the names of its values",
		                      r->in->path, r->end);
	return seep_error_new(0, "%s is a pprof profile, but not one of memory: it holds %s",
	                      r->in->path, list);
}

/* ---- second round: code ------------------------------------------------------------------- */

static uint8_t hex_bytes(const char *hex, uint8_t *to, size_t max)
{
	size_t n = strlen(hex) / 2;

	if (strlen(hex) % 2 || n > max)
		return 0;
	for (size_t i = 0; i < n; i++) {
		char two[3] = { hex[2 * i], hex[2 * i + 1], 0 };
		char *end;

		to[i] = (uint8_t)strtoul(two, &end, 16);
		if (*end)
			return 0;
	}
	return (uint8_t)n;
}

static uint32_t module_of(struct reader *r, uint64_t id)
{
	size_t i = id ? entry(&r->mappings, id) : r->mappings.n;
	struct prof_module m = { 0 };
	uint64_t offset;
	struct span s;

	if (i == r->mappings.n)
		return PROF_NO_MODULE;
	if (r->module_made[i])
		return r->module_made[i] - 1;
	s = r->mappings.items[i];
	m.path = string(r, number_in(s, PPROF_MAPPING_FILE), 0);
	m.start = number_in(s, PPROF_MAPPING_START);
	m.end = number_in(s, PPROF_MAPPING_LIMIT);
	offset = number_in(s, PPROF_MAPPING_OFFSET);
	if (m.end < m.start)
		m.end = m.start;
	if (m.end > m.start)
		m.bias = mapping_bias(m.path, m.start, offset);
	m.build_id_len = hex_bytes(string(r, number_in(s, PPROF_MAPPING_BUILD_ID), 1), m.build_id,
	                           sizeof(m.build_id));
	r->module_made[i] = builder_mapped(&r->b, &m) + 1;
	return r->module_made[i] - 1;
}

/* Up to this many inlined functions in one place; the outermost beyond it are lost. */
#define MAX_LINES 256

static char *copy_string(struct reader *r, uint64_t number)
{
	const char *s = string(r, number, 0);
	char *c = *s ? strdup(s) : NULL;

	r->b.failed |= *s && !c;
	return c;
}

static uint32_t symbol_of(struct reader *r, struct span location)
{
	struct prof_line lines[MAX_LINES];
	struct cursor c = inside(location);
	uint32_t n = 0, id;
	struct field f;

	while (next_field(&c, &f) && n < MAX_LINES) {
		struct prof_line *l = &lines[n];
		struct span fn;
		size_t i;

		if (f.number != PPROF_LOCATION_LINE || !f.is_bytes)
			continue;
		i = entry(&r->functions, number_in(f.bytes, PPROF_LINE_FUNCTION));
		if (i == r->functions.n)
			continue;
		fn = r->functions.items[i];
		*l = (struct prof_line){ 0 };
		l->line = (uint32_t)number_in(f.bytes, PPROF_LINE_NUMBER);
		l->function = copy_string(r, number_in(fn, PPROF_FUNCTION_NAME));
		l->linkage = copy_string(r, number_in(fn, PPROF_FUNCTION_SYSTEM_NAME));
		l->file = copy_string(r, number_in(fn, PPROF_FUNCTION_FILE));
		if (l->function && l->linkage && !strcmp(l->function, l->linkage))
			free(TAKE(l->linkage));
		n++;
	}
	id = builder_symbol(&r->b, lines, n);
	for (uint32_t i = 0; i < n; i++) {
		free(lines[i].function);
		free(lines[i].linkage);
		free(lines[i].file);
	}
	return id;
}

static uint32_t frame_of(struct reader *r, uint32_t parent, uint64_t id)
{
	size_t i = entry(&r->locations, id);

	if (i == r->locations.n) {
		r->missing++;
		return builder_frame(&r->b, parent, 0, PROF_NO_MODULE, builder_unknown(&r->b));
	}
	if (!r->made[i].made) {
		struct span s = r->locations.items[i];

		r->made[i].made = true;
		r->made[i].pc = number_in(s, PPROF_LOCATION_ADDRESS);
		r->made[i].module = module_of(r, number_in(s, PPROF_LOCATION_MAPPING));
		r->made[i].symbol = symbol_of(r, s);
	}
	return builder_frame(&r->b, parent, r->made[i].pc, r->made[i].module, r->made[i].symbol);
}

/* ---- second round: samples ------------------------------------------------------------------ */

/* A repeated number, packed or one by one; *n grows. */
static void take_numbers(struct reader *r, const struct field *f, uint64_t **list, size_t *n,
                         size_t *cap)
{
	struct cursor c = inside(f->bytes);
	bool one = !f->is_bytes;

	while (one || cursor_left(&c)) {
		uint64_t v = one ? f->value : cursor_uleb(&c);

		if (c.failed)
			return;
		one = false;
		if (*n == *cap) {
			size_t want = *cap ? *cap * 2 : 64;
			uint64_t *p = reallocarray(*list, want, sizeof(*p));

			if (!p) {
				r->b.failed = true;
				return;
			}
			*list = p;
			*cap = want;
		}
		(*list)[(*n)++] = v;
		if (!f->is_bytes)
			return;
	}
}

struct labels {
	uint8_t kind;
	bool has_thread;
	char thread[256];
	int32_t tid;
};

static void take_label(struct reader *r, struct span label, struct labels *l)
{
	const char *key = string(r, number_in(label, PPROF_LABEL_KEY), 0),
		   *str = string(r, number_in(label, PPROF_LABEL_STR), 1);
	uint64_t num = number_in(label, PPROF_LABEL_NUM);

	if (!strcmp(key, "kind")) {
		l->kind = !strcmp(str, "mmap")    ? PROF_MMAP
		          : !strcmp(str, "stack") ? PROF_STACK
		                                  : PROF_HEAP;
	} else if (!strcmp(key, "thread")) {
		l->has_thread = true;
		snprintf(l->thread, sizeof(l->thread), "%s", str);
	} else if (!strcmp(key, "tid")) {
		l->has_thread = true;
		l->tid = (int32_t)num;
	}
}

static uint64_t value(struct reader *r, size_t n, size_t role)
{
	if (role >= n)
		return 0;
	if (r->values[role] > INT64_MAX) {
		r->negative++;
		return 0;
	}
	return r->values[role];
}

static void take_sample(struct reader *r, struct span sample)
{
	struct cursor c = inside(sample);
	struct labels labels = { 0 };
	struct prof_value inuse = { 0 }, alloc = { 0 };
	size_t nids = 0, nvalues = 0;
	uint32_t stack = 0, site;
	struct prof_site *s;
	struct field f;

	while (next_field(&c, &f) && !r->b.failed) {
		if (f.number == PPROF_SAMPLE_LOCATION)
			take_numbers(r, &f, &r->ids, &nids, &r->cap_ids);
		else if (f.number == PPROF_SAMPLE_VALUE)
			take_numbers(r, &f, &r->values, &nvalues, &r->cap_values);
		else if (f.number == PPROF_SAMPLE_LABEL && f.is_bytes)
			take_label(r, f.bytes, &labels);
	}
	while (nids-- > 0 && !r->b.failed)
		stack = frame_of(r, stack, r->ids[nids]);
	alloc.blocks = value(r, nvalues, r->roles.alloc_blocks);
	alloc.bytes = value(r, nvalues, r->roles.alloc_bytes);
	inuse.blocks = value(r, nvalues, r->roles.inuse_blocks);
	inuse.bytes = value(r, nvalues, r->roles.inuse_bytes);
	if (r->b.p->sampled) {
		scale_variance(r->period, &alloc);
		scale_variance(r->period, &inuse);
	}
	s = builder_site(&r->b, stack, labels.kind);
	if (!s)
		return;
	prof_value_add(&s->alloc, &alloc);
	prof_value_add(&s->inuse, &inuse);
	if (!labels.has_thread || (!inuse.blocks && !inuse.bytes))
		return;
	site = builder_site_number(&r->b, s);
	builder_cell(&r->b, site, builder_thread(&r->b, labels.tid, labels.thread), &inuse);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The whole expanded message; what is built from it points into it. */
static struct seep_error *slurp(struct format_input *in, struct buf *out)
{
	const uint8_t *data;
	size_t n;

	while ((n = stream_chunk(in->stream, &data)) > 0) {
		if (out->len + n > MAX_MESSAGE)
			return seep_error_new(0, "%s is larger than any profile (2 GiB expanded)",
			                      in->path);
		if (buf_add(out, data, n) < 0)
			return &seep_error_nomem;
	}
	return stream_nomem(in->stream) ? &seep_error_nomem : NULL;
}

static void first_round(struct reader *r, const struct buf *raw)
{
	struct cursor c = cursor_make(raw->data ? raw->data : "", raw->len), before = c;
	struct field f;

	for (; next_field(&c, &f) && !r->b.failed; before = c) {
		take_top(r, &f);
		if (f.number == PPROF_COMMENT)
			take_numbers(r, &f, &r->comments, &r->ncomments, &r->cap_comments);
	}
	r->end = cursor_offset(c.failed ? &before : &c);
	if (c.failed)
		format_warn(
			r->in,
			"%s breaks off at byte %zu of its message (%zu are there): what follows is missing",
			r->in->path, cursor_offset(&before), raw->len);
	index_by_id(r, &r->mappings);
	index_by_id(r, &r->locations);
	index_by_id(r, &r->functions);
}

static void find_program(struct reader *r)
{
	struct profile *p = r->b.p;

	if (r->mappings.n)
		builder_string(&r->b, &p->exe,
		               string(r, number_in(r->mappings.items[0], PPROF_MAPPING_FILE), 0));
	for (size_t i = 0; i < r->ncomments; i++)
		take_comment(r, r->comments[i]);
	/* The file has the time of collection, which is the end. */
	if (p->start_real_ns > p->duration_ns)
		p->start_real_ns -= p->duration_ns;
}

static struct seep_error *read_all(struct reader *r, const struct buf *raw,
                                   struct profile **ret_profile)
{
	struct seep_error *err = builder_init(&r->b, r->in, "pprof profile");

	if (err)
		return err;
	first_round(r, raw);
	r->made = calloc(r->locations.n + 1, sizeof(*r->made));
	r->module_made = calloc(r->mappings.n + 1, sizeof(*r->module_made));
	if (!r->made || !r->module_made)
		return &seep_error_nomem;
	err = find_roles(r);
	if (err)
		return err;
	r->b.p->sampled = r->period > 1;
	r->b.p->period = r->b.p->sampled ? r->period : 0;
	find_program(r);
	for (size_t i = 0; i < r->mappings.n; i++)
		module_of(r, r->mappings.items[i].id);
	/* A stack each, whose last frame is its own, and a name for each place: about as many, seldom more. */
	builder_reserve(&r->b, r->samples.n + r->locations.n + 1, r->locations.n + 1,
	                r->samples.n + 1);
	for (size_t i = 0; i < r->samples.n && !r->b.failed; i++)
		take_sample(r, r->samples.items[i]);
	if (r->negative)
		format_warn(r->in,
		            "%s has %llu negative values (is it a difference?); they count as 0",
		            r->in->path, (unsigned long long)r->negative);
	if (r->missing)
		format_warn(
			r->in,
			"%s refers %llu times to names or places that are not in it: it may be cut off where it ends, at byte %zu of its message",
			r->in->path, (unsigned long long)r->missing, r->end);
	return builder_finish(&r->b, ret_profile);
}

static void release(struct reader *r)
{
	struct spans *all[] = { &r->strings, &r->mappings, &r->locations, &r->functions,
		                &r->samples };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		free(all[i]->items);
		idmap_release(&all[i]->index);
	}
	for (size_t i = 0; i < ARRAY_SIZE(r->scratch); i++)
		buf_release(&r->scratch[i]);
	free(r->comments);
	free(r->made);
	free(r->module_made);
	free(r->ids);
	free(r->values);
	builder_release(&r->b);
}

struct seep_error *pprof_read(struct format_input *in, struct profile **ret_profile)
{
	_cleanup_buf_ struct buf raw = { 0 };
	struct reader r = { .in = in };
	struct seep_error *err = slurp(in, &raw);

	if (!err)
		err = read_all(&r, &raw, ret_profile);
	release(&r);
	return err;
}
