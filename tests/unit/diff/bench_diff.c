/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_diff [SITES [PAGE]]: what a difference of two profiles of that many sites costs, step by step, and the pictures of
 * it; PAGE keeps the flame graph of the second one.  Stacks are up to sixty frames of
 * 3,000 functions, as in a tree that grows at random.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/diff.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/diff_report.h"
#include "output/dot.h"
#include "output/emit.h"
#include "output/flame.h"
#include "profile/profile.h"
#include "synth.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double last;

static void step(const char *what, struct seep_error *err)
{
	double t = now();

	if (err) {
		fprintf(stderr, "%s: %s\n", what, err->message);
		exit(1);
	}
	printf("%-28s %8.1f ms\n", what, (t - last) * 1e3);
	last = now();
}

static uint64_t state;

static uint64_t draw(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static void *must(void *p)
{
	if (!p)
		exit(1);
	return p;
}

/* Arrays are made at once: the synth's one-by-one growth would take minutes. */
static struct profile *make(size_t nsites, uint64_t extra)
{
	struct profile *p = synth_new("./bench");
	uint32_t m = synth_module(p, "/bin/bench", 0x400000, 1);
	size_t cap = nsites * 3 + 64, functions = 3000;

	state = 88172645463325252ull;
	p->frames = must(reallocarray(p->frames, cap, sizeof(*p->frames)));
	p->symbols = must(reallocarray(p->symbols, functions + 1, sizeof(*p->symbols)));
	p->sites = must(calloc(nsites, sizeof(*p->sites)));
	for (; p->nsymbols <= functions; p->nsymbols++) {
		struct prof_line *l = must(calloc(1, sizeof(*l)));
		char name[96];

		snprintf(name, sizeof(name), "company::module%zu::Handler<int>::function_%zu(int)",
		         p->nsymbols % 40, p->nsymbols);
		l->function = must(strdup(name));
		snprintf(name, sizeof(name), "/srv/src/module%zu/file%zu.cc", p->nsymbols % 40,
		         p->nsymbols % 400);
		l->file = must(strdup(name));
		l->line = (uint32_t)p->nsymbols;
		p->symbols[p->nsymbols] = (struct prof_symbol){ l, 1 };
	}
	for (size_t i = 0; i < nsites; i++) {
		uint32_t parent = (uint32_t)draw(p->nframes);
		struct prof_site *s = &p->sites[p->nsites++];

		for (uint64_t k = 1 + draw(3); k && p->nframes < cap; k--) {
			uint32_t f = (uint32_t)(1 + draw(functions));

			p->frames[p->nframes] = (struct prof_frame){ .pc = 0x400000 + f * 16ull,
				                                     .parent = parent,
				                                     .module = m,
				                                     .symbol = f };
			parent = (uint32_t)p->nframes++;
		}
		s->stack = parent;
		s->alloc.blocks = 10 + draw(1000) + (i % 7 ? 0 : extra);
		s->alloc.bytes = s->alloc.blocks * (16 + draw(4096));
		s->inuse = s->alloc;
		s->samples = s->inuse_samples = s->alloc.blocks;
		s->oldest = 1;
	}
	p->duration_ns += extra * 1000000000;
	return p;
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 50000;
	_cleanup_profile_ struct profile *a = make(n, 0), *b = make(n, 100);
	const struct profile *sides[] = { a, b };
	_cleanup_diff_ struct diff *d = NULL;
	_cleanup_view_ struct view *v = NULL, *vb = NULL;
	_cleanup_buf_ struct buf text = { 0 }, json = { 0 }, dot = { 0 }, html = { 0 }, svg = { 0 },
				 whole = { 0 };
	struct emit *e;
	double start = last = now();
	FILE *f;

	step("join the profiles", diff_make(sides, 2, &d));
	step("view", view_new(d->joint, &(struct view_options){ 0 }, &v));
	e = emit_new(&(struct emit_options){ EMIT_TEXT, 100, false }, &text);
	step("text by site",
	     diff_report_emit(e, d, v, &(struct diff_report_options){ .top = 10, .depth = 12 }));
	printf("%-28s %8.1f ms\n", "together", (now() - start) * 1e3);
	emit_free(e);
	last = now();
	e = emit_new(&(struct emit_options){ EMIT_JSON, 100, false }, &json);
	step("JSON by site, 1000",
	     diff_report_emit(e, d, v, &(struct diff_report_options){ .top = 1000 }));
	emit_free(e);
	step("dot", dot_write(v,
	                      &(struct dot_options){ .diff = d,
	                                             .nodecount = 80,
	                                             .nodefraction = 0.005,
	                                             .edgefraction = 0.001 },
	                      &dot));
	step("flame page of the difference",
	     flame_html(v, &(struct flame_options){ .diff = d }, &html));
	step("flame SVG", flame_svg(v, &(struct flame_options){ .diff = d }, &svg));
	step("view of one", view_new(b, &(struct view_options){ 0 }, &vb));
	step("flame page of one", flame_html(vb, &(struct flame_options){ 0 }, &whole));
	printf("%zu sites, %zu frames, %zu nodes; page %.1f MB\n", n, b->nframes, vb->nnodes,
	       (double)whole.len / 1e6);
	f = argc > 2 ? fopen(argv[2], "we") : NULL;
	if (f) {
		fwrite(whole.data, 1, whole.len, f);
		fclose(f);
	}
	return 0;
}
