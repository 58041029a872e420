/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of heaps.  JSON has everything that is known; text has the largest rows, and leaves out what is not known.
 */
#include "cli/heap_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "heap/heap.h"
#include "heap/malloc_info.h"
#include "output/emit.h"

static struct emit_value bytes(uint64_t v)
{
	return allocator_known(v) ? emit_bytes(v) : emit_none();
}

static struct emit_value count(uint64_t v)
{
	return allocator_known(v) ? emit_count(v) : emit_none();
}

/* Rows of a table without a header: what is not known is left out of text. */
struct figure {
	const char *key, *label;
	uint64_t value;
};

static void figures(struct emit *e, const struct figure *all, size_t n)
{
	static const struct emit_column columns[] = { { NULL, "", 0, 0 },
		                                      { NULL, "", EMIT_RIGHT, 0 } };

	if (!emit_is_text(e)) {
		for (size_t i = 0; i < n; i++)
			emit_field(e, all[i].key, NULL, bytes(all[i].value));
		return;
	}
	emit_table(e, NULL, 4, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++)
		if (all[i].label && allocator_known(all[i].value))
			emit_row(e, 0, EMIT_PLAIN,
			         (struct emit_value[]){ emit_string(all[i].label),
			                                emit_bytes(all[i].value) });
	emit_table_end(e);
}

static void title(struct emit *e, const struct allocator *a)
{
	if (!emit_is_text(e))
		return;
	emit_heading(e, "%s%s%s in %s%s", a->name, a->version[0] ? " " : "", a->version, a->module,
	             a->is_malloc ? ", the program's malloc()" : "");
	if (a->prefix[0])
		emit_text(e, EMIT_DIM, 2, "its functions' names begin with %s", a->prefix);
}

static void identify(struct emit *e, const struct allocator *a)
{
	emit_field(e, "name", NULL, emit_string(a->name));
	emit_field(e, "version", NULL, a->version[0] ? emit_string(a->version) : emit_none());
	emit_field(e, "module", NULL, emit_string(a->module));
	emit_field(e, "prefix", NULL, emit_string(a->prefix));
	emit_field(e, "in_program", NULL, emit_bool(a->in_program));
	emit_field(e, "is_malloc", NULL, emit_bool(a->is_malloc));
}

static uint64_t rows(const struct heap_print *p, uint64_t n)
{
	return p->json || !p->top || n < p->top ? n : p->top;
}

static void left_out(struct emit *e, uint64_t n, uint64_t shown, const char *what)
{
	if (n > shown && emit_is_text(e))
		emit_text(e, EMIT_DIM, 4, "… %" PRIu64 " more %s: --top 0", n - shown, what);
}

/* ---- allocators that were asked ------------------------------------------------------------- */

static void print_stats(struct emit *e, const struct allocator *a, const struct allocator_stats *s)
{
	bool je = a->kind == ALLOCATOR_JEMALLOC, mi = a->kind == ALLOCATOR_MIMALLOC;
	const struct figure all[] = {
		{ "live", "in use", s->live },
		{ "allocated", je ? "in use, and in thread caches" : NULL, s->allocated },
		{ "active", "pages in use", s->active },
		{ "dirty",
		  je   ? "dirty pages: free, resident"
		  : mi ? "free spans, resident"
		       : NULL,
		  s->dirty },
		{ "muzzy", "muzzy pages: free, lazily given back", s->muzzy },
		{ "pageheap_free", "page heap: free, resident", s->pageheap_free },
		{ "pageheap_unmapped", "page heap: given back", s->pageheap_unmapped },
		{ "thread_cache", "thread caches", s->thread_cache },
		{ "max_thread_cache", "thread caches, at most", s->max_thread_cache },
		{ "central_cache", "central cache", s->central_cache },
		{ "transfer_cache", "transfer cache", s->transfer_cache },
		{ "metadata", "the allocator's own", s->metadata },
		{ "resident", "resident", s->resident },
		{ "peak_resident", mi ? "resident at most, the whole process" : "resident, at most",
		  s->peak_resident },
		{ "committed", "committed", s->committed },
		{ "mapped", "mapped", s->mapped },
		{ "retained", je ? "retained: address space only" : NULL, s->retained },
	};

	emit_object(e, "stats");
	figures(e, all, ARRAY_SIZE(all));
	emit_field(e, "page_size", NULL, bytes(s->page_size));
	emit_field(e, "arenas", NULL, count(s->narenas));
	emit_field(e, "threads", NULL, count(s->nthreads));
	emit_object_end(e);
}

static struct emit_value decay(int64_t ms)
{
	return emit_number(ms);
}

static void print_arenas(struct emit *e, const struct heap_print *p,
                         const struct allocator_details *d)
{
	static const struct emit_column columns[] = {
		{ "index", "ARENA", 0, 0 },         { "threads", "THREADS", 0, 0 },
		{ "live", "IN USE", 0, 0 },         { "active", "ACTIVE", 0, 0 },
		{ "dirty", "DIRTY", 0, 0 },         { "muzzy", "MUZZY", 0, 0 },
		{ "thread_cache", "CACHES", 0, 0 }, { "resident", "RESIDENT", 0, 0 },
		{ "mapped", "MAPPED", 0, 0 },       { "retained", "RETAINED", 0, 0 },
		{ "metadata", NULL, 0, 0 },         { "dirty_decay_ms", "DECAY ms", 0, 0 },
		{ "muzzy_decay_ms", NULL, 0, 0 },
	};
	uint64_t shown = rows(p, d->narenas);

	if (!d->narenas)
		return;
	emit_blank(e);
	emit_table(e, "arenas", 4, columns, ARRAY_SIZE(columns));
	for (uint64_t i = 0; i < shown; i++) {
		const struct allocator_arena *a = &d->arenas[i];

		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 emit_number(a->index), emit_count(a->nthreads), bytes(a->live),
				 bytes(a->active), bytes(a->dirty), bytes(a->muzzy),
				 bytes(a->thread_cache), bytes(a->resident), bytes(a->mapped),
				 bytes(a->retained), bytes(a->metadata), decay(a->dirty_decay_ms),
				 decay(a->muzzy_decay_ms) });
	}
	emit_table_end(e);
	left_out(e, d->narenas, shown, "arenas");
}

static uint64_t bin_bytes(const struct allocator_bin *b)
{
	uint64_t v;

	return __builtin_mul_overflow(b->blocks, b->size, &v) ? UINT64_MAX : v;
}

static int larger_bin(const void *x, const void *y)
{
	uint64_t a = bin_bytes(x), b = bin_bytes(y);

	return a < b ? 1 : a > b ? -1 : 0;
}

static struct emit_value used_share(const struct allocator_bin *b)
{
	uint64_t room;

	if (!allocator_known(b->slabs) || !allocator_known(b->slab_bytes) ||
	    __builtin_mul_overflow(b->slabs, b->slab_bytes, &room) || !room)
		return emit_none();
	return emit_ratio((double)bin_bytes(b) / (double)room);
}

static void print_bins(struct emit *e, const struct heap_print *p, struct allocator_details *d)
{
	static const struct emit_column columns[] = {
		{ "size", "SIZE", 0, 0 },
		{ "blocks", "BLOCKS", 0, 0 },
		{ "bytes", "BYTES", 0, 0 },
		{ "slabs", "SLABS", 0, 0 },
		{ "slab_bytes", "OF", 0, 0 },
		{ "used", "FILLED", 0, 0 },
		{ "allocations", "ALLOCATED", 0, 0 },
		{ "frees", "FREED", 0, 0 },
	};
	uint64_t shown = rows(p, d->nbins);

	if (!d->nbins)
		return;
	if (!p->json)
		qsort(d->bins, d->nbins, sizeof(*d->bins), larger_bin);
	emit_blank(e);
	emit_table(e, "bins", 4, columns, ARRAY_SIZE(columns));
	for (uint64_t i = 0; i < shown; i++) {
		const struct allocator_bin *b = &d->bins[i];

		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_bytes(b->size), count(b->blocks),
		                                bytes(bin_bytes(b)), count(b->slabs),
		                                bytes(b->slab_bytes), used_share(b),
		                                count(b->allocations), count(b->frees) });
	}
	emit_table_end(e);
	left_out(e, d->nbins, shown, "size classes");
}

static void option_json(struct emit *e, const char *name, const struct allocator_value *v)
{
	/* Release rates have fractions. */
	char value[32];

	snprintf(value, sizeof(value), "%.15g", v->value);
	emit_object(e, name);
	emit_field(e, "value", NULL, emit_string(value));
	emit_field(e, "lowest", NULL, emit_number((int64_t)v->lowest));
	emit_field(e, "highest", NULL, emit_number((int64_t)v->highest));
	emit_object_end(e);
}

static void print_options(struct emit *e, const struct allocator *a,
                          const struct allocator_value *values)
{
	static const struct emit_column columns[] = { { NULL, "", 0, 0 },
		                                      { NULL, "", EMIT_RIGHT, 0 },
		                                      { NULL, "", 0, 0 } };

	emit_object(e, "options");
	if (emit_is_text(e))
		emit_table(e, NULL, 4, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < ALLOCATOR_OPTIONS; i++) {
		const struct allocator_value *v = &values[i];
		const char *name = allocator_option_name((enum allocator_option)i);
		char value[32], range[96] = "";

		if (!allocator_has_option(a->kind, (enum allocator_option)i) || !v->known)
			continue;
		snprintf(value, sizeof(value), "%.15g", v->value);
		if (v->lowest < v->highest || v->lowest > v->value || v->highest < v->value)
			snprintf(range, sizeof(range), "%.15g to %.15g in its arenas", v->lowest,
			         v->highest);
		if (emit_is_text(e))
			emit_row(e, 0, EMIT_PLAIN,
			         (struct emit_value[]){ emit_string(name), emit_string(value),
			                                emit_string(range) });
		else
			option_json(e, name, v);
	}
	if (emit_is_text(e))
		emit_table_end(e);
	emit_object_end(e);
}

static void print_facts(struct emit *e, const struct allocator_details *d)
{
	emit_object(e, "properties");
	for (size_t i = 0; i < d->nfacts; i++)
		emit_field(e, d->facts[i].name, NULL, emit_string(d->facts[i].text));
	emit_object_end(e);
}

void heap_print_answer(struct emit *e, const struct heap_print *p, const struct heap_answer *a)
{
	struct allocator_details *d = (struct allocator_details *)(uintptr_t)a->details;

	emit_object(e, NULL);
	identify(e, a->allocator);
	title(e, a->allocator);
	emit_field(e, "error", NULL, emit_string(a->why));
	if (a->why) {
		emit_text(e, EMIT_WARN, 2, "not asked: %s", a->why);
		if (a->hint)
			emit_text(e, EMIT_DIM, 2, "%s", a->hint);
		emit_object_end(e);
		return;
	}
	print_stats(e, a->allocator, a->stats);
	if (a->allocator->kind == ALLOCATOR_MIMALLOC && !allocator_known(a->stats->live))
		emit_text(e, EMIT_DIM, 2,
		          "this mimalloc does not count blocks in use, and its segments are of no kind "
		          "known here; a tracker knows (seep run, seep attach).");
	print_arenas(e, p, d);
	print_bins(e, p, d);
	if (a->options) {
		emit_blank(e);
		print_options(e, a->allocator, a->options);
	}
	print_facts(e, d);
	emit_object(e, "visit");
	emit_field(e, "tid", NULL, emit_number(a->visit->tid));
	emit_field(e, "stopped_ns", NULL, emit_number((int64_t)a->visit->stopped_ns));
	emit_field(e, "tries", NULL, emit_number(a->visit->tries));
	emit_object_end(e);
	emit_object_end(e);
}

/* ---- heaps that were walked --------------------------------------------------------------------- */

static void print_mallinfo(struct emit *e, const struct heap_mallinfo *m)
{
	const struct {
		const char *name;
		uint64_t value;
		bool is_count;
		const char *meaning;
	} fields[] = {
		{ "arena", m->arena, false, "heap of all arenas, mapped blocks not counted" },
		{ "ordblks", m->ordblks, true, "free chunks in bins, and each arena's top" },
		{ "smblks", m->smblks, true, "free chunks in fastbins" },
		{ "hblks", m->hblks, true, "blocks with a mapping of their own" },
		{ "hblkhd", m->hblkhd, false, "in those mappings" },
		{ "usmblks", m->usmblks, false, "(always 0)" },
		{ "fsmblks", m->fsmblks, false, "in fastbins" },
		{ "uordblks", m->uordblks, false, "in use, thread caches included" },
		{ "fordblks", m->fordblks, false, "free: bins, fastbins, tops; resident or not" },
		{ "keepcost", m->keepcost, false, "top of the main arena" },
	};

	emit_object(e, "mallinfo2");
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		emit_field(e, fields[i].name, NULL,
		           fields[i].is_count ? emit_count(fields[i].value)
		                              : emit_bytes(fields[i].value));
	emit_object_end(e);
	if (!emit_is_text(e))
		return;
	{
		static const struct emit_column columns[] = { { NULL, "mallinfo2", 0, 0 },
			                                      { NULL, "", 0, 0 },
			                                      { NULL, "", 0, 0 } };

		emit_table(e, NULL, 4, columns, ARRAY_SIZE(columns));
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			emit_row(e, 0, EMIT_PLAIN,
			         (struct emit_value[]){ emit_string(fields[i].name),
			                                fields[i].is_count
			                                        ? emit_count(fields[i].value)
			                                        : emit_bytes(fields[i].value),
			                                emit_string(fields[i].meaning) });
		emit_table_end(e);
	}
}

static void print_walked_arenas(struct emit *e, const struct heap_print *p, const struct heap *h,
                                const struct malloc_info *info)
{
	static const struct emit_column columns[] = {
		{ "address", "ARENA", 0, 0 },
		{ "used_bytes", "IN USE", 0, 0 },
		{ "used_blocks", "BLOCKS", 0, 0 },
		{ "bin_bytes", "IN BINS", 0, 0 },
		{ "bin_chunks", "CHUNKS", 0, 0 },
		{ "top_bytes", "TOP", 0, 0 },
		{ NULL, "CACHED", 0, 0 },
		{ "fast_bytes", NULL, 0, 0 },
		{ "tcache_bytes", NULL, 0, 0 },
		{ "system_bytes", "SYSTEM", 0, 0 },
		{ "max_system_bytes", NULL, 0, 0 },
		{ "heaps", NULL, 0, 0 },
		{ "attached_threads", "THREADS", 0, 0 },
		{ "fast_chunks", NULL, 0, 0 },
		{ "tcache_chunks", NULL, 0, 0 },
	};
	uint64_t shown = rows(p, h->narenas);

	emit_blank(e);
	emit_table(e, "arenas", 4, columns, ARRAY_SIZE(columns));
	for (uint64_t i = 0; i < shown; i++) {
		const struct heap_arena *a = &h->arenas[i];

		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 emit_address(a->address), emit_bytes(a->used_bytes),
				 emit_count(a->used_blocks), emit_bytes(a->bin_bytes),
				 emit_count(a->bin_chunks), emit_bytes(a->top_size),
				 emit_bytes(a->fast_bytes + a->tcache_bytes),
				 emit_bytes(a->fast_bytes), emit_bytes(a->tcache_bytes),
				 emit_bytes(a->system_bytes),
				 info && i < info->narenas ? emit_bytes(info->arenas[i].max_system)
							   : emit_none(),
				 emit_count(a->heaps), emit_count(a->attached_threads),
				 emit_count(a->fast_chunks), emit_count(a->tcache_chunks) });
	}
	emit_table_end(e);
	left_out(e, h->narenas, shown, "arenas");
}

struct free_row {
	const char *kind;
	struct malloc_info_sizes sizes;
};

static void merge(struct malloc_info_sizes *into, const struct malloc_info_sizes *s)
{
	if (!s->count)
		return;
	into->from = !into->count || s->from < into->from ? s->from : into->from;
	into->to = s->to > into->to ? s->to : into->to;
	into->total += s->total;
	into->count += s->count;
}

static int larger_row(const void *x, const void *y)
{
	const struct free_row *a = x, *b = y;

	return a->sizes.total < b->sizes.total ? 1 : a->sizes.total > b->sizes.total ? -1 : 0;
}

/* Over all arenas, by list; JSON has them as malloc_info() does, by arena. */
static void print_free_lists(struct emit *e, const struct heap_print *p, const struct malloc_info *m)
{
	static const struct emit_column columns[] = {
		{ NULL, "FREE CHUNKS OF", EMIT_RIGHT, 0 },
		{ NULL, "LIST", 0, 0 },
		{ NULL, "CHUNKS", 0, 0 },
		{ NULL, "BYTES", 0, 0 },
	};
	struct free_row all[MALLOC_INFO_FAST + MALLOC_INFO_BINS + 1] = { 0 };
	size_t n = 0, shown;

	for (size_t i = 0; i < m->narenas; i++) {
		const struct malloc_info_arena *a = &m->arenas[i];

		for (size_t k = 0; k < MALLOC_INFO_FAST; k++)
			merge(&all[k].sizes, &a->fast[k]);
		for (size_t k = 0; k < MALLOC_INFO_BINS; k++)
			merge(&all[MALLOC_INFO_FAST + k].sizes, &a->bins[k]);
		merge(&all[ARRAY_SIZE(all) - 1].sizes, &a->unsorted);
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct free_row *r = &all[i];

		if (!r->sizes.count)
			continue;
		r->kind = i < MALLOC_INFO_FAST        ? "fastbin"
		          : i == ARRAY_SIZE(all) - 1  ? "unsorted"
		          : i < MALLOC_INFO_FAST + 62 ? "small"
		                                      : "large";
		all[n++] = *r;
	}
	if (!n)
		return;
	qsort(all, n, sizeof(all[0]), larger_row);
	shown = rows(p, n);
	emit_blank(e);
	emit_table(e, NULL, 4, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < shown; i++) {
		struct malloc_info_sizes s = all[i].sizes;
		char range[64];

		/* Without the flag bits. */
		s.from &= ~15ull;
		s.to &= ~15ull;
		if (i < n && !strcmp(all[i].kind, "fastbin"))
			s.from = s.to;
		if (s.from == s.to)
			snprintf(range, sizeof(range), "%" PRIu64 " B", s.to);
		else
			snprintf(range, sizeof(range), "%" PRIu64 "–%" PRIu64 " B", s.from, s.to);
		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(range), emit_string(all[i].kind),
		                                emit_count(s.count), emit_bytes(s.total) });
	}
	emit_table_end(e);
	left_out(e, n, shown, "lists");
}

static void sizes_row(struct emit *e, const char *list, const struct malloc_info_sizes *s)
{
	if (s->count)
		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(list), emit_bytes(s->from),
		                                emit_bytes(s->to), emit_bytes(s->total),
		                                emit_count(s->count) });
}

static void json_malloc_info(struct emit *e, const struct malloc_info *m)
{
	static const struct emit_column columns[] = { { "list", NULL, 0, 0 },
		                                      { "from", NULL, 0, 0 },
		                                      { "to", NULL, 0, 0 },
		                                      { "total", NULL, 0, 0 },
		                                      { "count", NULL, 0, 0 } };

	emit_object(e, "malloc_info");
	emit_array(e, "heaps");
	for (size_t i = 0; i < m->narenas; i++) {
		const struct malloc_info_arena *a = &m->arenas[i];

		emit_object(e, NULL);
		emit_field(e, "nr", NULL, emit_number((int64_t)i));
		emit_table(e, "sizes", 0, columns, ARRAY_SIZE(columns));
		for (size_t k = 0; k < MALLOC_INFO_FAST; k++)
			sizes_row(e, "fast", &a->fast[k]);
		for (size_t k = 0; k < MALLOC_INFO_BINS; k++)
			sizes_row(e, "bin", &a->bins[k]);
		sizes_row(e, "unsorted", &a->unsorted);
		emit_table_end(e);
		emit_field(e, "fast_count", NULL, emit_count(a->fast_count));
		emit_field(e, "fast_bytes", NULL, emit_bytes(a->fast_bytes));
		emit_field(e, "rest_count", NULL, emit_count(a->rest_count));
		emit_field(e, "rest_bytes", NULL, emit_bytes(a->rest_bytes));
		emit_field(e, "system_current", NULL, emit_bytes(a->system));
		emit_field(e, "system_max", NULL, emit_bytes(a->max_system));
		emit_field(e, "aspace_total", NULL, emit_bytes(a->aspace));
		emit_field(e, "aspace_mprotect", NULL, emit_bytes(a->mprotect));
		emit_field(e, "subheaps", NULL, emit_count(a->subheaps));
		emit_object_end(e);
	}
	emit_array_end(e);
	emit_field(e, "mmap_count", NULL, emit_count(m->mmap_count));
	emit_field(e, "mmap_bytes", NULL, emit_bytes(m->mmap_bytes));
	emit_field(e, "max_mmap_count", NULL, emit_count(m->max_mmap_count));
	emit_field(e, "max_mmap_bytes", NULL, emit_bytes(m->max_mmap_bytes));
	emit_object_end(e);
}

/* But for other allocators: they are asked. */
static bool is_of_heap(const char *note)
{
	return !strstr(note, "no walker");
}

static void notes(struct emit *e, const struct heap *h)
{
	emit_list(e, "notes");
	for (size_t i = 0; i < h->nnotes; i++)
		if (is_of_heap(h->notes[i]))
			emit_item(e, emit_string(h->notes[i]));
	emit_list_end(e);
	for (size_t i = 0; i < h->nnotes; i++)
		if (is_of_heap(h->notes[i]))
			emit_text(e, EMIT_DIM, 2, "%s", h->notes[i]);
}

void heap_print_walked(struct emit *e, const struct heap_print *p, const struct allocator *a,
                       const struct heap *h, const struct malloc_info *info)
{
	struct allocator shown = { .name = info ? "glibc" : "musl",
		                   .module = (char *)(uintptr_t) "?" };
	uint64_t live = 0;

	if (a)
		shown = *a;
	else
		emit_is_text(e) ? emit_heading(e, "%s, found in memory", h->layout) : (void)0;
	for (size_t i = 0; i < h->nblocks; i++)
		live += h->blocks[i].size;
	emit_object(e, NULL);
	identify(e, &shown);
	if (a)
		title(e, a);
	emit_field(e, "error", NULL, emit_none());
	emit_field(e, "layout", NULL, emit_string(h->layout));
	emit_line(e, EMIT_PLAIN,
	          info && !h->info.arena && !h->info.hblks ? NULL : "    in use % in % blocks",
	          (struct emit_part[]){ { "live", emit_bytes(live), false },
	                                { "blocks", emit_count(h->nblocks), false } },
	          2);
	if (info && emit_is_text(e) && !h->info.arena && !h->info.hblks) {
		emit_text(e, EMIT_DIM, 4, "It was never used.");
	} else if (info) {
		emit_blank(e);
		print_mallinfo(e, &h->info);
		print_walked_arenas(e, p, h, info);
		if (emit_is_text(e))
			print_free_lists(e, p, info);
		else
			json_malloc_info(e, info);
	}
	emit_blank(e);
	notes(e, h);
	emit_object_end(e);
}
