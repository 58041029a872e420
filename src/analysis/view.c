/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From frames to shown stacks, in passes that are each linear:
 *
 *   symbols    every (symbol, line) becomes a location, interned by content; the
 *              strings are hashed once per symbol, never per frame or per stack
 *   locations  names and regexes are looked at once per location
 *   frames     parents come before children, so "does anything from here outwards
 *              match" and "the node that shows this frame" are one step each
 *   sites      folding is at the leaf only: step outwards over allocator frames,
 *              then look up the node
 */
#include "analysis/view.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/large.h"
#include "base/tracker_name.h"
#include "profile/profile.h"

#define MATCH_FOCUS 0x1u
#define MATCH_IGNORE 0x2u
#define MATCH_HIDE 0x4u

struct builder {
	struct view *v;
	const struct profile *p;
	bool fold;
	struct idmap locations, functions, nodes;
	size_t cap_locations, cap_functions, cap_nodes;
	uint32_t *module_id; /* module → the first with the same path */
	uint32_t *symbol_first; /* symbol → its first entry in symbol_location, UINT32_MAX: not yet */
	uint32_t *symbol_module;
	uint32_t *symbol_location;
	uint32_t *frame_location; /* frame → location, for frames without a symbol */
	uint8_t *matches;         /* per location: MATCH_* */
	uint8_t *frame_matches;   /* per frame, of it and all its callers */
	uint32_t *frame_node;     /* per frame: the node that shows it whole */
};

static const char *module_path(const struct builder *b, uint32_t module)
{
	return module == PROF_NO_MODULE ? NULL : b->p->modules[module].path;
}

/* ---- locations ----------------------------------------------------------- */

static int intern_function(struct builder *b, const char *name, uint32_t module, uint32_t *ret_id)
{
	uint64_t hash = hash_mix(hash_str(name), module);
	size_t pos = idmap_first(&b->functions, hash);
	const char *path = module_path(b, module);

	while (idmap_get(&b->functions, &pos, hash, ret_id))
		if (b->v->functions[*ret_id].module == module &&
		    str_same(b->v->functions[*ret_id].name, name))
			return 0;
	*ret_id = (uint32_t)b->v->nfunctions;
	if (ARRAY_GROW(b->v, b, functions) < 0 || idmap_add(&b->functions, hash, *ret_id) < 0)
		return -1;
	b->v->functions[b->v->nfunctions++] = (struct view_function){
		.name = name,
		.module = module,
		.runtime = name_is_runtime(name) || (path && module_is_runtime(path)),
	};
	return 0;
}

static bool same_location(const struct view_location *a, const struct view_location *b)
{
	return a->module == b->module && a->line == b->line && a->address == b->address &&
	       (a->flags & VIEW_INLINED) == (b->flags & VIEW_INLINED) &&
	       str_same(a->function, b->function) && str_same(a->file, b->file);
}

/* Interns `key`, whose func and flags (but for VIEW_INLINED) are found out here. */
static int intern_location(struct builder *b, struct view_location key, uint32_t *ret_id)
{
	uint64_t hash =
		hash_mix(hash_mix(hash_str(key.function), hash_str(key.file)),
	                 hash_mix(key.address, (uint64_t)key.line << 32 | key.module) + key.flags);
	size_t pos = idmap_first(&b->locations, hash);
	const char *path = module_path(b, key.module);

	while (idmap_get(&b->locations, &pos, hash, ret_id))
		if (same_location(&b->v->locations[*ret_id], &key))
			return 0;
	*ret_id = (uint32_t)b->v->nlocations;
	if (intern_function(b, key.function, key.module, &key.func) < 0 ||
	    ARRAY_GROW(b->v, b, locations) < 0 || idmap_add(&b->locations, hash, *ret_id) < 0)
		return -1;
	if (name_is_allocator(key.function) || (path && module_is_allocator(path)))
		key.flags |= VIEW_ALLOCATOR;
	if (b->v->functions[key.func].runtime || file_is_runtime(key.file))
		key.flags |= VIEW_RUNTIME;
	b->v->locations[b->v->nlocations++] = key;
	return 0;
}

static int symbol_locations(struct builder *b, uint32_t symbol, uint32_t module)
{
	const struct prof_symbol *s = &b->p->symbols[symbol];

	for (uint32_t i = 0; i < s->nlines; i++) {
		const struct prof_line *l = &s->lines[i];
		struct view_location key = { .function = l->function,
			                     .file = l->file,
			                     .line = l->line,
			                     .module = module,
			                     .flags = l->inlined && i + 1 < s->nlines ? VIEW_INLINED
			                                                              : 0 };

		if (intern_location(b, key, &b->symbol_location[b->symbol_first[symbol] + i]) < 0)
			return -1;
	}
	return 0;
}

/*
 * A frame is nameless when its symbol says neither function nor file: it gets a location of its
 * own address.  One symbol serves frames of one module (it is made from module and address).
 */
static bool frame_named(const struct profile *p, const struct prof_frame *f)
{
	const struct prof_line *l = p->symbols[f->symbol].lines;

	return f->symbol && (l->function || l->file || p->symbols[f->symbol].nlines > 1);
}

static int make_locations(struct builder *b)
{
	const struct profile *p = b->p;
	uint32_t used = 0;

	for (size_t i = 0; i < p->nsymbols; i++) {
		if (p->symbols[i].nlines > UINT32_MAX - used)
			return -1;
		b->symbol_first[i] = used;
		b->symbol_module[i] = UINT32_MAX - 1;
		used += p->symbols[i].nlines;
	}
	b->symbol_location = malloc(((size_t)used + 1) * sizeof(uint32_t));
	if (!b->symbol_location)
		return -1;
	for (size_t i = 1; i < p->nframes; i++) {
		const struct prof_frame *f = &p->frames[i];
		uint32_t module = f->module == PROF_NO_MODULE ? PROF_NO_MODULE
		                                              : b->module_id[f->module];

		if (frame_named(p, f)) {
			if (b->symbol_module[f->symbol] != UINT32_MAX - 1)
				continue;
			b->symbol_module[f->symbol] = module;
			if (symbol_locations(b, f->symbol, module) < 0)
				return -1;
		} else {
			struct view_location key = { .module = module, .address = f->pc };

			if (module != PROF_NO_MODULE)
				key.address -= p->modules[f->module].bias;
			if (intern_location(b, key, &b->frame_location[i]) < 0)
				return -1;
		}
	}
	return 0;
}

/* The locations of frame i, innermost first. */
static uint32_t frame_locations(const struct builder *b, size_t i, const uint32_t **ret_locations)
{
	const struct prof_frame *f = &b->p->frames[i];

	if (!frame_named(b->p, f)) {
		*ret_locations = &b->frame_location[i];
		return 1;
	}
	*ret_locations = &b->symbol_location[b->symbol_first[f->symbol]];
	return b->p->symbols[f->symbol].nlines;
}

static int same_paths(struct builder *b)
{
	_cleanup_idmap_ struct idmap map = { 0 };

	for (uint32_t i = 0; i < b->p->nmodules; i++) {
		uint64_t hash = hash_str(b->p->modules[i].path);
		size_t pos = idmap_first(&map, hash);
		uint32_t id;

		b->module_id[i] = i;
		while (b->module_id[i] == i && idmap_get(&map, &pos, hash, &id))
			if (!strcmp(b->p->modules[id].path, b->p->modules[i].path))
				b->module_id[i] = id;
		if (b->module_id[i] == i && idmap_add(&map, hash, i) < 0)
			return -1;
	}
	return 0;
}

/* ---- filters ------------------------------------------------------------- */

static bool text_matches(const regex_t *re, const char *text)
{
	return text && !regexec(re, text, 0, NULL, 0);
}

static struct seep_error *match_locations(struct builder *b, const char *const *patterns, size_t n,
                                          uint8_t bit)
{
	_cleanup_free_ uint8_t *by_module = calloc(b->p->nmodules + 1, 1);

	if (!by_module)
		return &seep_error_nomem;
	for (size_t k = 0; k < n; k++) {
		char why[128];
		regex_t re;
		int r = regcomp(&re, patterns[k], REG_EXTENDED | REG_NOSUB);

		if (r) {
			regerror(r, &re, why, sizeof(why));
			return seep_error_hint(
				seep_error_new(0, "bad regular expression '%s': %s", patterns[k],
			                       why),
				"These are POSIX extended expressions; put a backslash before ( ) [ ] + * ? . "
				"to mean the character itself.");
		}
		for (size_t i = 0; i < b->p->nmodules; i++)
			by_module[i] |= text_matches(&re, b->p->modules[i].path);
		for (size_t i = 0; i < b->v->nlocations; i++) {
			const struct view_location *l = &b->v->locations[i];

			if ((l->module != PROF_NO_MODULE && by_module[l->module]) ||
			    text_matches(&re, l->function) || text_matches(&re, l->file))
				b->matches[i] |= bit;
		}
		regfree(&re);
	}
	return NULL;
}

/* The tracker's own frames (it wraps a thread's start) are nobody's business wherever they stand. */
static void hide_tracker(struct builder *b)
{
	for (size_t i = 0; i < b->v->nlocations; i++) {
		const char *path = module_path(b, b->v->locations[i].module);

		if (path && module_is_tracker(path))
			b->matches[i] |= MATCH_HIDE;
	}
}

/* ---- nodes --------------------------------------------------------------- */

static int child_node(struct builder *b, uint32_t parent, uint32_t location, uint32_t *ret_id)
{
	uint64_t hash = hash_mix(parent, location);
	size_t pos = idmap_first(&b->nodes, hash);

	while (idmap_get(&b->nodes, &pos, hash, ret_id))
		if (b->v->nodes[*ret_id].parent == parent &&
		    b->v->nodes[*ret_id].location == location)
			return 0;
	*ret_id = (uint32_t)b->v->nnodes;
	if (ARRAY_GROW(b->v, b, nodes) < 0 || idmap_add(&b->nodes, hash, *ret_id) < 0)
		return -1;
	b->v->nodes[b->v->nnodes++] = (struct view_node){ parent, location };
	return 0;
}

/* Shows `locations`, outermost (the last) first, under *node. */
static int add_locations(struct builder *b, const uint32_t *locations, uint32_t first, uint32_t n,
                         uint32_t *node)
{
	for (uint32_t i = n; i-- > first;)
		if (!(b->matches[locations[i]] & MATCH_HIDE) &&
		    child_node(b, *node, locations[i], node) < 0)
			return -1;
	return 0;
}

static int make_nodes(struct builder *b)
{
	size_t most = 1; /* each line of each frame, if none of them fall together */

	for (size_t i = 1; i < b->p->nframes; i++)
		most += frame_named(b->p, &b->p->frames[i])
		                ? b->p->symbols[b->p->frames[i].symbol].nlines
		                : 1;
	if (most > 2 * b->p->nframes) /* then they do, or there are more inlined than called */
		most = 2 * b->p->nframes;
	if (ARRAY_RESERVE(b->v, b, nodes, most) < 0 || idmap_reserve(&b->nodes, most) < 0)
		return -1;
	b->v->nodes[0] = (struct view_node){ 0, 0 };
	b->v->nnodes = 1;
	for (size_t i = 1; i < b->p->nframes; i++) {
		uint32_t parent = b->p->frames[i].parent, n;
		const uint32_t *locations;

		n = frame_locations(b, i, &locations);
		b->frame_matches[i] = b->frame_matches[parent];
		for (uint32_t j = 0; j < n; j++)
			b->frame_matches[i] |= b->matches[locations[j]];
		b->frame_node[i] = b->frame_node[parent];
		if (add_locations(b, locations, 0, n, &b->frame_node[i]) < 0)
			return -1;
	}
	return 0;
}

/* The node that shows the stack of frame `leaf`, without the allocator's frames at its inner end. */
static int stack_node(struct builder *b, uint32_t leaf, uint32_t *ret_node)
{
	*ret_node = b->frame_node[leaf];
	for (uint32_t f = leaf; b->fold && f; f = b->p->frames[f].parent) {
		const uint32_t *locations;
		uint32_t n = frame_locations(b, f, &locations), i = 0;

		while (i < n && (b->v->locations[locations[i]].flags & VIEW_ALLOCATOR ||
		                 b->matches[locations[i]] & MATCH_HIDE))
			i++;
		if (i == n)
			continue;
		*ret_node = b->frame_node[b->p->frames[f].parent];
		return add_locations(b, locations, i, n, ret_node);
	}
	return 0; /* nothing but allocator frames: better those than none */
}

static int place_sites(struct builder *b, bool focus)
{
	for (size_t i = 0; i < b->p->nsites; i++) {
		uint32_t leaf = b->p->sites[i].stack;
		uint8_t m = b->frame_matches[leaf];

		if (!(b->v->kinds & PROF_KIND_BIT(b->p->sites[i].kind))) {
			b->v->site_node[i] = VIEW_DROPPED;
		} else if ((focus && !(m & MATCH_FOCUS)) || m & MATCH_IGNORE) {
			b->v->site_node[i] = VIEW_DROPPED;
			b->v->dropped++;
		} else if (stack_node(b, leaf, &b->v->site_node[i]) < 0) {
			return -1;
		}
	}
	return 0;
}

/* ---- making and unmaking -------------------------------------------------- */

static int alloc_builder(struct builder *b)
{
	const struct profile *p = b->p;

	b->module_id = calloc(p->nmodules + 1, sizeof(uint32_t));
	b->symbol_first = calloc(p->nsymbols, sizeof(uint32_t));
	b->symbol_module = calloc(p->nsymbols, sizeof(uint32_t));
	b->frame_location = large_zero(p->nframes * sizeof(uint32_t));
	b->frame_matches = calloc(p->nframes, 1);
	b->frame_node = large_zero(p->nframes * sizeof(uint32_t));
	b->v->site_node = calloc(p->nsites + 1, sizeof(uint32_t));
	return b->module_id && b->symbol_first && b->symbol_module && b->frame_location &&
	                       b->frame_matches && b->frame_node && b->v->site_node
	               ? 0
	               : -1;
}

static void release_builder(struct builder *b)
{
	idmap_release(&b->locations);
	idmap_release(&b->functions);
	idmap_release(&b->nodes);
	free(b->module_id);
	free(b->symbol_first);
	free(b->symbol_module);
	free(b->symbol_location);
	free(b->frame_location);
	free(b->matches);
	free(b->frame_matches);
	free(b->frame_node);
}

static struct seep_error *build(struct builder *b, const struct view_options *o)
{
	struct seep_error *err;

	if (alloc_builder(b) < 0 || same_paths(b) < 0 || make_locations(b) < 0)
		return &seep_error_nomem;
	b->matches = calloc(b->v->nlocations + 1, 1);
	if (!b->matches)
		return &seep_error_nomem;
	err = match_locations(b, o->focus, o->nfocus, MATCH_FOCUS);
	if (!err)
		err = match_locations(b, o->ignore, o->nignore, MATCH_IGNORE);
	if (!err)
		err = match_locations(b, o->hide, o->nhide, MATCH_HIDE);
	if (err)
		return err;
	if (b->fold)
		hide_tracker(b);
	if (make_nodes(b) < 0 || place_sites(b, o->nfocus) < 0)
		return &seep_error_nomem;
	return NULL;
}

struct seep_error *view_new(const struct profile *p, const struct view_options *opts,
                            struct view **ret_view)
{
	_cleanup_view_ struct view *v = calloc(1, sizeof(*v));
	struct builder b = { .v = v, .p = p, .fold = !opts->no_fold };
	struct seep_error *err;

	if (!v)
		return &seep_error_nomem;
	v->profile = p;
	v->filtered = opts->nfocus || opts->nignore;
	v->kinds = opts->kinds ? opts->kinds : PROF_MEMORY;
	err = build(&b, opts);
	release_builder(&b);
	if (err)
		return err;
	*ret_view = TAKE(v);
	return NULL;
}

void view_free(struct view *v)
{
	if (!v)
		return;
	free(v->locations);
	free(v->functions);
	free(v->nodes);
	free(v->site_node);
	free(v);
}

uint32_t view_culprit(const struct view *v, uint32_t node)
{
	for (uint32_t n = node; n; n = v->nodes[n].parent)
		if (!(v->locations[v->nodes[n].location].flags & (VIEW_RUNTIME | VIEW_ALLOCATOR)))
			return n;
	return 0;
}
