/* SPDX-License-Identifier: Apache-2.0 */
/* Names in pages and pictures: markup.h. */
#include "output/markup.h"

#include <string.h>

#include "base/buf.h"
#include "output/units.h"

void markup_text(struct buf *b, const char *s)
{
	_cleanup_buf_ struct buf clean = { 0 };

	text_clean(&clean, s);
	for (const char *p = clean.data ? clean.data : ""; *p; p++) {
		if (*p == '<')
			buf_puts(b, "&lt;");
		else if (*p == '>')
			buf_puts(b, "&gt;");
		else if (*p == '&')
			buf_puts(b, "&amp;");
		else if (*p == '"')
			buf_puts(b, "&quot;");
		else if (*p == '\'')
			buf_puts(b, "&#39;");
		else if (!strncmp(p, "\xef\xbf\xbe", 3) || !strncmp(p, "\xef\xbf\xbf", 3))
			p += 2; /* XML has no such characters */
		else
			buf_putc(b, *p);
	}
}

void markup_json(struct buf *b, const char *s)
{
	buf_putc(b, '"');
	while (*s) {
		size_t n = utf8_length(s);
		unsigned char c = (unsigned char)*s;

		if (!n)
			buf_puts(b, "\\ufffd");
		else if (c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&')
			buf_printf(b, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (n == 3 && (!strncmp(s, "\xe2\x80\xa8", 3) || !strncmp(s, "\xe2\x80\xa9", 3)))
			buf_printf(b, "\\u%04x", (unsigned char)s[2] == 0xa8 ? 0x2028 : 0x2029);
		else
			buf_add(b, s, n);
		s += n ? n : 1;
	}
	buf_putc(b, '"');
}
