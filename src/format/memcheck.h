/* SPDX-License-Identifier: Apache-2.0 */
/* What memcheck's two kinds of report, log and XML, have in common. */
#ifndef SEEP_FORMAT_MEMCHECK_H
#define SEEP_FORMAT_MEMCHECK_H

#include "format/builder.h"

/* "definitely lost…" or "Leak_DefinitelyLost" → the frame that stands for it; NULL: no leak. */
const char *memcheck_class(const char *text);
/* "88 (40 direct, 48 indirect) bytes in 1 blocks are definitely lost in loss record 1 of 2" → class, and direct values. */
const char *memcheck_what(char *text, struct prof_value *ret_value);
/* Of which record: "… loss record 1 of 2" → 1; 0: it does not say. */
uint64_t memcheck_number(const char *text);

/*
 * A process may be checked several times (client requests, then at its end), and every check tells all that is lost then:
 * the last one counts, and those before are forgotten here.
 */
void memcheck_begin_again(struct format_input *in, struct builder *b);

#endif
