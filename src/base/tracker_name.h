/* SPDX-License-Identifier: Apache-2.0 */
/* By what names the tracker's library goes in other processes. */
#ifndef SEEP_BASE_TRACKER_NAME_H
#define SEEP_BASE_TRACKER_NAME_H

#include <stdbool.h>

/* Whether a path is the tracker's: libseep.so, the one for musl, or the copy of one that a process was given in memory. */
bool module_is_tracker(const char *path);

#endif
