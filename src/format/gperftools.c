/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gperftools' heap profile as text, as HEAPPROFILE and /pprof/heap write it:
 *
 *     heap profile:    120:     61440 [   240:    122880] @ heapprofile
 *        100:     51200 [   200:    102400] @ 0x55e808b2b1ca 0x55e808b2b194
 *        ...
 *
 *     MAPPED_LIBRARIES:
 *     (/proc/PID/maps)
 *
 * In use, in brackets allocated; addresses leaf first.  They are return addresses: every reader of the
 * format takes 1 off, ours too, since prof_frame.pc lies inside the call.
 *
 * The word behind the header's @ decides how numbers are to be taken.  "heapprofile" is exact;
 * "heap_v2/PERIOD" is what a sampling of that period caught, to be scaled up (scale.c); "heap/N", of old
 * jemallocs and of Go, likewise with a period of N/2; "growthz" are the stacks that made the heap larger,
 * with nothing ever given back.  A wrong word there is a wrong profile everywhere.
 */
#include "format/mappings.h"
#include "format/stream.h"
#include "format/text.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define TITLE "gperftools"

static int probe(const uint8_t *head, size_t len)
{
	static const char magic[] = "heap profile: ";

	return len >= sizeof(magic) - 1 && !memcmp(head, magic, sizeof(magic) - 1) ? 95 : 0;
}

struct values {
	uint64_t blocks, bytes, alloc_blocks, alloc_bytes;
};

/* "   1:   24 [   2:   48] @" */
static bool take_values(char **p, struct values *v)
{
	char *q = *p;

	text_blanks(&q);
	if (!text_u64(&q, &v->blocks) || !text_take(&q, ":"))
		return false;
	text_blanks(&q);
	if (!text_u64(&q, &v->bytes))
		return false;
	text_blanks(&q);
	if (!text_take(&q, "["))
		return false;
	text_blanks(&q);
	if (!text_u64(&q, &v->alloc_blocks) || !text_take(&q, ":"))
		return false;
	text_blanks(&q);
	if (!text_u64(&q, &v->alloc_bytes))
		return false;
	text_blanks(&q);
	if (!text_take(&q, "]"))
		return false;
	text_blanks(&q);
	if (!text_take(&q, "@"))
		return false;
	text_blanks(&q);
	*p = q;
	return true;
}

struct reader {
	struct builder b;
	struct format_input *in;
	struct mappings maps;
	struct pc_list pcs;
	uint64_t period; /* 0: exact */
	bool growth;
	bool no_alloc; /* the header's two pairs are the same: only what is in use was recorded */
	bool at_maps;
};

static struct seep_error *read_header(struct reader *r)
{
	size_t len;
	char *line = stream_line(r->in->stream, &len), *p = line;
	struct values v;
	uint64_t n = 0;

	if (!line || !text_take(&p, "heap profile:") || !take_values(&p, &v))
		return format_bad(r->in, TITLE, "there is no header");
	r->no_alloc = v.blocks == v.alloc_blocks && v.bytes == v.alloc_bytes;
	if (text_take(&p, "heap_v2/") || text_take(&p, "heapz_v2/")) {
		if (!text_u64(&p, &r->period))
			return format_bad(r->in, TITLE, "there is no period");
	} else if (text_take(&p, "heapprofile")) {
		r->period = 0;
	} else if (text_take(&p, "growth")) {
		r->growth = true;
	} else if (text_take(&p, "heap")) {
		if (text_take(&p, "/") && !text_u64(&p, &n))
			return format_bad(r->in, TITLE, "there is no period");
		r->period = n / 2;
	} else {
		return format_bad(r->in, TITLE, "a profile of kind '%.40s' is not one of memory", p);
	}
	r->b.p->sampled = r->period > 1;
	r->b.p->period = r->b.p->sampled ? r->period : 0;
	return NULL;
}

static bool read_site(struct reader *r, char *line)
{
	struct prof_value inuse, alloc;
	struct prof_site *s;
	struct values v;
	char *p = line;
	uint64_t pc;

	if (!take_values(&p, &v))
		return false;
	for (r->pcs.n = 0; text_0x(&p, &pc); text_blanks(&p))
		pc_list_add(&r->b, &r->pcs, pc ? pc - 1 : 0);
	if (*p)
		return false;
	s = builder_site(&r->b, builder_stack(&r->b, &r->pcs), r->growth ? PROF_MMAP : PROF_HEAP);
	if (!s)
		return true;
	scale_unbias(v.blocks, v.bytes, r->period, &inuse);
	scale_unbias(v.alloc_blocks, v.alloc_bytes, r->period, &alloc);
	prof_value_add(&s->inuse, &inuse);
	if (!r->growth)
		prof_value_add(&s->alloc, &alloc);
	return true;
}

static bool is_maps_header(const char *line)
{
	return !strcmp(line, "MAPPED_LIBRARIES:") || !strcmp(line, "--- Memory map: ---");
}

static void read_body(struct reader *r)
{
	char *line;
	size_t len;

	while ((line = stream_line(r->in->stream, &len)) && !r->b.failed) {
		unsigned long long number = stream_number(r->in->stream);

		if (stream_cut(r->in->stream)) {
			format_warn(r->in, "%s ends in the middle of line %llu", r->in->path,
			            number);
			break;
		}
		if (is_maps_header(line))
			r->at_maps = true;
		else if (!len || line[0] == '#')
			continue;
		else if (r->at_maps ? !mappings_line(&r->b, &r->maps, line) : !read_site(r, line))
			format_warn(r->in, "%s: line %llu makes no sense and was left out",
			            r->in->path, number);
	}
}

static struct seep_error *read_all(struct reader *r, struct profile **ret_profile)
{
	struct seep_error *err = builder_init(&r->b, r->in, "gperftools heap profile");

	if (!err)
		err = read_header(r);
	if (err)
		return err;
	read_body(r);
	if (!r->at_maps)
		format_warn(r->in, "%s ends at line %llu, before its list of mapped libraries",
		            r->in->path, (unsigned long long)stream_number(r->in->stream));
	mappings_apply(&r->b, &r->maps);
	/* A tool that does not count what was allocated repeats what is in use. */
	for (size_t i = 0; r->no_alloc && i < r->b.p->nsites; i++)
		if (r->b.p->sampled || r->growth)
			r->b.p->sites[i].alloc = (struct prof_value){ 0 };
	return builder_finish(&r->b, ret_profile);
}

static struct seep_error *read_gperftools(struct format_input *in, struct profile **ret_profile)
{
	struct reader r = { .in = in };
	struct seep_error *err = read_all(&r, ret_profile);

	mappings_release(&r.maps);
	builder_release(&r.b);
	free(r.pcs.pcs);
	return err;
}

/* ---- writing -------------------------------------------------------------------------- */

static void put_values(struct buf *out, const struct values *v)
{
	buf_printf(out, "%6llu: %8llu [%6llu: %8llu] @", (unsigned long long)v->blocks,
	           (unsigned long long)v->bytes, (unsigned long long)v->alloc_blocks,
	           (unsigned long long)v->alloc_bytes);
}

static void add(uint64_t *to, uint64_t v)
{
	if (__builtin_add_overflow(*to, v, to))
		*to = UINT64_MAX;
}

static struct values heap_values(const struct prof_site *s, uint64_t period)
{
	struct values v;

	scale_bias(&s->inuse, period, &v.blocks, &v.bytes);
	scale_bias(&s->alloc, period, &v.alloc_blocks, &v.alloc_bytes);
	return v;
}

/* What was ever mapped: growth is never given back. */
static struct values growth_values(const struct prof_site *s, uint64_t period)
{
	const struct prof_value *v = s->alloc.bytes ? &s->alloc : &s->inuse;

	(void)period;
	return (struct values){ v->blocks, v->bytes, v->blocks, v->bytes };
}

static bool any(const struct values *v)
{
	return v->blocks || v->bytes || v->alloc_blocks || v->alloc_bytes;
}

static struct seep_error *write_profile(const struct profile *p, const struct format_output *o,
                                        uint64_t period, const char *kind,
                                        struct values (*values)(const struct prof_site *, uint64_t),
                                        struct buf *out)
{
	struct seep_error *err = need_addresses(p, o, "gperftools");
	struct values sum = { 0 };

	if (err)
		return err;
	for (size_t i = 0; i < p->nsites; i++) {
		struct values v = values(&p->sites[i], period);

		if (!output_has(o, &p->sites[i]))
			continue;
		add(&sum.blocks, v.blocks);
		add(&sum.bytes, v.bytes);
		add(&sum.alloc_blocks, v.alloc_blocks);
		add(&sum.alloc_bytes, v.alloc_bytes);
	}
	buf_puts(out, "heap profile: ");
	put_values(out, &sum);
	buf_printf(out, " %s", kind);
	if (period)
		buf_printf(out, "/%llu", (unsigned long long)period);
	buf_putc(out, '\n');
	for (size_t i = 0; i < p->nsites; i++) {
		struct values v = values(&p->sites[i], period);

		if (!output_has(o, &p->sites[i]) || !any(&v))
			continue;
		put_values(out, &v);
		for (uint32_t f = p->sites[i].stack; f; f = p->frames[f].parent) {
			buf_putc(out, ' ');
			put_hex(out, p->frames[f].pc + 1);
		}
		buf_putc(out, '\n');
	}
	mappings_write(out, p);
	return NULL;
}

static struct seep_error *write_gperftools(const struct profile *p, const struct format_output *o,
                                           struct buf *out)
{
	if (p->sampled && p->period)
		return write_profile(p, o, p->period, "heap_v2", heap_values, out);
	return write_profile(p, o, 0, "heapprofile", heap_values, out);
}

static struct seep_error *write_growth(const struct profile *p, const struct format_output *o,
                                       struct buf *out)
{
	struct format_output mapped = { .kinds = PROF_KIND_BIT(PROF_MMAP) };

	return write_profile(p, o->kinds ? o : &mapped, 0, "growthz", growth_values, out);
}

static int probe_never(const uint8_t *head, size_t len)
{
	return 0;
}

const struct format format_gperftools = {
	.name = "gperftools",
	.title = "gperftools heap profile (text)",
	.suffixes = ".heap",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES | FORMAT_ALLOC_BLOCKS,
	.probe = probe,
	.read = read_gperftools,
	.write = write_gperftools,
};

/* Read as the former: the header says which of the two it is. */
const struct format format_growth = {
	.name = "growth",
	.title = "gperftools heap growth (text)",
	.suffixes = ".growth",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS,
	.probe = probe_never,
	.read = NULL,
	.write = write_growth,
};
