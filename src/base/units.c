/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and text as people read them: see units.h. */
#include "base/units.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Three significant digits, which is what a person compares at a glance. */
static void three_digits(struct buf *b, double v)
{
	if (v < 9.995)
		buf_printf(b, "%.2f", v);
	else if (v < 99.95)
		buf_printf(b, "%.1f", v);
	else
		buf_printf(b, "%.0f", v);
}

void unit_bytes(struct buf *b, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes / 1024;
	size_t u = 0;

	if (bytes < 1024) {
		buf_printf(b, "%u B", (unsigned int)bytes);
		return;
	}
	for (; v >= 1023.5 && u + 1 < ARRAY_SIZE(units); u++)
		v /= 1024;
	three_digits(b, v);
	buf_printf(b, " %s", units[u]);
}

void unit_count(struct buf *b, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf_putc(b, ',');
		buf_putc(b, digits[i]);
	}
}

void unit_ratio(struct buf *b, double ratio)
{
	double percent = ratio * 100;

	if (percent > 0 && percent < 0.05)
		buf_puts(b, "<0.1 %");
	else
		buf_printf(b, "%.1f %%", percent);
}

void unit_duration(struct buf *b, uint64_t ns)
{
	uint64_t s = (ns + 500000000) / 1000000000;

	if (!ns)
		buf_puts(b, "0 s");
	else if (ns < 1000)
		buf_printf(b, "%u ns", (unsigned int)ns);
	else if (ns < 999500)
		three_digits(b, (double)ns / 1e3), buf_puts(b, " µs");
	else if (ns < 999500000)
		three_digits(b, (double)ns / 1e6), buf_puts(b, " ms");
	else if (ns < 59950000000)
		three_digits(b, (double)ns / 1e9), buf_puts(b, " s");
	else if (s < 3600)
		buf_printf(b, "%u min %u s", (unsigned int)(s / 60), (unsigned int)(s % 60));
	else if (s < 86400)
		buf_printf(b, "%u h %u min", (unsigned int)(s / 3600), (unsigned int)(s / 60 % 60));
	else
		buf_printf(b, "%llu d %u h", (unsigned long long)(s / 86400),
		           (unsigned int)(s / 3600 % 24));
}

void unit_time(struct buf *b, uint64_t epoch_ns)
{
	time_t t = (time_t)(epoch_ns / 1000000000);
	char text[64];
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm))
		return;
	buf_puts(b, text);
}

/* ---- text ---------------------------------------------------------------- */

size_t utf8_length(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = p[0] < 0x80   ? 1
	           : p[0] < 0xc2 ? 0
	           : p[0] < 0xe0 ? 2
	           : p[0] < 0xf0 ? 3
	           : p[0] < 0xf5 ? 4
	                         : 0;

	if (!p[0])
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates and what lies beyond U+10FFFF */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

size_t text_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void text_clean(struct buf *b, const char *s)
{
	while (*s) {
		size_t n = utf8_length(s);
		unsigned char c = (unsigned char)*s;

		/* C0, DEL, and the C1 controls (U+0080..U+009F), which terminals obey too */
		if (!n || c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[1] < 0xa0))
			buf_puts(b, REPLACEMENT);
		else
			buf_add(b, s, n);
		s += n ? n : 1;
	}
}

static const char *skip_columns(const char *s, size_t columns)
{
	while (*s && columns--)
		do
			s++;
		while (((unsigned char)*s & 0xc0) == 0x80);
	return s;
}

void text_cut(struct buf *b, const char *s, size_t columns, int keep_end)
{
	size_t have = text_columns(s);

	if (have <= columns) {
		buf_puts(b, s);
	} else if (!columns) {
		return;
	} else if (keep_end) {
		buf_puts(b, "…");
		buf_puts(b, skip_columns(s, have - columns + 1));
	} else {
		buf_add(b, s, (size_t)(skip_columns(s, columns - 1) - s));
		buf_puts(b, "…");
	}
}
