/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope guards for single resources.  Declare the variable with the guard and
 * initialise it on the same line; hand ownership out with TAKE().
 */
#ifndef SEEP_BASE_CLEANUP_H
#define SEEP_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void seep_freep(void *p)
{
	free(*(void **)p);
}

static inline void seep_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void seep_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_ __attribute__((cleanup(seep_freep)))
#define _cleanup_close_ __attribute__((cleanup(seep_closep)))
#define _cleanup_fclose_ __attribute__((cleanup(seep_fclosep)))

/* The pointer's value; the variable is NULL afterwards, so its guard does nothing. */
#define TAKE(ptr)                           \
	({                                  \
		__typeof__(ptr) t_ = (ptr); \
		(ptr) = NULL;               \
		t_;                         \
	})

#define TAKE_FD(fd)            \
	({                     \
		int t_ = (fd); \
		(fd) = -1;     \
		t_;            \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
