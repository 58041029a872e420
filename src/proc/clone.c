/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a clone lacks.
 *
 * A fork leaves out mappings marked MADV_DONTFORK (registered memory of network cards, guard regions of some
 * runtimes).  They are found without touching the target while it stands: what it had before the stop and
 * still has afterwards, and what its clone has not, was not inherited.
 *
 * What is the process's own and nothing else (private memory without a file) is then read there, while it runs on.  Of a device's memory
 * even reading can have an effect: that stays unread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "proc/process.h"

static bool covered(const struct maps *m, uint64_t start, uint64_t end)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->items[mid].end > start)
			hi = mid;
		else
			lo = mid + 1;
	}
	for (; lo < m->n && m->items[lo].start <= start; lo++) {
		start = m->items[lo].end;
		if (start >= end)
			return true;
	}
	return false;
}

static bool overlaps(const struct image *img, uint64_t start, uint64_t end)
{
	size_t i = image_map_after(img, start);

	return i < img->nmaps && img->maps[i].start < end;
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = ((const struct image_map *)a)->start, y = ((const struct image_map *)b)->start;

	return (x > y) - (x < y);
}

static bool is_plain(const struct image_map *m)
{
	return !m->inode && !(m->flags & IMAGE_SHARED) && m->path[0] != '/' &&
	       strncmp(m->path, "[v", 2) != 0;
}

/* Both files or none. */
static void open_aside(struct process *p, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	p->aside_mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	p->aside_pagemap = p->aside_mem < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (p->aside_mem >= 0 && p->aside_pagemap < 0) {
		close(p->aside_mem);
		p->aside_mem = -1;
	}
}

struct seep_error *clone_mark_absent(struct image *img, pid_t pid, const struct maps *before)
{
	struct process *p = img->priv;
	struct seep_error *err;
	struct maps after = { 0 };
	size_t add = 0, n[2] = { 0, 0 };
	uint64_t bytes[2] = { 0, 0 };
	void *grown;

	open_aside(p, pid); /* before its mappings are read: of the same program, then */
	err = maps_read(pid, &after);
	if (err) { /* it has ended meanwhile: its clone is all there is */
		seep_error_free(err);
		err = NULL;
		goto out;
	}
	for (size_t i = 0; i < before->n; i++) {
		const struct image_map *m = &before->items[i];

		add += !overlaps(img, m->start, m->end) && covered(&after, m->start, m->end);
	}
	if (!add)
		goto out;
	/* The paths stay the kernel's names where there is one of those, and are gone otherwise. */
	grown = realloc(p->maps.items, (img->nmaps + add) * sizeof(*img->maps));
	if (!grown) {
		err = &seep_error_nomem;
		goto out;
	}
	img->maps = p->maps.items = grown;
	add = 0;
	for (size_t i = 0; i < before->n; i++) {
		const struct image_map *m = &before->items[i];
		struct image_map *new = &img->maps[img->nmaps + add];
		bool aside;

		if (overlaps(img, m->start, m->end) || !covered(&after, m->start, m->end))
			continue;
		aside = p->aside_mem >= 0 && is_plain(m);
		*new = *m;
		new->flags |= aside ? IMAGE_ASIDE : IMAGE_ABSENT;
		new->path = "";
		n[aside]++;
		bytes[aside] += m->end - m->start;
		add++;
	}
	img->nmaps += add;
	p->maps.n = img->nmaps;
	qsort(img->maps, img->nmaps, sizeof(*img->maps), by_start);
	if (n[true])
		image_note(img,
		           "%zu mapping%s (%.1f MiB) not in the clone (MADV_DONTFORK): read in the "
		           "process itself, which ran on",
		           n[true], n[true] == 1 ? "" : "s", (double)bytes[true] / (1 << 20));
	if (n[false])
		image_note(
			img,
			"%zu mapping%s (%.1f MiB) of files, devices or the kernel (io_uring) not in the clone: not read",
			n[false], n[false] == 1 ? "" : "s", (double)bytes[false] / (1 << 20));
out:
	if (!n[true] && p->aside_mem >= 0) {
		close(p->aside_mem);
		close(p->aside_pagemap);
		p->aside_mem = p->aside_pagemap = -1;
	}
	maps_release(&after);
	return err;
}

void clone_note(struct image *img, const struct guardian_reply *r)
{
	switch (r->clone) {
	case GUARDIAN_CLONE_SECCOMP:
		image_note(img,
		           "not cloned but stopped: the process has a seccomp filter that may kill "
		           "it for the call (suspending it takes CAP_SYS_ADMIN)");
		break;
	case GUARDIAN_CLONE_PLACE:
		image_note(img,
		           "not cloned but stopped: found no place in its code to make the call at");
		break;
	case GUARDIAN_CLONE_FAILED:
		if (r->clone_errno == EAGAIN)
			image_note(img, "not cloned but stopped: no more processes are allowed "
			                "(RLIMIT_NPROC, pids.max of its cgroup)");
		else if (r->clone_errno == ENOMEM)
			image_note(img, "not cloned but stopped: no memory for a copy of its page "
			                "tables, or vm.overcommit_memory=2 does not allow one");
		else
			image_note(img, "not cloned but stopped: %s", strerror(r->clone_errno));
		break;
	}
}
