/* SPDX-License-Identifier: Apache-2.0 */
/* What the loader knows about the modules it has loaded. */
#ifndef SEEP_TRACK_LOADER_H
#define SEEP_TRACK_LOADER_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

/* The list of modules, as it is kept for debuggers. */
#ifdef __GLIBC__
#define loader_list() (&_r_debug)
#else
extern struct r_debug *_dl_debug_addr; /* musl exports it, and says so in no header */
#define loader_list() _dl_debug_addr
#endif

struct loaded {
	uint64_t start, end, bias;
	const uint8_t *eh_hdr; /* .eh_frame_hdr, or NULL */
	const char *name;      /* as it was loaded; the loader's, good while the module stays */
};

void loader_init(void);   /* once the modules' symbols can be read, before anything else here */
void loader_forked(void); /* in a forked child */
/*
 * The module that pc lies in.  Takes no lock of the loader's, and what another thread unloads meanwhile does no
 * harm; pc itself lies in code that stays: it is on the caller's stack.
 */
bool loader_find(uint64_t pc, struct loaded *ret);
void loader_changed(void); /* something was unloaded */

/* Program headers of a module whose first `size` bytes are at `first`, ELF header first; NULL: they are not all there. */
const ElfW(Phdr) * program_headers(const void *first, uint64_t size, unsigned int *ret_n);

#endif
