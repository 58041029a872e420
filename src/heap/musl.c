/* SPDX-License-Identifier: Apache-2.0 */
/*
 * musl's malloc since 1.2.1, mallocng.
 *
 * All its bookkeeping is out of the way of the user's bytes: a context in libc's data, pages of metas ("meta areas"), and
 * for each group of equal slots one meta with a bit for each slot:
 *
 *      context  | secret | .. init_done .. | .. meta_area_head at 56 .. |
 *      area     | check = secret | next | nslots | meta 0 | meta 1 | ...       (page-aligned)
 *      meta     | prev | next | mem | avail_mask, freed_mask | last_idx:5 freeable:1 sizeclass:6 maplen:52 |
 *      group    | meta | active_idx, pad |  slot 0  |  slot 1  | ...
 *      slot     [-3] index:5 reserved:3  [-2..-1] offset/16   user's bytes ...   reserved bytes at the end
 *
 * The secret is the second half of the 16 random bytes that the kernel gives each program (AT_RANDOM), and a copy of it
 * is in every area, so a context proves itself.  The user's pointer is not always the slot's start: mallocng moves it about in the slack, and
 * alignment does too.  Then the slot's first header says 7 in place of `reserved`, and how far it is.  6 there is a
 * whole group inside the slot.  `reserved` tells exactly how many bytes were asked for.
 */
#include "heap/heap_private.h"
#include "heap/reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define UNIT 16u
#define HEADER 4u /* bytes before a slot's user bytes; as many end the slot */
#define META_BYTES 40u
#define AREA_HEADER 24u
#define AREA_SLOTS ((4096u - AREA_HEADER) / META_BYTES)
#define MAX_DEPTH 48u /* groups in slots of groups: each is of a smaller class */
#define MAX_AREAS (1u << 20)
#define CLASS_MMAPPED 63u
#define NESTED 6u
#define MOVED 7u

static const uint16_t classes[48] = {
	1,   2,   3,   4,    5,    6,    7,    8,    9,    10,   12,   15,   18,   20,   25,   31,
	36,  42,  50,  63,   72,   84,   102,  127,  146,  170,  204,  255,  292,  340,  409,  511,
	584, 682, 818, 1023, 1169, 1364, 1637, 2047, 2340, 2730, 3276, 4095, 4680, 5460, 6552, 8191,
};

/* Where the context has what; with a compile-time page size (x86-64) or without. */
static const struct context_layout {
	uint32_t init_done, head, size;
} layouts[] = {
	{ 8, 56, 928 },
	{ 16, 64, 936 },
};

struct meta {
	uint64_t address, mem;
	uint64_t stride, maplen;
	uint64_t bits; /* its last word, as it is */
	uint32_t free, last, class;
};

struct musl {
	const struct image *img;
	struct heap_builder *out;
	struct heap_reader reader;
	uint64_t context, head, secret;
	uint32_t context_bytes;
	uint64_t damaged;     /* metas, slots that contradict themselves */
	struct window window; /* on the group being walked */
	struct meta *groups;
	size_t ngroups, groups_room, next;
};

static bool bytes_at(struct musl *u, uint64_t addr, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		uint64_t line = (addr + done) & ~(uint64_t)(READER_LINE - 1);
		const uint8_t *p = heap_reader_line(&u->reader, line);
		size_t k = READER_LINE - (size_t)(addr + done - line);

		if (!p)
			return false;
		if (k > n - done)
			k = n - done;
		memcpy((uint8_t *)buf + done, p + (addr + done - line), k);
		done += k;
	}
	return true;
}

static bool is_context(struct musl *u, uint64_t addr, const uint8_t *p, size_t room, uint64_t secret)
{
	for (size_t i = 0; i < 2; i++) {
		uint64_t own, head, tail, check;
		uint32_t init_done;

		if (room < layouts[i].size)
			continue;
		memcpy(&own, p, 8);
		memcpy(&init_done, p + layouts[i].init_done, 4);
		memcpy(&head, p + layouts[i].head, 8);
		memcpy(&tail, p + layouts[i].head + 8, 8);
		if (!own || (secret && own != secret) || init_done != 1 || !head || head & 4095 ||
		    !tail || tail & 4095 || !heap_reader_word(&u->reader, head, &check) ||
		    check != own)
			continue;
		u->context = addr;
		u->context_bytes = layouts[i].size;
		u->head = head;
		u->secret = own;
		return true;
	}
	return false;
}

/* In libc's own data, which in a static program is the program's. */
static int find_context(struct musl *u)
{
	const uint32_t rw = IMAGE_READ | IMAGE_WRITE;
	const size_t overlap = 4096;
	uint64_t secret = 0;
	struct window *w = &u->window;
	bool found = false;

	if (u->img->at_random)
		bytes_at(u, u->img->at_random + 8, &secret, sizeof(secret));
	for (size_t i = 0; i < u->img->nmaps && !found; i++) {
		const struct image_map *m = &u->img->maps[i], *before = i ? m - 1 : NULL;

		if ((m->flags & rw) != rw || m->flags & (IMAGE_SHARED | IMAGE_ABSENT) ||
		    !strncmp(m->path, "[stack", 6) || !strcmp(m->path, "[heap]"))
			continue;
		if (!m->inode && m->path[0] != '/' && !image_module_of(u->img, m->start) &&
		    !(before && before->end == m->start && (before->inode || before->path[0] == '/')))
			continue;
		for (uint64_t at = m->start; at < m->end && !found;) {
			size_t len;

			window_load(w, at, m->end);
			len = (size_t)(w->end - w->start);
			for (size_t k = 0; k + layouts[0].size <= len && !found; k += 8)
				found = is_context(u, w->start + k, w->data + k, len - k, secret);
			at = w->end < m->end && len > overlap ? w->end - overlap : w->end;
		}
	}
	return found ? 0 : -ENOENT;
}

/* Bytes of a group's slots, which are gone through upwards; what the window left out is read alone. */
static bool slot_bytes(struct musl *u, const struct meta *m, uint64_t addr, void *buf, size_t n)
{
	struct window *w = &u->window;

	if (addr < w->start || addr + n > w->end) {
		/* Only headers and ends are read: of large slots no more than that. */
		w->want = m->stride < 4096 ? 1u << 18 : 4096;
		window_load(w, addr, m->mem + UNIT + m->stride * (m->last + 1));
	}
	if (addr + n > w->end || window_page(w, addr) != WINDOW_PRESENT ||
	    window_page(w, addr + n - 1) != WINDOW_PRESENT)
		return bytes_at(u, addr, buf, n);
	memcpy(buf, w->data + (addr - w->start), n);
	return true;
}

/* The user's pointer in a slot that is in use; 0: the headers contradict each other. */
static uint64_t user_of(struct musl *u, const struct meta *m, uint32_t index, uint64_t start)
{
	uint64_t storage = m->mem + UNIT, end = start + m->stride - HEADER;
	uint8_t h[8];
	uint16_t offset;

	if (!slot_bytes(u, m, start - 8, h, 8))
		return 0;
	if (h[5] >> 5 != MOVED)
		return (h[5] & 31) == index ? start : 0;
	/* How far is 16 bits; an alignment above 1 MB is more than that: its own header is proof. */
	memcpy(&offset, h + 6, 2);
	for (uint64_t p = start + (uint64_t)UNIT * offset; p < end; p += (uint64_t)UNIT << 16) {
		uint64_t units = (p - storage) / UNIT, said;
		uint16_t near;
		uint32_t far;

		if (!slot_bytes(u, m, p - 8, h, 8))
			return 0;
		memcpy(&near, h + 6, 2);
		memcpy(&far, h, 4);
		said = h[4] ? far : near;
		if ((h[5] & 31) == index && h[5] >> 5 < NESTED && said == units && p > start)
			return p;
	}
	return 0;
}

static int add_slot(struct musl *u, const struct meta *m, uint32_t index, bool *ret_used)
{
	uint64_t start = m->mem + UNIT + m->stride * index, user = user_of(u, m, index, start);
	uint64_t end = start + m->stride - HEADER, reserved;
	unsigned int flags = m->class == CLASS_MMAPPED ? BLOCK_MMAPPED : 0;
	uint8_t info;

	*ret_used = true;
	if (!user || !slot_bytes(u, m, user - 3, &info, 1)) {
		u->damaged++;
		return 0;
	}
	reserved = info >> 5;
	if (reserved == NESTED && user == start) {
		*ret_used = false;
		return 0;
	}
	if (reserved == 5) {
		uint32_t n = 0;

		reserved = slot_bytes(u, m, end - 4, &n, 4) ? n : UINT64_MAX;
	}
	if (reserved > end - user) {
		u->damaged++;
		reserved = 0;
		flags |= BLOCK_IMPRECISE;
	}
	return heap_add_block(u->out, user, end - user - reserved, flags);
}

/*
 * The next group and, where one of its slots holds a group in turn, that one before the slots behind it: so blocks come
 * in ascending order and need no sorting.
 */
static int add_group(struct musl *u, unsigned int depth)
{
	const struct meta *m = &u->groups[u->next++];
	struct heap *h = u->out->heap;
	struct heap_mallinfo *info = &h->info;
	struct heap_arena *sum = &h->arenas[0];
	uint64_t bytes = m->maplen ? m->maplen * 4096 : UNIT + m->stride * (m->last + 1);
	int r = heap_add_range(u->out, m->mem, m->mem + bytes);

	if (r >= 0 && !depth)
		r = heap_add_piece(u->out, m->mem, m->mem + bytes, 0, m->class == CLASS_MMAPPED);

	if (m->class == CLASS_MMAPPED) {
		info->hblks++;
		info->hblkhd += bytes;
	} else if (m->maplen) {
		info->arena += bytes;
		sum->system_bytes += bytes;
		sum->heaps++;
	}
	for (uint32_t i = 0; i <= m->last && r >= 0; i++) {
		uint64_t behind = m->mem + UNIT + m->stride * (i + 1);
		bool used = false;

		if (m->free >> i & 1) {
			info->ordblks++;
			info->fordblks += m->stride;
			sum->bin_chunks++;
			sum->bin_bytes += m->stride;
			r = heap_add_free(u->out, behind - m->stride, m->stride, 0, HEAP_FREE_SLOT);
			if (h->nfree) {
				h->free[h->nfree - 1].owner = m->address;
				h->free[h->nfree - 1].owner_bits = m->bits;
			}
			continue;
		}
		r = add_slot(u, m, i, &used);
		if (used && m->class != CLASS_MMAPPED) {
			info->uordblks += m->stride;
			sum->used_blocks++;
			sum->used_bytes += m->stride;
		}
		while (u->next < u->ngroups && u->groups[u->next].mem < behind && r >= 0 &&
		       depth < MAX_DEPTH)
			r = add_group(u, depth + 1);
	}
	return r;
}

/* A meta as it is in memory; false: not in use, or nonsense. */
static bool decode(struct musl *u, uint64_t address, const uint8_t *p, struct meta *m)
{
	uint32_t avail, freed;
	uint64_t bits, owner, all;

	memcpy(&m->mem, p + 16, 8);
	memcpy(&avail, p + 24, 4);
	memcpy(&freed, p + 28, 4);
	memcpy(&bits, p + 32, 8);
	if (!m->mem)
		return false;
	m->address = address;
	m->bits = bits;
	m->last = bits & 31;
	m->class = bits >> 6 & 63;
	m->maplen = bits >> 12;
	all = (2ull << m->last) - 1;
	m->free = (uint32_t)((avail | freed) & all);
	if (m->mem % UNIT || m->maplen > 1ull << 35 ||
	    (m->class >= 48 && m->class != CLASS_MMAPPED) ||
	    (m->class == CLASS_MMAPPED && (m->last || !m->maplen)) ||
	    !heap_reader_word(&u->reader, m->mem, &owner) || owner != address) {
		u->damaged++;
		return false;
	}
	m->stride = m->maplen && !m->last ? m->maplen * 4096 - UNIT : UNIT * classes[m->class % 48];
	if (m->maplen && m->stride * (m->last + 1) > m->maplen * 4096 - UNIT) {
		u->damaged++;
		return false;
	}
	return true;
}

static int keep_group(struct musl *u, const struct meta *m)
{
	if (u->ngroups == u->groups_room) {
		size_t room = u->groups_room ? u->groups_room * 2 : 256;
		struct meta *grown = realloc(u->groups, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		u->groups = grown;
		u->groups_room = room;
	}
	u->groups[u->ngroups++] = *m;
	return 0;
}

static int by_mem(const void *a, const void *b)
{
	const struct meta *x = a, *y = b;

	return x->mem < y->mem ? -1 : x->mem > y->mem;
}

static int walk_areas(struct musl *u)
{
	uint64_t area = u->head, mark = 0;
	int r = 0;

	for (unsigned int n = 0; area && n < MAX_AREAS && r >= 0; n++) {
		uint8_t page[4096];
		uint64_t check, next;
		int32_t nslots;

		if (area & 4095 || !bytes_at(u, area, page, sizeof(page))) {
			u->damaged++;
			break;
		}
		memcpy(&check, page, 8);
		memcpy(&next, page + 8, 8);
		memcpy(&nslots, page + 16, 4);
		if (check != u->secret) {
			u->damaged++;
			break;
		}
		/* A list that comes back on itself is a damaged one; so it is noticed at twice its length at most. */
		if (area == mark) {
			u->damaged++;
			break;
		}
		if (!(n & (n + 1)))
			mark = area;
		r = heap_add_range(u->out, area, area + sizeof(page));
		for (int32_t i = 0; i < nslots && i < (int32_t)AREA_SLOTS && r >= 0; i++) {
			uint32_t at = AREA_HEADER + META_BYTES * (uint32_t)i;
			struct meta m;

			if (decode(u, area + at, page + at, &m))
				r = keep_group(u, &m);
		}
		area = next;
	}
	if (u->ngroups)
		qsort(u->groups, u->ngroups, sizeof(*u->groups), by_mem);
	while (u->next < u->ngroups && r >= 0)
		r = add_group(u, 0);
	return r;
}

static bool is_musl(const struct image *img)
{
	for (size_t i = 0; i < img->nmodules; i++)
		if (strstr(img->modules[i].path, "/ld-musl-") ||
		    strstr(img->modules[i].path, "-linux-musl/libc.so"))
			return true;
	return false;
}

static int walk(struct musl *u)
{
	struct heap *h = u->out->heap;
	int r = find_context(u);

	if (r == -ENOENT && is_musl(u->img)) {
		snprintf(h->allocator, sizeof(h->allocator), "musl mallocng");
		heap_note(h, "musl's heap was not found: nothing was allocated yet, or this musl "
		             "is older than 1.2.1, whose malloc has no walker");
		return 0;
	}
	if (r < 0)
		return r;
	h->arenas = calloc(1, sizeof(*h->arenas));
	if (!h->arenas)
		return -ENOMEM;
	h->narenas = 1;
	h->arenas[0].address = u->context;
	h->arenas[0].main = true;
	snprintf(h->allocator, sizeof(h->allocator), "musl mallocng");
	snprintf(h->layout, sizeof(h->layout), "musl 1.2.1 or later");
	r = walk_areas(u);
	if (r >= 0)
		r = heap_add_range(u->out, u->context, u->context + u->context_bytes);
	if (u->damaged)
		heap_note(h,
		          "%llu of the allocator's own records make no sense: blocks may be missing",
		          (unsigned long long)u->damaged);
	return r;
}

int musl_walk(const struct image *img, struct heap_builder *b)
{
	struct musl u = { .img = img, .out = b };
	int r = heap_reader_init(&u.reader, img);

	if (!r)
		r = window_init(&u.window, img);
	if (!r)
		r = walk(&u);
	window_release(&u.window);
	heap_reader_release(&u.reader);
	free(u.groups);
	return r;
}
