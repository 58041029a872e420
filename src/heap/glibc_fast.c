/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fastbins: chunks of up to 160 bytes that free() put aside without telling their neighbours, which go on calling
 * them used.  Each is a singly linked list from malloc_state; from glibc 2.32 on a link is mangled with the page
 * it lies in ("safe-linking").  Which it is, the lists say themselves: the last link is 0 in one way of reading
 * only, and any other is an aligned chunk of the same size in one way only.
 */
#include "heap/glibc.h"

#include <errno.h>

static uint64_t chunk_size(struct glibc *g, uint64_t chunk)
{
	uint64_t v = 0;

	heap_reader_word(&g->reader, chunk + 8, &v);
	return v & ~(uint64_t)CHUNK_FLAGS;
}

/* Votes [plain, mangled] of the first few links of every list. */
void glibc_fastbins_vote(struct glibc *g, uint64_t votes[2])
{
	for (uint32_t a = 0; a < g->narenas; a++)
		for (uint32_t i = 0; i < g->nfast; i++) {
			uint64_t at = 0, fd;

			heap_reader_word(&g->reader, g->arenas[a].address + g->fast + 8 * i, &at);
			if (!at || !glibc_segment_of(g, at) ||
			    !heap_reader_word(&g->reader, at + 16, &fd))
				continue;
			for (int mangled = 0; mangled < 2; mangled++) {
				uint64_t next = glibc_reveal(mangled, at + 16, fd);

				if (!next || (next % 16 == 0 && glibc_segment_of(g, next) &&
				              chunk_size(g, next) == CHUNK_MIN + 16 * i))
					votes[mangled]++;
			}
		}
}

int glibc_mark_fastbins(struct glibc *g)
{
	for (uint32_t a = 0; a < g->narenas; a++) {
		struct heap_arena *sum = &g->out->heap->arenas[a];
		bool damaged = false;

		for (uint32_t i = 0; i < g->nfast; i++) {
			uint64_t at = 0;

			heap_reader_word(&g->reader, g->arenas[a].address + g->fast + 8 * i, &at);
			while (at) {
				uint64_t size = chunk_size(g, at), fd;
				bool fresh = false;
				int r = 0;

				if (size >= CHUNK_MIN)
					r = glibc_mark_free(g, at, &fresh);
				if (r < 0)
					return r;
				if (!fresh || !heap_reader_word(&g->reader, at + 16, &fd)) {
					damaged = true;
					break;
				}
				sum->fast_chunks++;
				sum->fast_bytes += size;
				r = heap_add_free(g->out, at, size, a, HEAP_FREE_FAST);
				if (r < 0)
					return r;
				at = glibc_reveal(g->safe_linking, at + 16, fd);
			}
		}
		if (damaged)
			heap_note(g->out->heap,
			          "a fastbin of the arena at %#llx is damaged: what is behind "
			          "the damage counts as in use",
			          (unsigned long long)g->arenas[a].address);
	}
	return 0;
}
