/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing in front of functions in a program that was linked long ago: by rewriting the pointers its
 * modules call through.  patch.c has the idea.  Not for an event's path: takes the loader's lock.
 */
#ifndef SEEP_TRACK_PATCH_H
#define SEEP_TRACK_PATCH_H

#include "track/track.h"

struct patch_sums {
	uint64_t slots, modules; /* in force, or restored */
	uint64_t kept;           /* restoring: not ours any more, left alone */
};

/* Every module that is loaded; again: look at those known too (a slot bound lazily in between). */
bool patch_all(bool again);
/* The last pass has met modules that the loader was not done with: another one is to come. */
bool patch_unready(void);
bool patch_stale(void); /* that, or something was loaded since the last pass */
/* After dlclose(): forgets the slots of modules that are gone. */
void patch_prune(void);
/* Puts every slot back as it was. */
void patch_restore(struct patch_sums *ret);
void patch_count(struct patch_sums *ret);
bool patch_active(void); /* slots are in force */

/* For dlsym(): our hook, when what was found is the function behind it; else what was found. */
void *patch_hook_of(const char *name, void *found);
bool patch_knows(const char *name);

/* attach.c: functions that only matter in a program attached to. */
void *late_dlopen(const char *file, int mode);
void *late_dlsym(void *handle, const char *name);
struct late_real {
	void *(*dlopen)(const char *file, int mode);
	void *(*dlsym)(void *handle, const char *name);
};
extern struct late_real late_real __attribute__((visibility("hidden")));

#endif
