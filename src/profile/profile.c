/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profile's life cycle and its integrity check.
 *
 * A profile is plain arrays tied together by indices, so that readers fill it in
 * one pass and analyses walk it without chasing pointers.  The price is that one
 * wrong index would read past an array; profile_check() is where every profile
 * that came from outside (a ledger, a file, a test) is proved sound, once, so
 * that nothing after it has to look again.
 */
#include "profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

struct profile *profile_new(void)
{
	struct profile *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->frames = calloc(1, sizeof(*p->frames));
	p->symbols = calloc(1, sizeof(*p->symbols));
	if (p->symbols)
		p->symbols[0].lines = calloc(1, sizeof(*p->symbols[0].lines));
	if (!p->frames || !p->symbols || !p->symbols[0].lines) {
		if (p->symbols)
			free(p->symbols[0].lines);
		free(p->symbols);
		free(p->frames);
		free(p);
		return NULL;
	}
	p->frames[0].module = PROF_NO_MODULE;
	p->nframes = 1;
	p->symbols[0].nlines = 1;
	p->nsymbols = 1;
	return p;
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->nmodules; i++)
		free(p->modules[i].path);
	for (size_t i = 0; i < p->nsymbols; i++) {
		for (uint32_t j = 0; p->symbols[i].lines && j < p->symbols[i].nlines; j++) {
			free(p->symbols[i].lines[j].function);
			free(p->symbols[i].lines[j].linkage);
			free(p->symbols[i].lines[j].file);
		}
		free(p->symbols[i].lines);
	}
	for (size_t i = 0; i < p->nthreads; i++)
		free(p->threads[i].name);
	free(p->modules);
	free(p->frames);
	free(p->symbols);
	free(p->sites);
	for (size_t i = 0; i < PROF_LIFE_BUCKETS; i++)
		free(p->lifetimes[i]);
	free(p->cells);
	free(p->threads);
	free(p->blocks);
	free(p->points);
	free(p->rss);
	for (size_t i = 0; i < p->nevents; i++)
		free(p->events[i].text);
	free(p->events);
	free(p->source);
	free(p->format);
	free(p->exe);
	free(p->command);
	free(p->allocator);
	free(p);
}

bool profile_add_event(struct profile *p, uint64_t time, enum prof_event_kind kind, const char *text)
{
	struct prof_event *more = reallocarray(p->events, p->nevents + 1, sizeof(*p->events));
	char *copy = text ? strdup(text) : NULL;
	size_t at = p->nevents;

	if (more)
		p->events = more;
	if (!more || (text && !copy)) {
		free(copy);
		return false;
	}
	while (at && p->events[at - 1].time > time)
		at--;
	memmove(&p->events[at + 1], &p->events[at], (p->nevents - at) * sizeof(*p->events));
	p->events[at] = (struct prof_event){ .time = time, .kind = (uint8_t)kind, .text = copy };
	p->nevents++;
	return true;
}

bool profile_add_rss(struct profile *p, uint64_t time, uint64_t bytes)
{
	struct prof_rss *more = reallocarray(p->rss, p->nrss + 1, sizeof(*p->rss));
	size_t at = p->nrss;

	if (!more)
		return false;
	p->rss = more;
	while (at && p->rss[at - 1].time > time)
		at--;
	memmove(&p->rss[at + 1], &p->rss[at], (p->nrss - at) * sizeof(*p->rss));
	p->rss[at] = (struct prof_rss){ .time = time, .bytes = bytes };
	p->nrss++;
	return true;
}

/* ---- check ------------------------------------------------------------- */

static bool value_ok(const struct prof_value *v)
{
	return isfinite(v->var_blocks) && isfinite(v->var_bytes) && isfinite(v->max_weight) &&
	       v->var_blocks >= 0 && v->var_bytes >= 0 && v->max_weight >= 0;
}

static struct seep_error *check_array(const char *what, const void *data, size_t n, size_t limit)
{
	if (n && !data)
		return seep_error_new(0, "profile: %zu %s, but no array of them", n, what);
	if (n > limit)
		return seep_error_new(0, "profile: %zu %s are more than an index can name", n, what);
	return NULL;
}

static struct seep_error *check_arrays(const struct profile *p)
{
	const struct {
		const char *what;
		const void *data;
		size_t n;
	} arrays[] = {
		{ "modules", p->modules, p->nmodules },
		{ "frames", p->frames, p->nframes },
		{ "symbols", p->symbols, p->nsymbols },
		{ "sites", p->sites, p->nsites },
		{ "cells", p->cells, p->ncells },
		{ "threads", p->threads, p->nthreads },
		{ "blocks", p->blocks, p->nblocks },
		{ "points", p->points, p->npoints },
		{ "values of resident memory", p->rss, p->nrss },
		{ "events", p->events, p->nevents },
	};

	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
		struct seep_error *err =
			check_array(arrays[i].what, arrays[i].data, arrays[i].n, UINT32_MAX - 1);

		if (err)
			return err;
	}
	return NULL;
}

static struct seep_error *check_code(const struct profile *p)
{
	for (size_t i = 0; i < p->nmodules; i++)
		if (!p->modules[i].path ||
		    p->modules[i].build_id_len > sizeof(p->modules[i].build_id))
			return seep_error_new(0, "profile: module %zu is not sound", i);
	if (!p->nsymbols)
		return seep_error_new(0, "profile: no unknown symbol");
	for (size_t i = 0; i < p->nsymbols; i++)
		if (!p->symbols[i].lines || !p->symbols[i].nlines)
			return seep_error_new(0, "profile: symbol %zu has no line", i);
	if (!p->nframes || p->frames[0].parent)
		return seep_error_new(0, "profile: no root frame");
	for (size_t i = 0; i < p->nframes; i++) {
		const struct prof_frame *f = &p->frames[i];

		if (i && f->parent >= i)
			return seep_error_new(0, "profile: frame %zu comes before its caller %u", i,
			                      f->parent);
		if (f->module != PROF_NO_MODULE && f->module >= p->nmodules)
			return seep_error_new(0, "profile: frame %zu names module %u of %zu", i,
			                      f->module, p->nmodules);
		if (f->symbol >= p->nsymbols)
			return seep_error_new(0, "profile: frame %zu names symbol %u of %zu", i,
			                      f->symbol, p->nsymbols);
	}
	return NULL;
}

static struct seep_error *check_times(const struct profile *p)
{
	for (size_t i = 1; i < p->npoints; i++)
		if (p->points[i].time < p->points[i - 1].time)
			return seep_error_new(0, "profile: timeline point %zu goes back in time", i);
	for (size_t i = 1; i < p->nrss; i++)
		if (p->rss[i].time < p->rss[i - 1].time)
			return seep_error_new(0, "profile: resident memory %zu goes back in time",
			                      i);
	for (size_t i = 0; i < p->nevents; i++) {
		if (p->events[i].kind >= PROF_EVENT_NKINDS)
			return seep_error_new(0, "profile: event %zu has the unknown kind %u", i,
			                      p->events[i].kind);
		if (i && p->events[i].time < p->events[i - 1].time)
			return seep_error_new(0, "profile: event %zu goes back in time", i);
	}
	return NULL;
}

struct seep_error *profile_check(const struct profile *p)
{
	struct seep_error *err = check_arrays(p);

	if (!err)
		err = check_code(p);
	if (err)
		return err;
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];

		if (s->stack >= p->nframes)
			return seep_error_new(0, "profile: site %zu names frame %u of %zu", i,
			                      s->stack, p->nframes);
		if (s->kind >= PROF_NKINDS)
			return seep_error_new(0, "profile: site %zu has the unknown kind %u", i,
			                      s->kind);
		if (!value_ok(&s->alloc) || !value_ok(&s->freed) || !value_ok(&s->inuse) ||
		    !value_ok(&s->peak))
			return seep_error_new(
				0, "profile: site %zu has a variance or a weight that is no number",
				i);
	}
	for (size_t i = 0; i < p->ncells; i++)
		if (p->cells[i].site >= p->nsites || p->cells[i].thread >= p->nthreads ||
		    !value_ok(&p->cells[i].inuse))
			return seep_error_new(0, "profile: cell %zu is not sound", i);
	for (size_t i = 0; i < p->nblocks; i++)
		if (p->blocks[i].site >= p->nsites || p->blocks[i].thread >= p->nthreads ||
		    !isfinite(p->blocks[i].weight) || p->blocks[i].weight < 0)
			return seep_error_new(0, "profile: block %zu is not sound", i);
	return check_times(p);
}

/* ---- totals ------------------------------------------------------------ */

const char *profile_title(const struct profile *p)
{
	const char *const names[] = { p->command, p->exe, p->source };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i] && *names[i])
			return names[i];
	return "(unnamed)";
}

const char *profile_state(const struct profile *p)
{
	return p->live       ? "running"
	       : p->execed   ? "execed"
	       : p->detached ? "detached"
	       : p->killed   ? "killed"
	                     : "exited";
}

struct prof_totals profile_totals_of(const struct profile *p, unsigned int kinds)
{
	struct prof_totals t = { 0 };

	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];

		if (!(kinds & PROF_KIND_BIT(s->kind)))
			continue;
		prof_value_add(&t.alloc, &s->alloc);
		prof_value_add(&t.freed, &s->freed);
		prof_value_add(&t.inuse, &s->inuse);
		prof_value_add(&t.peak, &s->peak);
	}
	return t;
}

int prof_symbol_copy(struct prof_symbol *to, const struct prof_symbol *from)
{
	*to = (struct prof_symbol){ .lines = calloc(from->nlines ? from->nlines : 1,
		                                    sizeof(*to->lines)) };
	if (!to->lines)
		return -1;
	to->nlines = from->nlines;
	for (uint32_t i = 0; i < from->nlines; i++) {
		to->lines[i].line = from->lines[i].line;
		to->lines[i].inlined = from->lines[i].inlined;
		if (str_copy(&to->lines[i].function, from->lines[i].function) < 0 ||
		    str_copy(&to->lines[i].linkage, from->lines[i].linkage) < 0 ||
		    str_copy(&to->lines[i].file, from->lines[i].file) < 0)
			return -1;
	}
	return 0;
}

struct prof_totals profile_totals(const struct profile *p, int kind)
{
	return profile_totals_of(p, kind < 0 ? PROF_ALL_KINDS : PROF_KIND_BIT(kind));
}

/*
 * A stack does not say whose it is, but every thread that runs, save each process's first,
 * has one: what is more than that belongs to threads that ended and were never joined.
 */
struct prof_stacks profile_stacks(const struct profile *p)
{
	struct prof_totals t = profile_totals(p, PROF_STACK);
	uint64_t running = 0, firsts = p->nmerged ? p->nmerged : 1;
	struct prof_stacks s = { .created = t.alloc.blocks,
		                 .live = t.inuse.blocks,
		                 .reserved = t.inuse.bytes };

	for (size_t i = 1; i < p->nthreads; i++)
		running += p->threads[i].died == 0;
	running = running > firsts ? running - firsts : 0;
	if (!p->forked && p->nthreads > 1 && !t.inuse.var_blocks && s.live > running)
		s.unjoined = s.live - running;
	return s;
}
