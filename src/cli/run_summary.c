/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `seep run` says at the end: how the target ended, how much memory it held, the few
 * places that held most of it, and where the rest can be read.
 */
#include "cli/run.h"

#include "analysis/group.h" /* enum measure_value */
#include "analysis/view.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "cli/cli.h"
#include "output/emit.h"
#include "output/units.h"
#include "profile/profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define TOP_PLACES 5
#define COMMAND_COLUMNS 60

struct summary {
	struct emit *e;
	const struct run_options *o;
	const struct run_end *end;
	const struct run_result *res;
	const char *dir, *command;
	pid_t pid;
};

/* ---- how it ended ---------------------------------------------------------------- */

/* The command on one line, cut if it is long. */
static struct buf command_shown(const char *command)
{
	struct buf shown = { 0 };

	text_cut(&shown, command, COMMAND_COLUMNS, 0);
	for (size_t i = 0; i < shown.len; i++)
		if ((unsigned char)shown.data[i] < ' ')
			shown.data[i] = ' ';
	return shown;
}

static void emit_end(const struct summary *s)
{
	const struct run_end *end = s->end;
	_cleanup_buf_ struct buf shown = command_shown(s->command);
	int sig = WIFSIGNALED(end->status) ? WTERMSIG(end->status) : 0;
	struct emit_part parts[] = {
		{ NULL, emit_string(shown.data), false },
		{ "pid", emit_number(s->pid), false },
		{ NULL, emit_number(WEXITSTATUS(end->status)), false },
		{ "exit_status", sig ? emit_none() : emit_number(WEXITSTATUS(end->status)), true },
		{ "signal", sig ? emit_number(sig) : emit_none(), true },
		{ "out_of_memory", emit_bool(end->oom), true },
		{ "command", emit_string(s->command), true },
	};
	char words[128];

	if (!sig) {
		emit_line(s->e, EMIT_BOLD, "% (process %) ended with status %", parts,
		          ARRAY_SIZE(parts));
		return;
	}
	snprintf(words, sizeof(words), "SIG%s (%s)%s", sigabbrev_np(sig), sigdescr_np(sig),
	         WCOREDUMP(end->status) ? ", core dumped" : "");
	parts[2].value = emit_string(words);
	emit_line(s->e, EMIT_BOLD, "% (process %) was killed by %", parts, ARRAY_SIZE(parts));
	if (end->oom && end->cgroup[0])
		emit_text(s->e, EMIT_WARN, 2,
		          "The kernel killed it because the control group %s was out of memory.",
		          end->cgroup);
	else if (end->oom)
		emit_text(s->e, EMIT_WARN, 2,
		          "The kernel's out-of-memory killer struck while it ran.");
	else if (sig == SIGKILL)
		emit_text(
			s->e, EMIT_PLAIN, 2,
			"Somebody sent SIGKILL; the kernel's log would tell of a shortage of memory.");
}

/* Why there is nothing to read; only what could not be checked before the start is left. */
static void emit_untracked(const struct summary *s)
{
	emit_text(
		s->e, EMIT_WARN, 2,
		"It left no ledger: it was not tracked. The tracker was not loaded or could not start. Usual reasons: a "
		"wrapper removed LD_PRELOAD from the environment (env -i, sudo) or ran a static or setuid program; a "
		"sandbox (seccomp, another mount namespace) forbids opening the ledger; the program ended before its "
		"first allocation.");
	emit_text(s->e, EMIT_PLAIN, 2,
	          "To see what the tracker says: SEEP_OPTIONS=verbose=1 seep run -- %s", s->command);
}

/* ---- what it held ------------------------------------------------------------------ */

static void emit_totals(const struct summary *s, const struct prof_totals *t)
{
	const struct profile *p = s->res->whole;
	struct emit_part inuse[] = {
		{ "bytes", emit_bytes(t->inuse.bytes), false },
		{ "blocks", emit_count(t->inuse.blocks), false },
	};
	struct emit_part alloc[] = {
		{ "bytes", emit_bytes(t->alloc.bytes), false },
		{ "blocks", emit_count(t->alloc.blocks), false },
	};
	struct emit_part peak[] = {
		{ "bytes", emit_bytes(p->peak_bytes), false },
		{ "time_ns", emit_duration(p->peak_time), false },
	};
	struct prof_stacks stacks = profile_stacks(p);
	struct emit_part threads[] = {
		{ "live", emit_count(stacks.live), false },
		{ "reserved_bytes", emit_bytes(stacks.reserved), false },
		{ "unjoined", emit_count(stacks.unjoined), false },
		{ "created", emit_count(stacks.created), true },
	};

	emit_object(s->e, "in_use");
	emit_line(s->e, EMIT_PLAIN, "  in use at the end  % in % blocks", inuse, ARRAY_SIZE(inuse));
	emit_object_end(s->e);
	emit_object(s->e, "peak");
	emit_line(s->e, EMIT_PLAIN,
	          s->res->nparts > 1 ? "  peak               % (sum of each process's own)"
	          : p->peak_time     ? "  peak               % after %"
	                             : "  peak               %, in the first milliseconds",
	          peak, ARRAY_SIZE(peak));
	emit_object_end(s->e);
	emit_object(s->e, "allocated");
	emit_line(s->e, EMIT_PLAIN, "  allocated          % in % blocks", alloc, ARRAY_SIZE(alloc));
	emit_object_end(s->e);
	emit_object(s->e, "thread_stacks");
	emit_line(s->e, EMIT_PLAIN,
	          stacks.unjoined
	                  ? "  thread stacks      % live, % reserved; % of threads never joined"
	          : stacks.live ? "  thread stacks      % live, % reserved"
	                        : NULL,
	          threads, ARRAY_SIZE(threads));
	emit_object_end(s->e);
	emit_field(s->e, "processes", s->res->nparts > 1 ? "processes        " : NULL,
	           emit_count(s->res->nparts));
	emit_field(s->e, "sampled", NULL, emit_bool(p->sampled));
	emit_field(s->e, "period", NULL, emit_bytes(p->period));
}

/* What all sites with one culprit (the innermost line of the program's own) hold together. */
struct place {
	uint32_t location; /* in view.locations; UINT32_MAX: stack unknown */
	uint64_t bytes, blocks;
};

static int by_bytes(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return (x->location > y->location) - (x->location < y->location);
}

/* One place for each location, largest first; the last location stands for unknown stacks. */
static struct place *make_places(const struct view *v, enum measure_value value)
{
	struct place *places = calloc(v->nlocations + 1, sizeof(*places));

	if (!places)
		return NULL;
	for (size_t i = 0; i <= v->nlocations; i++)
		places[i].location = i < v->nlocations ? (uint32_t)i : UINT32_MAX;
	for (size_t i = 0; i < v->profile->nsites; i++) {
		const struct prof_site *site = &v->profile->sites[i];
		const struct prof_value *val = value == MEASURE_PEAK ? &site->peak : &site->inuse;
		uint32_t node = v->site_node[i], culprit;
		struct place *pl = &places[v->nlocations];

		if (node == VIEW_DROPPED)
			continue;
		culprit = node ? view_culprit(v, node) : 0;
		if (node)
			pl = &places[v->nodes[culprit ? culprit : node].location];
		pl->bytes += val->bytes;
		pl->blocks += val->blocks;
	}
	qsort(places, v->nlocations + 1, sizeof(*places), by_bytes);
	return places;
}

static void emit_place(const struct summary *s, const struct view *v, const struct place *pl,
                       uint64_t whole)
{
	const struct view_location *l = pl->location == UINT32_MAX ? NULL
	                                                           : &v->locations[pl->location];
	const char *file = "", *slash;
	char where[512] = "", unknown[32] = "??";

	if (l)
		file = l->file                       ? l->file
		       : l->module != PROF_NO_MODULE ? v->profile->modules[l->module].path
		                                     : "";
	slash = strrchr(file, '/');
	snprintf(where, sizeof(where), "%s", slash ? slash + 1 : file);
	if (l && !l->function && l->address)
		snprintf(unknown, sizeof(unknown), "?? 0x%" PRIx64, l->address);
	if (l && l->file && l->line)
		snprintf(where, sizeof(where), "%s:%u", slash ? slash + 1 : file, l->line);
	emit_row(s->e, 0, EMIT_PLAIN,
	         (struct emit_value[]){ emit_bytes(pl->bytes),
	                                emit_ratio((double)pl->bytes / (double)whole),
	                                emit_count(pl->blocks),
	                                emit_string(!l            ? "(stack unknown)"
	                                            : l->function ? l->function
	                                                          : unknown),
	                                emit_string(where) });
}

static struct seep_error *emit_places(const struct summary *s, const struct prof_totals *t)
{
	static const struct emit_column columns[] = {
		{ "bytes", "bytes", 0, 0 },
		{ "share", "", 0, 0 },
		{ "blocks", "blocks", 0, 0 },
		{ "function", "function", EMIT_SHRINK, 0 },
		{ "where", "line", EMIT_SHRINK_PATH, 0 },
	};
	/* A program that frees everything at its end still had a peak. */
	bool at_peak = t->inuse.bytes < t->peak.bytes / 50;
	uint64_t whole = at_peak ? t->peak.bytes : t->inuse.bytes;
	_cleanup_view_ struct view *v = NULL;
	_cleanup_free_ struct place *places = NULL;
	struct view_options vo = { 0 };
	struct seep_error *err = view_new(s->res->whole, &vo, &v);

	if (err || !whole)
		return err;
	places = make_places(v, at_peak ? MEASURE_PEAK : MEASURE_INUSE);
	if (!places)
		return &seep_error_nomem;
	emit_text(s->e, EMIT_PLAIN, 2,
	          at_peak ? "Where most of the peak was:" : "Where most of it is:");
	emit_field(s->e, "places_by", NULL, emit_string(at_peak ? "peak" : "in_use"));
	emit_table(s->e, "places", 2, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i <= v->nlocations && i < TOP_PLACES && places[i].bytes; i++)
		emit_place(s, v, &places[i], whole);
	emit_table_end(s->e);
	return NULL;
}

/* ---- what else to know ----------------------------------------------------------------- */

static void emit_notes(const struct summary *s)
{
	const struct run_result *res = s->res;
	const struct profile *p = res->whole;

	if (p && p->bypassed)
		emit_text(s->e, EMIT_WARN, 2,
		          "It brings an allocator inside its own executable, which a preloaded library cannot see: most of "
		          "its memory is missing here.");
	if (!res->target_tracked && p)
		emit_text(s->e, EMIT_WARN, 2,
		          "The target itself was not tracked; what is shown are its children.");
	/* Shells end so as a habit; where it is all there is, it may mean that something was missed. */
	if (res->target_unfinished && WIFEXITED(s->end->status) && res->nparts == 1)
		emit_text(
			s->e, EMIT_DIM, 2,
			"It ended without its exit handlers: by _exit(), or as another program that could not be tracked.");
	if (res->replaced)
		emit_text(s->e, EMIT_DIM, 2,
		          "Not in these numbers: %zu program%s that went on as another by exec().",
		          res->replaced, res->replaced == 1 ? "" : "s");
	emit_field(s->e, "replaced", NULL, emit_count(res->replaced));
	emit_field(s->e, "still_running", NULL, emit_count(res->nleft));
	if (res->nleft)
		emit_text(s->e, EMIT_WARN, 2,
		          "Still running, and tracked on: %zu process%s it started (seep report %d%s). Ledgers: %s",
		          res->nleft, res->nleft == 1 ? "" : "es", (int)res->left[0],
		          res->nleft > 1 ? ", ..." : "", s->dir);
	else if (res->ledgers_kept)
		emit_text(s->e, EMIT_PLAIN, 2, "The ledgers are kept in %s", s->dir);
	if (res->ledgers_kept)
		emit_field(s->e, "ledgers", NULL, emit_string(s->dir));
}

static void emit_snapshots(const struct summary *s)
{
	static const struct emit_column column = { "path", NULL, 0, 0 };
	const struct run_result *res = s->res;

	emit_table(s->e, "snapshots", 2, &column, 1);
	for (size_t i = 0; i < res->nsnapshots; i++)
		emit_row(s->e, 0, EMIT_PLAIN,
		         (struct emit_value[]){ emit_string(res->snapshots[i]) });
	emit_table_end(s->e);
	if (!res->nsnapshots)
		return;
	emit_text(s->e, EMIT_PLAIN, 2, "Everything:  seep report %s", res->snapshots[0]);
	if (res->nsnapshots > 1)
		emit_text(s->e, EMIT_PLAIN, 2, "and %zu more snapshots beside it",
		          res->nsnapshots - 1);
}

struct seep_error *run_summary(const struct run_options *o, const struct run_end *end,
                               const struct run_result *res, const char *dir, const char *command,
                               pid_t pid, FILE *to)
{
	struct emit_options eo = { .format = o->json_given ? EMIT_JSON : EMIT_TEXT,
		                   .width = cli_width(fileno(to)),
		                   .color = cli_color(fileno(to)) };
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_emit_ struct emit *e = emit_new(&eo, &out);
	struct summary s = { e, o, end, res, dir, command, pid };
	struct seep_error *err = NULL;
	struct prof_totals t;

	if (!e)
		return &seep_error_nomem;
	emit_object(e, NULL);
	emit_end(&s);
	if (res->whole) {
		t = profile_totals_of(res->whole, PROF_MEMORY);
		emit_object(e, "totals");
		emit_totals(&s, &t);
		emit_object_end(e);
		emit_blank(e);
		err = emit_places(&s, &t);
	} else if (!res->unreadable && !res->nleft) {
		emit_untracked(&s);
	}
	emit_blank(e);
	emit_notes(&s);
	emit_snapshots(&s);
	emit_object_end(e);
	if (!err && out.failed)
		err = &seep_error_nomem;
	if (!err && fprintf(to, "%s%s", o->json_given ? "" : "\n", out.data ? out.data : "") < 0)
		err = seep_error_new(0, "cannot write the summary");
	return err;
}
