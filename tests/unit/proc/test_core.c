/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Core files: made here byte by byte, cut at every length, and written by gdb of a process whose live image
 * was taken just before.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/core_file.h"
#include "proc/image.h"
#include "subject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

static char path[] = "/tmp/seep-core-XXXXXX";

static void put_file(const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static bool noted(const struct image *img, const char *words)
{
	for (size_t i = 0; i < img->nnotes; i++)
		if (strstr(img->notes[i], words))
			return true;
	return false;
}

/* ---- made by hand ----------------------------------------------------------- */

static void note(struct buf *b, const char *name, uint32_t type, const void *data, size_t len)
{
	uint32_t head[3] = { (uint32_t)strlen(name) + 1, (uint32_t)len, type };

	buf_add(b, head, sizeof(head));
	buf_add(b, name, strlen(name) + 1);
	while (b->len % 4)
		buf_putc(b, 0);
	buf_add(b, data, len);
	while (b->len % 4)
		buf_putc(b, 0);
}

#define HEAP 0x10000000ull
#define STACK 0x7ffc00000000ull
#define LIB 0x7f0000000000ull

/* Notes of two threads, the second one being the main thread. */
static void make_notes(struct buf *b)
{
	struct {
		uint64_t count, page, ranges[2][3];
		char paths[64];
	} files = { 2,
		    4096,
		    { { LIB, LIB + 0x2000, 0 }, { LIB + 0x2000, LIB + 0x3000, 2 } },
		    "/nowhere/lib\0/nowhere/lib" };
	uint64_t auxv[] = { AT_RANDOM, HEAP + 16, AT_BASE, LIB, AT_PHDR, LIB + 64, AT_NULL, 0 };
	struct elf_prstatus st = { 0 };
	struct elf_prpsinfo ps = { .pr_pid = 77 };
	uint64_t vector[4] = { 1, 2, 3, 0xabcdef };
	siginfo_t si = { .si_signo = SIGSEGV };

	strcpy(ps.pr_fname, "victim");
	strcpy(ps.pr_psargs, "victim --now ");
	for (int i = 0; i < 2; i++) {
		struct user_regs_struct r = { .rip = LIB + 0x1000 + (unsigned int)i,
			                      .rsp = STACK + 0x800,
			                      .rbp = 9,
			                      .fs_base = HEAP + 0x40,
			                      .r12 = 0x1234 + (unsigned int)i };

		st.pr_pid = i ? 77 : 78;
		memcpy(&st.pr_reg, &r, sizeof(r));
		note(b, "CORE", NT_PRSTATUS, &st, sizeof(st));
		if (!i) {
			note(b, "CORE", NT_PRPSINFO, &ps, sizeof(ps));
			note(b, "CORE", NT_SIGINFO, &si, sizeof(si));
			note(b, "CORE", NT_AUXV, auxv, sizeof(auxv));
			note(b, "CORE", NT_FILE, &files, 16 + 48 + 26);
		}
		note(b, "CORE", NT_FPREGSET, vector, 16);
		note(b, "LINUX", NT_X86_XSTATE, vector, sizeof(vector));
	}
}

static void pad(struct buf *b, size_t to)
{
	while (b->len < to)
		buf_putc(b, 0);
}

/* Header, five segments (notes, heap, library text not dumped, library data, stack), their bytes. */
static void make_core(struct buf *b, bool many)
{
	_cleanup_buf_ struct buf notes = { 0 };
	Elf64_Ehdr eh = { .e_type = ET_CORE,
		          .e_machine = EM_X86_64,
		          .e_phoff = 128,
		          .e_phentsize = sizeof(Elf64_Phdr),
		          .e_phnum = many ? PN_XNUM : 5,
		          .e_shoff = many ? 64 : 0 };
	Elf64_Shdr sh = { .sh_info = 5 };
	Elf64_Phdr ph[5] = {
		{ .p_type = PT_NOTE, .p_offset = 0x200 },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_W,
		  .p_vaddr = HEAP,
		  .p_offset = 0x1000,
		  .p_filesz = 0x2000,
		  .p_memsz = 0x2000 },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_X,
		  .p_vaddr = LIB,
		  .p_offset = 0x3000,
		  .p_filesz = 0,
		  .p_memsz = 0x2000 },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_W,
		  .p_vaddr = LIB + 0x2000,
		  .p_offset = 0x3000,
		  .p_filesz = 0x1000,
		  .p_memsz = 0x1000 },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_W,
		  .p_vaddr = STACK,
		  .p_offset = 0x4000,
		  .p_filesz = 0x1000,
		  .p_memsz = 0x1000 },
	};

	make_notes(&notes);
	assert_true(notes.len < 0xe00);
	ph[0].p_filesz = notes.len;
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	buf_add(b, &eh, sizeof(eh));
	buf_add(b, &sh, sizeof(sh));
	pad(b, 128);
	buf_add(b, ph, sizeof(ph));
	pad(b, 0x200);
	buf_add(b, notes.data, notes.len);
	pad(b, 0x1000);
	for (uint64_t i = 0; i < 0x4000 / 8; i++)
		buf_add(b, &i, 8);
	assert_false(b->failed);
	assert_int_equal(b->len, 0x5000);
}

static void check_core(const struct image *img)
{
	uint64_t word;
	uint8_t resident[4];

	assert_int_equal(img->kind, IMAGE_CORE);
	assert_int_equal(img->pid, 77);
	assert_string_equal(img->command, "victim --now");
	assert_string_equal(img->exe, "/nowhere/lib");
	assert_int_equal(img->nmaps, 4);
	assert_int_equal(img->at_random, HEAP + 16);
	assert_true(img->at_base == LIB);
	assert_int_equal(img->nthreads, 2);
	assert_int_equal(img->threads[0].tid, 77);
	assert_string_equal(img->threads[0].name, "victim");
	assert_true(img->threads[0].pc == LIB + 0x1001);
	assert_true(img->threads[0].sp == STACK + 0x800);
	assert_int_equal(img->threads[0].tls, HEAP + 0x40);
	assert_int_equal(img->threads[1].tid, 78);
	assert_int_equal(img->threads[0].ngeneral, 27);
	assert_int_equal(img->threads[0].nwords, 31);
	assert_int_equal(img->threads[0].words[3], 0x1235); /* r12 */
	assert_int_equal(img->threads[0].words[30], 0xabcdef);
	assert_true(image_read_u64(img, HEAP + 0x1ff8, &word));
	assert_int_equal(word, 0x3ff);
	assert_true(image_read_u64(img, STACK, &word));
	assert_int_equal(word, 0x3000 / 8);
	assert_string_equal(image_map_of(img, STACK)->path, "[stack]");
	assert_string_equal(image_map_of(img, HEAP)->path, "");
	assert_string_equal(image_map_of(img, LIB)->path, "/nowhere/lib");
	assert_int_equal(image_map_of(img, LIB + 0x2000)->offset, 0x2000);
	assert_int_equal(image_map_of(img, LIB)->flags, IMAGE_READ | IMAGE_EXEC | IMAGE_ABSENT);
	assert_false(image_read_u64(img, LIB, &word));
	assert_false(image_read_u64(img, HEAP + 0x1ffc, &word));
	image_resident(img, LIB + 0x1000, 4, resident);
	assert_memory_equal(resident, ((uint8_t[]){ 0, 1, 0, 0 }), 4);
	assert_true(noted(img, "1 mappings of files"));
	assert_false(noted(img, "cut off"));
}

static void test_made(void **state)
{
	for (int many = 0; many < 2; many++) {
		_cleanup_buf_ struct buf b = { 0 };
		_cleanup_image_ struct image *img = NULL;

		make_core(&b, many);
		put_file(b.data, b.len);
		assert_null(image_open_core(path, NULL, &img));
		check_core(img);
	}
}

static void touch(struct image *img)
{
	uint8_t bytes[64], resident[16];

	for (size_t i = 0; i < img->nmaps; i++) {
		image_read(img, img->maps[i].start, bytes, sizeof(bytes));
		image_read(img, img->maps[i].end - 32, bytes, sizeof(bytes));
		image_resident(img, img->maps[i].start - 4096, 16, resident);
	}
}

/* Cut after every byte: it is opened with a note of what is missing, or refused; never more. */
static void test_cut(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };
	unsigned int opened = 0;

	make_core(&b, false);
	for (size_t len = 0; len < b.len; len += len < 0x1000 ? 1 : 113) {
		struct image *img = NULL;
		struct seep_error *err;
		char missing[64];

		put_file(b.data, len);
		err = image_open_core(path, NULL, &img);
		assert_true(!err != !img);
		if (err) {
			assert_true(strlen(err->message) > 10);
			seep_error_free(err);
			continue;
		}
		opened++;
		/* How much is missing is known once all segments are described. */
		snprintf(missing, sizeof(missing), "%zu of %d bytes are missing", b.len - len,
		         0x5000);
		if (len >= 128 + 5 * sizeof(Elf64_Phdr))
			assert_true(noted(img, missing));
		if (len >= 0x3000 && len < 0x4000) {
			uint64_t word;

			assert_true(image_read_u64(img, HEAP + 0x1000, &word));
			assert_false(image_read_u64(img, STACK, &word));
			assert_true(image_map_of(img, STACK)->flags & IMAGE_ABSENT);
		}
		touch(img);
		image_free(img);
	}
	assert_true(opened > 1000);
}

/* Each byte of headers and notes wrong in turn. */
static void test_damaged(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };

	make_core(&b, true);
	for (size_t i = 0; i < 0x1000; i++) {
		char was = b.data[i];

		for (unsigned int v = 0; v < 2; v++) {
			struct image *img = NULL;
			struct seep_error *err;

			b.data[i] = v ? (char)0xff : (char)(was ^ 0x10);
			put_file(b.data, b.len);
			err = image_open_core(path, NULL, &img);
			assert_true(!err != !img);
			if (img)
				touch(img);
			seep_error_free(err);
			image_free(img);
		}
		b.data[i] = was;
	}
}

static void refused(const void *data, size_t len, const char *words, const char *hint)
{
	struct image *img = NULL;
	struct seep_error *err;

	put_file(data, len);
	err = image_open_core(path, NULL, &img);
	assert_null(img);
	assert_non_null(err);
	if (!strstr(err->message, words) || !strstr(err->hint ? err->hint : "", hint))
		fail_msg("%s (%s)", err->message, err->hint ? err->hint : "");
	seep_error_free(err);
}

static void test_refusals(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct image *img = NULL;
	struct seep_error *err;

	make_core(&b, false);
	refused("", 0, "is empty", "ulimit");
	refused("hello, world", 12, "is not a core file", "ELF core");
	refused("\177ELF", 4, "is not a core file", "");
	refused("\x04\x22\x4d\x18xxxx", 8, "compressed with lz4", "lz4 -d");
	refused("\xfd"
	        "7zXZ\0xx",
	        8, "compressed with xz", "xz -d");
	refused("\x28\xb5\x2f\xfdgarbage", 11, "cannot unpack", "");
	b.data[EI_CLASS] = ELFCLASS32;
	refused(b.data, b.len, "32-bit", "64 bits");
	b.data[EI_CLASS] = ELFCLASS64;
	b.data[18] = (char)EM_AARCH64;
	refused(b.data, b.len, "another machine (ELF machine 183)", "");
	b.data[18] = EM_X86_64;
	b.data[16] = ET_EXEC;
	refused(b.data, b.len, "program or library", "a core comes first");
	b.data[16] = ET_CORE;
	refused(b.data, 64, "no program headers", "cut off");
	err = image_open_core("/dev/null", NULL, &img);
	assert_non_null(strstr(err->message, "no regular file"));
	seep_error_free(err);
	err = image_open_core("/nowhere/core", NULL, &img);
	assert_int_equal(err->code, ENOENT);
	seep_error_free(err);
	put_file(b.data, b.len); /* a program that was not the one */
	err = image_open_core(path, "/proc/self/exe", &img);
	assert_non_null(strstr(err->message, "is not the program of this core"));
	seep_error_free(err);
}

static void test_zstd(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_free_ char *z = NULL;
	_cleanup_image_ struct image *img = NULL;
	struct core_file file;
	struct seep_error *err;
	size_t len;

	make_core(&b, false);
	len = ZSTD_compressBound(b.len);
	z = malloc(len);
	len = ZSTD_compress(z, len, b.data, b.len, 3);
	put_file(z, len);
	assert_null(image_open_core(path, NULL, &img));
	check_core(img);
	image_free(TAKE(img));
	err = core_file_open(path, 0x4000, &file); /* a bound below its size */
	assert_non_null(err);
	assert_int_equal(err->code, EFBIG);
	seep_error_free(err);
	for (size_t cut = 1; cut < len; cut += 7) {
		put_file(z, cut);
		err = image_open_core(path, NULL, &img);
		assert_true(!err != !img);
		if (img)
			assert_true(noted(img, "compressed core ends too early"));
		seep_error_free(err);
		image_free(TAKE(img));
	}
}

/* The header of a frame that wants a window of 2 GB, and no more than that. */
static void test_zstd_window(void **state)
{
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00 };
	_cleanup_image_ struct image *img = NULL;
	struct seep_error *err;

	put_file(frame, sizeof(frame));
	err = image_open_core(path, NULL, &img);
	assert_non_null(err);
	assert_non_null(strstr(err->hint, "zstd -d --long=31"));
	seep_error_free(err);
}

/* ---- by gdb ----------------------------------------------------------------- */

static void run_exec(struct subject_shared *s)
{
	int fds[2];

	/* Not sleep: each time it is interrupted the kernel tells it the time that is left, on its stack. */
	if (pipe(fds) || dup2(fds[0], 0) < 0)
		_exit(1);
	atomic_store(&s->ready, 1);
	execl("/bin/cat", "cat", (char *)NULL);
	_exit(1);
}

static void test_gcore(void **state)
{
	struct subject sub;
	_cleanup_image_ struct image *live = NULL, *core = NULL;
	char command[128], file[64];
	size_t same = 0, compared = 0;

	if (system("command -v gcore >/dev/null 2>&1")) {
		print_message("no gcore (gdb) here\n");
		skip();
	}
	sub = subject_start(run_exec);
	assert_true(SUBJECT_WAIT(({
		_cleanup_image_ struct image *img = NULL;
		struct seep_error *err = image_open_process(sub.pid, NULL, &img);
		bool there = !err && strstr(img->exe, "cat") && subject_state(sub.pid) != 0;

		seep_error_free(err);
		there && img->nmodules >= 3;
	})));
	assert_true(subject_wait_state(sub.pid, "S"));
	assert_null(image_open_process(sub.pid, NULL, &live));
	image_resume(live);
	snprintf(command, sizeof(command), "gcore -o /tmp/seep-gcore %d >/dev/null 2>&1",
	         (int)sub.pid);
	snprintf(file, sizeof(file), "/tmp/seep-gcore.%d", (int)sub.pid);
	assert_int_equal(system(command), 0);
	assert_null(image_open_core(file, NULL, &core));
	assert_int_equal(core->pid, sub.pid);
	assert_string_equal(core->exe, live->exe);
	assert_true(core->at_phdr == live->at_phdr && core->at_base == live->at_base);
	assert_true(core->at_random == live->at_random);
	assert_int_equal(core->nthreads, 1);
	assert_true(core->threads[0].sp == live->threads[0].sp);
	assert_true(core->threads[0].tls == live->threads[0].tls);
	assert_int_equal(core->nmodules, live->nmodules);
	for (size_t i = 0; i < live->nmodules; i++) {
		const struct image_module *a = &live->modules[i], *b = &core->modules[i];
		uint8_t text[64];

		assert_string_equal(a->path, b->path);
		assert_true(a->start == b->start && a->end == b->end && a->bias == b->bias);
		assert_true(a->tls_memsz == b->tls_memsz && a->eh_frame_hdr == b->eh_frame_hdr);
		assert_int_equal(a->build_id_len, b->build_id_len);
		assert_memory_equal(a->build_id, b->build_id, a->build_id_len);
		if (a->eh_frame_hdr) {
			assert_true(image_read_all(core, a->eh_frame_hdr, text, sizeof(text)));
			same++;
		}
	}
	assert_true(same >= 3);
	image_free(TAKE(live));
	/*
	 * Memory, byte by byte; not ld.so's data, where gdb counts up probe semaphores while it is attached, and not
	 * the thread's own block, where the kernel writes the number of its processor (rseq).
	 */
	assert_null(image_open_process(sub.pid, NULL, &live));
	for (size_t i = 0; i < live->nmaps; i++) {
		const struct image_map *m = &live->maps[i];
		size_t len = m->end - m->start;
		_cleanup_free_ uint8_t *a = malloc(len), *b = malloc(len);

		if (!(m->flags & IMAGE_WRITE) || (m->flags & IMAGE_SHARED) || m->inode ||
		    image_map_of(live, live->threads[0].tls) == m)
			continue;
		assert_int_equal(image_read(live, m->start, a, len), len);
		assert_int_equal(image_read(core, m->start, b, len), len);
		assert_memory_equal(a, b, len);
		compared += len;
	}
	assert_true(compared >= 2 * 4096);
	unlink(file);
	subject_end(&sub);
}

/* With a directory: writes the seeds of tests/fuzz/fuzz_core.c instead of testing. */
static int write_seeds(const char *dir)
{
	static const char *const names[] = { "plain", "many", "cut" };

	for (int i = 0; i < 3; i++) {
		_cleanup_buf_ struct buf b = { 0 };
		char name[512];
		FILE *f;

		make_core(&b, i == 1);
		snprintf(name, sizeof(name), "%s/%s", dir, names[i]);
		f = fopen(name, "we");
		if (!f || fwrite(b.data, 1, i == 2 ? 0x2100 : b.len, f) == 0)
			return 1;
		fclose(f);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made),    cmocka_unit_test(test_cut),
		cmocka_unit_test(test_damaged), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_zstd),    cmocka_unit_test(test_zstd_window),
		cmocka_unit_test(test_gcore),
	};
	int fd, r;

	if (argc > 1)
		return write_seeds(argv[1]);
	fd = mkstemp(path);
	if (fd < 0)
		return 1;
	close(fd);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return r;
}
