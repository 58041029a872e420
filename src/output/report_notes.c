/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the numbers leave out.  Every report ends with it: each loss the tracker
 * counted, in words and with what follows from it; stacks that are unknown or
 * cut; what the kind of capture cannot know; the symbolizer's warnings; and the
 * tracker's own memory, which a person who adds numbers up would otherwise miss.
 */
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "output/report_private.h"
#include "output/units.h"
#include "wire/ledger.h"

_Static_assert(PROF_NLOSSES == LOSS_SLOTS, "one list of losses");

/* What each loss means; the count comes before the words. */
static const struct {
	const char *key, *words;
} losses[PROF_NLOSSES] = {
	[LOSS_NESTED] = { "nested",
	                  "allocations or frees inside a signal handler that interrupted the tracker were "
	                  "not recorded" },
	[LOSS_LIVE_FULL] = { "live_full",
	                     "blocks found no room in the table of live blocks: in use is too low by them" },
	[LOSS_STACKS_FULL] = { "stacks_full",
	                       "events found no room for their stack and are counted under "
	                       "\"stack unknown\"" },
	[LOSS_DEPTH] = { "depth",
	                 "stacks were deeper than the tracker follows (512 frames): their outermost frames "
	                 "are missing" },
	[LOSS_NO_CFI] = { "no_cfi",
	                  "stacks end early, in code that says nothing about its frames (no unwind tables): "
	                  "their outermost frames are missing" },
	[LOSS_UNMATCHED_FREE] = { "unmatched_free",
	                          "frees were of blocks the tracker does not know (allocated before it "
	                          "started, or lost): they change no number" },
	[LOSS_STALE] = { "stale",
	                 "blocks were replaced by a new one at the same address although their free was never "
	                 "seen: it was counted at that moment" },
	[LOSS_MODULES_FULL] = { "modules_full",
	                        "libraries found no room in the list of modules: their frames have no "
	                        "names" },
	[LOSS_THREADS_FULL] = { "threads_full",
	                        "threads found no room in the list of threads and are counted together" },
	[LOSS_NO_SPACE] = { "no_space",
	                    "times the file system of the ledger was full: what was to be recorded then is "
	                    "missing" },
	[LOSS_CONTENDED] = { "contended",
	                     "events were dropped rather than let the program wait for the tracker" },
	[LOSS_SIZE_CLAMPED] = { "size_clamped",
	                        "blocks were larger than a record can say: in use is too low by the rest" },
	[LOSS_INHERITED_FREE] = { "inherited_free",
	                          "frees in this forked process were of blocks it inherited from its "
	                          "parent: they change no number" },
	[LOSS_BOOTSTRAP] = { "bootstrap",
	                     "allocations were made before the real allocator was known and are not "
	                     "counted" },
};

struct notes {
	const struct report *r;
	bool any;
};

static const struct emit_column note_columns[] = {
	{ "code", NULL, 0, 0 },
	{ "count", NULL, 0, 0 },
	{ "text", NULL, 0, 0 },
};

/* JSON: {code, count, text}.  Text: "• COUNT text". */
static void note(struct notes *n, const char *code, uint64_t count, const char *words)
{
	struct buf number = { 0 };

	emit_row(n->r->e, 0, EMIT_PLAIN,
	         (struct emit_value[]){ emit_string(code), count ? emit_count(count) : emit_none(),
	                                emit_string(words) });
	if (emit_is_text(n->r->e)) {
		if (!n->any) {
			emit_heading(n->r->e, "What is not in these numbers");
			emit_blank(n->r->e);
		}
		if (count) {
			unit_count(&number, count);
			buf_putc(&number, ' ');
		}
		emit_text(n->r->e, EMIT_PLAIN, 2, "• %s%s", number.data ? number.data : "", words);
		buf_release(&number);
	}
	n->any = true;
}

static void note_losses(struct notes *n)
{
	const struct prof_losses *l = &n->r->p->losses;
	uint64_t other = 0;

	for (size_t i = 0; i < PROF_NLOSSES; i++) {
		if (l->count[i] && losses[i].key)
			note(n, losses[i].key, l->count[i], losses[i].words);
		else if (__builtin_add_overflow(other, l->count[i], &other))
			other = UINT64_MAX;
	}
	if (other)
		note(n, "other", other,
		     "events were lost for reasons this version of seep does not know");
	if (l->torn)
		note(n, "torn", l->torn,
		     "records were being written, or were damaged, when the ledger was read: they are left out");
}

static void note_stacks(struct notes *n)
{
	const struct profile *p = n->r->p;
	struct prof_value unknown = { 0 };
	uint64_t depth = 0, no_cfi = 0;
	struct buf words = { 0 };

	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];

		depth += s->cut_depth;
		no_cfi += s->cut_no_cfi;
		if (!s->stack)
			prof_value_add(&unknown, &s->alloc);
	}
	if (unknown.blocks) {
		buf_puts(&words, "allocated blocks (");
		unit_bytes(&words, unknown.bytes);
		buf_puts(&words, ") have no known stack");
		note(n, "stack_unknown", unknown.blocks, words.data ? words.data : "");
	}
	/* the loss counters tell the same of the whole run; sites tell it of what this profile holds */
	if (depth && !p->losses.count[LOSS_DEPTH])
		note(n, "stacks_cut_depth", depth, "sites have a stack deeper than was followed");
	if (no_cfi && !p->losses.count[LOSS_NO_CFI])
		note(n, "stacks_cut_no_cfi", no_cfi,
		     "sites have a stack without its outermost frames");
	buf_release(&words);
}

static void note_capture(struct notes *n)
{
	const struct profile *p = n->r->p;

	if (p->bypassed && !emit_is_text(n->r->e)) /* in text the head has said so already */
		note(n, "bypassed", 0,
		     "the program has a malloc of its own (static or bundled): preloading does not see what "
		     "is allocated through it");
	if (p->attached)
		note(n, "attached", 0,
		     "tracking began while the program ran: blocks from before are not in it");
	if (p->forked)
		note(n, "forked", 0,
		     "this is a forked process: blocks inherited from its parent are not in it");
	if (p->killed)
		note(n, "killed", 0,
		     "the process was killed: the ledger shows its last moment, up to the events then in "
		     "flight");
}

/* The copy of what each site held at the peak is taken now and then; say so when it is of another moment. */
static void note_peak(struct notes *n)
{
	const struct profile *p = n->r->p;
	struct buf words = { 0 };

	if (n->r->o->measure.value != MEASURE_PEAK ||
	    p->peak_copy_bytes >= p->peak_bytes - p->peak_bytes / 50)
		return;
	buf_puts(&words, "at the peak ");
	unit_bytes(&words, p->peak_bytes);
	buf_puts(&words,
	         " were in use; which site held how much is known of an earlier moment, with ");
	unit_bytes(&words, p->peak_copy_bytes);
	note(n, "peak_composition", 0, words.data ? words.data : "");
	buf_release(&words);
}

static void tracker_memory(const struct report *r)
{
	struct emit_part parts[] = {
		{ "ledger_bytes", emit_bytes(r->p->tracker_ledger_bytes), false },
		{ "private_bytes", emit_bytes(r->p->tracker_private_bytes), false },
		{ "unwinds_fast", emit_count(r->p->unwinds_fast), true },
		{ "unwinds_slow", emit_count(r->p->unwinds_slow), true },
	};

	emit_object(r->e, "tracker");
	emit_blank(r->e);
	emit_line(r->e, EMIT_DIM,
	          r->p->tracker_ledger_bytes || r->p->tracker_private_bytes
	                  ? "The tracker's own memory, not counted above: % of ledger, % inside the program."
	                  : NULL,
	          parts, ARRAY_SIZE(parts));
	emit_object_end(r->e);
}

void report_notes(const struct report *r)
{
	struct notes n = { .r = r };

	emit_table(r->e, "notes", 2, note_columns, ARRAY_SIZE(note_columns));
	note_capture(&n);
	note_losses(&n);
	note_stacks(&n);
	note_peak(&n);
	for (const char *const *w = r->o->warnings; w && *w; w++)
		note(&n, "symbols", 0, *w);
	if (!n.any) {
		emit_blank(r->e);
		emit_text(r->e, EMIT_DIM, 0,
		          "Nothing was lost: every allocation and every free is in these numbers%s.",
		          r->p->sampled ? ", as an estimate" : "");
	}
	emit_table_end(r->e);
	tracker_memory(r);
}
