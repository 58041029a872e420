/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two kinds of images of a running process share all but where their bytes come from: the process
 * itself, standing, or its clone.
 */
#ifndef SEEP_PROC_PROCESS_H
#define SEEP_PROC_PROCESS_H

#include <stdatomic.h>

#include "proc/guardian.h"
#include "proc/image.h"
#include "proc/maps.h"

struct process {
	struct guardian guardian;
	struct maps maps; /* img->maps are its items */
	pid_t memory;     /* whose memory is read: the target (or a thread of it), or the clone */
	int pagemap;      /* of the same; -1: not readable */
	int aside_mem,
		aside_pagemap; /* of the target, for IMAGE_ASIDE mappings of a clone; both -1: there are none */
	_Atomic bool no_scan; /* the kernel has no PAGEMAP_SCAN */
	_Atomic bool by_fd;   /* process_vm_readv() is refused here: /proc/PID/mem it is */
	uint64_t *words;      /* registers of all threads */
	char *exe, *command;
};

/* process_memory.c: what struct image_ops asks for. */
size_t process_read(const struct image *img, uint64_t addr, void *buf, size_t len);
void process_resident(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret);
uint64_t process_skip(const struct image *img, uint64_t start, uint64_t end);
void process_pages(const struct image *img, uint64_t start, uint64_t npages, uint8_t *ret);

/*
 * Mappings the target has and its clone has not (MADV_DONTFORK): put in as IMAGE_ASIDE, or IMAGE_ABSENT when they cannot be
 * read there.  before: the target's mappings from before it was stopped.
 */
struct seep_error *clone_mark_absent(struct image *img, pid_t pid, const struct maps *before);
/* Why there is no clone, as a note. */
void clone_note(struct image *img, const struct guardian_reply *reply);

#endif
