/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's report.
 *
 * One screen has what most people want: what is wrong and what to do (the first verdicts in full, the others
 * in a line), then the split as a table whose shares sum up to all that is resident.  Behind it stand the details:
 * who pins, arenas, parts, mappings.  It ends with what was not looked at.
 */
#include "output/doctor_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor.h"
#include "analysis/names.h"
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/emit.h"
#include "output/units.h"
#include "profile/profile.h"

#define WIDE_COMMAND 32u
#define FULL 3u  /* verdicts in full */
#define SHORT 5u /* arenas */
#define STACK 4u /* frames of a site in JSON */

struct printer {
	struct emit *e;
	const struct doctor *d, *before;
	const struct doctor_report_options *o;
	struct view *view; /* NULL without a ledger */
};

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static struct emit_value known(const struct doctor *d, enum doctor_fact f)
{
	if (!doctor_knows(d, f))
		return emit_none();
	return doctor_facts[f].bytes ? emit_bytes(d->facts[f]) : emit_count(d->facts[f]);
}

/* "+12.3 MiB"; nothing where nothing changed. */
static void signed_bytes(struct buf *b, int64_t v)
{
	if (!v)
		return;
	buf_putc(b, v < 0 ? '-' : '+');
	unit_bytes(b, v < 0 ? (uint64_t)-v : (uint64_t)v);
}

/* ---- head ------------------------------------------------------------------------------ */

static const char *how_words(const struct doctor *d)
{
	switch (d->how) {
	case DOCTOR_STATUS:
		return "only what the kernel tells everybody";
	case DOCTOR_MAPS:
		return "only the kernel's account of its mappings";
	case DOCTOR_STOPPED:
		return "running, stopped while it was looked at";
	case DOCTOR_CLONE:
		return "running, looked at through a copy of it";
	case DOCTOR_CORE:
		return "from a core file";
	case DOCTOR_NHOWS:
		break;
	}
	return "";
}

static void field(struct printer *p, const char *label, struct buf *b)
{
	if (emit_is_text(p->e) && b->len)
		emit_text(p->e, EMIT_PLAIN, 2, "%-13s %s", label, b->data);
	buf_reset(b);
}

static void memory_lines(struct printer *p)
{
	static const struct {
		enum doctor_fact fact;
		const char *words;
		bool always;
	} beside[] = {
		{ FACT_PSS, "PSS", true },
		{ FACT_USS, "USS", true },
		{ FACT_SWAP, "swapped", false },
		{ FACT_PAGE_TABLES, "page tables", true },
		{ FACT_HUGETLB, "hugetlb", false },
		{ FACT_ANON_HUGE, "in huge pages", false },
		{ FACT_LAZY_FREE, "LazyFree", false },
	};
	const struct doctor *d = p->d;
	_cleanup_buf_ struct buf b = { 0 };

	unit_bytes(&b, doctor_fact(d, FACT_RSS));
	if (d->window_ns) {
		buf_puts(&b, " (");
		signed_bytes(&b, d->growth);
		buf_puts(&b, d->growth ? " in " : "unchanged in ");
		unit_duration(&b, d->window_ns);
		buf_puts(&b, ")");
	}
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
		if (!doctor_knows(d, beside[i].fact) ||
		    (!beside[i].always && !d->facts[beside[i].fact]))
			continue;
		buf_printf(&b, "; %s ", beside[i].words);
		unit_bytes(&b, d->facts[beside[i].fact]);
	}
	field(p, "resident", &b);
	if (doctor_knows(d, FACT_CGROUP_LIMIT)) {
		buf_puts(&b, "cgroup uses ");
		unit_bytes(&b, doctor_fact(d, FACT_CGROUP_USED));
		buf_puts(&b, " of ");
		unit_bytes(&b, d->facts[FACT_CGROUP_LIMIT]);
		buf_puts(&b, " (");
		unit_ratio(&b, share(doctor_fact(d, FACT_CGROUP_USED), d->facts[FACT_CGROUP_LIMIT]));
		buf_puts(&b, ")");
	} else if (d->until_limit_ns != UINT64_MAX) {
		buf_puts(&b, "no cgroup limit; the machine has ");
		unit_bytes(&b, doctor_fact(d, FACT_AVAILABLE));
		buf_puts(&b, " left");
	}
	if (d->until_limit_ns != UINT64_MAX) {
		buf_puts(&b, ", gone at this rate in ");
		unit_duration(&b, d->until_limit_ns);
	}
	field(p, "limit", &b);
}

static void head(struct printer *p)
{
	const struct doctor_allocator *other;
	const struct doctor *d = p->d;
	struct emit *e = p->e;
	_cleanup_buf_ struct buf b = { 0 };

	emit_field(e, "version", NULL, emit_number(DOCTOR_JSON_VERSION));
	emit_field(e, "kind", NULL, emit_string("doctor"));
	emit_heading(e, "%s", d->command[0] ? d->command : d->exe[0] ? d->exe : "(unnamed)");
	emit_object(e, "process");
	emit_field(e, "pid", NULL, emit_number(d->pid));
	emit_field(e, "exe", NULL, emit_string(d->exe));
	emit_field(e, "command", NULL, emit_string(d->command));
	emit_object_end(e);
	emit_field(e, "how", NULL, emit_string(doctor_hows[d->how]));
	emit_field(e, "time_ns", NULL, d->real_ns ? emit_time(d->real_ns) : emit_none());
	emit_field(e, "allocator", NULL, emit_string(d->allocator));
	emit_field(e, "layout", NULL, emit_string(d->layout));
	emit_field(e, "runtime", NULL, emit_string(d->runtime ? d->runtime : ""));
	emit_field(e, "cgroup", NULL, emit_string(d->cgroup));
	emit_field(e, "ledger", NULL, emit_bool(d->ledger));
	emit_field(e, "sampled", NULL, emit_bool(d->sampled));
	emit_field(e, "torn", NULL, emit_bool(d->torn));
	emit_field(e, "took_ns", NULL, emit_duration(d->ns_total));
	if (p->before) {
		emit_object(e, "window");
		emit_field(e, "ns", NULL, emit_duration(d->window_ns));
		emit_field(e, "growth", NULL, emit_number(d->growth));
		emit_field(e, "until_limit_ns", NULL,
		           d->until_limit_ns == UINT64_MAX ? emit_none()
		                                           : emit_duration(d->until_limit_ns));
		emit_object_end(e);
	}
	buf_printf(&b, "pid %d, %s", (int)d->pid, how_words(d));
	if (doctor_fact(d, FACT_STOPPED)) {
		buf_puts(&b, "; stood still for ");
		unit_duration(&b, d->facts[FACT_STOPPED]);
	}
	field(p, "process", &b);
	other = doctor_largest_allocator(d);
	if (other && other->live / 2 > d->facts[FACT_IN_USE]) { /* another than the C library's */
		buf_puts(&b, other->name);
		buf_puts(&b, ", as it says itself; in use ");
		unit_bytes(&b, other->live);
		if (!d->ledger)
			buf_puts(&b, "; no ledger, so no stacks");
		field(p, "allocator", &b);
	} else if (d->layout[0] || d->allocator[0]) {
		buf_puts(&b, d->layout[0] ? d->layout : d->allocator);
		if (doctor_fact(d, FACT_BLOCKS)) {
			buf_puts(&b, "; in use ");
			unit_bytes(&b, doctor_fact(d, FACT_IN_USE));
			buf_puts(&b, " in ");
			unit_count(&b, d->facts[FACT_BLOCKS]);
			buf_puts(&b, " blocks");
		}
		if (!d->ledger)
			buf_puts(&b, "; no ledger, so no stacks");
		field(p, "allocator", &b);
	}
	memory_lines(p);
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static void verdict_title(struct printer *p, size_t i)
{
	const struct doctor_verdict *v = &p->d->verdicts[i];
	_cleanup_buf_ struct buf b = { 0 };
	size_t n;

	if (!emit_is_text(p->e))
		return;
	buf_putc(&b, '(');
	if (v->has_growth && v->growth > 0 && p->d->growth > 0) {
		unit_ratio(&b, v->growth_share);
		buf_puts(&b, " of the growth, ");
	}
	unit_ratio(&b, v->share);
	buf_puts(&b, " of RSS");
	if (v->problem)
		buf_printf(&b, ", confidence %s", doctor_confidences[v->confidence]);
	buf_puts(&b, ")");
	n = text_columns(v->title) + text_columns(b.data ? b.data : "") + 8;
	if (n <= emit_width(p->e)) {
		emit_text(p->e, v->problem ? EMIT_MARK : EMIT_PLAIN, 2, "%zu. %s  %s", i + 1,
		          v->title, b.data ? b.data : "");
		return;
	}
	emit_text(p->e, v->problem ? EMIT_MARK : EMIT_PLAIN, 2, "%zu. %s", i + 1, v->title);
	emit_text(p->e, EMIT_PLAIN, 5, "%s", b.data ? b.data : "");
}

static void verdict_json(struct emit *e, const struct doctor_verdict *v)
{
	static const struct emit_column remedy[] = { { "text", NULL, 0, 0 },
		                                     { "command", NULL, 0, 0 } };

	emit_object(e, NULL);
	emit_field(e, "cause", NULL, emit_string(v->cause));
	emit_field(e, "title", NULL, emit_string(v->title));
	emit_field(e, "problem", NULL, emit_bool(v->problem));
	emit_field(e, "bytes", NULL, emit_bytes(v->bytes));
	emit_field(e, "share", NULL, emit_ratio(v->share));
	if (v->has_growth) {
		emit_field(e, "growth", NULL, emit_number(v->growth));
		emit_field(e, "growth_share", NULL, emit_ratio(v->growth_share));
	}
	emit_field(e, "confidence", NULL, emit_string(doctor_confidences[v->confidence]));
	emit_list(e, "evidence");
	for (size_t k = 0; k < v->nevidence; k++)
		emit_item(e, emit_string(v->evidence[k]));
	emit_list_end(e);
	emit_table(e, "remedies", 0, remedy, ARRAY_SIZE(remedy));
	for (size_t k = 0; k < v->nremedies; k++)
		emit_row(e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(v->remedies[k].text),
		                                emit_string(v->remedies[k].command) });
	emit_table_end(e);
	emit_object_end(e);
}

static void verdict_text(struct printer *p, const struct doctor_verdict *v)
{
	size_t widest = 0;

	for (size_t k = 0; k < v->nevidence; k++)
		emit_text(p->e, EMIT_DIM, 5, "%s", v->evidence[k]);
	for (size_t k = 0; k < v->nremedies; k++) {
		size_t n = v->remedies[k].command ? text_columns(v->remedies[k].command) : 0;

		if (n > widest && n <= WIDE_COMMAND)
			widest = n;
	}
	for (size_t k = 0; k < v->nremedies; k++) {
		const struct doctor_remedy *r = &v->remedies[k];

		if (!r->command) {
			emit_text(p->e, EMIT_PLAIN, 5, "▶ %s", r->text);
		} else if (9 +
		                   (text_columns(r->command) > widest ? text_columns(r->command)
		                                                      : widest) +
		                   text_columns(r->text) <=
		           emit_width(p->e)) {
			emit_text(p->e, EMIT_PLAIN, 5, "▶ %-*s  %s", (int)widest, r->command,
			          r->text);
		} else {
			emit_text(p->e, EMIT_PLAIN, 5, "▶ %s", r->command);
			emit_text(p->e, EMIT_PLAIN, 9, "%s", r->text);
		}
	}
}

static void verdicts(struct printer *p)
{
	const struct doctor *d = p->d;
	size_t full = 0;

	emit_heading(p->e, "Verdict");
	emit_array(p->e, "verdicts");
	for (size_t i = 0; i < d->nverdicts && !emit_is_text(p->e); i++)
		verdict_json(p->e, &d->verdicts[i]);
	emit_array_end(p->e);
	for (size_t i = 0; i < d->nverdicts && emit_is_text(p->e); i++) {
		bool in_full = p->o->all || !i || (d->verdicts[i].problem && full < FULL);

		if (i && in_full)
			emit_blank(p->e);
		verdict_title(p, i);
		if (in_full) {
			verdict_text(p, &d->verdicts[i]);
			full++;
		}
	}
	if (!d->nverdicts)
		emit_text(p->e, EMIT_PLAIN, 2,
		          "Nothing stands out: no rule of docs/DOCTOR.md applies to this process.");
}

/* ---- the split --------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b, void *arg)
{
	const struct doctor *d = arg;
	uint64_t x = d->classes[*(const int *)a], y = d->classes[*(const int *)b];

	if (x != y)
		return x < y ? 1 : -1;
	return *(const int *)a - *(const int *)b;
}

static void classes(struct printer *p)
{
	struct emit_column columns[] = {
		{ "class", NULL, 0, 0 },
		{ "bytes", "bytes", 0, 0 },
		{ "share", "share", 0, 0 },
		{ "growth", NULL, 0, 0 },
		{ NULL, "growth", EMIT_RIGHT, 0 },
		{ "label", "what", EMIT_SHRINK, 0 },
		{ NULL, "", 0, 20 },
		{ "source", NULL, 0, 0 },
	};
	const struct doctor *d = p->d;
	uint64_t rss = doctor_fact(d, FACT_RSS);
	int order[DOCTOR_NCLASSES];
	uint64_t small = 0;
	size_t nsmall = 0;

	if (!p->before)
		columns[4].title = NULL;
	for (int i = 0; i < DOCTOR_NCLASSES; i++)
		order[i] = i;
	if (emit_is_text(p->e))
		qsort_r(order, DOCTOR_NCLASSES, sizeof(*order), by_bytes, (void *)(uintptr_t)d);
	emit_heading(p->e, "Where the resident memory is");
	emit_table(p->e, "classes", 2, columns, ARRAY_SIZE(columns));
	for (int i = 0; i < DOCTOR_NCLASSES; i++) {
		int c = order[i];
		int64_t growth = p->before ? (int64_t)(d->classes[c] - p->before->classes[c]) : 0;
		_cleanup_buf_ struct buf b = { 0 };

		if (emit_is_text(p->e) && !d->classes[c] && !growth)
			continue;
		if (emit_is_text(p->e) && !p->o->all && d->classes[c] < rss / 1000 &&
		    growth < (int64_t)(rss / 1000) && -growth < (int64_t)(rss / 1000)) {
			small += d->classes[c];
			nsmall++;
			continue;
		}
		signed_bytes(&b, growth);
		emit_row(p->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(doctor_classes[c].key),
		                                emit_bytes(d->classes[c]),
		                                emit_ratio(share(d->classes[c], rss)),
		                                p->before ? emit_number(growth) : emit_none(),
		                                emit_string(b.data ? b.data : ""),
		                                emit_string(doctor_classes[c].label),
		                                emit_bar(share(d->classes[c], rss)),
		                                emit_string(doctor_classes[c].source) });
	}
	emit_table_end(p->e);
	if (nsmall) {
		_cleanup_buf_ struct buf b = { 0 };

		unit_bytes(&b, small);
		emit_text(p->e, EMIT_DIM, 2, "… %zu more %s: %s (--all)", nsmall,
		          nsmall == 1 ? "class" : "classes", b.data ? b.data : "");
	}
}

static void facts(struct printer *p)
{
	emit_object(p->e, "facts");
	for (int i = 0; i < DOCTOR_NFACTS; i++)
		emit_field(p->e, doctor_facts[i].key, NULL, known(p->d, (enum doctor_fact)i));
	emit_object_end(p->e);
}

/* ---- sites -------------------------------------------------------------------------------------- */

/* "render_page (cache.c:19)", or without symbols "?? 0x11d1c in memcached": where a person would look first. */
static void site_text(const struct printer *p, uint32_t site, struct buf *b)
{
	uint32_t node = p->view && site < p->d->profile->nsites ? p->view->site_node[site] : 0;
	const struct view_location *l;

	if (!node || node == VIEW_DROPPED) {
		buf_puts(b, "unknown stack");
		return;
	}
	if (view_culprit(p->view, node))
		node = view_culprit(p->view, node);
	l = &p->view->locations[p->view->nodes[node].location];
	if (l->function)
		text_clean(b, l->function);
	else
		buf_printf(b, "?? 0x%" PRIx64, l->address);
	if (!l->file && l->module != PROF_NO_MODULE) {
		buf_puts(b, " in ");
		text_clean(b, path_base(p->d->profile->modules[l->module].path));
	}
	if (l->file) {
		buf_puts(b, " (");
		text_clean(b, path_base(l->file));
		buf_printf(b, ":%u)", l->line);
	}
}

static void site_json(const struct printer *p, uint32_t site)
{
	uint32_t node = p->view && site && site < p->d->profile->nsites ? p->view->site_node[site]
	                                                                : 0;
	static const struct emit_column columns[] = {
		{ "function", NULL, 0, 0 },
		{ "file", NULL, 0, 0 },
		{ "line", NULL, 0, 0 },
	};

	if (emit_is_text(p->e))
		return;
	if (node && node != VIEW_DROPPED && view_culprit(p->view, node))
		node = view_culprit(p->view, node);
	emit_table(p->e, "stack", 0, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; node && node != VIEW_DROPPED && i < STACK; i++) {
		const struct view_location *l = &p->view->locations[p->view->nodes[node].location];

		emit_row(p->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(l->function), emit_string(l->file),
		                                l->line ? emit_number(l->line) : emit_none() });
		node = p->view->nodes[node].parent;
	}
	emit_table_end(p->e);
}

static void pins(struct printer *p)
{
	const struct doctor *d = p->d;
	size_t shown = p->o->all ? d->npins : d->npins < 5 ? d->npins : 5;

	if (emit_is_text(p->e) && d->npins) {
		emit_heading(p->e, "Who keeps free memory from being returned");
		emit_text(p->e, EMIT_DIM, 2,
		          "free bytes held on their own pages, and in the stretch below them");
	}
	emit_array(p->e, "pins");
	for (size_t i = 0; i < d->npins && (!emit_is_text(p->e) || i < shown); i++) {
		const struct doctor_pin *pin = &d->pins[i];
		_cleanup_buf_ struct buf b = { 0 };

		if (pin->site)
			site_text(p, pin->site, &b);
		else
			text_clean(&b, pin->what);
		emit_object(p->e, NULL);
		emit_line(p->e, EMIT_PLAIN, "  % + %  %",
		          (struct emit_part[]){ { "holds", emit_bytes(pin->holds), false },
		                                { "holds_back", emit_bytes(pin->holds_back), false },
		                                { "what", emit_string(b.data), false },
		                                { "blocks", emit_count(pin->blocks), true },
		                                { "bytes", emit_bytes(pin->bytes), true },
		                                { "address", emit_address(pin->address), true } },
		          6);
		site_json(p, pin->site);
		emit_object_end(p->e);
	}
	emit_array_end(p->e);
}

static void leaks(struct printer *p)
{
	const struct doctor *d = p->d;

	if (d->nleaks)
		emit_heading(p->e, "Largest leaks");
	emit_array(p->e, "leaks");
	for (size_t i = 0; i < d->nleaks && (!emit_is_text(p->e) || p->o->all || i < 3); i++) {
		const struct doctor_leak *l = &d->leaks[i];
		_cleanup_buf_ struct buf b = { 0 };

		if (l->site)
			site_text(p, l->site, &b);
		else
			text_clean(&b, l->what);
		emit_object(p->e, NULL);
		emit_line(p->e, EMIT_PLAIN,
		          l->blocks == 1 ? "  % in % block  %" : "  % in % blocks  %",
		          (struct emit_part[]){ { "bytes", emit_bytes(l->bytes), false },
		                                { "blocks", emit_count(l->blocks), false },
		                                { "what", emit_string(b.data), false },
		                                { "address", emit_address(l->address), true } },
		          4);
		site_json(p, l->site);
		emit_object_end(p->e);
	}
	emit_array_end(p->e);
}

/* ---- arenas, parts, mappings ------------------------------------------------------------------------ */

static const struct doctor_arena *arena_before(const struct printer *p, uint64_t address)
{
	for (size_t i = 0; p->before && i < p->before->narenas; i++)
		if (p->before->arenas[i].address == address)
			return &p->before->arenas[i];
	return NULL;
}

static void arenas(struct printer *p)
{
	struct emit_column columns[] = {
		{ NULL, "arena", EMIT_RIGHT, 0 }, { "address", NULL, 0, 0 },
		{ "main", NULL, 0, 0 },           { "threads", "threads", 0, 0 },
		{ "heaps", NULL, 0, 0 },          { "bytes", NULL, 0, 0 },
		{ "resident", "resident", 0, 0 }, { NULL, "growth", EMIT_RIGHT, 0 },
		{ "in_use", "in use", 0, 0 },     { "free_bins", "holes", 0, 0 },
		{ "free_top", "top", 0, 0 },      { "pinned", "pinned", 0, 0 },
		{ "cached", "cached", 0, 0 },     { "allocator", NULL, 0, 0 },
	};
	const struct doctor *d = p->d;
	bool text = emit_is_text(p->e);

	if (!p->before)
		columns[7].title = NULL;
	if (text && !doctor_fact(d, FACT_HEAP_RESIDENT))
		return; /* another allocator's program: libc's arena is empty */
	if (d->narenas)
		emit_heading(p->e, "Arenas");
	emit_table(p->e, "arenas", 2, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < d->narenas && (!text || p->o->all || i < SHORT); i++) {
		const struct doctor_arena *a = &d->arenas[i], *was = arena_before(p, a->address);
		_cleanup_buf_ struct buf b = { 0 };
		char number[24];

		snprintf(number, sizeof(number), "%zu", i);

		signed_bytes(&b, was ? (int64_t)(a->resident - was->resident) : 0);
		emit_row(p->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){
				 emit_string(a->main ? "main" : number), emit_address(a->address),
				 emit_bool(a->main), emit_count(a->attached), emit_count(a->heaps),
				 emit_bytes(a->bytes), emit_bytes(a->resident),
				 emit_string(b.data ? b.data : ""), emit_bytes(a->live),
				 emit_bytes(a->bins), emit_bytes(a->top), emit_bytes(a->pinned),
				 emit_bytes(a->cached), emit_bytes(a->overhead) });
	}
	emit_table_end(p->e);
	if (text && !p->o->all && d->narenas > SHORT)
		emit_text(p->e, EMIT_DIM, 2, "… %zu more (--all)", d->narenas - SHORT);
}

static const struct doctor_part *part_before(const struct printer *p, const struct doctor_part *part)
{
	for (size_t i = 0; p->before && i < p->before->nparts; i++)
		if (p->before->parts[i].by == part->by &&
		    !strcmp(p->before->parts[i].name, part->name))
			return &p->before->parts[i];
	return NULL;
}

static void parts(struct printer *p)
{
	static const char *const keys[DOCTOR_NBYS] = { "module", "thread", "stack" };
	static const char *const titles[DOCTOR_NBYS] = { "In use, by module that asked for it",
		                                         "In use, by thread that asked for it",
		                                         "Resident stacks, by thread" };
	struct emit_column columns[] = {
		{ "by", NULL, 0, 0 },           { "bytes", "", 0, 0 },
		{ "growth", NULL, 0, 0 },       { NULL, "", EMIT_RIGHT, 0 },
		{ "name", "", EMIT_SHRINK, 0 }, { "blocks", NULL, 0, 0 },
	};
	const struct doctor *d = p->d;
	bool text = emit_is_text(p->e);
	size_t shown = 0, n = d->nparts;

	/* Stacks are last; they are worth a line when they are a hundredth of all. */
	if (text && !p->o->all && d->classes[DOCTOR_STACKS] < doctor_fact(d, FACT_RSS) / 100)
		while (n && d->parts[n - 1].by == DOCTOR_BY_STACK)
			n--;
	if (!p->before)
		columns[3].title = NULL;
	if (!text)
		emit_table(p->e, "parts", 2, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++) {
		const struct doctor_part *a = &d->parts[i], *was = part_before(p, a);
		bool first = !i || d->parts[i - 1].by != a->by;
		int64_t growth = (int64_t)(a->bytes - (was ? was->bytes : 0));
		_cleanup_buf_ struct buf b = { 0 };

		if (text && first) {
			if (i)
				emit_table_end(p->e);
			emit_heading(p->e, "%s", titles[a->by]);
			emit_table(p->e, "parts", 2, columns, ARRAY_SIZE(columns));
			shown = 0;
		}
		if (text && !p->o->all && shown++ >= 5)
			continue;
		signed_bytes(&b, p->before ? growth : 0);
		emit_row(p->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(keys[a->by]), emit_bytes(a->bytes),
		                                p->before ? emit_number(growth) : emit_none(),
		                                emit_string(b.data ? b.data : ""),
		                                emit_string(a->name), emit_count(a->blocks) });
	}
	if (!text || n)
		emit_table_end(p->e);
}

static void mappings(struct printer *p)
{
	static const struct emit_column columns[] = {
		{ "resident", "resident", 0, 0 },
		{ "start", "address", 0, 0 },
		{ "end", NULL, 0, 0 },
		{ "class", "class", 0, 0 },
		{ "name", "name", EMIT_SHRINK_PATH, 0 },
	};
	const struct doctor *d = p->d;
	uint64_t least = doctor_fact(d, FACT_RSS) / 100;
	bool text = emit_is_text(p->e), any = false;

	for (size_t i = 0; i < d->nmappings; i++)
		any |= d->mappings[i].resident >= least;
	if (any || p->o->all)
		emit_heading(p->e, "Largest mappings besides the heap");
	if (text && !any && !p->o->all)
		return;
	emit_table(p->e, "mappings", 2, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < d->nmappings; i++) {
		const struct doctor_mapping *m = &d->mappings[i];

		if (text && !p->o->all && (i >= 5 || m->resident < least))
			break;
		emit_row(p->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_bytes(m->resident), emit_address(m->start),
		                                emit_address(m->end),
		                                emit_string(doctor_classes[m->class].key),
		                                emit_string(m->name) });
	}
	emit_table_end(p->e);
}

static struct emit_value size(uint64_t v)
{
	return v == DOCTOR_UNKNOWN_FACT ? emit_none() : emit_bytes(v);
}

static void allocators(struct printer *p)
{
	static const struct emit_column columns[] = {
		{ "name", "allocator", 0, 0 },    { "live", "in use", 0, 0 },
		{ "active", "active", 0, 0 },     { "resident", "resident", 0, 0 },
		{ "metadata", "metadata", 0, 0 }, { "mapped", NULL, 0, 0 },
		{ "retained", NULL, 0, 0 },       { "free", "free", 0, 0 },
		{ "caches", "caches", 0, 0 },     { "note", "", EMIT_SHRINK, 0 },
	};
	const struct doctor *d = p->d;

	if (d->nallocators)
		emit_heading(p->e, "Other allocators, as they say themselves");
	emit_table(p->e, "allocators", 2, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < d->nallocators; i++) {
		const struct doctor_allocator *a = &d->allocators[i];

		emit_row(p->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(a->name), size(a->live), size(a->active),
		                                size(a->resident), size(a->metadata),
		                                size(a->mapped), size(a->retained), size(a->free),
		                                size(a->caches), emit_string(a->note) });
	}
	emit_table_end(p->e);
}

static void notes(struct printer *p)
{
	const struct doctor *d = p->d;
	uint64_t rss = doctor_fact(d, FACT_RSS);
	_cleanup_buf_ struct buf b = { 0 };

	if (d->nnotes)
		emit_heading(p->e, "Not looked at");
	emit_list(p->e, "notes");
	for (size_t i = 0; i < d->nnotes; i++) {
		emit_item(p->e, emit_string(d->notes[i]));
		if (emit_is_text(p->e))
			emit_text(p->e, EMIT_PLAIN, 2, "%s", d->notes[i]);
	}
	emit_list_end(p->e);
	if (!emit_is_text(p->e))
		return;
	emit_blank(p->e);
	unit_ratio(&b, share(rss - d->classes[DOCTOR_UNCLASSIFIED], rss));
	buf_puts(&b, " of what is resident is classified. The look took ");
	unit_duration(&b, d->ns_total);
	buf_puts(&b, d->nnotes ? "." : ". Nothing was left out.");
	emit_text(p->e, EMIT_DIM, 0, "%s", b.data ? b.data : "");
}

struct seep_error *doctor_report_emit(struct emit *e, const struct doctor *d,
                                      const struct doctor *before,
                                      const struct doctor_report_options *o)
{
	_cleanup_view_ struct view *view = NULL;
	struct printer p = { .e = e, .d = d, .before = before, .o = o };
	struct seep_error *err = NULL;

	if (d->profile)
		err = view_new(d->profile, &(struct view_options){ .kinds = PROF_ALL_KINDS }, &view);
	if (err)
		return err;
	p.view = view;
	emit_object(e, NULL);
	head(&p);
	verdicts(&p);
	classes(&p);
	facts(&p);
	leaks(&p);
	pins(&p);
	arenas(&p);
	allocators(&p);
	parts(&p);
	mappings(&p);
	notes(&p);
	emit_object_end(e);
	return NULL;
}
