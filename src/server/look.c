/* SPDX-License-Identifier: Apache-2.0 */
#include "server/look.h"

#include "server/api.h"
#include "server/joints.h"
#include "server/jsonw.h"
#include "server/recorder.h"

#include "analysis/diff.h"
#include "analysis/names.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "profile/estimate.h"
#include "profile/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>

#define LOST "definite,indirect,possible"

enum value_kind { VALUE_PLAIN, VALUE_GROWTH, VALUE_LEAKED };

static const struct value_word {
	const char *word, *title;
	struct measure measure;
	enum value_kind kind;
} value_words[] = {
	{ "in_use", "in use, bytes", { MEASURE_INUSE, false }, VALUE_PLAIN },
	{ "allocated", "allocated, bytes", { MEASURE_ALLOC, false }, VALUE_PLAIN },
	{ "freed", "freed, bytes", { MEASURE_FREED, false }, VALUE_PLAIN },
	{ "peak", "at the peak, bytes", { MEASURE_PEAK, false }, VALUE_PLAIN },
	{ "blocks", "in use, blocks", { MEASURE_INUSE, true }, VALUE_PLAIN },
	{ "allocated_blocks", "allocated, blocks", { MEASURE_ALLOC, true }, VALUE_PLAIN },
	{ "freed_blocks", "freed, blocks", { MEASURE_FREED, true }, VALUE_PLAIN },
	{ "peak_blocks", "at the peak, blocks", { MEASURE_PEAK, true }, VALUE_PLAIN },
	{ "growth", "growth, bytes", { MEASURE_INUSE, false }, VALUE_GROWTH },
	{ "growth_blocks", "growth, blocks", { MEASURE_INUSE, true }, VALUE_GROWTH },
	{ "leaked", "leaked, bytes", { MEASURE_INUSE, false }, VALUE_LEAKED },
	{ "leaked_blocks", "leaked, blocks", { MEASURE_INUSE, true }, VALUE_LEAKED },
};

static const struct value_word *find_value(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(value_words); i++)
		if (!strcmp(value_words[i].word, word))
			return &value_words[i];
	return NULL;
}

void look_release(struct look *l)
{
	view_free(l->v);
	if (!l->joint)
		diff_free(l->diff);
	profile_free(l->own);
	if (l->server) {
		joints_give(l->server->joints, l->joint);
		profiles_release(l->server->profiles, l->view);
		profiles_release(l->server->profiles, l->base);
	}
	free(l->strings);
	memset(l, 0, sizeof(*l));
}

/* ---- references -------------------------------------------------------------------------------------------- */

static bool no_snapshot(struct reply *r, const char *which)
{
	reply_error(r, 404, "no_snapshot", "Take one: POST /api/v1/jobs with kind \"snapshot\".",
	            "there is no %s snapshot of this process yet", which);
	return false;
}

static bool hold_snapshot(struct server *s, int64_t id, struct held **ret, struct reply *r)
{
	struct seep_error *err = profiles_snapshot(s->profiles, id, ret);

	if (err)
		reply_fail(r, err);
	return !err;
}

static bool hold_which(struct server *s, int64_t process, enum store_which which, const char *word,
                       struct held **ret, struct reply *r)
{
	int64_t id = 0;
	struct seep_error *err = store_snapshot_find(s->store, process, which, 0, &id);

	if (err) {
		reply_fail(r, err);
		return false;
	}
	return id ? hold_snapshot(s, id, ret, r) : no_snapshot(r, word);
}

/* As it is now; of one that does not run, or is not tracked any more, its last. */
static bool hold_now(struct server *s, const struct who *w, bool blocks, struct held **ret,
                     struct reply *r)
{
	struct seep_error *err = NULL;

	if (w->running) {
		err = profiles_now(s->profiles, w->pid, w->id, blocks, ret);
		if (!err)
			return true;
		if (err == &seep_error_nomem || err->code != ESRCH || !w->row.snapshots) {
			reply_fail(r, err);
			return false;
		}
		seep_error_free(err);
	}
	return hold_which(s, w->id, STORE_LATEST, "last", ret, r);
}

/* "57", "now:12", "latest:pid:4711"... */
static bool hold(struct server *s, const char *text, const char *parameter, struct held **ret,
                 struct reply *r)
{
	static const struct {
		const char *prefix, *word;
		int which; /* -1: now */
	} kinds[] = {
		{ "now:", "last", -1 },
		{ "latest:", "last", STORE_LATEST },
		{ "baseline:", "baseline", STORE_BASELINE },
		{ "first:", "first", STORE_FIRST },
	};
	_cleanup_who_ struct who w = { 0 };
	uint64_t id;

	if (parse_u64(text, &id) == 0 && id <= INT64_MAX)
		return hold_snapshot(s, (int64_t)id, ret, r);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, n) != 0)
			continue;
		if (!api_who(s, text + n, false, &w, r))
			return false;
		return kinds[i].which < 0 ? hold_now(s, &w, false, ret, r)
		                          : hold_which(s, w.id, (enum store_which)kinds[i].which,
		                                       kinds[i].word, ret, r);
	}
	reply_bad_param(r, parameter,
	                "a snapshot's number, now:PROCESS, latest:PROCESS, baseline:PROCESS or "
	                "first:PROCESS");
	return false;
}

/* ---- profiles made for a question ------------------------------------------------------------------------------- */

static bool need_own(struct look *l, struct reply *r)
{
	struct seep_error *err = l->own ? NULL : profiles_own(l->server->profiles, l->view, &l->own);

	if (err)
		reply_fail(r, err);
	return !err;
}

static void clear_site(struct prof_site *site)
{
	site->alloc = site->freed = site->inuse = site->peak = (struct prof_value){ 0 };
	site->samples = site->inuse_samples = 0;
	site->oldest = UINT64_MAX;
}

/* Leaves what one thread holds. */
static bool only_thread(struct look *l, const char *thread, struct reply *r)
{
	struct profile *p;
	uint64_t tid = 0;
	bool number = parse_u64(thread, &tid) == 0;

	if (!need_own(l, r))
		return false;
	p = l->own;
	for (size_t i = 0; i < p->nsites; i++)
		clear_site(&p->sites[i]);
	for (size_t i = 0; i < p->ncells; i++) {
		const struct prof_thread *t = &p->threads[p->cells[i].thread];
		struct prof_site *site = &p->sites[p->cells[i].site];

		if (number ? t->tid == (int32_t)tid : t->name && !strcmp(t->name, thread))
			prof_value_add(&site->inuse, &p->cells[i].inuse);
		else
			p->cells[i].inuse = (struct prof_value){ 0 };
		site->alloc = site->inuse;
	}
	return true;
}

/* Leaves the blocks that were born in [from, ...) and live. */
static void only_born(struct profile *p, int64_t from_ms)
{
	int64_t start_ms = (int64_t)(p->start_real_ns / 1000000);
	uint64_t from = from_ms > start_ms ? (uint64_t)(from_ms - start_ms) * 1000000 : 0;

	for (size_t i = 0; i < p->nsites; i++)
		clear_site(&p->sites[i]);
	for (size_t i = 0; i < p->ncells; i++)
		p->cells[i].inuse = (struct prof_value){ 0 };
	for (size_t i = 0; i < p->nblocks; i++) {
		const struct prof_block *b = &p->blocks[i];
		struct prof_site *site = &p->sites[b->site];

		if (b->born < from)
			continue;
		site->inuse.blocks = prof_add(site->inuse.blocks, (uint64_t)(b->weight + 0.5));
		site->inuse.bytes =
			prof_add(site->inuse.bytes, (uint64_t)(b->weight * (double)b->size + 0.5));
		site->inuse_samples++;
		site->alloc = site->inuse;
		site->samples = site->inuse_samples;
		if (b->born < site->oldest)
			site->oldest = b->born;
	}
}

/* The joint profile of a difference, with what has grown in it and nothing else. */
static void only_growth(struct diff *d)
{
	struct prof_value *before = calloc(d->joint->nsites + 1, sizeof(*before));

	if (!before)
		return;
	diff_load(d, 0);
	for (size_t i = 0; i < d->joint->nsites; i++)
		before[i] = d->joint->sites[i].inuse;
	diff_load(d, 1);
	for (size_t i = 0; i < d->joint->nsites; i++) {
		struct prof_value *v = &d->joint->sites[i].inuse;

		v->bytes = v->bytes > before[i].bytes ? v->bytes - before[i].bytes : 0;
		v->blocks = v->blocks > before[i].blocks ? v->blocks - before[i].blocks : 0;
		v->var_bytes += before[i].var_bytes;
		v->var_blocks += before[i].var_blocks;
		d->joint->sites[i].alloc = *v;
	}
	for (size_t i = 0; i < d->joint->ncells; i++)
		d->joint->cells[i].inuse = (struct prof_value){ 0 };
	free(before);
}

/* `changed`: the joint profile will be. */
static bool make_diff(struct look *l, bool changed, struct reply *r)
{
	struct seep_error *err;

	if (l->own || changed || !l->view->snapshot || !l->base->snapshot) {
		l->sides[0] = l->base->profile;
		l->sides[1] = l->own ? l->own : l->view->profile;
		err = diff_make(l->sides, 2, &l->diff);
	} else {
		err = joints_take(l->server->joints, l->base, l->view, &l->joint);
		if (!err)
			l->diff = l->joint->diff;
	}
	if (err)
		reply_fail(r, err);
	return !err;
}

/* ---- ways to look -------------------------------------------------------------------------------------------------- */

static bool look_at_leaks(struct look *l, const struct request *q, struct reply *r)
{
	const char *view = request_param(q, "view"), *classes = request_param(q, "class");
	_cleanup_store_document_ struct store_document d = { 0 };
	struct json_object *document;
	struct seep_error *err;
	bool found = false;
	uint64_t id = 0;

	if (view && !strncmp(view, "check:", 6) && parse_u64(view + 6, &id) == 0) {
		err = store_document_get(l->server->reader, (int64_t)id, &d, &found);
	} else {
		const char *process = request_param(q, "process");
		const char *colon = view ? strchr(view, ':') : NULL;
		_cleanup_who_ struct who w = { 0 };

		if (!process && colon) {
			process = colon + 1;
		} else if (!process && view) {
			if (!hold(l->server, view, "view", &l->view, r))
				return false;
			w.id = l->view->process;
		}
		if (!w.id && !process) {
			reply_bad_param(
				r, "view",
				"which process? check:ID, latest:PROCESS, or process=PROCESS");
			return false;
		}
		if (!w.id && !api_who(l->server, process, false, &w, r))
			return false;
		err = store_document_latest(l->server->reader, w.id, "check", &d, &found);
	}
	if (!err && (!found || strcmp(d.kind, "check") != 0)) {
		reply_error(r, 404, "no_snapshot", "Run one: POST /api/v1/jobs with kind \"check\".",
		            "there is no leak check of this process yet");
		return false;
	}
	if (!err) {
		document = json_tokener_parse(d.json);
		err = look_leaked(document, classes ? classes : LOST, &l->own);
		json_object_put(document);
	}
	if (err) {
		reply_fail(r, err);
		return false;
	}
	l->process = d.process;
	l->check = d.id;
	l->check_ms = d.time_ms;
	return true;
}

/* What was there at the end of a window: the snapshot nearest to it, or if that is nearer still, this moment. */
static bool hold_end(struct look *l, const struct who *w, int64_t to, struct reply *r)
{
	_cleanup_store_snapshot_ struct store_snapshot row = { 0 };
	int64_t id = 0, now = server_now_ms();
	bool found = false, live;
	struct subject subject;
	struct seep_error *err =
		store_snapshot_find(l->server->store, w->id, STORE_NEAREST, to, &id);

	if (!err && id)
		err = store_snapshot_get(l->server->store, id, &row, &found);
	if (err) {
		reply_fail(r, err);
		return false;
	}
	live = w->running && recorder_find(l->server->recorder, w->id, &subject) &&
	       subject.tracked && (!found || llabs(now - to) < llabs(row.time_ms - to));
	if (live)
		return hold_now(l->server, w, true, &l->view, r);
	return id ? hold_snapshot(l->server, id, &l->view, r) : no_snapshot(r, "fitting");
}

static bool look_at_window(struct look *l, const struct request *q, struct reply *r)
{
	_cleanup_who_ struct who w = { 0 };
	const char *process = request_param(q, "process");
	int64_t from = STORE_NONE, to = server_now_ms(), id = 0;
	struct seep_error *err;

	if (!process) {
		reply_bad_param(r, "process", "a window of time is one of a process");
		return false;
	}
	if (!request_int(q, "from", 0, INT64_MAX, &from, r) ||
	    !request_int(q, "to", 0, INT64_MAX, &to, r) ||
	    !api_who(l->server, process, false, &w, r))
		return false;
	if (from == STORE_NONE || from >= to) {
		reply_bad_param(r, "from", "a moment before `to`");
		return false;
	}
	l->window = (struct look_window){ .given = true, .from_ms = from, .asked_to_ms = to };
	if (!hold_end(l, &w, to, r))
		return false;
	l->window.to_ms = l->view->time_ms;
	if (l->view->profile->nblocks ||
	    !profile_totals_of(l->view->profile, PROF_MEMORY).inuse.blocks) {
		l->window.exact = true;
		if (!need_own(l, r))
			return false;
		only_born(l->own, from);
		return true;
	}
	err = store_snapshot_find(l->server->store, w.id, STORE_NEAREST, from, &id);
	if (err) {
		reply_fail(r, err);
		return false;
	}
	if (!id)
		return no_snapshot(r, "fitting");
	if (!hold_snapshot(l->server, id, &l->base, r) || !make_diff(l, true, r))
		return false;
	l->window.from_ms = l->base->time_ms;
	only_growth(l->diff);
	return true;
}

static bool look_at_moments(struct look *l, const struct request *q, const char *fallback,
                            const struct value_word *value, struct reply *r)
{
	const char *view = request_param(q, "view"), *base = request_param(q, "base");
	const char *thread = request_param(q, "thread");
	bool growth = value->kind == VALUE_GROWTH;

	if (!view)
		view = fallback;
	if (!view) {
		reply_bad_param(r, "view",
		                "which snapshot?  A number, now:PROCESS, latest:PROCESS, ...");
		return false;
	}
	if (!hold(l->server, view, "view", &l->view, r) ||
	    (base && !hold(l->server, base, "base", &l->base, r)))
		return false;
	if (growth && !base &&
	    !hold_which(l->server, l->view->process, STORE_BASELINE, "baseline", &l->base, r))
		return false;
	if (thread && !only_thread(l, thread, r))
		return false;
	if (!l->base)
		return true;
	if (!make_diff(l, growth, r))
		return false;
	if (growth)
		only_growth(l->diff);
	l->shows_diff = !growth;
	return true;
}

/* ---- filters ---------------------------------------------------------------------------------------------------------- */

static bool parse_kinds(const char *text, unsigned int *ret)
{
	static const char *const names[PROF_NKINDS] = {
		[PROF_HEAP] = "heap", [PROF_MMAP] = "mmap", [PROF_STACK] = "stack"
	};
	unsigned int kinds = 0;

	while (*text) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < PROF_NKINDS &&
		       (strlen(names[i]) != len || strncmp(text, names[i], len) != 0))
			i++;
		if (i == PROF_NKINDS)
			return false;
		kinds |= PROF_KIND_BIT(i);
		text += len;
		text += *text == ',';
	}
	*ret = kinds;
	return kinds != 0;
}

/* A module by its path or file name, as a regex that matches nothing else of that path. */
static char *module_regex(const char *name)
{
	struct buf b = { 0 };

	buf_puts(&b, strchr(name, '/') ? "^" : "(^|/)");
	for (; *name; name++) {
		if (strchr(".[]{}()\\*+?|^$", *name))
			buf_putc(&b, '\\');
		buf_putc(&b, *name);
	}
	buf_putc(&b, '$');
	return buf_steal(&b);
}

static bool make_view(struct look *l, const struct request *q, struct reply *r)
{
	const char *focus[REQUEST_FILTERS + 1], *ignore[REQUEST_FILTERS], *hide[REQUEST_FILTERS];
	const char *kinds = request_param(q, "kind"), *module = request_param(q, "module");
	struct view_options o = { .focus = focus, .ignore = ignore, .hide = hide };
	bool fold = true;
	struct seep_error *err;

	o.nfocus = request_param_list(q, "focus", focus, REQUEST_FILTERS);
	o.nignore = request_param_list(q, "ignore", ignore, REQUEST_FILTERS);
	o.nhide = request_param_list(q, "hide", hide, REQUEST_FILTERS);
	if (kinds && !parse_kinds(kinds, &o.kinds)) {
		reply_bad_param(r, "kind", "heap, mmap, stack, several with commas");
		return false;
	}
	if (!request_bool(q, "fold", &fold, r))
		return false;
	o.no_fold = !fold;
	if (module) {
		l->strings = module_regex(module);
		if (!l->strings) {
			reply_fail(r, &seep_error_nomem);
			return false;
		}
		focus[o.nfocus++] = l->strings;
	}
	err = view_new(look_profile(l), &o, &l->v);
	if (err && (o.nfocus || o.nignore || o.nhide) && err != &seep_error_nomem) {
		reply_error(r, 400, "bad_regex", err->hint, "%s", err->message);
		seep_error_free(err);
		return false;
	}
	if (err)
		reply_fail(r, err);
	return !err;
}

const struct profile *look_profile(const struct look *l)
{
	return l->diff ? l->diff->joint : l->own ? l->own : l->view->profile;
}

bool look_make(struct server *s, const struct request *q, const char *fallback, struct look *ret,
               struct reply *r)
{
	const char *word = request_param(q, "value"), *thread = request_param(q, "thread");
	const struct value_word *value = find_value(word ? word : "in_use");
	struct look *l = ret;
	bool made;

	*l = (struct look){ .server = s }; /* the diff borrows l->sides: it must not move */
	if (!value) {
		reply_bad_param(r, "value",
		                "in_use, allocated, freed, peak, blocks, ..., growth or leaked");
		return false;
	}
	if (thread && value->measure.value != MEASURE_INUSE) {
		reply_bad_param(r, "thread", "of threads only what is in use is known");
		return false;
	}
	l->value = value->word;
	l->measure = value->measure;
	if (!request_bool(q, "normalize", &l->normalize, r) ||
	    !request_bool(q, "noise", &l->noise, r))
		return false;
	if (value->kind == VALUE_LEAKED)
		made = look_at_leaks(l, q, r);
	else if (request_param(q, "from") && !request_param(q, "view"))
		made = look_at_window(l, q, r);
	else
		made = look_at_moments(l, q, fallback, value, r);
	if (!made || !make_view(l, q, r)) {
		look_release(l);
		return false;
	}
	if (!l->process)
		l->process = l->view->process;
	return true;
}

/* ---- about ----------------------------------------------------------------------------------------------------------------- */

bool look_is_fixed(const struct look *l)
{
	return (!l->view || l->view->snapshot) && (!l->base || l->base->snapshot);
}

static void put_side(struct jsonw *j, const char *key, const struct look *l, const struct held *h)
{
	if (!h && !(l->check && !strcmp(key, "view"))) {
		jw_null(j, key);
		return;
	}
	jw_object(j, key);
	jw_int(j, "snapshot", h && h->snapshot ? h->snapshot : STORE_NONE);
	if (l->check && !strcmp(key, "view"))
		jw_int(j, "check", l->check);
	jw_int(j, "time_ms", h ? h->time_ms : l->check_ms);
	jw_string(j, "label", h ? h->label : NULL);
	jw_string(j, "reason", h ? h->reason : NULL);
	jw_object_end(j);
}

static void put_totals(struct jsonw *j, const struct look *l, const struct node_pairs *pairs)
{
	const struct profile *p = look_profile(l);
	uint64_t total = group_measure(&pairs->sum.last, l->measure);
	uint64_t samples = group_samples(&pairs->sum.last, l->measure.value);

	jw_u64(j, "total", total);
	if (l->shows_diff) {
		double base = (double)group_measure(&pairs->sum.first, l->measure) * pairs->scale;
		struct diff_change c = diff_change(l->diff, &pairs->sum.first, &pairs->sum.last,
		                                   l->measure, pairs->scale);

		jw_u64(j, "base_total", (uint64_t)(base + 0.5));
		jw_int(j, "low", p->sampled ? c.low : STORE_NONE);
		jw_int(j, "high", p->sampled ? c.high : STORE_NONE);
	} else {
		const struct prof_value *v = &pairs->sum.last.value[l->measure.value];
		struct prof_interval i = l->measure.blocks
		                                 ? prof_interval_blocks(v, samples, p->period)
		                                 : prof_interval_bytes(v, samples, p->period);

		jw_null(j, "base_total");
		jw_int(j, "low", p->sampled ? (int64_t)i.low : STORE_NONE);
		jw_int(j, "high", p->sampled ? (int64_t)i.high : STORE_NONE);
	}
}

static const char *title_of(const struct look *l)
{
	return l->window.given ? "allocated in the window and not freed"
	                       : find_value(l->value)->title;
}

/* Those in view that hold something; what is not about memory in use shows the others too. */
static size_t shown_sites(const struct look *l)
{
	const struct profile *p = look_profile(l), *last = p;
	const uint32_t *site_of = NULL;
	_cleanup_free_ uint8_t *holds = calloc(p->nsites + 1, 1);
	size_t n = 0;

	if (l->shows_diff) {
		last = l->diff->sides[l->diff->nsides - 1];
		site_of = l->diff->site_of[l->diff->nsides - 1];
	}
	for (size_t i = 0; holds && i < last->nsites; i++)
		holds[site_of ? site_of[i] : i] |=
			measure_of(&last->sites[i].inuse, l->measure.blocks) != 0;
	for (size_t i = 0; holds && i < p->nsites; i++)
		n += l->v->site_node[i] != VIEW_DROPPED &&
		     (holds[i] || l->measure.value != MEASURE_INUSE);
	return n;
}

void look_put_about(const struct look *l, struct jsonw *j)
{
	const struct profile *p = look_profile(l);
	const struct node_pairs pairs =
		node_pairs_total(l->shows_diff ? l->diff : NULL, l->v, l->measure, l->normalize);

	jw_object(j, "about");
	jw_int(j, "process", l->process ? l->process : STORE_NONE);
	jw_string(j, "command", p->command);
	jw_string(j, "title", title_of(l));
	put_side(j, "view", l, l->check ? NULL : l->view);
	put_side(j, "base", l, l->base);
	if (l->window.given) {
		jw_object(j, "window");
		jw_int(j, "from_ms", l->window.from_ms);
		jw_int(j, "to_ms", l->window.to_ms);
		jw_bool(j, "exact", l->window.exact);
		jw_string(j, "how", l->window.exact ? "blocks" : "growth");
		jw_int(j, "asked_to_ms", l->window.asked_to_ms);
		jw_object_end(j);
	} else {
		jw_null(j, "window");
	}
	jw_string(j, "value", l->value);
	jw_string(j, "unit", l->measure.blocks ? "blocks" : "bytes");
	jw_bool(j, "diff", l->shows_diff);
	jw_bool(j, "sampled", p->sampled);
	jw_u64(j, "period", p->period);
	jw_bool(j, "normalize", l->normalize);
	put_totals(j, l, &pairs);
	jw_int(j, "elapsed_ns",
	       l->diff && l->diff->elapsed_ns ? (int64_t)l->diff->elapsed_ns : STORE_NONE);
	jw_u64(j, "sites", shown_sites(l));
	jw_u64(j, "left_out", l->v->dropped);
	jw_array(j, "warnings");
	if (p->bypassed)
		jw_string(j, NULL,
		          "The program has an allocator of its own; what that did is not in here.");
	if (l->diff && l->diff->rebuilt)
		jw_string(j, NULL,
		          "The program was built anew between the two; lines are left out.");
	jw_array_end(j);
	jw_object_end(j);
}
