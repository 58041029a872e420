/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing status, smaps and meminfo.
 *
 *     7f12a4e00000-7f12a4e28000 rw-p 00000000 00:00 0      <- a mapping, as in maps
 *     Rss:                 160 kB                          <- what of it: a word, a colon, a number
 *     VmFlags: rd wr mr mw me ac                           <- or words
 *
 * Every kernel has other words, so lines are looked up in a table and unknown ones are passed over.
 * A path may hold whatever the process likes, also "Rss: 1 kB"; but it stands behind an address range in its
 * line, and the kernel writes its newlines as \012.
 */
#include "proc/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/procfs.h"

#define SMAPS_MAX (1u << 30) /* bytes of text: some million mappings */
#define STATUS_MAX (1u << 16)

/* "  1234 kB" in bytes; MEMORY_UNKNOWN when it is no number. */
static uint64_t kilobytes(const char *s)
{
	uint64_t v = 0;

	s += strspn(s, " \t");
	if (*s < '0' || *s > '9')
		return MEMORY_UNKNOWN;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (v > (UINT64_MAX >> 11) / 10)
			return MEMORY_UNKNOWN;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	return v * 1024;
}

/* The text behind "NAME:" at the beginning of a line, or NULL. */
static const char *value_of(const char *line, const char *name, size_t len)
{
	return !strncmp(line, name, len) && line[len] == ':' ? line + len + 1 : NULL;
}

struct word {
	const char *name;
	size_t offset;
};

static bool take_word(const char *line, const struct word *words, size_t n, void *into, bool add)
{
	for (size_t i = 0; i < n; i++) {
		const char *value = value_of(line, words[i].name, strlen(words[i].name));
		uint64_t *field, v;

		if (!value)
			continue;
		field = (uint64_t *)((char *)into + words[i].offset);
		v = kilobytes(value);
		if (!add || v == MEMORY_UNKNOWN)
			*field = v;
		else
			*field = *field == MEMORY_UNKNOWN ? v : *field + v;
		return true;
	}
	return false;
}

/* ---- status ------------------------------------------------------------------- */

#define STATUS(name, field)                                 \
	{                                                   \
		name, offsetof(struct memory_status, field) \
	}

static const struct word status_words[] = {
	STATUS("VmSize", size),      STATUS("VmHWM", peak),        STATUS("VmRSS", rss),
	STATUS("RssAnon", rss_anon), STATUS("RssFile", rss_file),  STATUS("RssShmem", rss_shmem),
	STATUS("VmSwap", swap),      STATUS("VmPTE", page_tables), STATUS("HugetlbPages", hugetlb),
};

void memory_status_parse(const char *text, struct memory_status *ret)
{
	*ret = (struct memory_status){ .name = "" };
	for (size_t i = 0; i < ARRAY_SIZE(status_words); i++)
		*(uint64_t *)((char *)ret + status_words[i].offset) = MEMORY_UNKNOWN;
	ret->threads = MEMORY_UNKNOWN;
	for (const char *line = text; line && *line;) {
		const char *end = strchr(line, '\n'), *value;

		value = value_of(line, "Name", 4);
		if (value && !ret->name[0]) {
			size_t n = end ? (size_t)(end - value) : strlen(value);

			if (n && *value == '\t') {
				value++;
				n--;
			}
			if (n >= sizeof(ret->name))
				n = sizeof(ret->name) - 1;
			memcpy(ret->name, value, n);
		} else if ((value = value_of(line, "Threads", 7))) {
			ret->threads = kilobytes(value);
			if (ret->threads != MEMORY_UNKNOWN)
				ret->threads /= 1024;
		} else {
			take_word(line, status_words, ARRAY_SIZE(status_words), ret, false);
		}
		line = end ? end + 1 : NULL;
	}
}

int memory_status_read(pid_t pid, struct memory_status *ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	int r = procfs_read(pid, "status", STATUS_MAX, &text);

	if (r < 0)
		return r;
	memory_status_parse(text.data ? text.data : "", ret);
	return 0;
}

/* ---- smaps ---------------------------------------------------------------------- */

#define MAP(name, field)                                 \
	{                                                \
		name, offsetof(struct memory_map, field) \
	}

static const struct word map_words[] = {
	MAP("Rss", rss),
	MAP("Pss", pss),
	MAP("Private_Clean", private_clean),
	MAP("Private_Dirty", private_dirty),
	MAP("Anonymous", anonymous),
	MAP("LazyFree", lazy_free),
	MAP("AnonHugePages", anon_huge),
	MAP("ShmemPmdMapped", shmem_huge),
	MAP("Shared_Hugetlb", hugetlb),
	MAP("Private_Hugetlb", hugetlb),
	MAP("Swap", swap),
	MAP("SwapPss", swap_pss),
	MAP("Locked", locked),
};

static bool hexadecimal(const char **p, char end, uint64_t *ret)
{
	uint64_t v = 0;
	const char *s = *p;

	for (;; s++) {
		unsigned int d;

		if (*s >= '0' && *s <= '9')
			d = (unsigned int)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			d = (unsigned int)(*s - 'a') + 10;
		else
			break;
		if (v >> 60)
			return false;
		v = v << 4 | d;
	}
	if (s == *p || *s != end)
		return false;
	*p = s + 1;
	*ret = v;
	return true;
}

/* A mapping's first line, its newline already cut off. */
static bool parse_head(char *line, struct memory_map *ret)
{
	const char *p = line;
	uint64_t v;
	char *rest;

	*ret = (struct memory_map){ .path = "" };
	for (size_t i = 0; i < ARRAY_SIZE(map_words); i++)
		*(uint64_t *)((char *)ret + map_words[i].offset) = MEMORY_UNKNOWN;
	if (!hexadecimal(&p, '-', &ret->start) || !hexadecimal(&p, ' ', &ret->end) ||
	    ret->start >= ret->end || strnlen(p, 5) < 5 || p[4] != ' ')
		return false;
	ret->writable = p[1] == 'w';
	ret->shared = p[3] == 's';
	p += 5;
	if (!hexadecimal(&p, ' ', &v) || !hexadecimal(&p, ':', &v) || !hexadecimal(&p, ' ', &v))
		return false;
	rest = line + (p - line);
	ret->inode = strtoull(rest, &rest, 10);
	rest += strspn(rest, " ");
	ret->path = rest;
	ret->special = !strcmp(rest, "[vsyscall]");
	return true;
}

struct seep_error *memory_maps_parse(char *text, struct memory_maps *ret)
{
	struct memory_maps m = { .text = text };
	size_t room = 0;
	struct memory_map *at = NULL;

	for (char *line = text; line && *line;) {
		char *end = strchr(line, '\n');
		struct memory_map head;

		if (end)
			*end = '\0';
		if (*line >= 'A' && *line <= 'Z') {
			if (at)
				take_word(line, map_words, ARRAY_SIZE(map_words), at, true);
		} else if (parse_head(line, &head) && (!m.n || m.items[m.n - 1].end <= head.start)) {
			if (m.n == room) {
				struct memory_map *grown;

				room = room ? 2 * room : 256;
				grown = realloc(m.items, room * sizeof(*grown));
				if (!grown) {
					memory_maps_release(&m);
					return &seep_error_nomem;
				}
				m.items = grown;
			}
			at = &m.items[m.n++];
			*at = head;
		} else {
			m.dropped++;
			at = NULL;
		}
		line = end ? end + 1 : NULL;
	}
	*ret = m;
	return NULL;
}

struct seep_error *memory_maps_read(pid_t pid, struct memory_maps *ret)
{
	struct buf text = { 0 };
	int r = procfs_read(pid, "smaps", SMAPS_MAX, &text);

	if (r < 0) {
		buf_release(&text);
		return seep_error_new(-r, "cannot read /proc/%d/smaps", (int)pid);
	}
	if (buf_putc(&text, '\0') < 0) {
		buf_release(&text);
		return &seep_error_nomem;
	}
	return memory_maps_parse(text.data, ret);
}

void memory_maps_release(struct memory_maps *m)
{
	free(m->items);
	free(m->text);
	*m = (struct memory_maps){ 0 };
}

const struct memory_map *memory_map_of(const struct memory_maps *m, uint64_t addr)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->items[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < m->n && m->items[lo].start <= addr ? &m->items[lo] : NULL;
}

void memory_maps_sum(const struct memory_maps *m, struct memory_map *ret)
{
	*ret = (struct memory_map){ .path = "" };
	for (size_t i = 0; i < m->n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(map_words); k++) {
			uint64_t *to = (uint64_t *)((char *)ret + map_words[k].offset);
			uint64_t v = *(const uint64_t *)((const char *)&m->items[i] +
			                                 map_words[k].offset);

			/* "Private_Hugetlb" and "Shared_Hugetlb" are one field: once is enough. */
			if (v == MEMORY_UNKNOWN ||
			    (k && map_words[k].offset == map_words[k - 1].offset))
				continue;
			if (__builtin_add_overflow(*to, v, to))
				*to = MEMORY_UNKNOWN - 1;
		}
}

int memory_rollup_read(pid_t pid, struct memory_map *ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct memory_maps m = { 0 };
	struct seep_error *err;
	int r = procfs_read(pid, "smaps_rollup", STATUS_MAX, &text);

	if (r < 0)
		return r;
	if (buf_putc(&text, '\0') < 0)
		return -ENOMEM;
	err = memory_maps_parse(buf_steal(&text), &m);
	if (err) {
		seep_error_free(err);
		return -ENOMEM;
	}
	r = m.n == 1 ? 0 : -EPROTO;
	if (!r) {
		*ret = m.items[0];
		ret->path = "";
	}
	memory_maps_release(&m);
	return r;
}

/* ---- the machine ------------------------------------------------------------------ */

uint64_t memory_available_parse(const char *text)
{
	for (const char *line = text; line && *line;) {
		const char *value = value_of(line, "MemAvailable", 12), *end = strchr(line, '\n');

		if (value)
			return kilobytes(value);
		line = end ? end + 1 : NULL;
	}
	return MEMORY_UNKNOWN;
}

uint64_t memory_available(void)
{
	_cleanup_buf_ struct buf text = { 0 };

	if (procfs_read_file("/proc/meminfo", STATUS_MAX, &text) < 0)
		return MEMORY_UNKNOWN;
	return memory_available_parse(text.data ? text.data : "");
}
