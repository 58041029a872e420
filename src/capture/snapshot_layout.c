/* SPDX-License-Identifier: Apache-2.0 */
/* Which fields of the profile a snapshot holds, and how: see snapshot.h.  Changing a row needs a new version. */
#include "capture/snapshot.h"

#include "base/cleanup.h"

#define COL(s, field, type_)                                               \
	{                                                                  \
		.type = (type_), .repeat = 1, .offset = offsetof(s, field) \
	}
#define DELTA(s, field, type_)                                                            \
	{                                                                                 \
		.type = (type_), .delta = true, .repeat = 1, .offset = offsetof(s, field) \
	}
#define ARRAY(s, field, type_, n)                                            \
	{                                                                    \
		.type = (type_), .repeat = (n), .offset = offsetof(s, field) \
	}
#define VALUE(s, field)                                              \
	COL(s, field.blocks, COL_U64), COL(s, field.bytes, COL_U64), \
		COL(s, field.var_blocks, COL_DOUBLE), COL(s, field.var_bytes, COL_DOUBLE)

static const struct column meta[] = {
	COL(struct profile, exe, COL_STRING),
	COL(struct profile, command, COL_STRING),
	COL(struct profile, allocator, COL_STRING),
	COL(struct profile, pid, COL_I32),
	COL(struct profile, ppid, COL_I32),
	COL(struct profile, exec_seq, COL_U32),
	COL(struct profile, sampled, COL_BOOL),
	COL(struct profile, period, COL_U64),
	COL(struct profile, bypassed, COL_BOOL),
	COL(struct profile, forked, COL_BOOL),
	COL(struct profile, attached, COL_BOOL),
	COL(struct profile, live, COL_BOOL),
	COL(struct profile, killed, COL_BOOL),
	COL(struct profile, execed, COL_BOOL),
	COL(struct profile, start_real_ns, COL_U64),
	COL(struct profile, duration_ns, COL_U64),
	COL(struct profile, tracker_ledger_bytes, COL_U64),
	COL(struct profile, tracker_private_bytes, COL_U64),
	COL(struct profile, unwinds_fast, COL_U64),
	COL(struct profile, unwinds_slow, COL_U64),
	ARRAY(struct profile, losses.count, COL_U64, PROF_NLOSSES),
	COL(struct profile, losses.torn, COL_U64),
	COL(struct profile, peak_bytes, COL_U64),
	COL(struct profile, peak_time, COL_U64),
	COL(struct profile, peak_copy_bytes, COL_U64),
};

static const struct column merged[] = {
	COL(struct profile, nmerged, COL_U32),
};

static const struct column detached[] = {
	COL(struct profile, detached, COL_BOOL),
};

static const struct column modules[] = {
	COL(struct prof_module, path, COL_STRING),
	DELTA(struct prof_module, start, COL_U64),
	DELTA(struct prof_module, end, COL_U64),
	DELTA(struct prof_module, bias, COL_U64),
	ARRAY(struct prof_module, build_id, COL_U8, 20),
	COL(struct prof_module, build_id_len, COL_U8),
	COL(struct prof_module, load_seq, COL_U32),
	COL(struct prof_module, unload_seq, COL_U32),
	COL(struct prof_module, dev, COL_U64),
	COL(struct prof_module, inode, COL_U64),
	COL(struct prof_module, mtime_ns, COL_U64),
};

static const struct column frames[] = {
	DELTA(struct prof_frame, pc, COL_U64),
	DELTA(struct prof_frame, parent, COL_U32),
	DELTA(struct prof_frame, module, COL_U32),
	DELTA(struct prof_frame, symbol, COL_U32),
};

static const struct column symbols[] = {
	COL(struct prof_symbol, nlines, COL_U32),
};

static const struct column lines[] = {
	COL(struct prof_line, function, COL_STRING),
	COL(struct prof_line, file, COL_STRING),
	COL(struct prof_line, line, COL_U32),
	COL(struct prof_line, inlined, COL_BOOL),
};

static const struct column sites[] = {
	DELTA(struct prof_site, stack, COL_U32),
	COL(struct prof_site, kind, COL_U8),
	COL(struct prof_site, cut_depth, COL_BOOL),
	COL(struct prof_site, cut_no_cfi, COL_BOOL),
	DELTA(struct prof_site, born, COL_U64),
	VALUE(struct prof_site, alloc),
	VALUE(struct prof_site, freed),
	VALUE(struct prof_site, inuse),
	VALUE(struct prof_site, peak),
	COL(struct prof_site, samples, COL_U64),
	COL(struct prof_site, inuse_samples, COL_U64),
	DELTA(struct prof_site, oldest, COL_U64),
};

static const struct column cells[] = {
	DELTA(struct prof_cell, site, COL_U32),
	COL(struct prof_cell, thread, COL_U32),
	VALUE(struct prof_cell, inuse),
};

static const struct column threads[] = {
	DELTA(struct prof_thread, tid, COL_I32),
	COL(struct prof_thread, name, COL_STRING),
	DELTA(struct prof_thread, born, COL_U64),
	COL(struct prof_thread, died, COL_U64),
};

static const struct column blocks[] = {
	DELTA(struct prof_block, address, COL_U64), COL(struct prof_block, size, COL_U64),
	DELTA(struct prof_block, born, COL_U64),    COL(struct prof_block, weight, COL_DOUBLE),
	DELTA(struct prof_block, site, COL_U32),    COL(struct prof_block, thread, COL_U32),
};

static const struct column points[] = {
	DELTA(struct prof_point, time, COL_U64),
	DELTA(struct prof_point, inuse, COL_U64),
	DELTA(struct prof_point, alloc_bytes, COL_U64),
	DELTA(struct prof_point, alloc_blocks, COL_U64),
};

static const struct column classes[] = {
	VALUE(struct prof_class, alloc),
	VALUE(struct prof_class, freed),
};

static const struct column site_weights[] = {
	COL(struct snapshot_site_weights, alloc, COL_DOUBLE),
	COL(struct snapshot_site_weights, freed, COL_DOUBLE),
	COL(struct snapshot_site_weights, inuse, COL_DOUBLE),
	COL(struct snapshot_site_weights, peak, COL_DOUBLE),
};

static const struct column cell_weights[] = {
	COL(struct snapshot_cell_weight, inuse, COL_DOUBLE),
};

static const struct column rss[] = {
	DELTA(struct prof_rss, time, COL_U64),
	DELTA(struct prof_rss, bytes, COL_U64),
};

static const struct column events[] = {
	DELTA(struct prof_event, time, COL_U64),
	COL(struct prof_event, kind, COL_U8),
	COL(struct prof_event, text, COL_STRING),
};

#define LAYOUT(columns_, record_)                                 \
	{                                                         \
		(columns_), ARRAY_SIZE(columns_), sizeof(record_) \
	}

const struct layout snapshot_layouts[SNAP_NSECTIONS] = {
	[SNAP_META] = LAYOUT(meta, struct profile),
	[SNAP_MODULES] = LAYOUT(modules, struct prof_module),
	[SNAP_FRAMES] = LAYOUT(frames, struct prof_frame),
	[SNAP_SYMBOLS] = LAYOUT(symbols, struct prof_symbol),
	[SNAP_LINES] = LAYOUT(lines, struct prof_line),
	[SNAP_SITES] = LAYOUT(sites, struct prof_site),
	[SNAP_CELLS] = LAYOUT(cells, struct prof_cell),
	[SNAP_THREADS] = LAYOUT(threads, struct prof_thread),
	[SNAP_BLOCKS] = LAYOUT(blocks, struct prof_block),
	[SNAP_POINTS] = LAYOUT(points, struct prof_point),
	[SNAP_CLASSES] = LAYOUT(classes, struct prof_class),
	[SNAP_MERGED] = LAYOUT(merged, struct profile),
	[SNAP_SITE_WEIGHTS] = LAYOUT(site_weights, struct snapshot_site_weights),
	[SNAP_CELL_WEIGHTS] = LAYOUT(cell_weights, struct snapshot_cell_weight),
	[SNAP_RSS] = LAYOUT(rss, struct prof_rss),
	[SNAP_EVENTS] = LAYOUT(events, struct prof_event),
	[SNAP_DETACHED] = LAYOUT(detached, struct profile),
};

const struct column snapshot_lifetime = { .type = COL_U64, .repeat = 1 };

static uint64_t fnv(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

uint64_t snapshot_check(const struct snapshot_header *h, const void *rest, size_t n)
{
	return fnv(fnv(0xcbf29ce484222325ull, h, offsetof(struct snapshot_header, check)), rest, n);
}
