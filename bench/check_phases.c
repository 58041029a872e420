/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leak check, phase by phase, without reports: what seep check does to a process, timed
 * (bench/check.py).
 *
 *   check_phases PID [clone|stop] [THREADS]
 *
 * prints one line of JSON.  mark_ns is all of reach_run(): index, roots, marking, the lost ones.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/reach.h"
#include "analysis/roots.h"
#include "base/error.h"
#include "heap/heap.h"
#include "proc/image.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The most memory this process ever had resident. */
static uint64_t peak_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	uint64_t kib = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "VmHWM:", 6))
			kib = strtoull(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kib * 1024;
}

int main(int argc, char **argv)
{
	struct image_options io = { .clone = argc > 2 && !strcmp(argv[2], "clone") };
	struct reach_options ro = { .heuristics = REACH_ALL_HEURISTICS };
	struct roots_options xo = { 0 };
	struct image *img = NULL;
	struct heap *heap = NULL;
	struct roots roots = { 0 };
	struct reach *reach = NULL;
	struct seep_error *err;
	uint64_t t[6] = { now_ns() };

	if (argc < 2) {
		fprintf(stderr, "usage: %s PID [clone|stop] [THREADS]\n", argv[0]);
		return 2;
	}
	if (argc > 3)
		ro.threads = (unsigned int)strtoul(argv[3], NULL, 10);
	err = image_open_process((pid_t)strtol(argv[1], NULL, 10), &io, &img);
	t[1] = now_ns();
	if (!err)
		err = heap_walk(img, &heap);
	t[2] = now_ns();
	if (!err)
		err = roots_find(img, heap, &xo, &roots);
	t[3] = now_ns();
	if (!err)
		err = reach_run(img, heap->blocks, heap->nblocks, roots.items, roots.n, &ro, &reach);
	t[4] = now_ns();
	if (!err)
		err = image_resume(img);
	t[5] = now_ns();
	if (err) {
		fprintf(stderr, "check_phases: %s\n", err->message);
		seep_error_free(err);
		return 1;
	}
	printf("{\"image\":\"%s\",\"blocks\":%zu,\"definite\":%" PRIu64 ",\"indirect\":%" PRIu64
	       ",\"possible\":%" PRIu64 ",\"open_ns\":%" PRIu64 ",\"walk_ns\":%" PRIu64
	       ",\"roots_ns\":%" PRIu64 ",\"mark_ns\":%" PRIu64 ",\"mark_only_ns\":%" PRIu64
	       ",\"mark_lost_ns\":%" PRIu64 ",\"all_ns\":%" PRIu64 ",\"stopped_ns\":%" PRIu64
	       ",\"resident_bytes\":%" PRIu64 ",\"peak_bytes\":%" PRIu64
	       ",\"marker_bytes\":%" PRIu64 ",\"scanned_bytes\":%" PRIu64 "}\n",
	       img->kind == IMAGE_CLONE ? "clone" : "live", heap->nblocks,
	       reach->total[REACH_DEFINITE].blocks, reach->total[REACH_INDIRECT].blocks,
	       reach->total[REACH_POSSIBLE].blocks, t[1] - t[0], t[2] - t[1], t[3] - t[2],
	       t[4] - t[3], reach->ns_mark, reach->ns_lost, t[5] - t[0], img->stopped_ns,
	       img->resident_bytes, peak_bytes(), reach->memory_bytes, reach->scanned_bytes);
	reach_free(reach);
	roots_release(&roots);
	heap_free(heap);
	image_free(img);
	return 0;
}
