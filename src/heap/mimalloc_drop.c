/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free spans of mimalloc's segments, dropped from outside.
 *
 * A span's memory holds nothing of the allocator's: what is known of it stands in the segment's header.  So its pages can go
 * as long as nobody is about to take the span.  Only the thread that owns a segment takes from it, without any lock, so
 * the process is stopped and every thread must be outside the allocator's code (recheck_private.h); else it runs on
 * and is tried again a little later, out of step with whatever it does.
 *
 * Headers are read in the stop, since they must be of that moment; the time goes into dropping, which is kept short:
 * what does not fit into one stop is done in the next.
 */
#include "heap/mimalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "heap/heap.h"
#include "heap/recheck_private.h"
#include "proc/discard.h"
#include "proc/image.h"

#define MS 1000000ull
#define STOP_TIME (50 * MS)
#define LONGEST (2000 * MS)  /* whatever happens, on however slow a machine */
#define PATIENCE (2000 * MS) /* for a moment at which nobody is inside */
#define PAGE 4096u
#define MAX_RANGES 65536u
#define SLICE_PAGES (MIMALLOC_SLICE / PAGE)

struct drop {
	uint64_t limit, dropped, stopped_ns;
	uint64_t from; /* segments below are done */
	bool known;
	struct mimalloc_layout layout;
	uint8_t *header;
	struct discard_range *ranges;
	size_t n;
	uint64_t bytes; /* resident, of the ranges */
	size_t looked;
	bool more;     /* not all segments were looked at */
	uint64_t next; /* where to go on when these are dropped */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void add_span(struct drop *d, const struct image *img, uint64_t at, uint32_t slices)
{
	uint8_t state[SLICE_PAGES];

	/* Slice by slice: of large spans much may be gone already. */
	for (uint32_t i = 0; i < slices && d->n < MAX_RANGES; i++, at += MIMALLOC_SLICE) {
		struct discard_range *last = d->n ? &d->ranges[d->n - 1] : NULL;
		uint64_t resident = 0;

		image_resident(img, at, SLICE_PAGES, state);
		for (size_t k = 0; k < SLICE_PAGES; k++)
			resident += (state[k] == 1) * (uint64_t)PAGE;
		if (!resident || d->dropped + d->bytes + resident > d->limit)
			continue;
		d->bytes += resident;
		if (last && last->start + last->len == at)
			last->len += MIMALLOC_SLICE;
		else
			d->ranges[d->n++] = (struct discard_range){ at, MIMALLOC_SLICE };
	}
}

static void add_segment(struct drop *d, const struct image *img, uint64_t base)
{
	struct mimalloc_page pages[MIMALLOC_SLICES];
	size_t n;

	if (!image_read_all(img, base, d->header, MIMALLOC_HEADER))
		return;
	if (!d->known)
		d->known = mimalloc_find_layout(d->header, &d->layout);
	n = d->known ? mimalloc_pages(d->header, &d->layout, pages) : 0;
	for (size_t i = 0; i < n; i++)
		if (!pages[i].block_size)
			add_span(d, img, base + (uint64_t)pages[i].first * MIMALLOC_SLICE,
			         pages[i].slices);
}

/* Segments from d->from on, as far as time and room allow. */
static void plan(struct drop *d, const struct image *img, uint64_t until)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;

	d->n = 0;
	d->bytes = 0;
	d->looked = 0; /* one at least, however slow it is */
	d->more = false;
	for (size_t i = 0; i < img->nmaps; i++) {
		const struct image_map *m = &img->maps[i];
		uint64_t at = (m->start + MIMALLOC_SEGMENT - 1) & ~(MIMALLOC_SEGMENT - 1ull);

		if (m->inode || (m->flags & rw) != rw || m->flags & IMAGE_SHARED)
			continue;
		for (; at < m->end && m->end - at >= MIMALLOC_HEADER; at += MIMALLOC_SEGMENT) {
			if (at < d->from)
				continue;
			if ((now_ns() > until && d->looked) || d->n >= MAX_RANGES - MIMALLOC_SLICES) {
				d->more = true;
				d->next = at;
				return;
			}
			add_segment(d, img, at);
			d->looked++;
		}
	}
}

enum step { STEP_DONE, STEP_MORE, STEP_BUSY };

static struct seep_error *one_stop(struct drop *d, pid_t pid, const struct heap_range *code,
                                   enum step *ret)
{
	const struct image_options opts = { .calls = true, .max_stop_ns = LONGEST };
	_cleanup_image_ struct image *img = NULL;
	struct discard_reply reply = { 0 };
	struct seep_error *err;
	pid_t tid;

	err = image_open_process(pid, &opts, &img);
	if (err)
		return err;
	*ret = STEP_BUSY;
	if (recheck_every_thread(img, code, &tid) == RECHECK_FINE) {
		plan(d, img, img->stop_mono_ns + STOP_TIME / 2);
		if (d->n)
			err = discard_pages(img, d->ranges, d->n, now_ns() + STOP_TIME / 2, &reply);
		if (!err && reply.failure)
			err = seep_error_new(reply.failure,
			                     "no system call could be made in process %d", (int)pid);
		if (reply.rss_before > reply.rss_after)
			d->dropped += reply.rss_before - reply.rss_after;
		*ret = STEP_DONE;
		if (reply.done < d->n) {
			*ret = STEP_MORE; /* what was dropped is resident no more: the same again */
		} else if (d->more) {
			*ret = STEP_MORE;
			d->from = d->next;
		}
	}
	seep_error_free(image_resume(img));
	d->stopped_ns += img->stopped_ns;
	return err;
}

struct seep_error *mimalloc_drop(pid_t pid, const struct heap_range *code, uint64_t limit,
                                 uint64_t *ret_bytes, uint64_t *ret_stopped_ns)
{
	struct drop d = { .limit = limit };
	uint64_t deadline = now_ns() + PATIENCE, rounds = 0;
	struct seep_error *err = NULL;
	enum step step = STEP_MORE;

	d.header = malloc(MIMALLOC_HEADER);
	d.ranges = malloc(MAX_RANGES * sizeof(*d.ranges));
	if (!d.header || !d.ranges)
		err = &seep_error_nomem;
	while (!err && step != STEP_DONE && rounds++ < 10000) {
		err = one_stop(&d, pid, code, &step);
		if (!err && step == STEP_BUSY) {
			struct timespec nap = { 0, (long)(MS + now_ns() % (5 * MS)) };

			if (now_ns() > deadline)
				err = seep_error_new(EAGAIN,
				                     "threads of process %d were inside mimalloc "
				                     "at every look",
				                     (int)pid);
			nanosleep(&nap, NULL);
		} else if (step == STEP_MORE) {
			deadline = now_ns() + PATIENCE;
		}
	}
	free(d.header);
	free(d.ranges);
	if (err && !d.dropped)
		return err;
	seep_error_free(err); /* a part is more than nothing */
	*ret_bytes = d.dropped;
	*ret_stopped_ns = d.stopped_ns;
	return NULL;
}
