/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leak check, step by step: heap, ledger, roots, marking, records.
 *
 * Some lost blocks are nobody's fault as far as this check goes: those a suppression names, those a
 * forked child inherited, those that were lost before a local check began.  All of them are handled
 * as suppressed ones are, because what such a block alone holds is not this check's business either.
 * The marking asks about each lost block once, in ascending order, and that is also where the
 * addresses for a later comparison are noted.
 */
#include "analysis/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/check_private.h"
#include "analysis/names.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "proc/image.h"
#include "profile/profile.h"
#include "sym/sym.h"

uint64_t check_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- what is needed before marking ------------------------------------------- */

void check_input_release(struct check_input *in)
{
	roots_release(&in->roots);
	ledger_marks_release(&in->marks);
	profile_free(in->profile);
	heap_free(in->heap);
	memset(in, 0, sizeof(*in));
}

static struct seep_error *meet_ledger(struct check_input *in, const char *ledger)
{
	struct read_options read = { .blocks = false };
	struct seep_error *err = ledger_read(ledger, &read, &in->profile);

	if (!err)
		err = profile_check(in->profile);
	if (!err)
		err = blocks_meet_ledger(in->img, in->heap, ledger, in->profile, &in->met);
	if (!err)
		err = ledger_marks_read(ledger, &in->marks);
	if (err)
		return err;
	for (size_t i = 0; i < in->marks.nignored; i++) {
		int64_t at = block_find(in->heap->blocks, in->heap->nblocks, in->marks.ignored[i]);

		if (at >= 0)
			in->heap->blocks[at].flags |= BLOCK_IGNORED;
	}
	return NULL;
}

_Static_assert(sizeof(struct roots_range) == sizeof(struct marks_range), "one layout");

struct seep_error *check_input_make(struct image *img, const struct check_options *opts,
                                    struct check_input *ret_input)
{
	struct check_input in = { .img = img };
	struct roots_options ro = { 0 };
	uint64_t start = check_now_ns();
	const struct heap_options ho = { .free_chunks = opts->free_chunks };
	struct seep_error *err = heap_walk_with(img, &ho, &in.heap);

	in.ns_walk = check_now_ns() - start;
	start = check_now_ns();
	if (!err && opts->ledger)
		err = meet_ledger(&in, opts->ledger);
	in.ns_ledger = check_now_ns() - start;
	if (!err) {
		if (opts->exit)
			ro = *opts->exit;
		ro.regions = (const struct roots_range *)in.marks.regions;
		ro.nregions = in.marks.nregions;
		ro.tracker = (const struct roots_range *)in.marks.tracker;
		ro.ntracker = in.marks.ntracker;
		ro.stacks = (const struct roots_range *)in.marks.stacks;
		ro.nstacks = in.marks.nstacks;
		err = roots_find(img, in.heap, &ro, &in.roots);
	}
	if (err) {
		check_input_release(&in);
		return err;
	}
	*ret_input = in;
	return NULL;
}

static char **copy_strings(const char *const *strings)
{
	size_t n = 0;
	char **copy;

	while (strings[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++)
		copy[i] = strdup(strings[i]);
	return copy;
}

static void free_strings(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		free(strings[i]);
	free(strings);
}

struct seep_error *check_symbolize(const struct image *img, const struct check_options *opts,
                                   struct profile *p, char ***ret_warnings)
{
	struct sym_options so = { .debug_dirs = opts->debug_dirs,
		                  .pid = img->kind == IMAGE_CORE ? 0 : img->pid };
	struct symbolizer *sym = NULL;
	struct seep_error *err = symbolizer_new(&so, &sym);

	if (!err)
		err = symbolizer_run(sym, p);
	if (!err && ret_warnings)
		*ret_warnings = copy_strings(symbolizer_warnings(sym));
	symbolizer_free(sym);
	return err;
}

/* ---- who is to blame? ---------------------------------------------------------- */

struct verdict {
	bool known;
	struct suppress_rule *rule; /* NULL: none matches */
};

struct judge {
	const struct check_options *opts;
	const struct check_input *in;
	struct check *check;
	struct verdict *sites[2]; /* by site: for lost, for possibly lost blocks */
	size_t cap_lost;
	bool failed; /* out of memory: some answers are missing */
};

static bool is_among(const struct check_lost *l, uint64_t address)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->addresses[mid] < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < l->n && l->addresses[lo] == address;
}

static void note_lost(struct judge *j, uint64_t address)
{
	struct check_lost *l = &j->check->lost;

	if (l->n == j->cap_lost) {
		size_t cap = j->cap_lost ? 2 * j->cap_lost : 256;
		uint64_t *grown = realloc(l->addresses, cap * sizeof(*grown));

		if (!grown) {
			j->failed = true;
			return;
		}
		l->addresses = grown;
		j->cap_lost = cap;
	}
	l->addresses[l->n++] = address;
}

static struct suppress_rule *rule_of_site(struct judge *j, uint32_t site, enum reach_class class)
{
	struct verdict *v = &j->sites[class == REACH_POSSIBLE][site];
	_cleanup_free_ struct suppress_frame *frames = NULL;
	struct seep_error *err;
	size_t n = 0;

	if (v->known)
		return v->rule;
	err = suppress_stack(j->check->profile, site, &frames, &n);
	if (err) {
		seep_error_free(err);
		j->failed = true;
		return NULL;
	}
	v->known = true;
	v->rule = suppressions_match(j->opts->suppressions, class, frames, n);
	if (!v->rule && class == REACH_DEFINITE)
		v->rule = suppressions_match(j->opts->suppressions, REACH_INDIRECT, frames, n);
	if (v->rule)
		v->rule->matches++;
	return v->rule;
}

static bool is_excused(void *arg, const struct block *b, enum reach_class would_be)
{
	struct judge *j = arg;
	struct suppress_rule *rule;

	if (b->flags & BLOCK_INTERNAL)
		return true;
	note_lost(j, b->address);
	if (!(b->flags & BLOCK_RECORDED) && (j->in->met.forked || j->opts->recorded_only))
		return true;
	if (j->opts->before && is_among(j->opts->before, b->address))
		return true;
	if (j->sites[0] && b->site && b->site < j->check->profile->nsites) {
		rule = rule_of_site(j, b->site, would_be);
		if (rule) {
			rule->blocks++;
			rule->bytes += b->size;
			return true;
		}
	}
	if (j->opts->persisted && !is_among(j->opts->persisted, b->address)) {
		j->check->unconfirmed.blocks++;
		j->check->unconfirmed.bytes += b->size;
		return true;
	}
	return false;
}

static struct seep_error *judge_init(struct judge *j)
{
	const struct profile *p = j->check->profile;

	if (!j->opts->suppressions || suppressions_empty(j->opts->suppressions) || !p)
		return NULL;
	for (int i = 0; i < 2; i++) {
		j->sites[i] = calloc(p->nsites + 1, sizeof(**j->sites));
		if (!j->sites[i])
			return &seep_error_nomem;
	}
	return NULL;
}

static void name_rules(struct judge *j)
{
	struct leaks *l = &j->check->leaks;

	for (size_t i = 0; j->sites[0] && i < l->n; i++) {
		struct leak_record *r = &l->records[i];
		struct suppress_rule *rule;

		if (r->class != REACH_SUPPRESSED || r->site >= j->check->profile->nsites)
			continue;
		rule = j->sites[0][r->site].rule;
		if (!rule)
			rule = j->sites[1][r->site].rule;
		r->rule = rule ? rule->name : NULL;
	}
}

/* ---- totals and coverage ----------------------------------------------------------- */

/* Everything not freed is a leak: what is still reachable counts as lost. */
static void condemn(struct block *blocks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct block *b = &blocks[i];

		if (block_class(b) != REACH_REACHABLE ||
		    (b->flags & (BLOCK_INTERNAL | BLOCK_IGNORED)))
			continue;
		b->flags = (uint16_t)((b->flags & ~BLOCK_CLASS_MASK) |
		                      (unsigned int)REACH_DEFINITE << BLOCK_CLASS_SHIFT);
	}
}

/*
 * A ledger that has everything since the program's start, and does not have this block: the C library made it
 * past malloc, or before anybody could watch.  Lost ones are reported nevertheless.
 */
static bool is_libc_own(const struct check_input *in, const struct block *b)
{
	return (b->flags & BLOCK_INTERNAL) ||
	       (in->met.full && !(b->flags & BLOCK_RECORDED) && block_class(b) == REACH_REACHABLE);
}

static void add_up(struct check *c, const struct check_input *in)
{
	const struct block *blocks = in->heap->blocks;
	size_t n = in->heap->nblocks;

	for (size_t i = 0; i < n; i++) {
		const struct block *b = &blocks[i];
		struct reach_total *t = &c->total[block_class(b)];

		if (is_libc_own(in, b)) {
			c->coverage.internal_blocks++;
			c->coverage.internal_bytes += b->size;
			continue;
		}
		t->blocks++;
		t->bytes += b->size;
		c->inuse.blocks++;
		c->inuse.bytes += b->size;
	}
	c->coverage.blocks = n;
	c->coverage.bytes = c->inuse.bytes + c->coverage.internal_bytes;
}

static void take_notes(struct check *c, size_t *at, char **notes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *copy = notes[i] ? strdup(notes[i]) : NULL;

		if (copy)
			c->notes[(*at)++] = copy;
	}
}

static struct seep_error *cover(struct check *c, const struct check_input *in, const struct reach *r)
{
	struct check_coverage *v = &c->coverage;
	const struct image *img = in->img;
	char *some =
		(char *)"only some of this allocator's blocks were recorded; what lies between them "
			"is taken for roots, so lost blocks may be missed, and none is called lost "
			"that another one points to";
	size_t at = 0;

	c->notes = calloc(img->nnotes + in->heap->nnotes + in->roots.nnotes + 2, sizeof(*c->notes));
	if (!c->notes)
		return &seep_error_nomem;
	take_notes(c, &at, img->notes, img->nnotes);
	take_notes(c, &at, in->heap->notes, in->heap->nnotes);
	take_notes(c, &at, in->roots.notes, in->roots.nnotes);
	take_notes(c, &at, &some, in->met.some);
	v->notes = (const char *const *)c->notes;
	v->recorded_blocks = in->met.recorded + in->met.foreign;
	v->threads = img->nthreads;
	for (size_t i = 0; i < img->nthreads; i++)
		v->missed_threads += img->threads[i].missed;
	for (int k = 0; k < ROOT_NKINDS; k++)
		v->root_bytes += r->root_bytes[k];
	v->scanned_bytes = r->scanned_bytes;
	v->unreadable_bytes = r->unreadable_bytes + in->heap->skipped_bytes;
	v->torn = in->heap->resyncs;
	v->stopped_ns = img->stopped_ns;
	v->resident_bytes = img->resident_bytes;
	v->checker_bytes = r->memory_bytes;
	v->ns_walk = in->ns_walk;
	v->ns_ledger = in->ns_ledger;
	v->ns_mark = r->ns_roots + r->ns_mark + r->ns_lost;
	v->ledger = c->profile != NULL;
	v->sampled = in->met.sampled;
	for (size_t i = 0; i < at && !v->blocks && !(v->ledger && !v->sampled); i++)
		if (heap_note_no_walker(c->notes[i]))
			v->nothing_known = c->notes[i];
	return NULL;
}

/*
 * Whose blocks were looked at: those of the heap that was walked, and of an allocator that only the ledger knows.
 * libc's own heap is often there besides, and empty.
 */
static char *whose(const struct check *c, const struct check_input *in, const char *walked)
{
	const char *known = c->profile && c->profile->allocator ? path_base(c->profile->allocator)
	                                                        : "";
	char *both;

	if (!*known || (*walked && (!in->met.foreign || !strncmp(known, "libc.", 5) ||
	                            !strncmp(known, "libc-", 5))))
		return strdup(walked);
	if (!*walked || in->heap->nblocks == in->met.foreign)
		return strdup(known);
	return asprintf(&both, "%s, %s", known, walked) < 0 ? NULL : both;
}

static struct seep_error *describe(struct check *c, const struct check_input *in,
                                   const struct check_options *opts)
{
	const struct image *img = in->img;
	struct prof_totals t;

	c->moment = opts->moment;
	c->pid = img->pid;
	c->exe = strdup(img->exe);
	c->command = strdup(img->command);
	c->name = opts->name ? strdup(opts->name) : NULL;
	c->allocator = whose(c, in, in->heap->allocator);
	c->layout = whose(c, in, in->heap->layout);
	c->real_ns = img->stop_real_ns;
	c->suppressions = opts->suppressions;
	if (c->profile) {
		t = profile_totals(c->profile, PROF_HEAP);
		c->alloc_blocks = t.alloc.blocks;
		c->alloc_bytes = t.alloc.bytes;
		c->free_blocks = t.freed.blocks;
	}
	return c->exe && c->command && c->allocator && c->layout && (!opts->name || c->name)
	               ? NULL
	               : &seep_error_nomem;
}

/* ---- the whole ------------------------------------------------------------------------ */

void check_free(struct check *c)
{
	if (!c)
		return;
	leaks_release(&c->leaks);
	profile_free(c->profile);
	free_strings(c->notes);
	free_strings(c->warnings);
	free(c->lost.addresses);
	free(c->exe);
	free(c->command);
	free(c->name);
	free(c->allocator);
	free(c->layout);
	free(c);
}

static struct seep_error *symbolize(struct check *c, const struct check_input *in,
                                    const struct check_options *opts)
{
	uint64_t start = check_now_ns();
	struct seep_error *err;

	if (!c->profile || opts->no_symbols || c->coverage.ns_symbols)
		return NULL;
	err = check_symbolize(in->img, opts, c->profile, &c->warnings);
	c->coverage.ns_symbols = check_now_ns() - start;
	return err;
}

static struct seep_error *mark(struct check *c, struct check_input *in,
                               const struct check_options *opts)
{
	struct judge judge = { .opts = opts, .in = in, .check = c };
	struct leaks_options lo = { .classes = opts->classes, .debug_dirs = opts->debug_dirs };
	struct reach_options ro = opts->reach;
	_cleanup_reach_ struct reach *r = NULL;
	struct heap *h = in->heap;
	struct seep_error *err = judge_init(&judge);

	ro.suppressed = is_excused;
	ro.suppressed_arg = &judge;
	if (!err && judge.sites[0])
		err = symbolize(c, in, opts); /* rules match names */
	if (!err)
		err = reach_run(in->img, h->blocks, h->nblocks, in->roots.items, in->roots.n, &ro,
		                &r);
	if (!err && judge.failed)
		err = &seep_error_nomem;
	if (!err) {
		c->header = r->header;
		memcpy(c->by_heuristic, r->by_heuristic, sizeof(c->by_heuristic));
		if (opts->draconian)
			condemn(h->blocks, h->nblocks);
		add_up(c, in);
		err = cover(c, in, r);
	}
	/* Names only when there is something to name. */
	if (!err && (c->lost.n || opts->draconian || (opts->classes & 1u << REACH_REACHABLE)))
		err = symbolize(c, in, opts);
	if (!err)
		err = leaks_make(in->img, h->blocks, h->nblocks, r, c->profile, &lo, &c->leaks);
	/* Everything was read; a process that had to be let go meanwhile makes it all worth nothing. */
	if (!err)
		err = image_resume(in->img);
	if (!err)
		name_rules(&judge);
	if (!err && opts->baseline)
		err = leaks_baseline_read(&c->leaks, opts->baseline);
	free(judge.sites[0]);
	free(judge.sites[1]);
	return err;
}

static void count_known(struct check *c)
{
	for (size_t i = 0; i < c->leaks.n; i++) {
		const struct leak_record *r = &c->leaks.records[i];

		if (!r->known)
			continue;
		c->known.blocks += r->blocks;
		c->known.bytes += r->bytes;
	}
	c->total[REACH_SUPPRESSED].blocks -= c->unconfirmed.blocks;
	c->total[REACH_SUPPRESSED].bytes -= c->unconfirmed.bytes;
}

struct seep_error *check_make(struct image *img, const struct check_options *opts,
                              struct check **ret_check)
{
	_cleanup_check_ struct check *c = calloc(1, sizeof(*c));
	struct check_input in = { 0 };
	struct seep_error *err = c ? NULL : &seep_error_nomem;

	if (!err)
		err = check_input_make(img, opts, &in);
	if (!err) {
		c->profile = TAKE(in.profile);
		err = describe(c, &in, opts);
	}
	if (!err)
		err = mark(c, &in, opts);
	if (!err) {
		count_known(c);
		*ret_check = TAKE(c);
	}
	check_input_release(&in);
	return err;
}
