/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles made by hand: synth.h. */
#include "synth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/ledger.h"

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return p;
}

static char *copy(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

#define APPEND(p, what)                                                                   \
	((p)->what = must(reallocarray((p)->what, (p)->n##what + 1, sizeof(*(p)->what))), \
	 memset(&(p)->what[(p)->n##what], 0, sizeof(*(p)->what)), &(p)->what[(p)->n##what++])

struct profile *synth_new(const char *command)
{
	struct profile *p = must(profile_new());

	p->command = copy(command);
	p->exe = copy("/srv/app/service");
	p->source = copy("synthetic");
	p->format = copy("test");
	p->allocator = copy("/lib/libc.so.6");
	p->pid = 4242;
	p->ppid = 1;
	p->duration_ns = 100000000000;
	p->start_real_ns = 1700000000000000000;
	APPEND(p, threads);
	return p;
}

uint32_t synth_module(struct profile *p, const char *path, uint64_t bias, uint8_t build_id)
{
	struct prof_module *m = APPEND(p, modules);

	m->path = copy(path);
	m->start = bias;
	m->end = bias + 0x100000;
	m->bias = bias;
	m->build_id_len = build_id ? 20 : 0;
	memset(m->build_id, build_id, sizeof(m->build_id));
	return (uint32_t)p->nmodules - 1;
}

uint32_t synth_frame_lines(struct profile *p, uint32_t parent, uint32_t module,
                           uint64_t file_address, const struct synth_line *lines, uint32_t n)
{
	uint64_t pc = file_address + (module == PROF_NO_MODULE ? 0 : p->modules[module].bias);
	struct prof_frame *f = APPEND(p, frames);
	struct prof_symbol *s;

	*f = (struct prof_frame){ .pc = pc, .parent = parent, .module = module };
	if (!n)
		return (uint32_t)p->nframes - 1;
	f->symbol = (uint32_t)p->nsymbols;
	s = APPEND(p, symbols);
	s->lines = must(calloc(n, sizeof(*s->lines)));
	s->nlines = n;
	for (uint32_t i = 0; i < n; i++)
		s->lines[i] = (struct prof_line){
			.function = copy(lines[i].function),
			.file = copy(lines[i].file),
			.line = lines[i].line,
			.inlined = i + 1 < n,
		};
	return (uint32_t)p->nframes - 1;
}

uint32_t synth_frame(struct profile *p, uint32_t parent, uint32_t module, uint64_t file_address,
                     const char *function, const char *file, uint32_t line)
{
	struct synth_line l = { function, file, line };

	return synth_frame_lines(p, parent, module, file_address, &l, 1);
}

uint32_t synth_site(struct profile *p, uint32_t stack, uint8_t kind, uint64_t size,
                    uint64_t allocated, uint64_t freed)
{
	struct prof_site *s = APPEND(p, sites);
	struct prof_class *c = &p->classes[ledger_size_class(size)];

	s->stack = stack;
	s->kind = kind;
	s->alloc = (struct prof_value){ .blocks = allocated, .bytes = allocated * size };
	s->freed = (struct prof_value){ .blocks = freed, .bytes = freed * size };
	s->inuse = (struct prof_value){ .blocks = allocated - freed,
		                        .bytes = (allocated - freed) * size };
	s->peak = s->inuse;
	s->samples = allocated;
	s->inuse_samples = allocated - freed;
	s->born = 1000000000;
	s->oldest = allocated > freed ? 2000000000 : UINT64_MAX;
	p->lifetimes[4] = must(reallocarray(p->lifetimes[4], p->nsites, sizeof(uint64_t)));
	p->lifetimes[4][p->nsites - 1] = freed;
	if (kind == PROF_STACK) /* as the tracker: at its site only */
		return (uint32_t)p->nsites - 1;
	prof_value_add(&c->alloc, &s->alloc);
	prof_value_add(&c->freed, &s->freed);
	p->peak_bytes += s->peak.bytes;
	p->peak_copy_bytes += s->peak.bytes;
	return (uint32_t)p->nsites - 1;
}

uint32_t synth_thread(struct profile *p, int32_t tid, const char *name)
{
	struct prof_thread *t = APPEND(p, threads);

	t->tid = tid;
	t->name = copy(name);
	return (uint32_t)p->nthreads - 1;
}

void synth_cell(struct profile *p, uint32_t site, uint32_t thread, uint64_t blocks, uint64_t bytes)
{
	struct prof_cell *c = APPEND(p, cells);

	*c = (struct prof_cell){ site, thread, { .blocks = blocks, .bytes = bytes } };
}

void synth_point(struct profile *p, uint64_t time, uint64_t inuse, uint64_t alloc_bytes)
{
	struct prof_point *t = APPEND(p, points);

	*t = (struct prof_point){ time, inuse, alloc_bytes, alloc_bytes / 16 };
}

struct profile *synth_service(void)
{
	struct profile *p = synth_new("./service --port 8080");
	uint32_t app = synth_module(p, "/srv/app/service", 0x400000, 1);
	uint32_t libc = synth_module(p, "/lib/x86_64-linux-gnu/libc.so.6", 0x7f0000000000, 2);
	uint32_t stl = synth_module(p, "/lib/x86_64-linux-gnu/libstdc++.so.6", 0x7f1000000000, 3);
	uint32_t start = synth_frame(p, 0, app, 0x100, "_start", NULL, 0);
	uint32_t lsm =
		synth_frame(p, start, libc, 0x200, "__libc_start_main", "../csu/libc-start.c", 360);
	uint32_t main_ = synth_frame(p, lsm, app, 0x300, "main", "/srv/src/app/main.c", 42);
	uint32_t serve = synth_frame(p, main_, app, 0x400, "serve", "/srv/src/app/server.c", 120);
	uint32_t leak =
		synth_frame(p, serve, app, 0x500, "handle_leak", "/srv/src/app/server.c", 88);
	uint32_t keep = synth_frame_lines(
		p, serve, app, 0x600,
		(struct synth_line[]){ { "std::vector<int, std::allocator<int> >::push_back(int&&)",
	                                 "/usr/include/c++/12/bits/stl_vector.h", 1280 },
	                               { "Session::keep(int)", "/srv/src/app/session.cc", 17 } },
		2);
	uint32_t opnew = synth_frame(p, keep, stl, 0x700, "operator new(unsigned long)", NULL, 0);
	uint32_t cache = synth_frame(p, serve, app, 0x800, "cache_put", "/srv/src/app/cache.c", 31);
	uint32_t dup = synth_frame(p, cache, libc, 0x900, "strdup", NULL, 0);
	uint32_t anon = synth_frame_lines(p, main_, PROF_NO_MODULE, 0xdead00, NULL, 0);
	uint32_t t1 = synth_thread(p, 4242, "service"), t2 = synth_thread(p, 4243, "worker");
	uint32_t s_leak = synth_site(p, leak, PROF_HEAP, 1048576, 24, 0);
	uint32_t s_new = synth_site(p, opnew, PROF_HEAP, 4096, 1000, 10);
	uint32_t s_dup = synth_site(p, dup, PROF_HEAP, 48, 50000, 49000);
	uint32_t s_map = synth_site(p, anon, PROF_MMAP, 65536, 2, 1);

	synth_site(p, 0, PROF_HEAP, 16, 100, 100);
	synth_cell(p, s_leak, t2, 24, 24 * 1048576);
	synth_cell(p, s_new, t2, 990, 990 * 4096);
	synth_cell(p, s_dup, t1, 1000, 48000);
	synth_cell(p, s_map, t1, 1, 65536);
	for (uint64_t i = 0; i <= 50; i++)
		synth_point(p, i * 2000000000, i * 500000 + (i % 10 == 5 ? 4000000 : 0), i * 700000);
	p->threads[t2].died = 90000000000;
	p->peak_time = 98000000000;
	p->losses.count[LOSS_UNMATCHED_FREE] = 1234;
	p->tracker_ledger_bytes = 3 << 20;
	p->tracker_private_bytes = 200 << 10;
	return p;
}
