/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was there before: the blocks in use at the moment of attaching, counted by the heap walker.
 *
 * A copy-on-write clone is taken just before the tracker is loaded and walked while the process runs on.  To copy
 * its page tables a process stands still, some 80 us for a MiB; one so large that this would be felt is not
 * cloned, and the number is not known.
 *
 * The result goes into the ledger's header, so that every report can say it.
 */
#include "capture/inject_private.h"

#include <stddef.h>
#include <unistd.h>

#include "base/error.h"
#include "heap/heap.h"
#include "proc/procfs.h"
#include "wire/ledger.h"

#define LARGEST (320ull << 20)
#define STOP_LIMIT 2000000000ull

struct image *inject_before_clone(const struct inject_target *t, uint64_t *stopped_ns)
{
	struct image_options o = { .clone = true, .max_stop_ns = STOP_LIMIT };
	struct procfs_status st;
	struct image *img = NULL;
	struct seep_error *err;

	if (procfs_status(t->pid, &st) || st.rss > LARGEST || st.seccomp)
		return NULL;
	err = image_open_process(t->pid, &o, &img);
	if (err) {
		seep_error_free(err);
		return NULL;
	}
	*stopped_ns += img->stopped_ns;
	if (img->kind == IMAGE_CLONE)
		return img;
	image_free(img); /* it stands: no time to walk it now */
	return NULL;
}

bool inject_before_count(const struct image *img, uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	_cleanup_heap_ struct heap *heap = NULL;
	struct seep_error *err = heap_walk(img, &heap);
	uint64_t blocks = 0, bytes = 0;

	if (err) {
		seep_error_free(err);
		return false;
	}
	if (!heap->allocator[0])
		return false;
	for (size_t i = 0; i < heap->nblocks; i++) {
		if (heap->blocks[i].flags & BLOCK_INTERNAL)
			continue;
		blocks++;
		bytes += heap->blocks[i].size;
	}
	*ret_blocks = blocks;
	*ret_bytes = bytes;
	return true;
}

void inject_before_write(int ledger_fd, uint64_t blocks, uint64_t bytes)
{
	uint64_t words[2] = { blocks, bytes };

	_Static_assert(offsetof(struct ledger_header, before_bytes) ==
	                       offsetof(struct ledger_header, before_blocks) + 8,
	               "side by side");
	/* If it cannot be written it stays unknown. */
	if (pwrite(ledger_fd, words, sizeof(words), offsetof(struct ledger_header, before_blocks)) <
	    0)
		return;
}
