/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a ledger's live table while its writer changes it.
 */
#ifndef SEEP_CAPTURE_LEDGER_LIVE_H
#define SEEP_CAPTURE_LEDGER_LIVE_H

#include "capture/ledger_file.h"

/*
 * Called once for every bucket that was seen whole: the records of one 4096-byte page of the
 * target's addresses.  Slots with head 0 are empty; everything else in a slot is unchecked.
 * A negative result ends the reading and becomes its result.
 */
typedef int ledger_bucket_fn(void *arg, uint64_t page, const struct ledger_block *slots, size_t n);

/*
 * Reads the whole table.  *torn grows by the blocks that could not be read: their bucket moved
 * again and again, or the table contradicts itself.  May refresh f->h's counts.
 */
int ledger_live_read(struct ledger_file *f, ledger_bucket_fn *fn, void *arg, uint64_t *torn);

#endif
