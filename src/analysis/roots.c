/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots are what is left of the writable mappings when everything that is known to be something
 * else has been cut out.  Each thread first says where its stack and its TLS are; ended
 * threads' stacks are recognised; then every mapping is classed and what is taken (heap ranges, the
 * tracker, stacks) is subtracted from it.
 */
#include "analysis/roots.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "analysis/stack_lists.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/tracker_name.h"
#include "proc/image.h"

#define PAGE UINT64_C(4096)
#define RED_ZONE 128
#define TCB_SIZE 2304 /* struct pthread of glibc 2.36; others are near */
#define MAX_DTV 65536
#define CHUNK_HEADER 16u /* glibc: what lies between a chunk's address and its block */
#define TOP_WORDS 128u   /* of a stack: more than malloc's own frames */
#define MAX_GUARD (UINT64_C(64) << 20)

struct ranges {
	struct roots_range *items;
	size_t n, cap;
};

struct finder {
	const struct image *img;
	const struct heap *heap;
	const struct roots_options *opts;
	struct roots *out;
	struct ranges taken; /* not to be had as data or mapping roots */
	uint64_t static_tls;
	struct stack_lists lists;
	size_t cap, cap_stacks, nwords;
	bool failed;
};

static void note(struct finder *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct finder *f, const char *fmt, ...)
{
	char **p = reallocarray(f->out->notes, f->out->nnotes + 1, sizeof(*p)), *text = NULL;
	va_list ap;

	if (!p) {
		f->failed = true;
		return;
	}
	f->out->notes = p;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		f->failed = true;
	else
		p[f->out->nnotes++] = text;
	va_end(ap);
}

static void add_root(struct finder *f, struct root r)
{
	if (f->out->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		void *p = reallocarray(f->out->items, cap, sizeof(r));

		if (!p) {
			f->failed = true;
			return;
		}
		f->out->items = p;
		f->cap = cap;
	}
	f->out->items[f->out->n++] = r;
}

static void add_range(struct finder *f, enum root_kind kind, uint64_t start, uint64_t end,
                      const char *name, int32_t tid)
{
	if (start < end)
		add_root(f, (struct root){ .kind = kind,
		                           .start = start,
		                           .end = end,
		                           .name = name,
		                           .tid = tid });
}

static void take(struct finder *f, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	if (f->taken.n == f->taken.cap) {
		size_t cap = f->taken.cap ? f->taken.cap * 2 : 64;
		void *p = reallocarray(f->taken.items, cap, sizeof(*f->taken.items));

		if (!p) {
			f->failed = true;
			return;
		}
		f->taken.items = p;
		f->taken.cap = cap;
	}
	f->taken.items[f->taken.n++] = (struct roots_range){ start, end };
}

static void add_stack(struct finder *f, uint64_t start, uint64_t end, int32_t tid, bool unjoined)
{
	if (array_grow((void **)&f->out->stacks, f->out->nstacks, &f->cap_stacks,
	               sizeof(*f->out->stacks)) < 0) {
		f->failed = true;
		return;
	}
	f->out->stacks[f->out->nstacks++] =
		(struct roots_stack){ .start = start, .end = end, .tid = tid, .unjoined = unjoined };
}

static bool in_heap(const struct finder *f, uint64_t addr)
{
	size_t lo = 0, hi = f->heap->nranges;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->heap->ranges[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < f->heap->nranges && f->heap->ranges[lo].start <= addr;
}

static bool is_scannable(const struct image_map *m)
{
	return (m->flags & IMAGE_READ) && !(m->flags & IMAGE_ABSENT);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* The mapping a stack may be in: writable, no file, no heap at this place. */
static const struct image_map *stack_map(const struct finder *f, uint64_t addr)
{
	const struct image_map *m = addr ? image_map_of(f->img, addr) : NULL;

	return m && is_scannable(m) && m->flags & IMAGE_WRITE && m->path[0] != '/' &&
	                       !image_module_of(f->img, addr) && !in_heap(f, addr)
	               ? m
	               : NULL;
}

/* Where the TCB at tls ends: a stack ends with the page its TCB ends in. */
static uint64_t tcb_end(const struct image_map *m, uint64_t tls)
{
	uint64_t end = (tls + TCB_SIZE + PAGE - 1) & ~(PAGE - 1);

	return end < m->end ? end : m->end;
}

/*
 * The stack in m that holds addr: what the ledger says; else up to the page that ends the TCB above it,
 * and down to where the TCB of the stack below ends, as neighbours may share one mapping.
 */
static struct roots_range stack_extent(const struct finder *f, const struct image_map *m,
                                       uint64_t addr)
{
	struct roots_range r = { m->start, m->end };

	for (size_t i = 0; i < f->opts->nstacks; i++) {
		const struct roots_range *s = &f->opts->stacks[i];

		if (addr >= s->start && addr < s->end && s->start >= m->start && s->end <= m->end)
			return *s;
	}
	for (size_t i = 0; i < f->img->nthreads; i++) {
		uint64_t tls = f->img->threads[i].tls, end;

		if (tls < m->start || tls >= m->end || tls % 16)
			continue;
		end = tcb_end(m, tls);
		if (end <= addr && end > r.start)
			r.start = end;
		if (end > addr && end < r.end)
			r.end = end;
	}
	return r;
}

static void tls_roots(struct finder *f, const struct image_thread *t, uint64_t floor)
{
	const struct image_map *m = t->tls ? image_map_of(f->img, t->tls) : NULL;
	uint64_t start, end;

	if (!m || !is_scannable(m) || !(m->flags & IMAGE_WRITE))
		return;
	start = t->tls - m->start > f->static_tls ? t->tls - f->static_tls : m->start;
	if (start < floor && floor <= t->tls)
		start = floor;
	end = tcb_end(m, t->tls);
	add_range(f, ROOT_TLS, start & ~UINT64_C(7), end, m->path, t->tid);
	take(f, start, end);
}

static void add_word(struct finder *f, enum root_kind kind, uint64_t word, int32_t tid)
{
	uint64_t *w = malloc(sizeof(*w)), **p;

	p = reallocarray(f->out->words, f->nwords + 1, sizeof(*p));
	if (p)
		f->out->words = p;
	if (!w || !p) {
		free(w);
		f->failed = true;
		return;
	}
	*w = word;
	p[f->nwords++] = w;
	f->out->nwords = f->nwords;
	add_root(f, (struct root){ .kind = kind, .words = w, .nwords = 1, .name = "", .tid = tid });
}

/* The start of the block that holds addr, as a root of its own. */
static bool add_block(struct finder *f, uint64_t addr, int32_t tid)
{
	int64_t b = block_find(f->heap->blocks, f->heap->nblocks, addr);

	if (b >= 0)
		add_word(f, ROOT_DYNAMIC_TLS, f->heap->blocks[b].address, tid);
	return b >= 0;
}

/*
 * The vector at tls + 8 and the blocks it names.  glibc: pairs (pointer, block to free), how many stands 16
 * bytes before; musl: pointers, the first word says how many.
 */
static void dynamic_tls_roots(struct finder *f, const struct image_thread *t)
{
	bool musl = !strncmp(f->heap->allocator, "musl", 4);
	uint64_t dtv, n, step = musl ? 8 : 16;

	if (!t->tls || !image_read_u64(f->img, t->tls + 8, &dtv) || dtv % 8 || dtv < PAGE ||
	    !image_read_u64(f->img, musl ? dtv : dtv - 16, &n) || !n || n > MAX_DTV)
		return;
	add_block(f, dtv, t->tid);
	for (uint64_t i = 1; i <= n; i++) {
		uint64_t at, owner = 0;

		if (!image_read_u64(f->img, dtv + i * step, &at))
			return;
		if (!musl && !image_read_u64(f->img, dtv + i * step + 8, &owner))
			return;
		if (at && at != UINT64_MAX && !add_block(f, at, t->tid) && owner)
			add_block(f, owner, t->tid);
	}
}

/*
 * Is s a thread's own stack and not a mapping that it only runs in?  glibc and musl have a control block at its top, which points
 * to itself.  Go has none: what its threads run on is a piece of Go's heap, and the mapping is all of that.
 */
static bool is_own_stack(const struct finder *f, const struct image_thread *t,
                         const struct image_map *home, struct roots_range s)
{
	uint64_t self;

	if (!strcmp(home->path, "[stack]"))
		return true;
	for (size_t i = 0; i < f->opts->nstacks; i++)
		if (s.start == f->opts->stacks[i].start && s.end == f->opts->stacks[i].end)
			return true;
	return image_read_u64(f->img, t->tls, &self) && self == t->tls;
}

static void stack_roots(struct finder *f, const struct image_thread *t, bool main)
{
	bool exiting = f->opts->exit_tid && f->opts->exit_tid == t->tid;
	uint64_t sp = exiting ? f->opts->exit_sp : t->missed ? 0 : t->sp, from = sp;
	const struct image_map *m = stack_map(f, sp), *home = NULL;
	struct roots_range s;

	if (main)
		for (size_t i = 0; i < f->img->nmaps; i++)
			if (!strcmp(f->img->maps[i].path, "[stack]"))
				home = &f->img->maps[i];
	if (!home && !main)
		home = stack_map(f, t->tls);
	if (!home)
		home = m;
	if (!home) {
		note(f, "The stack of thread %d was not found.", t->tid);
		tls_roots(f, t, 0);
		return;
	}
	s = stack_extent(f, home, home == m ? sp : main ? home->end - 1 : t->tls);
	if (home == m && sp >= s.start && sp < s.end) {
		if (!exiting)
			from = sp - s.start > RED_ZONE ? sp - RED_ZONE : s.start;
	} else {
		/* It runs elsewhere (a coroutine, a signal stack): the whole of its own, and that too. */
		int64_t b = block_find(f->heap->blocks, f->heap->nblocks, sp);

		from = s.start;
		if (b >= 0) {
			uint64_t start = f->heap->blocks[b].address;
			uint64_t end = start + f->heap->blocks[b].size;

			if (sp - start > RED_ZONE)
				start = sp - RED_ZONE;
			add_range(f, ROOT_STACK, start & ~UINT64_C(7), end, "", t->tid);
		}
	}
	take(f, s.start, s.end);
	if (is_own_stack(f, t, home, s))
		add_stack(f, s.start, s.end, t->tid, false);
	if (t->tls > from && t->tls < s.end) {
		/* The TLS at its top is a kind of its own. */
		uint64_t top = t->tls - from > f->static_tls ? t->tls - f->static_tls : from;

		add_range(f, ROOT_STACK, from & ~UINT64_C(7), top & ~UINT64_C(7), home->path,
		          t->tid);
		tls_roots(f, t, top);
		if (tcb_end(home, t->tls) < s.end)
			add_range(f, ROOT_STACK, tcb_end(home, t->tls), s.end, home->path, t->tid);
		return;
	}
	add_range(f, ROOT_STACK, from & ~UINT64_C(7), s.end, home->path, t->tid);
	tls_roots(f, t, 0);
}

/* In the C library, or in a program that has it in itself: perhaps in malloc. */
static bool may_be_allocating(const struct finder *f, const struct image_thread *t)
{
	const struct image_module *m = image_module_of(f->img, t->pc);

	return m && (!f->img->at_base || !strncmp(path_base(m->path), "libc", 4) ||
	             !strncmp(path_base(m->path), "ld-", 3));
}

static void chunk_root(struct finder *f, uint64_t word, int32_t tid)
{
	int64_t b = block_find(f->heap->blocks, f->heap->nblocks, word + CHUNK_HEADER);

	if (b >= 0 && f->heap->blocks[b].address == word + CHUNK_HEADER)
		add_word(f, ROOT_REGISTER, word + CHUNK_HEADER, tid);
}

/*
 * A thread that was stopped in malloc or free knows the block it is just making or taking back by its chunk's
 * header only, in registers and in the topmost frames.
 */
static void allocating_roots(struct finder *f, const struct image_thread *t)
{
	uint64_t words[TOP_WORDS];
	size_t n;

	if (t->missed || strcmp(f->heap->allocator, "glibc") != 0 || !may_be_allocating(f, t))
		return;
	for (size_t i = 0; i < t->ngeneral && i < t->nwords; i++)
		chunk_root(f, t->words[i], t->tid);
	n = image_read(f->img, t->sp & ~UINT64_C(7), words, sizeof(words)) / sizeof(*words);
	for (size_t i = 0; i < n; i++)
		chunk_root(f, words[i], t->tid);
}

/* Two threads in one place (a clone without a stack of its own) do no harm: ranges may overlap. */
static void thread_roots(struct finder *f)
{
	for (size_t i = 0; i < f->img->nthreads; i++) {
		const struct image_thread *t = &f->img->threads[i];
		bool exiting = f->opts->exit_tid && f->opts->exit_tid == t->tid;
		const uint64_t *words = exiting ? f->opts->exit_words : t->words;
		size_t n = exiting ? f->opts->nexit_words : t->missed ? 0 : t->nwords;

		if (words && n)
			add_root(f, (struct root){ .kind = ROOT_REGISTER,
			                           .words = words,
			                           .nwords = n,
			                           .name = "",
			                           .tid = t->tid });
		if (!exiting)
			allocating_roots(f, t);
		stack_roots(f, t, i == 0);
		dynamic_tls_roots(f, t);
	}
}

/* ---- stacks of ended threads ----------------------------------------------------------------- */

static bool has_thread(const struct finder *f, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < f->img->nthreads; i++) {
		const struct image_thread *t = &f->img->threads[i];

		if ((t->sp >= start && t->sp < end) || (t->tls >= start && t->tls < end))
			return true;
	}
	return false;
}

/* glibc's stack cache: a guard below, at the top a TCB that points to itself and is no thread's. */
static uint64_t dead_tcb(const struct finder *f, const struct image_map *m)
{
	uint8_t page[4096 + 64], there;

	for (uint64_t end = m->end; end > m->start && m->end - end < 2 * PAGE; end -= PAGE) {
		uint64_t at = end - PAGE;

		image_resident(f->img, at, 1, &there);
		if (!there || !image_read_all(f->img, at, page, PAGE))
			continue;
		for (uint64_t i = 0; i + 24 <= PAGE; i += 64) {
			uint64_t words[3];

			memcpy(words, page + i, sizeof(words));
			if (words[0] == at + i && words[2] == at + i)
				return at + i;
		}
	}
	return 0;
}

/*
 * Below a stack of glibc's lies a guard that nothing may touch.  In gcore's cores it is a hole, or reads as zeros, because a
 * debugger may read it.
 */
static bool has_guard(const struct image *img, size_t i)
{
	const struct image_map *m = &img->maps[i], *guard = i ? &img->maps[i - 1] : NULL;
	const uint32_t none = IMAGE_WRITE | IMAGE_EXEC | (img->kind == IMAGE_CORE ? 0 : IMAGE_READ);

	if (!guard || guard->end != m->start)
		return img->kind == IMAGE_CORE;
	return !(guard->flags & none) && guard->end - guard->start <= MAX_GUARD;
}

static void dead_stacks(struct finder *f)
{
	const struct image *img = f->img;

	for (size_t i = 0; i < img->nthreads; i++)
		if (img->threads[i].missed)
			return; /* any of them might be its */
	for (size_t i = 0; i < f->opts->nstacks; i++) {
		const struct roots_range *s = &f->opts->stacks[i];

		if (!has_thread(f, s->start, s->end))
			take(f, s->start, s->end);
	}
	for (size_t i = 0; i < img->nmaps; i++) {
		const struct image_map *m = &img->maps[i];
		bool unjoined;
		uint64_t tcb;

		if (m->path[0] == '/' || m->flags & IMAGE_SHARED || !(m->flags & IMAGE_WRITE) ||
		    !is_scannable(m) || !has_guard(img, i) || in_heap(f, m->start) ||
		    has_thread(f, m->start, m->end))
			continue;
		tcb = dead_tcb(f, m);
		if (!tcb)
			continue;
		take(f, m->start, m->end);
		unjoined = stack_lists_unjoined(&f->lists, tcb);
		add_stack(f, m->start, m->end, 0, unjoined);
		if (unjoined)
			add_range(f, ROOT_TLS, tcb, tcb_end(m, tcb), m->path, 0);
	}
}

/* ---- mappings -------------------------------------------------------------------------------- */

static int compare_ranges(const void *a, const void *b)
{
	const struct roots_range *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

/* What of a mapping is not taken. */
static void add_rest(struct finder *f, enum root_kind kind, const struct image_map *m,
                     const char *name)
{
	uint64_t at = m->start;
	size_t lo = 0, hi = f->taken.n;

	/* taken[] is sorted and without overlaps */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->taken.items[mid].end > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	for (; lo < f->taken.n && f->taken.items[lo].start < m->end; lo++) {
		if (f->taken.items[lo].start > at)
			add_range(f, kind, at, f->taken.items[lo].start, name, 0);
		at = f->taken.items[lo].end;
	}
	add_range(f, kind, at, m->end, name, 0);
}

/* Memory of an allocator that no walker knows: it has blocks outside the known ranges. */
static bool is_foreign_heap(const struct finder *f, const struct image_map *m)
{
	const struct heap *h = f->heap;
	size_t lo = 0, hi = h->nblocks;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->blocks[mid].address < m->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < h->nblocks && h->blocks[lo].address < m->end &&
	       !in_heap(f, h->blocks[lo].address);
}

/*
 * Pages that were written to and then protected: the loader's lie just below a module's writable ones, a program's
 * own anywhere beside those; and what has no file behind it cannot have got its content otherwise.
 */
static bool is_relro(const struct image *img, size_t i)
{
	const struct image_map *m = &img->maps[i], *prev = i ? m - 1 : NULL,
			       *next = i + 1 < img->nmaps ? m + 1 : NULL;

	if ((m->flags & (IMAGE_WRITE | IMAGE_EXEC | IMAGE_SHARED)) || !(m->flags & IMAGE_READ))
		return false;
	if (m->path[0] != '/')
		return m->path[0] != '[' && !m->inode && image_module_of(img, m->start);
	return (next && next->start == m->end && next->flags & IMAGE_WRITE &&
	        !strcmp(m->path, next->path)) ||
	       (prev && prev->end == m->start && prev->flags & IMAGE_WRITE &&
	        !strcmp(m->path, prev->path));
}

static bool is_device(const char *path)
{
	return !strncmp(path, "/dev/", 5) && strncmp(path, "/dev/zero", 9) &&
	       strncmp(path, "/dev/shm/", 9);
}

/* Shared memory without a file behind it: its content is the program's own. */
static bool is_shared_memory(const char *path)
{
	return !path[0] || !strncmp(path, "/dev/zero", 9) || !strncmp(path, "/dev/shm/", 9) ||
	       !strncmp(path, "/memfd:", 7) || !strncmp(path, "/SYSV", 5) ||
	       !strncmp(path, "[anon_shmem", 11);
}

static bool is_loader(const char *path)
{
	const char *base = path_base(path);

	return !strncmp(base, "ld-", 3) || !strncmp(base, "ld.so", 5);
}

/*
 * The loader aligns what it allocates for itself (its map of code addresses, 2.35 on) inside blocks of its own: what
 * its data point into is as good as held by its start.
 */
static void loader_roots(struct finder *f, const struct image_map *m)
{
	uint64_t words[PAGE / 8];

	for (uint64_t at = m->start; at < m->end; at += PAGE) {
		size_t n = image_read(f->img, at, words, sizeof(words)) / sizeof(*words);

		for (size_t i = 0; i < n; i++) {
			int64_t b = words[i] % 8 ? -1
			                         : block_find(f->heap->blocks, f->heap->nblocks,
			                                      words[i]);

			if (b >= 0 && f->heap->blocks[b].address != words[i])
				add_word(f, ROOT_DATA, f->heap->blocks[b].address, 0);
		}
	}
}

static void map_roots(struct finder *f)
{
	const struct image *img = f->img;
	uint64_t absent = 0, foreign = 0;

	for (size_t i = 0; i < img->nmaps; i++) {
		const struct image_map *m = &img->maps[i];
		const struct image_module *mod = image_module_of(img, m->start);
		bool relro = is_relro(img, i);

		if ((!(m->flags & IMAGE_WRITE) && !relro) || !(m->flags & IMAGE_READ) ||
		    is_device(m->path) || !strncmp(m->path, "[v", 2) ||
		    (m->flags & IMAGE_SHARED && !is_shared_memory(m->path)))
			continue;
		if (m->flags & IMAGE_ABSENT) {
			absent += m->end - m->start;
			continue;
		}
		if (mod && module_is_tracker(mod->path))
			mod = NULL; /* that is taken; the kernel may have joined a mapping of the program to its end */
		if (mod && !(m->flags & IMAGE_SHARED)) {
			add_rest(f, ROOT_DATA, m, mod->path);
			if (is_loader(mod->path) && m->flags & IMAGE_WRITE)
				loader_roots(f, m);
		} else if (is_foreign_heap(f, m)) {
			foreign += m->end - m->start;
		} else {
			bool file = m->path[0] == '/' && !(m->flags & IMAGE_SHARED);

			add_rest(f, file ? ROOT_DATA : ROOT_MAPPING, m, m->path);
		}
	}
	if (absent && f->img->kind != IMAGE_CLONE) /* which has said so itself */
		note(f,
		     "%llu KiB of writable memory are not in the image; pointers there are not seen.",
		     (unsigned long long)absent / 1024);
	if (foreign)
		note(f,
		     "%llu KiB belong to an allocator without a walker; only blocks in them are seen.",
		     (unsigned long long)foreign / 1024);
}

static int compare_roots(const void *a, const void *b)
{
	const struct root *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static void merge_taken(struct finder *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->heap->nranges; i++)
		take(f, f->heap->ranges[i].start, f->heap->ranges[i].end);
	for (size_t i = 0; i < f->img->nmodules; i++)
		if (module_is_tracker(f->img->modules[i].path))
			take(f, f->img->modules[i].start, f->img->modules[i].end);
	for (size_t i = 0; i < f->opts->ntracker; i++)
		take(f, f->opts->tracker[i].start, f->opts->tracker[i].end);
	if (f->taken.n)
		qsort(f->taken.items, f->taken.n, sizeof(*f->taken.items), compare_ranges);
	for (size_t i = 0; i < f->taken.n; i++) {
		struct roots_range r = f->taken.items[i];

		if (n && r.start <= f->taken.items[n - 1].end) {
			if (r.end > f->taken.items[n - 1].end)
				f->taken.items[n - 1].end = r.end;
		} else {
			f->taken.items[n++] = r;
		}
	}
	f->taken.n = n;
}

struct seep_error *roots_find(const struct image *img, const struct heap *heap,
                              const struct roots_options *opts, struct roots *ret_roots)
{
	static const struct roots_options none;
	struct roots out = { 0 };
	struct finder f = { .img = img,
		            .heap = heap,
		            .opts = opts ? opts : &none,
		            .out = &out,
		            .lists = { .img = img } };

	for (size_t i = 0; i < img->nmodules; i++)
		if (img->modules[i].tls_memsz && img->modules[i].tls_memsz < UINT64_C(1) << 24)
			f.static_tls += ((img->modules[i].tls_memsz + 63) & ~UINT64_C(63)) + 64;
	thread_roots(&f);
	dead_stacks(&f);
	merge_taken(&f);
	map_roots(&f);
	for (size_t i = 0; i < f.opts->nregions; i++)
		add_range(&f, ROOT_REGION, f.opts->regions[i].start, f.opts->regions[i].end, "", 0);
	if (out.n)
		qsort(out.items, out.n, sizeof(*out.items), compare_roots);
	free(f.taken.items);
	f.failed |= f.lists.failed;
	stack_lists_release(&f.lists);
	if (f.failed) {
		roots_release(&out);
		return &seep_error_nomem;
	}
	*ret_roots = out;
	return NULL;
}

void roots_release(struct roots *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->nnotes; i++)
		free(r->notes[i]);
	for (size_t i = 0; i < r->nwords; i++)
		free(r->words[i]);
	free(r->notes);
	free(r->words);
	free(r->stacks);
	free(r->items);
	*r = (struct roots){ 0 };
}
