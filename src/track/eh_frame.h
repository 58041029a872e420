/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module's unwind tables, found and taken apart: eh_frame.c.  What is inside the programs is cfi.c's
 * business.
 */
#ifndef SEEP_TRACK_EH_FRAME_H
#define SEEP_TRACK_EH_FRAME_H

#include <string.h>

#include "track/track.h"

/* Bounded input: a read past the end sets `bad` and gives zero. */
struct in {
	const uint8_t *p, *end;
	bool bad;
};

static inline uint64_t in_uint(struct in *in, size_t n)
{
	uint64_t v = 0;

	if (in->bad || (size_t)(in->end - in->p) < n) {
		in->bad = true;
		return 0;
	}
	memcpy(&v, in->p, n);
	in->p += n;
	return v;
}

static inline int64_t in_sint(struct in *in, size_t n)
{
	uint64_t v = in_uint(in, n);
	unsigned int shift = 64 - 8 * (unsigned int)n;

	return (int64_t)(v << shift) >> shift;
}

static inline uint64_t in_uleb(struct in *in)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		uint64_t b = in_uint(in, 1);

		v |= (b & 127) << shift;
		if (!(b & 128))
			return v;
	}
	in->bad = true;
	return 0;
}

static inline int64_t in_sleb(struct in *in)
{
	uint64_t v = 0, b;
	unsigned int shift = 0;

	do {
		b = in_uint(in, 1);
		v |= (b & 127) << shift;
		shift += 7;
	} while ((b & 128) && shift < 63 && !in->bad);
	if (shift < 64 && (b & 64))
		v |= ~0ull << shift;
	return (int64_t)v;
}

static inline void in_skip(struct in *in, uint64_t n)
{
	if (in->bad || (uint64_t)(in->end - in->p) < n)
		in->bad = true;
	else
		in->p += n;
}

enum { PE_OMIT = 0xff, PE_ABS = 0, PE_PCREL = 0x10, PE_DATAREL = 0x30, PE_INDIRECT = 0x80 };

/* An encoded pointer; `data` is what PE_DATAREL adds to. */
uint64_t in_pointer(struct in *in, unsigned int enc, uint64_t data);

/* One function's unwind information. */
struct fde {
	struct in cie_program, program;
	uint64_t start, end, code_align;
	int64_t data_align;
	unsigned int enc, ra_reg;
	bool signal;
};

/* The FDE that covers pc in m; false when there is none, or it makes no sense. */
bool fde_find(const struct module *m, uint64_t pc, struct fde *f);

#endif
