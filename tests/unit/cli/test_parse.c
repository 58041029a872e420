/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: every type of option, where operands go, what is refused; and did-you-mean. */
#include "cli/cli.h"
#include "cli/commands.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int run_nothing(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return CLI_OK;
}

const struct cli_command cli_commands[] = {
	{ "run", "COMMAND", "Runs", run_nothing },
	{ "report", "FILE", "Reports", run_nothing },
	{ "ps", "", "Lists", run_nothing },
	{ NULL, NULL, NULL, NULL },
};

static bool flag, sampled;
static const char *text;
static struct cli_list list;
static uint64_t number, size, duration;
static double percent;

static const struct cli_option options[] = {
	{ CLI_FLAG, 'f', "flag", &flag, NULL, "a flag", false, NULL },
	{ CLI_STRING, 'o', "output", &text, "FILE", "a text", false, NULL },
	{ CLI_LIST, 'l', "list", &list, "X", "a list", false, NULL },
	{ CLI_U64, 'n', "number", &number, "N", "a number", false, NULL },
	{ CLI_SIZE, 's', "sample", &size, "BYTES", "a size", true, &sampled },
	{ CLI_DURATION, 0, "for", &duration, "TIME", "a time", false, NULL },
	{ CLI_PERCENT, 0, "min", &percent, "PERCENT", "a percentage", false, NULL },
	{ .type = CLI_END },
};

static char *args[32];

/* Parses a command line of words separated by blanks; what it prints goes nowhere. */
static int parse(const char *line, bool stop)
{
	static char words[256];
	int n = 0, r, out, err, null;

	flag = sampled = false;
	text = NULL;
	free(list.items);
	list = (struct cli_list){ NULL, 0 };
	number = size = duration = 0;
	percent = -1;
	snprintf(words, sizeof(words), "run %s", line);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		args[n++] = w;
	args[n] = NULL;
	fflush(stdout);
	out = dup(1);
	err = dup(2);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, 1);
	dup2(null, 2);
	r = cli_parse(options, n, args, stop);
	fflush(stdout);
	fflush(stderr);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	close(null);
	return r;
}

static void takes_every_type(void **state)
{
	assert_int_equal(parse("-f --output x --list a -l b --list=c -n 7 --for 1h30m --min 2.5%",
	                       false),
	                 0);
	assert_true(flag);
	assert_string_equal(text, "x");
	assert_int_equal(list.n, 3);
	assert_string_equal(list.items[2], "c");
	assert_null(list.items[3]);
	assert_int_equal(number, 7);
	assert_int_equal(duration, 5400ull * 1000000000);
	assert_true(percent == 2.5);
	assert_int_equal(parse("-ofile --number=0x10 --no-flag", false), 0);
	assert_string_equal(text, "file");
	assert_int_equal(number, 16);
	assert_false(flag);
	assert_int_equal(parse("--flag --no-flag", false), 0);
	assert_false(flag);
	assert_int_equal(parse("--flag=yes", false), 0); /* as valgrind's are written */
	assert_true(flag);
	assert_int_equal(parse("--flag=all", false), 0);
	assert_true(flag);
	assert_int_equal(parse("--flag --flag=no", false), 0);
	assert_false(flag);
	assert_int_equal(parse("-fo x", false), 0);
	assert_true(flag);
	assert_string_equal(text, "x");
}

static void takes_optional_values(void **state)
{
	assert_int_equal(parse("--sample", false), 0);
	assert_true(sampled);
	assert_int_equal(size, 0);
	assert_int_equal(parse("--sample=64K", false), 0);
	assert_int_equal(size, 65536);
	/* A number that follows is its value; anything else is an operand. */
	assert_int_equal(parse("--sample 512K prog", true), 1);
	assert_int_equal(size, 524288);
	assert_string_equal(args[1], "prog");
	assert_int_equal(parse("--sample prog 512K", true), 2);
	assert_true(sampled);
	assert_int_equal(size, 0);
	assert_string_equal(args[1], "prog");
	assert_int_equal(parse("--sample -- 512K", true), 1);
	assert_int_equal(size, 0);
	assert_int_equal(parse("a", false), 1);
	assert_false(sampled);
}

static void moves_operands_to_the_front(void **state)
{
	assert_int_equal(parse("a -f b --output x c", false), 3);
	assert_string_equal(args[1], "a");
	assert_string_equal(args[2], "b");
	assert_string_equal(args[3], "c");
	assert_null(args[4]);
	assert_true(flag);
	assert_int_equal(parse("-f -- -o --flag", false), 2);
	assert_string_equal(args[1], "-o");
	assert_string_equal(args[2], "--flag");
	assert_null(text);
	/* A command's own options stay its own. */
	assert_int_equal(parse("-f prog -o --flag -- x", true), 5);
	assert_string_equal(args[1], "prog");
	assert_string_equal(args[4], "--");
	assert_null(text);
	assert_int_equal(parse("-", false), 1);
	assert_string_equal(args[1], "-");
	assert_int_equal(parse("", false), 0);
}

static void refuses_what_is_wrong(void **state)
{
	static const char *const wrong[] = {
		"--unknown", "-x",          "--output",
		"-o",        "--number x",  "--number=-1",
		"--number",  "--flag=1",    "--for 5parsec",
		"--min 101", "--min -1",    "--sample=many",
		"--out x",   "--no-output", "--number 99999999999999999999",
		"-fx"
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (parse(wrong[i], false) != -1)
			fail_msg("'%s' was taken", wrong[i]);
	assert_int_equal(parse("-h", false), -2);
	assert_int_equal(parse("x --help", false), -2);
	assert_int_equal(parse("x --help", true), 2); /* the command's */
}

static void guesses_what_was_meant(void **state)
{
	assert_string_equal(cli_nearest("rnu"), "run");
	assert_string_equal(cli_nearest("repport"), "report");
	assert_string_equal(cli_nearest("rep"), "report");
	assert_string_equal(cli_nearest("pss"), "ps");
	assert_null(cli_nearest("firefox"));
	assert_null(cli_nearest("a-name-that-is-far-longer-than-any-command"));
	assert_null(cli_nearest(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_every_type),
		cmocka_unit_test(takes_optional_values),
		cmocka_unit_test(moves_operands_to_the_front),
		cmocka_unit_test(refuses_what_is_wrong),
		cmocka_unit_test(guesses_what_was_meant),
	};

	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
