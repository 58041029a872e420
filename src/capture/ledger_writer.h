/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a ledger from outside the target: for a collector that learns of blocks by other means than
 * being inside (src/capture/bpf).  The result is a ledger like libseep.so's (wire/ledger.h), so every
 * reader works on it, also while it is written, and after the writer was killed at any instruction.
 *
 * One writer, one thread: no locks, one shard.  Functions that return a number give 0 for "no room",
 * and have counted that as a loss.  Times are CLOCK_MONOTONIC in ns.
 */
#ifndef SEEP_CAPTURE_LEDGER_WRITER_H
#define SEEP_CAPTURE_LEDGER_WRITER_H

#include "wire/ledger.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct seep_error;
struct ledger_writer;

struct ledger_identity {
	pid_t pid, ppid;
	uid_t uid;
	uint64_t start_ticks;
	uint32_t flags;  /* LEDGER_F_* */
	uint64_t period; /* 0: every block */
	const char *exe, *command, *allocator;
};

/*
 * Makes DIR/PID.SEQ.ledger, with the first SEQ that is not taken; the directory must exist.  The
 * file is ours alone (0600).
 */
struct seep_error *ledger_writer_create(const char *dir, const struct ledger_identity *id,
                                        struct ledger_writer **ret_writer);
const char *ledger_writer_path(const struct ledger_writer *w);
struct ledger_header *ledger_writer_header(struct ledger_writer *w);
/* Bytes of storage the file has now. */
uint64_t ledger_writer_size(const struct ledger_writer *w);
/* Says that the writer is done: state LEDGER_EXITED, EXECED or, without an end, what it was. */
void ledger_writer_finish(struct ledger_writer *w, enum ledger_state state, uint64_t now);
void ledger_writer_free(struct ledger_writer *w); /* unmaps; the file stays */

void ledger_writer_loss(struct ledger_writer *w, enum ledger_loss what, uint64_t n);
/* The entry of a period (0: every block) in the header's table. */
unsigned int ledger_writer_period(struct ledger_writer *w, uint64_t period);

struct ledger_writer_module {
	uint64_t start, end, bias;
	const char *path;
	const uint8_t *build_id;
	uint8_t build_id_len;
	uint64_t dev, inode, mtime_ns;
};
/* The module's index + 1, as a node's key wants it. */
uint32_t ledger_writer_module(struct ledger_writer *w, const struct ledger_writer_module *m);
void ledger_writer_module_gone(struct ledger_writer *w, uint32_t id);

uint32_t ledger_writer_thread(struct ledger_writer *w, pid_t tid, const char *name, uint64_t now);
void ledger_writer_thread_ended(struct ledger_writer *w, uint32_t thread, uint64_t now);

/* The site of a stack: keys as in struct ledger_node, leaf first. */
uint32_t ledger_writer_site(struct ledger_writer *w, const uint64_t *keys, size_t n,
                            enum ledger_kind kind, uint32_t flags, uint64_t now);

struct ledger_writer_block {
	uint64_t addr, size;
	enum ledger_kind kind;
	unsigned int period; /* index */
	uint32_t thread, site;
	uint64_t born; /* ns */
};
/* A record at the same address is stale: it is counted, and gone. */
void ledger_writer_alloc(struct ledger_writer *w, const struct ledger_writer_block *b);
/* Takes a record out (false: there is none), and either counts it as freed or puts it back. */
bool ledger_writer_take(struct ledger_writer *w, uint64_t addr, enum ledger_kind kind,
                        struct ledger_block *ret_block);
void ledger_writer_freed(struct ledger_writer *w, const struct ledger_block *b, uint64_t now);
void ledger_writer_put(struct ledger_writer *w, uint64_t addr, const struct ledger_block *b);

/* To be called every now and then: the timeline. */
void ledger_writer_tick(struct ledger_writer *w, uint64_t now);

#endif
