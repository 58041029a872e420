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
 * In use, in brackets allocated; addresses leaf first.
 *
 * The word behind the header's @ decides how numbers are to be taken.  "heapprofile" is exact;
 * "heap_v2/PERIOD" is what a sampling of that period caught, to be scaled up (scale.c); "heap/N", of old
 * jemallocs and of Go, likewise with a period of N/2; "growthz" are the stacks that made the heap larger,
 * with nothing ever given back.  A wrong word there is a wrong profile everywhere.
 */
#include "format/heap_text.h"
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

/* Values, and the @ that is between them and the stack. */
static bool take_values(char **p, struct heap_values *v)
{
	char *q = *p;

	if (!heap_values_take(&q, v))
		return false;
	text_blanks(&q);
	if (!text_take(&q, "@"))
		return false;
	text_blanks(&q);
	*p = q;
	return true;
}

struct reader {
	struct heap_text t;
	bool growth;
	bool no_alloc; /* the header's two pairs are the same: only what is in use was recorded */
};

static struct seep_error *read_header(struct reader *r)
{
	size_t len;
	char *line = stream_line(r->t.in->stream, &len), *p = line;
	struct heap_values v;
	uint64_t n = 0;

	if (!line || !text_take(&p, "heap profile:") || !take_values(&p, &v))
		return format_bad(r->t.in, TITLE, "there is no header");
	r->no_alloc = v.blocks == v.alloc_blocks && v.bytes == v.alloc_bytes;
	if (text_take(&p, "heap_v2/") || text_take(&p, "heapz_v2/")) {
		if (!text_u64(&p, &n))
			return format_bad(r->t.in, TITLE, "there is no period");
		heap_text_period(&r->t, n);
	} else if (text_take(&p, "heapprofile")) {
		heap_text_period(&r->t, 0);
	} else if (text_take(&p, "growth")) {
		r->growth = true;
	} else if (text_take(&p, "heap")) {
		if (text_take(&p, "/") && !text_u64(&p, &n))
			return format_bad(r->t.in, TITLE, "there is no period");
		heap_text_period(&r->t, n / 2);
	} else {
		return format_bad(r->t.in, TITLE, "a profile of kind '%.40s' is not one of memory",
		                  p);
	}
	return NULL;
}

static bool read_site(void *arg, char *line)
{
	struct reader *r = arg;
	struct prof_value inuse, alloc;
	struct heap_values v;
	struct prof_site *s;
	uint32_t stack;
	char *p = line;

	if (*line == '#')
		return true;
	if (!take_values(&p, &v) || !heap_text_stack(&r->t, p, &stack))
		return false;
	s = builder_site(&r->t.b, stack, r->growth ? PROF_MMAP : PROF_HEAP);
	if (!s)
		return true;
	scale_unbias(v.blocks, v.bytes, r->t.period, &inuse);
	scale_unbias(v.alloc_blocks, v.alloc_bytes, r->t.period, &alloc);
	prof_value_add(&s->inuse, &inuse);
	if (!r->growth)
		prof_value_add(&s->alloc, &alloc);
	return true;
}

static bool is_maps_header(const char *line)
{
	return !strcmp(line, "MAPPED_LIBRARIES:") || !strcmp(line, "--- Memory map: ---");
}

static struct seep_error *read_all(struct reader *r, struct profile **ret_profile)
{
	struct builder *b = &r->t.b;
	struct seep_error *err = builder_init(b, r->t.in, "gperftools heap profile");

	if (!err)
		err = read_header(r);
	if (err)
		return err;
	heap_text_read(&r->t, is_maps_header, read_site, r);
	/* A tool that does not count what was allocated repeats what is in use. */
	for (size_t i = 0; r->no_alloc && i < b->p->nsites; i++)
		if (b->p->sampled || r->growth)
			b->p->sites[i].alloc = (struct prof_value){ 0 };
	return builder_finish(b, ret_profile);
}

static struct seep_error *read_gperftools(struct format_input *in, struct profile **ret_profile)
{
	struct reader r = { .t.in = in };
	struct seep_error *err = read_all(&r, ret_profile);

	heap_text_release(&r.t);
	return err;
}

/* ---- writing -------------------------------------------------------------------------- */

static void put_values(struct buf *out, const struct heap_values *v)
{
	buf_printf(out, "%6llu: %8llu [%6llu: %8llu] @", (unsigned long long)v->blocks,
	           (unsigned long long)v->bytes, (unsigned long long)v->alloc_blocks,
	           (unsigned long long)v->alloc_bytes);
}

static struct heap_values heap_values(const struct prof_site *s, uint64_t period)
{
	struct heap_values v;

	scale_bias(&s->inuse, period, &v.blocks, &v.bytes);
	scale_bias(&s->alloc, period, &v.alloc_blocks, &v.alloc_bytes);
	return v;
}

/* What was ever mapped: growth is never given back. */
static struct heap_values growth_values(const struct prof_site *s, uint64_t period)
{
	const struct prof_value *v = s->alloc.bytes ? &s->alloc : &s->inuse;

	(void)period;
	return (struct heap_values){ v->blocks, v->bytes, v->blocks, v->bytes };
}

static bool any(const struct heap_values *v)
{
	return v->blocks || v->bytes || v->alloc_blocks || v->alloc_bytes;
}

static struct seep_error *write_profile(
	const struct profile *p, const struct format_output *o, uint64_t period, const char *kind,
	struct heap_values (*values)(const struct prof_site *, uint64_t), struct buf *out)
{
	struct seep_error *err = need_addresses(p, o, "gperftools");
	struct heap_values sum = { 0 };

	if (err)
		return err;
	for (size_t i = 0; i < p->nsites; i++) {
		struct heap_values v = values(&p->sites[i], period);

		if (!output_has(o, &p->sites[i]))
			continue;
		heap_values_add(&sum, &v);
	}
	buf_puts(out, "heap profile: ");
	put_values(out, &sum);
	buf_printf(out, " %s", kind);
	if (period)
		buf_printf(out, "/%llu", (unsigned long long)period);
	buf_putc(out, '\n');
	for (size_t i = 0; i < p->nsites; i++) {
		struct heap_values v = values(&p->sites[i], period);

		if (!output_has(o, &p->sites[i]) || !any(&v))
			continue;
		put_values(out, &v);
		heap_text_put_stack(out, p, p->sites[i].stack);
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
