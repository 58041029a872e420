/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing, at most two thirds full.  The slot keeps 32 bits of the hash: growing never
 * asks the caller for it again, a probe touches the caller's array only when they agree, and a slot is 8 bytes.
 * Positions are made of the same bits, so a table has 2^32 slots at most, more than there can be ids.
 */
#include "base/idmap.h"

#include "base/array.h"
#include "base/large.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void place(struct idmap_slot *slots, size_t cap, uint32_t hash, uint32_t id_plus_1)
{
	size_t pos = hash & (cap - 1);

	while (slots[pos].id_plus_1)
		pos = (pos + 1) & (cap - 1);
	slots[pos] = (struct idmap_slot){ hash, id_plus_1 };
}

int idmap_reserve(struct idmap *m, size_t n)
{
	struct idmap_slot *slots;
	size_t cap = m->cap ? m->cap : 64;

	if (n > SIZE_MAX / 4)
		return -ENOMEM;
	while (cap / 3 * 2 <= n)
		cap = large_next(cap, 0, sizeof(*slots));
	if (cap == m->cap)
		return 0;
	slots = large_zero(cap * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].id_plus_1)
			place(slots, cap, m->slots[i].hash, m->slots[i].id_plus_1);
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
	return 0;
}

int idmap_add(struct idmap *m, uint64_t hash, uint32_t id)
{
	int r = idmap_reserve(m, m->n + 1);

	if (r < 0)
		return r;
	place(m->slots, m->cap, (uint32_t)hash, id + 1);
	m->n++;
	return 0;
}

void idmap_release(struct idmap *m)
{
	free(m->slots);
	memset(m, 0, sizeof(*m));
}

int hash_ids_get(struct hash_ids *h, uint64_t hash, uint32_t *ret_id)
{
	size_t pos = idmap_first(&h->map, hash);

	while (idmap_get(&h->map, &pos, hash, ret_id))
		if (h->hashes[*ret_id] == hash)
			return 0;
	if (array_grow((void **)&h->hashes, h->n, &h->cap, sizeof(*h->hashes)) < 0 ||
	    idmap_add(&h->map, hash, (uint32_t)h->n) < 0)
		return -ENOMEM;
	h->hashes[h->n] = hash;
	*ret_id = (uint32_t)h->n++;
	return 1;
}

void hash_ids_release(struct hash_ids *h)
{
	idmap_release(&h->map);
	free(h->hashes);
	memset(h, 0, sizeof(*h));
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = len, w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = hash_mix(h, w);
	}
	w = 0;
	if (len)
		memcpy(&w, p, len);
	return hash_mix(h, w);
}

uint64_t hash_str(const char *s)
{
	return s ? hash_bytes(s, strlen(s)) : 0x5eedull;
}
