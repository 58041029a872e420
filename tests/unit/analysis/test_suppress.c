/* SPDX-License-Identifier: Apache-2.0 */
/* Suppressions: both formats, what they match, what is wrong with them, and rules that valgrind itself obeys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "analysis/suppress.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"

static const char *leaky; /* the program of leaky.c */

#define MALLOC                                                  \
	{                                                       \
		.function = "malloc", .family = SUPPRESS_MALLOC \
	}
#define NEW                                                                    \
	{                                                                      \
		.function = "operator new(unsigned long)", .linkage = "_Znwm", \
		.object = "/usr/lib/libstdc++.so.6", .family = SUPPRESS_NEW    \
	}

static const struct suppress_frame c_stack[] = {
	MALLOC,
	{ .function = "strdup", .object = "/usr/lib/libc.so.6" },
	{ .function = "read_config",
	  .object = "/opt/app/bin/app",
	  .file = "/src/app/config.c",
	  .line = 12 },
	{ .object = "/opt/app/lib/libplugin.so.3" },
	{ .function = "main", .object = "/opt/app/bin/app", .file = "/src/app/main.c", .line = 40 },
};

static const struct suppress_frame cxx_stack[] = {
	NEW,
	{ .function = "std::__new_allocator<int>::allocate(unsigned long, void const*)",
	  .linkage = "_ZNSt15__new_allocatorIiE8allocateEmPKv",
	  .object = "/opt/app/bin/app",
	  .inlined = true },
	{ .function = "app::Store::keep(int)",
	  .linkage = "_ZN3app5Store4keepEi",
	  .object = "/opt/app/bin/app" },
	{ .function = "main", .object = "/opt/app/bin/app" },
};

static struct suppressions *parsed(const char *text)
{
	struct suppressions *s = suppressions_new();
	struct seep_error *err;

	assert_non_null(s);
	err = suppressions_add_text(s, text, strlen(text), "t.supp");
	if (err)
		fail_msg("%s", err->message);
	return s;
}

static bool matches(const char *text, enum reach_class class, const struct suppress_frame *frames,
                    size_t n)
{
	struct suppressions *s = parsed(text);
	bool is = suppressions_match(s, class, frames, n) != NULL;

	suppressions_free(s);
	return is;
}

/* A valgrind rule of these frame lines. */
static bool rule(const char *lines, const struct suppress_frame *frames, size_t n)
{
	_cleanup_buf_ struct buf text = { 0 };

	buf_printf(&text, "{\n name\n Memcheck:Leak\n%s\n}\n", lines);
	return matches(text.data, REACH_DEFINITE, frames, n);
}
#define C(lines) rule(lines, c_stack, ARRAY_SIZE(c_stack))
#define CXX(lines) rule(lines, cxx_stack, ARRAY_SIZE(cxx_stack))

static void frames_match_from_the_leaf(void **state)
{
	assert_true(C("fun:malloc\nfun:strdup"));
	assert_true(C("fun:malloc"));
	assert_false(C("fun:strdup")); /* frame 0 is the allocation function */
	assert_false(C("fun:malloc\nfun:read_config"));
	assert_true(C("fun:malloc\nfun:strdup\nfun:read_config\nobj:*libplugin*\nfun:main"));
	assert_false(C("fun:malloc\nfun:strdup\nfun:read_config\nobj:*libplugin*\nfun:main\nfun:x"));
	assert_true(C("fun:calloc\nfun:strdup")); /* which of the family it was is not known */
	assert_true(C("fun:*alloc\nfun:str?up"));
	assert_false(C("fun:free\nfun:strdup"));
	assert_true(C("obj:*/vgpreload_memcheck-*.so\nobj:*/libc.so*"));
	assert_true(C("fun:malloc\nfun:strdup\nfun:read_config.constprop.0"));
	assert_true(C("fun:malloc\nfun:strdup\nfun:read_config\nfun:???"));
	assert_false(C("fun:malloc\nfun:strdup\nfun:read\\*"));
}

static void dots_stand_for_any_frames(void **state)
{
	assert_true(C("...\nfun:main"));
	assert_true(C("fun:malloc\n...\nfun:read_config"));
	assert_true(C("fun:malloc\n...\nfun:strdup")); /* none */
	assert_true(C("...\nfun:read_*\n...\nfun:main"));
	assert_false(C("...\nfun:main\n...\nfun:read_config"));
	assert_true(C("...\n...\nobj:*plugin.so.?\n..."));
	assert_false(C("...\nfun:absent"));
}

static void source_places(void **state)
{
	assert_true(C("...\nsrc:config.c:12"));
	assert_true(C("...\nsrc:/src/*/config.c"));
	assert_false(C("...\nsrc:config.c:13"));
	assert_false(C("...\nsrc:onfig.c"));
}

static void mangled_and_demangled(void **state)
{
	assert_true(CXX("fun:_Znwm\nfun:_ZN3app5Store4keepEi\nfun:main"));
	assert_true(CXX("fun:_Zn*\nfun:_ZN3app*"));
	assert_true(CXX("fun:_Znam")); /* operator new[] jumps into operator new */
	assert_false(CXX("fun:malloc"));
	assert_true(CXX("fun:operator new(unsigned long)\nfun:app::Store::keep(int)"));
	/* with the inlined function, by whichever of its names, and without */
	assert_true(CXX("fun:_Znwm\nfun:allocate\nfun:_ZN3app5Store4keepEi"));
	assert_true(CXX("fun:_Znwm\nfun:_ZNSt15__new_allocatorIiE8allocateEmPKv\nfun:_ZN3app5*"));
	assert_false(CXX("fun:_Znwm\nfun:keep"));
	assert_false(CXX("fun:_Znwm\nfun:main"));
}

static void kinds(void **state)
{
	static const char one[] =
		"{\n n\n Memcheck:Leak\n match-leak-kinds: possible,indirect\n fun:*\n}\n";
	static const char any[] = "{\n n\n Memcheck:Leak\n fun:*\n}\n";
	static const char none[] = "{\n n\n Memcheck:Leak\n match-leak-kinds: none\n fun:*\n}\n";
	static const char all[] =
		"{\n n\n Addrcheck,Memcheck:Leak\n match-leak-kinds: all\n fun:*\n}\n";

	assert_false(matches(one, REACH_DEFINITE, c_stack, 5));
	assert_true(matches(one, REACH_POSSIBLE, c_stack, 5));
	assert_true(matches(one, REACH_INDIRECT, c_stack, 5));
	assert_false(matches(one, REACH_REACHABLE, c_stack, 5));
	for (int c = REACH_REACHABLE; c <= REACH_DEFINITE; c++) {
		assert_true(matches(any, (enum reach_class)c, c_stack, 5));
		assert_true(matches(all, (enum reach_class)c, c_stack, 5));
		assert_false(matches(none, (enum reach_class)c, c_stack, 5));
	}
	assert_false(matches(any, REACH_DEFINITE, NULL, 0)); /* stack unknown */
}

static void the_first_rule_counts_and_others_are_skipped(void **state)
{
	struct suppressions *s = parsed(
		"# comment\n\n{\n  one\n  Memcheck:Cond\n  fun:f\n}\n"
		"{\r\n  two words\r\n  Memcheck:Leak\r\n\r\n  # in between\r\n  fun:malloc\r\n}\r\n"
		"{\n three\n Memcheck:Leak\n fun:malloc\n}\n"
		"{\n four\n Helgrind:Race\n what?\n ever\n}");
	struct suppress_rule *r = suppressions_match(s, REACH_DEFINITE, c_stack, 5);
	size_t n;

	assert_string_equal(r->name, "two words");
	assert_string_equal(r->origin, "t.supp:8");
	assert_false(r->lsan);
	suppressions_rules(s, &n);
	assert_int_equal(n, 2);
	assert_int_equal(suppressions_skipped(s), 2);
	assert_false(suppressions_empty(s));
	assert_ptr_equal(suppressions_rules(s, &n)[0], r);
	suppressions_free(s);
}

static void lsan_files(void **state)
{
#define L(pattern) matches("leak:" pattern "\n", REACH_DEFINITE, c_stack, 5)
	assert_true(L("read_config"));
	assert_true(L("ead_conf"));
	assert_true(L("libplugin.so"));
	assert_true(L("config.c"));
	assert_true(L("^main$"));
	assert_true(L("^read*fig$"));
	assert_false(L("^ead"));
	assert_false(L("read_conf$"));
	assert_false(L("re?d"));
	assert_true(L("*main*"));
	assert_false(L("malloc")); /* it might have been another one */
#undef L
	assert_true(matches("# x\nrace:foo\nleak:app::Store\n", REACH_POSSIBLE, cxx_stack, 4));
	assert_true(matches("leak:^operator new", REACH_INDIRECT, cxx_stack, 4));
	assert_false(matches("leak:_ZN3app", REACH_DEFINITE, cxx_stack, 4)); /* demangled names */
}

static void assert_error(const char *text, const char *want)
{
	struct suppressions *s = suppressions_new();
	_cleanup_error_ struct seep_error *err =
		suppressions_add_text(s, text, strlen(text), "t.supp");

	assert_non_null(err);
	assert_string_equal(err->message, want);
	suppressions_free(s);
}

static void errors_name_file_and_line(void **state)
{
	assert_error("{\n a\n Memcheck:Leak\n fun:f\n",
	             "t.supp:1: the rule that begins here is never closed by a '}'");
	assert_error("{\n", "t.supp:1: the rule that begins here is never closed by a '}'");
	assert_error("{\n a\n Memcheck:Leak\n frob:f\n}\n",
	             "t.supp:4: expected fun:, obj:, src:, ... or }, not 'frob:f'");
	assert_error("{\n a\n Memcheck:Leak\n match-leak-kinds: definite,some\n fun:f\n}\n",
	             "t.supp:4: match-leak-kinds takes definite, indirect, possible, reachable, all or "
	             "none, not 'match-leak-kinds: definite,some'");
	assert_error("{\n a\n Leak\n fun:f\n}\n",
	             "t.supp:3: expected TOOL:KIND, such as Memcheck:Leak, on a rule's second line, "
	             "not 'Leak'");
	assert_error("{\n a\n Memcheck:Leak\n ...\n}\n",
	             "t.supp:5: the rule names no function, object or file");
	assert_error("{\n a\n Memcheck:Leak\n fun:f\n{\n",
	             "t.supp:5: a rule begins inside another one: is a '}' missing?");
	assert_error("{\n a\n Memcheck:Leak\n fun:f\n}\n==12== x\033[1m\n",
	             "t.supp:6: expected the '{' of a valgrind rule, not '==12== x?[1m'");
	assert_error("hello\n",
	             "t.supp:1: expected the '{' of a valgrind rule or leak:PATTERN, not 'hello'");
	assert_error("leak:a\nleak:\n", "t.supp:2: leak: is followed by a pattern, not 'leak:'");
	assert_error("leak:a\n{\n", "t.supp:2: expected leak:PATTERN, not '{'");
}

static void empty_and_binary(void **state)
{
	struct suppressions *s = parsed("");
	_cleanup_error_ struct seep_error *err = NULL, *missing = NULL;

	assert_true(suppressions_empty(s));
	assert_null(suppressions_add_text(s, "# only\n\n", 8, "x"));
	assert_true(suppressions_empty(s));
	assert_null(suppressions_match(s, REACH_DEFINITE, c_stack, 5));
	err = suppressions_add_text(s, "{\n\0", 3, "x");
	assert_string_equal(err->message, "x is no suppression file: it has binary content");
	missing = suppressions_add_file(s, "/nonexistent/x.supp");
	assert_non_null(missing);
	suppressions_free(s);
}

/* Stars that could be tried in exponentially many ways. */
static void hostile_globs_end(void **state)
{
	_cleanup_buf_ struct buf glob = { 0 }, name = { 0 }, dots = { 0 };
	struct suppress_frame frames[200];

	for (int i = 0; i < 2000; i++)
		buf_puts(&glob, "*a");
	for (int i = 0; i < 8000; i++)
		buf_putc(&name, 'a');
	buf_puts(&dots, "fun:malloc\n");
	for (int i = 0; i < 100; i++)
		buf_puts(&dots, "...\nfun:a*\n");
	buf_puts(&dots, "fun:b");
	buf_puts(&glob, "b");
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		frames[i] = (struct suppress_frame){ .function = name.data };
	frames[0].family = SUPPRESS_MALLOC;
	assert_false(rule(dots.data, frames, ARRAY_SIZE(frames)));
	buf_reset(&dots);
	buf_printf(&dots, "...\nfun:%s", glob.data);
	assert_false(rule(dots.data, frames, 20));
}

/* ---- generated rules ---------------------------------------------------------------------- */

static void generated_rules_match_again(void **state)
{
	_cleanup_buf_ struct buf c = { 0 }, cxx = { 0 }, odd = { 0 };
	static const struct suppress_frame names[] = {
		MALLOC,
		{ .function = "a*b\n}\n\\x?", .object = "/x" },
		{ .function = "" },
		{ .object = "/with space/é.so" },
	};

	suppress_generate(&c, REACH_DEFINITE, c_stack, ARRAY_SIZE(c_stack));
	assert_string_equal(c.data, "{\n   <insert_a_suppression_name_here>\n   Memcheck:Leak\n"
	                            "   match-leak-kinds: definite\n   fun:*\n   fun:strdup\n"
	                            "   fun:read_config\n   obj:/opt/app/lib/libplugin.so.3\n"
	                            "   fun:main\n}\n");
	assert_true(matches(c.data, REACH_DEFINITE, c_stack, ARRAY_SIZE(c_stack)));
	assert_false(matches(c.data, REACH_POSSIBLE, c_stack, ARRAY_SIZE(c_stack)));
	assert_false(matches(c.data, REACH_DEFINITE, cxx_stack, ARRAY_SIZE(cxx_stack)));
	suppress_generate(&cxx, REACH_POSSIBLE, cxx_stack, ARRAY_SIZE(cxx_stack));
	assert_string_equal(cxx.data, "{\n   <insert_a_suppression_name_here>\n   Memcheck:Leak\n"
	                              "   match-leak-kinds: possible\n   fun:_Zn*\n   ...\n"
	                              "   fun:_ZN3app5Store4keepEi\n   fun:main\n}\n");
	assert_true(matches(cxx.data, REACH_POSSIBLE, cxx_stack, ARRAY_SIZE(cxx_stack)));
	suppress_generate(&odd, REACH_INDIRECT, names, ARRAY_SIZE(names));
	assert_true(matches(odd.data, REACH_INDIRECT, names, ARRAY_SIZE(names)));
	buf_reset(&odd);
	suppress_generate(&odd, REACH_INDIRECT, names, 0);
	assert_int_equal(odd.len, 0);
}

/* valgrind's exit status for leaky with these suppressions; -1: there is no valgrind. */
static int valgrind(const char *suppressions)
{
	char option[4200];
	int status;
	pid_t pid;

	snprintf(option, sizeof(option), "--suppressions=%s", suppressions);
	pid = fork();
	if (!pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(126);
		execlp("valgrind", "valgrind", "-q", "--leak-check=full", "--error-exitcode=9",
		       option, leaky, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) < 126 ? WEXITSTATUS(status) : -1;
}

static void valgrind_obeys_generated_rules(void **state)
{
	static const struct suppress_frame frames[] = {
		MALLOC, { .function = "inner" }, { .function = "outer" }, { .function = "main" }
	};
	char path[] = "/tmp/seep-suppress-XXXXXX";
	_cleanup_buf_ struct buf text = { 0 };
	int with, without, fd = mkstemp(path);

	assert_true(fd >= 0);
	without = valgrind("/dev/null");
	suppress_generate(&text, REACH_DEFINITE, frames, ARRAY_SIZE(frames));
	assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
	close(fd);
	with = valgrind(path);
	unlink(path);
	if (without < 0) {
		print_message("valgrind cannot run here\n");
		skip();
	}
	assert_int_equal(without, 9);
	assert_int_equal(with, 0);
}

static void valgrinds_own_file(void **state)
{
	static const char *const paths[] = { "/usr/libexec/valgrind/default.supp",
		                             "/usr/lib/valgrind/default.supp",
		                             "/usr/lib64/valgrind/default.supp" };
	size_t i = 0, n, braces = 0;
	struct suppressions *s;
	struct seep_error *err;
	char line[4096];
	FILE *f;

	while (i < ARRAY_SIZE(paths) && access(paths[i], R_OK))
		i++;
	if (i == ARRAY_SIZE(paths)) {
		print_message("valgrind's default.supp is not installed\n");
		skip();
	}
	s = suppressions_new();
	err = suppressions_add_file(s, paths[i]);
	if (err)
		fail_msg("%s", err->message);
	f = fopen(paths[i], "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		braces += line[strspn(line, " \t")] == '}';
	fclose(f);
	suppressions_rules(s, &n);
	assert_true(n > 0);
	assert_int_equal(n + suppressions_skipped(s), braces);
	suppressions_free(s);
}

/* ---- stacks of a profile --------------------------------------------------------------------- */

static struct profile *profile_with(const char *const *functions, const char *linkage0, size_t n)
{
	struct profile *p = profile_new();

	assert_non_null(p);
	p->frames = realloc(p->frames, (n + 1) * sizeof(*p->frames));
	p->symbols = realloc(p->symbols, (n + 1) * sizeof(*p->symbols));
	p->sites = calloc(2, sizeof(*p->sites));
	assert_true(p->frames && p->symbols && p->sites);
	for (size_t i = 0; i < n; i++) { /* root first: functions[] is leaf first */
		const char *name = functions[n - 1 - i];

		p->frames[1 + i] = (struct prof_frame){ .parent = (uint32_t)i,
			                                .module = PROF_NO_MODULE,
			                                .symbol = (uint32_t)i + 1 };
		p->symbols[1 + i].nlines = 1;
		p->symbols[1 + i].lines = calloc(1, sizeof(struct prof_line));
		p->symbols[1 + i].lines[0].function = strdup(name);
		if (i == n - 1 && linkage0)
			p->symbols[1 + i].lines[0].linkage = strdup(linkage0);
		p->nframes++;
		p->nsymbols++;
	}
	p->sites[1].stack = (uint32_t)n;
	p->nsites = 2;
	return p;
}

static void stacks_begin_with_the_allocation_function(void **state)
{
	static const char *const c[] = { "make", "main" };
	static const char *const cxx[] = { "operator new(unsigned long)",
		                           "operator new[](unsigned long)", "make", "main" };
	_cleanup_profile_ struct profile *pc = profile_with(c, NULL, 2);
	_cleanup_profile_ struct profile *pcxx = profile_with(cxx, "_Znwm", 4);
	_cleanup_free_ struct suppress_frame *a = NULL, *b = NULL, *none = NULL;
	size_t n;

	assert_null(suppress_stack(pc, 1, &a, &n));
	assert_int_equal(n, 3);
	assert_int_equal(a[0].family, SUPPRESS_MALLOC);
	assert_string_equal(a[1].function, "make");
	assert_string_equal(a[2].function, "main");
	assert_null(suppress_stack(pcxx, 1, &b, &n));
	assert_int_equal(n, 3);
	assert_int_equal(b[0].family, SUPPRESS_NEW);
	assert_string_equal(b[1].function, "make");
	assert_null(suppress_stack(pc, 0, &none, &n));
	assert_int_equal(n, 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_match_from_the_leaf),
		cmocka_unit_test(dots_stand_for_any_frames),
		cmocka_unit_test(source_places),
		cmocka_unit_test(mangled_and_demangled),
		cmocka_unit_test(kinds),
		cmocka_unit_test(the_first_rule_counts_and_others_are_skipped),
		cmocka_unit_test(lsan_files),
		cmocka_unit_test(errors_name_file_and_line),
		cmocka_unit_test(empty_and_binary),
		cmocka_unit_test(hostile_globs_end),
		cmocka_unit_test(generated_rules_match_again),
		cmocka_unit_test(valgrind_obeys_generated_rules),
		cmocka_unit_test(valgrinds_own_file),
		cmocka_unit_test(stacks_begin_with_the_allocation_function),
	};

	leaky = argc > 1 ? argv[1] : "";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
