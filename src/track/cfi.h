/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed unwind rows.  A row tells how the frame of one return address leads to its
 * caller's, in 64 bits, so that tables of rows can be read and replaced without locks:
 *
 *   63        33 32         19 18      3 2    0
 *   | pc >> 16  |  fp slot    | cfa off | kind |
 *
 * fp slot: 0: the frame-pointer register is unchanged; k: it was saved at cfa - 8k.
 * cfa off: in words.  The low 16 bits of pc are the row's index in the first table
 * (unwind.c), so index and tag together are the whole 47-bit address.
 */
#ifndef SEEP_TRACK_CFI_H
#define SEEP_TRACK_CFI_H

#include <stdint.h>

#define ROW_KIND(row) ((row)&7)
#define ROW_CFA_OFF(row) (((row)&0x7fff8) /* already times 8 */)
#define ROW_FP_OFF(row) (((row) >> 16) & 0x1fff8) /* bytes below the cfa */
#define ROW_TAG_SHIFT 33
#define ROW_TAG(row) ((row) >> ROW_TAG_SHIFT)
#define ROW_TAG_OF(pc) ((pc) >> 16)
#define ROW_MAX_CFA 0x7fff8u
#define ROW_MAX_FP 0x1fff8u

static inline uint64_t row_pack(uint64_t pc, unsigned int kind, uint64_t cfa_off, uint64_t fp_off)
{
	return ROW_TAG_OF(pc) << ROW_TAG_SHIFT | fp_off << 16 | cfa_off | kind;
}

#endif
