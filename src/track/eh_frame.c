/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .eh_frame_hdr → FDE → where the CFA programs lie.
 *
 * Sources: LSB 5 core, "Exception Frames" (.eh_frame, .eh_frame_hdr, pointer encodings).  The data is the
 * target's own, but a damaged module must not crash the target through us: all reads go through
 * `struct in`, bounded by the module's mapping.
 */
#include "track/eh_frame.h"

/* An encoded pointer; `data` is what DATAREL adds to. */
uint64_t in_pointer(struct in *in, unsigned int enc, uint64_t data)
{
	uint64_t at = (uint64_t)in->p, v;

	switch (enc & 15) {
	case 0x00:
	case 0x04:
	case 0x0c:
		v = in_uint(in, 8);
		break;
	case 0x01:
		v = in_uleb(in);
		break;
	case 0x02:
		v = in_uint(in, 2);
		break;
	case 0x03:
		v = in_uint(in, 4);
		break;
	case 0x09:
		v = (uint64_t)in_sleb(in);
		break;
	case 0x0a:
		v = (uint64_t)in_sint(in, 2);
		break;
	case 0x0b:
		v = (uint64_t)in_sint(in, 4);
		break;
	default:
		in->bad = true;
		return 0;
	}
	switch (enc & 0x70) {
	case PE_ABS:
		break;
	case PE_PCREL:
		v += at;
		break;
	case PE_DATAREL:
		v += data;
		break;
	default:
		in->bad = true;
	}
	return v;
}

/* ---- FDE ----------------------------------------------------------------------------- */

/* The body of a CIE or FDE at p: *ret_id points at its id field. */
static bool entry_open(const uint8_t *p, const struct module *m, struct in *ret,
                       const uint8_t **ret_id)
{
	struct in in = { p, (const uint8_t *)m->end,
		         (uint64_t)p < m->start || (uint64_t)p >= m->end };
	uint64_t len = in_uint(&in, 4);

	/* 64-bit lengths do not occur in .eh_frame of any known toolchain. */
	if (in.bad || len == 0 || len == 0xffffffff || len > (uint64_t)(in.end - in.p))
		return false;
	*ret_id = in.p;
	in.end = in.p + len;
	*ret = in;
	return true;
}

static bool cie_parse(const uint8_t *p, const struct module *m, struct fde *f, bool *ret_aug)
{
	struct in in;
	const uint8_t *id;
	const char *aug;
	uint64_t version, auglen;

	if (!entry_open(p, m, &in, &id) || in_uint(&in, 4) != 0)
		return false;
	version = in_uint(&in, 1);
	aug = (const char *)in.p;
	while (!in.bad && in_uint(&in, 1))
		;
	if (in.bad || (version != 1 && version != 3))
		return false;
	f->code_align = in_uleb(&in);
	f->data_align = in_sleb(&in);
	f->ra_reg = (unsigned int)(version == 1 ? in_uint(&in, 1) : in_uleb(&in));
	f->enc = PE_ABS;
	f->signal = false;
	*ret_aug = aug[0] == 'z';
	if (aug[0] == 'z') {
		const uint8_t *next;

		auglen = in_uleb(&in);
		if (in.bad || auglen > (uint64_t)(in.end - in.p))
			return false;
		next = in.p + auglen;
		for (const char *a = aug + 1; *a; a++) {
			if (*a == 'R') {
				f->enc = (unsigned int)in_uint(&in, 1);
			} else if (*a == 'P') {
				unsigned int enc = (unsigned int)in_uint(&in, 1);

				in_pointer(&in, enc & 0x0f, 0);
			} else if (*a == 'L') {
				in_uint(&in, 1);
			} else if (*a == 'S') {
				f->signal = true;
			} else if (*a != 'B') {
				return false;
			}
		}
		in.p = next;
	} else if (aug[0]) {
		return false;
	}
	f->cie_program = in;
	return !in.bad;
}

static bool fde_parse(const uint8_t *p, const struct module *m, struct fde *f)
{
	struct in in;
	const uint8_t *id;
	uint64_t back;
	bool aug;

	if (!entry_open(p, m, &in, &id))
		return false;
	back = in_uint(&in, 4);
	if (in.bad || back == 0 || back > (uint64_t)id - m->start ||
	    !cie_parse(id - back, m, f, &aug))
		return false;
	f->start = in_pointer(&in, f->enc, 0);
	f->end = f->start + in_pointer(&in, f->enc & 0x0f, 0);
	if (aug)
		in_skip(&in, in_uleb(&in));
	f->program = in;
	return !in.bad;
}

/* Through the sorted table of .eh_frame_hdr. */
bool fde_find(const struct module *m, uint64_t pc, struct fde *f)
{
	uint64_t hdr = (uint64_t)m->eh_hdr, count, lo = 0, hi;
	struct in in = { m->eh_hdr, (const uint8_t *)m->end, !m->eh_hdr };
	unsigned int enc_ptr, enc_count, enc_table;
	int64_t rel = (int64_t)(pc - hdr);
	const uint8_t *table;
	int32_t where;

	if (in_uint(&in, 1) != 1)
		return false;
	enc_ptr = (unsigned int)in_uint(&in, 1);
	enc_count = (unsigned int)in_uint(&in, 1);
	enc_table = (unsigned int)in_uint(&in, 1);
	in_pointer(&in, enc_ptr, hdr);
	if (enc_count == PE_OMIT || enc_table != (PE_DATAREL | 0x0b))
		return false;
	count = in_pointer(&in, enc_count, hdr);
	if (in.bad || !count || count > (uint64_t)(in.end - in.p) / 8)
		return false;
	table = in.p;
	hi = count;
	while (hi - lo > 1) {
		uint64_t mid = lo + (hi - lo) / 2;

		memcpy(&where, table + 8 * mid, 4);
		if (where <= rel)
			lo = mid;
		else
			hi = mid;
	}
	memcpy(&where, table + 8 * lo + 4, 4);
	return fde_parse((const uint8_t *)(hdr + (uint64_t)(int64_t)where), m, f) &&
	       pc >= f->start && pc < f->end;
}
