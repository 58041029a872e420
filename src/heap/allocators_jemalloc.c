/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jemalloc by mallctl(): one call for each number, all in one visit, after one epoch, so that they belong together.
 *
 * How many arenas and size classes there are is known only after the first visit; details need a second.  What it
 * merges over arenas it has under index 4096 since version 5, and under the number of arenas before.
 */
#include "heap/allocators_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/error.h"

#define ALL 4096u
#define MOST_ARENAS 4096u
#define MOST_CLASSES 512u

/* A question, and where its answer will be. */
struct ctl {
	size_t call;
	struct remote_arg out;
};

static struct ctl question(struct remote *r, const struct allocator *a, const char *name,
                           size_t width, const uint64_t *set)
{
	struct ctl c = { .out = remote_word(r, 0) };
	struct remote_arg len = remote_word(r, width);
	struct remote_arg none = remote_value(0);

	c.call = remote_call(r, a->functions[JE_MALLCTL],
	                     REMOTE_LIST(remote_string(r, name), width ? c.out : none,
	                                 width ? len : none, set ? remote_word(r, *set) : none,
	                                 remote_value(set ? width : 0)));
	return c;
}

static struct ctl ask_for(struct remote *r, const struct allocator *a, size_t width,
                          const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static struct ctl ask_for(struct remote *r, const struct allocator *a, size_t width,
                          const char *fmt, ...)
{
	char name[96];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return question(r, a, name, width, NULL);
}

/* mallctl() returns an int: the upper half of the register is anything. */
static bool answered(struct remote *r, struct ctl c)
{
	const struct remote_op *op = remote_op(r, c.call);

	return op->called && (int32_t)op->result == 0;
}

static int32_t code_of(struct remote *r, struct ctl c)
{
	const struct remote_op *op = remote_op(r, c.call);

	return op->called ? (int32_t)op->result : ENOSYS;
}

static uint64_t answer(struct remote *r, struct ctl c)
{
	return answered(r, c) ? remote_get(r, c.out) : ALLOCATOR_UNKNOWN;
}

static uint64_t times(uint64_t n, uint64_t size)
{
	uint64_t v;

	return !allocator_known(n) || !allocator_known(size) || __builtin_mul_overflow(n, size, &v)
	               ? ALLOCATOR_UNKNOWN
	               : v;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	uint64_t v;

	return !allocator_known(a) || !allocator_known(b) || __builtin_add_overflow(a, b, &v)
	               ? ALLOCATOR_UNKNOWN
	               : v;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return !allocator_known(a) || !allocator_known(b) ? ALLOCATOR_UNKNOWN : a > b ? a - b : 0;
}

/* A string of the target's by its address. */
static void read_text(pid_t pid, uint64_t at, char *to, size_t room)
{
	char raw[128];
	size_t len = 0;

	/* It may end where its mapping does. */
	while (len < sizeof(raw) && allocator_known(at) && at) {
		struct iovec l = { raw + len, 16 }, r = { (void *)(uintptr_t)(at + len), 16 };

		if (((at + len) & 4095) > 4096 - 16)
			l.iov_len = r.iov_len = 4096 - ((at + len) & 4095);
		if (l.iov_len > sizeof(raw) - len)
			l.iov_len = r.iov_len = sizeof(raw) - len;
		if (process_vm_readv(pid, &l, 1, &r, 1, 0) != (ssize_t)l.iov_len)
			break;
		len += l.iov_len;
		if (memchr(raw + len - l.iov_len, '\0', l.iov_len))
			break;
	}
	allocator_clean(to, room, raw, len);
}

/* ---- the first visit ------------------------------------------------------------------------ */

/* What it can say of its settings: name and type ('b'ool, 's'tring, 'u'nsigned, 'z' size_t, 'd' ssize_t). */
static const struct {
	const char *name;
	char type;
} settings[] = {
	{ "config.stats", 'b' },
	{ "config.prof", 'b' },
	{ "config.malloc_conf", 's' },
	{ "opt.narenas", 'u' },
	{ "opt.percpu_arena", 's' },
	{ "opt.retain", 'b' },
	{ "opt.dss", 's' },
	{ "opt.oversize_threshold", 'z' },
	{ "opt.hpa", 'b' },
	{ "opt.metadata_thp", 's' },
	{ "opt.thp", 's' },
	{ "opt.background_thread", 'b' },
	{ "background_thread", 'b' },
	{ "max_background_threads", 'z' },
	{ "opt.dirty_decay_ms", 'd' },
	{ "arenas.dirty_decay_ms", 'd' },
	{ "opt.muzzy_decay_ms", 'd' },
	{ "arenas.muzzy_decay_ms", 'd' },
	{ "opt.tcache", 'b' },
	{ "opt.tcache_max", 'z' },
	{ "opt.lg_tcache_max", 'z' },
	{ "opt.junk", 's' },
	{ "opt.zero", 'b' },
	{ "opt.prof", 'b' },
	{ "prof.active", 'b' },
	{ "opt.stats_interval", 'd' },
	{ "stats.background_thread.num_threads", 'z' },
	{ "stats.metadata_thp", 'z' },
	{ "stats.zero_reallocs", 'z' },
};

static size_t width_of(char type)
{
	return type == 'b' ? 1 : type == 'u' ? 4 : 8;
}

/* The merged numbers, under an index. */
struct merged {
	struct ctl dirty, muzzy, tcache, stashed, base, internal;
};

static struct merged ask_merged(struct remote *r, const struct allocator *a, unsigned int i)
{
	return (struct merged){
		.dirty = ask_for(r, a, 8, "stats.arenas.%u.pdirty", i),
		.muzzy = ask_for(r, a, 8, "stats.arenas.%u.pmuzzy", i),
		.tcache = ask_for(r, a, 8, "stats.arenas.%u.tcache_bytes", i),
		.stashed = ask_for(r, a, 8, "stats.arenas.%u.tcache_stashed_bytes", i),
		.base = ask_for(r, a, 8, "stats.arenas.%u.base", i),
		.internal = ask_for(r, a, 8, "stats.arenas.%u.internal", i),
	};
}

struct first {
	struct ctl version, page, narenas, nbins, nlarge;
	struct ctl allocated, active, metadata, resident, mapped, retained;
	struct merged merged;
	struct ctl setting[ARRAY_SIZE(settings)];
};

static void epoch(struct remote *r, const struct allocator *a)
{
	const uint64_t one = 1;

	question(r, a, "epoch", 8, &one);
}

static void ask_first(struct remote *r, const struct allocator *a, struct first *f)
{
	epoch(r, a);
	f->allocated = ask_for(r, a, 8, "stats.allocated");
	f->active = ask_for(r, a, 8, "stats.active");
	f->metadata = ask_for(r, a, 8, "stats.metadata");
	f->resident = ask_for(r, a, 8, "stats.resident");
	f->mapped = ask_for(r, a, 8, "stats.mapped");
	f->retained = ask_for(r, a, 8, "stats.retained");
	f->merged = ask_merged(r, a, ALL);
	f->version = ask_for(r, a, 8, "version");
	f->page = ask_for(r, a, 8, "arenas.page");
	f->narenas = ask_for(r, a, 4, "arenas.narenas");
	f->nbins = ask_for(r, a, 4, "arenas.nbins");
	f->nlarge = ask_for(r, a, 4, "arenas.nlextents");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		f->setting[i] = ask_for(r, a, width_of(settings[i].type), "%s", settings[i].name);
}

static void take_settings(struct remote *r, const struct first *f, struct allocator_details *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings) && d; i++) {
		uint64_t v = answer(r, f->setting[i]);
		char text[64];

		if (!answered(r, f->setting[i]))
			continue;
		switch (settings[i].type) {
		case 'b':
			allocator_fact(d, settings[i].name, "%s", v & 1 ? "true" : "false");
			break;
		case 's':
			read_text(r->as->pid, v, text, sizeof(text));
			allocator_fact(d, settings[i].name, "%s", text);
			break;
		case 'd':
			allocator_fact(d, settings[i].name, "%lld", (long long)v);
			break;
		default:
			allocator_fact(d, settings[i].name, "%llu", (unsigned long long)v);
		}
	}
}

static void take_merged(struct remote *r, const struct merged *m, struct allocator_stats *s)
{
	uint64_t cached = answer(r, m->tcache), stashed = answer(r, m->stashed);

	s->dirty = times(answer(r, m->dirty), s->page_size);
	s->muzzy = times(answer(r, m->muzzy), s->page_size);
	s->thread_cache = allocator_known(stashed) ? plus(cached, stashed) : cached;
	s->live = minus(s->allocated, s->thread_cache);
}

static void take_first(struct remote *r, const struct first *f, struct allocator_stats *s)
{
	s->allocated = answer(r, f->allocated);
	s->active = answer(r, f->active);
	s->metadata = answer(r, f->metadata);
	s->resident = answer(r, f->resident);
	s->mapped = answer(r, f->mapped);
	s->retained = answer(r, f->retained);
	s->page_size = answer(r, f->page);
	s->narenas = answer(r, f->narenas);
	take_merged(r, &f->merged, s);
	read_text(r->as->pid, answer(r, f->version), s->version, sizeof(s->version));
	/* 5.3.0-0-g54eaed1d: what comes after the first dash is of no use to people. */
	if (strchr(s->version, '-'))
		*strchr(s->version, '-') = '\0';
}

/* ---- the second: arenas and size classes -------------------------------------------------------- */

enum { ARENA_CTLS = 14 };

static const struct arena_ctl {
	const char *name;
	size_t width;
} arena_ctls[ARENA_CTLS] = {
	{ "arena.%u.initialized", 1 },
	{ "stats.arenas.%u.nthreads", 4 },
	{ "stats.arenas.%u.small.allocated", 8 },
	{ "stats.arenas.%u.large.allocated", 8 },
	{ "stats.arenas.%u.pactive", 8 },
	{ "stats.arenas.%u.pdirty", 8 },
	{ "stats.arenas.%u.pmuzzy", 8 },
	{ "stats.arenas.%u.mapped", 8 },
	{ "stats.arenas.%u.retained", 8 },
	{ "stats.arenas.%u.resident", 8 },
	{ "stats.arenas.%u.base", 8 },
	{ "stats.arenas.%u.tcache_bytes", 8 },
	{ "arena.%u.dirty_decay_ms", 8 },
	{ "arena.%u.muzzy_decay_ms", 8 },
};

static struct ctl ask_numbered(struct remote *r, const struct allocator *a,
                               const struct arena_ctl *c, unsigned int i)
{
	char name[96];
	const char *mark = strstr(c->name, "%u");

	snprintf(name, sizeof(name), "%.*s%u%s", (int)(mark - c->name), c->name, i, mark + 2);
	return question(r, a, name, c->width, NULL);
}

static void take_arena(struct remote *r, const struct ctl *c, unsigned int index, uint64_t page,
                       struct allocator_arena *ret)
{
	*ret = (struct allocator_arena){
		.index = index,
		.nthreads = answered(r, c[1]) ? (uint32_t)answer(r, c[1]) : 0,
		.live = minus(plus(answer(r, c[2]), answer(r, c[3])), answer(r, c[11])),
		.active = times(answer(r, c[4]), page),
		.dirty = times(answer(r, c[5]), page),
		.muzzy = times(answer(r, c[6]), page),
		.mapped = answer(r, c[7]),
		.retained = answer(r, c[8]),
		.resident = answer(r, c[9]),
		.metadata = answer(r, c[10]),
		.thread_cache = answer(r, c[11]),
		.dirty_decay_ms = answered(r, c[12]) ? (int64_t)answer(r, c[12]) : -1,
		.muzzy_decay_ms = answered(r, c[13]) ? (int64_t)answer(r, c[13]) : -1,
	};
}

enum { BIN_CTLS = 5 };

static void ask_class(struct remote *r, const struct allocator *a, struct ctl *c, bool large,
                      unsigned int all, unsigned int i)
{
	if (large) {
		c[0] = ask_for(r, a, 8, "arenas.lextent.%u.size", i);
		c[1] = ask_for(r, a, 8, "arenas.lextent.%u.size", i);
		c[2] = ask_for(r, a, 8, "stats.arenas.%u.lextents.%u.curlextents", all, i);
		c[3] = ask_for(r, a, 8, "stats.arenas.%u.lextents.%u.nmalloc", all, i);
		c[4] = ask_for(r, a, 8, "stats.arenas.%u.lextents.%u.ndalloc", all, i);
	} else {
		c[0] = ask_for(r, a, 8, "arenas.bin.%u.size", i);
		c[1] = ask_for(r, a, 8, "arenas.bin.%u.slab_size", i);
		c[2] = ask_for(r, a, 8, "stats.arenas.%u.bins.%u.curregs", all, i);
		c[3] = ask_for(r, a, 8, "stats.arenas.%u.bins.%u.nmalloc", all, i);
		c[4] = ask_for(r, a, 8, "stats.arenas.%u.bins.%u.ndalloc", all, i);
	}
}

static void take_class(struct remote *r, const struct ctl *c, struct ctl slabs, bool large,
                       struct allocator_details *d)
{
	struct allocator_bin b = {
		.size = answer(r, c[0]),
		.slab_bytes = answer(r, c[1]),
		.blocks = answer(r, c[2]),
		.allocations = answer(r, c[3]),
		.frees = answer(r, c[4]),
	};

	b.slabs = large ? b.blocks : answer(r, slabs);
	/* Classes never used say nothing. */
	if (!allocator_known(b.size) || !allocator_known(b.blocks) || !b.allocations)
		return;
	d->bins[d->nbins++] = b;
}

static struct seep_error *ask_details(struct allocators *as, const struct allocator *a,
                                      const struct allocator_stats *s, unsigned int all,
                                      uint64_t nbins, uint64_t nlarge, struct allocator_details *d,
                                      struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	_cleanup_free_ struct ctl *arenas = NULL, *classes = NULL, *slabs = NULL;
	size_t na = allocator_known(s->narenas) ? s->narenas : 0, nc;
	struct seep_error *err;

	nbins = allocator_known(nbins) && nbins <= MOST_CLASSES ? nbins : 0;
	nlarge = allocator_known(nlarge) && nlarge <= MOST_CLASSES ? nlarge : 0;
	na = na < MOST_ARENAS ? na : MOST_ARENAS;
	nc = nbins + nlarge;
	remote_init(&r, as);
	arenas = calloc(na * ARENA_CTLS + 1, sizeof(*arenas));
	classes = calloc(nc * BIN_CTLS + 1, sizeof(*classes));
	slabs = calloc(nc + 1, sizeof(*slabs));
	d->arenas = calloc(na + 1, sizeof(*d->arenas));
	d->bins = calloc(nc + 1, sizeof(*d->bins));
	if (!arenas || !classes || !slabs || !d->arenas || !d->bins)
		return &seep_error_nomem;
	for (unsigned int i = 0; i < na; i++)
		for (size_t k = 0; k < ARENA_CTLS; k++)
			arenas[i * ARENA_CTLS + k] = ask_numbered(&r, a, &arena_ctls[k], i);
	for (unsigned int i = 0; i < nc; i++) {
		bool large = i >= nbins;

		ask_class(&r, a, &classes[i * BIN_CTLS], large, all,
		          large ? i - (unsigned int)nbins : i);
		if (!large)
			slabs[i] = ask_for(&r, a, 8, "stats.arenas.%u.bins.%u.curslabs", all, i);
	}
	err = remote_run(&r, visit);
	if (err)
		return err;
	for (unsigned int i = 0; i < na; i++)
		if (answer(&r, arenas[i * ARENA_CTLS]) == 1)
			take_arena(&r, &arenas[i * ARENA_CTLS], i, s->page_size,
			           &d->arenas[d->narenas++]);
	for (size_t i = 0; i < nc; i++)
		take_class(&r, &classes[i * BIN_CTLS], slabs[i], i >= nbins, d);
	return NULL;
}

static struct seep_error *ask(struct allocators *as, struct allocator *a, struct allocator_stats *s,
                              struct allocator_details *d, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	unsigned int all = ALL;
	struct first f;
	struct seep_error *err;

	if (!a->functions[JE_MALLCTL])
		return allocator_lacks(a, "mallctl");
	remote_init(&r, as);
	ask_first(&r, a, &f);
	err = remote_run(&r, visit);
	if (err)
		return err;
	take_first(&r, &f, s);
	take_settings(&r, &f, d);
	/* Before version 5. */
	if (!allocator_known(s->dirty) && allocator_known(s->allocated) && s->narenas < MOST_ARENAS) {
		_cleanup_remote_ struct remote again;
		struct merged m;

		all = (unsigned int)s->narenas;
		remote_init(&again, as);
		m = ask_merged(&again, a, all);
		err = remote_run(&again, visit);
		if (err)
			return err;
		take_merged(&again, &m, s);
	}
	if (!d)
		return NULL;
	return ask_details(as, a, s, all, answer(&r, f.nbins), answer(&r, f.nlarge), d, visit);
}

static struct seep_error *text(struct allocators *as, struct allocator *a, const char *opts,
                               size_t room, struct remote *r, struct remote_arg *ret)
{
	struct remote_arg none = remote_value(0), options = opts ? remote_string(r, opts) : none;

	(void)as;
	if (!a->functions[JE_STATS_PRINT])
		return allocator_lacks(a, "malloc_stats_print");
	*ret = remote_tail(r, room);
	if (!r->failed)
		memcpy(r->memory.data + ret->value, &(uint64_t){ room }, 8);
	remote_call(r, a->functions[JE_STATS_PRINT],
	            REMOTE_LIST(remote_writer(REMOTE_OPAQUE_FIRST), *ret, options));
	return NULL;
}

/* ---- acting ------------------------------------------------------------------------------------ */

static struct seep_error *how_many(struct allocators *as, const struct allocator *a,
                                   unsigned int *ret, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct seep_error *err;
	struct ctl c;

	remote_init(&r, as);
	c = ask_for(&r, a, 4, "arenas.narenas");
	err = remote_run(&r, visit);
	if (err)
		return err;
	if (!answered(&r, c))
		return allocator_refused(a, "arenas.narenas", code_of(&r, c));
	*ret = (unsigned int)remote_get(&r, c.out);
	if (*ret > MOST_ARENAS)
		*ret = MOST_ARENAS;
	return NULL;
}

static struct seep_error *release(struct allocators *as, struct allocator *a, uint64_t bytes,
                                  uint64_t *ret_bytes, struct allocator_visit *visit)
{
	unsigned int all = ALL;

	(void)bytes; /* it knows no limit */
	if (!a->functions[JE_MALLCTL])
		return allocator_lacks(a, "mallctl");
	for (;;) {
		_cleanup_remote_ struct remote r;
		struct merged before, after;
		struct ctl page, purge;
		struct seep_error *err;
		char name[64];

		remote_init(&r, as);
		page = ask_for(&r, a, 8, "arenas.page");
		question(&r, a, "thread.tcache.flush", 0, NULL);
		epoch(&r, a);
		before = ask_merged(&r, a, all);
		snprintf(name, sizeof(name), "arena.%u.purge", all);
		purge = question(&r, a, name, 0, NULL);
		epoch(&r, a);
		after = ask_merged(&r, a, all);
		err = remote_run(&r, visit);
		if (err)
			return err;
		if (answered(&r, purge)) {
			*ret_bytes =
				times(minus(plus(answer(&r, before.dirty), answer(&r, before.muzzy)),
			                    plus(answer(&r, after.dirty), answer(&r, after.muzzy))),
			              answer(&r, page));
			return NULL;
		}
		if (all != ALL)
			return allocator_refused(a, name, code_of(&r, purge));
		err = how_many(as, a, &all, visit);
		if (err)
			return err;
	}
}

static const char *const decay_names[] = {
	[ALLOCATOR_DIRTY_DECAY] = "dirty_decay_ms", [ALLOCATOR_MUZZY_DECAY] = "muzzy_decay_ms"
};

/* An option's questions: for arenas to come, and of each there is. */
struct decay {
	struct ctl general;
	struct ctl *each;
	unsigned int n;
};

static bool ask_decay(struct remote *r, const struct allocator *a, enum allocator_option o,
                      unsigned int n, struct decay *ret)
{
	*ret = (struct decay){ .each = calloc(n + 1, sizeof(struct ctl)), .n = n };
	if (!ret->each)
		return false;
	ret->general = ask_for(r, a, 8, "arenas.%s", decay_names[o]);
	for (unsigned int i = 0; i < n; i++)
		ret->each[i] = ask_for(r, a, 8, "arena.%u.%s", i, decay_names[o]);
	return true;
}

static struct allocator_value take_decay(struct remote *r, const struct decay *d)
{
	struct allocator_value v = { .known = answered(r, d->general) };
	bool any = false;

	v.value = v.lowest = v.highest = (double)(int64_t)answer(r, d->general);
	for (unsigned int i = 0; i < d->n; i++) {
		double x = (double)(int64_t)answer(r, d->each[i]);

		if (!answered(r, d->each[i]))
			continue; /* an arena not yet made */
		v.lowest = !any || x < v.lowest ? x : v.lowest;
		v.highest = !any || x > v.highest ? x : v.highest;
		any = true;
	}
	return v;
}

static struct allocator_value take_flag(struct remote *r, struct ctl c)
{
	double v = answered(r, c) && remote_get(r, c.out) & 0xff ? 1 : 0;

	return (struct allocator_value){ answered(r, c), v, v, v };
}

static struct seep_error *get(struct allocators *as, struct allocator *a,
                              struct allocator_value *ret, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct decay d[2] = { 0 };
	struct ctl background;
	struct seep_error *err;
	unsigned int n = 0;

	if (!a->functions[JE_MALLCTL])
		return allocator_lacks(a, "mallctl");
	remote_init(&r, as);
	err = how_many(as, a, &n, visit);
	if (err)
		return err;
	if (!ask_decay(&r, a, ALLOCATOR_DIRTY_DECAY, n, &d[0]) ||
	    !ask_decay(&r, a, ALLOCATOR_MUZZY_DECAY, n, &d[1]))
		r.failed = true;
	background = ask_for(&r, a, 1, "background_thread");
	err = remote_run(&r, visit);
	if (!err) {
		ret[ALLOCATOR_DIRTY_DECAY] = take_decay(&r, &d[0]);
		ret[ALLOCATOR_MUZZY_DECAY] = take_decay(&r, &d[1]);
		ret[ALLOCATOR_BACKGROUND_THREAD] = take_flag(&r, background);
	}
	free(d[0].each);
	free(d[1].each);
	return err;
}

static struct seep_error *set_background(struct allocators *as, const struct allocator *a,
                                         double value, struct allocator_value *ret_old,
                                         struct allocator_value *ret_new,
                                         struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct ctl before, change, after;
	const uint64_t v = value != 0;
	struct seep_error *err;

	remote_init(&r, as);
	before = ask_for(&r, a, 1, "background_thread");
	change = question(&r, a, "background_thread", 1, &v);
	after = ask_for(&r, a, 1, "background_thread");
	err = remote_run(&r, visit);
	if (err)
		return err;
	if (!answered(&r, before))
		return allocator_no_option(a, ALLOCATOR_BACKGROUND_THREAD);
	if (!answered(&r, change))
		return allocator_refused(a, "background_thread", code_of(&r, change));
	*ret_old = take_flag(&r, before);
	*ret_new = take_flag(&r, after);
	return NULL;
}

static struct seep_error *set(struct allocators *as, struct allocator *a, enum allocator_option o,
                              double value, struct allocator_value *ret_old,
                              struct allocator_value *ret_new, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct decay before = { 0 }, after = { 0 };
	const uint64_t v = (uint64_t)(int64_t)value;
	struct ctl change = { 0 };
	struct seep_error *err;
	unsigned int n = 0;
	char name[64];

	if (!a->functions[JE_MALLCTL])
		return allocator_lacks(a, "mallctl");
	if (o == ALLOCATOR_BACKGROUND_THREAD)
		return set_background(as, a, value, ret_old, ret_new, visit);
	err = how_many(as, a, &n, visit);
	if (err)
		return err;
	remote_init(&r, as);
	if (!ask_decay(&r, a, o, n, &before))
		r.failed = true;
	snprintf(name, sizeof(name), "arenas.%s", decay_names[o]);
	change = question(&r, a, name, 8, &v);
	for (unsigned int i = 0; i < n; i++) {
		char one[64];

		snprintf(one, sizeof(one), "arena.%u.%s", i, decay_names[o]);
		question(&r, a, one, 8, &v);
	}
	if (!ask_decay(&r, a, o, n, &after))
		r.failed = true;
	err = remote_run(&r, visit);
	if (!err && !answered(&r, before.general))
		err = allocator_no_option(a, o);
	if (!err && !answered(&r, change))
		err = allocator_refused(a, name, code_of(&r, change));
	if (!err) {
		*ret_old = take_decay(&r, &before);
		*ret_new = take_decay(&r, &after);
	}
	free(before.each);
	free(after.each);
	return err;
}

const struct allocator_way allocator_jemalloc = { ask, text, release, get, set };
