/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A uprobe replaces an instruction by a trap.  The kernel emulates a few of them (push, jumps, calls); any other it copies
 * aside and single-steps, which is a second trap, and in a virtual machine, whose hypervisor wants to see
 * debug exceptions, costs several times the first.  Measured in docs/ATTACH.md.
 *
 * Allocators begin with a fast path: compare the size, load a thread's cache, branch.  So a few instructions behind
 * the beginning there mostly is a conditional jump or a push; up to there nothing of interest has changed.
 * This walks over instructions whose length and effect it knows and gives up at any other.
 *
 * Should the function also jump back to that place, from a loop, the same call makes a second event, which finds the first
 * one pending.  The return address lies at the stack pointer then too: what a frame looks like at an instruction
 * is the same on all ways that lead there, or it could not be unwound.
 */
#include "capture/bpf/place.h"

#include <stdbool.h>
#include <string.h>

#define FAR 96 /* bytes from the beginning */

enum { RCX = 1, RDX = 2, RSP = 4, RSI = 6, RDI = 7 };

struct insn {
	size_t len;
	int written; /* register, -1: none */
	bool emulated;
};

/* Bytes of a ModRM operand: the byte itself, SIB and displacement. */
static size_t operand(const uint8_t *p, size_t left)
{
	unsigned int mod, rm;
	size_t n = 1;

	if (!left)
		return 0;
	mod = p[0] >> 6;
	rm = p[0] & 7;
	if (mod != 3 && rm == 4) {
		if (left < 2)
			return 0;
		n++;
		if (mod == 0 && (p[1] & 7) == 5)
			n += 4;
	} else if (mod == 0 && rm == 5) {
		n += 4;
	}
	return n + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

/* False: not one of those that are known. */
static bool decode(const uint8_t *p, size_t left, struct insn *ret)
{
	size_t at = 0, n, imm = 0;
	uint8_t rex = 0, op;
	bool to_reg = false, to_rm = false, two = false;
	int reg, rm;

	if (left > at && p[at] == 0x64) /* %fs */
		at++;
	if (left > at && (p[at] & 0xf0) == 0x40)
		rex = p[at++];
	if (left < at + 2)
		return false;
	op = p[at++];
	*ret = (struct insn){ .written = -1 };
	if ((op & 0xf8) == 0x50 || (op & 0xf0) == 0x70) { /* push; jcc rel8 */
		ret->emulated = true;
		return at == 1 || (at == 2 && (op & 0xf8) == 0x50 && rex == 0x41);
	}
	if (op == 0x0f) {
		two = true;
		op = p[at++];
		if ((op & 0xf0) == 0x80) { /* jcc rel32 */
			ret->emulated = true;
			return at == 2;
		}
	}
	if (two) {
		if (op != 0xb6 && op != 0xb7) /* movzb, movzw */
			return false;
		to_reg = true;
	} else {
		switch (op) {
		case 0x84: /* test */
		case 0x85:
		case 0x38: /* cmp */
		case 0x39:
		case 0x3a:
		case 0x3b:
			break;
		case 0x80: /* cmp, and others, with a number */
		case 0x81:
		case 0x83:
			imm = op == 0x81 ? 4 : 1;
			to_rm = left > at && (p[at] >> 3 & 7) != 7;
			break;
		case 0x05: /* add, and, sub, cmp of %eax with a number */
		case 0x25:
		case 0x2d:
		case 0x3d:
			ret->written = op == 0x3d ? -1 : 0;
			ret->len = at + 4;
			return ret->len <= left;
		case 0xc1: /* shl, shr */
			imm = 1;
			to_rm = true;
			break;
		case 0x89: /* mov */
		case 0x01: /* add */
		case 0x31: /* xor */
			to_rm = true;
			break;
		case 0x8b: /* mov */
		case 0x8d: /* lea */
		case 0x03: /* add */
		case 0x33: /* xor */
			to_reg = true;
			break;
		default:
			return false;
		}
	}
	n = operand(p + at, left > at ? left - at : 0);
	if (!n || at + n + imm > left)
		return false;
	reg = (p[at] >> 3 & 7) | (rex & 4 ? 8 : 0);
	rm = (p[at] & 7) | (rex & 1 ? 8 : 0);
	if (to_reg)
		ret->written = reg;
	if (to_rm && p[at] >> 6 == 3)
		ret->written = rm;
	ret->len = at + n + imm;
	return true;
}

size_t place_probe(const uint8_t *code, size_t len, unsigned int args)
{
	static const uint32_t argument[] = { 1u << RDI, 1u << RSI, 1u << RDX, 1u << RCX };
	static const uint8_t endbr[4] = { 0xf3, 0x0f, 0x1e, 0xfa };
	uint32_t keep = 1u << RSP;
	size_t at = len >= 4 && !memcmp(code, endbr, 4) ? 4 : 0;

	for (unsigned int i = 0; i < args && i < 4; i++)
		keep |= argument[i];
	while (at < len && at < FAR) {
		struct insn in;

		if (!decode(code + at, len - at, &in))
			break;
		if (in.emulated)
			return at;
		if (in.written >= 0 && (1u << in.written & keep))
			break;
		at += in.len;
	}
	return 0;
}
