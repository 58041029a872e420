/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks → sites.
 *
 * Looking a known stack up costs one hash of its return addresses and one probe; the
 * hash (64 bits, well mixed) is trusted, which for a million stacks gives two of them
 * the same site with a probability of 3 in 100 million.  Only a stack not seen before
 * goes into the trie in the ledger, frame by frame from the outermost, under a lock.
 *
 * The tables double when half full.  The old one stays mapped, because others may still
 * be reading it; together the old ones are as large as the new one.
 *
 * When a module goes away its addresses may come to mean something else, so the stack
 * table is emptied.  The trie is not: its keys carry the module, so a stack that is still
 * valid finds its old nodes and its old site again.
 */
#include "track/hash.h"
#include "track/track.h"

#include <string.h>

struct stack_slot {
	uint64_t hash; /* 0: empty; stored last */
	uint64_t site;
};

struct stack_table {
	uint64_t mask;
	struct stack_slot slot[];
};

struct id_table {
	uint64_t mask, used;
	uint32_t id[];
};

static struct stack_table *stacks;
static uint64_t nstacks;
static struct id_table *node_ids, *site_ids;
static struct lock intern_lock;
static struct growing node_space, site_space;

/*
 * The stack interned last, outermost frame first, with its nodes: the next one mostly shares its outer
 * part, which then needs no look-ups.  Emptied when modules change.
 */
static struct {
	uint32_t n;
	uint64_t pc[MAX_FRAMES];
	uint32_t node[MAX_FRAMES];
} last;

static struct stack_table *stack_table_new(uint64_t slots)
{
	struct stack_table *st = mem_map(sizeof(*st) + slots * sizeof(st->slot[0]));

	if (st)
		st->mask = slots - 1;
	return st;
}

static struct id_table *id_table_new(uint64_t slots)
{
	struct id_table *it = mem_map(sizeof(*it) + slots * sizeof(it->id[0]));

	if (it)
		it->mask = slots - 1;
	return it;
}

bool site_init(void)
{
	memset(&node_space, 0, sizeof(node_space));
	memset(&site_space, 0, sizeof(site_space));
	node_space.base = (uint8_t *)g.nodes;
	node_space.size = g.max_nodes * sizeof(struct ledger_node);
	node_space.ready = 4096;
	node_space.step = 64 << 10;
	site_space.base = (uint8_t *)g.sites;
	site_space.size = g.max_sites * sizeof(struct ledger_site);
	site_space.ready = 4096;
	site_space.step = 16 << 10;
	intern_lock.word = 0;
	nstacks = 0;
	last.n = 0;
	/* After a fork the parent's tables are ours to reuse. */
	if (stacks)
		memset(stacks->slot, 0, (stacks->mask + 1) * sizeof(stacks->slot[0]));
	else
		stacks = stack_table_new(1024);
	if (node_ids) {
		memset(node_ids->id, 0, (node_ids->mask + 1) * sizeof(node_ids->id[0]));
		node_ids->used = 0;
	} else {
		node_ids = id_table_new(4096);
	}
	if (site_ids) {
		memset(site_ids->id, 0, (site_ids->mask + 1) * sizeof(site_ids->id[0]));
		site_ids->used = 0;
	} else {
		site_ids = id_table_new(1024);
	}
	return stacks && node_ids && site_ids;
}

/* Emptied in place: readers see a miss and come to the lock. */
void site_flush(void)
{
	if (!stacks || !lock_take(&intern_lock))
		return;
	for (uint64_t i = 0; i <= stacks->mask; i++)
		store_relaxed(&stacks->slot[i].hash, 0ull);
	nstacks = 0;
	last.n = 0;
	lock_give(&intern_lock);
}

static uint64_t stack_hash(const uint64_t *pcs, uint32_t n, unsigned int kind, uint32_t cut)
{
	uint64_t a = 0x9e3779b97f4a7c15ull + kind + (uint64_t)cut * 8, b = n;
	uint32_t i;

	/* Two chains, so that the multiplications overlap. */
	for (i = 0; i + 1 < n; i += 2) {
		a = (a ^ pcs[i]) * 0xbf58476d1ce4e5b9ull;
		b = (b ^ pcs[i + 1]) * 0x94d049bb133111ebull;
		a ^= a >> 29;
		b ^= b >> 31;
	}
	if (i < n)
		a = (a ^ pcs[i]) * 0xd6e8feb86659fd93ull;
	a = hash_two(a, b);
	return a ? a : 1;
}

static uint32_t stack_find(uint64_t hash)
{
	struct stack_table *st = load_acquire(&stacks);
	uint64_t at = hash & st->mask;

	for (uint64_t n = 0; n <= st->mask; n++) {
		uint64_t h = load_acquire(&st->slot[at].hash);

		if (h == hash) {
			uint32_t site = (uint32_t)load_acquire(&st->slot[at].site);

			/* Emptied in the meantime, the slot may be another stack's by now. */
			return load_relaxed(&st->slot[at].hash) == hash ? site : 0;
		}
		if (!h)
			break;
		at = (at + 1) & st->mask;
	}
	return 0;
}

static void stack_put(struct stack_table *st, uint64_t hash, uint64_t site)
{
	uint64_t at = hash & st->mask;

	while (st->slot[at].hash)
		at = (at + 1) & st->mask;
	store_release(&st->slot[at].site, site); /* not before the slot was emptied */
	store_release(&st->slot[at].hash, hash);
}

static void stack_add(uint64_t hash, uint64_t site)
{
	if (nstacks >= (stacks->mask + 1) / 2) {
		struct stack_table *st = stack_table_new(2 * (stacks->mask + 1));

		if (!st)
			return; /* found by the trie next time too */
		for (uint64_t i = 0; i <= stacks->mask; i++)
			if (stacks->slot[i].hash)
				stack_put(st, stacks->slot[i].hash, stacks->slot[i].site);
		store_release(&stacks, st);
	}
	stack_put(stacks, hash, site);
	nstacks++;
}

/* ---- nodes and sites, under intern_lock ------------------------------------------ */

static uint64_t node_hash(uint32_t id)
{
	return hash_two(g.nodes[id].key, g.nodes[id].parent);
}

/* A site is a stack, a kind, and whether leak reports were disabled. */
static uint64_t site_key(unsigned int kind, uint32_t flags)
{
	return kind | (uint64_t)(flags & LEDGER_SITE_IGNORED) << 8;
}

static uint64_t site_hash(uint32_t id)
{
	return hash_two(g.sites[id].node, site_key(g.sites[id].kind, g.sites[id].flags));
}

/* Room for one more id; false when memory is out and the table is nearly full. */
static bool ids_room(struct id_table **table, uint64_t (*hash)(uint32_t))
{
	struct id_table *old = *table, *it;

	if (old->used < (old->mask + 1) / 2)
		return true;
	it = id_table_new(2 * (old->mask + 1));
	if (!it)
		return old->used < old->mask - old->mask / 8;
	for (uint64_t i = 0; i <= old->mask; i++) {
		uint64_t at;

		if (!old->id[i])
			continue;
		for (at = hash(old->id[i]) & it->mask; it->id[at]; at = (at + 1) & it->mask)
			;
		it->id[at] = old->id[i];
	}
	it->used = old->used;
	*table = it;
	mem_unmap(old, sizeof(*old) + (old->mask + 1) * sizeof(old->id[0]));
	return true;
}

static uint32_t node_intern(uint32_t parent, uint64_t key, uint32_t depth)
{
	uint64_t at, id = g.hdr->nnodes;
	struct ledger_node *n;

	if (!ids_room(&node_ids, node_hash))
		return 0;
	for (at = hash_two(key, parent) & node_ids->mask; node_ids->id[at];
	     at = (at + 1) & node_ids->mask) {
		n = &g.nodes[node_ids->id[at]];
		if (n->key == key && n->parent == parent)
			return node_ids->id[at];
	}
	if (id >= g.max_nodes || !growing_need(&node_space, (id + 1) * sizeof(*n)))
		return 0;
	n = &g.nodes[id];
	n->key = key;
	n->parent = parent;
	n->depth = depth;
	store_release(&g.hdr->nnodes, id + 1);
	node_ids->id[at] = (uint32_t)id;
	node_ids->used++;
	return (uint32_t)id;
}

static uint32_t site_of_node(struct thread *t, uint32_t node, unsigned int kind, uint32_t cut,
                             bool *ret_new)
{
	uint64_t at, id = g.hdr->nsites;
	struct ledger_site *s;

	if (!ids_room(&site_ids, site_hash))
		return 0;
	for (at = hash_two(node, site_key(kind, cut)) & site_ids->mask; site_ids->id[at];
	     at = (at + 1) & site_ids->mask) {
		s = &g.sites[site_ids->id[at]];
		if (s->node == node && site_key(s->kind, s->flags) == site_key(kind, cut))
			return site_ids->id[at];
	}
	if (id >= g.max_sites || !growing_need(&site_space, (id + 1) * sizeof(*s)))
		return 0;
	s = &g.sites[id];
	s->node = node;
	s->kind = (uint16_t)kind;
	s->flags = (uint16_t)cut;
	s->born = t->now;
	store_release(&g.hdr->nsites, id + 1);
	site_ids->id[at] = (uint32_t)id;
	site_ids->used++;
	if (cut & LEDGER_SITE_CUT_DEPTH)
		loss(LOSS_DEPTH);
	if (cut & LEDGER_SITE_CUT_NO_CFI)
		loss(LOSS_NO_CFI);
	*ret_new = true;
	return (uint32_t)id;
}

static uint32_t intern(struct thread *t, const uint64_t *pcs, uint32_t n, unsigned int kind,
                       uint32_t cut, bool *ret_new)
{
	const struct module *m = NULL;
	uint32_t node = 0, i = 0;

	while (i < n && i < last.n && last.pc[i] == pcs[n - 1 - i])
		node = last.node[i++];
	last.n = i;
	for (; i < n; i++) {
		uint64_t pc = pcs[n - 1 - i] & LEDGER_PC_MASK;

		if (!m || pc - 1 < m->start || pc - 1 >= m->end)
			m = module_of(pc - 1);
		node = node_intern(node, (m ? (uint64_t)m->id << LEDGER_PC_MODULE_SHIFT : 0) | pc,
		                   i + 1);
		if (!node)
			return 0;
		last.pc[i] = pcs[n - 1 - i];
		last.node[i] = node;
		last.n = i + 1;
	}
	return node ? site_of_node(t, node, kind, cut, ret_new) : 0;
}

uint32_t site_intern(struct thread *t, const uint64_t *pcs, uint32_t n, unsigned int kind,
                     uint32_t cut, bool *ret_new)
{
	uint64_t hash = stack_hash(pcs, n, kind, cut);
	uint32_t site = stack_find(hash);
	const struct module *m = NULL;

	*ret_new = false;
	if (LIKELY(site))
		return site;
	/* Modules are looked up before the lock: finding a new one may empty the stack table. */
	for (uint32_t i = 0; i < n; i++)
		if (!m || pcs[i] - 1 < m->start || pcs[i] - 1 >= m->end)
			m = module_of(pcs[i] - 1);
	if (!lock_take(&intern_lock))
		return 0;
	site = stack_find(hash);
	if (!site) {
		site = intern(t, pcs, n, kind, cut, ret_new);
		if (site)
			stack_add(hash, site);
	}
	lock_give(&intern_lock);
	if (!site)
		loss(LOSS_STACKS_FULL);
	return site;
}
