/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's modules as they are loaded now, and their files.
 *
 * Everything is read from outside while the target runs, so it is true of some moment just past; the
 * collector asks again when the loader has changed something, or an address belongs to no module.
 */
#ifndef SEEP_CAPTURE_BPF_SPACE_H
#define SEEP_CAPTURE_BPF_SPACE_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sym/elfimage.h"

struct seep_error;

struct space_module {
	uint64_t start, end, bias;
	char *path; /* as the target's mount namespace calls it; "[vdso]" */
	uint8_t build_id[20];
	uint8_t build_id_len;
	uint64_t dev, inode, mtime_ns;
	uint64_t map_start, map_end; /* the mapping that begins it: names /proc/PID/map_files */
	uint32_t id;                 /* in the ledger; the collector's */
	bool is_program;             /* the executable, not a library */
	bool gone;                   /* unloaded: kept until space_forget_gone() */
	/* made when first asked for */
	bool tried;
	struct elfimage image;
	Elf *elf;
	Dwarf_CFI *cfi;
};

struct space {
	pid_t pid;
	struct space_module **modules; /* by start; pointers stay what they are */
	size_t n;
};

/* Reads the modules anew.  Those that are no longer there are marked gone.  *ret_changed: something did. */
struct seep_error *space_refresh(struct space *s, bool *ret_changed);
/* Drops the modules that are gone. */
void space_forget_gone(struct space *s);
void space_release(struct space *s);

/* The loaded module that holds an address; NULL: none. */
struct space_module *space_module_of(const struct space *s, uint64_t addr);
/* Its ELF file; NULL: none can be had. */
Elf *space_elf(struct space *s, struct space_module *m);
/* Its unwind tables; NULL: none. */
Dwarf_CFI *space_cfi(struct space *s, struct space_module *m);
/* A path to its file that works from here: through /proc/PID, whatever namespace the target is in. */
bool space_file(const struct space *s, const struct space_module *m, char *path, size_t size);
/* The target's memory; returns how much could be read. */
size_t space_read(const struct space *s, uint64_t addr, void *buf, size_t len);

#endif
