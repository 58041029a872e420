/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger → a profile.
 *
 * The order of reading is the reverse of the order of writing.  A tracker first
 * makes a module and a thread known, then the nodes of a stack, then the site,
 * then counts, then the block; so the live table is read first and the counts of
 * everything it refers to are fetched again after it.  What refers to something
 * unknown even then is torn, or a lie, and is counted and left out.
 *
 * What is in use comes from the live records alone, never from allocated − freed:
 * the records are the truth a killed process leaves behind, the counters may miss
 * the events in flight.  A sampled record stands for 1/p blocks, where p is the
 * probability that the sampler picked a block of its size with its period; the
 * variance of that estimate is the sum of w(w-1) over the records (and of
 * size²·w(w-1) for bytes), which is what prof_value carries.
 */
#include "capture/capture.h"
#include "capture/ledger_file.h"
#include "capture/ledger_sum.h"
#include "capture/process.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert(PROF_LIFE_BUCKETS == LEDGER_LIFE_BUCKETS, "profile.h follows ledger.h");
_Static_assert(PROF_SIZE_CLASSES == LEDGER_SIZE_CLASSES, "profile.h follows ledger.h");
_Static_assert(PROF_NLOSSES == LOSS_SLOTS, "profile.h follows ledger.h");
_Static_assert((int)PROF_NKINDS == (int)LEDGER_NKINDS, "profile.h follows ledger.h");

#define TIMELINE_TRIES 4
#define PEAK_TRIES 4

struct build {
	struct ledger_file f;
	struct ledger_sum sum;
	struct profile *p;
	uint64_t last_ns; /* the latest moment the ledger tells of, since start */
};

/* Nanoseconds since start of a CLOCK_MONOTONIC time in the ledger. */
static uint64_t since_start(struct build *b, uint64_t mono_ns)
{
	uint64_t t = mono_ns > b->f.h.start_mono_ns ? mono_ns - b->f.h.start_mono_ns : 0;

	if (t > b->last_ns)
		b->last_ns = t;
	return t;
}

static uint64_t ticks_ns(struct build *b, uint32_t ticks)
{
	uint64_t t = (uint64_t)ticks << b->f.h.tick_shift;

	if (t > b->last_ns)
		b->last_ns = t;
	return t;
}

/* A counter in 2^-16 blocks → blocks; one that went below zero is zero. */
static uint64_t blocks_of(uint64_t fixed)
{
	return (int64_t)fixed < 0 ? 0
	                          : (fixed + (1u << (LEDGER_COUNT_SHIFT - 1))) >> LEDGER_COUNT_SHIFT;
}

static uint64_t bytes_of(uint64_t sum)
{
	return (int64_t)sum < 0 ? 0 : sum;
}

/* ---- identity ------------------------------------------------------------ */

static uint64_t period_in_force(const struct ledger_header *h)
{
	if (h->mode != LEDGER_SAMPLED)
		return 0;
	/* A period that comes again keeps its entry, so the last one need not be it. */
	for (uint64_t i = 1; i < h->nperiods; i++)
		if (h->periods[i] == h->control.period)
			return h->periods[i];
	return h->periods[h->nperiods - 1];
}

static int read_identity(struct build *b, enum writer_state writer)
{
	const struct ledger_header *h = &b->f.h;
	struct profile *p = b->p;

	p->source = strdup(b->f.path);
	p->format = strdup("seep ledger");
	p->exe = strdup(h->exe);
	p->command = strdup(h->command);
	p->allocator = strdup(h->allocator);
	if (!p->source || !p->format || !p->exe || !p->command || !p->allocator)
		return -ENOMEM;
	p->pid = h->pid;
	p->ppid = h->ppid;
	p->exec_seq = h->exec_seq;
	p->sampled = h->mode == LEDGER_SAMPLED || b->sum.sampled;
	p->period = period_in_force(h);
	p->bypassed = h->flags & LEDGER_F_BYPASSED;
	p->forked = h->flags & LEDGER_F_FORKED;
	p->attached = h->flags & LEDGER_F_ATTACHED;
	p->before_blocks = p->attached ? h->before_blocks : 0;
	p->before_bytes = p->attached ? h->before_bytes : 0;
	p->live = writer == WRITER_RUNNING;
	p->execed = !p->live && (h->state == LEDGER_EXECED || writer == WRITER_LEFT);
	p->detached = !p->live && h->state == LEDGER_DETACHED;
	p->killed = !p->live && !p->execed && !ledger_is_closed(h->state);
	p->start_real_ns = h->start_real_ns;
	p->tracker_ledger_bytes = (uint64_t)b->f.st.st_blocks * 512;
	p->tracker_private_bytes = h->private_bytes;
	p->unwinds_fast = h->unwinds_fast;
	p->unwinds_slow = h->unwinds_slow;
	memcpy(p->losses.count, h->losses, sizeof(p->losses.count));
	return 0;
}

/* How long the ledger was written: exact when the end is known, else up to the last thing it tells of. */
static void read_duration(struct build *b)
{
	const struct ledger_header *h = &b->f.h;
	struct timespec now;

	if (b->p->live && clock_gettime(CLOCK_MONOTONIC, &now) == 0)
		since_start(b, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	else if (h->state != LEDGER_LIVE && h->end_mono_ns >= h->start_mono_ns)
		b->last_ns = h->end_mono_ns - h->start_mono_ns;
	b->p->duration_ns = b->last_ns;
}

/* Of a process that runs, the present value; the course of it is the watcher's (rss_log.h). */
static int read_rss(struct profile *p)
{
	_cleanup_close_ int statm = p->live ? process_open_statm(p->pid) : -1;
	uint64_t bytes;

	if (statm < 0 || process_read_rss(statm, &bytes) < 0)
		return 0;
	return profile_add_rss(p, p->duration_ns, bytes) ? 0 : -ENOMEM;
}

/* ---- stacks ---------------------------------------------------------------- */

static int read_frames(struct build *b)
{
	uint64_t n = b->f.h.nnodes ? b->f.h.nnodes : 1;
	_cleanup_free_ struct ledger_node *nodes = NULL;
	struct prof_frame *frames;
	int r;

	if (n > UINT32_MAX)
		n = UINT32_MAX;
	if (n > b->f.h.section[LEDGER_NODES].size / sizeof(*nodes))
		return 0; /* not even the root: no stacks */
	r = ledger_file_copy(&b->f, LEDGER_NODES, n, sizeof(*nodes), &nodes);
	if (r < 0)
		return r;
	frames = reallocarray(b->p->frames, n, sizeof(*frames));
	if (!frames)
		return -ENOMEM;
	b->p->frames = frames;
	b->p->nframes = n;
	frames[0] = (struct prof_frame){ .module = PROF_NO_MODULE };
	for (uint64_t i = 1; i < n; i++) {
		uint64_t pc = nodes[i].key & LEDGER_PC_MASK,
			 module = nodes[i].key >> LEDGER_PC_MODULE_SHIFT;

		frames[i] = (struct prof_frame){ .pc = pc ? pc - 1 : 0,
			                         .parent = nodes[i].parent,
			                         .module = module ? (uint32_t)module - 1
			                                          : PROF_NO_MODULE };
		if (frames[i].parent >= i) {
			frames[i].parent = 0;
			b->p->losses.torn++;
		}
	}
	return 0;
}

static char *string_at(const char *strings, uint64_t n, uint64_t at)
{
	uint64_t len = 0, most;

	if (at >= n)
		return strdup("");
	most = n - at < 4096 ? n - at : 4096;
	while (len < most && strings[at + len])
		len++;
	return strndup(strings + at, len);
}

static int read_modules(struct build *b)
{
	_cleanup_free_ struct ledger_module *in = NULL;
	_cleanup_free_ char *strings = NULL;
	uint64_t n, nstrings;
	int r = ledger_file_copy(&b->f, LEDGER_MODULES, b->f.h.nmodules, sizeof(*in), &in);

	n = b->f.h.nmodules;
	if (!r)
		r = ledger_file_counts(&b->f); /* the strings of the modules just read */
	nstrings = b->f.h.strings_used;
	if (!r)
		r = ledger_file_copy(&b->f, LEDGER_STRINGS, nstrings, 1, &strings);
	if (r < 0)
		return r;
	b->p->modules = calloc(n + 1, sizeof(*b->p->modules));
	if (!b->p->modules)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		struct prof_module *m = &b->p->modules[i];

		m->path = string_at(strings, nstrings, in[i].path);
		if (!m->path)
			return -ENOMEM;
		b->p->nmodules = i + 1;
		m->start = in[i].start;
		m->end = in[i].end;
		m->bias = in[i].bias;
		m->load_seq = in[i].load_seq;
		m->unload_seq = in[i].unload_seq;
		m->build_id_len = in[i].build_id_len > sizeof(m->build_id) ? 0 : in[i].build_id_len;
		memcpy(m->build_id, in[i].build_id, m->build_id_len);
		m->dev = in[i].dev;
		m->inode = in[i].inode;
		m->mtime_ns = in[i].mtime_ns;
		if (m->start > m->end || in[i].build_id_len > sizeof(m->build_id)) {
			m->end = m->start > m->end ? m->start : m->end;
			b->p->losses.torn++;
		}
	}
	for (size_t i = 1; i < b->p->nframes; i++) {
		if (b->p->frames[i].module != PROF_NO_MODULE && b->p->frames[i].module >= n) {
			b->p->frames[i].module = PROF_NO_MODULE;
			b->p->losses.torn++;
		}
	}
	return 0;
}

static int read_threads(struct build *b)
{
	uint64_t n = b->f.h.nthreads ? b->f.h.nthreads : 1;
	_cleanup_free_ struct ledger_thread *in = NULL;
	int r = 0;

	if (b->f.h.nthreads)
		r = ledger_file_copy(&b->f, LEDGER_THREADS, n, sizeof(*in), &in);
	if (r < 0)
		return r;
	b->p->threads = calloc(n, sizeof(*b->p->threads));
	if (!b->p->threads)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		struct prof_thread *t = &b->p->threads[i];

		t->name = in ? strndup(in[i].name, sizeof(in[i].name)) : strdup("");
		if (!t->name)
			return -ENOMEM;
		b->p->nthreads = i + 1;
		if (!in)
			continue;
		t->tid = in[i].tid;
		t->born = ticks_ns(b, in[i].born);
		/* 0 says alive, so an end in the first tick is one nanosecond after the start. */
		t->died = in[i].flags & 1 ? (in[i].died ? ticks_ns(b, in[i].died) : 1) : 0;
	}
	return 0;
}

/* ---- sites ----------------------------------------------------------------- */

static int read_lifetimes(struct profile *p, size_t site, const struct counter_sum *c)
{
	for (unsigned int i = 0; i < PROF_LIFE_BUCKETS; i++) {
		uint64_t blocks = blocks_of(c->life[i]);

		if (blocks && !p->lifetimes[i])
			p->lifetimes[i] = calloc(p->nsites, sizeof(uint64_t));
		if (blocks && !p->lifetimes[i])
			return -1;
		if (blocks)
			p->lifetimes[i][site] = blocks;
	}
	return 0;
}

static int read_sites(struct build *b)
{
	uint64_t n = b->f.h.nsites < b->sum.nsites ? b->f.h.nsites : b->sum.nsites;
	_cleanup_free_ struct ledger_site *in = NULL;
	int r = ledger_file_copy(&b->f, LEDGER_SITES, n, sizeof(*in), &in);

	if (r < 0)
		return r;
	b->p->sites = calloc(n + 1, sizeof(*b->p->sites));
	if (!b->p->sites)
		return -ENOMEM;
	b->p->nsites = n;
	for (uint64_t i = 0; i < n; i++) {
		const struct counter_sum *c = &b->sum.counters[i];
		const struct live_sum *live = &b->sum.live[i];
		struct prof_site *s = &b->p->sites[i];

		s->stack = in[i].node;
		s->kind = (uint8_t)in[i].kind;
		if (in[i].kind >= PROF_NKINDS) {
			s->kind = PROF_HEAP;
			b->p->losses.torn++;
		}
		s->cut_depth = in[i].flags & LEDGER_SITE_CUT_DEPTH;
		s->cut_no_cfi = in[i].flags & LEDGER_SITE_CUT_NO_CFI;
		s->born = ticks_ns(b, in[i].born);
		s->inuse = live_value(live, b->sum.max_weight[i]);
		s->inuse_samples = live->records;
		s->oldest = live->records ? ticks_ns(b, live->oldest) : UINT64_MAX;
		s->alloc = (struct prof_value){ .blocks = blocks_of(c->alloc_count),
			                        .bytes = bytes_of(c->alloc_bytes),
			                        .var_blocks = variance_of(c->var_count),
			                        .var_bytes = variance_of(c->var_bytes),
			                        .max_weight = variance_of(c->max_weight) };
		s->freed = (struct prof_value){ .blocks = blocks_of(c->free_count),
			                        .bytes = bytes_of(c->free_bytes),
			                        .max_weight = variance_of(c->max_weight_freed) };
		/* Allocated is freed + in use over disjoint samples, so their variances add up. */
		s->freed.var_blocks = variance_of(s->alloc.var_blocks - s->inuse.var_blocks);
		s->freed.var_bytes = variance_of(s->alloc.var_bytes - s->inuse.var_bytes);
		s->samples = c->samples;
		if (read_lifetimes(b->p, i, c) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void check_stacks(struct build *b)
{
	for (size_t i = 0; i < b->p->nsites; i++) {
		if (b->p->sites[i].stack >= b->p->nframes) {
			b->p->sites[i].stack = 0;
			b->p->losses.torn++;
		}
	}
}

static int read_cells(struct build *b)
{
	struct prof_cell *cells = calloc(b->sum.ncells + 1, sizeof(*cells));
	size_t n = 0;

	if (!cells)
		return -ENOMEM;
	b->p->cells = cells;
	for (size_t i = 0; i < b->sum.ncells; i++) {
		const struct cell_sum *c = &b->sum.cells[i];

		if (c->site >= b->p->nsites) /* its site was cut off by a shrinking count */
			continue;
		/* LEDGER_THREAD_OTHER, and threads that are not in the table, are "unknown/other". */
		cells[n].site = c->site;
		cells[n].thread = c->thread < b->p->nthreads ? c->thread : 0;
		cells[n++].inuse = live_value(&c->sum, c->max_weight);
	}
	b->p->ncells = n;
	return 0;
}

static void finish_blocks(struct build *b)
{
	struct prof_block *blocks = b->sum.blocks;
	size_t n = 0;

	for (size_t i = 0; i < b->sum.nblocks; i++) {
		if (blocks[i].site >= b->p->nsites)
			continue;
		blocks[n] = blocks[i];
		blocks[n].born <<= b->f.h.tick_shift; /* ticks until here */
		if (blocks[n].thread >= b->p->nthreads)
			blocks[n].thread = 0;
		n++;
	}
	b->p->blocks = TAKE(b->sum.blocks);
	b->p->nblocks = n;
}

/* ---- peak and timeline ------------------------------------------------------- */

/* Of memory: the tracker's peak does not count thread stacks either. */
static uint64_t total_inuse(const struct profile *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < p->nsites; i++)
		if (p->sites[i].kind != PROF_STACK &&
		    __builtin_add_overflow(sum, p->sites[i].inuse.bytes, &sum))
			return UINT64_MAX;
	return sum;
}

/* The composition at the peak as the tracker copied it; n entries, NULL when there is none. */
static int read_peak_copy(struct build *b, struct ledger_peak **ret_peak, uint64_t *ret_n)
{
	const struct ledger_header *h = &b->f.h;

	for (int i = 0; i < PEAK_TRIES; i++) {
		_cleanup_free_ struct ledger_peak *peak = NULL;
		uint64_t when = h->peak_copy_mono_ns, n = h->peak_copy_sites;
		uint32_t which = h->peak_which & 1;
		int r;

		if (!h->peak_valid)
			return 0;
		if (n > b->p->nsites)
			n = b->p->nsites;
		peak = calloc(n + 1, sizeof(*peak));
		if (!peak)
			return -ENOMEM;
		r = ledger_file_read(&b->f, LEDGER_PEAK,
		                     which * (uint64_t)h->max_sites * sizeof(*peak), peak,
		                     n * sizeof(*peak));
		if (!r)
			r = ledger_file_counts(&b->f);
		if (r < 0)
			return r;
		/* The writer works on the other half; when it finished one, this half may be its next. */
		if (h->peak_valid && (h->peak_which & 1) == which && h->peak_copy_mono_ns == when) {
			*ret_peak = TAKE(peak);
			*ret_n = n;
			return 0;
		}
	}
	b->p->losses.torn++;
	return 0;
}

/* The variance of a site's peak: what an allocated byte (block) of it has, for each one in use then. */
static double share(double var, uint64_t part, uint64_t whole)
{
	return whole ? variance_of(var * ((double)part / (double)whole)) : 0;
}

static int read_peak(struct build *b)
{
	_cleanup_free_ struct ledger_peak *copy = NULL;
	struct profile *p = b->p;
	uint64_t n = 0, now = total_inuse(p), copied = 0;
	int r = read_peak_copy(b, &copy, &n);

	if (r < 0)
		return r;
	for (uint64_t i = 0; i < n; i++)
		if (p->sites[i].kind != PROF_STACK &&
		    __builtin_add_overflow(copied, bytes_of(copy[i].bytes), &copied))
			copied = UINT64_MAX;
	if (!copy || now > copied) {
		for (size_t i = 0; i < p->nsites; i++)
			p->sites[i].peak = p->sites[i].inuse;
		copied = now;
	} else {
		for (uint64_t i = 0; i < n; i++) {
			struct prof_site *s = &p->sites[i];

			s->peak.blocks = blocks_of(copy[i].count);
			s->peak.bytes = bytes_of(copy[i].bytes);
			s->peak.var_blocks =
				share(s->alloc.var_blocks, s->peak.blocks, s->alloc.blocks);
			s->peak.max_weight = s->alloc.max_weight; /* at most */
			s->peak.var_bytes = share(s->alloc.var_bytes, s->peak.bytes, s->alloc.bytes);
		}
	}
	p->peak_copy_bytes = copied;
	p->peak_bytes = bytes_of(b->f.h.peak_bytes);
	p->peak_time = since_start(b, b->f.h.peak_mono_ns);
	if (p->peak_bytes < copied) {
		p->peak_bytes = copied;
		p->peak_time = copied == now
		                       ? UINT64_MAX
		                       : p->peak_time; /* now: set when the duration is known */
	}
	return 0;
}

static int read_timeline(struct build *b)
{
	_cleanup_free_ struct ledger_point *in = NULL;
	struct profile *p = b->p;
	uint64_t n = 0;
	int r;

	/* A writer that halves the timeline moves points under us; their count shows it. */
	for (int i = 0; i < TIMELINE_TRIES; i++) {
		free(TAKE(in));
		n = b->f.h.npoints;
		r = ledger_file_copy(&b->f, LEDGER_TIMELINE, n, sizeof(*in), &in);
		if (!r)
			r = ledger_file_counts(&b->f);
		if (r < 0)
			return r;
		if (b->f.h.npoints >= n)
			break;
	}
	p->points = calloc(n + 2, sizeof(*p->points)); /* and two of finish_timeline() */
	if (!p->points)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		struct prof_point *last = p->npoints ? &p->points[p->npoints - 1] : NULL;
		uint64_t t;

		if (in[i].mono_ns < b->f.h.start_mono_ns ||
		    (last && in[i].mono_ns - b->f.h.start_mono_ns < last->time)) {
			p->losses.torn++;
			continue;
		}
		t = since_start(b, in[i].mono_ns);
		p->points[p->npoints++] = (struct prof_point){ t, bytes_of(in[i].inuse_bytes),
			                                       in[i].alloc_bytes,
			                                       in[i].alloc_count };
	}
	return 0;
}

static void put_point(struct profile *p, size_t at, const struct prof_point *point)
{
	memmove(&p->points[at + 1], &p->points[at], (p->npoints - at) * sizeof(*p->points));
	p->points[at] = *point;
	p->npoints++;
}

/* What the tracker notes now and then misses the two moments everybody asks for: the peak, and the last. */
static void finish_timeline(struct profile *p)
{
	struct prof_totals t = profile_totals_of(p, PROF_MEMORY);
	struct prof_point last = { p->duration_ns, t.inuse.bytes, t.alloc.bytes, t.alloc.blocks };
	struct prof_point peak = { p->peak_time, p->peak_bytes, 0, 0 }, before = { 0 };
	size_t at = 0;

	if (p->npoints && p->points[p->npoints - 1].time >= last.time)
		last.time = p->points[p->npoints - 1].time;
	put_point(p, p->npoints, &last);
	for (size_t i = 0; i < p->npoints; i++)
		if (p->points[i].inuse >= peak.inuse)
			return;
	while (at + 1 < p->npoints && p->points[at].time <= peak.time)
		before = p->points[at++];
	/* how much had been allocated by then nobody noted: at least what the point before says */
	peak.alloc_bytes = before.alloc_bytes;
	peak.alloc_blocks = before.alloc_blocks;
	peak.time = peak.time < p->points[at].time ? peak.time : p->points[at].time;
	put_point(p, at, &peak);
}

static int read_classes(struct build *b)
{
	size_t n = (size_t)b->f.h.nshards * LEDGER_SIZE_CLASSES;
	struct ledger_class sum[LEDGER_SIZE_CLASSES] = { 0 };
	_cleanup_free_ struct ledger_class *in = NULL;
	uint64_t at = 0, end = n * sizeof(*in), len;

	in = calloc(n, sizeof(*in)); /* shards without storage cost nothing here either */
	if (!in)
		return -ENOMEM;
	while ((len = ledger_file_next(&b->f, LEDGER_CLASSES, &at, end, end)) != 0) {
		int r = ledger_file_read(&b->f, LEDGER_CLASSES, at, (uint8_t *)in + at, len);

		if (r < 0)
			return r;
		at += len;
	}
	for (size_t i = 0; i < n; i++) {
		struct ledger_class *c = &sum[i % LEDGER_SIZE_CLASSES];

		c->alloc_count += in[i].alloc_count;
		c->alloc_bytes += in[i].alloc_bytes;
		c->free_count += in[i].free_count;
		c->free_bytes += in[i].free_bytes;
	}
	for (unsigned int i = 0; i < LEDGER_SIZE_CLASSES; i++) {
		b->p->classes[i].alloc.blocks = blocks_of(sum[i].alloc_count);
		b->p->classes[i].alloc.bytes = bytes_of(sum[i].alloc_bytes);
		b->p->classes[i].freed.blocks = blocks_of(sum[i].free_count);
		b->p->classes[i].freed.bytes = bytes_of(sum[i].free_bytes);
	}
	return 0;
}

/* ---- all of it ----------------------------------------------------------------- */

static int build(struct build *b, const struct read_options *opts)
{
	enum writer_state writer = writer_state(&b->f.h, &b->f.st);
	int r = ledger_sum_live(&b->sum, &b->f, opts && opts->blocks, &b->p->losses.torn);

	if (!r)
		r = ledger_file_counts(&b->f);
	if (!r)
		r = ledger_sum_counters(&b->sum, &b->f);
	if (!r)
		r = read_classes(b);
	if (!r)
		r = read_sites(b);
	if (!r)
		r = ledger_file_counts(&b->f); /* the nodes of the sites just read */
	if (!r)
		r = read_frames(b);
	if (!r)
		r = ledger_file_counts(&b->f); /* the modules of the nodes just read */
	if (!r)
		r = read_modules(b);
	if (!r)
		r = read_threads(b);
	if (!r)
		r = read_cells(b);
	if (r < 0)
		return r;
	ticks_ns(b, b->sum.newest);
	finish_blocks(b);
	check_stacks(b);
	r = read_peak(b);
	if (!r)
		r = read_timeline(b);
	/* It may have ended meanwhile; what was read is then what it left. */
	if (!r && writer == WRITER_RUNNING)
		writer = writer_state(&b->f.h, &b->f.st);
	if (!r)
		r = read_identity(b, writer);
	if (r < 0)
		return r;
	read_duration(b);
	r = read_rss(b->p);
	if (r < 0)
		return r;
	if (b->p->peak_time > b->p->duration_ns)
		b->p->peak_time = b->p->duration_ns;
	finish_timeline(b->p);
	return 0;
}

struct seep_error *ledger_read(const char *path, const struct read_options *opts,
                               struct profile **ret_profile)
{
	_cleanup_profile_ struct profile *p = profile_new();
	struct build b = { .p = p }; /* not from malloc(): the header in it is aligned to a page */
	struct seep_error *err;
	int r;

	if (!p)
		return &seep_error_nomem;
	err = ledger_file_open(path, &b.f);
	if (err)
		return err;
	r = build(&b, opts);
	err = r < 0 ? ledger_file_error(&b.f, r) : profile_check(p);
	ledger_sum_release(&b.sum);
	ledger_file_close(&b.f);
	if (err)
		return err;
	*ret_profile = TAKE(p);
	return NULL;
}
