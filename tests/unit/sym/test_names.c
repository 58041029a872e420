/* SPDX-License-Identifier: Apache-2.0 */
/* The parts below the symbolizer: names, perf maps, symbol tables of hostile content. */
#include "symtest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "sym/names.h"
#include "sym/perfmap.h"
#include "sym/symfile.h"
#include "sym/symtab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void names_are_shown_for_people(void **state)
{
	static const struct {
		const char *raw, *shown;
	} cases[] = {
		{ "main", "main" },
		{ "_ZN3foo3barEi", "foo::bar(int)" },
		{ "_ZNKSt6vectorIiSaIiEE4sizeEv",
		  "std::vector<int, std::allocator<int> >::size() const" },
		{ "_ZN3foo3barEi.constprop.0", "foo::bar(int)" },
		{ "_ZN3foo3barEi.cold", "foo::bar(int)" },
		{ "grow.isra.0.cold", "grow" },
		{ "x.part.3", "x" },
		{ "a.b", "a.b" },
		{ ".cold", ".cold" },
		{ "memcpy@@GLIBC_2.14", "memcpy" },
		{ "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
		  "core::fmt::Formatter::write_str" },
		{ "_RNvCs1234_7mycrate3foo", "mycrate::foo" },
		{ "_RNvNtCsfoo_7mycrate4util4grow", "mycrate::util::grow" },
		{ "_Znwm", "operator new(unsigned long)" },
		{ "_Zgarbage", "_Zgarbage" },
		{ "_Z", "_Z" },
		{ "evil\033[2Jname\n", "evil?[2Jname?" },
		{ "_ZN3f\001oE", "f?o" },
	};
	struct names n = { 0 }, plain = { .no_demangle = true };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(names_function(&n, cases[i].raw), cases[i].shown);
	for (i = 0; i < ARRAY_SIZE(cases); i++) /* from the pool now */
		assert_string_equal(names_function(&n, cases[i].raw), cases[i].shown);
	assert_string_equal(names_function(&plain, cases[1].raw), "_ZN3foo3barEi");
	assert_null(names_function(&n, NULL));
	assert_null(names_function(&n, ""));
	names_release(&n);
	names_release(&plain);
}

static void files_are_joined_and_tidied(void **state)
{
	struct names n = { 0 };
	char relative[] = "src/./a.c", absolute[] = "/b//./c/../d.c", other[] = "e.c";

	assert_string_equal(names_file(&n, relative, "/build"), "/build/src/a.c");
	assert_string_equal(names_file(&n, absolute, "/build"), "/b/c/../d.c");
	assert_string_equal(names_file(&n, other, "./relative"), "e.c");
	assert_null(names_file(&n, NULL, "/build"));
	names_release(&n);
}

static void many_names_are_kept_apart(void **state)
{
	struct names n = { 0 };
	char(*raw)[16] = calloc(10000, sizeof(*raw));
	int i, round;

	assert_non_null(raw);
	for (i = 0; i < 10000; i++)
		snprintf(raw[i], sizeof(raw[i]), "f%d", i);
	for (round = 0; round < 2; round++)
		for (i = 0; i < 10000; i++)
			assert_string_equal(names_function(&n, raw[i]), raw[i]);
	assert_int_equal(n.used, 10000);
	names_release(&n);
	free(raw);
}

/* Text of `n` copies of `unit` between `before` and `after`; free() it. */
static char *repeated(const char *before, const char *unit, size_t n, const char *after)
{
	char *s = malloc(strlen(before) + n * strlen(unit) + strlen(after) + 1), *p;

	assert_non_null(s);
	p = stpcpy(s, before);
	while (n--)
		p = stpcpy(p, unit);
	strcpy(p, after);
	return s;
}

static void hostile_names_are_bounded(void **state)
{
	static const struct {
		const char *before, *unit;
		size_t n;
		const char *after;
	} cases[] = {
		{ "_Z1f", "P", 900, "i" },   /* nesting, with libiberty's limit */
		{ "_Z1f", "P", 16000, "i" }, /* nesting, beyond it */
		{ "_Z1f", "FvPv", 4000, "" },    { "_ZN", "1aI", 5000, "E" },
		{ "_Z1fI", "X", 8000, "E" },     { "_Z1fIJ", "1aS_", 3000, "EE" },
		{ "_RNv", "Nv", 8000, "C1a" },                            /* Rust paths */
		{ "_R", "INvC1a1b", 2000, "E" }, { "", "x", 100000, "" }, /* plain but absurd */
		{ "_Z", "9", 70000, "" },        { "_ZN", "1a", 40000, "Ev" },
	};
	/* each pair doubles the one before: 2^40 characters when written out */
	static const char bomb[] =
		"_Z1fISt4pairI1aS_ES0_IS1_S1_ES0_IS2_S2_ES0_IS3_S3_ES0_IS4_S4_ES0_IS5_S5_E"
		"S0_IS6_S6_ES0_IS7_S7_ES0_IS8_S8_ES0_IS9_S9_ES0_ISA_SA_ES0_ISB_SB_E"
		"S0_ISC_SC_ES0_ISD_SD_ES0_ISE_SE_ES0_ISF_SF_ES0_ISG_SG_ES0_ISH_SH_E"
		"S0_ISI_SI_ES0_ISJ_SJ_ES0_ISK_SK_ES0_ISL_SL_ES0_ISM_SM_ES0_ISN_SN_E"
		"S0_ISO_SO_ES0_ISP_SP_ES0_ISQ_SQ_ES0_ISR_SR_EEvv";
	struct names n = { 0 };
	const char *shown;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *raw =
			repeated(cases[i].before, cases[i].unit, cases[i].n, cases[i].after);

		shown = names_function(&n, raw);
		assert_non_null(shown);
		assert_in_range(strlen(shown), 1, NAMES_MAX_SHOWN - 1);
		names_release(&n);
	}
	shown = names_function(&n, bomb);
	assert_int_equal(strlen(shown), NAMES_MAX_SHOWN - 1);
	assert_string_equal(shown + strlen(shown) - 3, "...");
	names_release(&n);
}

static void long_real_names_are_demangled(void **state)
{
	/* a function with 100 parameters of a type with a long name: above libiberty's own limit */
	_cleanup_free_ char *raw = repeated("_Z1f", "21averylongclassnamehere", 100, "");
	struct names n = { 0 };
	const char *shown = names_function(&n, raw);

	assert_memory_equal(shown, "f(averylongclassnamehe", 20);
	assert_true(strlen(shown) > 2000);
	names_release(&n);
}

/* ---- perf maps -------------------------------------------------------- */

static void perf_maps_survive_garbage(void **state)
{
	char text[] = "1000 100 first\n"
		      "\n"
		      "not hex at all\n"
		      "2000\n"
		      "2000 \n"
		      "2000 zz name\n"
		      "3000 0 empty\n"
		      "ffffffffffffffff 10 wraps\n"
		      "fffffffffffffffff 10 toobig\n"
		      "-1000 10 negative\n"
		      "0x4000 0x10 with prefix\n"
		      "5000 20 name with spaces and (parens)\n"
		      "6000 10 unfinished";
	struct perfmap m = { 0 };

	assert_int_equal(perfmap_parse(&m, text, strlen(text)), 0);
	assert_int_equal(m.n, 3);
	assert_int_equal(m.bad_lines, 9);
	assert_string_equal(perfmap_find(&m, 0x1000), "first");
	assert_string_equal(perfmap_find(&m, 0x10ff), "first");
	assert_null(perfmap_find(&m, 0x1100));
	assert_null(perfmap_find(&m, 0xfff));
	assert_string_equal(perfmap_find(&m, 0x400f), "with prefix");
	assert_string_equal(perfmap_find(&m, 0x5010), "name with spaces and (parens)");
	assert_null(perfmap_find(&m, 0x6000));
	assert_null(perfmap_find(&m, UINT64_MAX));
	perfmap_release(&m);
}

static void in_perf_maps_the_later_line_wins(void **state)
{
	char text[] = "1000 1000 old\n"
		      "1800 100 inner\n"
		      "1000 100 new\n"
		      "1880 1000 tail\n";
	struct perfmap m = { 0 };

	assert_int_equal(perfmap_parse(&m, text, strlen(text)), 0);
	assert_string_equal(perfmap_find(&m, 0x1000), "new");
	assert_string_equal(perfmap_find(&m, 0x1100), "old");
	assert_string_equal(perfmap_find(&m, 0x1800), "inner");
	assert_string_equal(perfmap_find(&m, 0x1880), "tail");
	assert_string_equal(perfmap_find(&m, 0x2500), "tail");
	assert_null(perfmap_find(&m, 0x2880));
	perfmap_release(&m);
}

static void perf_maps_are_read_from_files_only(void **state)
{
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fd = -1;
	static const char text[] = "10 10 a\n\0\0\0\n20 10 b\n";
	struct perfmap m = { 0 };

	assert_int_equal(perfmap_read(&m, null), -EINVAL);
	write_file(in_dir("map"), text, sizeof(text) - 1);
	fd = open(in_dir("map"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(perfmap_read(&m, fd), 0);
	assert_string_equal(perfmap_find(&m, 0x15), "a");
	assert_string_equal(perfmap_find(&m, 0x25), "b");
	assert_int_equal(m.bad_lines, 1);
	perfmap_release(&m);
	write_file(in_dir("empty"), "", 0);
	close(fd);
	fd = open(in_dir("empty"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(perfmap_read(&m, fd), 0);
	assert_null(perfmap_find(&m, 1));
	perfmap_release(&m);
}

/* ---- symbol tables ---------------------------------------------------- */

static void symbols_cover_their_functions_only(void **state)
{
	const char *path = target("inlined-plain");
	uint64_t outer = mark_of(path, "outer"), mark = mark_of(path, "seep_mark");
	struct symtab t = { 0 };
	struct symfile *f;

	assert_null(symfile_open_fd(open(path, O_RDONLY | O_CLOEXEC), path, &f));
	assert_true(f->has_symtab);
	assert_false(f->has_dwarf);
	assert_true(symfile_is_code(f, outer));
	assert_false(symfile_is_code(f, 0));
	assert_true(symtab_add(&t, f));
	symtab_finish(&t);
	assert_string_equal(symtab_find(&t, outer), "outer");
	assert_string_equal(symtab_find(&t, mark), "outer"); /* not the label in it */
	assert_string_equal(symtab_find(&t, mark_of(path, "main")), "main");
	assert_null(symtab_find(&t, 0));
	assert_null(symtab_find(&t, UINT64_MAX));
	symtab_release(&t);
	symfile_close(f);
}

static void only_programs_are_opened(void **state)
{
	struct seep_error *err;
	struct symfile *f = NULL;
	size_t size;
	void *data;

	err = symfile_open_fd(open("/", O_RDONLY | O_CLOEXEC), "/", &f);
	assert_non_null(strstr(err->message, "not a regular file"));
	seep_error_free(err);
	write_file(in_dir("text"), "hello", 5);
	err = symfile_open_fd(open(in_dir("text"), O_RDONLY | O_CLOEXEC), "text", &f);
	assert_non_null(strstr(err->message, "not an ELF file of this machine"));
	seep_error_free(err);
	data = read_file(target("inlined-split.o"), &size); /* relocatable */
	err = symfile_open_memory(data, size, "object", &f);
	free(data);
	assert_non_null(strstr(err->message, "neither an executable nor a shared object"));
	seep_error_free(err);
	assert_null(f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, symtest_setup, symtest_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(names_are_shown_for_people),         T(files_are_joined_and_tidied),
		T(many_names_are_kept_apart),          T(hostile_names_are_bounded),
		T(long_real_names_are_demangled),      T(perf_maps_survive_garbage),
		T(in_perf_maps_the_later_line_wins),   T(perf_maps_are_read_from_files_only),
		T(symbols_cover_their_functions_only), T(only_programs_are_opened),
	};

	symtest_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
