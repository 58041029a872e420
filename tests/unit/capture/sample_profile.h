/* SPDX-License-Identifier: Apache-2.0 */
/* A small profile with every field set to something of its own, and a comparison of every field. */
#ifndef SEEP_TESTS_SAMPLE_PROFILE_H
#define SEEP_TESTS_SAMPLE_PROFILE_H

#include "profile/profile.h"

struct profile *sample_profile(void);

/* NULL when equal in everything but source and format; else the name of the first difference. */
const char *profile_difference(const struct profile *a, const struct profile *b);

#endif
