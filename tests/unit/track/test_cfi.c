/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwind rows against libdw: for return addresses all over the loaded modules, what the tracker packed into a row
 * is what elfutils finds in the same .eh_frame: the CFA, the return address at cfa - 8, and where the
 * frame pointer is.
 */
#include "tracker.h"

#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <gelf.h>
#include <link.h>
#include <unistd.h>

#include "track/cfi.h"

#define LEAST_PCS 5000u

struct tested {
	unsigned int all, sp, fp, slow, end, signal, none;
};

/* A CFA expression's value for these registers; only what tables of procedure linkage use. */
static bool evaluate(const Dwarf_Op *ops, size_t n, uint64_t sp, uint64_t pc, uint64_t *ret)
{
	uint64_t st[16];
	unsigned int k = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t op = ops[i].atom;

		if (op == DW_OP_breg7)
			st[k++] = sp + ops[i].number;
		else if (op == DW_OP_breg16)
			st[k++] = pc + ops[i].number;
		else if (op >= DW_OP_lit0 && op <= DW_OP_lit31)
			st[k++] = op - DW_OP_lit0;
		else if (k < 2)
			return false;
		else if (k--, op == DW_OP_and)
			st[k - 1] &= st[k];
		else if (op == DW_OP_ge)
			st[k - 1] = (int64_t)st[k - 1] >= (int64_t)st[k];
		else if (op == DW_OP_shl)
			st[k - 1] <<= st[k];
		else if (op == DW_OP_plus)
			st[k - 1] += st[k];
		else
			return false;
		if (k == 16)
			return false;
	}
	*ret = k ? st[k - 1] : 0;
	return k == 1;
}

/* Saved at cfa + *ret_off, and nothing more complicated. */
static bool at_cfa(const Dwarf_Op *ops, size_t n, int64_t *ret_off)
{
	if (n < 1 || n > 2 || ops[0].atom != DW_OP_call_frame_cfa ||
	    (n == 2 && ops[1].atom != DW_OP_plus_uconst))
		return false;
	*ret_off = n == 2 ? (int64_t)ops[1].number : 0;
	return true;
}

/* What libdw says of the row's address; checks that the row says the same. */
static void compare(Dwarf_CFI *cfi, uint64_t pc, uint64_t bias, struct tested *tested)
{
	uint64_t row = cfi_row(pc), a, b;
	unsigned int kind = ROW_KIND(row), wanted;
	Dwarf_Op ra_mem[3], fp_mem[3], *ra = NULL, *fp = NULL, *cfa = NULL;
	size_t nra = 0, nfp = 0, ncfa = 0;
	Dwarf_Frame *frame = NULL;
	int64_t off = 0, fp_off = 0;
	bool simple, fp_same, fp_saved;

	tested->all++;
	assert_int_equal(ROW_TAG(row), ROW_TAG_OF(pc));
	if (dwarf_cfi_addrframe(cfi, pc - 1 - bias, &frame)) {
		/* No table covers it: a frame-pointer step, an entry put there by hand, or a signal's return. */
		if (kind != ROW_NOCFI && kind != ROW_END && kind != ROW_SIGNAL)
			fail_msg("%#lx: no frame for libdw, row kind %u", pc - bias, kind);
		tested->none++;
		return;
	}
	{
		Dwarf_Addr start, end;
		bool signal;

		dwarf_frame_info(frame, &start, &end, &signal);
		assert_int_equal(kind == ROW_SIGNAL, signal);
		if (signal) {
			tested->signal++;
			goto out;
		}
	}
	assert_int_equal(dwarf_frame_cfa(frame, &cfa, &ncfa), 0);
	assert_int_equal(dwarf_frame_register(frame, ARCH_REG_PC, ra_mem, &ra, &nra), 0);
	assert_int_equal(dwarf_frame_register(frame, ARCH_REG_FP, fp_mem, &fp, &nfp), 0);
	if (!nra && ra) { /* undefined: the outermost frame */
		assert_int_equal(kind, ROW_END);
		tested->end++;
		goto out;
	}
	fp_same = !nfp;
	fp_saved = at_cfa(fp, nfp, &fp_off);
	simple = at_cfa(ra, nra, &off) && off == -8 && (fp_same || fp_saved);
	wanted = ROW_SLOW;
	if (simple && ncfa == 1 && cfa[0].atom == DW_OP_bregx &&
	    (cfa[0].number == ARCH_REG_SP || cfa[0].number == ARCH_REG_FP)) {
		off = (int64_t)cfa[0].number2;
		wanted = cfa[0].number == ARCH_REG_SP ? ROW_SP : ROW_FP;
	} else if (simple && ncfa > 1 && evaluate(cfa, ncfa, 0x10000, pc, &a) &&
	           evaluate(cfa, ncfa, 0x20000, pc, &b) && b - a == 0x10000) {
		off = (int64_t)(a - 0x10000);
		wanted = ROW_SP;
	}
	/* Behind an epilogue's pops the tables still name a slot, below the frame by then: not for a row. */
	if (wanted != ROW_SLOW && fp_saved && -fp_off > off)
		wanted = ROW_SLOW;
	if (kind != wanted)
		fail_msg("%#lx: row kind %u, not %u; %zu operations, register %lu%+ld, frame pointer at %+ld",
		         pc - bias, kind, wanted, ncfa, cfa[0].number, off, fp_off);
	if (kind == ROW_SLOW) {
		tested->slow++;
		goto out;
	}
	if (ROW_CFA_OFF(row) != (uint64_t)off ||
	    ROW_FP_OFF(row) != (fp_same ? 0 : (uint64_t)-fp_off))
		fail_msg("%#lx: cfa %+ld, frame pointer at %+ld; the row has %lu and %lu",
		         pc - bias, off, fp_same ? 0 : fp_off, (uint64_t)ROW_CFA_OFF(row),
		         (uint64_t)ROW_FP_OFF(row));
	tested->sp += kind == ROW_SP;
	tested->fp += kind == ROW_FP;
out:
	free(frame);
}

/* Return addresses: behind the first byte of functions, and anywhere in them, also in the gaps between. */
static void check_module(struct dl_phdr_info *info, const char *path, unsigned int wanted,
                         struct tested *tested)
{
	const uint8_t *hdr = NULL;
	uint64_t seed = 11, bias = info->dlpi_addr, count, text_end = 0;
	const int32_t *table;
	Dwarf_CFI *cfi;
	Elf *elf;
	int fd;

	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_GNU_EH_FRAME)
			hdr = (const uint8_t *)(bias + ph->p_vaddr);
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X))
			text_end = bias + ph->p_vaddr + ph->p_memsz;
	}
	assert_non_null(hdr);
	/* pcrel sdata4, udata4, datarel sdata4: what every linker writes. */
	assert_int_equal(hdr[0], 1);
	assert_int_equal(hdr[2], 0x03);
	assert_int_equal(hdr[3], 0x3b);
	count = *(const uint32_t *)(hdr + 8);
	table = (const int32_t *)(hdr + 12);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	cfi = dwarf_getcfi_elf(elf);
	assert_non_null(cfi);
	for (unsigned int n = 0; n < wanted; n++) {
		uint64_t i = count > wanted ? random_next(&seed) % count : (uint64_t)n % count;
		uint64_t start = (uint64_t)hdr + (uint64_t)(int64_t)table[2 * i];
		uint64_t end = i + 1 < count ? (uint64_t)hdr + (uint64_t)(int64_t)table[2 * i + 2]
		                             : text_end;
		uint64_t pc = start + 1 +
		              (n % 4 && end > start ? random_next(&seed) % (end - start) : 0);

		compare(cfi, pc, bias, tested);
	}
	dwarf_cfi_end(cfi);
	elf_end(elf);
	close(fd);
}

static int each_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct tested *tested = arg, before = *tested;
	const char *path = info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";

	(void)size;
	if (path[0] != '/')
		return 0; /* the vdso has no file */
	/* The C library in full measure; a fair share of everything else. */
	check_module(info, path, strstr(path, "libc.so") ? 6000 : 2000, tested);
	print_message("%s: %u addresses\n", path, tested->all - before.all);
	return 0;
}

static void rows_equal_libdw(void **state)
{
	struct tested tested = { 0 };

	(void)state;
	elf_version(EV_CURRENT);
	dl_iterate_phdr(each_module, &tested);
	print_message(
		"%u addresses: %u on sp, %u on the frame pointer, %u general, %u outermost, %u signal, %u without\n",
		tested.all, tested.sp, tested.fp, tested.slow, tested.end, tested.signal,
		tested.none);
	assert_true(tested.all >= LEAST_PCS);
	/* All sorts were among them. */
	assert_true(tested.sp > 1000 && tested.fp > 100 && tested.slow > 0 && tested.none > 0);
	assert_int_equal(tracker_losses(), 0);
}

/* What is in no module, or cannot be an address, has no row that leads anywhere. */
static void addresses_outside_modules_have_no_cfi(void **state)
{
	static char heap[64];
	static const uint64_t odd[] = { 0, 1, 4096, 0x7fffffffffff, 0x8000000000000000, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(ROW_KIND(cfi_row(odd[i])), ROW_NOCFI);
	assert_int_equal(ROW_KIND(cfi_row((uint64_t)heap + 16)),
	                 ROW_NOCFI); /* data of this program */
}

/* ---- the general step against the rows ------------------------------------------------------------ */

/* Where a row says how to step, the general step says the same for sp, pc and frame pointer. */
static void the_general_step_equals_the_rows(void **state)
{
	static uint64_t stack[4096];
	uint64_t seed = 5, lo = (uint64_t)stack, hi = lo + sizeof(stack), base;
	unsigned int steps = 0;

	(void)state;
	for (uint64_t i = 0; i < 4096; i++)
		stack[i] = 0x100000 + i;
	base = (uint64_t)&qsort & ~4095ull;
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t pc = base + random_next(&seed) % 0x40000, row = cfi_row(pc), cfa;
		struct arch_regs regs = { { 0 } };
		bool end, signal;

		if (ROW_KIND(row) != ROW_SP && ROW_KIND(row) != ROW_FP)
			continue;
		if (ROW_CFA_OFF(row) > sizeof(stack) / 4)
			continue;
		regs.r[ARCH_REG_PC] = pc;
		regs.r[ARCH_REG_SP] = lo + 512;
		regs.r[ARCH_REG_FP] = lo + sizeof(stack) / 2;
		cfa = (ROW_KIND(row) == ROW_SP ? regs.r[ARCH_REG_SP] : regs.r[ARCH_REG_FP]) +
		      ROW_CFA_OFF(row);
		assert_true(cfi_step(&regs, lo, hi, &end, &signal));
		assert_false(end || signal);
		assert_int_equal(regs.r[ARCH_REG_SP], cfa);
		assert_int_equal(regs.r[ARCH_REG_PC], *(uint64_t *)(cfa - 8));
		assert_int_equal(regs.r[ARCH_REG_FP], ROW_FP_OFF(row)
		                                              ? *(uint64_t *)(cfa - ROW_FP_OFF(row))
		                                              : lo + sizeof(stack) / 2);
		steps++;
		/* Never outside the stack. */
		regs.r[ARCH_REG_PC] = pc;
		regs.r[ARCH_REG_SP] = regs.r[ARCH_REG_FP] = hi;
		assert_false(cfi_step(&regs, lo, hi, &end, &signal));
		regs.r[ARCH_REG_SP] = regs.r[ARCH_REG_FP] = UINT64_MAX - 7;
		assert_false(cfi_step(&regs, lo, hi, &end, &signal));
	}
	assert_true(steps > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_equal_libdw),
		cmocka_unit_test(addresses_outside_modules_have_no_cfi),
		cmocka_unit_test(the_general_step_equals_the_rows),
	};

	return cmocka_run_group_tests(tests, tracker_setup, tracker_teardown);
}
