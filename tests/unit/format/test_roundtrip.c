/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write, read, compare: whatever a format can hold comes back.  And twice: what was read, written again, gives
 * the same bytes (nothing creeps from one trip to the next).
 */
#include "helpers.h"
#include "synth.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct profile *trip(const struct profile *p, const char *format,
                            const struct format_output *o, struct buf *ret_bytes)
{
	const struct format *f = format_by_name(format);
	struct seep_error *err = format_write(f, p, o, ret_bytes);

	if (err)
		fail_msg("%s: %s", format, err->message);
	assert_ptr_equal(format_probe(ret_bytes->data, ret_bytes->len),
	                 strcmp(format, "growth") != 0 ? f : format_by_name("gperftools"));
	return read_bytes(ret_bytes->data, ret_bytes->len, format, NULL);
}

/* The site of q with the same stack (by names, or by addresses) and kind as s of p. */
static const struct prof_site *same_site(const struct profile *p, const struct prof_site *s,
                                         const struct profile *q, bool names, bool kinds)
{
	char *a = stack_names(p, s), *b = NULL;

	for (size_t i = 0; i < q->nsites; i++) {
		const struct prof_site *t = &q->sites[i];
		uint32_t f = s->stack, g = t->stack;
		bool same;

		b = stack_names(q, t);
		same = !names || !strcmp(a, b);
		free(b);
		for (; !names && f && g && p->frames[f].pc == q->frames[g].pc;
		     f = p->frames[f].parent, g = q->frames[g].parent)
			continue;
		same = same && (names || (!f && !g)) && (!kinds || s->kind == t->kind);
		if (same) {
			free(a);
			return t;
		}
	}
	fail_msg("the site %s is gone", a);
	return NULL;
}

static void assert_same_value(const struct prof_value *a, const struct prof_value *b)
{
	assert_int_equal(a->blocks, b->blocks);
	assert_int_equal(a->bytes, b->bytes);
}

static void assert_same_bytes(const struct profile *p, const char *format, const struct buf *first)
{
	struct buf second = { 0 };

	assert_null(format_write(format_by_name(format), p, &(struct format_output){ 0 }, &second));
	assert_int_equal(first->len, second.len);
	assert_memory_equal(first->data, second.data, first->len);
	buf_release(&second);
}

static void pprof(void **state)
{
	struct profile *p = synth_service(), *q;
	struct format_output all = { .kinds = PROF_ALL_KINDS };
	struct buf bytes = { 0 };
	uint64_t in_cells = 0, out_cells = 0;

	synth_site(p, 3, PROF_STACK, 8 << 20, 3, 1);
	q = trip(p, "pprof", &all, &bytes);
	assert_int_equal(q->nsites, p->nsites);
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i], *t = same_site(p, s, q, true, true);
		uint32_t f = s->stack, g = t->stack;

		assert_same_value(&s->inuse, &t->inuse);
		assert_same_value(&s->alloc, &t->alloc);
		assert_same_value(&s->freed, &t->freed);
		for (; f; f = p->frames[f].parent, g = q->frames[g].parent) {
			const struct prof_symbol *a = &p->symbols[p->frames[f].symbol],
						 *b = &q->symbols[q->frames[g].symbol];

			assert_int_equal(p->frames[f].pc, q->frames[g].pc);
			if (p->frames[f].module != PROF_NO_MODULE)
				assert_string_equal(p->modules[p->frames[f].module].path,
				                    q->modules[q->frames[g].module].path);
			assert_int_equal(a->nlines, b->nlines);
			for (uint32_t k = 0; k < a->nlines; k++) {
				assert_int_equal(a->lines[k].line, b->lines[k].line);
				assert_int_equal(a->lines[k].inlined, b->lines[k].inlined);
				if (a->lines[k].file)
					assert_string_equal(a->lines[k].file, b->lines[k].file);
			}
		}
	}
	assert_int_equal(q->nmodules, p->nmodules);
	assert_string_equal(q->modules[0].path, p->exe);
	for (size_t i = 0; i < p->nmodules; i++) {
		assert_int_equal(p->modules[i].start, q->modules[i].start);
		assert_int_equal(p->modules[i].end, q->modules[i].end);
		assert_int_equal(q->modules[i].build_id_len, 20);
		assert_memory_equal(p->modules[i].build_id, q->modules[i].build_id, 20);
	}
	assert_int_equal(q->ncells, p->ncells);
	for (size_t i = 0; i < p->ncells; i++) {
		in_cells += p->cells[i].inuse.bytes * (uint64_t)p->threads[p->cells[i].thread].tid;
		out_cells += q->cells[i].inuse.bytes * (uint64_t)q->threads[q->cells[i].thread].tid;
	}
	assert_int_equal(in_cells, out_cells);
	assert_string_equal(q->command, p->command);
	assert_string_equal(q->exe, p->exe);
	assert_int_equal(q->pid, p->pid);
	assert_int_equal(q->duration_ns, p->duration_ns);
	assert_int_equal(q->start_real_ns, p->start_real_ns);
	assert_false(q->sampled);
	buf_release(&bytes);
	profile_free(p);
	profile_free(q);
}

static void addresses(void **state)
{
	static const char *const names[] = { "gperftools", "jemalloc" };
	struct profile *p = synth_service();

	for (size_t k = 0; k < 2; k++) {
		struct buf bytes = { 0 };
		struct profile *q = trip(p, names[k], &(struct format_output){ 0 }, &bytes);

		assert_int_equal(q->nsites, p->nsites);
		for (size_t i = 0; i < p->nsites; i++) {
			const struct prof_site *s = &p->sites[i],
					       *t = same_site(p, s, q, false, false);
			uint32_t f = s->stack, g = t->stack;

			assert_same_value(&s->inuse, &t->inuse);
			assert_same_value(&s->alloc, &t->alloc);
			for (; f; f = p->frames[f].parent, g = q->frames[g].parent)
				if (p->frames[f].module != PROF_NO_MODULE)
					assert_string_equal(p->modules[p->frames[f].module].path,
					                    q->modules[q->frames[g].module].path);
		}
		assert_same_bytes(q, names[k], &bytes);
		if (k) {
			assert_int_equal(q->nthreads, p->nthreads);
			assert_string_equal(q->threads[2].name, "worker");
			assert_int_equal(q->ncells, p->ncells);
		}
		profile_free(q);
		buf_release(&bytes);
	}
	profile_free(p);
}

/* Estimates: written as what the sampler caught, read as what they were, to half a sample's rounding. */
static void sampled(void **state)
{
	static const struct {
		uint64_t size, samples;
	} sites[] = { { 24, 3 }, { 1000, 40 }, { 100000, 7 }, { 524288, 9 }, { 8 << 20, 2 } };
	static const char *const names[] = { "gperftools", "jemalloc", "pprof" };

	for (size_t k = 0; k < 3; k++) {
		struct profile *p = synth_new("sampled"), *q;
		uint32_t m = synth_module(p, "/srv/app/service", 0x500000, 1);
		struct buf bytes = { 0 };

		p->sampled = true;
		p->period = 524288;
		for (size_t i = 0; i < 5; i++) {
			uint32_t f = synth_frame(p, 0, m, 0x100 * (i + 1), "f", NULL, 0);
			double probability = 1 - __builtin_exp(-(double)sites[i].size / 524288);
			uint32_t site = synth_site(p, f, PROF_HEAP, 1, 0, 0);
			struct prof_site *s = &p->sites[site];

			s->inuse.blocks = (uint64_t)((double)sites[i].samples / probability + 0.5);
			s->inuse.bytes = (uint64_t)((double)(sites[i].samples * sites[i].size) /
			                                    probability +
			                            0.5);
			s->alloc = s->inuse;
		}
		q = trip(p, names[k], &(struct format_output){ 0 }, &bytes);
		assert_true(q->sampled);
		assert_int_equal(q->period, 524288);
		for (size_t i = 0; i < 5; i++) {
			const struct prof_site *s = &p->sites[i], *t = &q->sites[i];
			double error = (double)t->inuse.bytes - (double)s->inuse.bytes;

			/* the average size comes back to within its own rounding */
			assert_true(error * error <=
			            (double)s->inuse.bytes * (double)s->inuse.bytes * 1e-4);
			assert_int_equal(t->inuse_samples, sites[i].samples);
			assert_true(t->inuse.var_bytes > 0);
		}
		profile_free(p);
		profile_free(q);
		buf_release(&bytes);
	}
}

/* What a reader would divide by is never 0 beside something that is not. */
static void sampled_edges(void **state)
{
	struct profile *p = synth_new("edges"), *q;
	uint32_t f = synth_frame(p, 0, PROF_NO_MODULE, 0x1000, "f", NULL, 0);
	uint32_t g = synth_frame(p, 0, PROF_NO_MODULE, 0x2000, "g", NULL, 0);
	struct buf bytes = { 0 };

	p->sampled = true;
	p->period = 524288;
	synth_site(p, f, PROF_HEAP, 1, 0, 0);
	synth_site(p, g, PROF_HEAP, 1, 0, 0);
	p->sites[0].inuse = (struct prof_value){ .blocks = 1, .bytes = 1 };
	p->sites[1].inuse = (struct prof_value){ .blocks = 9 };
	q = trip(p, "jemalloc", &(struct format_output){ 0 }, &bytes);
	assert_int_equal(q->nsites, 1);
	assert_non_null(strstr(bytes.data, "t*: 1: 1 [0: 0]"));
	profile_free(q);
	buf_release(&bytes);
	q = trip(p, "gperftools", &(struct format_output){ 0 }, &bytes);
	assert_int_equal(q->nsites, 1);
	profile_free(q);
	profile_free(p);
	buf_release(&bytes);
}

static void massif(void **state)
{
	struct profile *p = synth_service(), *q, *again;
	struct buf bytes = { 0 }, second = { 0 };
	struct prof_totals t;

	free(p->command);
	p->command = strdup("./service #1 100%23");
	q = trip(p, "massif", &(struct format_output){ 0 }, &bytes);
	assert_string_equal(q->command, p->command);
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i], *u;

		if (!s->inuse.bytes)
			continue;
		u = same_site(p, s, q, true, false);
		assert_int_equal(u->inuse.bytes, s->inuse.bytes);
		assert_int_equal(u->peak.bytes, s->peak.bytes);
		assert_int_equal(p->frames[s->stack].pc, q->frames[u->stack].pc);
	}
	t = profile_totals(p, -1);
	assert_int_equal(q->peak_copy_bytes, t.peak.bytes);
	assert_int_equal(q->peak_time, p->peak_time);
	assert_int_equal(q->duration_ns, p->duration_ns);
	/* 51 points; the peak falls on one of them, the end makes one more */
	assert_int_equal(q->npoints, 52);
	again = trip(q, "massif", &(struct format_output){ 0 }, &second);
	assert_int_equal(again->nsites, q->nsites);
	profile_free(p);
	profile_free(q);
	profile_free(again);
	buf_release(&bytes);
	buf_release(&second);
}

static void folded(void **state)
{
	static const unsigned int values[] = { FORMAT_INUSE_BYTES, FORMAT_INUSE_BLOCKS,
		                               FORMAT_ALLOC_BYTES, FORMAT_ALLOC_BLOCKS,
		                               FORMAT_PEAK_BYTES,  FORMAT_PEAK_BLOCKS };
	struct profile *p = synth_new("folded");
	uint32_t f = synth_frame(p, 0, PROF_NO_MODULE, 0x1000, "main", NULL, 0);
	uint32_t g =
		synth_frame(p, f, PROF_NO_MODULE, 0x2000, "<[u8; 4] as A>::b 100%3B\n", NULL, 0);
	struct prof_site *s;

	synth_site(p, g, PROF_HEAP, 16, 10, 3);
	synth_site(p, 0, PROF_HEAP, 8, 4, 1);
	s = &p->sites[1];
	s->peak = s->alloc;
	for (size_t k = 0; k < 6; k++) {
		struct format_output o = { .value = values[k] };
		struct buf bytes = { 0 };
		struct profile *q = trip(p, "folded", &o, &bytes);
		uint64_t sum[6] = { 7 * 16, 7, 160, 10, 7 * 16, 7 };
		uint64_t unknown[6] = { 24, 3, 32, 4, 32, 4 };

		assert_int_equal(q->nsites, 2);
		assert_int_equal(find_site(q, "<[u8; 4] as A>::b 100%3B\n<main")->inuse.bytes,
		                 sum[k]);
		assert_int_equal(find_site(q, "")->inuse.bytes, unknown[k]);
		profile_free(q);
		buf_release(&bytes);
	}
	profile_free(p);
}

static void growth(void **state)
{
	struct profile *p = synth_service(), *q;
	struct buf bytes = { 0 };

	q = trip(p, "growth", &(struct format_output){ 0 }, &bytes);
	/* two mappings of 65536, one of them gone: growth knows no going */
	assert_int_equal(q->nsites, 1);
	assert_int_equal(q->sites[0].kind, PROF_MMAP);
	assert_int_equal(q->sites[0].inuse.blocks, 2);
	assert_int_equal(q->sites[0].inuse.bytes, 131072);
	profile_free(p);
	profile_free(q);
	buf_release(&bytes);
}

static void names_only(void **state)
{
	struct profile *p = read_sample("stacks.folded", NULL);
	struct buf bytes = { 0 };
	struct seep_error *err =
		format_write(format_by_name("jemalloc"), p, &(struct format_output){ 0 }, &bytes);

	assert_non_null(err);
	assert_string_equal(
		err->message,
		"jemalloc files are made of addresses, and 3 of 4 stacks have only names");
	seep_error_free(err);
	buf_release(&bytes);
	profile_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pprof),   cmocka_unit_test(addresses),
		cmocka_unit_test(sampled), cmocka_unit_test(sampled_edges),
		cmocka_unit_test(massif),  cmocka_unit_test(folded),
		cmocka_unit_test(growth),  cmocka_unit_test(names_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
