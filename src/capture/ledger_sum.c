/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger's live records and counters add up to: see ledger_sum.h.
 *
 * This loop sees every live block, ten million of them in a big process, so it
 * stays at one cache line of the site and usually one of the cell: a site's
 * blocks mostly come from the thread of the block before, which is remembered, and
 * only a change of thread asks the hash table.  Largest weights lie apart: only a
 * sampled record touches them.
 */
#include "capture/ledger_sum.h"

#include "base/cleanup.h"
#include "capture/ledger_live.h"
#include "profile/estimate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_CELL UINT32_MAX
#define MAX_CELLS (UINT32_MAX / 2)

struct summing {
	struct ledger_sum *s;
	struct ledger_file *f;
	uint64_t *torn;
	bool blocks;
};

static size_t hash_of(uint32_t site, uint32_t thread)
{
	uint64_t h = ((uint64_t)site << 14 ^ thread) * 0x9e3779b97f4a7c15ull;

	return (size_t)(h >> 20);
}

static int grow_hash(struct ledger_sum *s)
{
	size_t slots = s->hash_slots ? s->hash_slots * 2 : 4096;
	uint32_t *hash = calloc(slots, sizeof(*hash));

	if (!hash)
		return -ENOMEM;
	for (size_t i = 0; i < s->ncells; i++) {
		size_t at = hash_of(s->cells[i].site, s->cells[i].thread) & (slots - 1);

		while (hash[at])
			at = (at + 1) & (slots - 1);
		hash[at] = (uint32_t)i + 1;
	}
	free(s->hash);
	s->hash = hash;
	s->hash_slots = slots;
	return 0;
}

/* The cell's index, made when it is new; negative errno when there is no memory. */
static int64_t find_cell(struct ledger_sum *s, uint32_t site, uint32_t thread)
{
	size_t at;

	if (s->ncells * 2 >= s->hash_slots && grow_hash(s) < 0)
		return -ENOMEM;
	at = hash_of(site, thread) & (s->hash_slots - 1);
	while (s->hash[at]) {
		const struct cell_sum *c = &s->cells[s->hash[at] - 1];

		if (c->site == site && c->thread == thread)
			return s->hash[at] - 1;
		at = (at + 1) & (s->hash_slots - 1);
	}
	if (s->ncells == s->cap_cells) {
		size_t cap = s->cap_cells ? s->cap_cells * 2 : 1024;
		struct cell_sum *cells = reallocarray(s->cells, cap, sizeof(*cells));

		if (!cells || cap > MAX_CELLS) {
			if (cells)
				s->cells = cells;
			return -ENOMEM;
		}
		s->cells = cells;
		s->cap_cells = cap;
	}
	s->cells[s->ncells] = (struct cell_sum){ .site = site, .thread = thread };
	s->hash[at] = (uint32_t)++s->ncells;
	return (int64_t)s->ncells - 1;
}

static int grow_sites(struct ledger_sum *s, uint64_t n)
{
	struct live_sum *live;
	double *max_weight;

	if (n <= s->nsites)
		return 0;
	max_weight = reallocarray(s->max_weight, n, sizeof(*max_weight));
	if (!max_weight)
		return -ENOMEM;
	memset(max_weight + s->nsites, 0, (n - s->nsites) * sizeof(*max_weight));
	s->max_weight = max_weight;
	live = reallocarray(s->live, n, sizeof(*live));
	if (!live)
		return -ENOMEM;
	memset(live + s->nsites, 0, (n - s->nsites) * sizeof(*live));
	for (uint64_t i = s->nsites; i < n; i++)
		live[i].last_cell = NO_CELL;
	s->live = live;
	s->nsites = n;
	return 0;
}

/* What a record stands for: weight 1, or the sampler's. */
struct worth {
	double weight, variance; /* of blocks; times size² for bytes */
};

static inline void add(struct live_sum *l, double *max_weight, uint64_t size, uint32_t birth,
                       struct worth w)
{
	if (!l->records++ || birth < l->oldest)
		l->oldest = birth;
	if (w.weight == 1) {
		l->blocks++;
		l->bytes += size;
		return;
	}
	l->est_blocks += w.weight;
	l->est_bytes += w.weight * (double)size;
	l->var_blocks += w.variance;
	l->var_bytes += w.variance * (double)size * (double)size;
	if (w.weight > *max_weight)
		*max_weight = w.weight;
}

static struct worth worth_of(uint64_t size, uint64_t period)
{
	if (!period) /* a hostile entry */
		return (struct worth){ 1, 0 };
	return (struct worth){ prof_weight(size, period), prof_weight_variance(size, period) };
}

static int keep_block(struct ledger_sum *s, uint64_t address, const struct ledger_block *b,
                      double weight)
{
	if (s->nblocks == s->cap_blocks) {
		size_t cap = s->cap_blocks ? s->cap_blocks * 2 : 4096;
		struct prof_block *p = reallocarray(s->blocks, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->blocks = p;
		s->cap_blocks = cap;
	}
	s->blocks[s->nblocks++] = (struct prof_block){ .address = address,
		                                       .size = LEDGER_BLOCK_SIZE(b->body),
		                                       .born = LEDGER_BLOCK_BIRTH(b->head),
		                                       .weight = weight,
		                                       .site = LEDGER_BLOCK_SITE(b->body),
		                                       .thread = LEDGER_BLOCK_THREAD(b->head) };
	return 0;
}

/* A record names a site or a period made after the counts were read: read them again. */
static int learn(struct summing *sm)
{
	int r = ledger_file_counts(sm->f);

	return r < 0 ? r : grow_sites(sm->s, sm->f->h.nsites);
}

static int add_bucket(void *arg, uint64_t page, const struct ledger_block *slots, size_t n)
{
	struct summing *sm = arg;
	struct ledger_sum *s = sm->s;
	uint64_t nsites = s->nsites, nperiods = sm->f->h.nperiods;
	bool asked = false; /* once for each bucket will do */

	for (size_t i = 0; i < n; i++) {
		struct ledger_block b = slots[i];
		uint32_t site = LEDGER_BLOCK_SITE(b.body), thread = LEDGER_BLOCK_THREAD(b.head);
		unsigned int period = LEDGER_BLOCK_PERIOD(b.head);
		uint64_t size = LEDGER_BLOCK_SIZE(b.body);
		struct live_sum *l;
		struct cell_sum *c;
		struct worth w = { 1, 0 };

		if (!b.head)
			continue;
		if ((site >= nsites || period >= nperiods) && !asked) {
			int r = learn(sm);

			if (r < 0)
				return r;
			asked = true;
			nsites = s->nsites;
			nperiods = sm->f->h.nperiods;
		}
		if (!(b.head & LEDGER_BLOCK_VALID) || LEDGER_BLOCK_KIND(b.head) >= LEDGER_NKINDS ||
		    site >= nsites || period >= nperiods) {
			++*sm->torn;
			continue;
		}
		if (period) {
			w = worth_of(size, sm->f->h.periods[period]);
			s->sampled = true;
		}
		l = &s->live[site];
		add(l, &s->max_weight[site], size, LEDGER_BLOCK_BIRTH(b.head), w);
		if (l->last_cell == NO_CELL || s->cells[l->last_cell].thread != thread) {
			int64_t cell = find_cell(s, site, thread);

			if (cell < 0)
				return (int)cell;
			l->last_cell = (uint32_t)cell;
		}
		c = &s->cells[l->last_cell];
		add(&c->sum, &c->max_weight, size, LEDGER_BLOCK_BIRTH(b.head), w);
		if (LEDGER_BLOCK_BIRTH(b.head) > s->newest)
			s->newest = LEDGER_BLOCK_BIRTH(b.head);
		if (sm->blocks) {
			int r = keep_block(s, page + LEDGER_BLOCK_OFFSET(b.head), &b, w.weight);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int ledger_sum_live(struct ledger_sum *s, struct ledger_file *f, bool blocks, uint64_t *torn)
{
	struct summing sm = { .s = s, .f = f, .torn = torn, .blocks = blocks };
	int r = grow_sites(s, f->h.nsites ? f->h.nsites : 1);

	if (!r)
		r = ledger_live_read(f, add_bucket, &sm, torn);
	return r;
}

static void add_counters(struct counter_sum *sum, const void *record)
{
	const struct ledger_counters *c = record;

	sum->alloc_count += c->alloc_count;
	sum->alloc_bytes += c->alloc_bytes;
	sum->free_count += c->free_count;
	sum->free_bytes += c->free_bytes;
	sum->samples += c->samples;
	for (unsigned int i = 0; i < LEDGER_LIFE_NEAR; i++)
		sum->life[i] += c->life[i];
}

static void add_tail(struct counter_sum *sum, const void *record)
{
	const struct ledger_tail *t = record;

	sum->var_count += t->var_count;
	sum->var_bytes += t->var_bytes;
	if ((double)t->max_weight > sum->max_weight)
		sum->max_weight = (double)t->max_weight;
	if ((double)t->max_weight_freed > sum->max_weight_freed)
		sum->max_weight_freed = (double)t->max_weight_freed;
	for (unsigned int i = LEDGER_LIFE_NEAR; i < LEDGER_LIFE_BUCKETS; i++)
		sum->life[i] += t->life[i - LEDGER_LIFE_NEAR];
}

/* Adds one section's records, [shard][site], of what has storage, to the sites' sums. */
static int sum_shards(struct ledger_sum *s, struct ledger_file *f, enum ledger_section_id id,
                      uint64_t size, void (*add_record)(struct counter_sum *, const void *))
{
	enum { RUN = 1 << 20 };
	const uint64_t run = RUN / size;
	_cleanup_free_ uint8_t *in = malloc(RUN);

	if (!in)
		return -ENOMEM;
	for (uint64_t shard = 0; shard < f->h.nshards; shard++) {
		uint64_t base = shard * f->h.max_sites * size, at = base,
			 end = base + s->nsites * size, len;

		while ((len = ledger_file_next(f, id, &at, end, (run - 1) * size)) != 0) {
			uint64_t first = (at - base) / size,
				 last = (at + len - base + size - 1) / size;
			int r;

			if (last > s->nsites)
				last = s->nsites;
			r = ledger_file_read(f, id, base + first * size, in, (last - first) * size);
			if (r < 0)
				return r;
			for (uint64_t i = first; i < last; i++)
				add_record(&s->counters[i], in + (i - first) * size);
			at = base + last * size;
		}
	}
	return 0;
}

int ledger_sum_counters(struct ledger_sum *s, struct ledger_file *f)
{
	int r = grow_sites(s, f->h.nsites);

	if (r < 0)
		return r;
	s->counters = calloc(s->nsites, sizeof(*s->counters));
	if (!s->counters)
		return -ENOMEM;
	r = sum_shards(s, f, LEDGER_COUNTERS, sizeof(struct ledger_counters), add_counters);
	if (!r)
		r = sum_shards(s, f, LEDGER_TAILS, sizeof(struct ledger_tail), add_tail);
	for (uint64_t i = 0; i < s->nsites && !s->sampled; i++)
		s->sampled = s->counters[i].var_count > 0;
	return r;
}

void ledger_sum_release(struct ledger_sum *s)
{
	free(s->live);
	free(s->max_weight);
	free(s->counters);
	free(s->cells);
	free(s->hash);
	free(s->blocks);
	memset(s, 0, sizeof(*s));
}

static uint64_t rounded(uint64_t exact, double estimate)
{
	uint64_t sum;

	if (!(estimate < 18446744073709549568.))
		return estimate > 0 ? UINT64_MAX : exact; /* a NaN counts nothing */
	if (__builtin_add_overflow(exact, (uint64_t)(estimate + 0.5), &sum))
		return UINT64_MAX;
	return sum;
}

double variance_of(double v)
{
	return isfinite(v) && v > 0 ? v : 0;
}

struct prof_value live_value(const struct live_sum *l, double max_weight)
{
	return (struct prof_value){ .blocks = rounded(l->blocks, l->est_blocks),
		                    .bytes = rounded(l->bytes, l->est_bytes),
		                    .var_blocks = variance_of(l->var_blocks),
		                    .var_bytes = variance_of(l->var_bytes),
		                    .max_weight = variance_of(max_weight) };
}
