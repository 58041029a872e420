/* SPDX-License-Identifier: Apache-2.0 */
#include "server/symbol_query.h"

#include "base/buf.h"
#include "base/idmap.h"
#include "profile/profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Frames by their pc; of several with one pc any will do: they have one symbol. */
static int index_frames(const struct profile *p, struct idmap *map)
{
	if (idmap_reserve(map, p->nframes) < 0)
		return -1;
	for (size_t i = 1; i < p->nframes; i++) {
		uint64_t pc = p->frames[i].pc;
		size_t pos = idmap_first(map, pc * 0x9e3779b97f4a7c15ull);
		uint32_t id;
		bool known = false;

		while (!known && idmap_get(map, &pos, pc * 0x9e3779b97f4a7c15ull, &id))
			known = p->frames[id].pc == pc;
		if (!known && idmap_add(map, pc * 0x9e3779b97f4a7c15ull, (uint32_t)i) < 0)
			return -1;
	}
	return 0;
}

static const struct prof_symbol *find(const struct profile *p, const struct idmap *map, uint64_t pc)
{
	size_t pos = idmap_first(map, pc * 0x9e3779b97f4a7c15ull);
	uint32_t id;

	while (idmap_get(map, &pos, pc * 0x9e3779b97f4a7c15ull, &id))
		if (p->frames[id].pc == pc && p->frames[id].symbol &&
		    p->symbols[p->frames[id].symbol].lines[0].function)
			return &p->symbols[p->frames[id].symbol];
	return NULL;
}

/* A name is a line's rest: nothing in it may end the line, or look like the mark between names. */
static void put_name(struct buf *out, const char *name)
{
	for (; *name; name++) {
		if (name[0] == '-' && name[1] == '-')
			buf_putc(out, ' ');
		else
			buf_putc(out, (unsigned char)*name < ' ' ? ' ' : *name);
	}
}

void symbol_query(const struct profile *p, const char *body, struct buf *out)
{
	struct idmap map = { 0 };
	size_t n = 0;

	if (index_frames(p, &map) < 0) {
		idmap_release(&map);
		out->failed = true;
		return;
	}
	while (*body && n++ < SYMBOL_QUERY_MOST) {
		char *end;
		uint64_t address = strtoull(body, &end, 16);
		const struct prof_symbol *s;

		if (end == body) {
			body++;
			continue;
		}
		s = find(p, &map, address);
		if (!s && address)
			s = find(p, &map, address - 1);
		if (s) {
			buf_printf(out, "0x%08" PRIx64 "\t", address);
			for (uint32_t i = s->nlines; i-- > 0;) {
				put_name(out, s->lines[i].function ? s->lines[i].function : "??");
				buf_puts(out, i ? "--" : "\n");
			}
		}
		body = end + (*end == '+' || *end == '\n' || *end == ' ');
	}
	idmap_release(&map);
}
