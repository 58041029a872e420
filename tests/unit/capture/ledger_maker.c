/* SPDX-License-Identifier: Apache-2.0 */
/* Makes ledgers for tests: see ledger_maker.h. */
#include "ledger_maker.h"

#include <assert.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct maker *maker_new(const struct maker_config *c)
{
	struct maker *m = calloc(1, sizeof(*m));
	uint32_t sites = c->max_sites ? c->max_sites : 4096, shards = c->nshards ? c->nshards : 4;
	uint64_t size[LEDGER_NSECTIONS] = {
		[LEDGER_MODULES] = 1024 * sizeof(struct ledger_module),
		[LEDGER_STRINGS] = 1 << 16,
		[LEDGER_THREADS] = LEDGER_MAX_THREADS * sizeof(struct ledger_thread),
		[LEDGER_NODES] = (c->max_nodes ? c->max_nodes : 16ull * sites) *
		                 sizeof(struct ledger_node),
		[LEDGER_SITES] = (uint64_t)sites * sizeof(struct ledger_site),
		[LEDGER_COUNTERS] = (uint64_t)sites * shards * sizeof(struct ledger_counters),
		[LEDGER_TAILS] = (uint64_t)sites * shards * sizeof(struct ledger_tail),
		[LEDGER_CLASSES] = (uint64_t)shards * LEDGER_SIZE_CLASSES *
		                   sizeof(struct ledger_class),
		[LEDGER_PEAK] = 2ull * sites * sizeof(struct ledger_peak),
		[LEDGER_TIMELINE] = LEDGER_MAX_POINTS * sizeof(struct ledger_point),
		[LEDGER_ROOT] = LEDGER_ROOT_SLOTS * 8ull,
		[LEDGER_DIR] = (c->max_dirs ? c->max_dirs : 16) * (LEDGER_DIR_SLOTS * 8ull),
		[LEDGER_BUCKETS] = (c->max_slots ? c->max_slots : 1u << 20) *
		                   sizeof(struct ledger_block),
	};
	struct ledger_header h = { .version = LEDGER_VERSION,
		                   .header_size = sizeof(h),
		                   .state = LEDGER_LIVE };
	uint64_t off = sizeof(h);

	assert(m);
	for (unsigned int i = 0; i < LEDGER_NSECTIONS; i++) {
		h.section[i].offset = off;
		h.section[i].size = size[i];
		off = (off + size[i] + 4095) & ~4095ull;
	}
	h.magic = LEDGER_MAGIC;
	h.file_size = off;
	h.max_sites = sites;
	h.nshards = shards;
	h.page_size = 4096;
	h.tick_shift = LEDGER_TICK_SHIFT;
	h.nperiods = 1;
	h.start_mono_ns = clock_now(CLOCK_MONOTONIC);
	h.start_real_ns = clock_now(CLOCK_REALTIME);
	h.nnodes = h.nsites = h.nthreads = 1;
	h.strings_used = 1;
	m->fd = open(c->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(m->fd >= 0);
	assert(ftruncate(m->fd, (off_t)off) == 0);
	m->map = mmap(NULL, off, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	assert(m->map != MAP_FAILED);
	m->h = (struct ledger_header *)m->map;
	memcpy(m->h, &h, sizeof(h));
	return m;
}

void maker_free(struct maker *m)
{
	munmap(m->map, m->h->file_size);
	close(m->fd);
	free(m);
}

void *maker_section(struct maker *m, enum ledger_section_id id)
{
	return m->map + m->h->section[id].offset;
}

uint64_t maker_string(struct maker *m, const char *s)
{
	uint64_t at = m->h->strings_used;

	memcpy((char *)maker_section(m, LEDGER_STRINGS) + at, s, strlen(s) + 1);
	m->h->strings_used += strlen(s) + 1;
	return at;
}

uint32_t maker_module(struct maker *m, const char *path, uint64_t start, uint64_t end,
                      const uint8_t *id, size_t len)
{
	struct ledger_module *mod = (struct ledger_module *)maker_section(m, LEDGER_MODULES) +
	                            m->h->nmodules;

	*mod = (struct ledger_module){ .start = start,
		                       .end = end,
		                       .bias = start,
		                       .path = maker_string(m, path),
		                       .load_seq = (uint32_t)m->h->nmodules + 1,
		                       .build_id_len = (uint8_t)len };
	if (len)
		memcpy(mod->build_id, id, len);
	return (uint32_t)m->h->nmodules++;
}

uint32_t maker_thread(struct maker *m, int tid, const char *name)
{
	struct ledger_thread *t = (struct ledger_thread *)maker_section(m, LEDGER_THREADS) +
	                          m->h->nthreads;

	t->tid = tid;
	snprintf(t->name, sizeof(t->name), "%s", name);
	return (uint32_t)m->h->nthreads++;
}

uint32_t maker_node(struct maker *m, uint32_t parent, uint64_t ret, uint32_t module)
{
	struct ledger_node *nodes = maker_section(m, LEDGER_NODES);
	uint32_t i = (uint32_t)m->h->nnodes;

	assert((i + 1) * sizeof(*nodes) <= m->h->section[LEDGER_NODES].size && parent < i);
	nodes[i].key = ret | (uint64_t)(module + 1) << LEDGER_PC_MODULE_SHIFT;
	nodes[i].parent = parent;
	nodes[i].depth = nodes[parent].depth + 1;
	m->h->nnodes++;
	return i;
}

uint32_t maker_site(struct maker *m, uint32_t node, unsigned int kind)
{
	struct ledger_site *sites = maker_section(m, LEDGER_SITES);

	assert(m->h->nsites < m->h->max_sites);
	sites[m->h->nsites] = (struct ledger_site){ .node = node, .kind = (uint16_t)kind };
	return (uint32_t)m->h->nsites++;
}

static struct ledger_tail *tail_of(struct maker *m, unsigned int shard, uint32_t site)
{
	return (struct ledger_tail *)maker_section(m, LEDGER_TAILS) +
	       (uint64_t)shard * m->h->max_sites + site;
}

struct ledger_counters *maker_counters(struct maker *m, unsigned int shard, uint32_t site)
{
	return (struct ledger_counters *)maker_section(m, LEDGER_COUNTERS) +
	       (uint64_t)shard * m->h->max_sites + site;
}

/* ---- live table ----------------------------------------------------------- */

uint64_t *maker_word(struct maker *m, uint64_t address, bool make)
{
	uint64_t *root = maker_section(m, LEDGER_ROOT), *dirs = maker_section(m, LEDGER_DIR);
	uint64_t *slot = &root[address >> LEDGER_ROOT_SHIFT];

	if (!*slot) {
		if (!make)
			return NULL;
		assert((m->h->ndirs + 1) * LEDGER_DIR_SLOTS * 8ull <= m->h->section[LEDGER_DIR].size);
		*slot = ++m->h->ndirs;
	}
	return &dirs[(*slot - 1) * LEDGER_DIR_SLOTS +
	             ((address >> LEDGER_DIR_SHIFT) & (LEDGER_DIR_SLOTS - 1))];
}

static uint64_t new_bucket(struct maker *m, unsigned int log2)
{
	uint64_t at = m->h->buckets_used;

	m->h->buckets_used += 1ull << log2;
	assert(m->h->buckets_used * sizeof(struct ledger_block) <=
	       m->h->section[LEDGER_BUCKETS].size);
	return at;
}

static void put(struct ledger_block *slots, unsigned int log2, struct ledger_block b)
{
	uint64_t n = 1ull << log2, at = (uint64_t)(LEDGER_BLOCK_OFFSET(b.head) >> 3) * n >> 9;

	while (slots[at].head)
		at = (at + 1) & (n - 1);
	slots[at].body = b.body;
	__atomic_store_n(&slots[at].head, b.head, __ATOMIC_RELEASE);
}

static uint64_t make_word(uint64_t bucket, unsigned int log2, unsigned int count)
{
	return bucket << 16 | (uint64_t)count << 5 | (uint64_t)log2 << 1;
}

struct ledger_block *maker_find(struct maker *m, uint64_t address, unsigned int kind)
{
	uint64_t *word = maker_word(m, address, false);
	struct ledger_block *slots;

	if (!word || !*word)
		return NULL;
	slots = (struct ledger_block *)maker_section(m, LEDGER_BUCKETS) + LEDGER_DIR_BUCKET(*word);
	for (unsigned int i = 0; i < 1u << LEDGER_DIR_LOG2(*word); i++)
		if (slots[i].head && LEDGER_BLOCK_OFFSET(slots[i].head) == (address & 0xff8) &&
		    LEDGER_BLOCK_KIND(slots[i].head) == kind)
			return &slots[i];
	return NULL;
}

double maker_weight(const struct maker *m, uint64_t size, unsigned int period)
{
	return period ? 1.0 / (1.0 - exp(-(double)(size ? size : 1) / (double)m->h->periods[period]))
	              : 1.0;
}

static void count_class(struct maker *m, const struct maker_block *b, double w, bool freed)
{
	struct ledger_class *c = (struct ledger_class *)maker_section(m, LEDGER_CLASSES) +
	                         b->shard * LEDGER_SIZE_CLASSES + ledger_size_class(b->size);

	*(freed ? &c->free_count : &c->alloc_count) += (uint64_t)(w * 65536 + 0.5);
	*(freed ? &c->free_bytes : &c->alloc_bytes) += (uint64_t)(w * (double)b->size + 0.5);
}

void maker_alloc(struct maker *m, struct maker_block b)
{
	struct ledger_block *buckets = maker_section(m, LEDGER_BUCKETS);
	struct ledger_counters *c = maker_counters(m, b.shard, b.site);
	uint64_t *word = maker_word(m, b.address, true), w = *word;
	double weight = maker_weight(m, b.size, b.period);
	struct ledger_block rec = {
		.head = LEDGER_BLOCK_VALID | (uint64_t)b.kind << 1 | (b.address & 0xff8) |
		        (uint64_t)b.period << 12 | (uint64_t)b.thread << 18 |
		        (uint64_t)b.birth << 32,
		.body = (b.size < LEDGER_BLOCK_SIZE_MASK ? b.size : LEDGER_BLOCK_SIZE_MASK) |
		        (uint64_t)b.site << 40,
	};

	if (!w) {
		w = make_word(new_bucket(m, 1), 1, 0);
	} else if (LEDGER_DIR_COUNT(w) == 1u << LEDGER_DIR_LOG2(w)) {
		unsigned int log2 = LEDGER_DIR_LOG2(w) + 1;
		uint64_t to = new_bucket(m, log2);

		assert(log2 <= LEDGER_BUCKET_MAX_LOG2);
		for (unsigned int i = 0; i < 1u << (log2 - 1); i++)
			put(buckets + to, log2, buckets[LEDGER_DIR_BUCKET(w) + i]);
		w = make_word(to, log2, LEDGER_DIR_COUNT(w));
	}
	put(buckets + LEDGER_DIR_BUCKET(w), LEDGER_DIR_LOG2(w), rec);
	__atomic_store_n(word, w + (1u << 5), __ATOMIC_RELEASE);
	c->alloc_count += (uint64_t)(weight * 65536 + 0.5);
	c->alloc_bytes += (uint64_t)(weight * (double)b.size + 0.5);
	c->samples++;
	tail_of(m, b.shard, b.site)->var_count += weight * (weight - 1);
	tail_of(m, b.shard, b.site)->var_bytes += (double)b.size * (double)b.size * weight *
	                                          (weight - 1);
	if (b.period && (float)weight > tail_of(m, b.shard, b.site)->max_weight)
		tail_of(m, b.shard, b.site)->max_weight = (float)weight;
	count_class(m, &b, weight, false);
}

bool maker_release(struct maker *m, struct maker_block b, uint32_t life)
{
	struct ledger_block *slot = maker_find(m, b.address, b.kind);
	struct ledger_counters *c;
	unsigned int bucket;
	double weight;

	if (!slot)
		return false;
	b.site = LEDGER_BLOCK_SITE(slot->body);
	b.size = LEDGER_BLOCK_SIZE(slot->body);
	c = maker_counters(m, b.shard, b.site);
	weight = maker_weight(m, b.size, LEDGER_BLOCK_PERIOD(slot->head));
	if (LEDGER_BLOCK_PERIOD(slot->head) &&
	    (float)weight > tail_of(m, b.shard, b.site)->max_weight_freed)
		tail_of(m, b.shard, b.site)->max_weight_freed = (float)weight;
	__atomic_store_n(&slot->head, 0, __ATOMIC_RELEASE);
	*maker_word(m, b.address, false) -= 1u << 5;
	c->free_count += (uint64_t)(weight * 65536 + 0.5);
	c->free_bytes += (uint64_t)(weight * (double)b.size + 0.5);
	bucket = ledger_life_bucket(life);
	*(bucket < LEDGER_LIFE_NEAR
	          ? &c->life[bucket]
	          : &tail_of(m, b.shard, b.site)->life[bucket - LEDGER_LIFE_NEAR]) +=
		(uint64_t)(weight * 65536 + 0.5);
	count_class(m, &b, weight, true);
	return true;
}
