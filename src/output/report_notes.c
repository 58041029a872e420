/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the numbers leave out.  Every report ends with it: each loss the tracker
 * counted, in words and with what follows from it; stacks that are unknown or
 * cut; what the kind of capture cannot know; the symbolizer's warnings; and the
 * tracker's own memory, which a person who adds numbers up would otherwise miss.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "output/report_private.h"
#include "output/units.h"
#include "wire/ledger.h"

_Static_assert(PROF_NLOSSES == LOSS_SLOTS, "one list of losses");

/*
 * What each loss means, as a sentence that begins with the count: what there is one or several
 * of, with its verb in both numbers, then the rest of the sentence.
 */
static const struct loss_words {
	const char *key, *one, *many, *rest;
} losses[PROF_NLOSSES] = {
	[LOSS_NESTED] = { "nested", "allocation or free was", "allocations or frees were",
	                  "made inside a signal handler that interrupted the tracker, and not recorded." },
	[LOSS_LIVE_FULL] = { "live_full", "block", "blocks",
	                     "found no room in the table of live blocks: in use is too low by that." },
	[LOSS_STACKS_FULL] = { "stacks_full", "event", "events",
	                       "found no room for a stack: counted under \"stack unknown\"." },
	[LOSS_DEPTH] = { "depth", "stack was", "stacks were",
	                 "deeper than the tracker follows (512 frames): the outermost frames are missing." },
	[LOSS_NO_CFI] = { "no_cfi", "stack ends", "stacks end",
	                  "early, in code that says nothing about its frames (no unwind tables): the "
	                  "outermost frames are missing." },
	[LOSS_UNMATCHED_FREE] = { "unmatched_free", "free was", "frees were",
	                          "of blocks the tracker does not know (allocated before it started, or "
	                          "lost). That changes no number." },
	[LOSS_STALE] = { "stale", "block was", "blocks were",
	                 "replaced by a new one at the same address, and the free never seen: counted as freed at "
	                 "that moment." },
	[LOSS_MODULES_FULL] = { "modules_full", "library", "libraries",
	                        "found no room in the list of modules: frames there have no names." },
	[LOSS_THREADS_FULL] = { "threads_full", "thread", "threads",
	                        "found no room in the list of threads: counted together with others." },
	[LOSS_NO_SPACE] = { "no_space", "time", "times",
	                    "the file system of the ledger was full: what was to be recorded then is missing." },
	[LOSS_CONTENDED] = { "contended", "event was", "events were",
	                     "dropped rather than let the program wait for the tracker." },
	[LOSS_SIZE_CLAMPED] = { "size_clamped", "block was", "blocks were",
	                        "larger than a record can say: in use is too low by the rest." },
	[LOSS_INHERITED_FREE] = { "inherited_free", "free", "frees",
	                          "in a forked process concerned blocks inherited from its parent. That "
	                          "changes no number." },
	[LOSS_BOOTSTRAP] = { "bootstrap", "allocation was", "allocations were",
	                     "made before the real allocator was known, and not counted." },
	[LOSS_MARKS_FULL] = { "marks_full", "annotation", "annotations",
	                      "of the program (ignored block, root region) found no room: a leak check does not "
	                      "know of them." },
	[LOSS_UNCHECKED] = { "unchecked", "leak check was", "leak checks were",
	                     "due, but no seep was there to make them." },
	[LOSS_COLLECTOR] = { "collector", "event was", "events were",
	                     "lost because the collector outside did not keep up: blocks are missing, or their "
	                     "frees." },
};

static const struct loss_words torn_words = {
	"torn", "record was", "records were",
	"being written, or damaged, when the ledger was read: left out."
};
static const struct loss_words other_words = {
	"other", "event was", "events were", "lost for reasons this version of seep does not know."
};
static const struct loss_words unknown_words = { "stack_unknown", "allocated block has",
	                                         "allocated blocks have", "no known stack." };
static const struct loss_words depth_words = { "stacks_cut_depth", "site has", "sites have",
	                                       "a stack deeper than was followed." };
static const struct loss_words no_cfi_words = { "stacks_cut_no_cfi", "site has", "sites have",
	                                        "a stack without its outermost frames." };

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

static void note_loss(struct notes *n, uint64_t count, const struct loss_words *w)
{
	struct buf words = { 0 };

	buf_printf(&words, "%s %s", count == 1 ? w->one : w->many, w->rest);
	if (count)
		note(n, w->key, count, words.data ? words.data : w->rest);
	buf_release(&words);
}

static void note_losses(struct notes *n)
{
	const struct prof_losses *l = &n->r->p->losses;
	uint64_t other = 0;

	for (size_t i = 0; i < PROF_NLOSSES; i++) {
		if (l->count[i] && losses[i].key)
			note_loss(n, l->count[i], &losses[i]);
		else if (__builtin_add_overflow(other, l->count[i], &other))
			other = UINT64_MAX;
	}
	note_loss(n, other, &other_words);
	note_loss(n, l->torn, &torn_words);
}

static void note_stacks(struct notes *n)
{
	const struct profile *p = n->r->p;
	struct prof_value unknown = { 0 };
	uint64_t depth = 0, no_cfi = 0;

	for (size_t i = 0; i < p->nsites; i++) {
		const struct prof_site *s = &p->sites[i];

		depth += s->cut_depth;
		no_cfi += s->cut_no_cfi;
		if (!s->stack)
			prof_value_add(&unknown, &s->alloc);
	}
	note_loss(n, unknown.blocks, &unknown_words);
	/* the loss counters tell the same of the whole run; sites tell it of what this profile holds */
	if (!p->losses.count[LOSS_DEPTH])
		note_loss(n, depth, &depth_words);
	if (!p->losses.count[LOSS_NO_CFI])
		note_loss(n, no_cfi, &no_cfi_words);
}

/* What was in use when a tracker was attached. */
static void note_before(struct notes *n, const struct profile *p)
{
	struct buf words = { 0 };

	if (p->before_blocks) {
		buf_puts(&words, "Tracking began while the program ran: before attach: ");
		unit_bytes(&words, p->before_bytes);
		buf_puts(&words, " in ");
		unit_count(&words, p->before_blocks);
		buf_puts(&words, p->before_blocks == 1 ? " block, which is not in it."
		                                       : " blocks, which are not in it.");
	} else {
		buf_puts(&words,
		         "Tracking began while the program ran, or was off for a time: blocks "
		         "allocated then are not in it.");
	}
	note(n, "attached", 0, words.data ? words.data : "");
	buf_release(&words);
}

static void note_capture(struct notes *n)
{
	const struct profile *p = n->r->p;

	if (p->bypassed && !emit_is_text(n->r->e)) /* in text the head has said so already */
		note(n, "bypassed", 0,
		     "The program has a malloc of its own (static or bundled): preloading does not see what "
		     "is allocated through it.");
	if (p->attached)
		note_before(n, p);
	if (p->forked)
		note(n, "forked", 0,
		     "This is a forked process: blocks inherited from its parent are not in it.");
	if (p->killed)
		note(n, "killed", 0,
		     p->nmerged
		             ? "Some of the processes were killed: their ledgers show the last moment, up to the "
		               "events then in flight."
		             : "The process was killed: the ledger shows its last moment, up to the events then "
		               "in flight.");
}

/* The copy of what each site held at the peak is taken now and then; say so when it is of another moment. */
static void note_peak(struct notes *n)
{
	const struct profile *p = n->r->p;
	struct buf words = { 0 };

	if (n->r->o->measure.value != MEASURE_PEAK ||
	    p->peak_copy_bytes >= p->peak_bytes - p->peak_bytes / 50)
		return;
	buf_puts(&words, "At the peak ");
	unit_bytes(&words, p->peak_bytes);
	buf_puts(&words,
	         " were in use; which site held how much is known of an earlier moment, with ");
	unit_bytes(&words, p->peak_copy_bytes);
	buf_putc(&words, '.');
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
		/* What other tools wrote does not say. */
		if (!r->p->tracker_ledger_bytes)
			emit_text(r->e, EMIT_DIM, 0,
			          "Whether anything was lost when it was recorded, %s does not tell.",
			          r->p->format);
		else
			emit_text(r->e, EMIT_DIM, 0,
			          "Nothing was lost: every allocation and every free is in these "
			          "numbers%s.",
			          r->p->sampled ? ", as an estimate" : "");
	}
	emit_table_end(r->e);
	tracker_memory(r);
}
