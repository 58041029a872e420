/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interior pointers that are as good as one to the start, because of what they point to
 * says so: the rules of docs/LEAKS.md, which are memcheck's with room for sizes that are not
 * exact.
 */
#include "analysis/reach_mark.h"
#include "proc/image.h"

#define WORD 8u
#define VTABLE_WORDS 20

/* glibc: up to 15 bytes of rounding, and a remainder of 16 it would not split off. */
uint64_t block_slack(const struct block *b)
{
	if (!(b->flags & BLOCK_IMPRECISE))
		return 0;
	return b->flags & BLOCK_MMAPPED ? 4096 + 16 : 31;
}

/* Does something of this size fit the block exactly, or as exactly as its size is known? */
static bool fits(uint64_t need, const struct block *b)
{
	return need <= b->size && b->size - need <= block_slack(b);
}

static bool looks_like_vtable(const struct image *img, uint64_t addr)
{
	const struct image_map *m = addr % WORD ? NULL : image_map_of(img, addr);
	uint64_t words[VTABLE_WORDS];
	unsigned int text = 0;
	size_t n;

	if (!m || !(m->flags & IMAGE_READ) || (m->flags & IMAGE_EXEC) ||
	    !(m->inode || m->path[0] == '/'))
		return false;
	n = m->end - addr < sizeof(words) ? m->end - addr : sizeof(words);
	n = image_read(img, addr, words, n) / WORD;
	for (size_t i = 0; i < n && text < 2; i++) {
		const struct image_map *to = words[i] < 4096 ? NULL : image_map_of(img, words[i]);

		text += to && to->flags & IMAGE_EXEC;
	}
	return text >= 2;
}

static bool is_vtable(const struct image *img, struct vtables *v, uint64_t addr)
{
	size_t i = addr / WORD % (sizeof(v->known) / sizeof(v->known[0]));

	if (addr < 4096)
		return false;
	if (v->known[i].addr != addr) {
		v->known[i].is = looks_like_vtable(img, addr);
		v->known[i].addr = addr;
	}
	return v->known[i].is;
}

static bool word_at(struct reader *r, uint64_t addr, uint64_t *ret)
{
	if (!reader_has(r, addr, addr + WORD))
		reader_fill(r, addr, addr + r->cap, NULL);
	if (reader_unreadable(r, addr, addr + WORD))
		return false;
	*ret = reader_word(r, addr);
	return true;
}

unsigned int heuristics_of(const struct image *img, struct reader *r, struct vtables *v,
                           const struct block *b, uint64_t addr, unsigned int wanted)
{
	uint64_t base = block_address(b), size = b->size, w0, w1;
	unsigned int found = 0;

	if (base % WORD || addr % WORD || size < WORD || !word_at(r, base, &w0))
		return 0;
	if (addr == base + 3 * WORD && size > 3 * WORD && wanted & REACH_STDSTRING &&
	    word_at(r, base + WORD, &w1) && w0 <= w1 && w1 < size && fits(3 * WORD + w1 + 1, b))
		found |= REACH_STDSTRING;
	if (addr == base + WORD && size > WORD && wanted & REACH_LENGTH64 && w0 && w0 < size &&
	    fits(WORD + w0, b))
		found |= REACH_LENGTH64;
	if (addr == base + WORD && wanted & REACH_NEWARRAY) {
		uint64_t content = size - WORD;

		if (!w0 ? fits(WORD, b) : w0 <= content && content % w0 <= block_slack(b))
			found |= REACH_NEWARRAY;
	}
	if (wanted & REACH_MULTIPLE_INHERITANCE && addr + WORD <= base + size &&
	    word_at(r, addr, &w1) && is_vtable(img, v, w0) && is_vtable(img, v, w1))
		found |= REACH_MULTIPLE_INHERITANCE;
	return found;
}
