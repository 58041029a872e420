/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's list of modules, as it is kept for debuggers. */
#ifndef SEEP_TRACK_LOADER_H
#define SEEP_TRACK_LOADER_H

#include <link.h>

#ifdef __GLIBC__
#define loader_list() (&_r_debug)
#else
extern struct r_debug *_dl_debug_addr; /* musl exports it, and says so in no header */
#define loader_list() _dl_debug_addr
#endif

#endif
