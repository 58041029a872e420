/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk goes from frame to frame by rows.  A row is what .eh_frame says of one pc, as libdw reads it:
 * how to compute the canonical frame address and where the caller's registers are.  It is made once for
 * each pc and kept.
 *
 * While walking it notes what it read: the return addresses, and those saved registers from which a frame
 * address was computed.  If all of these are the same another time (saved frame pointers relative to the
 * stack pointer), so is the stack, by induction from the leaf outwards; that is a path (events.h), which the
 * program in the kernel recalls without sending the stack.  A walk that read memory through an expression,
 * that followed a signal frame or a stack without unwind tables, or that did not reach the outermost frame makes none.
 */
#include "capture/bpf/walk.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* DWARF numbers of x86-64 (psABI 3.36): rbx 3, rbp 6, rsp 7, r12..r15, the return address 16. */
enum { R_BX = 3, R_BP = 6, R_SP = 7, R_PC = 16, NREGS = 17 };
static const uint8_t kept[] = { R_BX, R_BP, R_SP, 12, 13, 14, 15, R_PC };

#define ROWS_MOST (1u << 20)
#define EXPR_DEPTH 16
#define STACK_FAR (1u << 30) /* what lies further away is on no stack */
#define EXPR_STEPS 256

enum cfa_kind { CFA_NONE, CFA_REGISTER, CFA_EXPR, CFA_END };
enum rule_kind {
	RULE_SAME,
	RULE_UNDEFINED,
	RULE_AT_CFA,
	RULE_IS_CFA,
	RULE_REGISTER,
	RULE_AT_EXPR,
	RULE_EXPR
};

struct rule {
	uint8_t kind;
	uint8_t reg;
	uint16_t nops;
	int32_t off;
	Dwarf_Op *ops; /* the row's */
};

struct walk_row {
	uint64_t pc;
	uint32_t module; /* id in the ledger; 0: none */
	uint8_t cfa, cfa_reg, signal;
	uint16_t ncfa_ops;
	int32_t cfa_off;
	Dwarf_Op *cfa_ops;
	struct rule rule[ARRAY_SIZE(kept)];
};

/* ---- rows ------------------------------------------------------------------------- */

static Dwarf_Op *copy_ops(const Dwarf_Op *ops, size_t n)
{
	Dwarf_Op *copy = n && n < EXPR_STEPS ? malloc(n * sizeof(*ops)) : NULL;

	if (copy)
		memcpy(copy, ops, n * sizeof(*ops));
	return copy;
}

static bool fits(int64_t v)
{
	return v >= INT32_MIN && v <= INT32_MAX;
}

static void make_cfa(struct walk_row *row, Dwarf_Frame *frame)
{
	Dwarf_Op *ops;
	size_t n;

	row->cfa = CFA_NONE;
	if (dwarf_frame_cfa(frame, &ops, &n) != 0 || !n)
		return;
	if (n == 1 && ops->atom >= DW_OP_breg0 && ops->atom <= DW_OP_breg31 &&
	    ops->atom - DW_OP_breg0 < NREGS && fits((int64_t)ops->number)) {
		row->cfa = CFA_REGISTER;
		row->cfa_reg = (uint8_t)(ops->atom - DW_OP_breg0);
		row->cfa_off = (int32_t)ops->number;
	} else if (n == 1 && ops->atom == DW_OP_bregx && ops->number < NREGS &&
	           fits((int64_t)ops->number2)) {
		row->cfa = CFA_REGISTER;
		row->cfa_reg = (uint8_t)ops->number;
		row->cfa_off = (int32_t)ops->number2;
	} else {
		row->cfa_ops = copy_ops(ops, n);
		row->ncfa_ops = (uint16_t)n;
		row->cfa = row->cfa_ops ? CFA_EXPR : CFA_NONE;
	}
}

static void make_rule(struct rule *r, Dwarf_Frame *frame, int reg)
{
	Dwarf_Op mem[3], *ops;
	bool value;
	size_t n;

	r->kind = RULE_UNDEFINED;
	if (dwarf_frame_register(frame, reg, mem, &ops, &n) != 0)
		return;
	if (!n) {
		r->kind = ops == mem ? RULE_UNDEFINED : RULE_SAME;
		return;
	}
	if (n == 1 && ops[0].atom == DW_OP_regx && ops[0].number < NREGS) {
		r->kind = RULE_REGISTER;
		r->reg = (uint8_t)ops[0].number;
		return;
	}
	value = ops[n - 1].atom == DW_OP_stack_value;
	if (ops[0].atom == DW_OP_call_frame_cfa) {
		int64_t off = 0;
		size_t k = n - value;

		if (k == 2 && ops[1].atom == DW_OP_plus_uconst)
			off = (int64_t)ops[1].number;
		if ((k == 1 || (k == 2 && ops[1].atom == DW_OP_plus_uconst)) && fits(off)) {
			r->kind = value ? RULE_IS_CFA : RULE_AT_CFA;
			r->off = (int32_t)off;
			return;
		}
	}
	r->ops = copy_ops(ops, n - value);
	r->nops = (uint16_t)(n - value);
	if (r->ops)
		r->kind = value ? RULE_EXPR : RULE_AT_EXPR;
}

/* The row of the code before return address pc. */
static void make_row(struct walk *w, uint64_t pc, struct walk_row *row)
{
	struct space_module *m = space_module_of(w->space, pc - 1);
	Dwarf_CFI *cfi = m ? space_cfi(w->space, m) : NULL;
	Dwarf_Frame *frame = NULL;
	Dwarf_Addr start, end;
	bool signal = false;

	*row = (struct walk_row){ .pc = pc, .module = m ? m->id : 0 };
	if (!cfi || dwarf_cfi_addrframe(cfi, pc - 1 - m->bias, &frame) != 0) {
		/* A return address that is a function's beginning was put there by hand: a fiber's entry. */
		if (cfi && dwarf_cfi_addrframe(cfi, pc - m->bias, &frame) == 0) {
			if (dwarf_frame_info(frame, &start, &end, &signal) >= 0) {
				if (signal) {
					make_cfa(row, frame);
					goto rules;
				}
				if (start == pc - m->bias)
					row->cfa = CFA_END;
			}
			free(frame);
		}
		return;
	}
	dwarf_frame_info(frame, &start, &end, &signal);
	make_cfa(row, frame);
rules:
	row->signal = signal;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		make_rule(&row->rule[i], frame, kept[i]);
	if (row->cfa != CFA_NONE && row->rule[ARRAY_SIZE(kept) - 1].kind == RULE_UNDEFINED)
		row->cfa = CFA_END;
	free(frame);
}

static void row_release(struct walk_row *row)
{
	free(row->cfa_ops);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		free(row->rule[i].ops);
}

void walk_forget(struct walk *w)
{
	for (size_t i = 0; i < w->nrows; i++)
		row_release(&w->rows[i]);
	w->nrows = 0;
	idmap_release(&w->index);
	w->index = (struct idmap){ 0 };
	w->failed_refresh = 0;
}

void walk_release(struct walk *w)
{
	walk_forget(w);
	free(TAKE(w->rows));
	w->cap = 0;
}

static const struct walk_row *row_of(struct walk *w, uint64_t pc)
{
	uint64_t hash = hash_mix(pc, 0);
	size_t pos = idmap_first(&w->index, hash);
	uint32_t id;

	while (idmap_get(&w->index, &pos, hash, &id))
		if (w->rows[id].pc == pc)
			return &w->rows[id];
	if (w->nrows == ROWS_MOST)
		walk_forget(w);
	if (w->nrows == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 1024;
		struct walk_row *p = reallocarray(w->rows, cap, sizeof(*p));

		if (!p)
			return NULL;
		w->rows = p;
		w->cap = cap;
	}
	make_row(w, pc, &w->rows[w->nrows]);
	if (idmap_add(&w->index, hash, (uint32_t)w->nrows) < 0) {
		row_release(&w->rows[w->nrows]);
		return NULL;
	}
	return &w->rows[w->nrows++];
}

/* ---- frames -------------------------------------------------------------------------- */

/* Where a register's value came from. */
#define FROM_START 0xffffu   /* the value it began with */
#define FROM_NOWHERE 0xfffeu /* unknown, or computed: nothing that can be checked again */

struct frames {
	uint64_t r[NREGS];
	uint16_t from[NREGS]; /* or the offset in words from the first sp */
	bool known[NREGS];
	uint64_t sp; /* the first one */
	const uint8_t *stack;
	size_t len;
	bool beyond; /* a read fell behind the copy */
};

static bool fetch(struct walk *w, struct frames *f, uint64_t addr, uint64_t *ret_value)
{
	uint64_t off = addr - f->sp;

	if (addr < f->sp || addr & 7)
		return false;
	if (f->len < 8 || off > f->len - 8) {
		f->beyond = off < STACK_FAR;
		return false;
	}
	memcpy(ret_value, f->stack + off, 8);
	if (off + 8 > w->used)
		w->used = off + 8;
	return true;
}

static void note(struct walk *w, bool exact, uint64_t off_words)
{
	struct path_value *p = &w->path;

	if (!w->recall)
		return;
	/* Return addresses come first; links are put at the end and moved behind them when all are known. */
	if (p->nwords >= PATH_WORDS || off_words >= EV_STACK_MAX / 8) {
		w->recall = false;
		return;
	}
	if (exact)
		p->off[p->nexact++] = (uint16_t)off_words;
	else
		p->off[PATH_WORDS - 1 - (p->nwords - p->nexact)] = (uint16_t)off_words;
	p->nwords++;
}

/* A frame address was computed from register reg. */
static void depends(struct walk *w, const struct frames *f, unsigned int reg)
{
	if (reg == R_SP)
		return; /* follows from the frame before */
	if (f->from[reg] == FROM_START && reg == R_BP)
		w->path.uses_bp = 1;
	else if (f->from[reg] < FROM_NOWHERE)
		note(w, false, f->from[reg]);
	else
		w->recall = false;
}

static bool eval(struct walk *w, struct frames *f, const Dwarf_Op *ops, size_t n,
                 const uint64_t *cfa, uint64_t *ret_value)
{
	uint64_t st[EXPR_DEPTH], v;
	unsigned int d = 0, steps = 0;

	if (cfa && n && ops[0].atom != DW_OP_call_frame_cfa)
		st[d++] = *cfa;
	for (size_t i = 0; i < n && ++steps < EXPR_STEPS; i++) {
		const Dwarf_Op *op = &ops[i];
		uint8_t a = op->atom;

		if (a >= DW_OP_lit0 && a <= DW_OP_lit31) {
			v = a - DW_OP_lit0;
		} else if (a >= DW_OP_breg0 && a <= DW_OP_breg31) {
			if (a - DW_OP_breg0 >= NREGS || !f->known[a - DW_OP_breg0])
				return false;
			/* pc and sp follow from the frames before; anything else makes no path */
			if (a - DW_OP_breg0 != R_SP && a - DW_OP_breg0 != R_PC)
				w->recall = false;
			v = f->r[a - DW_OP_breg0] + op->number;
		} else {
			switch (a) {
			case DW_OP_call_frame_cfa:
				if (!cfa)
					return false;
				v = *cfa;
				break;
			case DW_OP_addr:
			case DW_OP_const1u:
			case DW_OP_const1s:
			case DW_OP_const2u:
			case DW_OP_const2s:
			case DW_OP_const4u:
			case DW_OP_const4s:
			case DW_OP_const8u:
			case DW_OP_const8s:
			case DW_OP_constu:
			case DW_OP_consts:
				v = op->number;
				break;
			case DW_OP_dup:
				if (!d)
					return false;
				v = st[d - 1];
				break;
			case DW_OP_drop:
				if (!d)
					return false;
				d--;
				continue;
			case DW_OP_deref:
				w->recall = false;
				if (!d || !fetch(w, f, st[d - 1], &st[d - 1]))
					return false;
				continue;
			case DW_OP_plus_uconst:
				if (!d)
					return false;
				st[d - 1] += op->number;
				continue;
			case DW_OP_nop:
				continue;
			default:
				if (d < 2)
					return false;
				d--;
				switch (a) {
				case DW_OP_and:
					st[d - 1] &= st[d];
					continue;
				case DW_OP_or:
					st[d - 1] |= st[d];
					continue;
				case DW_OP_plus:
					st[d - 1] += st[d];
					continue;
				case DW_OP_minus:
					st[d - 1] -= st[d];
					continue;
				case DW_OP_mul:
					st[d - 1] *= st[d];
					continue;
				case DW_OP_shl:
					st[d - 1] = st[d] < 64 ? st[d - 1] << st[d] : 0;
					continue;
				case DW_OP_shr:
					st[d - 1] = st[d] < 64 ? st[d - 1] >> st[d] : 0;
					continue;
				case DW_OP_eq:
					st[d - 1] = st[d - 1] == st[d];
					continue;
				case DW_OP_ne:
					st[d - 1] = st[d - 1] != st[d];
					continue;
				case DW_OP_ge:
					st[d - 1] = (int64_t)st[d - 1] >= (int64_t)st[d];
					continue;
				case DW_OP_gt:
					st[d - 1] = (int64_t)st[d - 1] > (int64_t)st[d];
					continue;
				case DW_OP_le:
					st[d - 1] = (int64_t)st[d - 1] <= (int64_t)st[d];
					continue;
				case DW_OP_lt:
					st[d - 1] = (int64_t)st[d - 1] < (int64_t)st[d];
					continue;
				default:
					return false;
				}
			}
		}
		if (d == EXPR_DEPTH)
			return false;
		st[d++] = v;
	}
	if (!d || steps >= EXPR_STEPS)
		return false;
	*ret_value = st[d - 1];
	return true;
}

/* No unwind tables: a frame-pointer chain, if it is one. */
static bool step_chain(struct walk *w, struct frames *f)
{
	uint64_t bp = f->r[R_BP], next, ra;

	/* Where there is none (musl ends like that) no word is read, and where rbp pointed decides. */
	depends(w, f, R_BP);
	if (!f->known[R_BP] || bp < f->r[R_SP] || bp & 7 || bp - f->sp >= f->len) {
		f->beyond = f->known[R_BP] && bp >= f->r[R_SP] && !(bp & 7) &&
		            bp - f->sp < STACK_FAR;
		w->recall &= !f->beyond;
		return false;
	}
	w->recall = false;
	if (!fetch(w, f, bp, &next) || !fetch(w, f, bp + 8, &ra) || ra < 4096)
		return false;
	f->r[R_BP] = next;
	f->r[R_SP] = bp + 16;
	f->r[R_PC] = ra;
	for (unsigned int i = 0; i < NREGS; i++)
		if (i != R_BP && i != R_SP && i != R_PC)
			f->known[i] = false;
	return true;
}

static bool step(struct walk *w, struct frames *f, const struct walk_row *row)
{
	struct frames out = *f;
	uint64_t cfa;

	if (row->cfa == CFA_NONE)
		return step_chain(w, f);
	if (row->cfa == CFA_REGISTER) {
		if (!f->known[row->cfa_reg])
			return false;
		cfa = f->r[row->cfa_reg] + (uint64_t)(int64_t)row->cfa_off;
		depends(w, f, row->cfa_reg);
	} else if (!eval(w, f, row->cfa_ops, row->ncfa_ops, NULL, &cfa)) {
		return false;
	}
	out.r[R_SP] = cfa;
	out.known[R_SP] = true;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		const struct rule *r = &row->rule[i];
		unsigned int reg = kept[i];
		uint64_t at;

		switch ((enum rule_kind)r->kind) {
		case RULE_SAME:
			break;
		case RULE_UNDEFINED:
			/* Of the stack pointer and the like it only means that nothing was said. */
			if (reg != R_SP)
				out.known[reg] = false;
			break;
		case RULE_AT_CFA:
			at = cfa + (uint64_t)(int64_t)r->off;
			out.known[reg] = fetch(w, f, at, &out.r[reg]);
			out.from[reg] = (uint16_t)((at - f->sp) / 8 < FROM_NOWHERE ? (at - f->sp) / 8
			                                                           : FROM_NOWHERE);
			if (reg == R_PC && out.known[reg])
				note(w, true, (at - f->sp) / 8);
			break;
		case RULE_IS_CFA:
			out.r[reg] = cfa + (uint64_t)(int64_t)r->off;
			out.known[reg] = true;
			out.from[reg] = FROM_NOWHERE;
			break;
		case RULE_REGISTER:
			out.r[reg] = f->r[r->reg];
			out.known[reg] = f->known[r->reg];
			out.from[reg] = f->from[r->reg];
			break;
		case RULE_AT_EXPR:
			w->recall &= reg != R_PC && reg != R_BP;
			out.known[reg] = eval(w, f, r->ops, r->nops, &cfa, &at) &&
			                 fetch(w, f, at, &out.r[reg]);
			out.from[reg] = FROM_NOWHERE;
			break;
		case RULE_EXPR:
			w->recall &= reg != R_PC;
			out.known[reg] = eval(w, f, r->ops, r->nops, &cfa, &out.r[reg]);
			out.from[reg] = FROM_NOWHERE;
			break;
		}
	}
	if (!out.known[R_PC])
		return false;
	f->beyond = false;
	out.beyond = false;
	*f = out;
	return true;
}

/* Links behind the return addresses, and the hash as the kernel's side computes it. */
static void finish_path(struct walk *w, const struct frames *f, const struct ev_regs *regs)
{
	struct path_value *p = &w->path;
	unsigned int nlinks = (unsigned int)(p->nwords - p->nexact);
	uint16_t links[PATH_WORDS];
	uint64_t h = PATH_SEED, v;

	for (unsigned int i = 0; i < nlinks; i++)
		links[i] = p->off[PATH_WORDS - 1 - i];
	memcpy(p->off + p->nexact, links, nlinks * sizeof(links[0]));
	memset(p->off + p->nwords, 0, (PATH_WORDS - p->nwords) * sizeof(p->off[0]));
	for (unsigned int i = 0; i < p->nwords; i++) {
		memcpy(&v, f->stack + 8ull * p->off[i], 8);
		if (i >= p->nexact)
			v -= f->sp;
		PATH_STEP(h, v);
	}
	if (p->uses_bp)
		PATH_STEP(h, regs->bp - f->sp);
	p->hash = h;
	p->span = (uint16_t)w->used;
}

void walk_stack(struct walk *w, const struct ev_regs *regs, const uint8_t *stack, size_t len)
{
	struct frames f = { .sp = regs->sp, .stack = stack, .len = len };
	uint64_t last_sp = 0;
	bool signal = false;

	f.r[R_BX] = regs->bx;
	f.r[R_BP] = regs->bp;
	f.r[R_SP] = regs->sp;
	f.r[12] = regs->r12;
	f.r[13] = regs->r13;
	f.r[14] = regs->r14;
	f.r[15] = regs->r15;
	f.r[R_PC] = regs->ip;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		f.known[kept[i]] = true;
	for (unsigned int i = 0; i < NREGS; i++)
		f.from[i] = FROM_START;
	w->n = 0;
	w->cut = 0;
	w->used = 0;
	w->short_copy = false;
	w->recall = true;
	memset(&w->path, 0, sizeof(w->path));
	for (;;) {
		/* An interrupted frame is noted with its pc + 1, so that "before it" is the instruction itself. */
		uint64_t pc = f.r[R_PC] + signal;
		const struct walk_row *row;

		if (pc < 4096 || pc > LEDGER_PC_MASK)
			break; /* clone() and some runtimes end a stack with a zero */
		row = row_of(w, pc);
		if (!row) {
			w->cut = LEDGER_SITE_CUT_NO_CFI;
			w->recall = false;
			return;
		}
		if (w->n == LEDGER_MAX_DEPTH) {
			w->cut = LEDGER_SITE_CUT_DEPTH;
			break;
		}
		w->keys[w->n++] = pc | (uint64_t)row->module << LEDGER_PC_MODULE_SHIFT;
		if (row->cfa == CFA_END)
			break;
		signal = row->signal;
		if (!step(w, &f, row) || (f.r[R_SP] <= last_sp && !signal)) {
			w->short_copy = f.beyond;
			w->cut = LEDGER_SITE_CUT_NO_CFI;
			w->recall &= row->cfa == CFA_NONE;
			break;
		}
		last_sp = f.r[R_SP];
	}
	if (w->recall)
		finish_path(w, &f, regs);
}
