/* SPDX-License-Identifier: Apache-2.0 */
/* What memcheck's two kinds of report, log and XML, have in common. */
#ifndef SEEP_FORMAT_MEMCHECK_H
#define SEEP_FORMAT_MEMCHECK_H

#include "profile/profile.h"

/* "definitely lost…" or "Leak_DefinitelyLost" → the frame that stands for it; NULL: no leak. */
const char *memcheck_class(const char *text);
/* "88 (40 direct, 48 indirect) bytes in 1 blocks are definitely lost in loss record 1 of 2" → class, and direct values. */
const char *memcheck_what(char *text, struct prof_value *ret_value);

#endif
