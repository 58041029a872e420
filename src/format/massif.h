/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two directions of massif's format. */
#ifndef SEEP_FORMAT_MASSIF_H
#define SEEP_FORMAT_MASSIF_H

#include "format/private.h"

#define MASSIF_RULE "#-----------"
#define MASSIF_ROOT "(heap allocation functions) malloc/new/new[], --alloc-fns, etc."
#define MASSIF_SPECIAL "#" /* ms_print takes what follows for a comment, so names have it as %23 */

struct seep_error *massif_read(struct format_input *in, struct profile **ret_profile);

#endif
