/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwinding a stack from outside: registers and a copy of the stack's bytes are all there is; the unwind
 * tables come from the modules' files.
 *
 * The copy is whatever the target had on its stack, so every read is checked and every loop bounded.
 */
#ifndef SEEP_CAPTURE_BPF_WALK_H
#define SEEP_CAPTURE_BPF_WALK_H

#include "base/idmap.h"
#include "capture/bpf/events.h"
#include "capture/bpf/space.h"
#include "wire/ledger.h"

struct walk_row;

struct walk {
	struct space *space;
	struct idmap index; /* of rows by pc */
	struct walk_row *rows;
	size_t nrows, cap;
	uint64_t failed_refresh; /* an address that no module holds: not to be asked for again and again */

	/* The last stack: */
	uint64_t keys[LEDGER_MAX_DEPTH]; /* as in struct ledger_node, leaf first */
	size_t n;
	uint32_t cut;    /* LEDGER_SITE_CUT_* */
	bool short_copy; /* it went on beyond the copy */
	uint64_t used;   /* bytes of the copy up to the last one read */

	/* What the walk depended on; valid only when `recall` is set: a path, but for its number. */
	bool recall;
	struct path_value path;
};

void walk_release(struct walk *w);
/* The modules have changed: what was derived from them is forgotten. */
void walk_forget(struct walk *w);
/* Unwinds; never fails, but a stack may be cut. */
void walk_stack(struct walk *w, const struct ev_regs *regs, const uint8_t *stack, size_t len);

#endif
