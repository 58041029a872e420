/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose stack is it?  docs/UNWINDING.md tells the whole story with its measurements.
 *
 * Three ways, from fast to slow:
 *
 *  1. Recall.  A stack that was walked before is remembered as a *path*: the offsets from sp of
 *     every stack word the walk read, with the values it found.  A few frames are walked to
 *     get a hash; if a remembered path's words all hold the same values now, then by induction
 *     every step would go the same way, so it is the same stack.  The loads of that check do
 *     not depend on each other, while a walk is one chain from frame to frame: checking 20
 *     frames costs as much as walking two or three.
 *  2. Walk.  Row by row (cfi.h), each found by the low bits of the return address.
 *  3. General walk, with all registers, when a frame needs more than sp and the frame pointer.
 *
 * What a walk depends on, and so what a path checks: the return address it starts from, each return
 * address read, and the frame-pointer register or its saved slot where a row uses it (as an
 * offset from sp, so that one path serves every thread and every depth of stack).  Rows are a pure
 * function of the return address as long as modules stay; when one goes, rows and paths are
 * forgotten together.
 *
 * Signal frames and general walks are not remembered.
 */
#include "track/unwind.h"
#include "track/attach.h"
#include "track/cfi.h"
#include "track/hash.h"

#include <string.h>

/* ---- rows -------------------------------------------------------------------------- */

#define ROWS 65536u
static uint64_t rows[ROWS]; /* by the low 16 bits of the return address; replaced on collision */

struct row_slot {
	uint64_t pc, row; /* pc 0: empty; stored last */
};
struct row_table {
	uint64_t mask, used;
	struct row_slot slot[];
};
static struct row_table *row_store; /* every row made, so that a collision above costs a probe */
static struct lock row_lock;

static struct row_table *row_table_new(uint64_t slots)
{
	struct row_table *rt = mem_map(sizeof(*rt) + slots * sizeof(rt->slot[0]));

	if (rt)
		rt->mask = slots - 1;
	return rt;
}

static uint64_t row_stored(uint64_t pc)
{
	struct row_table *rt = load_acquire(&row_store);

	if (!rt)
		return 0;
	for (uint64_t at = hash_mix(pc) & rt->mask, n = 0; n <= rt->mask;
	     n++, at = (at + 1) & rt->mask) {
		uint64_t p = load_acquire(&rt->slot[at].pc), row;

		if (p == pc) {
			row = load_acquire(&rt->slot[at].row);
			/* Emptied in the meantime, the slot may be another address's by now. */
			return load_relaxed(&rt->slot[at].pc) == pc ? row : 0;
		}
		if (!p)
			break;
	}
	return 0;
}

static void row_put(struct row_table *rt, uint64_t pc, uint64_t row)
{
	uint64_t at = hash_mix(pc) & rt->mask;

	while (rt->slot[at].pc && rt->slot[at].pc != pc)
		at = (at + 1) & rt->mask;
	store_release(&rt->slot[at].row, row); /* not before the slot was emptied */
	store_release(&rt->slot[at].pc, pc);
	rt->used++;
}

static void row_add(uint64_t pc, uint64_t row)
{
	struct row_table *rt, *old;

	if (!lock_take(&row_lock))
		return;
	old = rt = row_store;
	if (!rt || rt->used >= (rt->mask + 1) / 2) {
		rt = row_table_new(rt ? 2 * (rt->mask + 1) : 1024);
		if (rt) {
			for (uint64_t i = 0; old && i <= old->mask; i++)
				if (old->slot[i].pc)
					row_put(rt, old->slot[i].pc, old->slot[i].row);
			store_release(&row_store, rt);
		}
	}
	if (rt)
		row_put(rt, pc, row);
	lock_give(&row_lock);
}

static COLD uint64_t row_miss(uint64_t pc)
{
	uint64_t row;

	if (pc < 4096 || pc >> 47)
		return ROW_NONE;
	row = row_stored(pc);
	if (!row) {
		row = cfi_row(pc);
		if (!row)
			return ROW_NONE;
		row_add(pc, row);
	}
	store_relaxed(&rows[pc & (ROWS - 1)], row);
	return row;
}

ALWAYS_INLINE uint64_t row_of(uint64_t pc)
{
	uint64_t row = load_relaxed(&rows[pc & (ROWS - 1)]);

	if (LIKELY(ROW_TAG(row) == ROW_TAG_OF(pc)))
		return row;
	return row_miss(pc);
}

/* ---- paths ------------------------------------------------------------------------------ */

/* Frames walked before a path is looked for: enough to tell most stacks apart by their hash. */
#define PROBE_FRAMES 3
#define SETS_BITS 14
#define WAYS 4
#define HALF ((uint64_t)32 << 20)
#define PATH_SPACE (2 * HALF)
#define MEM_STEP (64 << 10)
#define SETTLE_NS 10000000

static uint32_t sets[1u << SETS_BITS][WAYS]; /* path's place in PATH_UNITs << 8 | tag; 0: none */
uint8_t *path_base;
uint32_t path_epoch __attribute__((aligned(64))) = 1; /* a new thread's is 0 */
static struct lock path_lock;

/*
 * Where paths lie, under path_lock.  They are forgotten all at once, when a module goes and when their space is full, and
 * then the other half of the space is next: its paths are of an earlier epoch, and nobody reads them any more.
 */
static struct {
	unsigned int half; /* in use */
	uint64_t used;     /* bytes of it; PATH_UNIT of the first is never used, so no entry is 0 */
	uint64_t touched[2]; /* bytes of each that ever were */
	uint32_t left_epoch; /* path_epoch when the other half was left ... */
	uint64_t left_ns;    /* ... and the time; 0: it never was in use */
	uint64_t retry_ns;   /* no look at the threads before */
	uint32_t victim;
} paths;

/*
 * A thread may be inside a look-up that began when those paths held.  It is not when it is out of the tracker, or has begun an
 * event since; what it says of that itself is seen by others within SETTLE_NS, far longer than a store takes.
 */
static bool other_half_free(void)
{
	uint64_t now = ledger_clock_ns();

	if (!paths.left_ns)
		return true;
	if (now - paths.left_ns < SETTLE_NS || now < paths.retry_ns)
		return false;
	paths.retry_ns = now + SETTLE_NS;
	return threads_passed(paths.left_epoch);
}

/* Threads drop their predictions when they see another epoch. */
static void paths_forget(bool turn)
{
	for (uint32_t i = 0; i < 1u << SETS_BITS; i++)
		for (uint32_t j = 0; j < WAYS; j++)
			if (load_relaxed(&sets[i][j]))
				store_relaxed(&sets[i][j], 0u);
	__atomic_fetch_add(&path_epoch, 1, __ATOMIC_RELEASE);
	if (!turn)
		return;
	paths.half ^= 1;
	paths.used = PATH_UNIT;
	paths.left_epoch = path_epoch;
	paths.left_ns = ledger_clock_ns();
	paths.retry_ns = 0;
}

/* Forgets everything that came from code addresses. */
void unwind_flush(void)
{
	bool locked;

	if (!lock_take(&row_lock))
		return;
	for (uint32_t i = 0; i < ROWS; i++)
		if (load_relaxed(&rows[i]))
			store_relaxed(&rows[i], 0ull);
	for (uint64_t i = 0; row_store && i <= row_store->mask; i++)
		store_relaxed(&row_store->slot[i].pc, 0ull);
	if (row_store)
		row_store->used = 0;
	lock_give(&row_lock);
	locked = lock_take(&path_lock);
	paths_forget(locked && other_half_free());
	if (locked)
		lock_give(&path_lock);
	site_flush();
}

/* Paths name sites of the parent's ledger; rows stay true.  No thread is inside. */
void unwind_forked(void)
{
	row_lock.word = path_lock.word = 0;
	memset(sets, 0, sizeof(sets));
	paths.half = 0;
	paths.used = PATH_UNIT;
	paths.left_ns = 0;
	path_epoch++;
}

/* Room for a path: its place; 0: none now.  Under path_lock. */
static uint64_t path_room(struct thread *t, uint64_t size)
{
	uint64_t at = paths.used, end = at + size, *touched = &paths.touched[paths.half];

	if (t->path_epoch != path_epoch) /* a module went while this stack was walked */
		return 0;
	if (end > HALF) {
		if (other_half_free())
			paths_forget(true);
		return 0;
	}
	paths.used = end;
	if (end > *touched) {
		mem_count((int64_t)(end / MEM_STEP - *touched / MEM_STEP) * MEM_STEP);
		*touched = end;
	}
	return paths.half * HALF + at;
}

static uint32_t path_write(struct thread *t, const struct origin *o, uint64_t hash,
                           unsigned int kind, uint32_t site, uint32_t nwords, uint32_t nlinks,
                           const uint64_t *link_addr, const uint64_t *link_value, bool uses_fp)
{
	uint64_t size, at, top = o->sp;
	uint32_t set = (uint32_t)(hash >> 8) & ((1u << SETS_BITS) - 1), way, entry;
	struct path *p;
	uint16_t *off;

	for (; nwords % GROUP; nwords++) {
		t->word_addr[nwords] = t->word_addr[nwords - 1];
		t->word_value[nwords] = t->word_value[nwords - 1];
	}
	size = sizeof(struct path) + (uint64_t)(nwords + nlinks) * 10;
	size = (size + PATH_UNIT - 1) & ~(uint64_t)(PATH_UNIT - 1);
	at = path_room(t, size);
	if (!at)
		return 0;
	p = (struct path *)(path_base + at);
	off = (uint16_t *)(p->value + nwords + nlinks);
	for (uint32_t i = 0; i < nwords + nlinks; i++) {
		uint64_t addr = i < nwords ? t->word_addr[i] : link_addr[i - nwords];

		if (addr < o->sp || (addr - o->sp) / 8 > UINT16_MAX)
			return 0; /* too deep for 16 bits; the memory stays unused */
		off[i] = (uint16_t)((addr - o->sp) / 8);
		p->value[i] = i < nwords ? t->word_value[i] : link_value[i - nwords] - o->sp;
		top = addr + 8 > top ? addr + 8 : top;
	}
	p->origin = path_origin(o, kind);
	p->fp = o->fp - o->sp;
	p->uses_fp = uses_fp;
	p->site = site;
	p->span = (uint32_t)(top - o->sp);
	p->nwords = (uint16_t)nwords;
	p->nlinks = (uint16_t)nlinks;
	entry = (uint32_t)(at / PATH_UNIT) << 8 | (uint32_t)(hash & 0xff);
	for (way = 0; way < WAYS && load_relaxed(&sets[set][way]); way++)
		;
	if (way == WAYS)
		way = paths.victim++ & (WAYS - 1);
	store_release(&sets[set][way], entry);
	return entry;
}

/* Its entry; 0: it is not remembered.  Nobody waits for that: it will be seen again. */
static COLD uint32_t path_add(struct thread *t, const struct origin *o, uint64_t hash,
                              unsigned int kind, uint32_t site, uint32_t nwords, uint32_t nlinks,
                              const uint64_t *link_addr, const uint64_t *link_value, bool uses_fp)
{
	uint32_t entry;

	if (UNLIKELY(!path_base || !nwords) || !lock_try(&path_lock))
		return 0;
	entry = path_write(t, o, hash, kind, site, nwords, nlinks, link_addr, link_value, uses_fp);
	lock_give(&path_lock);
	return entry;
}

/* ---- the walk ------------------------------------------------------------------------------ */

/*
 * One step.  Reads stay in (sp, hi): the frame must be above sp, its end at most hi.
 * False: the stack cannot be followed this way.
 */
#define STEP_BOUNDED(cfa, sp, hi) ((cfa) - (sp)-1 < (hi) - (sp))

struct walk {
	uint64_t pc, sp, fp, lo, hi;
	uint32_t n, nwords, nlinks;
	bool uses_fp;    /* the frame-pointer register itself was used */
	bool fp_loaded;  /* fp came from the stack ... */
	bool fp_checked; /* ... and is among the words to check */
	bool remember;   /* may become a path */
	bool complete;   /* reached the outermost frame */
	uint64_t fp_addr;
};

static bool range_of(struct thread *t, uint64_t sp, uint64_t *ret_lo, uint64_t *ret_hi)
{
	if (sp >= t->own_lo && sp < t->own_hi) {
		*ret_lo = t->own_lo;
		*ret_hi = t->own_hi;
		return true;
	}
	return mapping_of(sp, ret_lo, ret_hi);
}

static bool walk_signal(struct thread *t, struct walk *w)
{
	uint64_t sp = w->sp;

	if (sp < w->lo || w->hi - sp < ARCH_SIGFRAME_SIZE || w->hi < sp)
		return false;
	w->fp = *(uint64_t *)(sp + ARCH_SIGFRAME_FP);
	w->pc = *(uint64_t *)(sp + ARCH_SIGFRAME_PC) + 1;
	w->sp = *(uint64_t *)(sp + ARCH_SIGFRAME_SP);
	w->remember = false;
	if ((w->sp < w->lo || w->sp >= w->hi) && !range_of(t, w->sp, &w->lo, &w->hi))
		return false;
	return !(w->sp & 7);
}

/* Walks from w on; false when a frame needs the general walk. */
static bool walk_rows(struct thread *t, struct walk *w, uint64_t *link_addr, uint64_t *link_value)
{
	while (w->n < MAX_FRAMES) {
		uint64_t row = row_of(w->pc), base, cfa, fp_off;
		unsigned int kind = ROW_KIND(row);

		if (LIKELY(kind == ROW_SP)) {
			base = w->sp;
		} else if (kind == ROW_FP || kind == ROW_NOCFI) {
			base = w->fp;
			if (!w->fp_loaded) {
				w->uses_fp = true;
			} else if (!w->fp_checked) {
				link_addr[w->nlinks] = w->fp_addr;
				link_value[w->nlinks++] = base;
				w->fp_checked = true;
			}
			if (base - w->sp >= w->hi - w->sp || (base & 7)) {
				/* The psABI marks the outermost frame with a frame pointer of zero. */
				w->complete = base == 0;
				return true;
			}
			if (kind == ROW_NOCFI)
				row |= row_pack(0, 0, 16, 16);
		} else if (kind == ROW_SIGNAL) {
			if (!walk_signal(t, w))
				return true;
			t->pcs[w->n++] = w->pc;
			continue;
		} else if (kind == ROW_SLOW) {
			return false;
		} else {
			w->complete = kind == ROW_END;
			return true;
		}
		cfa = base + ROW_CFA_OFF(row);
		if (!STEP_BOUNDED(cfa, w->sp, w->hi))
			return true;
		w->pc = *(uint64_t *)(cfa - 8);
		t->word_addr[w->nwords] = cfa - 8;
		t->word_value[w->nwords++] = w->pc;
		fp_off = ROW_FP_OFF(row);
		if (fp_off) {
			w->fp_addr = cfa - fp_off;
			w->fp = *(uint64_t *)w->fp_addr;
			w->fp_loaded = true;
			w->fp_checked = false;
		}
		w->sp = cfa;
		if (UNLIKELY(w->pc < 4096)) {
			/* Thread and fiber entry points often mark their end with a zero. */
			w->complete = w->pc == 0;
			return true;
		}
		t->pcs[w->n++] = w->pc;
	}
	return true;
}

/* From the tracker's own frame, with all registers, up to the origin and on. */
static COLD NOINLINE uint32_t walk_general(struct thread *t, const struct origin *o)
{
	struct arch_regs regs;
	uint64_t lo = t->stack_lo, hi = t->stack_hi;
	bool end = false, signal, started = false;
	uint32_t n = 0;

	memset(&regs, 0, sizeof(regs));
	ARCH_CAPTURE(&regs);
	for (uint32_t steps = 0; steps < MAX_FRAMES + 64; steps++) {
		uint64_t sp = regs.r[ARCH_REG_SP];

		if (!started && sp >= o->sp) {
			if (sp != o->sp || regs.r[ARCH_REG_PC] != o->pc)
				break; /* our own frames could not be followed */
			started = true;
		}
		if (started) {
			if (n == MAX_FRAMES) {
				t->cut = LEDGER_SITE_CUT_DEPTH;
				return n;
			}
			t->pcs[n++] = regs.r[ARCH_REG_PC];
		}
		if (!cfi_step(&regs, lo, hi, &end, &signal) || regs.r[ARCH_REG_PC] < 4096) {
			end |= regs.r[ARCH_REG_PC] == 0;
			break;
		}
		if (signal) {
			sp = regs.r[ARCH_REG_SP];
			if ((sp < lo || sp >= hi) && !range_of(t, sp, &lo, &hi))
				break;
		} else if (regs.r[ARCH_REG_SP] <= sp) {
			break;
		}
	}
	t->cut = end ? 0 : LEDGER_SITE_CUT_NO_CFI;
	return n;
}

/* The whole stack into t->pcs.  *w says what it depends on. */
static uint32_t walk_all(struct thread *t, const struct origin *o, struct walk *w,
                         uint64_t *link_addr, uint64_t *link_value)
{
	*w = (struct walk){ .pc = o->pc,
		            .sp = o->sp,
		            .fp = o->fp,
		            .lo = t->stack_lo,
		            .hi = t->stack_hi,
		            .n = 1,
		            .remember = true };
	t->pcs[0] = o->pc;
	t->cut = 0;
	if (!walk_rows(t, w, link_addr, link_value)) {
		w->remember = false;
		w->n = walk_general(t, o);
		if (w->n)
			return w->n;
		/* Our own frames were no help: what the rows gave is better than nothing. */
		w->n = w->nwords + 1;
		t->cut = LEDGER_SITE_CUT_NO_CFI;
		return w->n;
	}
	if (w->n == MAX_FRAMES)
		t->cut = LEDGER_SITE_CUT_DEPTH;
	else if (!w->complete)
		t->cut = LEDGER_SITE_CUT_NO_CFI;
	return w->n;
}

static bool on_known_stack(struct thread *t, uint64_t sp)
{
	return LIKELY(sp - t->stack_lo < t->stack_hi - t->stack_lo) || stack_switch(t, sp);
}

/* The stack is not remembered: walk it.  Remembers it when it was seen before. */
static NOINLINE uint32_t unwind_walk(struct thread *t, const struct origin *o, uint64_t hash,
                                     unsigned int kind)
{
	uint64_t *link_addr = t->word_addr + MAX_FRAMES + GROUP,
		 *link_value = t->word_value + MAX_FRAMES + GROUP;
	struct walk w;
	uint32_t site;
	bool is_new;

	t->unwinds_slow++;
	t->nframes = walk_all(t, o, &w, link_addr, link_value);
	site = site_intern(t, t->pcs, t->nframes, kind, t->cut, &is_new);
	/* A stack seen for the first time may be its last; the second time is soon enough. */
	if (site && !is_new && w.remember && !(t->cut & LEDGER_SITE_CUT_NO_CFI))
		t->last_path = path_add(t, o, hash, kind, site, w.nwords, w.nlinks, link_addr,
		                        link_value, w.uses_fp);
	return site;
}

/*
 * Leak reports are disabled: sites of their own, always walked, never remembered, because a path
 * names the site of the same stack without that.
 */
static COLD uint32_t unwind_ignored(struct thread *t, const struct origin *o, unsigned int kind)
{
	struct walk w;
	bool is_new;

	t->unwinds_slow++;
	t->nframes = walk_all(t, o, &w, t->word_addr + MAX_FRAMES + GROUP,
	                      t->word_value + MAX_FRAMES + GROUP);
	return site_intern(t, t->pcs, t->nframes, kind, t->cut | LEDGER_SITE_IGNORED, &is_new);
}

static COLD uint32_t unwind_lost(struct thread *t, const struct origin *o, unsigned int kind)
{
	uint32_t cut = LEDGER_SITE_CUT_NO_CFI | (scope_disabled() ? LEDGER_SITE_IGNORED : 0);
	bool is_new;

	t->pcs[0] = o->pc;
	t->nframes = 1;
	t->unwinds_slow++;
	return site_intern(t, t->pcs, 1, kind, cut, &is_new);
}

uint32_t unwind_probe(struct thread *t, const struct origin *o, unsigned int kind, uint32_t *slot)
{
	uint64_t pc = o->pc, sp = o->sp, fp = o->fp, hi, hash;
	const uint32_t *set;
	uint32_t tag;

	if (UNLIKELY(!on_known_stack(t, sp) || (sp & 7)))
		return unwind_lost(t, o, kind);
	if (UNLIKELY(t->path_epoch != load_acquire(&path_epoch))) {
		/* A thread that disabled leak reports has epoch 0, so that it always comes here. */
		if (scope_disabled())
			return unwind_ignored(t, o, kind);
		store_release(&t->path_epoch,
		              load_acquire(&path_epoch)); /* after all it read of the one before */
		memset(t->predicted, 0, sizeof(t->predicted));
	}
	hi = t->stack_hi;
	hash = path_place(t, o) + kind;
	for (int i = 0; i < PROBE_FRAMES; i++) {
		uint64_t row = row_of(pc), cfa;
		unsigned int rk = ROW_KIND(row);

		if (UNLIKELY(rk - ROW_SP > ROW_FP - ROW_SP))
			break;
		cfa = (rk == ROW_FP ? fp : sp) + ROW_CFA_OFF(row);
		if (UNLIKELY(!STEP_BOUNDED(cfa, sp, hi) || (rk == ROW_FP && fp - sp >= hi - sp)))
			break;
		pc = *(uint64_t *)(cfa - 8);
		if (ROW_FP_OFF(row))
			fp = *(uint64_t *)(cfa - ROW_FP_OFF(row));
		sp = cfa;
		hash = (hash ^ pc) * 0xbf58476d1ce4e5b9ull;
	}
	hash ^= hash >> 32;
	hash ^= hash >> 15;
	set = sets[(hash >> 8) & ((1u << SETS_BITS) - 1)];
	tag = hash & 0xff;
	for (int i = 0; i < WAYS; i++) {
		uint32_t entry = load_acquire(&set[i]);

		if (entry && (entry & 0xff) == tag && path_holds(path_at(entry), o, hi, kind)) {
			uint32_t site = path_at(entry)->site;

			t->unwinds_fast++;
			t->last_path = entry;
			/* Predicted entries are taken without a look at the counters' storage. */
			if (counters_usable(t, site))
				*slot = entry;
			return site;
		}
	}
	return unwind_walk(t, o, hash, kind);
}

bool unwind_init(void)
{
	if (!path_base)
		path_base = mem_reserve(PATH_SPACE);
	if (!paths.used)
		paths.used = PATH_UNIT;
	return true;
}
