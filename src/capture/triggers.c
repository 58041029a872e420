/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to take a snapshot: see triggers.h.
 *
 * How soon to look again is the second half of the answer.  A program that has been quiet for an hour may
 * allocate a gigabyte within the next second, so the wait follows from the worst, not from the past: for
 * the cgroup's limit, which is the one that must not be missed, a quarter of the time in which memory
 * could be filled up to the limit at FASTEST bytes/s.  The other triggers, where being late only moves the snapshot, go
 * by the rate seen lately.  So an idle process far from its limit is looked at four times a
 * second, and one that runs into the limit every millisecond.
 */
#include "capture/triggers.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FASTEST 2.0 /* bytes/ns: what one thread can make the kernel hand out, roughly */
#define REST 9u     /* a snapshot that took t is followed by 9 t without one */
#define DEFERRABLE                                                                             \
	(TRIGGER_BIT(TRIGGER_EVERY) | TRIGGER_BIT(TRIGGER_ALLOC) | TRIGGER_BIT(TRIGGER_HIGH) | \
	 TRIGGER_BIT(TRIGGER_GROWTH) | TRIGGER_BIT(TRIGGER_GROWTH_RSS))

bool trigger_options_any(const struct trigger_options *o)
{
	return o->every_ns || o->alloc_bytes || o->high_bytes || o->high_share > 0 ||
	       o->cgroup[0] > 0 || o->growth || o->growth_rss || o->end || o->request;
}

/* ---- the last minute ------------------------------------------------------------------ */

static void note_low(struct triggers *t, const struct trigger_facts *f)
{
	uint64_t second = f->now_ns / 1000000000u;
	struct trigger_low *l = &t->low[second % TRIGGER_SECONDS];

	if (l->second != second + 1) /* 0 is an empty slot */
		*l = (struct trigger_low){ second + 1, f->inuse, f->rss };
	if (f->inuse < l->inuse)
		l->inuse = f->inuse;
	if (f->rss < l->rss)
		l->rss = f->rss;
}

/* The lowest value of the last minute, but not before `since` (ns). */
static uint64_t lowest(const struct triggers *t, const struct trigger_facts *f, uint64_t since,
                       bool rss)
{
	uint64_t second = f->now_ns / 1000000000u, v = rss ? f->rss : f->inuse;

	for (size_t i = 0; i < TRIGGER_SECONDS; i++) {
		const struct trigger_low *l = &t->low[i];

		if (!l->second || l->second + TRIGGER_SECONDS <= second + 1 ||
		    (l->second - 1) * 1000000000u < since)
			continue;
		if ((rss ? l->rss : l->inuse) < v)
			v = rss ? l->rss : l->inuse;
	}
	return v;
}

/* ---- beginning --------------------------------------------------------------------------- */

void triggers_begin(struct triggers *t, const struct trigger_options *o,
                    const struct trigger_facts *first)
{
	*t = (struct triggers){ .o = *o,
		                .begin_ns = first->now_ns,
		                .next_every_ns = first->now_ns + o->every_ns,
		                .high = first->inuse,
		                .requests = first->requests,
		                .last = *first };
	if (o->alloc_bytes)
		t->next_alloc = (first->alloc / o->alloc_bytes + 1) * o->alloc_bytes;
	for (size_t i = 0; i < TRIGGER_SHARES && o->cgroup[i] > 0; i++)
		t->shares_armed |= 1u << i;
	note_low(t, first);
}

/* ---- each trigger --------------------------------------------------------------------------- */

static uint64_t high_wanted(const struct triggers *t)
{
	uint64_t step = t->o.high_bytes;

	if (t->o.high_share > 0) {
		step = (uint64_t)(t->o.high_share * (double)t->high);
		if (step < TRIGGER_LEAST_STEP)
			step = TRIGGER_LEAST_STEP;
	}
	return t->high > UINT64_MAX - step ? UINT64_MAX : t->high + step;
}

/* The highest share newly reached, or 0; those reached are disarmed, those left far behind armed again. */
static double cgroup_share(struct triggers *t, const struct trigger_facts *f)
{
	double share = f->limit ? (double)f->used / (double)f->limit : 0, reached = 0;

	for (size_t i = 0; i < TRIGGER_SHARES && t->o.cgroup[i] > 0; i++) {
		if (share >= t->o.cgroup[i] && (t->shares_armed & 1u << i)) {
			t->shares_armed &= ~(1u << i);
			reached = t->o.cgroup[i];
		} else if (share < t->o.cgroup[i] - TRIGGER_REARM) {
			t->shares_armed |= 1u << i;
		}
	}
	return reached;
}

/* Which deferrable triggers are due; nothing changes. */
static uint32_t due(const struct triggers *t, const struct trigger_facts *f)
{
	const struct trigger_options *o = &t->o;
	uint32_t kinds = 0;

	if (o->every_ns && f->now_ns >= t->next_every_ns)
		kinds |= TRIGGER_BIT(TRIGGER_EVERY);
	if (o->alloc_bytes && f->alloc >= t->next_alloc)
		kinds |= TRIGGER_BIT(TRIGGER_ALLOC);
	if ((o->high_bytes || o->high_share > 0) && f->inuse >= high_wanted(t))
		kinds |= TRIGGER_BIT(TRIGGER_HIGH);
	if (o->growth && f->inuse - lowest(t, f, t->growth_since, false) >= o->growth)
		kinds |= TRIGGER_BIT(TRIGGER_GROWTH);
	if (o->growth_rss && f->rss &&
	    f->rss - lowest(t, f, t->growth_rss_since, true) >= o->growth_rss)
		kinds |= TRIGGER_BIT(TRIGGER_GROWTH_RSS);
	return kinds;
}

/* A size for people, without a dependency on the output layer: 1.5 GiB, 64 MiB. */
static void put_bytes(struct buf *b, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	buf_printf(b, "%.4g %s", v, units[u]);
}

static void put_seconds(struct buf *b, uint64_t ns)
{
	if (ns % 1000000000u)
		buf_printf(b, "%" PRIu64 " ms", ns / 1000000u);
	else
		buf_printf(b, "%" PRIu64 " s", ns / 1000000000u);
}

static void describe(const struct triggers *t, const struct trigger_facts *f, double share,
                     struct trigger_fired *fired)
{
	_cleanup_buf_ struct buf b = { 0 };
	const uint32_t k = fired->kinds;

	if (k & TRIGGER_BIT(TRIGGER_REQUEST))
		buf_printf(&b, ", signal %s", t->o.request);
	if (k & TRIGGER_BIT(TRIGGER_CGROUP))
		buf_printf(&b, ", cgroup %.3g %%", share * 100);
	if (k & TRIGGER_BIT(TRIGGER_GROWTH)) {
		buf_puts(&b, ", in use grew ");
		put_bytes(&b, t->o.growth);
		buf_puts(&b, " in a minute");
	}
	if (k & TRIGGER_BIT(TRIGGER_GROWTH_RSS)) {
		buf_puts(&b, ", RSS grew ");
		put_bytes(&b, t->o.growth_rss);
		buf_puts(&b, " in a minute");
	}
	if (k & TRIGGER_BIT(TRIGGER_HIGH))
		buf_puts(&b, ", new high");
	if (k & TRIGGER_BIT(TRIGGER_ALLOC)) {
		buf_puts(&b, ", allocated ");
		put_bytes(&b, f->alloc / t->o.alloc_bytes * t->o.alloc_bytes);
	}
	if (k & TRIGGER_BIT(TRIGGER_EVERY)) {
		buf_puts(&b, ", every ");
		put_seconds(&b, t->o.every_ns);
	}
	if (k & TRIGGER_BIT(TRIGGER_END))
		buf_puts(&b, ", end");
	snprintf(fired->reason, sizeof(fired->reason), "%s",
	         b.data && !b.failed ? b.data + 2 : "trigger");
}

/* What fired is over; the next ones begin from here. */
static void consume(struct triggers *t, const struct trigger_facts *f, uint32_t kinds)
{
	const struct trigger_options *o = &t->o;
	uint64_t second = f->now_ns / 1000000000u;

	if (o->every_ns && f->now_ns >= t->next_every_ns)
		t->next_every_ns += ((f->now_ns - t->next_every_ns) / o->every_ns + 1) * o->every_ns;
	if (o->alloc_bytes && f->alloc >= t->next_alloc)
		t->next_alloc = (f->alloc / o->alloc_bytes + 1) * o->alloc_bytes;
	/* The minute begins anew, from what is there now. */
	if (kinds & TRIGGER_BIT(TRIGGER_GROWTH)) {
		t->growth_since = second * 1000000000u;
		t->low[second % TRIGGER_SECONDS].inuse = f->inuse;
	}
	if (kinds & TRIGGER_BIT(TRIGGER_GROWTH_RSS)) {
		t->growth_rss_since = second * 1000000000u;
		t->low[second % TRIGGER_SECONDS].rss = f->rss;
	}
	if (f->inuse > t->high)
		t->high = f->inuse;
}

static double decayed(double before, uint64_t was, uint64_t is, uint64_t ns)
{
	double rate = is > was && ns ? (double)(is - was) / (double)ns : 0;

	before *= ns < 1000000000u ? 1 - 0.5 * (double)ns / 1e9 : 0.5; /* halves in a second */
	return rate > before ? rate : before;
}

static void note_rates(struct triggers *t, const struct trigger_facts *f)
{
	uint64_t ns = f->now_ns - t->last.now_ns;

	t->inuse_rate = decayed(t->inuse_rate, t->last.inuse, f->inuse, ns);
	t->alloc_rate = decayed(t->alloc_rate, t->last.alloc, f->alloc, ns);
	t->rss_rate = decayed(t->rss_rate, t->last.rss, f->rss, ns);
	if (t->last.limit == f->limit)
		t->used_rate = decayed(t->used_rate, t->last.used, f->used, ns);
	t->last = *f;
}

void triggers_step(struct triggers *t, const struct trigger_facts *facts,
                   struct trigger_fired *ret_fired)
{
	struct trigger_fired fired = { 0 };
	struct trigger_facts f = *facts;
	double share;

	if (t->ended) {
		*ret_fired = fired;
		return;
	}
	/* Clocks and counters do not run backwards; facts from a hostile ledger may. */
	if (f.now_ns < t->last.now_ns)
		f.now_ns = t->last.now_ns;
	note_rates(t, &f);
	note_low(t, &f);
	share = cgroup_share(t, &f);
	if (share > 0)
		fired.kinds |= TRIGGER_BIT(TRIGGER_CGROUP);
	if (t->o.request && f.requests != t->requests)
		fired.kinds |= TRIGGER_BIT(TRIGGER_REQUEST);
	t->requests = f.requests;
	if (f.ended && (t->o.end || t->snapshots))
		fired.kinds |= TRIGGER_BIT(TRIGGER_END);
	t->ended = f.ended;
	/* What is due is said with whatever fires, but fires by itself only after the rest. */
	if (fired.kinds || f.now_ns >= t->not_before_ns)
		fired.kinds |= due(t, &f);
	if (fired.kinds) {
		describe(t, &f, share, &fired);
		consume(t, &f, fired.kinds);
		t->snapshots++;
	}
	*ret_fired = fired;
}

void triggers_taken(struct triggers *t, uint64_t begin_ns, uint64_t end_ns, uint64_t inuse)
{
	t->not_before_ns = end_ns + (end_ns > begin_ns ? (end_ns - begin_ns) * REST : 0);
	if (inuse > t->high)
		t->high = inuse;
}

/* ---- when to look again ------------------------------------------------------------------------- */

static uint64_t shorter(uint64_t wait, double ns)
{
	if (!(ns > 0))
		return 0;
	return ns < (double)wait ? (uint64_t)ns : wait;
}

/* Half the time until `is` reaches `goal` at that rate. */
static uint64_t until(uint64_t wait, uint64_t is, uint64_t goal, double rate)
{
	if (is >= goal || !(rate > 0))
		return wait;
	return shorter(wait, (double)(goal - is) / rate / 2);
}

static uint64_t wait_for_cgroup(const struct triggers *t, uint64_t wait)
{
	const struct trigger_facts *f = &t->last;
	double rate = t->used_rate * 2 > FASTEST ? t->used_rate * 2 : FASTEST;

	for (size_t i = 0; i < TRIGGER_SHARES && t->o.cgroup[i] > 0; i++) {
		if (!(t->shares_armed & 1u << i))
			continue;
		/* The next share soon after it is reached, and never too late for the limit. */
		wait = until(wait, f->used, (uint64_t)(t->o.cgroup[i] * (double)f->limit),
		             t->used_rate);
		return shorter(wait,
		               f->used < f->limit ? (double)(f->limit - f->used) / rate / 4 : 0);
	}
	return wait;
}

uint64_t triggers_wait(const struct triggers *t)
{
	const struct trigger_facts *f = &t->last;
	uint64_t wait = TRIGGER_LONGEST_WAIT, soon = TRIGGER_LONGEST_WAIT;

	if (t->o.alloc_bytes)
		soon = until(soon, f->alloc, t->next_alloc, t->alloc_rate);
	if (t->o.high_bytes || t->o.high_share > 0)
		soon = until(soon, f->inuse, high_wanted(t), t->inuse_rate);
	if (t->o.growth)
		soon = until(soon, f->inuse - lowest(t, f, t->growth_since, false), t->o.growth,
		             t->inuse_rate);
	if (t->o.growth_rss)
		soon = until(soon, f->rss - lowest(t, f, t->growth_rss_since, true),
		             t->o.growth_rss, t->rss_rate);
	if (t->o.every_ns)
		soon = t->next_every_ns > f->now_ns
		               ? shorter(soon, (double)(t->next_every_ns - f->now_ns))
		               : 0;
	/* None of these may fire before the rest after the last snapshot is over. */
	if (t->not_before_ns > f->now_ns && soon < t->not_before_ns - f->now_ns)
		soon = t->not_before_ns - f->now_ns;
	if (soon < wait)
		wait = soon;
	if (f->limit)
		wait = wait_for_cgroup(t, wait);
	return wait < TRIGGER_SHORTEST_WAIT ? TRIGGER_SHORTEST_WAIT : wait;
}
