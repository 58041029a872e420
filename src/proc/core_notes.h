/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notes of a core file: threads, files, auxv, what the process was called.
 */
#ifndef SEEP_PROC_CORE_NOTES_H
#define SEEP_PROC_CORE_NOTES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

#include "proc/procfs.h"

struct core_thread {
	int32_t tid;
	struct user_regs_struct regs;
	const uint8_t *vector; /* NT_X86_XSTATE, or NT_FPREGSET; in the notes */
	size_t vector_len;
};

struct core_mapped { /* a mapping of a file, from NT_FILE */
	uint64_t start, end, offset;
	const char *path; /* in the notes */
};

struct core_notes {
	struct core_thread *threads; /* as they come: the one that crashed first */
	size_t nthreads;
	struct core_mapped *files; /* ascending */
	size_t nfiles;
	struct procfs_auxv auxv;
	int32_t pid;
	int32_t signal;   /* it died of; 0: none */
	char name[17];    /* at most 15 characters */
	char command[81]; /* the first 80 characters of its command line */
};

/*
 * Reads one PT_NOTE segment and adds what it holds; `data` must stay.  Notes that are too short or
 * too long are left out.  -ENOMEM or 0.
 */
int core_notes_parse(const void *data, size_t len, uint64_t align, struct core_notes *notes);
void core_notes_release(struct core_notes *notes);

/* The file mapped at addr, or NULL. */
const struct core_mapped *core_notes_file(const struct core_notes *notes, uint64_t addr);

#endif
