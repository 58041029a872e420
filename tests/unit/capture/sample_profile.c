/* SPDX-License-Identifier: Apache-2.0 */
/* See sample_profile.h.  tests/data/snapshot-v1.seep is this profile: changing it here breaks that test, rightly. */
#include "sample_profile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t counter;

/* A different number each time, of very different sizes. */
static uint64_t next(void)
{
	counter = counter * 6364136223846793005ull + 1442695040888963407ull;
	return counter >> (counter >> 58);
}

static char *text(const char *s)
{
	char *t = strdup(s);

	assert(t);
	return t;
}

static void *array(size_t n, size_t size)
{
	void *p = calloc(n, size);

	assert(p);
	return p;
}

static struct prof_value value(void)
{
	return (struct prof_value){ .blocks = next(),
		                    .bytes = next(),
		                    .var_blocks = (double)next() / 3,
		                    .var_bytes = (double)next() * 1e5 };
}

static void fill_code(struct profile *p)
{
	p->nmodules = 3;
	p->modules = array(3, sizeof(*p->modules));
	for (size_t i = 0; i < 3; i++) {
		struct prof_module *m = &p->modules[i];

		m->path = text(i == 2 ? "" : i ? "/usr/lib/libpath with blanks ä.so" : "/bin/a");
		m->start = next();
		m->end = next();
		m->bias = next();
		m->build_id_len = (uint8_t)(i * 10);
		for (size_t k = 0; k < sizeof(m->build_id); k++)
			m->build_id[k] = (uint8_t)next();
		m->load_seq = (uint32_t)next();
		m->unload_seq = (uint32_t)next();
		m->dev = next();
		m->inode = next();
		m->mtime_ns = next();
	}
	free(p->frames);
	p->nframes = 5;
	p->frames = array(5, sizeof(*p->frames));
	p->frames[0].module = PROF_NO_MODULE;
	for (uint32_t i = 1; i < 5; i++)
		p->frames[i] = (struct prof_frame){ next(), i / 2, i == 3 ? PROF_NO_MODULE : i % 3,
			                            i % 3 };
	p->symbols = realloc(p->symbols, 3 * sizeof(*p->symbols));
	assert(p->symbols);
	p->nsymbols = 3;
	for (size_t i = 1; i < 3; i++) {
		struct prof_symbol *s = &p->symbols[i];

		s->nlines = (uint32_t)i;
		s->lines = array(i, sizeof(*s->lines));
		for (size_t k = 0; k < i; k++) {
			s->lines[k].function = k ? NULL : text("std::vector<int>::push_back(int&&)");
			s->lines[k].file = i == 2 && k == 0 ? NULL : text("/src/a.c");
			s->lines[k].line = (uint32_t)next();
			s->lines[k].inlined = k + 1 < i;
		}
	}
}

static void fill_values(struct profile *p)
{
	p->nsites = 4;
	p->sites = array(4, sizeof(*p->sites));
	for (size_t k = 0; k < PROF_LIFE_BUCKETS; k++)
		p->lifetimes[k] = array(4, sizeof(uint64_t));
	for (uint32_t i = 0; i < 4; i++) {
		struct prof_site *s = &p->sites[i];

		s->stack = i;
		s->kind = (uint8_t)(i % PROF_NKINDS);
		s->cut_depth = i == 1;
		s->cut_no_cfi = i == 2;
		s->born = next();
		s->alloc = value();
		s->freed = value();
		s->inuse = value();
		s->peak = value();
		s->samples = next();
		s->inuse_samples = next();
		s->oldest = i ? next() : UINT64_MAX;
		for (size_t k = 0; k < PROF_LIFE_BUCKETS; k++)
			p->lifetimes[k][i] = next();
	}
	p->nthreads = 2;
	p->threads = array(2, sizeof(*p->threads));
	for (size_t i = 0; i < 2; i++)
		p->threads[i] = (struct prof_thread){ i ? -7 : 4711, text(i ? "worker" : ""),
			                              next(), next() };
	p->ncells = 3;
	p->cells = array(3, sizeof(*p->cells));
	for (uint32_t i = 0; i < 3; i++)
		p->cells[i] = (struct prof_cell){ 3 - i, i % 2, value() };
	p->nblocks = 4;
	p->blocks = array(4, sizeof(*p->blocks));
	for (uint32_t i = 0; i < 4; i++)
		p->blocks[i] = (struct prof_block){ next(), next(),
			                            next(), i ? (double)next() / 7 : 1,
			                            i,      i % 2 };
	p->npoints = 3;
	p->points = array(3, sizeof(*p->points));
	for (uint64_t i = 0; i < 3; i++)
		p->points[i] = (struct prof_point){ i * 1000003, next(), next(), next() };
	for (size_t i = 0; i < PROF_SIZE_CLASSES; i++)
		p->classes[i] = (struct prof_class){ value(), value() };
}

struct profile *sample_profile(void)
{
	struct profile *p = profile_new();

	assert(p);
	counter = 42;
	p->exe = text("/bin/a");
	p->command = text("a --with \"arguments\"\xff");
	p->allocator = text("/lib/libc.so.6");
	p->pid = 4242;
	p->ppid = -1;
	p->exec_seq = 3;
	p->sampled = true;
	p->period = next();
	p->bypassed = true;
	p->forked = false;
	p->attached = true;
	p->live = false;
	p->killed = true;
	p->execed = false;
	p->detached = true;
	p->start_real_ns = next();
	p->duration_ns = next();
	p->tracker_ledger_bytes = next();
	p->tracker_private_bytes = next();
	p->unwinds_fast = next();
	p->unwinds_slow = next();
	for (size_t i = 0; i < PROF_NLOSSES; i++)
		p->losses.count[i] = next();
	p->losses.torn = next();
	p->peak_bytes = next();
	p->peak_time = next();
	p->peak_copy_bytes = next();
	fill_code(p);
	fill_values(p);
	return p;
}

/* ---- comparison ---------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_value(const struct prof_value *a, const struct prof_value *b)
{
	return a->blocks == b->blocks && a->bytes == b->bytes &&
	       !memcmp(&a->var_blocks, &b->var_blocks, 8) &&
	       !memcmp(&a->var_bytes, &b->var_bytes, 8) &&
	       !memcmp(&a->max_weight, &b->max_weight, 8);
}

#define SAME(field)                       \
	do {                              \
		if (a->field != b->field) \
			return #field;    \
	} while (0)
#define SAME_TEXT(field)                            \
	do {                                        \
		if (!same_text(a->field, b->field)) \
			return #field;              \
	} while (0)
#define SAME_VALUE(field)                              \
	do {                                           \
		if (!same_value(&a->field, &b->field)) \
			return #field;                 \
	} while (0)

static const char *meta_difference(const struct profile *a, const struct profile *b)
{
	SAME_TEXT(exe);
	SAME_TEXT(command);
	SAME_TEXT(allocator);
	SAME(pid);
	SAME(ppid);
	SAME(exec_seq);
	SAME(sampled);
	SAME(period);
	SAME(bypassed);
	SAME(forked);
	SAME(attached);
	SAME(live);
	SAME(killed);
	SAME(nmerged);
	SAME(execed);
	SAME(detached);
	SAME(start_real_ns);
	SAME(duration_ns);
	SAME(tracker_ledger_bytes);
	SAME(tracker_private_bytes);
	SAME(unwinds_fast);
	SAME(unwinds_slow);
	SAME(losses.torn);
	SAME(peak_bytes);
	SAME(peak_time);
	SAME(peak_copy_bytes);
	for (size_t i = 0; i < PROF_NLOSSES; i++)
		SAME(losses.count[i]);
	for (size_t i = 0; i < PROF_SIZE_CLASSES; i++) {
		SAME_VALUE(classes[i].alloc);
		SAME_VALUE(classes[i].freed);
	}
	SAME(nmodules);
	SAME(nframes);
	SAME(nsymbols);
	SAME(nsites);
	SAME(ncells);
	SAME(nthreads);
	SAME(nblocks);
	SAME(npoints);
	SAME(nrss);
	SAME(nevents);
	return NULL;
}

static const char *code_difference(const struct profile *a, const struct profile *b)
{
	for (size_t i = 0; i < a->nmodules; i++) {
		SAME_TEXT(modules[i].path);
		SAME(modules[i].start);
		SAME(modules[i].end);
		SAME(modules[i].bias);
		SAME(modules[i].build_id_len);
		SAME(modules[i].load_seq);
		SAME(modules[i].unload_seq);
		SAME(modules[i].dev);
		SAME(modules[i].inode);
		SAME(modules[i].mtime_ns);
		if (memcmp(a->modules[i].build_id, b->modules[i].build_id, 20) != 0)
			return "build_id";
	}
	for (size_t i = 0; i < a->nframes; i++) {
		SAME(frames[i].pc);
		SAME(frames[i].parent);
		SAME(frames[i].module);
		SAME(frames[i].symbol);
	}
	for (size_t i = 0; i < a->nsymbols; i++) {
		SAME(symbols[i].nlines);
		for (uint32_t k = 0; k < a->symbols[i].nlines; k++) {
			SAME_TEXT(symbols[i].lines[k].function);
			SAME_TEXT(symbols[i].lines[k].file);
			SAME(symbols[i].lines[k].line);
			SAME(symbols[i].lines[k].inlined);
		}
	}
	return NULL;
}

static const char *value_difference(const struct profile *a, const struct profile *b)
{
	for (size_t i = 0; i < a->nsites; i++) {
		SAME(sites[i].stack);
		SAME(sites[i].kind);
		SAME(sites[i].cut_depth);
		SAME(sites[i].cut_no_cfi);
		SAME(sites[i].born);
		SAME_VALUE(sites[i].alloc);
		SAME_VALUE(sites[i].freed);
		SAME_VALUE(sites[i].inuse);
		SAME_VALUE(sites[i].peak);
		SAME(sites[i].samples);
		SAME(sites[i].inuse_samples);
		SAME(sites[i].oldest);
		for (size_t k = 0; k < PROF_LIFE_BUCKETS; k++) {
			if (!a->lifetimes[k] != !b->lifetimes[k])
				return "lifetimes";
			if (a->lifetimes[k])
				SAME(lifetimes[k][i]);
		}
	}
	for (size_t i = 0; i < a->ncells; i++) {
		SAME(cells[i].site);
		SAME(cells[i].thread);
		SAME_VALUE(cells[i].inuse);
	}
	for (size_t i = 0; i < a->nthreads; i++) {
		SAME(threads[i].tid);
		SAME_TEXT(threads[i].name);
		SAME(threads[i].born);
		SAME(threads[i].died);
	}
	for (size_t i = 0; i < a->nblocks; i++) {
		SAME(blocks[i].address);
		SAME(blocks[i].size);
		SAME(blocks[i].born);
		SAME(blocks[i].weight);
		SAME(blocks[i].site);
		SAME(blocks[i].thread);
	}
	for (size_t i = 0; i < a->npoints; i++) {
		SAME(points[i].time);
		SAME(points[i].inuse);
		SAME(points[i].alloc_bytes);
		SAME(points[i].alloc_blocks);
	}
	for (size_t i = 0; i < a->nrss; i++) {
		SAME(rss[i].time);
		SAME(rss[i].bytes);
	}
	for (size_t i = 0; i < a->nevents; i++) {
		SAME(events[i].time);
		SAME(events[i].kind);
		SAME_TEXT(events[i].text);
	}
	return NULL;
}

const char *profile_difference(const struct profile *a, const struct profile *b)
{
	const char *what = meta_difference(a, b);

	if (!what)
		what = code_difference(a, b);
	return what ? what : value_difference(a, b);
}
