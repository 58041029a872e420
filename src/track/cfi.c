/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .eh_frame → unwind rows, and the general step for what does not fit into a row.
 *
 * eh_frame.c finds the function; the CFA program of its CIE and FDE is run up to the wanted address.  The result is a state: how to compute
 * the CFA, and where each callee-saved register is.  For nearly all code the state is
 * "cfa = sp + N" or "cfa = fp + N", return address at cfa - 8, frame pointer unchanged
 * or at cfa - 8k: that packs into a row.  A CFA expression that only adds to sp for this
 * pc (every PLT) is evaluated here once and packs as well.  Anything else is
 * ROW_SLOW: the walk is done again from the tracker's own frame with all registers
 * (cfi_step).
 *
 * Sources: DWARF 5 section 6.4 (call frame information) and 2.5 (expressions); System V psABI x86-64.
 */
#include "track/cfi.h"

#include "track/eh_frame.h"

/* ---- the CFA program ------------------------------------------------------------------- */

enum rule { SAME = 0, UNDEFINED, AT_CFA, VAL_CFA, EXPR, VAL_EXPR, REGISTER };

struct state {
	uint8_t rule[ARCH_NREGS];
	int64_t val[ARCH_NREGS]; /* offset, or register */
	struct in expr[ARCH_NREGS];
	bool cfa_is_expr;
	unsigned int cfa_reg;
	int64_t cfa_off;
	struct in cfa_expr;
};

#define REMEMBER_DEPTH 4

/*
 * Too large for the stack of a signal handler or a fiber, and only needed when a row is
 * made: one for all threads.
 */
static struct {
	struct lock lock;
	struct fde fde;
	struct state state, init, saved[REMEMBER_DEPTH];
} scratch;

static void set(struct state *s, uint64_t reg, enum rule rule, int64_t val)
{
	if (reg < ARCH_NREGS) {
		s->rule[reg] = (uint8_t)rule;
		s->val[reg] = val;
	}
}

/* n units of the CIE's data alignment; in tables that make no sense it wraps around. */
static int64_t scaled(const struct fde *f, uint64_t n)
{
	return (int64_t)(n * (uint64_t)f->data_align);
}

static struct in block(struct in *in)
{
	uint64_t n = in_uleb(in);
	struct in b = { in->p, in->p, true };

	if (!in->bad && n <= (uint64_t)(in->end - in->p)) {
		b.end = in->p + n;
		b.bad = false;
	}
	in_skip(in, n);
	return b;
}

/*
 * Runs one program until the location passes pc.  `init` is the state after the
 * CIE's program (for restore), NULL while running that one.  False: not understood.
 */
static bool run(struct in in, const struct fde *f, uint64_t pc, const struct state *init,
                struct state *s)
{
	struct state *saved = scratch.saved;
	unsigned int depth = 0;
	uint64_t loc = f->start, reg;

	while (!in.bad && in.p < in.end) {
		uint8_t op = (uint8_t)in_uint(&in, 1);

		switch (op >> 6) {
		case 1:
			loc += (op & 63) * f->code_align;
			if (init && loc > pc)
				return true;
			continue;
		case 2:
			set(s, op & 63, AT_CFA, scaled(f, in_uleb(&in)));
			continue;
		case 3:
			reg = op & 63;
			if (init && reg < ARCH_NREGS) {
				s->rule[reg] = init->rule[reg];
				s->val[reg] = init->val[reg];
				s->expr[reg] = init->expr[reg];
			}
			continue;
		}
		switch (op) {
		case 0x00: /* nop */
			break;
		case 0x01: /* set_loc */
			loc = in_pointer(&in, f->enc, 0);
			break;
		case 0x02: /* advance_loc1, 2, 4 */
			loc += in_uint(&in, 1) * f->code_align;
			break;
		case 0x03:
			loc += in_uint(&in, 2) * f->code_align;
			break;
		case 0x04:
			loc += in_uint(&in, 4) * f->code_align;
			break;
		case 0x05: /* offset_extended */
			reg = in_uleb(&in);
			set(s, reg, AT_CFA, scaled(f, in_uleb(&in)));
			break;
		case 0x06: /* restore_extended */
			reg = in_uleb(&in);
			if (init && reg < ARCH_NREGS) {
				s->rule[reg] = init->rule[reg];
				s->val[reg] = init->val[reg];
				s->expr[reg] = init->expr[reg];
			}
			break;
		case 0x07:
			set(s, in_uleb(&in), UNDEFINED, 0);
			break;
		case 0x08:
			set(s, in_uleb(&in), SAME, 0);
			break;
		case 0x09: /* register */
			reg = in_uleb(&in);
			set(s, reg, REGISTER, (int64_t)in_uleb(&in));
			break;
		case 0x0a: /* remember_state */
			if (depth == REMEMBER_DEPTH)
				return false;
			saved[depth++] = *s;
			break;
		case 0x0b: /* restore_state */
			if (!depth)
				return false;
			*s = saved[--depth];
			break;
		case 0x0c: /* def_cfa */
			s->cfa_reg = (unsigned int)in_uleb(&in);
			s->cfa_off = (int64_t)in_uleb(&in);
			s->cfa_is_expr = false;
			break;
		case 0x0d: /* def_cfa_register */
			s->cfa_reg = (unsigned int)in_uleb(&in);
			s->cfa_is_expr = false;
			break;
		case 0x0e: /* def_cfa_offset */
			s->cfa_off = (int64_t)in_uleb(&in);
			break;
		case 0x0f: /* def_cfa_expression */
			s->cfa_expr = block(&in);
			s->cfa_is_expr = true;
			break;
		case 0x10: /* expression */
		case 0x16: /* val_expression */
			reg = in_uleb(&in);
			set(s, reg, op == 0x10 ? EXPR : VAL_EXPR, 0);
			if (reg < ARCH_NREGS)
				s->expr[reg] = block(&in);
			else
				block(&in);
			break;
		case 0x11: /* offset_extended_sf */
			reg = in_uleb(&in);
			set(s, reg, AT_CFA, scaled(f, (uint64_t)in_sleb(&in)));
			break;
		case 0x12: /* def_cfa_sf */
			s->cfa_reg = (unsigned int)in_uleb(&in);
			s->cfa_off = scaled(f, (uint64_t)in_sleb(&in));
			s->cfa_is_expr = false;
			break;
		case 0x13: /* def_cfa_offset_sf */
			s->cfa_off = scaled(f, (uint64_t)in_sleb(&in));
			break;
		case 0x14: /* val_offset, val_offset_sf */
			reg = in_uleb(&in);
			set(s, reg, VAL_CFA, scaled(f, in_uleb(&in)));
			break;
		case 0x15:
			reg = in_uleb(&in);
			set(s, reg, VAL_CFA, scaled(f, (uint64_t)in_sleb(&in)));
			break;
		case 0x2e: /* GNU_args_size */
			in_uleb(&in);
			break;
		case 0x2f: /* GNU_negative_offset_extended */
			reg = in_uleb(&in);
			set(s, reg, AT_CFA, scaled(f, 0 - in_uleb(&in)));
			break;
		default:
			return false;
		}
		if (op >= 1 && op <= 4 && init && loc > pc)
			return true;
	}
	return !in.bad;
}

/* ---- expressions --------------------------------------------------------------------------- */

struct reader {
	uint64_t lo, hi; /* what may be read */
	bool touched;    /* memory was read */
	bool failed;
};

static uint64_t fetch(struct reader *rd, uint64_t addr)
{
	rd->touched = true;
	if (addr < rd->lo || addr + 8 > rd->hi || addr + 8 < addr || (addr & 7)) {
		rd->failed = true;
		return 0;
	}
	return *(const uint64_t *)addr;
}

#define EXPR_STACK 16

/* Only what compilers and assemblers emit in unwind tables. */
static bool expr_eval(struct in in, const struct arch_regs *regs, uint32_t *used_regs,
                      struct reader *rd, bool push, uint64_t cfa, uint64_t *ret)
{
	uint64_t st[EXPR_STACK];
	unsigned int n = 0, steps = 0;

	if (push)
		st[n++] = cfa;
	while (!in.bad && in.p < in.end && !rd->failed && ++steps < 200) {
		uint8_t op = (uint8_t)in_uint(&in, 1);
		uint64_t v = 0;
		unsigned int reg;

		if ((op >= 0x19 && op <= 0x2e && op != 0x1f && op != 0x23 && op != 0x28) && n < 2)
			return op == 0x1f;
		if (op >= 0x30 && op <= 0x4f) { /* lit */
			v = op - 0x30u;
		} else if ((op >= 0x70 && op <= 0x8f) || op == 0x92) { /* breg, bregx */
			reg = op == 0x92 ? (unsigned int)in_uleb(&in) : op - 0x70u;
			if (reg >= ARCH_NREGS)
				return false;
			*used_regs |= 1u << reg;
			v = regs->r[reg] + (uint64_t)in_sleb(&in);
		} else {
			switch (op) {
			case 0x06: /* deref */
				if (!n)
					return false;
				st[n - 1] = fetch(rd, st[n - 1]);
				continue;
			case 0x08:
				v = in_uint(&in, 1);
				break;
			case 0x09:
				v = (uint64_t)in_sint(&in, 1);
				break;
			case 0x0a:
				v = in_uint(&in, 2);
				break;
			case 0x0b:
				v = (uint64_t)in_sint(&in, 2);
				break;
			case 0x0c:
				v = in_uint(&in, 4);
				break;
			case 0x0d:
				v = (uint64_t)in_sint(&in, 4);
				break;
			case 0x0e:
			case 0x0f:
				v = in_uint(&in, 8);
				break;
			case 0x10:
				v = in_uleb(&in);
				break;
			case 0x11:
				v = (uint64_t)in_sleb(&in);
				break;
			case 0x12: /* dup */
				if (!n)
					return false;
				v = st[n - 1];
				break;
			case 0x13: /* drop */
				if (!n)
					return false;
				n--;
				continue;
			case 0x1a:
				n--;
				st[n - 1] &= st[n];
				continue;
			case 0x1c:
				n--;
				st[n - 1] -= st[n];
				continue;
			case 0x1e:
				n--;
				st[n - 1] *= st[n];
				continue;
			case 0x21:
				n--;
				st[n - 1] |= st[n];
				continue;
			case 0x22:
				n--;
				st[n - 1] += st[n];
				continue;
			case 0x23: /* plus_uconst */
				if (!n)
					return false;
				st[n - 1] += in_uleb(&in);
				continue;
			case 0x24:
				n--;
				st[n - 1] = st[n] < 64 ? st[n - 1] << st[n] : 0;
				continue;
			case 0x25:
				n--;
				st[n - 1] = st[n] < 64 ? st[n - 1] >> st[n] : 0;
				continue;
			case 0x29: /* eq, ge, gt, le, lt, ne: signed */
				n--;
				st[n - 1] = st[n - 1] == st[n];
				continue;
			case 0x2a:
				n--;
				st[n - 1] = (int64_t)st[n - 1] >= (int64_t)st[n];
				continue;
			case 0x2b:
				n--;
				st[n - 1] = (int64_t)st[n - 1] > (int64_t)st[n];
				continue;
			case 0x2c:
				n--;
				st[n - 1] = (int64_t)st[n - 1] <= (int64_t)st[n];
				continue;
			case 0x2d:
				n--;
				st[n - 1] = (int64_t)st[n - 1] < (int64_t)st[n];
				continue;
			case 0x2e:
				n--;
				st[n - 1] = st[n - 1] != st[n];
				continue;
			case 0x96:
				continue;
			default:
				return false;
			}
		}
		if (n == EXPR_STACK)
			return false;
		st[n++] = v;
	}
	if (in.bad || rd->failed || !n || steps >= 200)
		return false;
	*ret = st[n - 1];
	return true;
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* The state of the code before return address pc.  1: found, 0: no CFI, -1: CFI not understood.  Locked. */
static int state_at(uint64_t pc, struct state *s, bool *ret_signal)
{
	const struct module *m = module_of(pc - 1);
	struct fde *f = &scratch.fde;

	*ret_signal = false;
	if (!m || !m->eh_hdr || !fde_find(m, pc - 1, f))
		return 0;
	*ret_signal = f->signal;
	memset(s, 0, sizeof(*s));
	if (f->ra_reg != ARCH_REG_PC || !run(f->cie_program, f, pc - 1, NULL, s))
		return -1;
	scratch.init = *s;
	return run(f->program, f, pc - 1, &scratch.init, s) ? 1 : -1;
}

/* A CFA expression that is sp + constant for this pc (procedure linkage tables). */
static bool constant_cfa(const struct state *s, uint64_t pc, int64_t *ret_off)
{
	struct reader rd = { 0, 0, false, false };
	uint32_t used = 0;
	uint64_t a, b;
	struct arch_regs regs = { { 0 } };

	regs.r[ARCH_REG_PC] = pc;
	regs.r[ARCH_REG_SP] = 0x100000;
	if (!expr_eval(s->cfa_expr, &regs, &used, &rd, false, 0, &a))
		return false;
	regs.r[ARCH_REG_SP] = 0x734560;
	if (!expr_eval(s->cfa_expr, &regs, &used, &rd, false, 0, &b))
		return false;
	*ret_off = (int64_t)(a - 0x100000);
	return !rd.touched && !(used & ~(1u << ARCH_REG_PC | 1u << ARCH_REG_SP)) &&
	       b - a == 0x634560;
}

static uint64_t make_row(uint64_t pc)
{
	struct state *s = &scratch.state;
	bool signal;
	int r = state_at(pc, s, &signal);
	unsigned int kind;
	int64_t off;
	uint64_t fp = 0;

	if (r == 0) {
		const struct module *m = module_of(pc);

		if (m && pc + 16 <= m->end && arch_is_sigreturn((const uint8_t *)pc))
			return row_pack(pc, ROW_SIGNAL, 0, 0);
		/* A return address that is a function's beginning was put there by hand: a fiber's entry. */
		if (m && m->eh_hdr && fde_find(m, pc, &scratch.fde) && scratch.fde.start == pc)
			return row_pack(pc, ROW_END, 0, 0);
		return row_pack(pc, ROW_NOCFI, 0, 0);
	}
	if (r < 0)
		return row_pack(pc, ROW_NOCFI, 0, 0);
	if (signal)
		return row_pack(pc, ROW_SIGNAL, 0, 0);
	if (s->rule[ARCH_REG_PC] == UNDEFINED)
		return row_pack(pc, ROW_END, 0, 0);
	if (s->cfa_is_expr) {
		if (!constant_cfa(s, pc, &off))
			return row_pack(pc, ROW_SLOW, 0, 0);
		kind = ROW_SP;
	} else if (s->cfa_reg == ARCH_REG_SP || s->cfa_reg == ARCH_REG_FP) {
		kind = s->cfa_reg == ARCH_REG_SP ? ROW_SP : ROW_FP;
		off = s->cfa_off;
	} else {
		return row_pack(pc, ROW_SLOW, 0, 0);
	}
	if (off < 8 || off > (int64_t)ROW_MAX_CFA || (off & 7) || s->rule[ARCH_REG_PC] != AT_CFA ||
	    s->val[ARCH_REG_PC] != -8)
		return row_pack(pc, ROW_SLOW, 0, 0);
	if (s->rule[ARCH_REG_FP] == AT_CFA) {
		/* Above the frame's lowest address, so that the read is inside the stack. */
		if (s->val[ARCH_REG_FP] >= 0 || s->val[ARCH_REG_FP] < -(int64_t)ROW_MAX_FP ||
		    s->val[ARCH_REG_FP] < -off || (s->val[ARCH_REG_FP] & 7))
			return row_pack(pc, ROW_SLOW, 0, 0);
		fp = (uint64_t)-s->val[ARCH_REG_FP];
	} else if (s->rule[ARCH_REG_FP] != SAME && s->rule[ARCH_REG_FP] != UNDEFINED) {
		return row_pack(pc, ROW_SLOW, 0, 0);
	}
	return row_pack(pc, kind, (uint64_t)off, fp);
}

uint64_t cfi_row(uint64_t pc)
{
	uint64_t row;

	if (!lock_take(&scratch.lock))
		return 0;
	row = make_row(pc);
	lock_give(&scratch.lock);
	return row;
}

/* ---- the general step -------------------------------------------------------------------------------- */

/* No CFI: a frame-pointer chain, if it is one.  Everything but pc, sp and fp is lost then. */
static bool step_frame_pointer(struct arch_regs *regs, struct reader *rd)
{
	uint64_t fp = regs->r[ARCH_REG_FP], sp = regs->r[ARCH_REG_SP], next, ra;

	if (fp < sp)
		return false;
	next = fetch(rd, fp);
	ra = fetch(rd, fp + 8);
	if (rd->failed || ra < 4096)
		return false;
	regs->r[ARCH_REG_FP] = next;
	regs->r[ARCH_REG_SP] = fp + 16;
	regs->r[ARCH_REG_PC] = ra;
	return true;
}

static bool step_signal(struct arch_regs *regs, struct reader *rd)
{
	uint64_t sp = regs->r[ARCH_REG_SP];
	struct arch_regs out = *regs;
	/* gregs: r8..r15 at 40, rdi, rsi, rbp, rbx, ... (arch_x86_64.h) */
	for (unsigned int i = 12; i <= 15; i++)
		out.r[i] = fetch(rd, sp + 40 + 8 * (i - 8));
	out.r[DW_RBX] = fetch(rd, sp + 128);
	out.r[ARCH_REG_FP] = fetch(rd, sp + ARCH_SIGFRAME_FP);
	out.r[ARCH_REG_SP] = fetch(rd, sp + ARCH_SIGFRAME_SP);
	out.r[ARCH_REG_PC] = fetch(rd, sp + ARCH_SIGFRAME_PC) + 1;
	if (rd->failed)
		return false;
	*regs = out;
	return true;
}

static bool step(struct arch_regs *regs, uint64_t lo, uint64_t hi, bool *ret_end, bool *ret_signal)
{
	struct reader rd = { lo, hi, false, false };
	struct arch_regs out = *regs;
	uint64_t cfa;
	uint32_t used = 0;
	struct state *s = &scratch.state;
	int r = state_at(regs->r[ARCH_REG_PC], s, ret_signal);

	*ret_end = false;
	if (r == 0) {
		uint64_t pc = regs->r[ARCH_REG_PC];
		const struct module *m = module_of(pc);

		*ret_signal = m && pc + 16 <= m->end && arch_is_sigreturn((const uint8_t *)pc);
	}
	if (*ret_signal)
		return step_signal(regs, &rd);
	if (r <= 0)
		return step_frame_pointer(regs, &rd);
	if (s->rule[ARCH_REG_PC] == UNDEFINED) {
		*ret_end = true;
		return false;
	}
	if (s->cfa_is_expr) {
		if (!expr_eval(s->cfa_expr, regs, &used, &rd, false, 0, &cfa))
			return false;
	} else if (s->cfa_reg < ARCH_NREGS) {
		cfa = regs->r[s->cfa_reg] + (uint64_t)s->cfa_off;
	} else {
		return false;
	}
	for (unsigned int i = 0; i < ARCH_NREGS; i++) {
		uint64_t v;

		switch (s->rule[i]) {
		case AT_CFA:
			out.r[i] = fetch(&rd, cfa + (uint64_t)s->val[i]);
			break;
		case VAL_CFA:
			out.r[i] = cfa + (uint64_t)s->val[i];
			break;
		case REGISTER:
			if ((uint64_t)s->val[i] < ARCH_NREGS)
				out.r[i] = regs->r[s->val[i]];
			break;
		case EXPR:
		case VAL_EXPR:
			if (!expr_eval(s->expr[i], regs, &used, &rd, true, cfa, &v))
				return false;
			out.r[i] = s->rule[i] == EXPR ? fetch(&rd, v) : v;
			break;
		}
	}
	if (s->rule[ARCH_REG_SP] == SAME)
		out.r[ARCH_REG_SP] = cfa;
	if (rd.failed || s->rule[ARCH_REG_PC] == SAME)
		return false;
	*regs = out;
	return true;
}

void cfi_forked(void)
{
	scratch.lock.word = 0;
}

bool cfi_step(struct arch_regs *regs, uint64_t lo, uint64_t hi, bool *ret_end, bool *ret_signal)
{
	bool r;

	*ret_end = *ret_signal = false;
	if (!lock_take(&scratch.lock))
		return false;
	r = step(regs, lo, hi, ret_end, ret_signal);
	lock_give(&scratch.lock);
	return r;
}
