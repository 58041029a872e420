/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: the shared-memory file a tracker writes and everyone else reads.
 *
 * This header is the contract between the tracker (src/track, in the target)
 * and its readers (src/capture).  docs/LEDGER.md explains it with pictures; a
 * change of any layout here needs a new LEDGER_VERSION and a reader for the old.
 *
 *   0        header          geometry, identity, control, counters, losses
 *   sections (page-aligned, at the offsets the header gives; sparse: only the
 *   parts in use have storage)
 *     MODULES    struct ledger_module[]     what was mapped where, and when
 *     STRINGS    bytes                      module paths; offset 0 is ""
 *     THREADS    struct ledger_thread[]     index 0: unknown
 *     NODES      struct ledger_node[]       trie of frames; index 0 is the root
 *     SITES      struct ledger_site[]       one per (stack, kind); 0: stack unknown
 *     COUNTERS   struct ledger_counters[shard][site]
 *     TAILS      struct ledger_tail[shard][site]       the rest of a site's counters
 *     CLASSES    struct ledger_class[shard][LEDGER_SIZE_CLASSES]
 *     PEAK       struct ledger_peak[2][site]
 *     TIMELINE   struct ledger_point[]
 *     ROOT       uint64_t[LEDGER_ROOT_SLOTS]       live table, first level
 *     DIR        uint64_t[][LEDGER_DIR_SLOTS]      live table, second level
 *     BUCKETS    struct ledger_block[]             live table, the records
 *
 * Writing rules, which make the file readable after the writer's death at any
 * instruction: a record is complete before the count or the word that makes it
 * visible is stored (x86-64 and aarch64 store-release); nothing visible is ever
 * moved, except a bucket, whose copy is complete before its directory word
 * changes.  A reader copies what it reads and trusts none of it.
 *
 * All values little-endian, 64-bit addresses.  Times: `ledger ticks` are units of
 * 2^LEDGER_TICK_SHIFT ns of CLOCK_MONOTONIC since header.start_mono_ns.
 */
#ifndef SEEP_WIRE_LEDGER_H
#define SEEP_WIRE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_MAGIC 0x52474c50454553ffull /* bytes ff "SEEPLGR": neither text nor ELF */
#define LEDGER_VERSION 1u

#define LEDGER_TICK_SHIFT 22 /* 4.19 ms; 32 bits of ticks last 208 days */

enum ledger_section_id {
	LEDGER_MODULES,
	LEDGER_STRINGS,
	LEDGER_THREADS,
	LEDGER_NODES,
	LEDGER_SITES,
	LEDGER_COUNTERS,
	LEDGER_TAILS,
	LEDGER_CLASSES,
	LEDGER_PEAK,
	LEDGER_TIMELINE,
	LEDGER_ROOT,
	LEDGER_DIR,
	LEDGER_BUCKETS,
	LEDGER_NSECTIONS
};

struct ledger_section {
	uint64_t offset; /* from the file's start, a multiple of 4096 */
	uint64_t size;   /* bytes reserved (sparse) */
};

enum ledger_state {
	LEDGER_STARTING = 0, /* identity not complete yet */
	LEDGER_LIVE = 1,     /* the writer runs, or was killed */
	LEDGER_EXITED = 2,   /* the writer ran its destructors */
	LEDGER_EXECED = 3,   /* the process went on as another program */
	LEDGER_DISABLED = 4, /* the tracker gave up: see losses */
	LEDGER_DETACHED = 5, /* the tracker was sent away; the process went on */
};

/* The writer has said that it is done: the program ended, or goes on without it. */
static inline bool ledger_is_closed(uint32_t state)
{
	return state == LEDGER_EXITED || state == LEDGER_DETACHED;
}

enum ledger_mode { LEDGER_FULL = 0, LEDGER_SAMPLED = 1 };

enum ledger_kind { LEDGER_HEAP = 0, LEDGER_MMAP = 1, LEDGER_STACK = 2, LEDGER_NKINDS = 3 };

/* header.flags */
#define LEDGER_F_BYPASSED 0x1u /* the program's malloc is not ours: bundled or static allocator */
#define LEDGER_F_FORKED \
	0x2u /* the process is a forked child: it inherited blocks not listed here */
#define LEDGER_F_ATTACHED 0x4u /* tracking began while the program ran, or was off at some time */
#define LEDGER_F_OUTSIDE 0x20u /* written by another process: header.writer_pid */
#define LEDGER_F_SINGLE 0x8u   /* no second thread was ever seen */
#define LEDGER_F_TRANSIENT \
	0x10u /* made for another profiler's sake (docs/DROP-IN.md): goes when its process ends */

/* Why something is not in the ledger.  Every report prints those that are not zero. */
enum ledger_loss {
	LOSS_NESTED,      /* events inside a signal handler that interrupted the tracker */
	LOSS_LIVE_FULL,   /* blocks that found no room in the live table */
	LOSS_STACKS_FULL, /* events whose stack found no room: counted at site 0 */
	LOSS_DEPTH,       /* stacks cut at LEDGER_MAX_DEPTH (new stacks, not events) */
	LOSS_NO_CFI, /* stacks that ended before the outermost frame (new stacks, not events) */
	LOSS_UNMATCHED_FREE, /* frees of blocks the ledger does not know (before tracking, or lost) */
	LOSS_STALE,          /* records replaced: their free was never seen */
	LOSS_MODULES_FULL,
	LOSS_THREADS_FULL,   /* threads counted under index LEDGER_THREAD_OTHER */
	LOSS_NO_SPACE,       /* times the file system had no room for the ledger to grow */
	LOSS_CONTENDED,      /* events dropped because a lock was not to be had in bounded time */
	LOSS_SIZE_CLAMPED,   /* blocks larger than a record can say */
	LOSS_INHERITED_FREE, /* frees of unknown blocks in a forked child */
	LOSS_BOOTSTRAP,      /* allocations served before the real allocator was known */
	LOSS_MARKS_FULL,     /* what was said of memory and found no room in MARKS */
	LOSS_UNCHECKED,      /* leak checks that were due, but no seep was there to make them */
	LOSS_COLLECTOR,      /* events lost because the collector outside did not keep up */
	LOSS_NLOSSES,
	LOSS_SLOTS = 32
};

#define LEDGER_MAX_DEPTH 512u
#define LEDGER_MAX_PERIODS 64u /* index 0: every block, weight 1 */

/*
 * Set by readers (`seep ctl`: capture/control.h); each thread honours it at its next allocation, and says so in
 * `taken` and in its entry of THREADS.
 */
struct ledger_control {
	uint32_t active;     /* 1: record new blocks; frees are always recorded */
	uint32_t mode;       /* enum ledger_mode wanted */
	uint64_t period;     /* bytes; wanted when mode is LEDGER_SAMPLED */
	uint32_t generation; /* bumped last by whoever changes the above */
	uint32_t taken;      /* the generation that a thread took up last; 0 in earlier builds */
};

struct ledger_header {
	uint64_t magic;
	uint32_t version;
	uint32_t header_size; /* sizeof(struct ledger_header) */
	uint64_t file_size;
	uint32_t state; /* enum ledger_state */
	uint32_t flags; /* LEDGER_F_* */
	int32_t pid;
	int32_t ppid;
	uint32_t uid;
	uint32_t exec_seq;      /* 0, 1, ...: how many programs this process ran before this one */
	uint64_t start_ticks;   /* /proc/PID/stat field 22: tells a reused pid */
	uint64_t start_mono_ns; /* CLOCK_MONOTONIC when tracking began */
	uint64_t start_real_ns; /* CLOCK_REALTIME at the same moment */
	uint64_t end_mono_ns;   /* when state became EXITED, else 0 */
	uint8_t boot_id[16];
	int32_t parent_pid_ledger; /* forked child: pid whose ledger was inherited, else 0 */
	uint32_t page_size;
	uint32_t tick_shift;                  /* LEDGER_TICK_SHIFT */
	uint32_t mode;                        /* enum ledger_mode in force */
	uint64_t nperiods;                    /* entries of periods[] in use */
	uint64_t periods[LEDGER_MAX_PERIODS]; /* bytes; a block's record names the one it was sampled with */
	uint32_t nshards;
	uint32_t max_sites;
	struct ledger_section section[LEDGER_NSECTIONS];
	char exe[256];       /* NUL-terminated, cut if longer */
	char command[1024];  /* arguments joined by blanks, cut if longer */
	char allocator[128]; /* path of the module whose malloc is used */
	/* MARKS: struct ledger_mark[]; size 0 in ledgers of earlier builds.  Not one of section[]: its place is new. */
	struct ledger_section marks;
	/* Who writes, when that is not the process itself (LEDGER_F_OUTSIDE); 0 in earlier builds. */
	int32_t writer_pid;
	uint32_t writer_pad;
	uint64_t writer_start_ticks;

	/* What changes while running begins on a page of its own. */
	struct ledger_control control __attribute__((aligned(4096)));

	uint64_t losses[LOSS_SLOTS] __attribute__((aligned(64)));
	uint64_t nmodules, strings_used, nthreads, nnodes, nsites;
	uint64_t ndirs;        /* DIR tables in use */
	uint64_t buckets_used; /* BUCKETS slots handed out (also those since recycled) */
	uint64_t npoints;      /* timeline points in use */
	uint64_t point_interval_ns;
	uint64_t unwinds_fast, unwinds_slow; /* how stacks were found: docs/UNWINDING.md */
	uint64_t private_bytes;              /* tracker memory outside the ledger */

	/* Peak of in-use bytes of heap and mappings (estimated, when sampled). */
	uint64_t peak_bytes;      /* highest total seen */
	uint64_t peak_mono_ns;    /* when */
	uint64_t peak_copy_bytes; /* total at the composition in PEAK[peak_which] */
	uint64_t peak_copy_mono_ns;
	uint64_t peak_copy_sites; /* entries of it */
	uint32_t peak_which;      /* 0 or 1; the other half may be half-written */
	uint32_t peak_valid;      /* 0: no copy yet; what is in use now is the peak */
	uint64_t nmarks;          /* entries of MARKS in use; last, because it is new */
	uint64_t snap_requests;   /* snapshots asked for by a signal so far; newer still */
	/* Attached: heap blocks in use just before, which are not in here; 0, 0: not known.  Written by seep. */
	uint64_t before_blocks, before_bytes;
};

struct ledger_module {
	uint64_t start, end;  /* mapped address range of the whole module */
	uint64_t bias;        /* what to subtract from an address to get the file's own vaddr */
	uint64_t path;        /* offset in STRINGS */
	uint32_t load_seq;    /* order of discovery, from 1 */
	uint32_t unload_seq;  /* 0 while loaded */
	uint8_t build_id_len; /* 0: none found */
	uint8_t build_id[20];
	uint8_t pad[3];
	uint64_t dev, inode, mtime_ns; /* of the file when seen; 0 unknown */
};

struct ledger_thread {
	int32_t tid;
	uint32_t flags;      /* 1: ended */
	uint32_t born, died; /* ticks */
	char name[16];       /* at the last look, NUL-terminated */
	uint32_t control;    /* control.generation it goes by; 0 in earlier builds */
	uint32_t pad32;
	uint64_t pad[3];
};
#define LEDGER_MAX_THREADS 16384u
#define LEDGER_THREAD_OTHER (LEDGER_MAX_THREADS - 1)

/*
 * A frame of a stack.  `key` is the return address (48 bits) and, above it, the
 * module's index + 1 (0: no module), so that an address used by two modules one
 * after the other gives two frames.  The parent is the caller; node 0 is the root.
 * The address to symbolize is (key & LEDGER_PC_MASK) - 1, for every frame: for
 * the frame a signal interrupted the tracker stores its pc + 1.
 */
struct ledger_node {
	uint64_t key;
	uint32_t parent;
	uint32_t depth; /* 1 for an outermost frame */
};
#define LEDGER_PC_MASK 0xffffffffffffull
#define LEDGER_PC_MODULE_SHIFT 48

struct ledger_site {
	uint32_t node;  /* the stack's leaf in NODES; 0: unknown */
	uint16_t kind;  /* enum ledger_kind */
	uint16_t flags; /* LEDGER_SITE_* */
	uint32_t born;  /* ticks: first seen */
	uint32_t pad;
};
#define LEDGER_SITE_CUT_DEPTH 1u  /* more than LEDGER_MAX_DEPTH frames */
#define LEDGER_SITE_CUT_NO_CFI 2u /* the outermost frames are missing */
#define LEDGER_SITE_IGNORED \
	4u /* allocated while leak reports were disabled: roots of a leak check */

#define LEDGER_LIFE_BUCKETS 24u
#define LEDGER_LIFE_NEAR 3u

/*
 * What happened at a site, in one shard.  A shard belongs to one thread at a
 * time (the last shard is shared and updated with atomics); a site's totals are
 * the sums over all shards.  Differences may be negative in one shard: free
 * elsewhere.  Sampled blocks count with their weight, so the numbers are
 * estimates; counts are in units of 1/LEDGER_COUNT_UNIT block.
 */
struct ledger_counters {
	uint64_t alloc_count, alloc_bytes; /* count in units of 2^-16 block */
	uint64_t free_count, free_bytes;
	uint64_t samples;                /* records behind alloc_count */
	uint64_t life[LEDGER_LIFE_NEAR]; /* blocks freed (1/2^16), by lifetime: ledger_life_bucket() */
};

/* Life goes on here; apart from the above so that a site's common events touch one cache line. */
struct ledger_tail {
	uint64_t life[LEDGER_LIFE_BUCKETS - LEDGER_LIFE_NEAR];
	double var_count, var_bytes; /* of the allocated estimate; docs/SAMPLING.md */
	/* The most blocks that a sampled record stood for, rounded down; 0: none, or an earlier build. */
	float max_weight, max_weight_freed;
};
#define LEDGER_COUNT_SHIFT 16

/* Heap and mappings; thread stacks are reserved, not in use, and count at their sites only. */
struct ledger_class {
	uint64_t alloc_count, alloc_bytes, free_count, free_bytes; /* as in ledger_counters */
};
#define LEDGER_SIZE_CLASSES 128u

/*
 * What the program or the tracker said of pieces of memory, for leak checks.  Entries are only
 * ever added; UNIGNORE and UNROOT take back the latest entry of the same address (and size).
 * An entry whose kind is 0 is still being written, or found no storage.
 */
enum ledger_mark_kind {
	MARK_NONE = 0,
	MARK_IGNORE = 1, /* the block that holds `address` is not to be reported, nor what it holds */
	MARK_UNIGNORE = 2,
	MARK_ROOT = 3, /* [address, address + size) is a root region */
	MARK_UNROOT = 4,
	MARK_TRACKER = 5, /* memory of the tracker itself: no root */
	MARK_UNTRACKER =
		6, /* given back: takes back the latest TRACKER of the same address and size */
};

struct ledger_mark {
	uint64_t address, size;
	uint32_t kind; /* enum ledger_mark_kind; stored last */
	uint32_t pad;
};
#define LEDGER_MAX_MARKS (1u << 20)

struct ledger_peak {
	uint64_t count; /* in use, units of 2^-16 block */
	uint64_t bytes; /* in use */
};

struct ledger_point {
	uint64_t mono_ns;
	uint64_t inuse_bytes, alloc_bytes, alloc_count; /* count in whole blocks */
};
#define LEDGER_MAX_POINTS 4096u

/*
 * Live table.  Address bits: 47..30 choose the ROOT slot, 29..12 the DIR slot,
 * 11..0 lie in the record.
 *
 * ROOT word: 0, or index of a DIR table + 1.
 * DIR word: 0, or
 *     bits 0      lock, only meaningful to writers
 *     bits 1..4   c: the bucket has 2^c slots (0..9)
 *     bits 5..14  blocks in it (a hint)
 *     bits 16..63 index of its first slot in BUCKETS
 * A block with page offset o has its home at slot (o >> 3) * 2^c >> 9 and lies
 * at the first free slot from there on, wrapping inside the bucket: blocks keep
 * their order in memory, so neighbours share cache lines.
 */
#define LEDGER_ROOT_BITS 18u
#define LEDGER_ROOT_SHIFT 30u
#define LEDGER_ROOT_SLOTS (1u << LEDGER_ROOT_BITS)
#define LEDGER_DIR_BITS 18u
#define LEDGER_DIR_SHIFT 12u
#define LEDGER_DIR_SLOTS (1u << LEDGER_DIR_BITS)
#define LEDGER_BUCKET_MAX_LOG2 9u

struct ledger_block {
	/* bit 0 valid; 1..2 kind; 3..11 (address & 4095) >> 3; 12..17 period index;
	 * 18..31 thread; 32..63 birth in ticks.  0: empty. */
	uint64_t head;
	/* bits 0..39 size in bytes (all ones: that or more); 40..63 site */
	uint64_t body;
};

#define LEDGER_BLOCK_VALID 1ull
#define LEDGER_BLOCK_MATCH 0xfffull /* valid, kind and page offset: what a look-up compares */
#define LEDGER_BLOCK_KIND(h) ((unsigned int)((h) >> 1) & 3)
#define LEDGER_BLOCK_OFFSET(h) ((unsigned int)((h)&0xff8ull))
#define LEDGER_BLOCK_PERIOD(h) ((unsigned int)((h) >> 12) & 63)
#define LEDGER_BLOCK_THREAD(h) ((unsigned int)((h) >> 18) & 0x3fff)
#define LEDGER_BLOCK_BIRTH(h) ((uint32_t)((h) >> 32))
#define LEDGER_BLOCK_SIZE_MASK 0xffffffffffull
#define LEDGER_BLOCK_SIZE(b) ((b)&LEDGER_BLOCK_SIZE_MASK)
#define LEDGER_BLOCK_SITE(b) ((uint32_t)((b) >> 40))

#define LEDGER_DIR_LOCK 1ull
#define LEDGER_DIR_LOG2(w) ((unsigned int)((w) >> 1) & 15)
#define LEDGER_DIR_COUNT(w) ((unsigned int)((w) >> 5) & 1023)
#define LEDGER_DIR_BUCKET(w) ((w) >> 16)

/* Lifetime bucket: 0 below 2 ticks (8.4 ms), then one for every doubling; 23 is 2^23 ticks (9.8 h) or more. */
static inline unsigned int ledger_life_bucket(uint32_t ticks)
{
	unsigned int b = 31u - (unsigned int)__builtin_clz(ticks | 1);

	return b < LEDGER_LIFE_BUCKETS ? b : LEDGER_LIFE_BUCKETS - 1;
}

/*
 * Size class: 0 for size 0, then two classes for every doubling from 1 on:
 * class 2k+1 is [2^k, 1.5*2^k), class 2k+2 is [1.5*2^k, 2^(k+1)).
 */
static inline unsigned int ledger_size_class(uint64_t size)
{
	unsigned int k;

	if (size < 2)
		return (unsigned int)size;
	k = 63u - (unsigned int)__builtin_clzll(size);
	return 2 * k + 1 + ((unsigned int)(size >> (k - 1)) & 1);
}

/* Smallest size of a class; the next class's is one past its largest. */
static inline uint64_t ledger_size_class_min(unsigned int c)
{
	unsigned int k;

	if (c < 2)
		return c;
	k = (c - 1) / 2;
	return (c & 1) ? 1ull << k : (1ull << k) + (k ? 1ull << (k - 1) : 1);
}

_Static_assert(sizeof(struct ledger_section) == 16, "layout");
_Static_assert(sizeof(struct ledger_module) == 88, "layout");
_Static_assert(sizeof(struct ledger_thread) == 64, "layout");
_Static_assert(sizeof(struct ledger_node) == 16, "layout");
_Static_assert(sizeof(struct ledger_site) == 16, "layout");
_Static_assert(sizeof(struct ledger_counters) == 64, "layout");
_Static_assert(sizeof(struct ledger_tail) == 192, "layout");
_Static_assert(sizeof(struct ledger_class) == 32, "layout");
_Static_assert(sizeof(struct ledger_mark) == 24, "layout");
_Static_assert(sizeof(struct ledger_peak) == 16, "layout");
_Static_assert(sizeof(struct ledger_point) == 32, "layout");
_Static_assert(sizeof(struct ledger_block) == 16, "layout");
_Static_assert(sizeof(struct ledger_header) == 8192, "layout");
_Static_assert(offsetof(struct ledger_header, control) == 4096, "layout");

#endif
