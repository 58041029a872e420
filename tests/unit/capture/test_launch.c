/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting programs: what cannot be run or tracked is refused before the start with the
 * reason and the way out, and what is started gets the environment it needs.
 */
#include "capture/launch.h"

#include "base/error.h"

#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[128];

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

struct fake {
	uint8_t class;
	uint16_t machine;
	const char *interp; /* NULL: static */
	const char *symbol; /* in .dynstr */
};

/* An ELF file with just what the check looks at; it is never executed. */
static void make_elf(const struct fake *f)
{
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[3];
		Elf64_Dyn dyn[3];
		char interp[64];
		char strings[64];
	} file = { 0 };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	const uint64_t strings_at = (uint64_t)((char *)file.strings - (char *)&file);
	const uint64_t interp_at = (uint64_t)((char *)file.interp - (char *)&file);

	memcpy(file.eh.e_ident, ELFMAG, SELFMAG);
	file.eh.e_ident[EI_CLASS] = f->class;
	file.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	file.eh.e_type = ET_DYN;
	file.eh.e_machine = f->machine;
	file.eh.e_phentsize = sizeof(Elf64_Phdr);
	file.eh.e_phnum = 3;
	file.eh.e_phoff = sizeof(Elf64_Ehdr);
	file.ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_filesz = sizeof(file), .p_vaddr = 0x1000 };
	file.ph[1] = (Elf64_Phdr){ .p_type = PT_DYNAMIC,
		                   .p_filesz = sizeof(file.dyn),
		                   .p_offset = (uint64_t)((char *)file.dyn - (char *)&file) };
	if (f->interp) {
		snprintf(file.interp, sizeof(file.interp), "%s", f->interp);
		file.ph[2] = (Elf64_Phdr){ .p_type = PT_INTERP,
			                   .p_offset = interp_at,
			                   .p_filesz = strlen(f->interp) + 1 };
	}
	file.dyn[0] = (Elf64_Dyn){ .d_tag = DT_STRTAB, .d_un.d_ptr = 0x1000 + strings_at };
	file.dyn[1] = (Elf64_Dyn){ .d_tag = DT_STRSZ, .d_un.d_val = sizeof(file.strings) };
	if (f->symbol)
		snprintf(file.strings + 1, sizeof(file.strings) - 1, "%s", f->symbol);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, &file, sizeof(file)), sizeof(file));
	close(fd);
}

static void make_script(const char *text, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void must_refuse(const char *command, int status, const char *words, const char *hint)
{
	char *found = NULL;
	int got = -1;
	struct seep_error *err = launch_check(command, &found, &got);

	assert_non_null(err);
	assert_null(found);
	assert_int_equal(got, status);
	if (!strstr(err->message, words))
		fail_msg("'%s' does not say '%s'", err->message, words);
	if (hint && (!err->hint || !strstr(err->hint, hint)))
		fail_msg("the hint '%s' does not say '%s'", err->hint, hint);
	seep_error_free(err);
}

static void must_accept(const char *command, const char *expected)
{
	char *found = NULL;
	int status = -1;
	struct seep_error *err = launch_check(command, &found, &status);

	if (err)
		fail_msg("%s", err->message);
	assert_string_equal(found, expected);
	free(found);
}

static void finds_commands_as_a_shell_does(void **state)
{
	char *old = strdup(getenv("PATH")), *list = NULL;

	must_refuse("surely-no-such-command", LAUNCH_NOT_FOUND, "command not found", "PATH");
	must_refuse("./surely-no-such-file", LAUNCH_NOT_FOUND, "No such file", NULL);
	must_refuse("", LAUNCH_NOT_FOUND, "command not found", NULL);
	must_refuse("/", LAUNCH_NOT_EXECUTABLE, "Is a directory", NULL);
	must_refuse("/dev/null", LAUNCH_NOT_EXECUTABLE, "not a regular file", NULL);
	make_script("#!/bin/sh\n", 0644);
	must_refuse(path, LAUNCH_NOT_EXECUTABLE, "Permission denied", "chmod +x");
	/* In PATH, one that cannot be executed does not hide a later one that can. */
	assert_true(asprintf(&list, "%s:/nonexistent:%s", dir, old) > 0);
	setenv("PATH", list, 1);
	must_refuse("program", LAUNCH_NOT_EXECUTABLE, "Permission denied", "chmod +x");
	chmod(path, 0755);
	must_accept("program", path);
	must_accept("sh", access("/usr/bin/sh", X_OK) == 0 && strstr(old, "/usr/bin") ? "/usr/bin/sh"
	                                                                              : "/bin/sh");
	setenv("PATH", old, 1);
	free(old);
	free(list);
}

static void refuses_what_cannot_be_tracked(void **state)
{
	const char *ld = "/lib64/ld-linux-x86-64.so.2";

	if (access(ld, X_OK) < 0)
		ld = "/lib/ld-linux-aarch64.so.1";
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, ld, "malloc" });
	must_accept(path, path);
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, NULL, "malloc" });
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "static program", "uprobes");
	make_elf(&(struct fake){ ELFCLASS32, EM_386, "/lib/ld-linux.so.2", NULL });
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "32-bit", "architecture");
	make_elf(&(struct fake){ ELFCLASS64, EM_S390, "/lib/ld64.so.1", NULL });
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "another processor", NULL);
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, "/lib/ld-musl-x86_64.so.1", NULL });
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "musl", "glibc");
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, "/nonexistent/ld.so", NULL });
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "its loader /nonexistent/ld.so", NULL);
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, ld, "__asan_init" });
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "sanitizer", "-fsanitize");
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, ld, "not__asan_initial" });
	must_accept(path, path);
}

static void refuses_setuid(void **state)
{
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, NULL, NULL });
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(chmod(path, 04755), 0);
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "LD_PRELOAD", "setuid bit");
	assert_int_equal(chmod(path, 02755), 0);
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "setgid", NULL);
	unlink(path);
}

static void looks_behind_scripts(void **state)
{
	char text[256], other[160];

	make_script("#!/bin/sh\ntrue\n", 0755);
	must_accept(path, path);
	make_script("#! /usr/bin/env -S sh\n", 0755);
	must_accept(path, path);
	make_script("#!/nonexistent/interp\n", 0755);
	must_refuse(path, LAUNCH_NOT_EXECUTABLE, "its interpreter /nonexistent/interp", NULL);
	make_script("just text\n", 0755);
	must_refuse(path, LAUNCH_NOT_EXECUTABLE, "Exec format error", "#!");
	make_script("", 0755);
	must_refuse(path, LAUNCH_NOT_EXECUTABLE, "Exec format error", NULL);
	make_script("\177ELF", 0755);
	must_refuse(path, LAUNCH_NOT_EXECUTABLE, "Exec format error", NULL);
	/* A script whose interpreter is itself. */
	snprintf(text, sizeof(text), "#!%s\n", path);
	make_script(text, 0755);
	must_refuse(path, LAUNCH_NOT_EXECUTABLE, "symbolic links", NULL);
	/* A script for a static interpreter. */
	make_elf(&(struct fake){ ELFCLASS64, MACHINE, NULL, NULL });
	snprintf(other, sizeof(other), "%s/static", dir);
	assert_int_equal(rename(path, other), 0);
	snprintf(text, sizeof(text), "#!%s\n", other);
	make_script(text, 0755);
	must_refuse(path, LAUNCH_NOT_TRACKABLE, "the script", "uprobes");
	unlink(other);
}

/* Every prefix of a real program, and bytes changed in its headers: never more than an error. */
static void survives_damaged_programs(void **state)
{
	static uint8_t data[65536];
	int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, data, sizeof(data));

	close(fd);
	assert_true(n > 4096);
	for (unsigned int i = 0; i < 600; i++) {
		struct seep_error *err;
		char *found = NULL;
		size_t at = i % 300 * 3;
		uint8_t good = data[at];
		int status;

		data[at] = i < 300 ? 0xff : (uint8_t)(good ^ 0x10);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
		assert_true(write(fd, data, i % 3 ? (size_t)n : at) >= 0);
		close(fd);
		err = launch_check(path, &found, &status);
		assert_true((err != NULL) == (found == NULL));
		seep_error_free(err);
		free(found);
		data[at] = good;
	}
}

/* ---- start ------------------------------------------------------------------------- */

static char *output_of(struct launch_options *o, const char *script, int *ret_status)
{
	char file[128], command[512];
	const char *argv[] = { "/bin/sh", "-c", command, NULL };
	struct seep_error *err;
	char *text = calloc(1, 4096);
	int status = -1;
	FILE *f;
	pid_t pid;

	assert_non_null(text);
	snprintf(file, sizeof(file), "%s/out", dir);
	snprintf(command, sizeof(command), "exec > %s; %s", file, script);
	o->argv = (char *const *)(uintptr_t)argv;
	o->ledger_dir = dir;
	err = launch_start(o, &pid, &status);
	if (err)
		fail_msg("%s", err->message);
	assert_int_equal(waitpid(pid, ret_status, 0), pid);
	f = fopen(file, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, 4095, f) < 4095);
	fclose(f);
	unlink(file);
	return text;
}

static void sets_the_environment(void **state)
{
	char expected[1024], library[256];
	struct launch_options o = { .follow = true };
	char *text;
	int status;

	/* Any library will do: what matters here is what ld.so is told. */
	snprintf(library, sizeof(library), "%s", getenv("SEEP_TEST_LIBRARY"));
	setenv("SEEP_LIBRARY", library, 1);
	setenv("LD_PRELOAD", library, 1);
	setenv("SEEP_OPTIONS", "seed=7", 1);
	text = output_of(&o, "echo \"$LD_PRELOAD $SEEP_OPTIONS\"; exit 7", &status);
	snprintf(expected, sizeof(expected), "%s:%s seed=7,dir=%s,mode=full\n", library, library,
	         dir);
	assert_string_equal(text, expected);
	assert_int_equal(WEXITSTATUS(status), 7);
	free(text);
	unsetenv("LD_PRELOAD");
	unsetenv("SEEP_OPTIONS");
	o.period = 65536;
	text = output_of(&o, "echo \"$LD_PRELOAD $SEEP_OPTIONS\"", &status);
	snprintf(expected, sizeof(expected), "%s dir=%s,mode=sampled,sample=65536\n", library, dir);
	assert_string_equal(text, expected);
	free(text);
	/* --no-follow: the option names the very process. */
	o.follow = false;
	text = output_of(
		&o, "case $SEEP_OPTIONS in *,only=$$) echo same;; *) echo \"$SEEP_OPTIONS\";; esac",
		&status);
	assert_string_equal(text, "same\n");
	free(text);
}

static void finds_the_library(void **state)
{
	struct seep_error *err;
	char *found = NULL;

	setenv("SEEP_LIBRARY", "/nonexistent/libseep.so", 1);
	err = launch_find_library(&found);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "SEEP_LIBRARY=/nonexistent/libseep.so"));
	seep_error_free(err);
	make_script("x", 0644);
	snprintf(path, sizeof(path), "%s/a b", dir);
	make_script("x", 0644);
	setenv("SEEP_LIBRARY", path, 1);
	err = launch_find_library(&found);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "blank"));
	seep_error_free(err);
	unlink(path);
	snprintf(path, sizeof(path), "%s/program", dir);
	unsetenv("SEEP_LIBRARY");
}

static void makes_private_directories(void **state)
{
	struct seep_error *err;
	char *made = NULL, comma[128];
	struct stat st;

	err = launch_make_dir(dir, &made);
	assert_null(err);
	assert_int_equal(stat(made, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_memory_equal(made, dir, strlen(dir));
	rmdir(made);
	free(made);
	err = launch_make_dir("/nonexistent/place", &made);
	assert_non_null(err);
	assert_non_null(strstr(err->hint, "mkdir"));
	seep_error_free(err);
	snprintf(comma, sizeof(comma), "%s/a,b", dir);
	assert_int_equal(mkdir(comma, 0700), 0);
	err = launch_make_dir(comma, &made);
	assert_non_null(err);
	seep_error_free(err);
	rmdir(comma);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_commands_as_a_shell_does),
		cmocka_unit_test(refuses_what_cannot_be_tracked),
		cmocka_unit_test(refuses_setuid),
		cmocka_unit_test(looks_behind_scripts),
		cmocka_unit_test(survives_damaged_programs),
		cmocka_unit_test(sets_the_environment),
		cmocka_unit_test(finds_the_library),
		cmocka_unit_test(makes_private_directories),
	};
	int r;

	unsetenv("SEEP_OPTIONS");
	unsetenv("LD_PRELOAD");
	snprintf(dir, sizeof(dir), "/tmp/seep-test-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/program", dir);
	r = cmocka_run_group_tests_name("launch", tests, NULL, NULL);
	/* The shells that were started are tracked, and left their ledgers here. */
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	return system(path) == 0 ? r : 1;
}
