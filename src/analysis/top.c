/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process, read again and again.
 *
 * A reading of a big process is fifty thousand sites and half a million frames, and nearly all of it is as it was
 * a second ago.  So what costs much is kept: symbols go from the old profile into the new one frame by
 * frame, new frames at an address that is known take its symbol, and the view is only made again
 * when there is a new frame, site or name.  What is left of a reading is to read the counts, and
 * to subtract them from the last ones.
 *
 * Looking up names may take seconds (the DWARF of a browser), so when code keeps appearing it is given
 * a quarter of the time; until then new frames show as addresses.
 */
#include "analysis/top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"
#include "sym/sym.h"

#define NAMES_SHARE 4u /* names take at most one part in this many of the time */

/* ---- filters --------------------------------------------------------------------- */

static void free_list(const char *const *list, size_t n)
{
	for (size_t i = 0; list && i < n; i++)
		free((char *)list[i]);
	free((void *)list);
}

static void free_wanted(struct view_options *o)
{
	if (!o)
		return;
	free_list(o->focus, o->nfocus);
	free_list(o->ignore, o->nignore);
	free_list(o->hide, o->nhide);
	free(o);
}

static bool copy_list(const char *const *from, size_t n, const char *const **ret_list, size_t *ret_n)
{
	const char **list = calloc(n + 1, sizeof(*list));

	*ret_list = list;
	*ret_n = 0;
	for (size_t i = 0; list && i < n; i++) {
		list[i] = strdup(from[i]);
		if (!list[i])
			return false;
		*ret_n = i + 1;
	}
	return list != NULL;
}

static struct view_options *copy_wanted(const struct view_options *from)
{
	struct view_options *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->no_fold = from->no_fold;
	o->kinds = from->kinds;
	if (copy_list(from->focus, from->nfocus, &o->focus, &o->nfocus) &&
	    copy_list(from->ignore, from->nignore, &o->ignore, &o->nignore) &&
	    copy_list(from->hide, from->nhide, &o->hide, &o->nhide))
		return o;
	free_wanted(o);
	return NULL;
}

struct seep_error *top_new(const struct top_options *opts, const struct view_options *view,
                           struct top **ret_top)
{
	struct top *t = calloc(1, sizeof(*t));

	if (t) {
		t->options = *opts;
		t->wanted = copy_wanted(view);
	}
	if (!t || !t->wanted) {
		free(t);
		return &seep_error_nomem;
	}
	*ret_top = t;
	return NULL;
}

void top_free(struct top *t)
{
	if (!t)
		return;
	view_free(t->view);
	profile_free(t->profile);
	free(t->sites);
	free(t->cells);
	idmap_release(&t->cell_of);
	idmap_release(&t->symbol_of);
	free_wanted(t->wanted);
	free(t);
}

struct seep_error *top_filter(struct top *t, const struct view_options *view)
{
	struct view_options *wanted = copy_wanted(view);
	struct view *v = NULL;
	struct seep_error *err;

	if (!wanted)
		return &seep_error_nomem;
	err = t->profile ? view_new(t->profile, wanted, &v) : NULL;
	if (err) {
		free_wanted(wanted);
		return err;
	}
	free_wanted(t->wanted);
	t->wanted = wanted;
	view_free(t->view);
	t->view = v;
	t->views += v != NULL;
	return NULL;
}

/* ---- what stays from one reading to the next ----------------------------------------- */

static bool same_ledger(const struct profile *a, const struct profile *b)
{
	return a->pid == b->pid && a->exec_seq == b->exec_seq &&
	       a->start_real_ns == b->start_real_ns;
}

/* Nothing of the past is of use to p. */
static void start_anew(struct top *t)
{
	idmap_release(&t->cell_of);
	idmap_release(&t->symbol_of);
	t->nsites = t->ncells = 0;
	t->weight = 0;
	t->readings = 0;
	t->based = false;
	t->symbols_until = 0;
	view_free(t->view);
	t->view = NULL;
	profile_free(t->profile);
	t->profile = NULL;
}

static uint64_t place_hash(const struct prof_frame *f)
{
	return hash_mix(f->pc, f->module);
}

/*
 * The symbols of old frames become p's, which has none of its own.  Whether p has the same code, frame by frame.
 */
static bool carry_symbols(struct top *t, struct profile *p)
{
	struct profile *old = t->profile;
	size_t n = old->nframes < p->nframes ? old->nframes : p->nframes;
	bool same = old->nframes == p->nframes && old->nmodules == p->nmodules;
	struct prof_symbol *symbols = p->symbols;
	size_t nsymbols = p->nsymbols;

	p->symbols = old->symbols;
	p->nsymbols = old->nsymbols;
	old->symbols = symbols;
	old->nsymbols = nsymbols;
	for (size_t i = 1; i < n; i++) {
		const struct prof_frame *was = &old->frames[i];
		struct prof_frame *f = &p->frames[i];
		bool alike = f->pc == was->pc && f->module == was->module;

		f->symbol = alike ? was->symbol : 0;
		same &= alike && f->parent == was->parent;
	}
	for (size_t i = n; i < p->nframes; i++)
		p->frames[i].symbol = 0;
	/* The view of the old one is not looked at until it has been given p. */
	return same;
}

static bool same_sites(const struct profile *a, const struct profile *b)
{
	if (a->nsites != b->nsites)
		return false;
	for (size_t i = 0; i < a->nsites; i++)
		if (a->sites[i].stack != b->sites[i].stack || a->sites[i].kind != b->sites[i].kind)
			return false;
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A new frame at a place that is known.  Returns how many frames are left without a symbol. */
static size_t known_places(struct top *t, struct profile *p)
{
	size_t left = 0;

	for (size_t i = 1; i < p->nframes; i++) {
		struct prof_frame *f = &p->frames[i];
		uint64_t hash;
		size_t pos;
		uint32_t id;

		if (f->symbol)
			continue;
		hash = place_hash(f);
		pos = idmap_first(&t->symbol_of, hash);
		while (!f->symbol && idmap_get(&t->symbol_of, &pos, hash, &id))
			if (id < p->nframes && p->frames[id].pc == f->pc &&
			    p->frames[id].module == f->module)
				f->symbol = p->frames[id].symbol;
		left += !f->symbol;
	}
	return left;
}

static struct seep_error *name_places(struct top *t, struct profile *p)
{
	uint64_t start = now_ns();
	_cleanup_free_ bool *nameless = NULL;
	struct seep_error *err;

	if (!t->options.symbolizer || !known_places(t, p))
		return NULL;
	if (p->live && start < t->symbols_until) /* what ended is not read again */
		return NULL;
	nameless = calloc(p->nframes, sizeof(*nameless));
	if (!nameless)
		return &seep_error_nomem;
	for (size_t i = 1; i < p->nframes; i++)
		nameless[i] = !p->frames[i].symbol;
	err = symbolizer_run(t->options.symbolizer, p);
	for (size_t i = 1; !err && i < p->nframes; i++) {
		uint64_t hash = place_hash(&p->frames[i]);
		size_t pos = idmap_first(&t->symbol_of, hash);
		bool known = false;
		uint32_t id;

		if (!nameless[i] || !p->frames[i].symbol)
			continue;
		while (!known && idmap_get(&t->symbol_of, &pos, hash, &id))
			known = id < p->nframes && p->frames[id].symbol == p->frames[i].symbol;
		if (!known && idmap_add(&t->symbol_of, hash, (uint32_t)i) < 0)
			err = &seep_error_nomem;
	}
	t->symbols_ns = now_ns() - start;
	t->symbols_until = start + NAMES_SHARE * t->symbols_ns;
	return err;
}

/* ---- growth ------------------------------------------------------------------------ */

/* How much a moment counts, and how much what was before: of two readings `ns` apart. */
struct smooth {
	double seconds, keep;
};

static double smoothed(const struct smooth *s, double sum, int64_t delta)
{
	return sum * s->keep + (double)delta / s->seconds * (1 - s->keep);
}

static int64_t difference(uint64_t now, uint64_t before)
{
	if (now >= before)
		return now - before > INT64_MAX ? INT64_MAX : (int64_t)(now - before);
	return before - now > INT64_MAX ? -INT64_MAX : -(int64_t)(before - now);
}

static int grow(void **array, size_t want, size_t *cap, size_t size)
{
	size_t n = *cap ? *cap : 256;
	void *p;

	if (want <= *cap)
		return 0;
	while (n < want)
		n *= 2;
	p = reallocarray(*array, n, size);
	if (!p)
		return -1;
	*array = p;
	*cap = n;
	return 0;
}

static int move_sites(struct top *t, const struct profile *p, const struct smooth *s)
{
	if (grow((void **)&t->sites, p->nsites, &t->cap_sites, sizeof(*t->sites)) < 0)
		return -1;
	for (; t->nsites < p->nsites; t->nsites++)
		t->sites[t->nsites] = (struct top_site){ 0 };
	for (size_t i = 0; i < t->nsites; i++) {
		static const struct prof_site none;
		const struct prof_site *now = i < p->nsites ? &p->sites[i] : &none;
		struct top_site *site = &t->sites[i];

		site->delta = difference(now->inuse.bytes, site->bytes);
		if (s) {
			site->growth = smoothed(s, site->growth, site->delta);
			site->rate =
				smoothed(s, site->rate, difference(now->alloc.bytes, site->alloc));
		}
		site->bytes = now->inuse.bytes;
		site->blocks = now->inuse.blocks;
		site->alloc = now->alloc.bytes;
	}
	return 0;
}

static struct top_cell *cell_at(struct top *t, const struct prof_cell *c)
{
	uint64_t hash = hash_mix(c->site, c->thread);
	size_t pos = idmap_first(&t->cell_of, hash);
	uint32_t id;

	while (idmap_get(&t->cell_of, &pos, hash, &id))
		if (t->cells[id].site == c->site && t->cells[id].thread == c->thread)
			return &t->cells[id];
	if (grow((void **)&t->cells, t->ncells + 1, &t->cap_cells, sizeof(*t->cells)) < 0 ||
	    t->ncells >= UINT32_MAX - 1 || idmap_add(&t->cell_of, hash, (uint32_t)t->ncells) < 0)
		return NULL;
	t->cells[t->ncells] = (struct top_cell){ .site = c->site, .thread = c->thread };
	return &t->cells[t->ncells++];
}

/* Several threads that found no room in the ledger's table are one, so a cell may come twice. */
static int move_cells(struct top *t, const struct profile *p, const struct smooth *s)
{
	for (size_t i = 0; i < t->ncells; i++) {
		t->cells[i].delta = -difference(t->cells[i].bytes, 0);
		t->cells[i].bytes = t->cells[i].blocks = 0;
	}
	for (size_t i = 0; i < p->ncells; i++) {
		struct top_cell *cell = cell_at(t, &p->cells[i]);

		if (!cell)
			return -1;
		cell->bytes += p->cells[i].inuse.bytes;
		cell->blocks += p->cells[i].inuse.blocks;
		cell->delta += difference(p->cells[i].inuse.bytes, 0);
	}
	for (size_t i = 0; s && i < t->ncells; i++)
		t->cells[i].growth = smoothed(s, t->cells[i].growth, t->cells[i].delta);
	return 0;
}

static int move(struct top *t, const struct profile *p)
{
	uint64_t before = t->profile ? t->profile->duration_ns : 0;
	uint64_t ns = p->duration_ns > before ? p->duration_ns - before : 0;
	struct smooth s = { .seconds = (double)ns / 1e9 };
	const struct smooth *smooth = t->readings && ns ? &s : NULL;

	s.keep = exp(-s.seconds / (TOP_SMOOTH_NS / 1e9));
	if (move_sites(t, p, smooth) < 0 || move_cells(t, p, smooth) < 0)
		return -1;
	if (smooth)
		t->weight = t->weight * s.keep + (1 - s.keep);
	return 0;
}

struct seep_error *top_take(struct top *t, struct profile *reading)
{
	_cleanup_profile_ struct profile *p = reading;
	struct seep_error *err = NULL;
	bool same = false;

	if (t->profile && !same_ledger(t->profile, p))
		start_anew(t);
	if (t->options.min_age || t->options.min_size || t->options.max_size)
		err = top_choose_blocks(&t->options, p);
	if (err)
		return err;
	if (move(t, p) < 0)
		return &seep_error_nomem;
	if (t->profile) {
		size_t named = t->profile->nsymbols;

		same = carry_symbols(t, p) && same_sites(t->profile, p);
		err = name_places(t, p);
		same &= named == p->nsymbols;
	} else {
		err = name_places(t, p);
	}
	profile_free(t->profile);
	t->profile = TAKE(p);
	t->readings++;
	t->average = !(t->weight > 0);
	if (same && t->view) {
		t->view->profile =
			t->profile; /* the same code and the same strings: all it says of them holds */
		return err;
	}
	view_free(t->view);
	t->view = NULL;
	if (!err)
		err = view_new(t->profile, t->wanted, &t->view);
	t->views++;
	return err;
}

/* ---- base ---------------------------------------------------------------------------- */

void top_base_set(struct top *t)
{
	if (!t->profile)
		return;
	for (size_t i = 0; i < t->nsites; i++) {
		t->sites[i].base_bytes = t->sites[i].bytes;
		t->sites[i].base_blocks = t->sites[i].blocks;
	}
	for (size_t i = 0; i < t->ncells; i++) {
		t->cells[i].base_bytes = t->cells[i].bytes;
		t->cells[i].base_blocks = t->cells[i].blocks;
	}
	t->based = true;
	t->base_time = t->profile->duration_ns;
}

void top_base_clear(struct top *t)
{
	t->based = false;
}
