/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command around the walkers, for comparing a heap with what its program says and for timing:
 *
 *     walk_heap [--blocks] [--no-threads] [--dump FILE] [--clone | --core] PID|CORE
 *
 * Prints `allocator`, `layout`, `mallinfo` (as truth.c does), `arena`, `range`, `note` lines and the time; with --blocks
 * one line `block ADDRESS SIZE FLAGS` each.  --no-threads hides the threads' registers, as a damaged core would.
 * --clone walks a frozen copy of the process, --core a core file.
 * --dump writes what the walk needs of the process as a seed for fuzz_heap (heap_seed.h).
 */
#include "base/error.h"
#include "heap/heap.h"
#include "heap_seed.h"
#include "live_image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void print(const struct heap *h, bool blocks)
{
	const struct heap_mallinfo *i = &h->info;

	printf("allocator %s\nlayout %s\n", h->allocator, h->layout);
	printf("mallinfo %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
	       " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	       i->arena, i->ordblks, i->smblks, i->hblks, i->hblkhd, i->usmblks, i->fsmblks,
	       i->uordblks, i->fordblks, i->keepcost);
	printf("blocks %zu resyncs %" PRIu64 " skipped %" PRIu64 " tcaches %" PRIu64 "\n",
	       h->nblocks, h->resyncs, h->skipped_bytes, h->tcaches);
	for (size_t k = 0; k < h->narenas && k < 64; k++) {
		const struct heap_arena *a = &h->arenas[k];

		printf("arena %#" PRIx64 " system %" PRIu64 " used %" PRIu64 " (%" PRIu64
		       ") bins %" PRIu64 " (%" PRIu64 ") fast %" PRIu64 " (%" PRIu64
		       ") tcache %" PRIu64 " (%" PRIu64 ") top %" PRIu64 " heaps %u threads %u\n",
		       a->address, a->system_bytes, a->used_bytes, a->used_blocks, a->bin_bytes,
		       a->bin_chunks, a->fast_bytes, a->fast_chunks, a->tcache_bytes,
		       a->tcache_chunks, a->top_size, a->heaps, a->attached_threads);
	}
	for (size_t k = 0; k < h->nranges && k < 64; k++)
		printf("range %#" PRIx64 " %#" PRIx64 "\n", h->ranges[k].start, h->ranges[k].end);
	for (size_t k = 0; k < h->nnotes; k++)
		printf("note %s\n", h->notes[k]);
	for (size_t k = 0; k < h->nblocks && blocks; k++)
		printf("block %#" PRIx64 " %" PRIu64 " %#x\n", (uint64_t)h->blocks[k].address,
		       (uint64_t)h->blocks[k].size, (unsigned int)h->blocks[k].flags);
}

/* kind: 'o' of --clone, 'r' of --core, or the test's own way. */
static struct image *open_image(const char *what, char kind)
{
	const struct image_options opts = { .clone = true };
	struct seep_error *err = NULL;
	struct image *img = NULL;

	if (kind == 'o')
		err = image_open_process(atoi(what), &opts, &img);
	else if (kind == 'r')
		err = image_open_core(what, NULL, &img);
	else
		img = live_image_new(atoi(what));
	if (!img)
		fprintf(stderr, "cannot look into %s: %s\n", what, err ? err->message : "refused");
	seep_error_free(err);
	return img;
}

int main(int argc, char **argv)
{
	_cleanup_heap_ struct heap *h = NULL;
	bool blocks = false, threads = true;
	const char *dump = NULL;
	struct seep_error *err;
	struct rusage before, after;
	struct image *img;
	double start;
	const char *what = "";
	char kind = 0;
	size_t n;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--blocks"))
			blocks = true;
		else if (!strcmp(argv[i], "--no-threads"))
			threads = false;
		else if (!strcmp(argv[i], "--dump") && i + 1 < argc)
			dump = argv[++i];
		else if (!strcmp(argv[i], "--clone") || !strcmp(argv[i], "--core"))
			kind = argv[i][4];
		else
			what = argv[i];
	}
	img = open_image(what, kind);
	if (!img)
		return 2;
	n = img->nthreads;
	if (!threads)
		img->nthreads = 0;
	getrusage(RUSAGE_SELF, &before);
	start = now();
	err = heap_walk(img, &h);
	printf("walked %.2f ms", now() - start);
	getrusage(RUSAGE_SELF, &after);
	printf(" grew %ld KB brought in %" PRIu64 "\n", after.ru_maxrss - before.ru_maxrss,
	       kind ? 0 : live_image_brought_in(img));
	img->nthreads = n;
	if (err)
		printf("error %s\n", err->message);
	else
		print(h, blocks);
	if (dump && heap_seed_dump(img, h, dump))
		fprintf(stderr, "cannot write %s\n", dump);
	seep_error_free(err);
	image_free(img);
	return h ? 0 : 1;
}
