/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look, from a pid to the filled-in doctor:
 *
 *     kernel's counters -> ledger -> image (clone) -> smaps -> heap, roots, marking -> split -> pins, parts
 *
 * Each step may be refused, and then the others go on: /proc/PID/status is for everybody, smaps takes the right to look, an
 * image the right to trace.  A note says what was left out.  smaps is read right after the stop, while the process runs on:
 * only its sums for files and shared memory are used, anonymous pages are the clone's.
 */
#include "analysis/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/doctor_private.h"
#include "analysis/doctor_runtime.h"
#include "analysis/leaks.h"
#include "analysis/reach.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "heap/heap.h"
#include "proc/cgroup.h"
#include "proc/procfs.h"
#include "profile/profile.h"

#define MAX_LOOKS 5 /* at a heap that was caught in the middle of a change */
#define REST_NS 20000000
#define MAX_LEAKS 16

static int mapping_order(const void *a, const void *b)
{
	const struct doctor_mapping *x = a, *y = b;

	if (x->resident != y->resident)
		return x->resident < y->resident ? 1 : -1;
	return (x->start > y->start) - (x->start < y->start);
}

/* ---- what the kernel counts --------------------------------------------------------- */

static void set(struct doctor *d, enum doctor_fact f, uint64_t v)
{
	if (v != MEMORY_UNKNOWN)
		d->facts[f] = v;
}

static struct seep_error *count(struct doctor *d, struct memory_status *st)
{
	struct cgroup_memory cg;
	int r = memory_status_read(d->pid, st);

	if (r < 0)
		return seep_error_new(-r, "cannot look at process %d", (int)d->pid);
	if (st->size == MEMORY_UNKNOWN)
		return seep_error_new(0,
		                      "process %d has no memory of its own: it is a thread of the "
		                      "kernel, or has ended",
		                      (int)d->pid);
	set(d, FACT_RSS_KERNEL, st->rss);
	set(d, FACT_RSS_PEAK, st->peak);
	set(d, FACT_VIRTUAL, st->size);
	set(d, FACT_SWAP, st->swap);
	set(d, FACT_PAGE_TABLES, st->page_tables);
	set(d, FACT_HUGETLB, st->hugetlb);
	set(d, FACT_THREADS, st->threads);
	d->facts[FACT_AVAILABLE] = memory_available();
	if (cgroup_memory(d->pid, &cg) == 0) {
		d->cgroup = strdup(cg.path);
		if (cg.limit) {
			d->facts[FACT_CGROUP_LIMIT] = cg.limit;
			d->facts[FACT_CGROUP_USED] = cg.used;
		}
	}
	d->exe = procfs_exe(d->pid);
	d->command = procfs_command(d->pid);
	if (!d->exe)
		d->exe = strdup("");
	if (!d->command)
		d->command = strdup(st->name);
	return d->exe && d->command ? NULL : &seep_error_nomem;
}

/* Before there is a clone, with which the process shares every page. */
static void shares(struct doctor *d)
{
	struct memory_map sum;

	if (memory_rollup_read(d->pid, &sum) < 0)
		return;
	set(d, FACT_PSS, sum.pss);
	if (sum.private_clean != MEMORY_UNKNOWN && sum.private_dirty != MEMORY_UNKNOWN)
		d->facts[FACT_USS] = sum.private_clean + sum.private_dirty;
}

static void account(struct doctor *d, const struct memory_maps *maps)
{
	struct memory_map sum;

	memory_maps_sum(maps, &sum);
	d->facts[FACT_LAZY_FREE] = sum.lazy_free;
	d->facts[FACT_ANON_HUGE] = sum.anon_huge;
	if (sum.hugetlb)
		d->facts[FACT_HUGETLB] = sum.hugetlb;
	if (maps->dropped)
		doctor_note(d, "%zu lines of smaps made no sense and are left out", maps->dropped);
}

/* Only status: three sums of the kernel's, and nobody knows what the anonymous one is made of. */
static void from_status(struct doctor *d, const struct memory_status *st)
{
	set(d, FACT_ANON, st->rss_anon);
	d->classes[DOCTOR_FILE] = st->rss_file == MEMORY_UNKNOWN ? 0 : st->rss_file;
	d->classes[DOCTOR_SHMEM] = st->rss_shmem == MEMORY_UNKNOWN ? 0 : st->rss_shmem;
	d->facts[FACT_RSS] = st->rss == MEMORY_UNKNOWN ? 0 : st->rss;
	d->classes[DOCTOR_UNCLASSIFIED] = d->facts[FACT_RSS];
	for (int c = DOCTOR_FILE; c <= DOCTOR_SHMEM; c++)
		d->classes[DOCTOR_UNCLASSIFIED] -= d->classes[c] < d->classes[DOCTOR_UNCLASSIFIED]
		                                           ? d->classes[c]
		                                           : d->classes[DOCTOR_UNCLASSIFIED];
}

/* ---- leaks ---------------------------------------------------------------------------- */

static struct seep_error *take_leaks(struct doctor *d, const struct leaks *leaks)
{
	size_t n = leaks->n < MAX_LEAKS ? leaks->n : MAX_LEAKS;

	d->leaks = calloc(n + 1, sizeof(*d->leaks));
	if (!d->leaks)
		return &seep_error_nomem;
	for (size_t i = 0; i < n; i++) {
		const struct leak_record *r = &leaks->records[i];
		struct doctor_leak *l = &d->leaks[d->nleaks++];

		*l = (struct doctor_leak){ .site = r->site,
			                   .blocks = r->blocks + r->indirect_blocks,
			                   .bytes = r->bytes + r->indirect_bytes,
			                   .address = r->naddresses ? r->addresses[0] : 0 };
		if (r->site)
			continue;
		if (asprintf(&l->what, "%s%s",
		             r->content == CONTENT_VTABLE && r->what ? r->what
		             : r->content == CONTENT_TEXT            ? "text beginning with "
		             : r->content == CONTENT_ZERO            ? "zeros"
		                                                     : "unknown content",
		             r->content == CONTENT_TEXT && r->what ? r->what : "") < 0) {
			l->what = NULL;
			return &seep_error_nomem;
		}
	}
	return NULL;
}

static struct seep_error *mark(struct doctor_look *l, struct check_input *in,
                               const struct doctor_options *opts)
{
	struct reach_options ro = { .heuristics = REACH_ALL_HEURISTICS };
	struct leaks_options lo = { .classes = ROOT_BIT(REACH_DEFINITE),
		                    .debug_dirs = opts->debug_dirs };
	struct heap *h = in->heap;
	_cleanup_reach_ struct reach *r = NULL;
	struct leaks leaks = { 0 };
	struct seep_error *err;

	if (opts->no_leaks) {
		doctor_note(l->d, "leaks were not looked for: all blocks count as reachable");
		return NULL;
	}
	err = reach_run(l->img, h->blocks, h->nblocks, in->roots.items, in->roots.n, &ro, &r);
	if (!err)
		err = leaks_make(l->img, h->blocks, h->nblocks, r, in->profile, &lo, &leaks);
	if (!err)
		err = take_leaks(l->d, &leaks);
	leaks_release(&leaks);
	return err;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void take_notes(struct doctor *d, char **notes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (notes[i])
			doctor_note(d, "%s", notes[i]);
}

/* Everything there is in an image: img is read, and let go of by the caller. */
static struct seep_error *examine(struct doctor *d, struct image *img,
                                  const struct memory_maps *maps, const struct doctor_options *opts)
{
	const struct check_options co = { .ledger = opts->ledger, .free_chunks = true };
	struct check_input in = { 0 };
	struct doctor_look l = { .d = d, .img = img, .maps = maps, .in = &in, .ledger = opts->ledger };
	const struct doctor_runtime *runtime = doctor_runtime_in(img);
	struct seep_error *err = doctor_pages_take(img, maps, &l.pages);

	if (!err)
		err = check_input_make(img, &co, &in);
	if (err) {
		doctor_pages_free(l.pages);
		return err;
	}
	d->ledger = in.profile != NULL;
	d->sampled = in.met.sampled;
	if (in.profile && !opts->no_symbols)
		err = check_symbolize(img, &(struct check_options){ .debug_dirs = opts->debug_dirs },
		                      in.profile, NULL);
	free(d->allocator);
	free(d->layout);
	free(d->runtime);
	d->allocator = strdup(in.heap->allocator);
	d->layout = strdup(in.heap->layout);
	d->runtime = strdup(runtime ? runtime->name : "");
	if (!err)
		err = mark(&l, &in, opts);
	if (!err)
		err = doctor_split(&l);
	if (!err)
		err = doctor_find_pins(&l, opts->debug_dirs);
	take_notes(d, img->notes, img->nnotes);
	take_notes(d, in.heap->notes, in.heap->nnotes);
	take_notes(d, in.roots.notes, in.roots.nnotes);
	d->torn = in.heap->resyncs != 0;
	d->profile = TAKE(in.profile);
	if (!err)
		err = doctor_find_parts(&l);
	free(l.holders);
	doctor_pages_free(l.pages);
	check_input_release(&in);
	if (!err && !(d->allocator && d->layout && d->runtime))
		err = &seep_error_nomem;
	return err;
}

static uint64_t now_real(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What can be had of a process that does not let itself be traced. */
static struct seep_error *without_image(struct doctor *d, const struct memory_status *st)
{
	struct memory_maps maps = { 0 };
	struct doctor_look l = { .d = d, .maps = &maps };
	struct seep_error *err = memory_maps_read(d->pid, &maps);

	if (err) {
		doctor_note(d, "mappings were not looked at: %s", err->message);
		seep_error_free(err);
		from_status(d, st);
		d->how = DOCTOR_STATUS;
		return NULL;
	}
	d->how = DOCTOR_MAPS;
	account(d, &maps);
	err = doctor_split(&l);
	memory_maps_release(&maps);
	return err;
}

static struct seep_error *look(int32_t pid, const struct doctor_options *opts, struct doctor **ret)
{
	const struct image_options io = { .clone = !opts->no_clone,
		                          .max_stop_ns = opts->max_stop_ns };
	_cleanup_doctor_ struct doctor *d = doctor_new();
	_cleanup_image_ struct image *img = NULL;
	struct memory_maps maps = { 0 };
	struct memory_status st;
	struct seep_error *err;
	uint64_t start = check_now_ns();

	if (!d)
		return &seep_error_nomem;
	d->pid = pid;
	d->real_ns = now_real();
	d->allocator = strdup("");
	d->layout = strdup("");
	err = count(d, &st);
	if (err)
		return err;
	shares(d);
	err = doctor_ask(d, opts->no_ask);
	if (err)
		return err;
	err = image_open_process(pid, &io, &img);
	if (err && err != &seep_error_nomem) {
		doctor_note(d, "heap, stacks and pages were not looked at: %s%s%s", err->message,
		            err->hint ? "; " : "", err->hint ? err->hint : "");
		seep_error_free(err);
		err = without_image(d, &st);
	} else if (!err) {
		d->how = img->kind == IMAGE_CLONE ? DOCTOR_CLONE : DOCTOR_STOPPED;
		if (img->stop_real_ns)
			d->real_ns = img->stop_real_ns;
		if (img->resident_bytes)
			d->facts[FACT_RSS_KERNEL] = img->resident_bytes;
		err = memory_maps_read(pid, &maps);
		if (err) {
			doctor_note(d, "files and shared memory were not looked at: %s",
			            err->message);
			seep_error_free(err);
			d->classes[DOCTOR_FILE] = st.rss_file == MEMORY_UNKNOWN ? 0 : st.rss_file;
			d->classes[DOCTOR_SHMEM] = st.rss_shmem == MEMORY_UNKNOWN ? 0 : st.rss_shmem;
		} else {
			account(d, &maps);
		}
		err = examine(d, img, &maps, opts);
		if (!err)
			err = image_resume(img);
		d->facts[FACT_STOPPED] = img->stopped_ns;
	}
	memory_maps_release(&maps);
	if (err)
		return err;
	if (d->nmappings)
		qsort(d->mappings, d->nmappings, sizeof(*d->mappings), mapping_order);
	d->ns_total = check_now_ns() - start;
	*ret = TAKE(d);
	return NULL;
}

struct seep_error *doctor_process(int32_t pid, const struct doctor_options *opts,
                                  struct doctor **ret_doctor)
{
	struct timespec rest = { .tv_nsec = REST_NS };
	_cleanup_doctor_ struct doctor *d = NULL;
	struct seep_error *err = NULL;

	/* A chain of blocks that was caught half rewritten is whole again a moment later. */
	for (int i = 0; i < MAX_LOOKS && !err; i++) {
		if (i)
			nanosleep(&rest, NULL);
		doctor_free(TAKE(d));
		err = look(pid, opts, &d);
		if (!err && !d->torn)
			break;
	}
	if (!err)
		*ret_doctor = TAKE(d);
	return err;
}

struct seep_error *doctor_core(const char *path, const char *exe, const struct doctor_options *opts,
                               struct doctor **ret_doctor)
{
	_cleanup_doctor_ struct doctor *d = doctor_new();
	_cleanup_image_ struct image *img = NULL;
	struct seep_error *err;
	uint64_t start = check_now_ns();

	if (!d)
		return &seep_error_nomem;
	err = image_open_core(path, exe, &img);
	if (err)
		return err;
	d->pid = img->pid;
	d->how = DOCTOR_CORE;
	d->real_ns = img->stop_real_ns;
	d->exe = strdup(img->exe);
	d->command = strdup(img->command);
	d->facts[FACT_THREADS] = img->nthreads;
	doctor_note(d,
	            "a core has no residency: what was dumped counts as resident, and files, shared "
	            "memory, swap and page tables are unknown");
	err = examine(d, img, NULL, opts);
	if (err)
		return err;
	if (!d->exe || !d->command)
		return &seep_error_nomem;
	if (d->nmappings)
		qsort(d->mappings, d->nmappings, sizeof(*d->mappings), mapping_order);
	d->ns_total = check_now_ns() - start;
	*ret_doctor = TAKE(d);
	return NULL;
}
