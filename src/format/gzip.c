/* SPDX-License-Identifier: Apache-2.0 */
#include "format/gzip.h"

#include <errno.h>
#include <zlib.h>

#define STEP (1u << 16)       /* of what comes out */
#define MOST_IN (1u << 30)    /* zlib counts in 32 bits */
#define GZIP (16 + MAX_WBITS) /* with gzip's head around it */

int gzip_pack(const struct buf *raw, int level, struct buf *out)
{
	z_stream z = { 0 };
	size_t done = 0;
	int r = Z_OK;

	if (deflateInit2(&z, level, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	while (r == Z_OK) {
		size_t n = raw->len - done < MOST_IN ? raw->len - done : MOST_IN;

		if (buf_reserve(out, STEP) < 0)
			break;
		z.next_in = (Bytef *)raw->data + done;
		z.avail_in = (uInt)n;
		z.next_out = (Bytef *)out->data + out->len;
		z.avail_out = STEP;
		r = deflate(&z, done + n == raw->len ? Z_FINISH : Z_NO_FLUSH);
		done += n - z.avail_in;
		out->len += STEP - z.avail_out;
		if (r == Z_BUF_ERROR)
			r = Z_OK;
	}
	deflateEnd(&z);
	if (out->data)
		out->data[out->len] = 0;
	return r == Z_STREAM_END ? 0 : -ENOMEM;
}
