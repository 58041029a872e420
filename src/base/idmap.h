/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash index over things that live in an array of their own: it maps a 64-bit
 * hash to array indices, and the caller compares.  Nothing of the things is
 * copied, so one implementation serves strings, frames and pairs alike:
 *
 *     for (pos = idmap_first(&m, hash); idmap_get(&m, &pos, hash, &id);)
 *             if (things[id] equals key)
 *                     return id;
 *     ... append the thing, then idmap_add(&m, hash, new_id);
 *
 * Things of another hash come up too, if rarely: half of its bits are kept.  Zero-initialise it, idmap_release() it.  Nothing is ever removed.
 */
#ifndef SEEP_BASE_IDMAP_H
#define SEEP_BASE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
	uint32_t hash;      /* its lower half, which is all that a position is made of */
	uint32_t id_plus_1; /* 0: empty */
};

struct idmap {
	struct idmap_slot *slots;
	size_t cap; /* a power of two, or 0 */
	size_t n;
};

#define _cleanup_idmap_ __attribute__((cleanup(idmap_release)))

int idmap_add(struct idmap *m, uint64_t hash, uint32_t id); /* 0 or -ENOMEM; id < UINT32_MAX */
int idmap_reserve(struct idmap *m, size_t n);               /* room for n entries in all */
void idmap_release(struct idmap *m);

static inline size_t idmap_first(const struct idmap *m, uint64_t hash)
{
	return m->cap ? (uint32_t)hash & (m->cap - 1) : 0;
}

/* The next index stored under `hash` at or after *pos; false: no more. */
static inline bool idmap_get(const struct idmap *m, size_t *pos, uint64_t hash, uint32_t *ret_id)
{
	if (!m->cap)
		return false;
	for (;;) {
		const struct idmap_slot *s = &m->slots[*pos];

		if (!s->id_plus_1)
			return false;
		*pos = (*pos + 1) & (m->cap - 1);
		if (s->hash == (uint32_t)hash) {
			*ret_id = s->id_plus_1 - 1;
			return true;
		}
	}
}

/* Things that are known by their hash alone: all 64 bits of it are kept, and trusted.  Numbered from 0 in the order they come. */
struct hash_ids {
	struct idmap map;
	uint64_t *hashes;
	size_t n, cap;
};

/* 1: new, 0: known, -ENOMEM. */
int hash_ids_get(struct hash_ids *h, uint64_t hash, uint32_t *ret_id);
void hash_ids_release(struct hash_ids *h);

/* A well-mixed hash of two words; chain it for more. */
static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * 0x9e3779b97f4a7c15ull ^ (b + 0xbf58476d1ce4e5b9ull) * 0x94d049bb133111ebull;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 29;
}

uint64_t hash_bytes(const void *data, size_t len);
uint64_t hash_str(const char *s); /* NULL is fine, and differs from "" */

#endif
