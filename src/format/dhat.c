/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHAT's JSON, version 2, for dh_view.html: a table of frames and one "program point" for each stack.
 *
 *     tb tbk   allocated in all            gb gbk   in use when the total was highest
 *     tl       sum of lifetimes            eb ebk   in use at the end
 *     mb mbk   the point's own maximum     (bytes, blocks)
 *
 * What happened to single blocks DHAT knows and we do not: lifetimes are summed from the histogram of
 * freed blocks, at the middle of each bucket, and the own maximum is the larger of the two moments that are
 * known.  Points with the same frames are one (the viewer demands it), so what differs in kind falls together.
 * Access counts are absent, as the format allows (bkacc).
 */
#include "format/private.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"
#include "wire/ledger.h"

#include <stdlib.h>
#include <string.h>

struct point {
	uint32_t *frames; /* leaf first */
	size_t n;
	struct prof_value total, peak, end;
	uint64_t lifetime; /* µs */
};

struct writer {
	const struct profile *p;
	struct hash_ids frame_ids;
	struct idmap point_index;
	struct buf frames;
	struct point *points;
	size_t npoints, cap_points;
	bool failed;
};

/* "0x1234: function (file:line)", as DHAT itself has it. */
static void put_frame(struct buf *out, const struct profile *p, const struct stack_line *l)
{
	const struct prof_frame *f = &p->frames[l->frame];

	put_hex(out, f->pc);
	buf_puts(out, ": ");
	buf_puts(out, l->line->function ? l->line->function : "???");
	if (l->line->file)
		buf_printf(out, " (%s:%u)", l->line->file, l->line->line);
	else if (f->module != PROF_NO_MODULE)
		buf_printf(out, " (in %s)", p->modules[f->module].path);
}

static uint32_t frame_number(struct writer *w, const struct stack_line *l, struct buf *text)
{
	uint32_t id = 0;
	int r;

	buf_reset(text);
	put_frame(text, w->p, l);
	r = hash_ids_get(&w->frame_ids, hash_bytes(text->data, text->len), &id);
	if (r < 0 || text->failed)
		w->failed = true;
	if (r > 0) {
		buf_puts(&w->frames, ",\n");
		put_json_string(&w->frames, text->data ? text->data : "");
	}
	return id + 1; /* 0 is "[root]" */
}

static struct point *point_for(struct writer *w, const uint32_t *frames, size_t n)
{
	uint64_t hash = hash_bytes(frames, n * sizeof(*frames));
	size_t pos = idmap_first(&w->point_index, hash);
	struct point *p;
	uint32_t id;

	while (idmap_get(&w->point_index, &pos, hash, &id)) {
		p = &w->points[id];
		if (p->n == n && (!n || !memcmp(p->frames, frames, n * sizeof(*frames))))
			return p;
	}
	if (w->npoints == w->cap_points) {
		size_t cap = w->cap_points ? w->cap_points * 2 : 256;

		p = reallocarray(w->points, cap, sizeof(*p));
		if (!p)
			return NULL;
		w->points = p;
		w->cap_points = cap;
	}
	p = &w->points[w->npoints];
	*p = (struct point){ .frames = calloc(n + 1, sizeof(*frames)), .n = n };
	if (!p->frames || idmap_add(&w->point_index, hash, (uint32_t)w->npoints) < 0) {
		free(p->frames);
		return NULL;
	}
	if (n)
		memcpy(p->frames, frames, n * sizeof(*frames));
	w->npoints++;
	return p;
}

/* Buckets of lifetimes double (wire/ledger.h); blocks are taken to lie in the middle of theirs. */
static uint64_t lifetimes(const struct profile *p, size_t site)
{
	double tick = (double)(1ull << LEDGER_TICK_SHIFT) / 1000, sum = 0;

	for (unsigned int i = 0; i < PROF_LIFE_BUCKETS; i++)
		sum += (double)profile_lifetime(p, site, i) * tick *
		       (i ? 1.5 * (double)(1ull << i) : 1);
	return sum < 1e18 ? (uint64_t)sum : (uint64_t)1e18;
}

static int add_site(struct writer *w, const struct prof_site *s, struct stack_lines *lines,
                    struct buf *text)
{
	_cleanup_free_ uint32_t *frames = NULL;
	struct point *p;

	if (stack_lines(w->p, s->stack, lines) < 0)
		return -1;
	frames = calloc(lines->n + 1, sizeof(*frames));
	if (!frames)
		return -1;
	for (size_t k = 0; k < lines->n; k++)
		frames[k] = frame_number(w, &lines->lines[k], text);
	p = point_for(w, frames, lines->n);
	if (!p || w->failed)
		return -1;
	/* A source that does not know what was allocated in all knows what still is. */
	prof_value_add(&p->total, s->alloc.bytes || s->alloc.blocks ? &s->alloc : &s->inuse);
	prof_value_add(&p->peak, &s->peak);
	prof_value_add(&p->end, &s->inuse);
	if (__builtin_add_overflow(p->lifetime, lifetimes(w->p, (size_t)(s - w->p->sites)),
	                           &p->lifetime))
		p->lifetime = UINT64_MAX;
	return 0;
}

static void put_values(struct buf *out, const char *bytes, const char *blocks,
                       const struct prof_value *v)
{
	buf_printf(out, ",\"%s\":%llu,\"%s\":%llu", bytes, (unsigned long long)v->bytes, blocks,
	           (unsigned long long)v->blocks);
}

static void put_point(struct buf *out, const struct point *p, bool first)
{
	struct prof_value most = p->peak.bytes > p->end.bytes ? p->peak : p->end;

	buf_printf(out, "%s{\"tb\":%llu,\"tbk\":%llu,\"tl\":%llu", first ? "" : ",\n",
	           (unsigned long long)p->total.bytes, (unsigned long long)p->total.blocks,
	           (unsigned long long)p->lifetime);
	put_values(out, "mb", "mbk", &most);
	put_values(out, "gb", "gbk", &p->peak);
	put_values(out, "eb", "ebk", &p->end);
	buf_puts(out, ",\"fs\":[");
	for (size_t k = 0; k < p->n; k++)
		buf_printf(out, "%s%u", k ? "," : "", p->frames[k]);
	if (!p->n) /* the viewer wants at least one */
		buf_puts(out, "0");
	buf_puts(out, "]}");
}

static void put_all(struct writer *w, struct buf *out)
{
	const struct profile *p = w->p;

	buf_puts(out, "{\"dhatFileVersion\":2,\"mode\":\"heap\",\"verb\":\"Allocated\",\n"
	              "\"bklt\":true,\"bkacc\":false,\n"
	              "\"tu\":\"\302\265s\",\"Mtu\":\"s\",\"tuth\":10,\n\"cmd\":");
	put_json_string(out, p->command ? p->command : "");
	buf_printf(out, ",\n\"pid\":%d,\"tg\":%llu,\"te\":%llu,\n\"pps\":[\n", p->pid,
	           (unsigned long long)(p->peak_time / 1000),
	           (unsigned long long)(p->duration_ns / 1000));
	for (size_t i = 0; i < w->npoints; i++)
		put_point(out, &w->points[i], !i);
	buf_puts(out, "\n],\n\"ftbl\":[\n\"[root]\"");
	buf_add(out, w->frames.data ? w->frames.data : "", w->frames.len);
	buf_puts(out, "\n]}\n");
	w->failed |= w->frames.failed;
}

static struct seep_error *write_dhat(const struct profile *p, const struct format_output *o,
                                     struct buf *out)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct stack_lines lines = { 0 };
	struct writer w = { .p = p };
	int r = 0;

	for (size_t i = 0; i < p->nsites && !r; i++)
		if (output_has(o, &p->sites[i]))
			r = add_site(&w, &p->sites[i], &lines, &text);
	if (!r)
		put_all(&w, out);
	stack_lines_release(&lines);
	hash_ids_release(&w.frame_ids);
	idmap_release(&w.point_index);
	buf_release(&w.frames);
	for (size_t i = 0; i < w.npoints; i++)
		free(w.points[i].frames);
	free(w.points);
	return r < 0 || w.failed ? &seep_error_nomem : NULL;
}

static int probe(const uint8_t *head, size_t len)
{
	return 0;
}

const struct format format_dhat = {
	.name = "dhat",
	.title = "DHAT JSON, for dh_view.html",
	.suffixes = ".dhat .dhat.json",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES |
	          FORMAT_ALLOC_BLOCKS | FORMAT_PEAK_BYTES | FORMAT_PEAK_BLOCKS,
	.names = true,
	.probe = probe,
	.write = write_dhat,
};
