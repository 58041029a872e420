/* SPDX-License-Identifier: Apache-2.0 */
/* Packing what was made in memory with gzip (RFC 1952, by zlib). */
#ifndef SEEP_FORMAT_GZIP_H
#define SEEP_FORMAT_GZIP_H

#include "base/buf.h"

/* Appends one gzip member of all of `raw` to `out`, with a NUL behind it that does not count.  0, or -ENOMEM. */
int gzip_pack(const struct buf *raw, int level, struct buf *out);

#endif
