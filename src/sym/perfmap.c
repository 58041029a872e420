/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perf maps: see perfmap.h.
 *
 * The lines come in the order the code was made.  A JIT that frees code and reuses
 * the address appends a new line, so several lines may cover one address and the last
 * of them is right.  The overlaps are not taken apart when reading: entries are sorted
 * by start, each knows the highest end before it, and a look-up goes back from the
 * last start at or below the address, among those that cover it takes the highest
 * line number, and stops where no earlier entry can reach the address.
 */
#include "sym/perfmap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BACK 4096 /* entries looked at for one address */
#define MAX_NAME 65536
#define MAX_ENTRIES (4u << 20)

struct perfmap_entry {
	uint64_t lo, hi, max_hi;
	const char *name;
	size_t line;
};

static bool parse_hex(char **pos, const char *end, uint64_t *ret)
{
	char *p = *pos;
	uint64_t v = 0;
	unsigned int digits = 0;

	if (end - p > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		p += 2;
	for (; p < end; p++) {
		char c = *p | 0x20;
		unsigned int d;

		if (c >= '0' && c <= '9' && *p == c)
			d = (unsigned int)(c - '0');
		else if (c >= 'a' && c <= 'f')
			d = (unsigned int)(c - 'a') + 10;
		else
			break;
		if (v >> 60)
			return false;
		v = v << 4 | d;
		digits++;
	}
	if (!digits || p == end || *p != ' ')
		return false;
	while (p < end && *p == ' ')
		p++;
	*pos = p;
	*ret = v;
	return true;
}

static int add_line(struct perfmap *m, char *line, char *end, size_t number)
{
	struct perfmap_entry e = { .line = number };
	uint64_t size;

	if (!parse_hex(&line, end, &e.lo) || !parse_hex(&line, end, &size) || line == end || !size ||
	    e.lo + size < e.lo || end - line > MAX_NAME || memchr(line, 0, (size_t)(end - line))) {
		m->bad_lines++;
		return 0;
	}
	e.hi = e.lo + size;
	e.name = line;
	*end = 0;
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 1024;
		struct perfmap_entry *bigger = realloc(m->entries, cap * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		m->entries = bigger;
		m->cap = cap;
	}
	m->entries[m->n++] = e;
	return 0;
}

static int by_start(const void *va, const void *vb)
{
	const struct perfmap_entry *a = va, *b = vb;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return a->line < b->line ? -1 : a->line > b->line;
}

int perfmap_parse(struct perfmap *m, char *text, size_t len)
{
	char *end = text + len, *line = text, *nl;
	uint64_t max_hi = 0;
	size_t number = 0, i;

	/* A last line without its newline is still being written: its name may be half there. */
	while (line < end && m->n < MAX_ENTRIES && (nl = memchr(line, '\n', (size_t)(end - line)))) {
		int r = add_line(m, line, nl, number++);

		if (r < 0)
			return r;
		line = nl + 1;
	}
	if (m->n)
		qsort(m->entries, m->n, sizeof(*m->entries), by_start);
	for (i = 0; i < m->n; i++) {
		if (m->entries[i].hi > max_hi)
			max_hi = m->entries[i].hi;
		m->entries[i].max_hi = max_hi;
	}
	return 0;
}

int perfmap_read(struct perfmap *m, int fd)
{
	struct stat st;
	size_t want, got = 0;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	want = st.st_size > (off_t)PERFMAP_MAX_BYTES ? PERFMAP_MAX_BYTES : (size_t)st.st_size;
	m->text = malloc(want + 1);
	if (!m->text)
		return -ENOMEM;
	while (got < want && (n = pread(fd, m->text + got, want - got, (off_t)got)) != 0) {
		if (n < 0)
			return -errno;
		got += (size_t)n;
	}
	return perfmap_parse(m, m->text, got);
}

const char *perfmap_find(const struct perfmap *m, uint64_t addr)
{
	const struct perfmap_entry *best = NULL;
	size_t lo = 0, hi = m->n, back;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->entries[mid].lo <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (back = 0; lo-- > 0 && m->entries[lo].max_hi > addr && back < MAX_BACK; back++)
		if (addr < m->entries[lo].hi && (!best || m->entries[lo].line > best->line))
			best = &m->entries[lo];
	return best ? best->name : NULL;
}

void perfmap_release(struct perfmap *m)
{
	free(m->entries);
	free(m->text);
	*m = (struct perfmap){ 0 };
}
