/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the tracker's row compiler (src/track/cfi.c) over a hostile module.
 *
 * The input is the module: .eh_frame_hdr at its start, .eh_frame behind it, everything in a block of
 * exactly its size, so that a read one byte outside is found.  module_of(), which asks the
 * loader elsewhere, answers with that block.  After the first 16 bytes (which addresses, which registers) rows
 * are made and steps taken for addresses all over it, over a stack of exactly its bounds.
 *
 * Addresses in the tables are relative, so they mean the same wherever the block lies.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "track/cfi.h"
#include "track/track.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STACK_WORDS 64u
#define HEAD 16u

struct tracker g; /* no ledger: losses go nowhere */
static struct module module;

const struct module *module_of(uint64_t pc)
{
	return pc >= module.start && pc < module.end ? &module : NULL;
}

bool lock_wait(struct lock *l)
{
	(void)l;
	return false; /* one thread: nobody holds it */
}

static void probe(uint64_t pc, const uint64_t *stack, uint64_t seed)
{
	uint64_t row = cfi_row(pc), lo = (uint64_t)stack, hi = lo + STACK_WORDS * 8;
	unsigned int kind = ROW_KIND(row);
	struct arch_regs regs;
	bool end, signal;

	/* A row is for its address, and its frame pointer lies inside the frame. */
	assert(ROW_TAG(row) == (ROW_TAG_OF(pc) & ((1ull << (64 - ROW_TAG_SHIFT)) - 1)));
	assert(kind >= ROW_SP && kind <= ROW_NOCFI);
	if (kind == ROW_SP || kind == ROW_FP)
		assert(ROW_CFA_OFF(row) >= 8 && ROW_FP_OFF(row) <= ROW_CFA_OFF(row));
	else
		assert(!ROW_CFA_OFF(row) && !ROW_FP_OFF(row));
	for (unsigned int i = 0; i < ARCH_NREGS; i++)
		regs.r[i] = i % 3 ? lo + ((seed >> i) & 63) * 8 : seed * (i + 1);
	regs.r[ARCH_REG_SP] = lo + (seed & 63) * 8;
	regs.r[ARCH_REG_FP] = lo + (seed >> 6 & 63) * 8;
	regs.r[ARCH_REG_PC] = pc;
	for (unsigned int steps = 0; steps < 8; steps++)
		if (!cfi_step(&regs, lo, hi, &end, &signal))
			break;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seed, step, *stack;
	uint8_t *bytes;

	if (size < HEAD + 4 || size > 1 << 16)
		return 0;
	memcpy(&seed, data, 8);
	memcpy(&step, data + 8, 8);
	data += HEAD;
	size -= HEAD;
	bytes = malloc(size);
	stack = malloc(STACK_WORDS * 8);
	assert(bytes && stack);
	memcpy(bytes, data, size);
	module = (struct module){ (uint64_t)bytes, (uint64_t)bytes + size, 1, bytes, true };
	for (uint64_t i = 0; i < STACK_WORDS; i++) /* addresses of the stack and of the module */
		stack[i] = (seed >> (i & 31)) & 1 ? module.start + seed % size + i
		                                  : (uint64_t)(stack + (i * 7) % STACK_WORDS);
	/* At most 64 addresses, evenly spread from a place the input chooses. */
	for (uint64_t i = 0, at = seed % size; i < 64 && i < size; i++) {
		probe(module.start + at, stack, seed + i);
		at = (at + 1 + step % size) % size;
	}
	probe(module.end, stack, seed);
	module.eh_hdr = NULL;
	probe(module.start + 1, stack, seed);
	free(stack);
	free(bytes);
	return 0;
}
