/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines, from one table per command.
 *
 * getopt_long() would need each option twice more (its own table and a switch)
 * and a help text a third time.  Here one row says everything: how an option is
 * spelled, what its value is, where it goes and what `-h` prints.  Operands are
 * collected in front, so a command reads argv[1..n] afterwards.
 */
#include "cli/cli.h"
#include "cli/nearest.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	const struct cli_option *opts;
	const char *command;
	int argc;
	char **argv;
	int at; /* the next argument */
};

static void complain(const struct parser *ps, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void complain(const struct parser *ps, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "seep %s: ", ps->command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n`seep %s -h` lists its options.\n", ps->command);
}

static int unknown(const struct parser *ps, const char *name, size_t len)
{
	char typed[64];
	struct nearest near = nearest_to(typed);

	snprintf(typed, sizeof(typed), "%.*s", (int)len, name);
	for (const struct cli_option *o = ps->opts; o->type != CLI_END; o++)
		if (o->help)
			nearest_try(&near, o->name);
	if (near.best)
		complain(ps, "there is no option --%.*s; did you mean --%s?", (int)len, name,
		         near.best);
	else
		complain(ps, "there is no option --%.*s", (int)len, name);
	return -1;
}

static bool is_number(enum cli_type type)
{
	return type == CLI_U64 || type == CLI_SIZE || type == CLI_DURATION || type == CLI_PERCENT;
}

/* Stores text as o's value; 0 or negative errno. */
static int store(const struct cli_option *o, const char *text)
{
	struct cli_list *list = o->target;
	const char **grown;

	switch (o->type) {
	case CLI_STRING:
		*(const char **)o->target = text;
		return 0;
	case CLI_LIST:
		grown = reallocarray(list->items, list->n + 2, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		list->items = grown;
		list->items[list->n++] = text;
		list->items[list->n] = NULL;
		return 0;
	case CLI_U64:
		return parse_u64(text, o->target);
	case CLI_SIZE:
		return parse_size(text, o->target);
	case CLI_DURATION:
		return parse_duration(text, o->target);
	case CLI_PERCENT:
		return parse_percent(text, o->target);
	case CLI_FLAG:
	case CLI_END:
		break;
	}
	return -EINVAL;
}

static const char *what_is_wanted(enum cli_type type)
{
	switch (type) {
	case CLI_U64:
		return "a whole number";
	case CLI_SIZE:
		return "a size such as 4096, 512K or 1.5M";
	case CLI_DURATION:
		return "a time such as 250ms, 90s or 1h30m";
	case CLI_PERCENT:
		return "a percentage from 0 to 100";
	default:
		return "a value";
	}
}

static int set(struct parser *ps, const struct cli_option *o, const char *shown, const char *value,
               bool on)
{
	int r;

	if (o->given)
		*o->given = true;
	if (o->type == CLI_FLAG) {
		*(bool *)o->target = on;
		return 0;
	}
	if (!value && ps->at < ps->argc) {
		const char *next = ps->argv[ps->at];

		/* An optional number is taken from the next argument when that is one: `--sample 512K`. */
		if (!o->optional) {
			value = next;
			ps->at++;
		} else if (is_number(o->type) && !store(o, next)) {
			ps->at++;
			return 0;
		}
	}
	if (!value) {
		if (o->optional)
			return 0;
		complain(ps, "%s needs %s: %s %s", shown, what_is_wanted(o->type), shown,
		         o->value ? o->value : "VALUE");
		return -1;
	}
	r = store(o, value);
	if (r < 0) {
		if (r == -ENOMEM)
			complain(ps, "out of memory");
		else
			complain(ps, "%s %s: wanted %s%s", shown, value, what_is_wanted(o->type),
			         r == -ERANGE ? ", in range" : "");
		return -1;
	}
	return 0;
}

/* As valgrind's flags are written: --gen-suppressions=all.  -1: something else. */
static int yes_or_no(const char *value)
{
	if (!strcmp(value, "yes") || !strcmp(value, "all"))
		return 1;
	return !strcmp(value, "no") ? 0 : -1;
}

/* "--name", "--name=value", "--no-name" */
static int long_option(struct parser *ps, char *arg)
{
	const char *name = arg + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);

	for (const struct cli_option *o = ps->opts; o->type != CLI_END; o++) {
		if (strlen(o->name) == len && !memcmp(o->name, name, len)) {
			int on = o->type == CLI_FLAG && eq ? yes_or_no(eq + 1) : 1;

			if (on < 0) {
				complain(ps, "--%s takes no value but yes and no", o->name);
				return -1;
			}
			return set(ps, o, arg, eq && o->type != CLI_FLAG ? eq + 1 : NULL, on);
		}
		if (o->type == CLI_FLAG && len > 3 && !strncmp(name, "no-", 3) &&
		    strlen(o->name) == len - 3 && !memcmp(o->name, name + 3, len - 3))
			return set(ps, o, arg, NULL, false);
	}
	return unknown(ps, name, len);
}

/* "-q", "-qv", "-ofile", "-o file" */
static int short_options(struct parser *ps, const char *arg)
{
	for (const char *p = arg + 1; *p; p++) {
		const struct cli_option *o = ps->opts;
		char shown[3] = { '-', *p, 0 };

		while (o->type != CLI_END && o->letter != *p)
			o++;
		if (o->type == CLI_END) {
			complain(ps, "there is no option -%c", *p);
			return -1;
		}
		if (o->type != CLI_FLAG)
			return set(ps, o, shown, p[1] ? p + 1 : NULL, true);
		if (set(ps, o, shown, NULL, true) < 0)
			return -1;
	}
	return 0;
}

static const struct cli_command *command_row(const char *name)
{
	for (const struct cli_command *c = cli_commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static void print_option(const struct cli_option *o)
{
	_cleanup_buf_ struct buf left = { 0 };

	if (o->letter)
		buf_printf(&left, "  -%c, --%s", o->letter, o->name);
	else
		buf_printf(&left, "      --%s", o->name);
	if (o->value)
		buf_printf(&left, o->optional ? "[=%s]" : " %s", o->value);
	if (left.failed)
		return;
	if (left.len < 27)
		printf("%-28s%s\n", left.data, o->help);
	else
		printf("%s\n%-28s%s\n", left.data, "", o->help);
}

static void print_help(const struct parser *ps)
{
	const struct cli_command *c = command_row(ps->command);
	static const struct cli_option help = {
		.type = CLI_FLAG, .letter = 'h', .name = "help", .help = "this text"
	};

	printf("Usage: seep %s %s\n", ps->command, c && c->synopsis ? c->synopsis : "");
	if (c && c->summary)
		printf("%s\n", c->summary);
	printf("\nOptions:\n");
	for (const struct cli_option *o = ps->opts; o->type != CLI_END; o++)
		if (o->help)
			print_option(o);
	print_option(&help);
	printf("\n`man seep-%s` says more.\n", ps->command);
}

int cli_parse(const struct cli_option *opts, int argc, char **argv, bool stop_at_operand)
{
	struct parser ps = { .opts = opts, .command = argv[0], .argc = argc, .argv = argv, .at = 1 };
	int n = 0;

	while (ps.at < argc) {
		char *arg = argv[ps.at++];

		if (!strcmp(arg, "--"))
			break;
		if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
			print_help(&ps);
			return -2;
		}
		if (arg[0] == '-' && arg[1]) {
			if ((arg[1] == '-' ? long_option(&ps, arg) : short_options(&ps, arg)) < 0)
				return -1;
			continue;
		}
		argv[++n] = arg;
		if (stop_at_operand)
			break;
	}
	while (ps.at < argc)
		argv[++n] = argv[ps.at++];
	if (n + 1 < argc)
		argv[n + 1] = NULL;
	return n;
}
