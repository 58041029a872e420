/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both tcmallocs: gperftools', and Google's newer one, which has other functions and mostly the same properties.
 *
 * A property is asked by name and says whether there is one of that name; versions differ in which they have.  gperftools'
 * release rate has C functions only from 2.14 on.  Before that it is a virtual method of MallocExtension; which slot
 * of the table it has is seen in the base class's table, which the library exports: the one that
 * holds the base class's own method.  Then it is called as a compiler would, through the object's table.
 */
#include "heap/allocators_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/error.h"

/* A property and where its answer will be. */
struct property {
	size_t call;
	struct remote_arg out;
};

static struct property question(struct remote *r, const struct allocator *a, const char *name)
{
	struct property p = { .out = remote_word(r, 0) };
	struct remote_arg text = remote_string(r, name);

	if (a->kind == ALLOCATOR_GPERFTOOLS)
		p.call = remote_call(r, a->functions[GP_GET], REMOTE_LIST(text, p.out));
	else
		p.call = remote_call(r, a->functions[TC_GET],
		                     REMOTE_LIST(text, remote_value(strlen(name)), p.out));
	return p;
}

/* An int in one, a bool in the other: its lowest byte is 1 in both. */
static bool answered(struct remote *r, struct property p)
{
	const struct remote_op *op = remote_op(r, p.call);

	return op->called && op->result & 0xff;
}

static uint64_t answer(struct remote *r, struct property p)
{
	return answered(r, p) ? remote_get(r, p.out) : ALLOCATOR_UNKNOWN;
}

static uint64_t first_of(struct remote *r, struct property p, struct property q)
{
	return answered(r, p) ? answer(r, p) : answer(r, q);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return !allocator_known(a) || !allocator_known(b) ? ALLOCATOR_UNKNOWN : a > b ? a - b : 0;
}

/* Unknown counts as nothing, unless all are. */
static uint64_t sum(uint64_t a, uint64_t b)
{
	return !allocator_known(a) ? b : !allocator_known(b) ? a : a + b;
}

static const char *const properties[] = {
	/* both */
	"generic.current_allocated_bytes",
	"generic.heap_size",
	"tcmalloc.pageheap_free_bytes",
	"tcmalloc.pageheap_unmapped_bytes",
	"tcmalloc.slack_bytes",
	"tcmalloc.max_total_thread_cache_bytes",
	"tcmalloc.current_total_thread_cache_bytes",
	/* gperftools */
	"generic.total_physical_bytes",
	"tcmalloc.central_cache_free_bytes",
	"tcmalloc.transfer_cache_free_bytes",
	"tcmalloc.thread_cache_free_bytes",
	"tcmalloc.pageheap_committed_bytes",
	"tcmalloc.pageheap_scavenge_count",
	"tcmalloc.pageheap_commit_count",
	"tcmalloc.pageheap_total_commit_bytes",
	"tcmalloc.pageheap_decommit_count",
	"tcmalloc.pageheap_total_decommit_bytes",
	"tcmalloc.pageheap_reserve_count",
	"tcmalloc.pageheap_total_reserve_bytes",
	"tcmalloc.spinlock_total_delay_ns",
	"tcmalloc.aggressive_memory_decommit",
	"tcmalloc.heap_limit_mb",
	"tcmalloc.sampling_period_bytes",
	"tcmalloc.min_per_thread_cache_bytes",
	"tcmalloc.impl.thread_cache_count",
	/* Google's */
	"generic.bytes_in_use_by_app",
	"generic.physical_memory_used",
	"generic.virtual_memory_used",
	"generic.peak_memory_usage",
	"generic.realized_fragmentation",
	"tcmalloc.central_cache_free",
	"tcmalloc.transfer_cache_free",
	"tcmalloc.sharded_transfer_cache_free",
	"tcmalloc.cpu_free",
	"tcmalloc.per_cpu_caches_active",
	"tcmalloc.thread_cache_free",
	"tcmalloc.thread_cache_count",
	"tcmalloc.metadata_bytes",
	"tcmalloc.page_heap_free",
	"tcmalloc.page_heap_unmapped",
	"tcmalloc.local_bytes",
	"tcmalloc.external_fragmentation_bytes",
	"tcmalloc.required_bytes",
	"tcmalloc.sampled_internal_fragmentation",
	"tcmalloc.desired_usage_limit_bytes",
	"tcmalloc.hard_usage_limit_bytes",
	"tcmalloc.soft_limit_hits",
	"tcmalloc.hard_limit_hits",
	"tcmalloc.num_released_total_bytes",
};

static struct property named(const struct property *all, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
		if (!strcmp(properties[i], name))
			return all[i];
	return (struct property){ .call = SIZE_MAX };
}

static void take(struct remote *r, const struct property *p, struct allocator_stats *s)
{
	uint64_t sharded = answer(r, named(p, "tcmalloc.sharded_transfer_cache_free"));
	uint64_t cpu = answer(r, named(p, "tcmalloc.cpu_free"));
	uint64_t thread = first_of(r, named(p, "tcmalloc.thread_cache_free_bytes"),
	                           named(p, "tcmalloc.thread_cache_free"));

	s->live = s->allocated = answer(r, named(p, "generic.current_allocated_bytes"));
	s->pageheap_free = first_of(r, named(p, "tcmalloc.pageheap_free_bytes"),
	                            named(p, "tcmalloc.page_heap_free"));
	s->pageheap_unmapped = first_of(r, named(p, "tcmalloc.pageheap_unmapped_bytes"),
	                                named(p, "tcmalloc.page_heap_unmapped"));
	s->dirty = s->pageheap_free;
	s->central_cache = first_of(r, named(p, "tcmalloc.central_cache_free_bytes"),
	                            named(p, "tcmalloc.central_cache_free"));
	s->transfer_cache = sum(first_of(r, named(p, "tcmalloc.transfer_cache_free_bytes"),
	                                 named(p, "tcmalloc.transfer_cache_free")),
	                        sharded);
	s->thread_cache =
		sum(allocator_known(thread)
	                    ? thread
	                    : answer(r, named(p, "tcmalloc.current_total_thread_cache_bytes")),
	            cpu);
	s->max_thread_cache = answer(r, named(p, "tcmalloc.max_total_thread_cache_bytes"));
	s->resident = first_of(r, named(p, "generic.total_physical_bytes"),
	                       named(p, "generic.physical_memory_used"));
	s->mapped =
		first_of(r, named(p, "generic.virtual_memory_used"), named(p, "generic.heap_size"));
	s->metadata = answer(r, named(p, "tcmalloc.metadata_bytes"));
	s->retained = s->pageheap_unmapped;
	s->peak_resident = answer(r, named(p, "generic.peak_memory_usage"));
	s->nthreads = first_of(r, named(p, "tcmalloc.impl.thread_cache_count"),
	                       named(p, "tcmalloc.thread_cache_count"));
	/* gperftools 2.10 calls heap_size what is mapped, and has a committed figure. */
	s->committed = answer(r, named(p, "tcmalloc.pageheap_committed_bytes"));
	if (!allocator_known(s->committed))
		s->committed = minus(s->mapped, s->pageheap_unmapped);
}

/* ---- the release rate ---------------------------------------------------------------------------- */

/* Calls that end in reading or setting the rate; SIZE_MAX: there is no way. */
static size_t rate_call(struct remote *r, const struct allocator *a, const double *set)
{
	const uint64_t *fn = a->functions;
	struct remote_arg first = remote_value(0);
	uint64_t method = set ? fn[GP_SET_METHOD] : fn[GP_GET_METHOD];
	uint64_t slot = set ? fn[GP_SET_SLOT] : fn[GP_GET_SLOT];
	uint64_t plain = set ? fn[GP_SET_RATE] : fn[GP_GET_RATE];
	size_t call;

	if (a->kind == ALLOCATOR_TCMALLOC) {
		plain = set ? fn[TC_SET_RATE] : fn[TC_GET_RATE];
		first = remote_value(set ? (uint64_t)*set : 0);
	}
	if (plain) {
		call = remote_call(r, plain, REMOTE_LIST(first));
	} else if (a->kind == ALLOCATOR_GPERFTOOLS && fn[GP_INSTANCE] && (slot || method)) {
		first = remote_result_of(remote_call(r, fn[GP_INSTANCE], NULL, 0));
		call = remote_call(r, slot ? slot : method, REMOTE_LIST(first));
		if (!r->failed)
			remote_op(r, call)->virtual = slot != 0;
	} else {
		return SIZE_MAX;
	}
	if (set && !r->failed)
		remote_op(r, call)->real = *set;
	return call;
}

static struct allocator_value take_rate(struct remote *r, const struct allocator *a, size_t call)
{
	const struct remote_op *op = remote_op(r, call);
	double v = a->kind == ALLOCATOR_TCMALLOC ? (double)op->result : op->real_result;

	/* gperftools says -1 where it knows no rate. */
	return (struct allocator_value){ op->called && v >= 0, v, v, v };
}

/* ---- asking --------------------------------------------------------------------------------------- */

static void read_text(pid_t pid, uint64_t at, char *to, size_t room)
{
	char raw[48] = "";
	struct iovec l = { raw, sizeof(raw) - 1 }, r = { (void *)(uintptr_t)at, sizeof(raw) - 1 };

	/* Strings of a library do not end where its mapping does: something follows them. */
	if (process_vm_readv(pid, &l, 1, &r, 1, 0) == (ssize_t)(sizeof(raw) - 1))
		allocator_clean(to, room, raw, sizeof(raw));
}

static struct seep_error *ask(struct allocators *as, struct allocator *a, struct allocator_stats *s,
                              struct allocator_details *d, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct property all[ARRAY_SIZE(properties)];
	size_t version = SIZE_MAX, rate;
	struct seep_error *err;

	remote_init(&r, as);
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
		all[i] = question(&r, a, properties[i]);
	rate = rate_call(&r, a, NULL);
	if (a->kind == ALLOCATOR_GPERFTOOLS)
		version = remote_call(&r, a->functions[GP_VERSION],
		                      REMOTE_LIST(remote_word(&r, 0), remote_word(&r, 0),
		                                  remote_word(&r, 0)));
	err = remote_run(&r, visit);
	if (err)
		return err;
	take(&r, all, s);
	if (remote_op(&r, version)->called) {
		char words[64] = "";

		/* "gperftools 2.10" */
		read_text(as->pid, remote_op(&r, version)->result, words, sizeof(words));
		snprintf(s->version, sizeof(s->version), "%.31s",
		         strncmp(words, "gperftools ", 11) ? words : words + 11);
	}
	for (size_t i = 0; i < ARRAY_SIZE(properties) && d; i++)
		if (answered(&r, all[i]))
			allocator_fact(d, properties[i], "%llu",
			               (unsigned long long)answer(&r, all[i]));
	if (d && take_rate(&r, a, rate).known)
		allocator_fact(d, "release_rate", "%.15g", take_rate(&r, a, rate).value);
	return NULL;
}

static struct seep_error *text(struct allocators *as, struct allocator *a, const char *opts,
                               size_t room, struct remote *r, struct remote_arg *ret)
{
	uint64_t fn = a->kind == ALLOCATOR_GPERFTOOLS ? a->functions[GP_STATS]
	                                              : a->functions[TC_STATS_TEXT];
	struct remote_arg at;

	(void)as;
	(void)opts;
	if (!fn)
		return allocator_lacks(a, a->kind == ALLOCATOR_GPERFTOOLS
		                                  ? "MallocExtension_GetStats"
		                                  : "MallocExtension_Internal_GetStatsInPbtxt");
	/* It fills a plain buffer, always ended; how much it wanted to say is not told. */
	*ret = remote_tail(r, room);
	at = *ret;
	at.value += sizeof(struct remote_text);
	if (!r->failed)
		memcpy(r->memory.data + ret->value + 8, &(uint64_t){ room }, 8);
	remote_call(r, fn, REMOTE_LIST(at, remote_value(room)));
	return NULL;
}

/* ---- acting ----------------------------------------------------------------------------------------- */

static struct seep_error *release(struct allocators *as, struct allocator *a, uint64_t bytes,
                                  uint64_t *ret_bytes, struct allocator_visit *visit)
{
	bool old = a->kind == ALLOCATOR_GPERFTOOLS, all = bytes == UINT64_MAX;
	uint64_t fn = !old  ? a->functions[TC_RELEASE]
	              : all ? a->functions[GP_RELEASE_ALL]
	                    : a->functions[GP_RELEASE];
	_cleanup_remote_ struct remote r;
	struct property before, after;
	struct seep_error *err;
	size_t call;

	if (!fn)
		return allocator_lacks(a, !old  ? "MallocExtension_Internal_ReleaseMemoryToSystem"
		                          : all ? "MallocExtension_ReleaseFreeMemory"
		                                : "MallocExtension_ReleaseToSystem");
	remote_init(&r, as);
	before = question(&r, a, "tcmalloc.pageheap_unmapped_bytes");
	call = remote_call(&r, fn, REMOTE_LIST(remote_value(bytes)));
	after = question(&r, a, "tcmalloc.pageheap_unmapped_bytes");
	err = remote_run(&r, visit);
	if (err)
		return err;
	*ret_bytes = minus(answer(&r, after), answer(&r, before));
	if (!old && !allocator_known(*ret_bytes))
		*ret_bytes = remote_op(&r, call)->result;
	return NULL;
}

static struct allocator_value as_value(struct remote *r, struct property p)
{
	double v = (double)remote_get(r, p.out);

	return (struct allocator_value){ answered(r, p), v, v, v };
}

static const char *const option_names[ALLOCATOR_OPTIONS] = {
	[ALLOCATOR_AGGRESSIVE_DECOMMIT] = "tcmalloc.aggressive_memory_decommit",
	[ALLOCATOR_THREAD_CACHE] = "tcmalloc.max_total_thread_cache_bytes",
};

static struct seep_error *get(struct allocators *as, struct allocator *a,
                              struct allocator_value *ret, struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	struct property p[ALLOCATOR_OPTIONS];
	struct seep_error *err;
	size_t rate;

	remote_init(&r, as);
	for (size_t i = 0; i < ALLOCATOR_OPTIONS; i++)
		if (option_names[i])
			p[i] = question(&r, a, option_names[i]);
	rate = rate_call(&r, a, NULL);
	err = remote_run(&r, visit);
	if (err)
		return err;
	for (size_t i = 0; i < ALLOCATOR_OPTIONS; i++)
		if (option_names[i] && allocator_has_option(a->kind, (enum allocator_option)i))
			ret[i] = as_value(&r, p[i]);
	ret[ALLOCATOR_RELEASE_RATE] = take_rate(&r, a, rate);
	return NULL;
}

static struct seep_error *set_rate(struct allocators *as, const struct allocator *a, double value,
                                   struct allocator_value *ret_old, struct allocator_value *ret_new,
                                   struct allocator_visit *visit)
{
	_cleanup_remote_ struct remote r;
	size_t before, change, after;
	struct seep_error *err;

	remote_init(&r, as);
	before = rate_call(&r, a, NULL);
	change = rate_call(&r, a, &value);
	after = rate_call(&r, a, NULL);
	if (change == SIZE_MAX)
		return allocator_no_option(a, ALLOCATOR_RELEASE_RATE);
	err = remote_run(&r, visit);
	if (err)
		return err;
	if (!remote_op(&r, change)->called)
		return allocator_refused(a, "the release rate", 0);
	*ret_old = take_rate(&r, a, before);
	*ret_new = take_rate(&r, a, after);
	return NULL;
}

static struct seep_error *set(struct allocators *as, struct allocator *a, enum allocator_option o,
                              double value, struct allocator_value *ret_old,
                              struct allocator_value *ret_new, struct allocator_visit *visit)
{
	bool old = a->kind == ALLOCATOR_GPERFTOOLS;
	_cleanup_remote_ struct remote r;
	struct property before, after;
	struct seep_error *err;
	size_t change;

	if (o == ALLOCATOR_RELEASE_RATE)
		return set_rate(as, a, value, ret_old, ret_new, visit);
	if (!(old ? a->functions[GP_SET] : a->functions[TC_SET_CACHE]))
		return allocator_no_option(a, o);
	remote_init(&r, as);
	before = question(&r, a, option_names[o]);
	if (old)
		change = remote_call(&r, a->functions[GP_SET],
		                     REMOTE_LIST(remote_string(&r, option_names[o]),
		                                 remote_value((uint64_t)value)));
	else
		change = remote_call(&r, a->functions[TC_SET_CACHE],
		                     REMOTE_LIST(remote_value((uint64_t)value)));
	after = question(&r, a, option_names[o]);
	err = remote_run(&r, visit);
	if (err)
		return err;
	if (old && !(remote_op(&r, change)->result & 0xff))
		return allocator_refused(a, option_names[o], 0);
	*ret_old = as_value(&r, before);
	*ret_new = as_value(&r, after);
	return NULL;
}

const struct allocator_way allocator_gperftools = { ask, text, release, get, set };
const struct allocator_way allocator_tcmalloc = { ask, text, release, get, set };
