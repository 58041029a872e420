/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing /proc/PID/maps.
 *
 *     7f12a4e00000-7f12a4e28000 r--p 00000000 fe:00 1835   /usr/lib/x86_64-linux-gnu/libc.so.6
 *
 * The text is kept and its paths are cut out in place, so that fifty thousand mappings cost two
 * allocations.  A path is the process's choice and may hold anything; the kernel writes a newline
 * as \012, so a line is a line.  Lines that do not parse are counted and left out, and so is a mapping
 * that does not come after the one before: a running process's maps are read page by page, and a
 * mapping that moves meanwhile can show up twice.
 */
#include "proc/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/procfs.h"

#define MAPS_MAX (512u << 20) /* bytes of text: some four million mappings */

/* A number of `base` at *p, ended by `end`; false: none, too long, or another end. */
static bool number(char **p, unsigned int base, char end, uint64_t *ret)
{
	uint64_t v = 0;
	char *s = *p;

	for (;; s++) {
		unsigned int d;

		if (*s >= '0' && *s <= '9')
			d = (unsigned int)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			d = (unsigned int)(*s - 'a') + 10;
		else
			break;
		if (d >= base || v > (UINT64_MAX - d) / base)
			return false;
		v = v * base + d;
	}
	if (s == *p || *s != end)
		return false;
	*p = s + 1;
	*ret = v;
	return true;
}

static bool flag(char c, char yes, uint32_t bit, uint32_t *flags)
{
	if (c == yes)
		*flags |= bit;
	return c == yes || c == '-';
}

/* "\012" becomes a newline again, in place. */
static void unescape(char *s)
{
	char *out = s;

	if (!strstr(s, "\\012"))
		return;
	while (*s) {
		if (strncmp(s, "\\012", 4) == 0) {
			*out++ = '\n';
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

static bool parse_line(char *line, struct image_map *ret)
{
	uint64_t major, minor;
	char *p = line;

	*ret = (struct image_map){ 0 };
	if (!number(&p, 16, '-', &ret->start) || !number(&p, 16, ' ', &ret->end))
		return false;
	if (strnlen(p, 5) < 5 || p[4] != ' ' || (p[3] != 'p' && p[3] != 's'))
		return false;
	if (!flag(p[0], 'r', IMAGE_READ, &ret->flags) ||
	    !flag(p[1], 'w', IMAGE_WRITE, &ret->flags) || !flag(p[2], 'x', IMAGE_EXEC, &ret->flags))
		return false;
	if (p[3] == 's')
		ret->flags |= IMAGE_SHARED;
	p += 5;
	if (!number(&p, 16, ' ', &ret->offset) || !number(&p, 16, ':', &major) ||
	    !number(&p, 16, ' ', &minor) || major > UINT32_MAX || minor > UINT32_MAX)
		return false;
	ret->dev = major << 32 | minor;
	/* The inode is followed by blanks and a path, or by one blank, or by nothing. */
	if (p[strspn(p, "0123456789")] == '\0') {
		if (!number(&p, 10, '\0', &ret->inode))
			return false;
		ret->path = "";
	} else {
		if (!number(&p, 10, ' ', &ret->inode))
			return false;
		p += strspn(p, " ");
		unescape(p);
		ret->path = p;
	}
	return ret->start < ret->end && !(ret->start & 4095) && !(ret->end & 4095);
}

struct seep_error *maps_parse(char *text, size_t len, struct maps *ret)
{
	struct maps m = { .text = text };
	size_t lines = 0;
	char *p = text;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	m.items = calloc(lines + 1, sizeof(*m.items));
	if (!m.items) {
		free(text);
		return &seep_error_nomem;
	}
	while (p < text + len) {
		char *end = memchr(p, '\n', (size_t)(text + len - p));
		struct image_map map;

		if (!end)
			break; /* a last line without its end is half a line */
		*end = '\0';
		if (parse_line(p, &map) && (!m.n || map.start >= m.items[m.n - 1].end))
			m.items[m.n++] = map;
		else
			m.dropped++;
		p = end + 1;
	}
	*ret = m;
	return NULL;
}

struct seep_error *maps_read(pid_t pid, struct maps *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int r = procfs_read(pid, "maps", MAPS_MAX, &b);
	size_t len = b.len;
	char *text;

	if (r && r != -EFBIG)
		return seep_error_new(-r, "cannot read the mappings of process %d", (int)pid);
	text = buf_steal(&b);
	if (!text)
		return &seep_error_nomem;
	return maps_parse(text, len, ret);
}

void maps_release(struct maps *m)
{
	free(m->items);
	free(m->text);
	*m = (struct maps){ 0 };
}
