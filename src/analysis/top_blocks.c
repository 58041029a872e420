/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In-use values made of chosen blocks only: the old ones, those of some size.  The blocks carry all that
 * is needed to make the sums again, weights included, so everything that works on sites works on these.
 */
#include "analysis/top.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

static bool chosen(const struct top_options *o, const struct profile *p, const struct prof_block *b)
{
	uint64_t age = p->duration_ns > b->born ? p->duration_ns - b->born : 0;

	return age >= o->min_age && b->size >= o->min_size &&
	       (!o->max_size || b->size <= o->max_size);
}

/* As the reader of a ledger does: a record of weight w stands for w blocks, with variance w(w - 1). */
static struct prof_value value_of(const struct prof_block *b)
{
	double w = b->weight > 1 ? b->weight : 1, var = w * (w - 1), bytes = w * (double)b->size;

	return (struct prof_value){
		.blocks = w < 1e18 ? (uint64_t)(w + 0.5) : UINT64_MAX,
		.bytes = bytes < 1e19 ? (uint64_t)(bytes + 0.5) : UINT64_MAX,
		.var_blocks = var,
		.var_bytes = var * (double)b->size * (double)b->size,
		.max_weight = w > 1 ? w : 0,
	};
}

static int add_cell(struct profile *p, struct idmap *map, const struct prof_block *b,
                    const struct prof_value *v)
{
	uint64_t hash = hash_mix(b->site, b->thread);
	size_t pos = idmap_first(map, hash);
	uint32_t id;

	while (idmap_get(map, &pos, hash, &id)) {
		if (p->cells[id].site == b->site && p->cells[id].thread == b->thread) {
			prof_value_add(&p->cells[id].inuse, v);
			return 0;
		}
	}
	p->cells[p->ncells] =
		(struct prof_cell){ .site = b->site, .thread = b->thread, .inuse = *v };
	return idmap_add(map, hash, (uint32_t)p->ncells++);
}

struct seep_error *top_choose_blocks(const struct top_options *o, struct profile *p)
{
	_cleanup_idmap_ struct idmap map = { 0 };
	struct prof_cell *cells;
	size_t n = 0;

	for (size_t i = 0; i < p->nblocks; i++)
		if (chosen(o, p, &p->blocks[i]))
			p->blocks[n++] = p->blocks[i];
	p->nblocks = n;
	cells = calloc(n + 1, sizeof(*cells)); /* at most one for each block */
	if (!cells)
		return &seep_error_nomem;
	free(p->cells);
	p->cells = cells;
	p->ncells = 0;
	for (size_t i = 0; i < p->nsites; i++) {
		p->sites[i].inuse = (struct prof_value){ 0 };
		p->sites[i].inuse_samples = 0;
		p->sites[i].oldest = UINT64_MAX;
	}
	for (size_t i = 0; i < n; i++) {
		const struct prof_block *b = &p->blocks[i];
		struct prof_site *s = &p->sites[b->site];
		struct prof_value v = value_of(b);

		prof_value_add(&s->inuse, &v);
		s->inuse_samples++;
		if (b->born < s->oldest)
			s->oldest = b->born;
		if (add_cell(p, &map, b, &v) < 0)
			return &seep_error_nomem;
	}
	return NULL;
}
