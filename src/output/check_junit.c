/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JUnit XML, for the test pages of CI systems: a process is a testsuite, a leak record a testcase, which
 * fails when the check does because of it.  A check without records still has one testcase, since a
 * suite without any looks as if nothing had run.
 *
 * XML 1.0 can not express most control characters, escaped or not: they become U+FFFD, as do bytes
 * that are no UTF-8.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "output/check_private.h"
#include "output/units.h"

#define REPLACEMENT "\xef\xbf\xbd"

static void put_xml(struct buf *b, const char *s)
{
	while (*s) {
		size_t n = utf8_length(s);
		unsigned char c = (unsigned char)*s;

		if (!n)
			buf_puts(b, REPLACEMENT);
		else if (c == '&')
			buf_puts(b, "&amp;");
		else if (c == '<')
			buf_puts(b, "&lt;");
		else if (c == '>')
			buf_puts(b, "&gt;");
		else if (c == '"')
			buf_puts(b, "&quot;");
		else if (c == '\n' || c == '\t')
			buf_printf(b, "&#%d;", c);
		else if (c < 0x20 || c == 0x7f ||
		         (n == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0) ||
		         !strncmp(s, "\xef\xbf\xbe", 3) || !strncmp(s, "\xef\xbf\xbf", 3))
			buf_puts(b, REPLACEMENT);
		else
			buf_add(b, s, n);
		s += n ? n : 1;
	}
}

static void put_attribute(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, " %s=\"", name);
	put_xml(b, value);
	buf_putc(b, '"');
}

static bool is_case(const struct leak_record *r, const struct check_report_options *o)
{
	return check_record_shown(r, o->show_kinds | o->fail_on);
}

static void put_stack(struct buf *b, const struct check_stacks *s, const struct leak_record *r)
{
	uint32_t node = check_leaf(s, r);
	size_t n = check_depth(s, node);
	struct location_text text;

	if (!node) {
		put_xml(b, check_no_stack(s->c, r));
		buf_putc(b, '\n');
	}
	for (; node && n--; node = s->view->nodes[node].parent) {
		report_location(&s->report, s->view->nodes[node].location, &text);
		put_xml(b, text.function);
		buf_puts(b, "  ");
		put_xml(b, text.where);
		buf_putc(b, '\n');
	}
}

static void put_case(struct buf *b, const struct check_stacks *s, const struct leak_record *r,
                     const struct check_report_options *o)
{
	_cleanup_buf_ struct buf name = { 0 }, sentence = { 0 }, what = { 0 };
	uint32_t culprit = check_culprit(s, check_leaf(s, r));
	struct location_text text;

	/* the numbers change from run to run, the name of a test must not */
	buf_printf(&name, "%s: ", check_class_words[r->class]);
	if (culprit) {
		report_location(&s->report, s->view->nodes[culprit].location, &text);
		buf_puts(&name, text.function);
	} else if (r->content == CONTENT_VTABLE && r->what) {
		buf_puts(&name, r->what);
	} else {
		buf_puts(&name, "stack unknown");
	}
	buf_printf(&name, " [%s]", r->fingerprint);
	buf_puts(b, "    <testcase");
	put_attribute(b, "classname", "seep.leaks");
	put_attribute(b, "name", name.data ? name.data : "");
	if (!check_record_fails(r, o->fail_on)) {
		buf_puts(b, "/>\n");
		return;
	}
	check_record_sentence(&sentence, r);
	check_record_what(&what, r);
	buf_puts(b, ">\n      <failure");
	put_attribute(b, "type", check_class_keys[r->class]);
	put_attribute(b, "message", sentence.data ? sentence.data : "");
	buf_putc(b, '>');
	put_xml(b, sentence.data ? sentence.data : "");
	buf_putc(b, '\n');
	if (what.len) {
		put_xml(b, what.data);
		buf_putc(b, '\n');
	}
	put_stack(b, s, r);
	buf_puts(b, "</failure>\n    </testcase>\n");
}

static struct seep_error *put_suite(struct buf *b, const struct check *c,
                                    const struct check_report_options *o)
{
	_cleanup_check_stacks_ struct check_stacks s = { 0 };
	struct seep_error *err = check_stacks_init(&s, c, o, NULL);
	struct check_failures f = check_failures(c, o->fail_on);
	_cleanup_buf_ struct buf name = { 0 };
	size_t cases = 0;

	if (err)
		return err;
	for (size_t i = 0; i < c->leaks.n; i++)
		cases += is_case(&c->leaks.records[i], o);
	buf_printf(&name, "%s (pid %d, %s%s%s)", check_command(c), c->pid,
	           check_moment_key(c->moment), c->name ? " " : "", c->name ? c->name : "");
	buf_puts(b, "  <testsuite");
	put_attribute(b, "name", name.data ? name.data : "");
	buf_printf(b, " tests=\"%zu\" failures=\"%llu\" errors=\"0\" skipped=\"0\">\n",
	           cases ? cases : 1, (unsigned long long)f.records);
	for (size_t i = 0; i < c->leaks.n; i++)
		if (is_case(&c->leaks.records[i], o))
			put_case(b, &s, &c->leaks.records[i], o);
	if (!cases)
		buf_puts(b, "    <testcase classname=\"seep.leaks\" name=\"no leaks\"/>\n");
	buf_puts(b, "  </testsuite>\n");
	return NULL;
}

struct seep_error *check_junit(struct buf *out, const struct check *const *checks, size_t n,
                               const struct check_report_options *o)
{
	struct seep_error *err = NULL;
	uint64_t tests = 0, failures = 0;

	for (size_t i = 0; i < n; i++) {
		size_t cases = 0;

		for (size_t j = 0; j < checks[i]->leaks.n; j++)
			cases += is_case(&checks[i]->leaks.records[j], o);
		tests += cases ? cases : 1;
		failures += check_failures(checks[i], o->fail_on).records;
	}
	buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	buf_printf(out,
	           "<testsuites name=\"seep check\" tests=\"%llu\" failures=\"%llu\" errors=\"0\">\n",
	           (unsigned long long)tests, (unsigned long long)failures);
	for (size_t i = 0; !err && i < n; i++)
		err = put_suite(out, checks[i], o);
	buf_puts(out, "</testsuites>\n");
	return err ? err : out->failed ? &seep_error_nomem : NULL;
}
