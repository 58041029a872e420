/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http_head.h"

#include <string.h>
#include <strings.h>

#define TRAILER_MOST 8192

size_t head_end(const char *text, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++) {
		if (text[i] != '\n')
			continue;
		if (text[i + 1] == '\n')
			return i + 2;
		if (i + 2 < len && text[i + 1] == '\r' && text[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

const char *head_find(const struct head *h, const char *name)
{
	for (size_t i = 0; i < h->nheaders; i++)
		if (!strcasecmp(h->headers[i].name, name))
			return h->headers[i].value;
	return NULL;
}

/* Letters, digits and what else a header's name may have. */
static bool is_token(const char *s)
{
	size_t n = strspn(
		s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~");

	return n && !s[n];
}

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 127)
			return false;
	return true;
}

static bool parse_status(const char *line, int *ret)
{
	if (strncmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ')
		return false;
	for (size_t i = 9; i < 12; i++)
		if (line[i] < '0' || line[i] > '9')
			return false;
	*ret = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	return (!line[12] || line[12] == ' ') && *ret >= 200 && *ret < 600 && is_plain(line);
}

static bool parse_length(const char *text, int64_t *ret)
{
	int64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > INT64_MAX / 10 - 1)
			return false;
		n = n * 10 + (*text - '0');
	}
	*ret = n;
	return true;
}

static bool take_header(struct head *h, char *line)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (!colon || h->nheaders == HEAD_HEADERS)
		return false;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	for (end = value + strlen(value); end > value && strchr(" \t", end[-1]);)
		*--end = '\0';
	if (!is_token(line) || !is_plain(value))
		return false;
	h->headers[h->nheaders++] = (struct head_header){ line, value };
	return true;
}

bool head_parse(char *text, size_t len, struct head *ret)
{
	struct head h = { .length = -1 };
	const char *value;
	char *rest, *line;

	if (!len || memchr(text, 0, len) || head_end(text, len) != len)
		return false;
	text[len - 1] = '\0'; /* the last newline */
	rest = text;
	for (size_t n = 0; (line = strsep(&rest, "\n")); n++) {
		size_t end = strlen(line);

		if (end && line[end - 1] == '\r')
			line[end - 1] = '\0';
		if (!*line)
			break;
		if (n ? !take_header(&h, line) : !parse_status(line, &h.status))
			return false;
	}
	value = head_find(&h, "Transfer-Encoding");
	if (value && strcasecmp(value, "chunked") != 0 && strcasecmp(value, "identity") != 0)
		return false;
	h.chunked = value && !strcasecmp(value, "chunked");
	value = head_find(&h, "Content-Length");
	/* Both: somebody on the way will take the other one. */
	if (value && (h.chunked || !parse_length(value, &h.length)))
		return false;
	*ret = h;
	return h.status != 0;
}

/* ---- chunks ------------------------------------------------------------------------------------------ */

static int digit(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
	                                            : -1;
}

/* "1a2f;extension\r\n" */
static void size_byte(struct chunks *c, char b)
{
	if (b == '\n') {
		c->state = !c->digits ? CHUNK_BAD : c->left ? CHUNK_DATA : CHUNK_TRAILER;
		c->digits = 0;
		c->extension = false;
		c->empty = true;
	} else if (c->extension || b == '\r') {
		c->trailer++; /* counted with the trailers: neither may go on for ever */
	} else if (digit(b) >= 0 && c->digits < 15) {
		c->left = c->left << 4 | (unsigned int)digit(b);
		c->digits++;
	} else if (c->digits && (b == ';' || b == ' ' || b == '\t')) {
		c->extension = true;
	} else {
		c->state = CHUNK_BAD;
	}
}

void chunks_decode(struct chunks *c, char *data, size_t len, size_t *ret_data)
{
	size_t out = 0;

	for (size_t i = 0; i < len && c->state != CHUNK_DONE && c->state != CHUNK_BAD;) {
		size_t n;

		if (c->trailer > TRAILER_MOST) {
			c->state = CHUNK_BAD;
			break;
		}
		switch (c->state) {
		case CHUNK_DATA:
			n = len - i < c->left ? len - i : (size_t)c->left;
			memmove(data + out, data + i, n);
			out += n;
			i += n;
			c->left -= n;
			if (!c->left)
				c->state = CHUNK_AFTER;
			break;
		case CHUNK_AFTER:
			if (data[i] == '\n')
				c->state = CHUNK_SIZE;
			else if (data[i] != '\r')
				c->state = CHUNK_BAD;
			i++;
			break;
		case CHUNK_TRAILER:
			if (data[i] == '\n' && c->empty)
				c->state = CHUNK_DONE;
			else if (data[i] == '\n')
				c->empty = true;
			else if (data[i] != '\r')
				c->empty = false;
			c->trailer++;
			i++;
			break;
		default:
			size_byte(c, data[i++]);
			break;
		}
	}
	*ret_data = out;
}
