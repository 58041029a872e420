/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading suppression files.
 *
 * Both formats are made of lines, blanks around them and lines that begin with # do not count.  The first line
 * that counts tells which it is: `{` opens a valgrind rule, TYPE:PATTERN is LeakSanitizer's.
 * Files are people's work, copied together from logs over years: what is wrong is said with its line, and
 * nothing is skipped in silence but rules for other tools, which are counted.
 *
 *     {                                    leak:libfoo.so
 *        a name                            leak:^bar::init*$
 *        Memcheck:Leak                     race:other        (another sanitizer's: skipped)
 *        match-leak-kinds: definite
 *        fun:malloc
 *        ...
 *        obj:*libfoo.so*
 *     }
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/suppress_private.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"

#define MAX_FILE (16u << 20)
#define MAX_LINE 16384
#define MAX_PATTERNS 256

#define LEAK_CLASSES \
	(1u << REACH_REACHABLE | 1u << REACH_POSSIBLE | 1u << REACH_INDIRECT | 1u << REACH_DEFINITE)

struct reader {
	struct suppressions *s;
	const char *at, *end;
	const char *name;    /* of the file */
	size_t line;         /* of `text` */
	char text[MAX_LINE]; /* the line, trimmed */
};

/* The line as an error quotes it: short, and nothing in it that a terminal would obey. */
static const char *quoted(const struct reader *r, char *buf, size_t size)
{
	size_t n = 0;

	for (const char *p = r->text; *p && n + 1 < size; p++)
		buf[n++] = (unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f ? '?' : *p;
	buf[n] = '\0';
	return buf;
}

static struct seep_error *bad_line(const struct reader *r, const char *what)
{
	char text[64];

	return seep_error_new(0, "%s:%zu: %s, not '%s'", r->name, r->line, what,
	                      quoted(r, text, sizeof(text)));
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* The next line that counts; *ret_more false: the end. */
static struct seep_error *next_line(struct reader *r, bool *ret_more)
{
	while (r->at < r->end) {
		const char *eol = memchr(r->at, '\n', (size_t)(r->end - r->at));
		const char *first = r->at, *last = eol ? eol : r->end;

		r->line++;
		r->at = eol ? eol + 1 : r->end;
		while (first < last && is_blank(*first))
			first++;
		while (first < last && is_blank(last[-1]))
			last--;
		if (first == last || *first == '#')
			continue;
		if (last - first >= MAX_LINE)
			return seep_error_new(0, "%s:%zu: the line is longer than %d bytes",
			                      r->name, r->line, MAX_LINE - 1);
		memcpy(r->text, first, (size_t)(last - first));
		r->text[last - first] = '\0';
		*ret_more = true;
		return NULL;
	}
	*ret_more = false;
	return NULL;
}

/* ---- valgrind ----------------------------------------------------------------------------- */

/* Is `word` one of a list with commas? */
static bool is_listed(const char *list, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p <= list + len;) {
		const char *comma = memchr(p, ',', (size_t)(list + len - p));
		const char *end = comma ? comma : list + len;

		if ((size_t)(end - p) == n && !memcmp(p, word, n))
			return true;
		p = end + 1;
	}
	return false;
}

static struct seep_error *parse_kinds(const struct reader *r, const char *list, unsigned int *ret)
{
	static const struct {
		const char *name;
		unsigned int classes;
	} kinds[] = {
		{ "definite", 1u << REACH_DEFINITE },
		{ "indirect", 1u << REACH_INDIRECT },
		{ "possible", 1u << REACH_POSSIBLE },
		{ "reachable", 1u << REACH_REACHABLE },
		{ "all", LEAK_CLASSES },
		{ "none", 0 },
	};

	*ret = 0;
	for (const char *p = list;;) {
		size_t len, i;

		p += strspn(p, " \t,");
		if (!*p)
			return NULL;
		len = strcspn(p, " \t,");
		for (i = 0; i < ARRAY_SIZE(kinds); i++)
			if (strlen(kinds[i].name) == len && !strncmp(p, kinds[i].name, len))
				break;
		if (i == ARRAY_SIZE(kinds))
			return bad_line(
				r,
				"match-leak-kinds takes definite, indirect, possible, reachable, all or none");
		*ret |= kinds[i].classes;
		p += len;
	}
}

/* The name a compiler's clone of a function was made from; NULL: not a clone. */
static char *without_clone(const char *glob)
{
	static const char *const marks[] = { ".constprop.", ".isra.", ".part.", ".cold",
		                             ".lto_priv." };

	for (const char *p = glob; (p = strchr(p, '.')); p++)
		for (size_t i = 0; p > glob && i < ARRAY_SIZE(marks); i++)
			if (!strncmp(p, marks[i], strlen(marks[i])))
				return strndup(glob, (size_t)(p - glob));
	return NULL;
}

static struct seep_error *add_pattern(struct suppress_entry *e, enum suppress_what what,
                                      const char *glob)
{
	struct suppress_pattern *grown = reallocarray(e->patterns, e->npatterns + 1, sizeof(*grown));
	struct suppress_pattern *p;
	char *colon;
	uint64_t line;

	if (!grown)
		return &seep_error_nomem;
	e->patterns = grown;
	p = &e->patterns[e->npatterns++];
	*p = (struct suppress_pattern){ .what = what };
	if (what == SUPPRESS_ANY)
		return NULL;
	p->glob = strdup(glob);
	if (!p->glob)
		return &seep_error_nomem;
	if (what == SUPPRESS_FUN)
		p->plain = without_clone(glob);
	colon = what == SUPPRESS_SRC ? strrchr(p->glob, ':') : NULL;
	if (colon && !parse_u64(colon + 1, &line) && line <= UINT32_MAX) {
		*colon = '\0';
		p->line = (uint32_t)line;
	}
	return NULL;
}

static struct seep_error *parse_pattern(struct reader *r, struct suppress_entry *e)
{
	static const struct {
		const char *prefix;
		enum suppress_what what;
	} kinds[] = {
		{ "fun:", SUPPRESS_FUN },
		{ "obj:", SUPPRESS_OBJ },
		{ "src:", SUPPRESS_SRC },
	};

	if (e->npatterns == MAX_PATTERNS)
		return seep_error_new(0, "%s:%zu: a rule has at most %d frames", r->name, r->line,
		                      MAX_PATTERNS);
	if (!strcmp(r->text, "..."))
		return add_pattern(e, SUPPRESS_ANY, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *glob = r->text + 4;

		if (strncmp(r->text, kinds[i].prefix, 4))
			continue;
		if (!*glob)
			return bad_line(r, "fun:, obj: and src: are followed by a pattern");
		return add_pattern(e, kinds[i].what, glob);
	}
	if (!strcmp(r->text, "{"))
		return seep_error_new(0,
		                      "%s:%zu: a rule begins inside another one: is a '}' missing?",
		                      r->name, r->line);
	return bad_line(r, "expected fun:, obj:, src:, ... or }");
}

/* The lines of a leak rule after its second, up to the closing brace. */
static struct seep_error *parse_body(struct reader *r, struct suppress_entry *e, bool *ret_closed)
{
	static const char kinds[] = "match-leak-kinds:";
	struct seep_error *err;
	bool more, real = false;

	e->classes = LEAK_CLASSES;
	*ret_closed = false;
	for (;;) {
		err = next_line(r, &more);
		if (err || !more)
			return err;
		if (!strcmp(r->text, "}"))
			break;
		if (!e->npatterns && !strncmp(r->text, kinds, sizeof(kinds) - 1))
			err = parse_kinds(r, r->text + sizeof(kinds) - 1, &e->classes);
		else
			err = parse_pattern(r, e);
		if (err)
			return err;
		real |= e->npatterns && e->patterns[e->npatterns - 1].what != SUPPRESS_ANY;
	}
	*ret_closed = true;
	return real ? NULL
	            : seep_error_new(0, "%s:%zu: the rule names no function, object or file",
	                             r->name, r->line);
}

static struct seep_error *skip_body(struct reader *r, bool *ret_closed)
{
	struct seep_error *err;
	bool more;

	*ret_closed = false;
	for (;;) {
		err = next_line(r, &more);
		if (err || !more)
			return err;
		if (!strcmp(r->text, "}"))
			break;
		if (!strcmp(r->text, "{"))
			return seep_error_new(
				0, "%s:%zu: a rule begins inside another one: is a '}' missing?",
				r->name, r->line);
	}
	r->s->skipped++;
	*ret_closed = true;
	return NULL;
}

static struct seep_error *unclosed(const struct reader *r, size_t opened)
{
	return seep_error_new(0, "%s:%zu: the rule that begins here is never closed by a '}'",
	                      r->name, opened);
}

static int set_shown(struct suppress_entry *e, const struct reader *r, size_t line, const char *name)
{
	e->shown.name = strdup(name);
	return !e->shown.name || asprintf(&e->shown.origin, "%s:%zu", r->name, line) < 0 ? -1 : 0;
}

/* One rule; the line at hand is its opening brace. */
static struct seep_error *valgrind_rule(struct reader *r)
{
	struct suppress_entry *e = calloc(1, sizeof(*e));
	bool more = false, closed = false;
	size_t opened = r->line;
	struct seep_error *err = e ? next_line(r, &more) : &seep_error_nomem;
	const char *colon;

	if (!err && !more)
		err = unclosed(r, opened);
	if (!err && set_shown(e, r, opened, r->text) < 0) {
		e->shown.origin = NULL;
		err = &seep_error_nomem;
	}
	if (!err)
		err = next_line(r, &more);
	if (!err && !more)
		err = unclosed(r, opened);
	colon = err ? NULL : strchr(r->text, ':');
	if (!err && !colon)
		err = bad_line(r,
		               "expected TOOL:KIND, such as Memcheck:Leak, on a rule's second line");
	if (err) {
		suppress_entry_free(e);
		return err;
	}
	if (!is_listed(r->text, (size_t)(colon - r->text), "Memcheck") || strcmp(colon + 1, "Leak")) {
		suppress_entry_free(e);
		err = skip_body(r, &closed);
		return err || closed ? err : unclosed(r, opened);
	}
	err = parse_body(r, e, &closed);
	if (!err && !closed)
		err = unclosed(r, opened);
	if (err) {
		suppress_entry_free(e);
		return err;
	}
	return suppress_add(r->s, e);
}

static struct seep_error *parse_valgrind(struct reader *r)
{
	struct seep_error *err = NULL;
	bool more = true;

	while (!err && more) {
		if (strcmp(r->text, "{"))
			return seep_error_hint(
				bad_line(r, "expected the '{' of a valgrind rule"),
				"Lines of a log between the rules must go; valgrind's --log-file keeps "
				"them apart.");
		err = valgrind_rule(r);
		if (!err)
			err = next_line(r, &more);
	}
	return err;
}

/* ---- LeakSanitizer --------------------------------------------------------------------------- */

/* TYPE:PATTERN with a type as sanitizers have them: letters, digits, _ and -. */
static const char *sanitizer_pattern(const char *line)
{
	size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n && line[n] == ':' ? line + n + 1 : NULL;
}

/* A pattern is a substring unless anchored: an open end is a star of the glob. */
static struct seep_error *lsan_rule(struct reader *r, const char *pattern)
{
	struct suppress_entry *e = calloc(1, sizeof(*e));
	_cleanup_buf_ struct buf glob = { 0 };
	struct seep_error *err;
	size_t len = strlen(pattern);
	bool start = *pattern == '^';
	bool end = len > start && pattern[len - 1] == '$';

	if (!e)
		return &seep_error_nomem;
	e->shown.lsan = true;
	e->classes = LEAK_CLASSES;
	if (set_shown(e, r, r->line, pattern) < 0) {
		e->shown.origin = NULL;
		suppress_entry_free(e);
		return &seep_error_nomem;
	}
	buf_puts(&glob, start ? "" : "*");
	buf_add(&glob, pattern + start, len - start - end);
	buf_puts(&glob, end ? "" : "*");
	err = glob.failed ? &seep_error_nomem
	                  : add_pattern(e, SUPPRESS_OBJ, glob.data ? glob.data : "");
	if (err) {
		suppress_entry_free(e);
		return err;
	}
	return suppress_add(r->s, e);
}

static struct seep_error *parse_lsan(struct reader *r)
{
	struct seep_error *err = NULL;
	bool more = true;

	while (!err && more) {
		const char *pattern = sanitizer_pattern(r->text);

		if (!pattern)
			return bad_line(r, "expected leak:PATTERN");
		if (!strncmp(r->text, "leak:", 5)) {
			pattern += strspn(pattern, " \t");
			if (!*pattern)
				return bad_line(r, "leak: is followed by a pattern");
			err = lsan_rule(r, pattern);
		} else {
			r->s->skipped++;
		}
		if (!err)
			err = next_line(r, &more);
	}
	return err;
}

/* ---- entry points -------------------------------------------------------------------------------- */

struct seep_error *suppressions_add_text(struct suppressions *s, const char *text, size_t len,
                                         const char *name)
{
	_cleanup_free_ struct reader *r = calloc(1, sizeof(*r));
	struct seep_error *err;
	bool more;

	if (!r)
		return &seep_error_nomem;
	if (len && memchr(text, 0, len))
		return seep_error_new(0, "%s is no suppression file: it has binary content", name);
	r->s = s;
	r->at = text;
	r->end = text + len;
	r->name = name;
	err = len ? next_line(r, &more) : NULL;
	if (err || !len || !more)
		return err;
	if (!strcmp(r->text, "{"))
		return parse_valgrind(r);
	if (sanitizer_pattern(r->text))
		return parse_lsan(r);
	return seep_error_hint(
		bad_line(r, "expected the '{' of a valgrind rule or leak:PATTERN"),
		"Suppressions are read as valgrind (--suppressions) and LeakSanitizer (suppressions=) "
		"have them.");
}

struct seep_error *suppressions_add_file(struct suppressions *s, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_buf_ struct buf text = { 0 };
	char chunk[65536];
	ssize_t n;

	if (fd < 0)
		return seep_error_new(errno, "cannot open the suppressions in %s", path);
	for (;;) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return seep_error_new(errno, "cannot read the suppressions in %s", path);
		if (!n)
			break;
		if (buf_add(&text, chunk, (size_t)n) < 0)
			return &seep_error_nomem;
		if (text.len > MAX_FILE)
			return seep_error_new(0,
			                      "%s is no suppression file: it has more than %u MiB",
			                      path, MAX_FILE >> 20);
	}
	return suppressions_add_text(s, text.data, text.len, path);
}
