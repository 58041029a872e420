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
	struct maps maps;   /* img->maps are its items */
	pid_t memory;       /* whose memory is read: the target (or a thread of it), or the clone */
	int pagemap;        /* of the same; -1: not readable */
	_Atomic bool by_fd; /* process_vm_readv() is refused here: /proc/PID/mem it is */
	uint64_t *words;    /* registers of all threads */
	char *exe, *command;
};

/*
 * Mappings the target has and its clone has not (MADV_DONTFORK): put in as IMAGE_ABSENT.  before: the
 * target's mappings from before it was stopped.
 */
struct seep_error *clone_mark_absent(struct image *img, pid_t pid, const struct maps *before);
/* Why there is no clone, as a note. */
void clone_note(struct image *img, const struct guardian_reply *reply);

#endif
