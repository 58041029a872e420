/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a clone lacks.
 *
 * A fork leaves out mappings marked MADV_DONTFORK (registered memory of network cards, guard regions of some
 * runtimes).  They are found without touching the target while it stands: what it had before the stop and
 * still has afterwards, and what its clone has not, was not inherited.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

struct seep_error *clone_mark_absent(struct image *img, pid_t pid, const struct maps *before)
{
	struct process *p = img->priv;
	struct seep_error *err;
	struct maps after = { 0 };
	size_t add = 0;
	uint64_t bytes = 0;
	void *grown;

	err = maps_read(pid, &after);
	if (err) { /* it has ended meanwhile: its clone is all there is */
		seep_error_free(err);
		return NULL;
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

		if (overlaps(img, m->start, m->end) || !covered(&after, m->start, m->end))
			continue;
		*new = *m;
		new->flags |= IMAGE_ABSENT;
		new->path = "";
		bytes += m->end - m->start;
		add++;
	}
	img->nmaps += add;
	p->maps.n = img->nmaps;
	qsort(img->maps, img->nmaps, sizeof(*img->maps), by_start);
	image_note(img, "%zu mappings (%.1f MiB) are not in the clone (MADV_DONTFORK): not read",
	           add, (double)bytes / (1 << 20));
out:
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
