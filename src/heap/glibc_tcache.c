/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads' caches (tcache, since glibc 2.26): a structure in a heap block for each thread, with lists of free chunks that
 * their neighbours call used.  A thread-local variable of libc points to it, a fixed distance below the thread
 * pointer and next to the one that points to the thread's arena:
 *
 *      thread pointer - d - x  arena of the thread      the same d in every thread;
 *      thread pointer - d      its tcache               x is small: both are libc's
 *
 * So the distance is found by voting: in which place do threads have a pointer to a block of a tcache's size
 * whose lists hold together?  Then that place tells it of every thread, empty caches included, and a look-alike among the
 * program's blocks is no danger.  Only for threads whose registers are not known (a damaged core, a thread that
 * could not be stopped) the blocks themselves are looked at: what looks like a filled tcache is one.
 */
#include "heap/glibc.h"

#include <errno.h>
#include <stdlib.h>

#define TLS_BYTES \
	65536u /* below the thread pointer; libc's variables lie there, behind the executable's own */
#define LIBC_TLS 256u   /* bytes of libc's own variables: how near to each other two of them are */
#define VOTERS 16u      /* threads that vote */
#define MAX_LIST 65536u /* chunks in one list: tcache_count is 16 bits */
#define MAX_DTV 4096u
#define STACK_PAGES 16384u /* pages gone through for control blocks of ended threads */

static const struct tcache_shape shapes[] = {
	{ 0x250, 64, 1, 64, false },  /* 2.26-2.29 */
	{ 0x290, 64, 2, 128, false }, /* 2.30-2.41 */
	{ 0x300, 76, 2, 152, true },  /* from 2.42 on */
};

const struct tcache_shape *glibc_tcache_shape(uint64_t chunk_size)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (chunk_size == shapes[i].chunk || chunk_size == shapes[i].chunk + 16)
			return &shapes[i];
	return NULL;
}

static const struct tcache_shape *shape_of(struct glibc *g, uint64_t user)
{
	uint64_t size;

	if (user % 16 || !glibc_segment_of(g, user - 16) ||
	    !heap_reader_word(&g->reader, user - 8, &size) || size & CHUNK_MMAPPED)
		return NULL;
	return glibc_tcache_shape(size & ~(uint64_t)CHUNK_FLAGS);
}

static bool member_sane(struct glibc *g, uint64_t user, uint32_t bin)
{
	uint64_t size;

	if (user % 16 || !glibc_segment_of(g, user - 16) ||
	    !heap_reader_word(&g->reader, user - 8, &size))
		return false;
	size &= ~(uint64_t)CHUNK_FLAGS;
	return bin < 64 ? size == CHUNK_MIN + 16ull * bin : size >= CHUNK_MIN + 16 * 64;
}

/*
 * Do all lists hold together, read this way?  Chunks in them: ret_n.  An entry that is no chunk, a wrong size, a
 * count that differs: no.
 */
static bool holds(struct glibc *g, uint64_t user, const struct tcache_shape *shape, bool mangled,
                  uint64_t *ret_n)
{
	uint64_t words[(152 + 76 * 8) / 8], total = 0;
	const uint8_t *bytes = (const uint8_t *)words;

	if (!heap_reader_words(&g->reader, user, words, (shape->entries + shape->nbins * 8) / 8))
		return false;
	for (uint32_t i = 0; i < shape->nbins; i++) {
		uint64_t at = words[shape->entries / 8 + i], n = 0;
		uint32_t count = shape->count_bytes == 1
		                         ? bytes[i]
		                         : (uint32_t)bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8;

		for (; at; n++) {
			uint64_t next;

			if (n == MAX_LIST || !glibc_spend(g) || !member_sane(g, at, i) ||
			    !heap_reader_word(&g->reader, at, &next))
				return false;
			at = glibc_reveal(mangled, at, next);
		}
		if (!shape->slots_left && count != n)
			return false;
		total += n;
	}
	*ret_n = total;
	return true;
}

struct place {
	uint64_t distance; /* from the thread pointer down */
	uint64_t filled[2],
		empty; /* votes: lists that hold, read plain and mangled; caches without lists */
	bool arena;    /* it is a thread's arena that is pointed to from here */
};

static struct place *place_of(struct place *places, size_t *n, size_t room, uint64_t distance)
{
	for (size_t i = 0; i < *n; i++)
		if (places[i].distance == distance)
			return &places[i];
	if (*n == room)
		return NULL;
	places[*n] = (struct place){ .distance = distance };
	return &places[(*n)++];
}

static bool is_arena(const struct glibc *g, uint64_t addr)
{
	uint32_t n = g->narenas < 64 ? g->narenas : 64;

	for (uint32_t i = 0; i < n; i++)
		if (g->arenas[i].address == addr)
			return true;
	return false;
}

static int vote(struct glibc *g, const struct image_thread *t, struct place *places, size_t *n,
                size_t room)
{
	const struct image_map *m = image_map_of(g->img, t->tls - 8);
	uint64_t start, *words;
	size_t nwords;

	if (!m || t->tls % 8)
		return 0;
	start = t->tls - m->start > TLS_BYTES ? t->tls - TLS_BYTES : m->start;
	nwords = (t->tls - start) / 8;
	words = malloc(nwords * 8 + 8);
	if (!words)
		return -ENOMEM;
	if (!image_read_all(g->img, start, words, nwords * 8))
		nwords = 0;
	for (size_t i = 0; i < nwords; i++) {
		const struct tcache_shape *shape;
		struct place *p;
		uint64_t held[2] = { 0 };
		bool ok[2];

		if (!words[i] || words[i] % 8)
			continue;
		if (is_arena(g, words[i])) {
			p = place_of(places, n, room, (nwords - i) * 8);
			if (p)
				p->arena = true;
			continue;
		}
		shape = shape_of(g, words[i]);
		if (!shape)
			continue;
		ok[0] = holds(g, words[i], shape, false, &held[0]);
		ok[1] = holds(g, words[i], shape, true, &held[1]);
		p = ok[0] || ok[1] ? place_of(places, n, room, (nwords - i) * 8) : NULL;
		if (!p)
			continue;
		p->filled[0] += ok[0] && held[0];
		p->filled[1] += ok[1] && held[1];
		p->empty += ok[0] && ok[1] && !held[0];
	}
	free(words);
	return 0;
}

/* The distance that tells of most threads; one that is near to a thread's arena before all others. */
static bool elect(const struct place *places, size_t n, uint64_t *ret_distance)
{
	uint64_t most = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t score = places[i].filled[0] + places[i].filled[1];
		bool near = false;

		for (size_t j = 0; j < n; j++)
			near |= places[j].arena &&
			        places[j].distance + LIBC_TLS > places[i].distance &&
			        places[i].distance + LIBC_TLS > places[j].distance;
		score = 4 * score + 2 * places[i].empty;
		/* An empty one far from libc's variables is any block of that size that is zero. */
		if (near)
			score = score ? score + 1000 : 0;
		else
			score = places[i].filled[0] + places[i].filled[1] ? score : 0;
		if (score > most) {
			most = score;
			*ret_distance = places[i].distance;
		}
	}
	return most > 0;
}

static int mark_lists(struct glibc *g, uint64_t user, const struct tcache_shape *shape)
{
	uint64_t words[(152 + 76 * 8) / 8];
	bool damaged = false;

	if (!heap_reader_words(&g->reader, user, words, (shape->entries + shape->nbins * 8) / 8))
		return 0;
	for (uint32_t i = 0; i < shape->nbins; i++) {
		uint64_t at = words[shape->entries / 8 + i];

		for (uint32_t n = 0; at; n++) {
			const struct segment *s;
			uint64_t size, next;
			bool fresh = false;
			int r = 0;

			if (n < MAX_LIST && member_sane(g, at, i))
				r = glibc_mark_free(g, at - 16, &fresh);
			if (r < 0)
				return r;
			if (!fresh || !heap_reader_word(&g->reader, at, &next) ||
			    !heap_reader_word(&g->reader, at - 8, &size)) {
				damaged = true;
				break;
			}
			s = glibc_segment_of(g, at - 16);
			g->out->heap->arenas[s->arena].tcache_chunks++;
			g->out->heap->arenas[s->arena].tcache_bytes += size & ~(uint64_t)CHUNK_FLAGS;
			r = heap_add_free(g->out, at - 16, size & ~(uint64_t)CHUNK_FLAGS, s->arena,
			                  HEAP_FREE_TCACHE);
			if (r < 0)
				return r;
			at = glibc_reveal(g->safe_linking, at, next);
		}
	}
	if (damaged)
		heap_note(g->out->heap,
		          "the thread cache at %#llx is damaged: what is behind the damage counts as "
		          "in use",
		          (unsigned long long)user);
	return 0;
}

static int add_tcache(struct glibc *g, uint64_t user)
{
	for (size_t i = 0; i < g->ntcaches; i++)
		if (g->tcaches[i] == user)
			return 0;
	if (!(g->ntcaches & (g->ntcaches - 1))) {
		size_t room = g->ntcaches ? g->ntcaches * 2 : 1;
		uint64_t *grown = realloc(g->tcaches, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		g->tcaches = grown;
	}
	g->tcaches[g->ntcaches++] = user;
	return 0;
}

static void settle_linking(struct glibc *g, uint64_t plain, uint64_t mangled)
{
	if (plain == mangled) {
		uint64_t votes[2] = { 0 };

		glibc_fastbins_vote(g, votes);
		plain += votes[0];
		mangled += votes[1];
	}
	g->safe_linking_seen = plain != mangled;
	g->safe_linking = mangled > plain || (!g->safe_linking_seen && g->bins == 24);
}

int glibc_find_tcaches(struct glibc *g)
{
	const size_t room = 4096;
	struct place *places = calloc(room, sizeof(*places));
	uint64_t distance = 0, plain = 0, mangled = 0;
	unsigned int voters = 0, unknown = 0;
	size_t n = 0;
	int r = places ? 0 : -ENOMEM;

	for (size_t i = 0; i < g->img->nthreads && r >= 0; i++) {
		const struct image_thread *t = &g->img->threads[i];

		if (t->missed || !t->tls)
			unknown++;
		else if (voters++ < VOTERS)
			r = vote(g, t, places, &n, room);
	}
	if (r >= 0 && elect(places, n, &distance))
		for (size_t i = 0; i < n; i++)
			if (places[i].distance == distance) {
				plain = places[i].filled[0];
				mangled = places[i].filled[1];
			}
	free(places);
	if (r < 0)
		return r;
	settle_linking(g, plain, mangled);
	for (size_t i = 0; i < g->img->nthreads && distance && r >= 0; i++) {
		const struct image_thread *t = &g->img->threads[i];
		const struct tcache_shape *shape;
		uint64_t user;

		if (t->missed || !t->tls || !heap_reader_word(&g->reader, t->tls - distance, &user))
			continue;
		shape = shape_of(g, user);
		if (shape) {
			g->shape = shape;
			r = add_tcache(g, user);
		}
	}
	for (size_t i = 0; i < g->ntcaches && r >= 0; i++)
		r = mark_lists(g, g->tcaches[i], g->shape);
	/* bins at 104 can be 2.26; nothing older has caches to miss */
	if (r >= 0 && (unknown || !voters)) {
		g->suspects_room = 64;
		g->suspects = malloc(g->suspects_room * sizeof(*g->suspects));
		r = g->suspects ? 0 : -ENOMEM;
	}
	return r;
}

/* The walk is over and has put aside the blocks of a tcache's size.  Those that are one give back what they hold. */
int glibc_settle_suspects(struct glibc *g)
{
	struct heap *h = g->out->heap;
	size_t before = g->ntcaches, kept = 0;
	uint64_t votes[2] = { 0 };
	int r = 0;

	for (size_t i = 0; i < g->nsuspects && !g->safe_linking_seen; i++)
		for (int mangled = 0; mangled < 2; mangled++) {
			const struct tcache_shape *shape = shape_of(g, g->suspects[i]);
			uint64_t n = 0;

			if (shape && holds(g, g->suspects[i], shape, mangled, &n) && n)
				votes[mangled]++;
		}
	if (!g->safe_linking_seen)
		settle_linking(g, votes[0], votes[1]);
	for (size_t i = 0; i < g->nsuspects && r >= 0; i++) {
		const struct tcache_shape *shape = shape_of(g, g->suspects[i]);
		uint64_t n = 0;

		if (shape && holds(g, g->suspects[i], shape, g->safe_linking, &n) && n)
			r = add_tcache(g, g->suspects[i]);
	}
	for (size_t i = before; i < g->ntcaches && r >= 0; i++)
		r = mark_lists(g, g->tcaches[i], shape_of(g, g->tcaches[i]));
	if (r < 0 || before == g->ntcaches)
		return r;
	for (size_t i = 0; i < h->nblocks; i++) {
		uint64_t chunk = h->blocks[i].address - 16;
		const struct segment *s = glibc_segment_of(g, chunk);

		if (s && glibc_marked(s, chunk)) {
			/* minus the header that the walk counted */
			h->arenas[s->arena].used_blocks--;
			h->arenas[s->arena].used_bytes -= h->blocks[i].size + 8;
			continue;
		}
		h->blocks[kept++] = h->blocks[i];
	}
	h->nblocks = kept;
	return 0;
}

static void internal(struct heap *h, uint64_t user)
{
	struct block *b = heap_block_at(h, user);

	if (b)
		b->flags |= BLOCK_INTERNAL;
}

/* The dynamic thread vector of the thread control block at `tls`; false: there is no such block. */
static bool mark_vector(struct glibc *g, uint64_t tls)
{
	struct heap *h = g->out->heap;
	uint64_t tcb[3], length;

	if (!heap_reader_words(&g->reader, tls, tcb, 3) || tcb[0] != tls || tcb[2] != tls)
		return false;
	if (tcb[1] % 16 || tcb[1] < 16 || !heap_reader_word(&g->reader, tcb[1] - 16, &length))
		return true;
	internal(h, tcb[1] - 16);
	for (uint64_t k = 1; k <= length && k < MAX_DTV; k++) {
		uint64_t entry[2];

		if (!heap_reader_words(&g->reader, tcb[1] + 16 * k, entry, 2))
			break;
		if (entry[1])
			internal(h, entry[1]);
	}
	return true;
}

/*
 * Threads that have ended leave their stack behind for the next one, control block and vector included.  A control
 * block is twice a pointer to itself, and lies at its stack's end; but whether a guard page sets stacks apart in the
 * list of mappings depends on the glibc, so the resident pages of what is no heap are gone through, up to a limit.
 */
static void mark_cached_stacks(struct glibc *g)
{
	uint64_t left = STACK_PAGES, page = g->img->page_size;
	struct window *w = &g->window;

	for (size_t i = 0; i < g->img->nmaps && left; i++) {
		const struct image_map *m = &g->img->maps[i];
		uint64_t at;

		if (!heap_is_anonymous(m) || m->path[0] == '/' || !strcmp(m->path, "[heap]"))
			continue;
		at = m->start;
		while (at < m->end && left) {
			uint64_t behind = glibc_known_end(g, at);

			if (behind > at) {
				at = (behind + page - 1) & ~(page - 1);
				continue;
			}
			w->want = WINDOW_BYTES;
			window_load(w, at, m->end);
			at = w->end;
			left--;
			for (uint64_t k = 0; k < w->end - w->start && left; k += 16) {
				uint64_t v;

				if (k % page == 0) {
					if (window_page(w, w->start + k) != WINDOW_PRESENT) {
						k += page - 16;
						continue;
					}
					left--;
				}
				memcpy(&v, w->data + k, 8);
				if (v == w->start + k)
					mark_vector(g, v);
			}
		}
	}
}

/*
 * What is surely libc's own: the caches, and each thread's dynamic thread vector with the TLS blocks that it says
 * are to be freed.  The vector is the second word of a thread's control block and begins 16 bytes into its block:
 *
 *      control block  | its own address | vector + 16 | its own address | ...
 *      vector         | length, - | generation, - | address, to_free | address, to_free | ...
 */
void glibc_mark_internal(struct glibc *g)
{
	g->out->heap->tcaches = g->ntcaches;
	for (size_t i = 0; i < g->ntcaches; i++)
		internal(g->out->heap, g->tcaches[i]);
	for (size_t i = 0; i < g->img->nthreads; i++)
		if (!g->img->threads[i].missed && g->img->threads[i].tls)
			mark_vector(g, g->img->threads[i].tls);
	mark_cached_stacks(g);
}
