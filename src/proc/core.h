/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the core reader share.
 */
#ifndef SEEP_PROC_CORE_H
#define SEEP_PROC_CORE_H

#include "proc/core_file.h"
#include "proc/core_notes.h"
#include "proc/image.h"

#define CORE_PAGE 4096ull

struct core_source { /* of a mapping's bytes, parallel to img->maps */
	int fd;      /* -1: absent */
	uint64_t off;
};

struct core_opened { /* a file the core names, looked at once */
	char *path;
	int fd; /* -1: not there, or not the one */
};

struct core {
	struct core_file file;
	struct core_notes notes;
	void **note_data; /* of each PT_NOTE segment; the notes point into it */
	size_t nnote_data;
	struct core_source *sources;
	struct core_opened *files;
	size_t nfiles;
	uint64_t *words;
	char *exe;
};

/*
 * Finds the modules, and reads from files what the core has left out.  exe_path: the program's path in the
 * core (NULL unknown); exe: a file to use for it (NULL: the same).
 */
struct seep_error *core_read_mapped(struct image *img, const char *exe_path, const char *exe);

#endif
