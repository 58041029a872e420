/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The joint profile.  Addresses mean nothing across two runs and names are not always there, so a frame is known by
 * the strongest thing both sides have: its symbol's content where it was symbolized on any side, else its address
 * in a file that is provably the same, else only its module.  In passes that are each linear:
 *
 *   modules  united by build-id, or path; a file that was built anew keeps its place in the table and is
 *            marked, so that lines and addresses in it are not compared
 *   symbols  interned by content; (module, address) → symbol from all sides, so that a side whose
 *            file is gone has the names that another side could still read
 *   frames   parents come before children: one look-up of (parent, module, symbol or address) each
 *   sites    one look-up of (stack, kind) each
 *   threads  one look-up of (number, birth), or of the name, each
 *   cells    one look-up of (site, thread) each
 */
#include "analysis/diff.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/names.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "base/large.h"
#include "profile/profile.h"

struct joiner {
	struct diff *d;
	struct profile *out;
	struct idmap names, symbols, addresses, frames, sites, threads, cells;
	size_t cap_modules, cap_frames, cap_symbols, cap_sites, cap_threads, cap_cells, cap_places;
	bool *rebuilt;        /* per joint module */
	uint32_t **module_of; /* per side: its module → the joint one */
	uint32_t **symbol_of; /* per side: its symbol → the joint one; 0 not yet */
	struct place {
		uint32_t module, symbol;
		uint64_t address;
	} * places; /* what code without a name on one side is called on another */
	size_t nplaces;
};

#define GROW(j, what) ARRAY_GROW((j)->out, j, what)
#define RESERVE(j, what, want) ARRAY_RESERVE((j)->out, j, what, want)

/* ---- modules -------------------------------------------------------------- */

static bool same_file(const struct prof_module *a, const struct prof_module *b)
{
	if (a->build_id_len || b->build_id_len)
		return a->build_id_len == b->build_id_len &&
		       !memcmp(a->build_id, b->build_id, a->build_id_len) &&
		       !strcmp(path_base(a->path), path_base(b->path));
	return !strcmp(a->path, b->path) &&
	       (!a->mtime_ns || !b->mtime_ns || a->mtime_ns == b->mtime_ns);
}

/*
 * Of the joint modules with m's file name: the same file, else the one at the same path, else the only one
 * there is (a deployment beside the old one).  An unknown path is only like itself.
 */
static bool find_module(const struct joiner *j, const struct prof_module *m, uint64_t hash,
                        size_t same_names, uint32_t *ret_id)
{
	size_t pos = idmap_first(&j->names, hash), n = 0;
	uint32_t id, at_path = UINT32_MAX, any = UINT32_MAX;

	while (idmap_get(&j->names, &pos, hash, &id)) {
		const struct prof_module *to = &j->out->modules[id];

		if (strcmp(path_base(to->path), path_base(m->path)) != 0)
			continue;
		if (same_file(to, m)) {
			*ret_id = id;
			return true;
		}
		if (!strcmp(to->path, m->path))
			at_path = id;
		any = id;
		n++;
	}
	if (!*m->path || any == UINT32_MAX)
		return false;
	if (at_path == UINT32_MAX && (n > 1 || same_names > 1))
		return false;
	*ret_id = at_path != UINT32_MAX ? at_path : any;
	j->rebuilt[*ret_id] = true;
	return true;
}

static int add_module(struct joiner *j, const struct prof_module *m, uint64_t hash, uint32_t *ret_id)
{
	size_t cap = j->cap_modules;
	struct prof_module *to;
	bool *rebuilt;

	if (GROW(j, modules) < 0)
		return -1;
	if (cap != j->cap_modules) {
		rebuilt = reallocarray(j->rebuilt, j->cap_modules, sizeof(*rebuilt));
		if (!rebuilt)
			return -1;
		j->rebuilt = rebuilt;
	}
	*ret_id = (uint32_t)j->out->nmodules;
	to = &j->out->modules[*ret_id];
	*to = *m;
	to->bias = to->start = 0;
	to->end = UINT64_MAX;
	if (str_copy(&to->path, m->path) < 0)
		return -1;
	j->rebuilt[*ret_id] = false;
	j->out->nmodules++;
	return idmap_add(&j->names, hash, *ret_id);
}

/* How many different paths of this side end in each file name; `of` is by module. */
static int count_names(const struct profile *p, size_t *of)
{
	_cleanup_idmap_ struct idmap map = { 0 };
	_cleanup_free_ size_t *count = calloc(p->nmodules + 1, sizeof(*count));
	_cleanup_free_ uint32_t *first = calloc(p->nmodules + 1, sizeof(*first));

	if (!count || !first)
		return -1;
	for (uint32_t i = 0; i < p->nmodules; i++) {
		const char *name = path_base(p->modules[i].path);
		uint64_t hash = hash_str(name);
		size_t pos = idmap_first(&map, hash);
		uint32_t id;
		bool known = false;

		first[i] = i;
		while (idmap_get(&map, &pos, hash, &id)) {
			if (strcmp(path_base(p->modules[id].path), name) != 0)
				continue;
			first[i] = first[id];
			known |= !strcmp(p->modules[id].path, p->modules[i].path);
		}
		if (!known && idmap_add(&map, hash, i) < 0)
			return -1;
		count[first[i]] += !known;
	}
	for (size_t i = 0; i < p->nmodules; i++)
		of[i] = count[first[i]];
	return 0;
}

static int join_modules(struct joiner *j, size_t side)
{
	const struct profile *p = j->d->sides[side];
	_cleanup_free_ size_t *same_names = calloc(p->nmodules + 1, sizeof(*same_names));

	j->module_of[side] = calloc(p->nmodules + 1, sizeof(uint32_t));
	if (!same_names || !j->module_of[side] || count_names(p, same_names) < 0)
		return -1;
	for (size_t i = 0; i < p->nmodules; i++) {
		const struct prof_module *m = &p->modules[i];
		uint64_t hash = hash_str(path_base(m->path));

		if (!find_module(j, m, hash, same_names[i], &j->module_of[side][i]) &&
		    add_module(j, m, hash, &j->module_of[side][i]) < 0)
			return -1;
	}
	return 0;
}

/* ---- symbols ---------------------------------------------------------------- */

static uint32_t joint_module(const struct joiner *j, size_t side, uint32_t module)
{
	return module == PROF_NO_MODULE ? PROF_NO_MODULE : j->module_of[side][module];
}

static bool is_rebuilt(const struct joiner *j, uint32_t module)
{
	return module != PROF_NO_MODULE && j->rebuilt[module];
}

/* As in view.c: a symbol that says nothing does not make a frame a named one. */
static bool is_named(const struct profile *p, const struct prof_frame *f)
{
	const struct prof_symbol *s = &p->symbols[f->symbol];

	return f->symbol && (s->lines[0].function || s->lines[0].file || s->nlines > 1);
}

/* A rebuilt file was often compiled in another directory. */
static const char *file_key(const char *file, bool rebuilt)
{
	return file && rebuilt ? path_base(file) : file;
}

static uint64_t symbol_hash(const struct prof_symbol *s, uint32_t module, bool rebuilt)
{
	uint64_t hash = hash_mix(module, s->nlines);

	for (uint32_t i = 0; i < s->nlines; i++)
		hash = hash_mix(hash, hash_mix(hash_str(s->lines[i].function),
		                               hash_str(file_key(s->lines[i].file, rebuilt)) +
		                                       (rebuilt ? 0 : s->lines[i].line)));
	return hash;
}

static bool symbol_same(const struct prof_symbol *joint, const struct prof_symbol *s, bool rebuilt)
{
	if (joint->nlines != s->nlines)
		return false;
	for (uint32_t i = 0; i < s->nlines; i++) {
		const struct prof_line *a = &joint->lines[i], *b = &s->lines[i];

		if (a->line != (rebuilt ? 0 : b->line) || a->inlined != b->inlined ||
		    !str_same(a->function, b->function) ||
		    !str_same(file_key(a->file, rebuilt), file_key(b->file, rebuilt)))
			return false;
	}
	return true;
}

static int copy_symbol(struct joiner *j, const struct prof_symbol *s, bool rebuilt)
{
	struct prof_symbol *to;

	if (GROW(j, symbols) < 0)
		return -1;
	to = &j->out->symbols[j->out->nsymbols++];
	if (prof_symbol_copy(to, s) < 0)
		return -1;
	for (uint32_t i = 0; i < to->nlines && rebuilt; i++)
		to->lines[i].line = 0;
	return 0;
}

/*
 * symbols[] of the joint profile are of one module each: the map's key has it in its hash, and `places` tells
 * which module a symbol was made for.
 */
static int join_symbol(struct joiner *j, const struct prof_symbol *s, uint32_t module,
                       uint32_t *ret_id)
{
	bool rebuilt = is_rebuilt(j, module);
	uint64_t hash = symbol_hash(s, module, rebuilt);
	size_t pos = idmap_first(&j->symbols, hash);
	uint32_t place;

	while (idmap_get(&j->symbols, &pos, hash, &place)) {
		*ret_id = j->places[place].symbol;
		if (j->places[place].module == module &&
		    symbol_same(&j->out->symbols[*ret_id], s, rebuilt))
			return 0;
	}
	*ret_id = (uint32_t)j->out->nsymbols;
	place = (uint32_t)j->nplaces;
	if (ARRAY_GROW(j, j, places) < 0 || copy_symbol(j, s, rebuilt) < 0 ||
	    idmap_add(&j->symbols, hash, place) < 0)
		return -1;
	j->places[j->nplaces++] = (struct place){ .module = module, .symbol = *ret_id };
	return 0;
}

/* Whether an address there means the same on all sides. */
static bool comparable(const struct joiner *j, uint32_t module)
{
	return module == PROF_NO_MODULE ? j->d->same_run : !j->rebuilt[module];
}

static uint64_t joint_address(const struct joiner *j, size_t side, const struct prof_frame *f,
                              uint32_t module)
{
	const struct profile *p = j->d->sides[side];

	if (!comparable(j, module))
		return 0;
	return module == PROF_NO_MODULE ? f->pc : f->pc - p->modules[f->module].bias;
}

static bool find_place(const struct joiner *j, uint32_t module, uint64_t address,
                       uint32_t *ret_symbol)
{
	uint64_t hash = hash_mix(module, address);
	size_t pos = idmap_first(&j->addresses, hash);
	uint32_t id;

	while (idmap_get(&j->addresses, &pos, hash, &id)) {
		if (j->places[id].module == module && j->places[id].address == address) {
			*ret_symbol = j->places[id].symbol;
			return true;
		}
	}
	return false;
}

/* Symbols of a side, and what its addresses are called.  A symbol belongs to one module: view.c relies on that too. */
static int join_symbols(struct joiner *j, size_t side)
{
	const struct profile *p = j->d->sides[side];

	j->symbol_of[side] = calloc(p->nsymbols + 1, sizeof(uint32_t));
	if (!j->symbol_of[side])
		return -1;
	for (size_t i = 1; i < p->nframes; i++) {
		const struct prof_frame *f = &p->frames[i];
		uint32_t module = joint_module(j, side, f->module), symbol;
		uint64_t address = joint_address(j, side, f, module);

		if (!is_named(p, f))
			continue;
		if (!j->symbol_of[side][f->symbol] &&
		    join_symbol(j, &p->symbols[f->symbol], module, &j->symbol_of[side][f->symbol]) <
		            0)
			return -1;
		if (!comparable(j, module) || find_place(j, module, address, &symbol))
			continue;
		if (ARRAY_GROW(j, j, places) < 0 ||
		    idmap_add(&j->addresses, hash_mix(module, address), (uint32_t)j->nplaces) < 0)
			return -1;
		j->places[j->nplaces++] =
			(struct place){ module, j->symbol_of[side][f->symbol], address };
	}
	return 0;
}

/* ---- frames and sites --------------------------------------------------------- */

static bool is_frame(const struct joiner *j, uint32_t id, const struct prof_frame *f)
{
	const struct prof_frame *to = &j->out->frames[id];

	return to->parent == f->parent && to->module == f->module && to->symbol == f->symbol &&
	       (f->symbol || to->pc == f->pc);
}

/*
 * `guess` is the frame after the one found before: two snapshots of one process have their frames in the same order for
 * the most part, and a guess that holds saves a look all over the index.
 */
static int join_frame(struct joiner *j, size_t side, const struct prof_frame *f, uint32_t *frame_of,
                      uint32_t guess, uint32_t *ret_id)
{
	const struct profile *p = j->d->sides[side];
	uint32_t module = joint_module(j, side, f->module), parent = frame_of[f->parent], symbol = 0;
	uint64_t address = joint_address(j, side, f, module), hash;
	struct prof_frame made;
	size_t pos;

	if (is_named(p, f))
		symbol = j->symbol_of[side][f->symbol];
	else if (comparable(j, module))
		find_place(j, module, address, &symbol);
	/* with a symbol the address is only the first one seen */
	made = (struct prof_frame){
		.pc = address, .parent = parent, .module = module, .symbol = symbol
	};
	if (guess && guess < j->out->nframes && is_frame(j, guess, &made)) {
		*ret_id = guess;
		return 0;
	}
	hash = hash_mix(hash_mix(parent, module), symbol ? symbol : ~address);
	pos = idmap_first(&j->frames, hash);
	while (idmap_get(&j->frames, &pos, hash, ret_id))
		if (is_frame(j, *ret_id, &made))
			return 0;
	*ret_id = (uint32_t)j->out->nframes;
	if (GROW(j, frames) < 0 || idmap_add(&j->frames, hash, *ret_id) < 0)
		return -1;
	j->out->frames[j->out->nframes++] = made;
	return 0;
}

static bool is_site(struct joiner *j, uint32_t id, const struct prof_site *s, uint32_t stack)
{
	struct prof_site *to = &j->out->sites[id];

	if (to->stack != stack || to->kind != s->kind)
		return false;
	to->cut_depth |= s->cut_depth;
	to->cut_no_cfi |= s->cut_no_cfi;
	return true;
}

static int join_site(struct joiner *j, const struct prof_site *s, uint32_t stack, uint32_t guess,
                     uint32_t *ret_id)
{
	uint64_t hash = hash_mix(stack, s->kind);
	size_t pos = idmap_first(&j->sites, hash);

	if (guess < j->out->nsites && is_site(j, guess, s, stack)) {
		*ret_id = guess;
		return 0;
	}
	while (idmap_get(&j->sites, &pos, hash, ret_id))
		if (is_site(j, *ret_id, s, stack))
			return 0;
	*ret_id = (uint32_t)j->out->nsites;
	if (GROW(j, sites) < 0 || idmap_add(&j->sites, hash, *ret_id) < 0)
		return -1;
	j->out->sites[j->out->nsites++] = (struct prof_site){ .stack = stack,
		                                              .kind = s->kind,
		                                              .cut_depth = s->cut_depth,
		                                              .cut_no_cfi = s->cut_no_cfi,
		                                              .oldest = UINT64_MAX };
	return 0;
}

static int join_stacks(struct joiner *j, size_t side)
{
	const struct profile *p = j->d->sides[side];
	_cleanup_free_ uint32_t *frame_of = large_zero(p->nframes * sizeof(*frame_of));
	uint32_t *site_of;

	j->d->site_of[side] = large_zero((p->nsites + 1) * sizeof(uint32_t));
	site_of = j->d->site_of[side];
	if (!frame_of || !site_of || idmap_reserve(&j->frames, p->nframes) < 0 ||
	    idmap_reserve(&j->sites, p->nsites) < 0 || RESERVE(j, frames, p->nframes) < 0 ||
	    RESERVE(j, sites, p->nsites) < 0)
		return -1;
	for (size_t i = 1; i < p->nframes; i++)
		if (join_frame(j, side, &p->frames[i], frame_of, frame_of[i - 1] + 1,
		               &frame_of[i]) < 0)
			return -1;
	for (size_t i = 0; i < p->nsites; i++)
		if (join_site(j, &p->sites[i], frame_of[p->sites[i].stack],
		              i ? site_of[i - 1] + 1 : 0, &site_of[i]) < 0)
			return -1;
	return 0;
}

/* ---- threads -------------------------------------------------------------------- */

/* A thread may change its name, and ends; what the later side says holds. */
static int update_thread(struct prof_thread *to, const struct prof_thread *t, bool same_run)
{
	if (!same_run)
		return 0;
	to->died = t->died;
	if (!t->name || !*t->name || str_same(to->name, t->name))
		return 0;
	free(to->name);
	return str_copy(&to->name, t->name);
}

static int join_thread(struct joiner *j, const struct prof_thread *t, uint32_t *ret_id)
{
	bool same_run = j->d->same_run;
	const char *name = t->name ? t->name : "";
	uint64_t hash = same_run ? hash_mix((uint64_t)t->tid, t->born) : hash_str(name);
	size_t pos = idmap_first(&j->threads, hash);
	struct prof_thread *to;

	while (idmap_get(&j->threads, &pos, hash, ret_id)) {
		to = &j->out->threads[*ret_id];
		if (same_run ? to->tid == t->tid && to->born == t->born : str_same(to->name, name))
			return update_thread(to, t, same_run);
	}
	*ret_id = (uint32_t)j->out->nthreads;
	if (GROW(j, threads) < 0 || idmap_add(&j->threads, hash, *ret_id) < 0)
		return -1;
	to = &j->out->threads[j->out->nthreads];
	*to = same_run ? *t : (struct prof_thread){ 0 };
	if (str_copy(&to->name, name) < 0)
		return -1;
	j->out->nthreads++;
	return 0;
}

static int join_cell(struct joiner *j, uint32_t site, uint32_t thread, uint32_t *ret_id)
{
	uint64_t hash = hash_mix(site, thread);
	size_t pos = idmap_first(&j->cells, hash);

	while (idmap_get(&j->cells, &pos, hash, ret_id))
		if (j->out->cells[*ret_id].site == site && j->out->cells[*ret_id].thread == thread)
			return 0;
	*ret_id = (uint32_t)j->out->ncells;
	if (GROW(j, cells) < 0 || idmap_add(&j->cells, hash, *ret_id) < 0)
		return -1;
	j->out->cells[j->out->ncells++] = (struct prof_cell){ .site = site, .thread = thread };
	return 0;
}

/* Thread 0 is no thread: what nobody knows the thread of. */
static int join_threads(struct joiner *j, size_t side)
{
	const struct profile *p = j->d->sides[side];
	_cleanup_free_ uint32_t *thread_of = calloc(p->nthreads + 1, sizeof(*thread_of));

	j->d->cell_of[side] = calloc(p->ncells + 1, sizeof(uint32_t));
	if (!thread_of || !j->d->cell_of[side])
		return -1;
	if (!j->out->nthreads) {
		if (GROW(j, threads) < 0)
			return -1;
		j->out->threads[0] = (struct prof_thread){ 0 };
		if (str_copy(&j->out->threads[0].name, "") < 0)
			return -1;
		j->out->nthreads = 1;
	}
	for (size_t i = 1; i < p->nthreads; i++)
		if (join_thread(j, &p->threads[i], &thread_of[i]) < 0)
			return -1;
	for (size_t i = 0; i < p->ncells; i++)
		if (join_cell(j, j->d->site_of[side][p->cells[i].site],
		              thread_of[p->cells[i].thread], &j->d->cell_of[side][i]) < 0)
			return -1;
	return 0;
}

/* ---- all of it ------------------------------------------------------------------ */

uint64_t diff_moment(const struct profile *p)
{
	uint64_t end;

	return !p->start_real_ns || __builtin_add_overflow(p->start_real_ns, p->duration_ns, &end)
	               ? 0
	               : end;
}

static bool same_run(const struct profile *a, const struct profile *b)
{
	return a->start_real_ns && a->start_real_ns == b->start_real_ns && a->pid == b->pid &&
	       a->exec_seq == b->exec_seq && a->nmerged == b->nmerged;
}

static int join_head(struct diff *d)
{
	const struct profile *last = d->sides[d->nsides - 1];
	uint64_t from = diff_moment(d->sides[0]), to = diff_moment(last);

	d->same_run = true;
	for (size_t i = 1; i < d->nsides; i++)
		d->same_run &= same_run(d->sides[0], d->sides[i]);
	d->elapsed_ns = d->same_run && from && to > from ? to - from : 0;
	for (size_t i = 0; i < d->nsides; i++) {
		d->joint->sampled |= d->sides[i]->sampled;
		if (d->sides[i]->period > d->joint->period)
			d->joint->period = d->sides[i]->period;
	}
	d->joint->duration_ns = last->duration_ns;
	d->joint->start_real_ns = last->start_real_ns;
	d->joint->pid = last->pid;
	return str_copy(&d->joint->command, last->command) | str_copy(&d->joint->exe, last->exe) |
	       str_copy(&d->joint->source, last->source);
}

static int join_all(struct joiner *j)
{
	struct diff *d = j->d;

	/* the arrays profile_new() made count as full */
	j->cap_frames = j->cap_symbols = 1;
	if (join_head(d) < 0)
		return -1;
	for (size_t i = 0; i < d->nsides; i++)
		if (join_modules(j, i) < 0)
			return -1;
	for (size_t i = 0; i < d->nsides; i++)
		if (join_symbols(j, i) < 0)
			return -1;
	for (size_t i = 0; i < d->nsides; i++)
		if (join_stacks(j, i) < 0 || join_threads(j, i) < 0)
			return -1;
	for (size_t i = 0; i < d->joint->nmodules; i++) {
		if (!j->rebuilt[i])
			continue;
		d->rebuilt++;
		if (!d->rebuilt_module)
			d->rebuilt_module = d->joint->modules[i].path;
	}
	return 0;
}

static void release_joiner(struct joiner *j)
{
	for (size_t i = 0; i < j->d->nsides; i++) {
		free(j->module_of ? j->module_of[i] : NULL);
		free(j->symbol_of ? j->symbol_of[i] : NULL);
	}
	free(j->module_of);
	free(j->symbol_of);
	free(j->rebuilt);
	free(j->places);
	idmap_release(&j->names);
	idmap_release(&j->symbols);
	idmap_release(&j->addresses);
	idmap_release(&j->frames);
	idmap_release(&j->sites);
	idmap_release(&j->threads);
	idmap_release(&j->cells);
}

struct seep_error *diff_make(const struct profile *const *sides, size_t n, struct diff **ret_diff)
{
	_cleanup_diff_ struct diff *d = calloc(1, sizeof(*d));
	struct joiner j = { .d = d };
	int r;

	if (n < 2)
		return seep_error_new(0, "a difference takes two profiles");
	if (!d)
		return &seep_error_nomem;
	d->sides = sides;
	d->nsides = n;
	d->joint = j.out = profile_new();
	d->site_of = calloc(n, sizeof(*d->site_of));
	d->cell_of = calloc(n, sizeof(*d->cell_of));
	j.module_of = calloc(n, sizeof(*j.module_of));
	j.symbol_of = calloc(n, sizeof(*j.symbol_of));
	r = !d->joint || !d->site_of || !d->cell_of || !j.module_of || !j.symbol_of ||
	    join_all(&j) < 0;
	release_joiner(&j);
	if (r)
		return &seep_error_nomem;
	*ret_diff = TAKE(d);
	return NULL;
}

void diff_free(struct diff *d)
{
	if (!d)
		return;
	for (size_t i = 0; d->site_of && i < d->nsides; i++)
		free(d->site_of[i]);
	for (size_t i = 0; d->cell_of && i < d->nsides; i++)
		free(d->cell_of[i]);
	free(d->site_of);
	free(d->cell_of);
	profile_free(d->joint);
	free(d);
}

void diff_load(struct diff *d, size_t side)
{
	const struct profile *p = d->sides[side];

	/* The lifetimes are not joined: no difference shows them. */
	for (size_t i = 0; i < d->joint->nsites; i++) {
		struct prof_site *s = &d->joint->sites[i];

		s->alloc = s->freed = s->inuse = s->peak = (struct prof_value){ 0 };
		s->samples = s->inuse_samples = 0;
		s->oldest = UINT64_MAX;
	}
	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];
		struct prof_site *to = &d->joint->sites[d->site_of[side][i]];

		prof_value_add(&to->alloc, &s->alloc);
		prof_value_add(&to->freed, &s->freed);
		prof_value_add(&to->inuse, &s->inuse);
		prof_value_add(&to->peak, &s->peak);
		to->samples = prof_add(to->samples, s->samples);
		to->inuse_samples = prof_add(to->inuse_samples, s->inuse_samples);
		to->oldest = s->oldest < to->oldest ? s->oldest : to->oldest;
	}
	for (size_t i = 0; i < d->joint->ncells; i++)
		d->joint->cells[i].inuse = (struct prof_value){ 0 };
	for (size_t i = 0; i < p->ncells; i++)
		prof_value_add(&d->joint->cells[d->cell_of[side][i]].inuse, &p->cells[i].inuse);
}
