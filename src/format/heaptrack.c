/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heaptrack's file, versions 2 and 3, usually zstd or gzip: a log of everything that happened, one line each,
 * numbers in hex.  Lines of the interpreted file (numbers of things count from 1, of allocations from 0):
 *
 *     v 10400 3                 version of heaptrack, of the file
 *     X ./t                     command             s 4 main           string
 *     i 55a4 1 14 15 6 ...      address, module, then (function, file, line) innermost first: numbers of strings
 *     t 8 7                     stack: address, caller's stack (0: root)
 *     a 3e8 9                   kind of allocation: bytes, stack
 *     + 1    - 1                one more, one less of that kind
 *     c 12   R 5f0              milliseconds since the start; resident pages
 *
 * The raw file, before heaptrack_interpret, has addresses where that has numbers and tells which block it was:
 *
 *     x 6 /src/t                executable          m 1f /lib/libc.so.6 7f8f 0 25388 ...  loaded: address, segments
 *     t 55e808b2b193 7          stack: address, caller's stack
 *     + 3e8 9 55e81705d1d0      bytes, stack, block          - 55e81705d1d0
 *
 * A hundred megabytes of + and - become as many additions, in one pass and in memory that depends on the
 * stacks (and, raw, on the live blocks) only.  What a site held at the peak is found on the way without
 * keeping the history: every site remembers up to which of the successive highs its peak value is right,
 * and puts it right, to what it holds now, before it changes for the first time after a new high.
 */
#include "format/heaptrack.h"

#include "format/stream.h"
#include "format/text.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define TITLE "heaptrack"
#define MAX_DEPTH 2048   /* of a stack; what lies deeper is counted where the limit was */
#define MAX_POINTS 8192u /* of the timeline */
#define MAX_INLINED 64

static int probe(const uint8_t *head, size_t len)
{
	char text[64], *p = text;
	uint64_t v;

	len = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
	memcpy(text, head, len);
	text[len] = 0;
	return text_take(&p, "v ") && text_hex(&p, &v) && text_take(&p, " ") && text_hex(&p, &v) &&
	                       (*p == '\n' || !*p)
	               ? 85
	               : 0;
}

struct ip {
	uint64_t pc;
	uint32_t module, symbol;
};

struct stack {
	uint32_t frame, depth;
	uint32_t site; /* its number + 1; 0: nothing was allocated there yet */
};

struct kind {
	uint64_t size;
	uint32_t site; /* UINT32_MAX: makes no sense */
};

struct reader {
	struct builder b;
	struct format_input *in;
	uint64_t version;
	bool raw;
	struct buf text; /* all strings, each with its NUL */
	size_t *strings; /* where in text */
	struct ip *ips;
	struct stack *stacks;
	struct kind *kinds;
	struct loaded *modules; /* raw: what is mapped now */
	uint64_t *marks;        /* by site: number of the high up to which its peak is right */
	size_t nstrings, nips, nstacks, nkinds, nmodules;
	size_t cap_strings, cap_ips, cap_stacks, cap_kinds, cap_modules, cap_marks;
	struct live_blocks live; /* raw */
	uint64_t inuse, alloc_bytes, alloc_blocks, highs, now_ns;
	uint64_t unmatched;
};

static bool room(struct reader *r, void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 256;
	void *p;

	if (n < *cap)
		return true;
	p = n < UINT32_MAX / 2 ? reallocarray(*(void **)array, want, size) : NULL;
	if (!p) {
		r->b.failed = true;
		return false;
	}
	*(void **)array = p;
	*cap = want;
	return true;
}
#define ROOM(r, what) room(r, &(r)->what, (r)->n##what, &(r)->cap_##what, sizeof(*(r)->what))

/* ---- code ------------------------------------------------------------------------------- */

/* A string with its length in front, as from version 3 on. */
static bool sized_string(const struct reader *r, char **p, char **ret)
{
	uint64_t n;

	if (r->version >= 3) {
		if (!text_hex(p, &n) || !text_take(p, " ") || n > strlen(*p))
			return false;
		*ret = *p;
		*p += n;
		return true;
	}
	*ret = *p;
	*p += strlen(*p);
	return true;
}

static bool take_string(struct reader *r, char *p)
{
	char *s;

	if (!sized_string(r, &p, &s) || *p || !ROOM(r, strings))
		return false;
	r->strings[r->nstrings++] = r->text.len;
	if (buf_add(&r->text, s, strlen(s) + 1) < 0)
		r->b.failed = true;
	return true;
}

/* Number 0 is "unknown"; so is one that was never given out. */
static char *string(struct reader *r, uint64_t number)
{
	return number && number <= r->nstrings ? r->text.data + r->strings[number - 1] : NULL;
}

static bool take_hex(char **p, uint64_t *ret)
{
	text_blanks(p);
	return text_hex(p, ret);
}

/* ip module [function file line]... */
static bool take_ip(struct reader *r, char *p)
{
	struct prof_line lines[MAX_INLINED];
	uint64_t module, function, file, line;
	uint32_t n = 0;
	struct ip ip;

	if (!take_hex(&p, &ip.pc) || !take_hex(&p, &module) || !ROOM(r, ips))
		return false;
	ip.module = builder_module(&r->b, string(r, module));
	while (n < MAX_INLINED && take_hex(&p, &function)) {
		file = line = 0;
		if (take_hex(&p, &file) && !take_hex(&p, &line))
			return false;
		if (function)
			lines[n++] =
				(struct prof_line){ .function = string(r, function),
				                    .file = string(r, file),
				                    .line = line > UINT32_MAX ? 0 : (uint32_t)line };
	}
	ip.symbol = n ? builder_symbol(&r->b, lines, n) : builder_unknown(&r->b);
	r->ips[r->nips++] = ip;
	return true;
}

static uint32_t module_of(const struct reader *r, uint64_t pc)
{
	for (size_t i = 0; i < r->nmodules; i++)
		if (pc >= r->modules[i].start && pc < r->modules[i].end)
			return r->modules[i].module;
	return PROF_NO_MODULE;
}

static bool take_stack(struct reader *r, char *p)
{
	struct ip ip = { .symbol = 0 };
	struct stack s = { 0 };
	uint64_t what, parent;

	if (!take_hex(&p, &what) || !take_hex(&p, &parent) || parent > r->nstacks ||
	    !ROOM(r, stacks))
		return false;
	if (parent)
		s = (struct stack){ .frame = r->stacks[parent - 1].frame,
			            .depth = r->stacks[parent - 1].depth };
	if (r->raw)
		ip = (struct ip){ .pc = what, .module = module_of(r, what) };
	else if (what && what <= r->nips)
		ip = r->ips[what - 1];
	else
		return false;
	if (s.depth < MAX_DEPTH) {
		s.frame = builder_frame(&r->b, s.frame, ip.pc, ip.module, ip.symbol);
		s.depth++;
	}
	r->stacks[r->nstacks++] = s;
	return true;
}

/* path address [start size]...; "x" is the executable, "-" forgets all. */
static bool take_module(struct reader *r, char *p)
{
	uint64_t bias, start, size;
	struct prof_module m = { .start = UINT64_MAX };

	if (!sized_string(r, &p, &m.path))
		return false;
	if (!strcmp(m.path, "-")) {
		r->nmodules = 0;
		return true;
	}
	if (*p++ != ' ' || r->nmodules >= HEAPTRACK_MAX_MODULES)
		return false;
	p[-1] = 0; /* the end of the path */
	if (!take_hex(&p, &bias) || !ROOM(r, modules))
		return false;
	while (take_hex(&p, &start) && take_hex(&p, &size)) {
		if (!size)
			continue;
		start += bias;
		m.start = start < m.start ? start : m.start;
		m.end = start + size > m.end ? start + size : m.end;
	}
	if (m.end <= m.start)
		return true;
	if (!strcmp(m.path, "x") && r->b.p->exe)
		m.path = r->b.p->exe;
	m.bias = bias;
	r->modules[r->nmodules++] = (struct loaded){ m.start, m.end, builder_mapped(&r->b, &m) };
	return true;
}

/* ---- what happened ------------------------------------------------------------------------ */

static uint32_t site_of(struct reader *r, uint64_t stack)
{
	struct prof_site *s;
	uint32_t site;
	size_t had = r->cap_marks;

	if (stack > r->nstacks)
		return UINT32_MAX;
	if (stack && r->stacks[stack - 1].site)
		return r->stacks[stack - 1].site - 1;
	s = builder_site(&r->b, stack ? r->stacks[stack - 1].frame : 0, PROF_HEAP);
	if (!s)
		return UINT32_MAX;
	site = builder_site_number(&r->b, s);
	while (site >= r->cap_marks)
		if (!room(r, &r->marks, r->cap_marks, &r->cap_marks, sizeof(*r->marks)))
			return UINT32_MAX;
	if (had < r->cap_marks)
		memset(r->marks + had, 0, (r->cap_marks - had) * sizeof(*r->marks));
	if (stack)
		r->stacks[stack - 1].site = site + 1;
	return site;
}

/* What it holds now is what it held at the last high: it has not changed since. */
static void settle_peak(struct reader *r, uint32_t site)
{
	struct prof_site *s = &r->b.p->sites[site];

	if (r->marks[site] == r->highs)
		return;
	r->marks[site] = r->highs;
	s->peak = s->inuse;
}

static void add(uint64_t *to, uint64_t v)
{
	if (__builtin_add_overflow(*to, v, to))
		*to = UINT64_MAX;
}

static void sub(uint64_t *from, uint64_t v)
{
	*from = *from > v ? *from - v : 0;
}

static void allocate(struct reader *r, uint32_t site, uint64_t size)
{
	struct prof_site *s = &r->b.p->sites[site];

	settle_peak(r, site);
	add(&s->alloc.blocks, 1);
	add(&s->alloc.bytes, size);
	add(&s->inuse.blocks, 1);
	add(&s->inuse.bytes, size);
	add(&r->alloc_blocks, 1);
	add(&r->alloc_bytes, size);
	add(&r->inuse, size);
	if (r->inuse > r->b.p->peak_bytes) {
		r->b.p->peak_bytes = r->inuse;
		r->b.p->peak_time = r->now_ns;
		r->highs++;
	}
}

static void release(struct reader *r, uint32_t site, uint64_t size)
{
	struct prof_site *s = &r->b.p->sites[site];

	if (!s->inuse.blocks) {
		r->unmatched++;
		return;
	}
	settle_peak(r, site);
	sub(&s->inuse.blocks, 1);
	sub(&s->inuse.bytes, size);
	sub(&r->inuse, size);
}

static bool take_kind(struct reader *r, char *p)
{
	uint64_t stack;
	struct kind k;

	if (!take_hex(&p, &k.size) || !take_hex(&p, &stack) || !ROOM(r, kinds))
		return false;
	k.site = site_of(r, stack);
	r->kinds[r->nkinds++] = k;
	return k.site != UINT32_MAX;
}

static bool take_allocation(struct reader *r, char *p)
{
	uint64_t first, stack, address;
	uint32_t site;

	if (!take_hex(&p, &first))
		return false;
	if (!r->raw) {
		if (first >= r->nkinds || r->kinds[first].site == UINT32_MAX)
			return false;
		allocate(r, r->kinds[first].site, r->kinds[first].size);
		return true;
	}
	if (!take_hex(&p, &stack) || !take_hex(&p, &address))
		return false;
	site = site_of(r, stack);
	if (site == UINT32_MAX)
		return false;
	allocate(r, site, first);
	if (live_blocks_put(&r->live, address, first, site) < 0)
		r->b.failed = true;
	return true;
}

static bool take_release(struct reader *r, char *p)
{
	uint64_t what, size;
	uint32_t site;

	if (!take_hex(&p, &what))
		return false;
	if (!r->raw) {
		if (what >= r->nkinds || r->kinds[what].site == UINT32_MAX)
			return false;
		release(r, r->kinds[what].site, r->kinds[what].size);
	} else if (live_blocks_take(&r->live, what, &size, &site)) {
		release(r, site, size);
	} else {
		r->unmatched++;
	}
	return true;
}

/* Every second point goes when there are too many, and from then on they must lie further apart. */
static void add_point(struct reader *r)
{
	struct profile *p = r->b.p;
	struct prof_point t = { r->now_ns, r->inuse, r->alloc_bytes, r->alloc_blocks };

	if (p->npoints >= MAX_POINTS) {
		for (size_t i = 0; i < p->npoints / 2; i++) {
			const struct prof_point *a = &p->points[2 * i], *b = a + 1;

			p->points[i] = b->inuse >= a->inuse ? *b : *a;
		}
		p->npoints /= 2;
	}
	builder_point(&r->b, &t);
}

static bool take_time(struct reader *r, char *p)
{
	uint64_t ms;

	if (!take_hex(&p, &ms) || __builtin_mul_overflow(ms, 1000000, &r->now_ns))
		return false;
	if (r->now_ns > r->b.p->duration_ns)
		r->b.p->duration_ns = r->now_ns;
	add_point(r);
	return true;
}

/* ---- lines --------------------------------------------------------------------------------- */

static bool take_line(struct reader *r, char *line)
{
	char *p = line + 2, *s;

	if (!line[0] || line[0] == '#')
		return true;
	if (line[0] == 'A') /* heaptrack was attached to a running process */
		return r->b.p->attached = true;
	if (line[1] != ' ')
		return line[1] == 0; /* an empty record */
	switch (line[0]) {
	case '+':
		return take_allocation(r, p);
	case '-':
		return take_release(r, p);
	case 't':
		return take_stack(r, p);
	case 'i':
		return take_ip(r, p);
	case 's':
		return take_string(r, p);
	case 'a':
		return take_kind(r, p);
	case 'c':
		return take_time(r, p);
	case 'm':
		return take_module(r, p);
	case 'x': /* only the raw file has it */
		r->raw = true;
		if (!sized_string(r, &p, &s))
			return false;
		builder_string(&r->b, &r->b.p->exe, s);
		return true;
	case 'X':
		builder_string(&r->b, &r->b.p->command, p);
		return true;
	default: /* R, I, S and what later versions add */
		return true;
	}
}

static struct seep_error *read_header(struct reader *r)
{
	uint64_t program;
	size_t len;
	char *line = stream_line(r->in->stream, &len), *p = line;

	if (!line || !text_take(&p, "v ") || !text_hex(&p, &program) || !take_hex(&p, &r->version))
		return format_bad(r->in, TITLE, "there is no header");
	if (r->version < 2 || r->version > 3)
		return seep_error_hint(seep_error_new(0, "%s is a heaptrack file of version %llu",
		                                      r->in->path, (unsigned long long)r->version),
		                       "This seep reads versions 2 and 3.");
	return NULL;
}

static struct seep_error *read_all(struct reader *r, struct profile **ret_profile)
{
	struct seep_error *err = builder_init(&r->b, r->in, "heaptrack");
	struct format_input *in = r->in;
	char *line;
	size_t len;

	if (!err)
		err = read_header(r);
	if (err)
		return err;
	while ((line = stream_line(in->stream, &len)) && !r->b.failed) {
		unsigned long long number = stream_number(in->stream);

		if (stream_cut(in->stream)) {
			format_warn(in, "%s ends in the middle of line %llu", in->path, number);
			break;
		}
		if (!take_line(r, line))
			format_warn(in, "%s: line %llu makes no sense and was left out", in->path,
			            number);
	}
	for (size_t i = 0; i < r->b.p->nsites && !r->b.failed; i++)
		settle_peak(r, (uint32_t)i);
	if (r->unmatched)
		format_warn(in, "%s frees %llu blocks that it never allocated", in->path,
		            (unsigned long long)r->unmatched);
	add_point(r);
	return builder_finish(&r->b, ret_profile);
}

static struct seep_error *read_heaptrack(struct format_input *in, struct profile **ret_profile)
{
	struct reader r = { .in = in };
	struct seep_error *err = read_all(&r, ret_profile);

	live_blocks_release(&r.live);
	buf_release(&r.text);
	free(r.strings);
	free(r.ips);
	free(r.stacks);
	free(r.kinds);
	free(r.modules);
	free(r.marks);
	builder_release(&r.b);
	return err;
}

const struct format format_heaptrack = {
	.name = "heaptrack",
	.title = "heaptrack's file",
	.suffixes = "",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES |
	          FORMAT_ALLOC_BLOCKS | FORMAT_PEAK_BYTES | FORMAT_PEAK_BLOCKS,
	.probe = probe,
	.read = read_heaptrack,
};
