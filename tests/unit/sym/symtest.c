/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the symbolizer's tests: see symtest.h. */
#include "symtest.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <dirent.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <ftw.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *target_dir, *source_dir;
bool have_clang, have_rust;

static char own_dir[64];
static char paths[64][PATH_MAX];
static size_t npaths, fds_before;

void symtest_init(int argc, char **argv)
{
	int i;

	if (argc < 3) {
		fprintf(stderr, "usage: %s TARGETDIR SOURCEDIR [clang] [rust]\n", argv[0]);
		exit(2);
	}
	target_dir = realpath(argv[1], NULL);
	source_dir = argv[2];
	for (i = 3; i < argc; i++) {
		have_clang |= !strcmp(argv[i], "clang");
		have_rust |= !strcmp(argv[i], "rust");
	}
}

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int symtest_setup(void **state)
{
	(void)state;
	npaths = 0;
	snprintf(own_dir, sizeof(own_dir), "/tmp/seep-symtest-XXXXXX");
	unsetenv("DEBUGINFOD_URLS");
	if (!mkdtemp(own_dir))
		return -1;
	fds_before = count_fds();
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int symtest_teardown(void **state)
{
	(void)state;
	assert_int_equal(count_fds(), fds_before);
	return nftw(own_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *join(const char *dir, const char *name)
{
	assert_true(npaths < ARRAY_SIZE(paths));
	assert_true(snprintf(paths[npaths], PATH_MAX, "%s/%s", dir, name) < PATH_MAX);
	return paths[npaths++];
}

const char *target(const char *name)
{
	return join(target_dir, name);
}

const char *in_dir(const char *name)
{
	return join(own_dir, name);
}

void *read_file(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	char *data;

	if (!f)
		fail_msg("cannot open %s", path);
	assert_int_equal(fstat(fileno(f), &st), 0);
	data = malloc((size_t)st.st_size + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)st.st_size, f), st.st_size);
	data[st.st_size] = 0;
	fclose(f);
	*ret_size = (size_t)st.st_size;
	return data;
}

void write_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

void copy_file(const char *from, const char *to)
{
	size_t size;
	void *data = read_file(from, &size);

	write_file(to, data, size);
	free(data);
}

uint64_t mark_of(const char *path, const char *symbol)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf_Scn *scn = NULL;
	uint64_t value = 0;
	GElf_Shdr shdr;
	Elf *elf;

	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	while ((scn = elf_nextscn(elf, scn)) && gelf_getshdr(scn, &shdr)) {
		Elf_Data *data = elf_getdata(scn, NULL);
		GElf_Sym sym;
		int i;

		if (shdr.sh_type != SHT_SYMTAB && shdr.sh_type != SHT_DYNSYM)
			continue;
		for (i = 0; gelf_getsym(data, i, &sym); i++)
			if (sym.st_value &&
			    !strcmp(elf_strptr(elf, shdr.sh_link, sym.st_name), symbol))
				value = sym.st_value;
	}
	elf_end(elf);
	if (!value)
		fail_msg("no symbol %s in %s", symbol, path);
	return value;
}

uint32_t line_of(const char *source, const char *what)
{
	FILE *f = fopen(join(source_dir, source), "re");
	char line[512], mark[128];
	uint32_t n = 0, found = 0;

	assert_non_null(f);
	snprintf(mark, sizeof(mark), "line of %s", what);
	while (!found && fgets(line, sizeof(line), f)) {
		n++;
		if (strstr(line, mark))
			found = n;
	}
	fclose(f);
	assert_int_not_equal(found, 0);
	return found;
}

struct profile *profile_of(const char *path, const char *identity, uint64_t bias)
{
	struct profile *p = profile_new();
	struct prof_module *m;

	assert_non_null(p);
	m = p->modules = calloc(1, sizeof(*m));
	assert_non_null(m);
	p->nmodules = 1;
	m->path = strdup(path);
	m->bias = m->start = bias;
	m->end = UINT64_MAX;
	if (identity) {
		_cleanup_close_ int fd = open(identity, O_RDONLY | O_CLOEXEC);
		const void *id;
		struct stat st;
		ssize_t len;
		Elf *elf;

		elf_version(EV_CURRENT);
		elf = elf_begin(fd, ELF_C_READ, NULL);
		assert_non_null(elf);
		len = dwelf_elf_gnu_build_id(elf, &id);
		if (len > 0) {
			assert_true((size_t)len <= sizeof(m->build_id));
			memcpy(m->build_id, id, (size_t)len);
			m->build_id_len = (uint8_t)len;
		}
		elf_end(elf);
		assert_int_equal(fstat(fd, &st), 0);
		m->dev = st.st_dev;
		m->inode = st.st_ino;
		m->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
		              (uint64_t)st.st_mtim.tv_nsec;
	}
	return p;
}

void add_frame(struct profile *p, uint64_t pc, uint32_t module)
{
	struct prof_frame *frames = realloc(p->frames, (p->nframes + 1) * sizeof(*frames));

	assert_non_null(frames);
	p->frames = frames;
	frames[p->nframes++] = (struct prof_frame){ .pc = pc, .module = module };
}

void symbolize(struct profile *p, const struct sym_options *opts, struct symbolizer **ret_sym)
{
	struct symbolizer *s = NULL;
	struct seep_error *err = symbolizer_new(opts, &s);

	if (!err)
		err = symbolizer_run(s, p);
	if (err)
		fail_msg("%s", err->message);
	err = profile_check(p);
	if (err)
		fail_msg("%s", err->message);
	if (ret_sym)
		*ret_sym = s;
	else
		symbolizer_free(s);
}

const struct prof_symbol *symbol_of(const struct profile *p, size_t frame)
{
	assert_true(frame < p->nframes);
	assert_in_range(p->frames[frame].symbol, 1, p->nsymbols - 1);
	assert_true(p->symbols[p->frames[frame].symbol].nlines > 0);
	return &p->symbols[p->frames[frame].symbol];
}

bool warned(const struct symbolizer *s, const char *text)
{
	const char *const *w;

	for (w = symbolizer_warnings(s); *w; w++)
		if (strstr(*w, text))
			return true;
	return false;
}

size_t count_warnings(const struct symbolizer *s)
{
	const char *const *w = symbolizer_warnings(s);
	size_t n = 0;

	while (w[n])
		n++;
	return n;
}

void expect_chain(const struct profile *p)
{
	static const char *const names[] = { "innermost", "middle", "outer" };
	const struct prof_symbol *s = symbol_of(p, 1);
	size_t i;

	assert_int_equal(s->nlines, ARRAY_SIZE(names));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(s->lines[i].function, names[i]);
		assert_non_null(s->lines[i].file);
		assert_non_null(strstr(s->lines[i].file, "inlined.c"));
		assert_int_equal(s->lines[i].line, line_of("inlined.c", names[i]));
		assert_int_equal(s->lines[i].inlined, i + 1 < ARRAY_SIZE(names));
	}
}
