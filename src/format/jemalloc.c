/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jemalloc's heap profile, as prof.dump writes it and jeprof reads it:
 *
 *     heap_v2/524288
 *       t*: 28106: 56637512 [0: 0]
 *       t3: 352: 16777344 [0: 0] name of the thread
 *     @ 0x5f86da8 0x5f5a1dc ...
 *       t*: 13: 6688 [0: 0]
 *       t3: 12: 6496 [0: 0]
 *
 *     MAPPED_LIBRARIES:
 *     (/proc/PID/maps)
 *
 * In use, in brackets allocated (0 unless opt.prof_accum), leaf first, return addresses; t* is the sum of
 * the threads.  All numbers are what sampling caught: jeprof scales them up (scale.c), also with a period of
 * 1, where that changes nothing for blocks of a few bytes or more.  So the exact profile, too, is written
 * as the inverse of what jeprof will do.
 */
#include "format/heap_text.h"
#include "format/stream.h"
#include "format/text.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE "jemalloc"

static int probe(const uint8_t *head, size_t len)
{
	static const char magic[] = "heap_v2/";

	return len >= sizeof(magic) - 1 && !memcmp(head, magic, sizeof(magic) - 1) ? 95 : 0;
}

/* jemalloc's number for a thread → ours. */
struct thread_ref {
	uint64_t number;
	uint32_t id;
};

struct reader {
	struct heap_text t;
	struct thread_ref *threads;
	size_t nthreads, cap_threads;
	struct idmap thread_index;
	double scale;  /* what the current site's values were multiplied with */
	uint32_t site; /* UINT32_MAX: before the first, or a stack that made no sense */
	bool at_sites;
};

static struct thread_ref *find_thread(struct reader *r, uint64_t number)
{
	uint64_t hash = hash_mix(number, 0);
	size_t pos = idmap_first(&r->thread_index, hash);
	uint32_t id;

	while (idmap_get(&r->thread_index, &pos, hash, &id))
		if (r->threads[id].number == number)
			return &r->threads[id];
	return NULL;
}

/* The thread's own number is jemalloc's: the system's is not in the file. */
static uint32_t thread_of(struct reader *r, uint64_t number, const char *name)
{
	struct thread_ref *t = find_thread(r, number);

	if (t)
		return t->id;
	if (r->nthreads == r->cap_threads) {
		size_t cap = r->cap_threads ? r->cap_threads * 2 : 16;

		t = reallocarray(r->threads, cap, sizeof(*t));
		if (!t) {
			r->t.b.failed = true;
			return 0;
		}
		r->threads = t;
		r->cap_threads = cap;
	}
	t = &r->threads[r->nthreads];
	t->number = number;
	t->id = builder_thread(&r->t.b, number > INT32_MAX ? INT32_MAX : (int32_t)number, name);
	if (idmap_add(&r->thread_index, hash_mix(number, 0), (uint32_t)r->nthreads) < 0)
		r->t.b.failed = true;
	r->nthreads++;
	return t->id;
}

static void site_values(struct reader *r, const struct heap_values *v)
{
	struct prof_site *s = &r->t.b.p->sites[r->site];
	struct prof_value inuse, alloc;

	scale_unbias(v->blocks, v->bytes, r->t.period, &inuse);
	scale_unbias(v->alloc_blocks, v->alloc_bytes, r->t.period, &alloc);
	r->scale = v->bytes ? (double)inuse.bytes / (double)v->bytes : 1;
	prof_value_add(&s->inuse, &inuse);
	prof_value_add(&s->alloc, &alloc);
}

static uint64_t scaled(uint64_t v, double by)
{
	double d = (double)v * by + 0.5;

	return d >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)d;
}

static bool read_values(struct reader *r, char *p)
{
	bool all = text_take(&p, "*");
	uint64_t number = 0;
	struct heap_values v;
	uint32_t thread;

	if ((!all && !text_u64(&p, &number)) || !text_take(&p, ":") || !heap_values_take(&p, &v))
		return false;
	text_blanks(&p);
	if (!r->at_sites) {
		if (!all)
			thread_of(r, number, p);
		return true;
	}
	if (r->site == UINT32_MAX)
		return true;
	if (all) {
		site_values(r, &v);
		return true;
	}
	thread = thread_of(r, number, "");
	if (v.blocks || v.bytes) {
		struct prof_value part = { .blocks = scaled(v.blocks, r->scale),
			                   .bytes = scaled(v.bytes, r->scale) };

		scale_variance(r->t.period, &part);
		builder_cell(&r->t.b, r->site, thread, &part);
	}
	return true;
}

static bool read_stack(struct reader *r, char *p)
{
	struct prof_site *s;
	uint32_t stack;

	r->at_sites = true;
	r->site = UINT32_MAX;
	if (!heap_text_stack(&r->t, p, &stack))
		return false;
	s = builder_site(&r->t.b, stack, PROF_HEAP);
	if (s)
		r->site = builder_site_number(&r->t.b, s);
	return true;
}

static bool read_line(void *arg, char *line)
{
	struct reader *r = arg;
	char *p = line;

	text_blanks(&p);
	if (!*p)
		return true;
	if (text_take(&p, "@"))
		return read_stack(r, p);
	if (text_take(&p, "t"))
		return read_values(r, p);
	return false;
}

static struct seep_error *read_header(struct reader *r)
{
	size_t len;
	char *line = stream_line(r->t.in->stream, &len), *p = line;
	uint64_t period;

	if (!line || !text_take(&p, "heap_v2/") || !text_u64(&p, &period) || *p || !period)
		return format_bad(r->t.in, TITLE, "there is no header with a period");
	heap_text_period(&r->t, period);
	builder_string(&r->t.b, &r->t.b.p->allocator, "jemalloc");
	return NULL;
}

static bool is_maps_header(const char *line)
{
	return !strcmp(line, "MAPPED_LIBRARIES:");
}

static struct seep_error *read_all(struct reader *r, struct profile **ret_profile)
{
	struct seep_error *err = builder_init(&r->t.b, r->t.in, "jemalloc heap profile");

	if (!err)
		err = read_header(r);
	if (err)
		return err;
	heap_text_read(&r->t, is_maps_header, read_line, r);
	return builder_finish(&r->t.b, ret_profile);
}

static struct seep_error *read_jemalloc(struct format_input *in, struct profile **ret_profile)
{
	struct reader r = { .t.in = in, .site = UINT32_MAX, .scale = 1 };
	struct seep_error *err = read_all(&r, ret_profile);

	heap_text_release(&r.t);
	idmap_release(&r.thread_index);
	free(r.threads);
	return err;
}

/* ---- writing -------------------------------------------------------------------------- */

static void put_values(struct buf *out, const char *thread, const struct heap_values *v)
{
	buf_puts(out, "  t");
	buf_puts(out, thread);
	buf_puts(out, ": ");
	put_u64(out, v->blocks);
	buf_puts(out, ": ");
	put_u64(out, v->bytes);
	buf_puts(out, " [");
	put_u64(out, v->alloc_blocks);
	buf_puts(out, ": ");
	put_u64(out, v->alloc_bytes);
	buf_puts(out, "]");
}

static struct heap_values biased(const struct prof_value *inuse, const struct prof_value *alloc,
                                 uint64_t period)
{
	struct heap_values v = { 0 };

	scale_bias(inuse, period, &v.blocks, &v.bytes);
	if (alloc)
		scale_bias(alloc, period, &v.alloc_blocks, &v.alloc_bytes);
	return v;
}

/* The cells of each site, in lists: first[site] → next[cell] → … */
struct cell_lists {
	uint32_t *first, *next; /* cell + 1; 0: end */
};

static int list_cells(const struct profile *p, struct cell_lists *l)
{
	l->first = calloc(p->nsites + 1, sizeof(*l->first));
	l->next = calloc(p->ncells + 1, sizeof(*l->next));
	if (!l->first || !l->next)
		return -1;
	for (size_t i = p->ncells; i-- > 0;) {
		l->next[i] = l->first[p->cells[i].site];
		l->first[p->cells[i].site] = (uint32_t)i + 1;
	}
	return 0;
}

static void put_threads(struct buf *out, const struct profile *p, const struct heap_values *sums)
{
	for (size_t i = 1; i < p->nthreads; i++) {
		char number[24];

		if (!sums[i].blocks && !sums[i].bytes)
			continue;
		snprintf(number, sizeof(number), "%zu", i);
		put_values(out, number, &sums[i]);
		if (p->threads[i].name[0]) {
			buf_putc(out, ' ');
			put_escaped(out, p->threads[i].name, "");
		}
		buf_putc(out, '\n');
	}
}

static struct heap_values sum_up(const struct profile *p, const struct format_output *o,
                                 uint64_t period, struct heap_values *threads)
{
	struct heap_values sum = { 0 };

	for (size_t i = 0; i < p->nsites; i++) {
		struct heap_values v = biased(&p->sites[i].inuse, &p->sites[i].alloc, period);

		if (output_has(o, &p->sites[i]))
			heap_values_add(&sum, &v);
	}
	for (size_t i = 0; i < p->ncells; i++) {
		struct heap_values v = biased(&p->cells[i].inuse, NULL, period);

		if (output_has(o, &p->sites[p->cells[i].site]))
			heap_values_add(&threads[p->cells[i].thread], &v);
	}
	return sum;
}

static struct seep_error *write_sites(const struct profile *p, const struct format_output *o,
                                      uint64_t period, const struct cell_lists *l, struct buf *out)
{
	_cleanup_free_ struct heap_values *threads = calloc(p->nthreads + 1, sizeof(*threads));
	struct heap_values sum;

	if (!threads)
		return &seep_error_nomem;
	sum = sum_up(p, o, period, threads);
	buf_printf(out, "heap_v2/%llu\n", (unsigned long long)period);
	put_values(out, "*", &sum);
	buf_putc(out, '\n');
	put_threads(out, p, threads);
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];
		struct heap_values v = biased(&s->inuse, &s->alloc, period);

		if (!output_has(o, s) || (!v.bytes && !v.alloc_bytes))
			continue;
		buf_putc(out, '@');
		heap_text_put_stack(out, p, s->stack);
		put_values(out, "*", &v);
		buf_putc(out, '\n');
		for (uint32_t c = l->first[i]; c; c = l->next[c - 1]) {
			const struct prof_cell *cell = &p->cells[c - 1];
			char number[24];

			v = biased(&cell->inuse, NULL, period);
			if (!cell->thread || !v.bytes)
				continue;
			snprintf(number, sizeof(number), "%u", cell->thread);
			put_values(out, number, &v);
			buf_putc(out, '\n');
		}
	}
	mappings_write(out, p);
	return NULL;
}

static struct seep_error *write_jemalloc(const struct profile *p, const struct format_output *o,
                                         struct buf *out)
{
	struct seep_error *err = need_addresses(p, o, TITLE);
	uint64_t period = p->sampled && p->period ? p->period : 1;
	struct cell_lists l = { 0 };

	if (err)
		return err;
	err = list_cells(p, &l) < 0 ? &seep_error_nomem : write_sites(p, o, period, &l, out);
	free(l.first);
	free(l.next);
	return err;
}

const struct format format_jemalloc = {
	.name = "jemalloc",
	.title = "jemalloc heap profile (text)",
	.suffixes = ".jeheap .jeprof",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES | FORMAT_ALLOC_BLOCKS,
	.probe = probe,
	.read = read_jemalloc,
	.write = write_jemalloc,
};
