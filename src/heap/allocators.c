/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocators.h: from the kind of an allocator to what it can do, and the table of options.
 */
#include "heap/allocators_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define TEXT_FIRST (256u << 10)
#define TEXT_MOST (8u << 20)

static const struct allocator_way *const ways[ALLOCATOR_KINDS] = {
	[ALLOCATOR_JEMALLOC] = &allocator_jemalloc,
	[ALLOCATOR_GPERFTOOLS] = &allocator_gperftools,
	[ALLOCATOR_TCMALLOC] = &allocator_tcmalloc,
	[ALLOCATOR_MIMALLOC] = &allocator_mimalloc,
};

/* ---- small things -------------------------------------------------------------------------- */

void allocator_stats_clear(struct allocator_stats *s)
{
	memset(s, 0xff, sizeof(*s));
	s->version[0] = '\0';
}

void allocator_fact(struct allocator_details *d, const char *name, const char *fmt, ...)
{
	struct allocator_fact *grown;
	va_list ap;

	if (!d)
		return;
	grown = realloc(d->facts, (d->nfacts + 1) * sizeof(*grown));
	if (!grown)
		return;
	d->facts = grown;
	snprintf(grown[d->nfacts].name, sizeof(grown->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(grown[d->nfacts].text, sizeof(grown->text), fmt, ap);
	va_end(ap);
	d->nfacts++;
}

void allocator_details_release(struct allocator_details *d)
{
	free(d->arenas);
	free(d->bins);
	free(d->facts);
	*d = (struct allocator_details){ 0 };
}

void allocator_clean(char *to, size_t room, const char *from, size_t len)
{
	size_t n = 0;

	while (n + 1 < room && n < len && from[n]) {
		unsigned char c = (unsigned char)from[n];

		to[n++] = c < 32 || c > 126 ? '?' : (char)c;
	}
	to[n] = '\0';
}

struct seep_error *allocator_no_option(const struct allocator *a, enum allocator_option o)
{
	return seep_error_hint(seep_error_new(0, "%s in %s has no %s", a->name, a->module,
	                                      allocator_option_name(o)),
	                       "`seep heap` shows what it can be told.");
}

struct seep_error *allocator_refused(const struct allocator *a, const char *what, int code)
{
	return seep_error_new(code, "%s in %s refused %s", a->name, a->module, what);
}

struct seep_error *allocator_lacks(const struct allocator *a, const char *function)
{
	return seep_error_hint(seep_error_new(0, "%s in %s does not define %s", a->name, a->module,
	                                      function),
	                       "It was left out when it was built, or the program was stripped.");
}

static struct seep_error *cannot_ask(const struct allocator *a)
{
	return seep_error_hint(seep_error_new(0, "%s is not asked", a->name),
	                       "Its heap is read without running anything in the process.");
}

static const struct allocator_way *way_of(const struct allocators *as, size_t i)
{
	static const struct allocator_way none;

	return i < as->n && ways[as->items[i].kind] ? ways[as->items[i].kind] : &none;
}

/* ---- asking --------------------------------------------------------------------------------- */

struct seep_error *allocator_ask(struct allocators *as, size_t i, struct allocator_stats *ret,
                                 struct allocator_details *details, struct allocator_visit *visit)
{
	struct allocator_stats stats;
	struct allocator_visit v = { 0 };
	struct allocator_details d = { 0 };
	struct seep_error *err;

	if (!way_of(as, i)->ask)
		return cannot_ask(&as->items[i]);
	allocator_stats_clear(&stats);
	err = way_of(as, i)->ask(as, &as->items[i], &stats, details ? &d : NULL, &v);
	if (err) {
		allocator_details_release(&d);
		return err;
	}
	snprintf(as->items[i].version, sizeof(as->items[i].version), "%s", stats.version);
	*ret = stats;
	if (details)
		*details = d;
	if (visit)
		*visit = v;
	return NULL;
}

/* Twice at most: how long it is shows when it has been written. */
struct seep_error *allocator_text(struct allocators *as, size_t i, const char *opts,
                                  struct buf *ret, bool *ret_cut)
{
	size_t room = TEXT_FIRST;

	if (!way_of(as, i)->text)
		return cannot_ask(&as->items[i]);
	for (;;) {
		_cleanup_remote_ struct remote r;
		struct remote_arg at = remote_value(0);
		const struct remote_text *t;
		struct seep_error *err;
		uint64_t len;

		remote_init(&r, as);
		err = way_of(as, i)->text(as, &as->items[i], opts, room, &r, &at);
		if (!err)
			err = remote_run(&r, NULL);
		if (err)
			return err;
		t = remote_bytes(&r, at);
		len = t->len;
		if (len > room && room < TEXT_MOST) {
			room = len + len / 4 < TEXT_MOST ? len + len / 4 : TEXT_MOST;
			continue;
		}
		*ret_cut = len > room;
		len = len < room ? len : room;
		return buf_add(ret, t->bytes, strnlen(t->bytes, len)) ? &seep_error_nomem : NULL;
	}
}

/* ---- acting --------------------------------------------------------------------------------- */

struct seep_error *allocator_release(struct allocators *as, size_t i, uint64_t bytes,
                                     uint64_t *ret_bytes, struct allocator_visit *visit)
{
	struct allocator_visit v = { 0 };
	uint64_t released = ALLOCATOR_UNKNOWN;
	struct seep_error *err;

	if (!way_of(as, i)->release)
		return cannot_ask(&as->items[i]);
	err = way_of(as, i)->release(as, &as->items[i], bytes, &released, &v);
	if (err)
		return err;
	*ret_bytes = released;
	if (visit)
		*visit = v;
	return NULL;
}

static const struct option {
	const char *name;
	unsigned int kinds; /* bits */
	double least, most;
	bool whole;
} options[ALLOCATOR_OPTIONS] = {
	[ALLOCATOR_DIRTY_DECAY] = { "dirty-decay-ms", 1u << ALLOCATOR_JEMALLOC, -1, 1e15, true },
	[ALLOCATOR_MUZZY_DECAY] = { "muzzy-decay-ms", 1u << ALLOCATOR_JEMALLOC, -1, 1e15, true },
	[ALLOCATOR_BACKGROUND_THREAD] = { "background-thread", 1u << ALLOCATOR_JEMALLOC, 0, 1, true },
	[ALLOCATOR_RELEASE_RATE] = { "release-rate",
	                             1u << ALLOCATOR_GPERFTOOLS | 1u << ALLOCATOR_TCMALLOC, 0, 9e15,
	                             false },
	[ALLOCATOR_AGGRESSIVE_DECOMMIT] = { "aggressive-decommit", 1u << ALLOCATOR_GPERFTOOLS, 0, 1,
	                                    true },
	[ALLOCATOR_THREAD_CACHE] = { "thread-cache",
	                             1u << ALLOCATOR_GPERFTOOLS | 1u << ALLOCATOR_TCMALLOC, 0, 9e15,
	                             true },
	[ALLOCATOR_PURGE_DELAY] = { "purge-delay-ms", 1u << ALLOCATOR_MIMALLOC, -1, 2147483647,
	                            true },
};

const char *allocator_option_name(enum allocator_option o)
{
	return options[o].name;
}

bool allocator_option_find(const char *name, enum allocator_option *ret)
{
	for (size_t i = 0; i < ALLOCATOR_OPTIONS; i++)
		if (!strcmp(options[i].name, name)) {
			*ret = (enum allocator_option)i;
			return true;
		}
	return false;
}

bool allocator_has_option(enum allocator_kind kind, enum allocator_option o)
{
	return options[o].kinds >> kind & 1;
}

struct seep_error *allocator_options_get(struct allocators *as, size_t i,
                                         struct allocator_value ret[ALLOCATOR_OPTIONS],
                                         struct allocator_visit *visit)
{
	struct allocator_value values[ALLOCATOR_OPTIONS] = { 0 };
	struct allocator_visit v = { 0 };
	struct seep_error *err;

	if (!way_of(as, i)->get)
		return cannot_ask(&as->items[i]);
	err = way_of(as, i)->get(as, &as->items[i], values, &v);
	if (err)
		return err;
	memcpy(ret, values, sizeof(values));
	if (visit)
		*visit = v;
	return NULL;
}

static struct seep_error *check_value(const struct allocator *a, enum allocator_option o,
                                      double value)
{
	double most = o == ALLOCATOR_RELEASE_RATE && a->kind == ALLOCATOR_GPERFTOOLS
	                      ? 10
	                      : options[o].most;

	/* Not a number is in no range. */
	if (!(value >= options[o].least && value <= most) ||
	    (options[o].whole && value != (double)(int64_t)value))
		return seep_error_new(0, "%s of %s must be %s from %.0f to %.0f, not %g",
		                      options[o].name, a->name,
		                      options[o].whole ? "a whole number" : "a number",
		                      options[o].least, most, value);
	return NULL;
}

struct seep_error *allocator_option_set(struct allocators *as, size_t i, enum allocator_option o,
                                        double value, struct allocator_value *ret_old,
                                        struct allocator_value *ret_new,
                                        struct allocator_visit *visit)
{
	struct allocator_value old = { 0 }, new = { 0 };
	struct allocator_visit v = { 0 };
	struct seep_error *err;

	if (!way_of(as, i)->set || !allocator_has_option(as->items[i].kind, o))
		return allocator_no_option(&as->items[i], o);
	err = check_value(&as->items[i], o, value);
	if (!err)
		err = way_of(as, i)->set(as, &as->items[i], o, value, &old, &new, &v);
	if (err)
		return err;
	if (ret_old)
		*ret_old = old;
	if (ret_new)
		*ret_new = new;
	if (visit)
		*visit = v;
	return NULL;
}

bool allocator_option_environment(const struct allocator *a, enum allocator_option o, double value,
                                  struct buf *ret)
{
	long long whole = (long long)value;
	char prefix[sizeof(a->prefix)] = "";

	/* jemalloc's variable has the prefix, too, in capitals. */
	for (size_t i = 0; a->prefix[i]; i++)
		prefix[i] = (char)(a->prefix[i] >= 'a' && a->prefix[i] <= 'z' ? a->prefix[i] - 32
		                                                              : a->prefix[i]);
	if (!allocator_has_option(a->kind, o))
		return false;
	switch (o) {
	case ALLOCATOR_DIRTY_DECAY:
		return !buf_printf(ret, "%sMALLOC_CONF=dirty_decay_ms:%lld", prefix, whole);
	case ALLOCATOR_MUZZY_DECAY:
		return !buf_printf(ret, "%sMALLOC_CONF=muzzy_decay_ms:%lld", prefix, whole);
	case ALLOCATOR_BACKGROUND_THREAD:
		return !buf_printf(ret, "%sMALLOC_CONF=background_thread:%s", prefix,
		                   whole ? "true" : "false");
	case ALLOCATOR_RELEASE_RATE:
		/* Google's has no variable for it: the program has to set it. */
		return a->kind == ALLOCATOR_GPERFTOOLS &&
		       !buf_printf(ret, "TCMALLOC_RELEASE_RATE=%g", value);
	case ALLOCATOR_AGGRESSIVE_DECOMMIT:
		return !buf_printf(ret, "TCMALLOC_AGGRESSIVE_DECOMMIT=%s", whole ? "t" : "f");
	case ALLOCATOR_THREAD_CACHE:
		return a->kind == ALLOCATOR_GPERFTOOLS &&
		       !buf_printf(ret, "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES=%lld", whole);
	case ALLOCATOR_PURGE_DELAY:
		/* Its name until 2.0.9; later ones still know it. */
		return !buf_printf(ret, "MIMALLOC_%s_DELAY=%lld",
		                   a->version[0] && strcmp(a->version, "2.1") < 0 ? "DECOMMIT"
		                                                                  : "PURGE",
		                   whole);
	case ALLOCATOR_OPTIONS:
		break;
	}
	return false;
}
