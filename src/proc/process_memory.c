/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the memory of a running process, or of its clone.
 *
 * seep reads by itself, with process_vm_readv(), which copies at the speed of memory and needs no tracer.  Where that
 * call is refused (Yama lets only the tracer do it, some sandboxes filter it) it reads through the /proc/PID/mem that
 * the guardian has opened: slower, but allowed.
 *
 * pagemap says of each page whether it is there, swapped, and a file's.  What it does not say is which of the pages that are
 * there are the kernel's one page of zeros, mapped wherever a program only read (and not resident, as RSS
 * goes), and which are parts of huge pages: a kernel since 6.7 is asked that with PAGEMAP_SCAN.
 *
 * What a clone did not inherit (IMAGE_ASIDE) is read where it is, in the process that runs on.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/read_at.h"
#include "proc/process.h"

#define READ_MAX (1u << 30) /* in one call: its count is an int in places */

/* ---- bytes ------------------------------------------------------------------ */

static size_t read_own(struct process *p, uint64_t addr, char *buf, size_t len)
{
	size_t done = 0;

	while (done < len && !atomic_load_explicit(&p->by_fd, memory_order_relaxed)) {
		size_t n = len - done < READ_MAX ? len - done : READ_MAX;
		struct iovec l = { buf + done, n }, r = { (void *)(uintptr_t)(addr + done), n };
		ssize_t got = process_vm_readv(p->memory, &l, 1, &r, 1, 0);

		if (got < 0 && (errno == EPERM || errno == ENOSYS) && p->guardian.memfd >= 0) {
			atomic_store(&p->by_fd, true);
			break;
		}
		if (got <= 0)
			return done;
		done += (size_t)got;
	}
	if (done < len && p->guardian.memfd >= 0 &&
	    atomic_load_explicit(&p->by_fd, memory_order_relaxed))
		done += read_at(p->guardian.memfd, addr + done, buf + done, len - done);
	return done;
}

/* Mapping by mapping, each from where it is. */
static size_t read_apart(const struct image *img, uint64_t addr, char *buf, size_t len)
{
	struct process *p = img->priv;
	size_t done = 0;

	while (done < len) {
		const struct image_map *m = image_map_of(img, addr + done);
		size_t n = len - done, got;

		if (!m || m->flags & IMAGE_ABSENT)
			break;
		if (m->end - (addr + done) < n)
			n = m->end - (addr + done);
		got = m->flags & IMAGE_ASIDE ? read_at(p->aside_mem, addr + done, buf + done, n)
		                             : read_own(p, addr + done, buf + done, n);
		done += got;
		if (got < n)
			break;
	}
	return done;
}

size_t process_read(const struct image *img, uint64_t addr, void *buf, size_t len)
{
	struct process *p = img->priv;

	if (img->kind == IMAGE_LIVE &&
	    atomic_load_explicit(&p->guardian.shared->released, memory_order_relaxed))
		return 0;
	if (addr > UINT64_MAX - len || addr + len > INT64_MAX)
		return 0;
	return p->aside_mem < 0 ? read_own(p, addr, buf, len) : read_apart(img, addr, buf, len);
}

/* ---- pages ------------------------------------------------------------------ */

/* How many of the pages pagemap (fd) knew; `files`: IMAGE_PAGE_FILE is wanted, too. */
static uint64_t read_pagemap(int fd, uint64_t page, uint64_t start, uint64_t npages, bool files,
                             uint8_t *ret)
{
	uint64_t entries[1024], done = 0;

	while (done < npages && fd >= 0) {
		uint64_t n = npages - done < ARRAY_SIZE(entries) ? npages - done
		                                                 : ARRAY_SIZE(entries);
		ssize_t got = pread(fd, entries, n * sizeof(entries[0]),
		                    (off_t)((start / page + done) * sizeof(entries[0])));

		if (got < (ssize_t)sizeof(entries[0]))
			break;
		n = (uint64_t)got / sizeof(entries[0]);
		for (uint64_t i = 0; i < n; i++)
			ret[done + i] = maps_page_state(entries[i]) |
			                (files && entries[i] >> 61 & 1 ? IMAGE_PAGE_FILE : 0);
		done += n;
	}
	return done;
}

/* <linux/fs.h> of 6.7; older headers lack it. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_argument {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_CALL _IOWR('f', 16, struct scan_argument)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)
#define SCAN_ZERO (1u << 5)
#define SCAN_HUGE (1u << 6)

/* Pages of zeros are taken out of ret, parts of huge pages marked. */
static void scan_pages(int fd, uint64_t page, uint64_t start, uint64_t npages, uint8_t *ret)
{
	struct scan_region regions[256];
	struct scan_argument a = { .size = sizeof(a),
		                   .start = start,
		                   .end = start + npages * page,
		                   .vec = (uint64_t)(uintptr_t)regions,
		                   .vec_len = ARRAY_SIZE(regions),
		                   .category_anyof_mask = SCAN_ZERO | SCAN_HUGE,
		                   .return_mask = SCAN_ZERO | SCAN_HUGE };

	while (a.start < a.end) {
		int n = ioctl(fd, SCAN_CALL, &a);

		if (n < 0 || n > (int)ARRAY_SIZE(regions) || a.walk_end <= a.start)
			return; /* an older kernel */
		for (int i = 0; i < n; i++) {
			const struct scan_region *r = &regions[i];

			for (uint64_t at = r->start < start ? start : r->start;
			     at < r->end && at < a.end; at += page) {
				uint8_t *of = &ret[(at - start) / page];

				if (r->categories & SCAN_HUGE)
					*of |= IMAGE_PAGE_HUGE;
				if (r->categories & SCAN_ZERO)
					*of &= (uint8_t)~IMAGE_PAGE_PRESENT;
			}
		}
		a.start = a.walk_end;
	}
}

static uint64_t first_page(struct process *p, int fd, uint64_t start, uint64_t end)
{
	struct scan_region region = { 0 };
	struct scan_argument a = { .size = sizeof(a),
		                   .start = start,
		                   .end = end,
		                   .vec = (uint64_t)(uintptr_t)&region,
		                   .vec_len = 1,
		                   .max_pages = 1,
		                   .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		                   .return_mask = SCAN_PRESENT | SCAN_SWAPPED };
	int n;

	if (fd < 0 || atomic_load_explicit(&p->no_scan, memory_order_relaxed))
		return start;
	n = ioctl(fd, SCAN_CALL, &a);
	if (n < 0) {
		if (errno == ENOTTY || errno == EINVAL)
			atomic_store(&p->no_scan, true);
		return start;
	}
	if (n > 0)
		return region.start > start && region.start < end ? region.start : start;
	return a.walk_end >= end ? end : start;
}

uint64_t process_skip(const struct image *img, uint64_t start, uint64_t end)
{
	struct process *p = img->priv;
	uint64_t page = img->page_size, at = start & ~(page - 1), found;

	end = (end + page - 1) & ~(page - 1);
	if (p->aside_mem < 0) {
		found = first_page(p, p->pagemap, at, end);
		return found > start ? found : start;
	}
	for (size_t i = image_map_after(img, at); i < img->nmaps && img->maps[i].start < end; i++) {
		const struct image_map *m = &img->maps[i];
		uint64_t from = m->start > at ? m->start : at, to = m->end < end ? m->end : end;

		found = first_page(p, m->flags & IMAGE_ASIDE ? p->aside_pagemap : p->pagemap, from,
		                   to);
		if (found < to)
			return found > start ? found : start;
	}
	return end;
}

/* The pages in [start, end) of mappings that the clone has not: as they are in the process. */
static void pages_aside(const struct image *img, uint64_t start, uint64_t npages, bool all,
                        uint8_t *ret)
{
	const struct process *p = img->priv;
	uint64_t page = img->page_size, end = start + npages * page;

	for (size_t i = p->aside_mem < 0 ? img->nmaps : image_map_after(img, start);
	     i < img->nmaps && img->maps[i].start < end; i++) {
		const struct image_map *m = &img->maps[i];
		uint64_t from = m->start > start ? m->start : start;
		uint64_t n = ((m->end < end ? m->end : end) - from) / page;
		uint8_t *of = ret + (from - start) / page;

		if (!(m->flags & IMAGE_ASIDE))
			continue;
		n = read_pagemap(p->aside_pagemap, page, from, n, all, of);
		if (all)
			scan_pages(p->aside_pagemap, page, from, n, of);
	}
}

void process_resident(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret)
{
	const struct process *p = img->priv;
	uint64_t done = read_pagemap(p->pagemap, img->page_size, start, npages, false, ret);

	/* Without pagemap everything mapped counts as there; past its end nothing is. */
	for (; done < npages; done++) {
		const struct image_map *m =
			p->pagemap < 0 ? image_map_of(img, start + done * img->page_size) : NULL;

		ret[done] = m && (m->flags & IMAGE_READ) && !(m->flags & IMAGE_ABSENT);
	}
	pages_aside(img, start, npages, false, ret);
}

void process_pages(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret)
{
	const struct process *p = img->priv;
	uint64_t done;

	if (p->pagemap < 0) {
		process_resident(img, start, npages, ret);
		return;
	}
	done = read_pagemap(p->pagemap, img->page_size, start, npages, true, ret);
	memset(ret + done, 0, npages - done);
	scan_pages(p->pagemap, img->page_size, start, done, ret);
	pages_aside(img, start, npages, true, ret);
}
