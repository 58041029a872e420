/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names from one profile for another: snapshots of one process share nearly all of their code, and reading its debug
 * information once is enough.  An address in a file means the same wherever the file was mapped, so what is looked up is
 * (file, address in it); a file without a build-id is only known to be the same within one process.
 */
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"

struct giver {
	const struct profile *from;
	struct profile *to;
	uint32_t *module_of; /* to's module → from's, PROF_NO_MODULE none */
	uint32_t *given;     /* from's symbol → to's; 0: not yet */
	struct idmap frames; /* (module, address in its file) → a frame of from's that has a name */
	size_t cap_symbols;
};

static bool same_file(const struct prof_module *a, const struct prof_module *b, bool same_process)
{
	if (!a->path || !b->path || strcmp(a->path, b->path) != 0 ||
	    a->build_id_len != b->build_id_len ||
	    memcmp(a->build_id, b->build_id, a->build_id_len) != 0)
		return false;
	return a->build_id_len || (same_process && a->mtime_ns == b->mtime_ns &&
	                           a->start == b->start && a->bias == b->bias);
}

static void match_modules(struct giver *g)
{
	const struct profile *from = g->from, *to = g->to;
	bool same_process = from->pid == to->pid && from->start_real_ns &&
	                    from->start_real_ns == to->start_real_ns;

	for (size_t i = 0; i < to->nmodules; i++) {
		g->module_of[i] = PROF_NO_MODULE;
		/* nearly always at the same place in the table */
		for (size_t n = 0; n < from->nmodules && g->module_of[i] == PROF_NO_MODULE; n++) {
			size_t k = (i + n) % from->nmodules;

			if (same_file(&from->modules[k], &to->modules[i], same_process))
				g->module_of[i] = (uint32_t)k;
		}
	}
}

static uint64_t address_in_file(const struct profile *p, const struct prof_frame *f)
{
	return f->pc - p->modules[f->module].bias;
}

static int index_names(struct giver *g)
{
	const struct profile *p = g->from;

	for (size_t i = 1; i < p->nframes; i++) {
		const struct prof_frame *f = &p->frames[i];

		if (!f->symbol || f->module == PROF_NO_MODULE ||
		    !p->symbols[f->symbol].lines[0].function)
			continue;
		if (idmap_add(&g->frames, hash_mix(f->module, address_in_file(p, f)), (uint32_t)i) <
		    0)
			return -1;
	}
	return 0;
}

static int give_symbol(struct giver *g, uint32_t symbol, uint32_t *ret_id)
{
	if (ARRAY_GROW(g->to, g, symbols) < 0)
		return -1;
	*ret_id = (uint32_t)g->to->nsymbols++;
	return prof_symbol_copy(&g->to->symbols[*ret_id], &g->from->symbols[symbol]);
}

static int name_frame(struct giver *g, struct prof_frame *f)
{
	uint32_t module = f->module == PROF_NO_MODULE ? PROF_NO_MODULE : g->module_of[f->module];
	uint64_t address, hash;
	uint32_t id;
	size_t pos;

	if (f->symbol || module == PROF_NO_MODULE)
		return 0;
	address = address_in_file(g->to, f);
	hash = hash_mix(module, address);
	pos = idmap_first(&g->frames, hash);
	while (idmap_get(&g->frames, &pos, hash, &id)) {
		const struct prof_frame *of = &g->from->frames[id];

		if (of->module != module || address_in_file(g->from, of) != address)
			continue;
		if (!g->given[of->symbol] && give_symbol(g, of->symbol, &g->given[of->symbol]) < 0)
			return -1;
		f->symbol = g->given[of->symbol];
		return 0;
	}
	return 0;
}

struct seep_error *profile_take_names(struct profile *to, const struct profile *from)
{
	struct giver g = { .from = from, .to = to, .cap_symbols = to->nsymbols };
	int r = -1;

	g.module_of = calloc(to->nmodules + 1, sizeof(*g.module_of));
	g.given = calloc(from->nsymbols + 1, sizeof(*g.given));
	if (g.module_of && g.given) {
		match_modules(&g);
		r = index_names(&g);
	}
	for (size_t i = 1; !r && i < to->nframes; i++)
		r = name_frame(&g, &to->frames[i]);
	free(g.module_of);
	free(g.given);
	idmap_release(&g.frames);
	return r < 0 ? &seep_error_nomem : NULL;
}
