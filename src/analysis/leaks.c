/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leak records: one pass over the blocks, each into the record of its key.
 *
 *   stack known     (class, site)
 *   a C++ type      (class, type)           where in the block its vtable pointer is, is part of it
 *   text            (class)                 a million different strings are one finding
 *   zero, unknown   (class, size)
 *
 * Blocks come in ascending order, so the addresses a record keeps are the lowest, and with ties in the
 * final order broken by fingerprint and address a result is the same every time.
 */
#include "analysis/leaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/leaks_private.h"
#include "analysis/names.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/tracker_name.h"
#include "profile/profile.h"

#define FINGERPRINT_FRAMES 12

struct maker {
	const struct block *blocks;
	const struct reach *reach;
	const struct profile *p;
	struct content_reader *content;
	struct leaks out;
	struct idmap map;
	size_t cap;
};

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* ---- fingerprints -------------------------------------------------------------------- */

/* FNV-1a, over strings with their closing NUL, so that "ab","c" and "a","bc" differ. */
static uint64_t fnv(uint64_t hash, const char *s)
{
	do {
		hash ^= (unsigned char)*s;
		hash *= UINT64_C(0x100000001b3);
	} while (*s++);
	return hash;
}

static const char *const class_names[REACH_NCLASSES] = { "reachable", "possible", "indirect",
	                                                 "definite", "suppressed" };

static uint64_t fingerprint_stack(uint64_t hash, const struct profile *p, uint32_t leaf)
{
	unsigned int taken = 0;

	for (uint32_t i = leaf; i && taken < FINGERPRINT_FRAMES; i = p->frames[i].parent) {
		const struct prof_frame *f = &p->frames[i];
		const struct prof_symbol *s = &p->symbols[f->symbol];
		const char *path = f->module == PROF_NO_MODULE ? "" : p->modules[f->module].path;

		if (module_is_tracker(path) || (!taken && module_is_allocator(path)))
			continue;
		for (uint32_t j = 0; j < s->nlines && taken < FINGERPRINT_FRAMES; j++) {
			const char *function = s->lines[j].function;

			if (!taken && name_is_allocator(function))
				continue;
			hash = fnv(fnv(hash, function ? function : "?"), path_base(path));
			taken++;
			/* what is outside of main belongs to the C library, of whatever version */
			if (function && !strcmp(function, "main"))
				return hash;
		}
	}
	return hash;
}

static void set_fingerprint(const struct maker *m, struct leak_record *r)
{
	uint64_t hash = fnv(UINT64_C(0xcbf29ce484222325), class_names[r->class]);
	char size[32];

	if (r->site) {
		hash = fingerprint_stack(hash, m->p, m->p->sites[r->site].stack);
	} else if (r->content == CONTENT_VTABLE) {
		hash = fnv(fnv(hash, "type"), r->what);
	} else if (r->content == CONTENT_TEXT) {
		hash = fnv(hash, "text");
	} else {
		snprintf(size, sizeof(size), "%llu", (unsigned long long)r->min_size);
		hash = fnv(fnv(hash, r->content == CONTENT_ZERO ? "zero" : "size"), size);
	}
	snprintf(r->fingerprint, sizeof(r->fingerprint), "%016llx", (unsigned long long)hash);
}

/* ---- grouping --------------------------------------------------------------------------- */

/* What a block is grouped by; `what` only counts for types, `size` only without a stack. */
struct key {
	enum reach_class class;
	uint32_t site;
	bool before;
	struct content content;
	uint64_t size;
};

static uint64_t key_hash(const struct key *k)
{
	uint64_t hash = hash_mix((uint64_t)k->class << 32 | k->site, k->before);

	if (k->site)
		return hash;
	hash = hash_mix(hash, k->content.kind);
	if (k->content.kind == CONTENT_VTABLE)
		return hash_mix(hash, hash_str(k->content.what));
	return k->content.kind == CONTENT_TEXT ? hash : hash_mix(hash, k->size);
}

static bool key_equals(const struct key *k, const struct leak_record *r)
{
	if (k->class != r->class || k->site != r->site)
		return false;
	if (k->site)
		return true;
	if (k->before != r->before || k->content.kind != r->content)
		return false;
	if (k->content.kind == CONTENT_VTABLE)
		return !strcmp(k->content.what, r->what);
	return k->content.kind == CONTENT_TEXT || k->size == r->min_size;
}

static struct seep_error *set_content(struct leak_record *r, const struct content *c)
{
	char *what = c->what ? strdup(c->what) : NULL;

	if (c->what && !what)
		return &seep_error_nomem;
	free(r->what);
	r->what = what;
	r->content = c->kind;
	return NULL;
}

static struct seep_error *record_of(struct maker *m, const struct key *k,
                                    struct leak_record **ret_record)
{
	uint64_t hash = key_hash(k);
	size_t pos = idmap_first(&m->map, hash);
	struct leak_record *r;
	uint32_t id;

	while (idmap_get(&m->map, &pos, hash, &id))
		if (key_equals(k, &m->out.records[id])) {
			*ret_record = &m->out.records[id];
			return NULL;
		}
	if (m->out.n == UINT32_MAX - 1)
		return seep_error_new(0, "more leak records than can be counted");
	if (m->out.n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;

		r = reallocarray(m->out.records, cap, sizeof(*r));
		if (!r)
			return &seep_error_nomem;
		m->out.records = r;
		m->cap = cap;
	}
	if (idmap_add(&m->map, hash, (uint32_t)m->out.n) < 0)
		return &seep_error_nomem;
	r = &m->out.records[m->out.n++];
	*r = (struct leak_record){ .class = k->class, .site = k->site, .before = k->before };
	r->min_size = UINT64_MAX;
	*ret_record = r;
	return set_content(r, &k->content);
}

static const struct reach_leader *leader_of(const struct reach *reach, size_t block)
{
	size_t lo = 0, hi = reach->nleaders;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (reach->leaders[mid].block < block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < reach->nleaders && reach->leaders[lo].block == block ? &reach->leaders[lo]
	                                                                 : NULL;
}

static struct seep_error *add_block(struct maker *m, size_t i)
{
	const struct block *b = &m->blocks[i];
	const struct reach_leader *leader;
	struct key k = { .class = block_class(b), .size = b->size };
	struct seep_error *err = NULL;
	struct leak_record *r = NULL;

	if (m->p && b->site < m->p->nsites && m->p->sites[b->site].stack)
		k.site = b->site;
	k.before = !k.site && m->p && !(b->flags & BLOCK_RECORDED) &&
	           (!m->p->sampled || (b->flags & BLOCK_INHERITED));
	if (!k.site)
		err = content_of(m->content, b->address, b->size, &k.content);
	if (!err)
		err = record_of(m, &k, &r);
	if (err)
		return err;
	/* with a stack the content is a remark: the first blocks are asked until one answers */
	if (k.site && r->blocks < LEAK_ADDRESSES && r->content != CONTENT_VTABLE &&
	    r->content != CONTENT_TEXT) {
		err = content_of(m->content, b->address, b->size, &k.content);
		if (!err && (!r->blocks || k.content.kind != CONTENT_ZERO))
			err = set_content(r, &k.content);
		if (err)
			return err;
	}
	r->blocks++;
	r->bytes = add(r->bytes, b->size);
	r->min_size = b->size < r->min_size ? b->size : r->min_size;
	r->max_size = b->size > r->max_size ? b->size : r->max_size;
	if (r->naddresses < LEAK_ADDRESSES)
		r->addresses[r->naddresses++] = b->address;
	leader = k.class == REACH_DEFINITE ? leader_of(m->reach, i) : NULL;
	if (leader) {
		r->indirect_blocks = add(r->indirect_blocks, leader->indirect_blocks);
		r->indirect_bytes = add(r->indirect_bytes, leader->indirect_bytes);
		r->cycles += leader->cycle;
	}
	return NULL;
}

static int compare(const void *va, const void *vb)
{
	const struct leak_record *a = va, *b = vb;
	uint64_t x = add(a->bytes, a->indirect_bytes), y = add(b->bytes, b->indirect_bytes);
	int r;

	if (x != y)
		return x > y ? -1 : 1;
	r = strcmp(a->fingerprint, b->fingerprint);
	if (r)
		return r;
	return a->addresses[0] < b->addresses[0] ? -1 : a->addresses[0] > b->addresses[0];
}

struct seep_error *leaks_make(const struct image *img, const struct block *blocks, size_t nblocks,
                              const struct reach *reach, const struct profile *p,
                              const struct leaks_options *opts, struct leaks *ret_leaks)
{
	struct maker m = { .blocks = blocks, .reach = reach, .p = p };
	struct seep_error *err = NULL;

	m.content = content_reader_new(img, opts->debug_dirs);
	if (!m.content)
		return &seep_error_nomem;
	for (size_t i = 0; !err && i < nblocks; i++)
		if (opts->classes & 1u << block_class(&blocks[i]) &&
		    !(blocks[i].flags & BLOCK_INTERNAL))
			err = add_block(&m, i);
	content_reader_free(m.content);
	idmap_release(&m.map);
	if (err) {
		leaks_release(&m.out);
		return err;
	}
	for (size_t i = 0; i < m.out.n; i++)
		set_fingerprint(&m, &m.out.records[i]);
	if (m.out.n)
		qsort(m.out.records, m.out.n, sizeof(*m.out.records), compare);
	*ret_leaks = m.out;
	return NULL;
}

void leaks_release(struct leaks *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->records[i].what);
	free(TAKE(l->records));
	l->n = 0;
}
