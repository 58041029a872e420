/* SPDX-License-Identifier: Apache-2.0 */
/* The symbolizer over programs built for it: names, lines, inlines, and which file is believed. */
#include "symtest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "sym/symfile.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void chain_in(const char *name, uint64_t bias)
{
	const char *path = target(name);
	_cleanup_profile_ struct profile *p = profile_of(path, path, bias);
	struct symbolizer *s;

	add_frame(p, bias + mark_of(path, "seep_mark"), 0);
	symbolize(p, NULL, &s);
	expect_chain(p);
	assert_int_equal(count_warnings(s), 0);
	symbolizer_free(s);
}

static void inlined_chains_are_exact(void **state)
{
	static const char *const always[] = { "inlined-gcc-4", "inlined-gcc-5", "inlined-split",
		                              "inlined-compressed" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		chain_in(always[i], UINT64_C(0x555555554000));
	chain_in("inlined-static", 0);
	chain_in("inlined-nopie", 0);
	if (have_clang) {
		chain_in("inlined-clang-4", 0x10000);
		chain_in("inlined-clang-5", 0x10000);
	}
}

static size_t packed_sections(const char *path, uint32_t type)
{
	size_t size, found = 0;
	char *data = read_file(path, &size);
	Elf_Scn *scn = NULL;
	GElf_Chdr chdr;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_memory(data, size);
	while ((scn = elf_nextscn(elf, scn)))
		found += gelf_getchdr(scn, &chdr) && chdr.ch_type == type;
	elf_end(elf);
	free(data);
	return found;
}

static void sections_packed_with_zstd_are_read(void **state)
{
	if (access(target("inlined-zstd"), F_OK) < 0) {
		print_message("this objcopy cannot pack with zstd\n");
		skip();
	}
	assert_true(packed_sections(target("inlined-zstd"), 2) > 0);
	chain_in("inlined-zstd", UINT64_C(0x555555554000));
}

static void without_inlines_the_call_in_the_real_function_is_shown(void **state)
{
	const struct sym_options opts = { .no_inlines = true };
	const char *path = target("inlined-gcc-5");
	_cleanup_profile_ struct profile *p = profile_of(path, path, 0);
	const struct prof_symbol *s;

	add_frame(p, mark_of(path, "seep_mark"), 0);
	symbolize(p, &opts, NULL);
	s = symbol_of(p, 1);
	assert_int_equal(s->nlines, 1);
	assert_string_equal(s->lines[0].function, "outer");
	assert_int_equal(s->lines[0].line, line_of("inlined.c", "outer"));
	assert_false(s->lines[0].inlined);
}

static void without_dwarf_the_symbol_table_names_functions(void **state)
{
	static const char *const names[] = { "inlined-plain", "inlined-mini" };
	uint64_t mark = mark_of(target("inlined-plain"), "seep_mark");
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		const char *path = target(names[i]);
		_cleanup_profile_ struct profile *p = profile_of(path, path, 0);
		struct symbolizer *s;

		add_frame(p, mark, 0);
		symbolize(p, NULL, &s);
		assert_int_equal(symbol_of(p, 1)->nlines, 1);
		assert_string_equal(symbol_of(p, 1)->lines[0].function, "outer");
		assert_null(symbol_of(p, 1)->lines[0].file);
		assert_true(warned(s, "no line numbers"));
		symbolizer_free(s);
	}
}

static void cxx_in(const char *name)
{
	static const struct {
		const char *mark, *what, *function;
	} cases[] = {
		{ "seep_mark_template", "template", "garden::Bed<int>::grow(unsigned long)" },
		{ "seep_mark_hidden", "hidden", "garden::(anonymous namespace)::hidden(int)" },
		{ "seep_mark_lambda", "lambda",
		  "main::{lambda(int)#1}::operator()(int) const" }, /* gcc's */
	};
	const char *path = target(name);
	_cleanup_profile_ struct profile *p = profile_of(path, path, 0x7000);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		add_frame(p, 0x7000 + mark_of(path, cases[i].mark), 0);
	symbolize(p, NULL, NULL);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct prof_line *line = &symbol_of(p, i + 1)->lines[0];

		if (strcmp(line->function, "main::$_0::operator()(int) const")) /* clang's lambda */
			assert_string_equal(line->function, cases[i].function);
		assert_int_equal(line->line, line_of("scopes.cc", cases[i].what));
		assert_non_null(line->linkage);
		assert_memory_equal(line->linkage, "_Z", 2);
	}
}

/* gcc gives an inlined function of an unnamed namespace no linkage name. */
static void inlined_copies_have_their_scopes(void **state)
{
	static const char *const names[] = { "scopes-gcc-4", "scopes-gcc-5", "scopes-clang-5" };
	size_t i;

	for (i = 0; i < (have_clang ? 3 : 2); i++) {
		const char *path = target(names[i]);
		_cleanup_profile_ struct profile *p = profile_of(path, path, 0);
		const struct prof_symbol *s;

		add_frame(p, mark_of(path, "seep_mark_copy"), 0);
		symbolize(p, NULL, NULL);
		s = symbol_of(p, 1);
		assert_int_equal(s->nlines, 2);
		assert_memory_equal(s->lines[0].function,
		                    "garden::(anonymous namespace)::Seed::sow", 40);
		assert_int_equal(s->lines[0].line, line_of("scopes.cc", "copy"));
		assert_string_equal(s->lines[1].function,
		                    "garden::(anonymous namespace)::hidden(int)");
	}
}

static void cxx_names_are_demangled(void **state)
{
	cxx_in("scopes-gcc-4");
	cxx_in("scopes-gcc-5");
	if (have_clang) {
		cxx_in("scopes-clang-4");
		cxx_in("scopes-clang-5");
	}
}

static void rust_names_are_demangled(void **state)
{
	static const struct {
		const char *file, *function;
	} cases[] = {
		{ "scopes-rust-legacy.so", "scopes::garden::grow" },
		{ "scopes-rust-v0.so", "scopes::garden::grow::<u32>" },
	};
	size_t i;

	if (!have_rust)
		skip();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *path = target(cases[i].file);
		_cleanup_profile_ struct profile *p = profile_of(path, path, 0);

		add_frame(p, mark_of(path, "seep_mark_rust"), 0);
		symbolize(p, NULL, NULL);
		assert_string_equal(symbol_of(p, 1)->lines[0].function, cases[i].function);
		assert_non_null(strstr(symbol_of(p, 1)->lines[0].file, "scopes.rs"));
		assert_int_equal(symbol_of(p, 1)->lines[0].line, line_of("scopes.rs", "rust"));
	}
}

static void equal_addresses_share_one_symbol(void **state)
{
	const char *path = target("inlined-gcc-5");
	_cleanup_profile_ struct profile *p = profile_of(path, path, 0);
	uint64_t mark = mark_of(path, "seep_mark"), start = mark_of(path, "main");
	uint32_t known;

	add_frame(p, mark, 0);
	add_frame(p, start, 0);
	add_frame(p, mark, 0);
	symbolize(p, NULL, NULL);
	expect_chain(p);
	assert_int_equal(p->nsymbols, 3);
	assert_int_equal(p->frames[1].symbol, p->frames[3].symbol);
	assert_string_equal(symbol_of(p, 2)->lines[0].function, "main");

	/* a second run leaves what is known alone, and symbolizes what was added */
	known = p->frames[1].symbol;
	add_frame(p, start + 1, 0);
	symbolize(p, NULL, NULL);
	assert_int_equal(p->frames[1].symbol, known);
	assert_int_equal(p->nsymbols, 4);
	expect_chain(p);
	assert_string_equal(symbol_of(p, 4)->lines[0].function, "main");
}

static void note_progress(void *arg, unsigned int done, unsigned int total)
{
	unsigned int *seen = arg;

	assert_true(done >= seen[0] && done <= total);
	seen[0] = done;
	seen[1] = total;
}

static void progress_ends_at_the_total(void **state)
{
	unsigned int seen[2] = { 0 };
	const struct sym_options opts = { .progress = note_progress, .progress_arg = seen };
	const char *path = target("inlined-static");
	_cleanup_profile_ struct profile *p = profile_of(path, path, 0);
	uint64_t start = mark_of(path, "main"), i;

	for (i = 0; i < 5000; i++)
		add_frame(p, start + i * 3, 0);
	add_frame(p, 1, PROF_NO_MODULE);
	symbolize(p, &opts, NULL);
	assert_int_equal(seen[0], 5001);
	assert_int_equal(seen[1], 5001);
}

/* ---- which file is believed ------------------------------------------- */

static void a_changed_module_gives_no_symbols(void **state)
{
	const char *path = in_dir("program");
	_cleanup_profile_ struct profile *p = profile_of(path, NULL, 0);
	_cleanup_profile_ struct profile *then = profile_of("", target("inlined-gcc-5"), 0);
	struct symbolizer *s;

	copy_file(target("inlined-another"), path);
	memcpy(p->modules[0].build_id, then->modules[0].build_id, 20);
	p->modules[0].build_id_len = then->modules[0].build_id_len;
	add_frame(p, mark_of(path, "seep_mark"), 0);
	symbolize(p, NULL, &s);
	assert_null(symbol_of(p, 1)->lines[0].function);
	assert_null(symbol_of(p, 1)->lines[0].file);
	assert_true(warned(s, "changed since the recording"));
	assert_true(warned(s, "abcdef012345 now"));
	assert_int_equal(count_warnings(s), 1);
	symbolizer_free(s);
}

static void without_build_id_inode_and_time_decide(void **state)
{
	const char *path = in_dir("program");
	struct symbolizer *s;
	int changed;

	copy_file(target("inlined-noid"), path);
	for (changed = 0; changed < 2; changed++) {
		_cleanup_profile_ struct profile *p = profile_of(path, path, 0);

		assert_int_equal(p->modules[0].build_id_len, 0);
		add_frame(p, mark_of(path, "seep_mark"), 0);
		p->modules[0].mtime_ns += (uint64_t)changed;
		symbolize(p, NULL, &s);
		if (changed) {
			assert_null(symbol_of(p, 1)->lines[0].function);
			assert_true(warned(s, "changed since the recording"));
		} else {
			expect_chain(p);
			assert_int_equal(count_warnings(s), 0);
		}
		symbolizer_free(s);
	}
}

static void nothing_recorded_is_said(void **state)
{
	const char *path = target("inlined-gcc-5");
	_cleanup_profile_ struct profile *p = profile_of(path, NULL, 0);
	struct symbolizer *s;

	add_frame(p, mark_of(path, "seep_mark"), 0);
	symbolize(p, NULL, &s);
	expect_chain(p);
	assert_true(warned(s, "without a build-id"));
	symbolizer_free(s);
}

static void a_missing_module_is_said_once(void **state)
{
	_cleanup_profile_ struct profile *p = profile_of("/nowhere/libgone.so.1", NULL, 0);
	struct symbolizer *s;

	add_frame(p, 0x1000, 0);
	add_frame(p, 0x2000, 0);
	symbolize(p, NULL, &s);
	assert_null(symbol_of(p, 1)->lines[0].function);
	assert_int_equal(count_warnings(s), 1);
	assert_true(warned(s, "libgone.so.1: not found on this machine"));
	symbolizer_free(s);
}

/* The stripped program with its debug file at `debug`; what comes of it in *ret_sym. */
static struct profile *stripped_with(const char *debug, const struct sym_options *opts,
                                     struct symbolizer **ret_sym)
{
	const char *path = in_dir("program");
	struct profile *p;

	copy_file(target("inlined-stripped"), path);
	if (debug)
		copy_file(target("inlined-stripped.debug"), debug);
	p = profile_of(path, path, 0x400000);
	add_frame(p, 0x400000 + mark_of(target("inlined-gcc-5"), "seep_mark"), 0);
	symbolize(p, opts, ret_sym);
	return p;
}

static void debuglink_is_found_beside_the_program(void **state)
{
	static const char *const places[] = { "inlined-stripped.debug",
		                              ".debug/inlined-stripped.debug" };
	struct symbolizer *s;
	struct profile *p;
	size_t i;

	assert_int_equal(mkdir(in_dir(".debug"), 0755), 0);
	p = stripped_with(NULL, NULL, &s);
	assert_null(symbol_of(p, 1)->lines[0].function);
	assert_true(warned(s, "no line numbers"));
	symbolizer_free(s);
	profile_free(p);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		p = stripped_with(in_dir(places[i]), NULL, &s);
		expect_chain(p);
		assert_int_equal(count_warnings(s), 0);
		symbolizer_free(s);
		profile_free(p);
		assert_int_equal(unlink(in_dir(places[i])), 0);
	}
}

static void a_debug_file_with_another_checksum_is_refused(void **state)
{
	const char *path = in_dir("program"), *debug = in_dir("inlined-stripped.debug");
	_cleanup_profile_ struct profile *p = NULL;
	struct symbolizer *s;
	size_t size;
	char *data = read_file(target("inlined-stripped.debug"), &size);

	data[size - 1] ^= 1; /* in the section headers: all content is as before */
	copy_file(target("inlined-stripped"), path);
	write_file(debug, data, size);
	free(data);
	p = profile_of(path, path, 0);
	add_frame(p, mark_of(target("inlined-gcc-5"), "seep_mark"), 0);
	symbolize(p, NULL, &s);
	assert_null(symbol_of(p, 1)->lines[0].function);
	assert_true(warned(s, "does not match the checksum"));
	symbolizer_free(s);
}

static void hex_of(const struct profile *p, char *hex)
{
	symfile_hex(p->modules[0].build_id, p->modules[0].build_id_len, hex);
}

static void debug_directories_are_searched_by_build_id(void **state)
{
	const char *dirs[] = { in_dir("nothing"), in_dir("debug"), NULL };
	const struct sym_options opts = { .debug_dirs = dirs };
	_cleanup_profile_ struct profile *p = profile_of("", target("inlined-stripped"), 0);
	char hex[64], path[256];
	struct profile *q;

	hex_of(p, hex);
	assert_int_equal(mkdir(in_dir("debug"), 0755), 0);
	assert_int_equal(mkdir(in_dir("debug/.build-id"), 0755), 0);
	snprintf(path, sizeof(path), "debug/.build-id/%.2s", hex);
	assert_int_equal(mkdir(in_dir(path), 0755), 0);
	snprintf(path, sizeof(path), "debug/.build-id/%.2s/%s.debug", hex, hex + 2);
	q = stripped_with(in_dir(path), &opts, NULL);
	expect_chain(q);
	profile_free(q);

	/* the program's own file gone: the debug file of its build-id does alone */
	free(p->modules[0].path);
	p->modules[0].path = strdup("/nowhere/program");
	add_frame(p, mark_of(target("inlined-gcc-5"), "seep_mark"), 0);
	symbolize(p, &opts, NULL);
	expect_chain(p);
}

static void debuginfod_is_asked_only_when_wanted(void **state)
{
	const struct sym_options never = { .no_debuginfod = true };
	_cleanup_profile_ struct profile *p = profile_of("", target("inlined-stripped"), 0);
	char hex[64], path[256], url[256];
	struct profile *q;

	if (!dlopen("libdebuginfod.so.1", RTLD_LAZY))
		skip();
	hex_of(p, hex);
	assert_int_equal(mkdir(in_dir("cache"), 0755), 0);
	assert_int_equal(mkdir(in_dir("buildid"), 0755), 0);
	snprintf(path, sizeof(path), "buildid/%s", hex);
	assert_int_equal(mkdir(in_dir(path), 0755), 0);
	snprintf(path, sizeof(path), "buildid/%s/debuginfo", hex);
	snprintf(url, sizeof(url), "file://%s/", in_dir(""));
	setenv("DEBUGINFOD_URLS", url, 1);
	setenv("DEBUGINFOD_CACHE_PATH", in_dir("cache"), 1);
	q = stripped_with(in_dir(path), &never, NULL);
	assert_null(symbol_of(q, 1)->lines[0].function);
	profile_free(q);
	q = stripped_with(in_dir(path), NULL, NULL);
	expect_chain(q);
	profile_free(q);
	unsetenv("DEBUGINFOD_URLS");
	unsetenv("DEBUGINFOD_CACHE_PATH");
}

static void the_sysroot_holds_for_paths_and_their_links(void **state)
{
	const struct sym_options opts = { .sysroot = in_dir("root") };
	_cleanup_profile_ struct profile *p = profile_of("/lib/program", target("inlined-gcc-5"), 0);
	struct sym_options wrong = { .sysroot = in_dir("absent") };
	struct symbolizer *s;
	struct seep_error *err;

	assert_int_equal(mkdir(in_dir("root"), 0755), 0);
	assert_int_equal(mkdir(in_dir("root/real"), 0755), 0);
	copy_file(target("inlined-gcc-5"), in_dir("root/real/program"));
	assert_int_equal(symlink("/real", in_dir("root/lib")), 0); /* absolute inside the root */
	add_frame(p, mark_of(target("inlined-gcc-5"), "seep_mark"), 0);
	symbolize(p, &opts, NULL);
	expect_chain(p);

	err = symbolizer_new(&wrong, &s);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "absent"));
	assert_non_null(err->hint);
	seep_error_free(err);
}

/* A supplementary file that is missing, or a trap: said, not waited for. */
static void a_missing_supplementary_file_is_said(void **state)
{
	const char *path = in_dir("program");
	int trap;

	copy_file(target("inlined-alt"), path);
	for (trap = 0; trap < 2; trap++) {
		_cleanup_profile_ struct profile *p = profile_of(path, path, 0);
		struct symbolizer *s;

		if (trap)
			assert_int_equal(mkfifo(in_dir("common.debug"), 0600), 0);
		add_frame(p, mark_of(path, "seep_mark"), 0);
		symbolize(p, NULL, &s);
		expect_chain(p); /* it refers to nothing in there */
		assert_true(warned(s, "common.debug, is not installed"));
		symbolizer_free(s);
	}
}

/* This test process is the live target: it maps a file and removes it. */
static void a_deleted_file_is_read_from_the_live_target(void **state)
{
	const struct sym_options opts = { .pid = getpid() };
	const char *path = in_dir("program");
	_cleanup_profile_ struct profile *p = NULL;
	_cleanup_close_ int fd = -1;
	char link[128];
	void *map;

	copy_file(target("inlined-gcc-5"), path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	p = profile_of(path, path, 0);
	p->modules[0].start = (uintptr_t)map;
	p->modules[0].end = (uintptr_t)map + 4096;
	add_frame(p, mark_of(path, "seep_mark"), 0);
	assert_int_equal(unlink(path), 0);
	snprintf(link, sizeof(link), "/proc/self/map_files/%lx-%lx", (unsigned long)(uintptr_t)map,
	         (unsigned long)(uintptr_t)map + 4096);
	close(fd);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0) { /* needs CAP_CHECKPOINT_RESTORE */
		munmap(map, 4096);
		skip();
	}
	symbolize(p, &opts, NULL);
	munmap(map, 4096);
	expect_chain(p);
}

static void the_vdso_is_read_from_this_process(void **state)
{
	const ElfW(Ehdr) *eh = (const void *)getauxval(AT_SYSINFO_EHDR);
	_cleanup_profile_ struct profile *p = profile_of("[vdso]", NULL, 0);
	struct seep_error *err;
	struct symfile *f;
	size_t size;
	int other;

	if (!eh)
		skip();
	size = eh->e_shoff + (size_t)eh->e_shnum * eh->e_shentsize;
	write_file(in_dir("vdso"), eh, size);
	err = symfile_open_memory(eh, size, "[vdso]", &f);
	assert_null(err);
	assert_in_range(f->build_id_len, 1, 20);
	memcpy(p->modules[0].build_id, f->build_id, f->build_id_len);
	p->modules[0].build_id_len = (uint8_t)f->build_id_len;
	symfile_close(f);
	add_frame(p, mark_of(in_dir("vdso"), "__vdso_clock_gettime") + 1, 0);
	for (other = 0; other < 2; other++) {
		p->modules[0].build_id[0] ^= (uint8_t)other;
		p->frames[1].symbol = 0;
		symbolize(p, NULL, NULL);
		if (other)
			assert_null(symbol_of(p, 1)->lines[0].function);
		else
			assert_non_null(strstr(symbol_of(p, 1)->lines[0].function, "clock_gettime"));
	}
}

/* ---- perf maps -------------------------------------------------------- */

static void code_without_a_file_is_named_by_the_perf_map(void **state)
{
	const struct sym_options opts = { .pid = getpid() };
	_cleanup_profile_ struct profile *p = profile_of("", NULL, 0);
	_cleanup_profile_ struct profile *q = profile_of("", NULL, 0);
	static const char map[] = "10000 100 jit:one\n20000 100 jit:two\n";
	char path[64];
	struct symbolizer *s;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	write_file(path, map, strlen(map));
	add_frame(p, 0x10010, PROF_NO_MODULE);
	add_frame(p, 0x20020, 0);
	add_frame(p, 0x30030, PROF_NO_MODULE);
	symbolize(p, &opts, NULL);
	/* of a process that has ended: a map older than its start is another process's */
	q->pid = getpid();
	q->start_real_ns = UINT64_C(4000000000000000000); /* in the year 2096 */
	add_frame(q, 0x10010, PROF_NO_MODULE);
	symbolize(q, NULL, &s);
	unlink(path);
	assert_string_equal(symbol_of(p, 1)->lines[0].function, "jit:one");
	assert_string_equal(symbol_of(p, 2)->lines[0].function, "jit:two");
	assert_null(symbol_of(p, 3)->lines[0].function);
	assert_null(symbol_of(q, 1)->lines[0].function);
	assert_true(warned(s, "older than the recording"));
	symbolizer_free(s);
}

static void a_perf_map_of_another_user_is_refused(void **state)
{
	const struct sym_options opts = { .pid = getpid() };
	_cleanup_profile_ struct profile *p = profile_of("", NULL, 0);
	static const char map[] = "10000 100 evil\n";
	struct symbolizer *s = NULL;
	char path[64];
	bool done;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	write_file(path, map, strlen(map));
	add_frame(p, 0x10010, PROF_NO_MODULE);
	done = chown(path, 65534, 65534) == 0 && getuid() != 65534;
	if (done)
		symbolize(p, &opts, &s);
	unlink(path);
	if (!done) /* only root can give files away */
		skip();
	assert_null(symbol_of(p, 1)->lines[0].function);
	assert_true(warned(s, "belongs to another user"));
	symbolizer_free(s);
}

/* ---- hostile files ---------------------------------------------------- */

static void things_that_are_no_files_are_not_waited_for(void **state)
{
	const char *fifo = in_dir("fifo");
	const char *paths[] = { fifo, "/", "/dev/null", "/proc/self/mem", "//anon", "[heap]", "" };
	size_t i;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_profile_ struct profile *p = profile_of(paths[i], NULL, 0);

		add_frame(p, 0x1000, 0);
		add_frame(p, UINT64_MAX, 0);
		add_frame(p, 0x1000, 77); /* no such module: taken as none */
		p->frames[3].module = PROF_NO_MODULE;
		symbolize(p, NULL, NULL);
		assert_null(symbol_of(p, 1)->lines[0].function);
	}
}

static void damaged_files_give_unknown_symbols(void **state)
{
	static const char *const names[] = { "inlined-gcc-4",      "inlined-gcc-5",
		                             "inlined-mini",       "inlined-stripped",
		                             "inlined-compressed", "inlined-zstd" };
	const char *path = in_dir("program");
	uint32_t seed = 12345;
	size_t i, size, round, j;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t mark = mark_of(target("inlined-gcc-5"), "seep_mark");
		char *data, *bad;

		if (access(target(names[i]), F_OK) < 0)
			continue;
		data = read_file(target(names[i]), &size);
		bad = malloc(size);
		assert_non_null(bad);
		for (round = 0; round < 100; round++) {
			_cleanup_profile_ struct profile *p = profile_of(path, NULL, 0);
			size_t len = size;

			memcpy(bad, data, size);
			if (round < 50)
				len = size * round / 50;
			for (j = 0; round >= 50 && j < 1 + round * 4; j++) {
				seed = seed * 1664525 + 1013904223;
				bad[(seed >> 4) % size] = (char)(seed >> 24);
			}
			write_file(path, bad, len);
			for (j = 0; j < 64; j++)
				add_frame(p, mark - 0x100 + j * 8, 0);
			symbolize(p, NULL, NULL); /* must end, without an error and without a crash */
			assert_true(symbol_of(p, 1)->nlines >= 1);
		}
		free(data);
		free(bad);
	}
}

static void a_damaged_profile_is_survived(void **state)
{
	const char *path = target("inlined-gcc-5");
	_cleanup_profile_ struct profile *p = profile_of(path, path, 0x1000);
	uint64_t mark = mark_of(path, "seep_mark");
	struct symbolizer *s;

	add_frame(p, 0x1000 + mark, 0);
	add_frame(p, 0, 0); /* below the bias */
	add_frame(p, UINT64_MAX, 0);
	add_frame(p, 0xfff, 0);
	symbolize(p, NULL, NULL);
	expect_chain(p);
	assert_null(symbol_of(p, 2)->lines[0].function);
	p->modules[0].build_id_len = 255; /* longer than the field: taken as none */
	add_frame(p, 0x1001 + mark, 0);
	assert_null(symbolizer_new(NULL, &s));
	assert_null(symbolizer_run(s, p));
	symbolizer_free(s);
	assert_non_null(symbol_of(p, 5)->lines[0].function);
}

#define T(f) cmocka_unit_test_setup_teardown(f, symtest_setup, symtest_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(inlined_chains_are_exact),
		T(sections_packed_with_zstd_are_read),
		T(without_inlines_the_call_in_the_real_function_is_shown),
		T(without_dwarf_the_symbol_table_names_functions),
		T(cxx_names_are_demangled),
		T(inlined_copies_have_their_scopes),
		T(rust_names_are_demangled),
		T(equal_addresses_share_one_symbol),
		T(progress_ends_at_the_total),
		T(a_changed_module_gives_no_symbols),
		T(without_build_id_inode_and_time_decide),
		T(nothing_recorded_is_said),
		T(a_missing_module_is_said_once),
		T(debuglink_is_found_beside_the_program),
		T(a_debug_file_with_another_checksum_is_refused),
		T(debug_directories_are_searched_by_build_id),
		T(debuginfod_is_asked_only_when_wanted),
		T(the_sysroot_holds_for_paths_and_their_links),
		T(a_missing_supplementary_file_is_said),
		T(a_deleted_file_is_read_from_the_live_target),
		T(the_vdso_is_read_from_this_process),
		T(code_without_a_file_is_named_by_the_perf_map),
		T(a_perf_map_of_another_user_is_refused),
		T(things_that_are_no_files_are_not_waited_for),
		T(damaged_files_give_unknown_symbols),
		T(a_damaged_profile_is_survived),
	};

	symtest_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
