/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the writer share: the file (ledger_writer.c) and the live table in it
 * (ledger_writer_live.c).
 */
#ifndef SEEP_CAPTURE_LEDGER_WRITER_PRIVATE_H
#define SEEP_CAPTURE_LEDGER_WRITER_PRIVATE_H

#include "base/idmap.h"
#include "capture/ledger_writer.h"

struct ledger_writer {
	int fd;
	char *path;
	uint8_t *base; /* the mapping */
	uint64_t size;
	struct ledger_header *h;
	uint8_t *stored; /* a bit for each page of the file that is known to have storage */
	struct idmap nodes, sites;
	uint32_t sequence;                                /* of modules that came and went */
	uint64_t free_bucket[LEDGER_BUCKET_MAX_LOG2 + 1]; /* index + 1 of the first free one */
	int64_t inuse;                                    /* bytes, heap and mappings */
	uint64_t next_point;                              /* ns since start */
	uint64_t copy_not_before;
	uint32_t now; /* ticks: of the latest event */
};

/* Storage for [off, off + len) of the file; false: counted as LOSS_NO_SPACE. */
bool writer_ensure(struct ledger_writer *w, uint64_t off, uint64_t len);

static inline void *writer_section(const struct ledger_writer *w, enum ledger_section_id id)
{
	return w->base + w->h->section[id].offset;
}

/* Item i of a section, with storage; NULL: none, or outside. */
static inline void *writer_item(struct ledger_writer *w, enum ledger_section_id id, uint64_t i,
                                uint64_t size)
{
	const struct ledger_section *s = &w->h->section[id];

	if (i >= s->size / size || !writer_ensure(w, s->offset + i * size, size))
		return NULL;
	return w->base + s->offset + i * size;
}

bool writer_live_init(struct ledger_writer *w);
/* False: no room.  A record of the same address and kind is replaced; *ret_stale has it then (head 0: none). */
bool writer_live_add(struct ledger_writer *w, uint64_t addr, uint64_t head, uint64_t body,
                     struct ledger_block *ret_stale);
bool writer_live_take(struct ledger_writer *w, uint64_t addr, unsigned int kind,
                      struct ledger_block *ret_block);

#define STORE_RELEASE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

#endif
