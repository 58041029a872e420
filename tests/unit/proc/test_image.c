/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups in images, and what /proc says, also when a process had a hand in it.
 */
#include "proc/image.h"

#include "base/error.h"
#include "proc/image_fake.h"
#include "proc/maps.h"
#include "proc/modules.h"
#include "proc/procfs.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_lookups(void **state)
{
	struct image *img = image_fake_new();
	uint64_t word = 0;
	uint8_t resident[4], bytes[32];

	assert_non_null(image_fake_map(img, 0x20000, 0x2000, IMAGE_READ | IMAGE_WRITE, "[heap]"));
	assert_non_null(image_fake_map(img, 0x10000, 0x1000, IMAGE_READ, "/bin/x"));
	assert_non_null(image_fake_map(img, 0x22000, 0x1000, IMAGE_READ, NULL));
	assert_null(image_fake_map(img, 0x21000, 0x1000, IMAGE_READ, NULL));
	image_fake_module(img, "/bin/y", 0x20000, 0x21000);
	image_fake_module(img, "/bin/x", 0x10000, 0x11000);
	assert_int_equal(img->nmaps, 3);
	assert_null(image_map_of(img, 0xffff));
	assert_int_equal(image_map_of(img, 0x10000)->start, 0x10000);
	assert_int_equal(image_map_of(img, 0x10fff)->start, 0x10000);
	assert_null(image_map_of(img, 0x11000));
	assert_int_equal(image_map_of(img, 0x21fff)->start, 0x20000);
	assert_int_equal(image_map_after(img, 0), 0);
	assert_int_equal(image_map_after(img, 0x11000), 1);
	assert_int_equal(image_map_after(img, 0x22fff), 2);
	assert_int_equal(image_map_after(img, 0x23000), 3);
	assert_string_equal(image_module_of(img, 0x10fff)->path, "/bin/x");
	assert_string_equal(image_module_of(img, 0x20000)->path, "/bin/y");
	assert_null(image_module_of(img, 0x11000));
	assert_null(image_module_of(img, UINT64_MAX));
	assert_true(image_fake_poke(img, 0x21ff8, 0x1122334455667788));
	assert_false(image_fake_poke(img, 0x22ffc, 1));
	assert_true(image_read_u64(img, 0x21ff8, &word));
	assert_true(word == 0x1122334455667788);
	/* A read goes over the seam of two mappings, and stops at a hole. */
	assert_int_equal(image_read(img, 0x21ff0, bytes, 32), 32);
	assert_int_equal(image_read(img, 0x10ff0, bytes, 32), 16);
	assert_false(image_read_all(img, 0x10ff0, bytes, 32));
	image_resident(img, 0x10000, 2, resident);
	assert_int_equal(resident[0], 1);
	assert_int_equal(resident[1], 0);
	image_note(img, "%d of %d", 1, 2);
	assert_int_equal(img->nnotes, 1);
	assert_string_equal(img->notes[0], "1 of 2");
	assert_null(image_resume(img));
	image_free(img);
	image_free(NULL);
}

static struct maps parse(const char *text)
{
	struct maps m;

	assert_null(maps_parse(strdup(text), strlen(text), &m));
	return m;
}

static void test_maps(void **state)
{
	struct maps m = parse(
		"00400000-00401000 r-xp 00000000 08:01 131                                /bin/a b (deleted)\n"
		"00401000-00403000 rw-s 00002000 fe:1f 18446744073709551615  /tmp/new\\012line\\134x\n"
		"7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
		"7f0000001000-7f0000002000 rw-p 00000000 00:00 0                          [anon: 1 2]\n"
		"7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");

	assert_int_equal(m.n, 6);
	assert_int_equal(m.dropped, 0);
	assert_int_equal(m.items[0].start, 0x400000);
	assert_int_equal(m.items[0].end, 0x401000);
	assert_int_equal(m.items[0].flags, IMAGE_READ | IMAGE_EXEC);
	assert_int_equal(m.items[0].inode, 131);
	assert_string_equal(m.items[0].path, "/bin/a b (deleted)");
	assert_int_equal(m.items[1].flags, IMAGE_READ | IMAGE_WRITE | IMAGE_SHARED);
	assert_int_equal(m.items[1].offset, 0x2000);
	assert_true(m.items[1].dev == (0xfeull << 32 | 0x1f));
	assert_true(m.items[1].inode == UINT64_MAX);
	assert_string_equal(m.items[1].path, "/tmp/new\nline\\134x");
	assert_int_equal(m.items[2].flags, 0);
	assert_string_equal(m.items[2].path, "");
	assert_string_equal(m.items[3].path, "[anon: 1 2]");
	assert_string_equal(m.items[5].path, "[vsyscall]");
	assert_int_equal(m.items[5].flags, IMAGE_EXEC);
	maps_release(&m);
}

static void test_maps_hostile(void **state)
{
	static const char *const bad[] = {
		"",
		"-\n",
		"\n\n\n",
		"1000-2000\n",
		"1000-2000 \n",
		"1000-2000 r\n",
		"1000-2000 rwxq 0 0:0 0 \n",
		"1000-2000 xwrp 0 0:0 0 \n",
		"2000-1000 rwxp 0 0:0 0 \n",
		"1000-1000 rwxp 0 0:0 0 \n",
		"1001-2000 rwxp 0 0:0 0 \n",
		"1000-fffffffffffffffff000 rwxp 0 0:0 0 \n",
		"1000-2000 rwxp 0 100000000:0 0 \n",
		"1000-2000 rwxp 0 0:0 18446744073709551616 \n",
		"1000-2000 rwxp 0 0:0 1f \n",
		"1000-2000 rwxp 0 0:0 0 no end of line",
		"ABC-DEF rwxp 0 0:0 0 \n",
	};
	struct maps m;
	char *big;
	size_t len = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		m = parse(bad[i]);
		assert_int_equal(m.n, 0);
		maps_release(&m);
	}
	/* Overlaps and steps back are left out, what is sound stays. */
	m = parse("1000-3000 r--p 0 0:0 0 \n2000-4000 r--p 0 0:0 0 \n1000-2000 r--p 0 0:0 0 \n"
	          "3000-4000 r--p 0 0:0 0\n");
	assert_int_equal(m.n, 2);
	assert_int_equal(m.dropped, 2);
	assert_int_equal(m.items[1].start, 0x3000);
	maps_release(&m);
	/* A NUL cannot be in such a file, and does no harm. */
	assert_null(
		maps_parse(memcpy(malloc(32), "1000-2000 r--p 0 0:0 0 /a\0b\n\0\0\0", 31), 28, &m));
	assert_int_equal(m.n, 1);
	assert_string_equal(m.items[0].path, "/a");
	maps_release(&m);

	big = malloc(60000 * 40);
	for (uint64_t i = 0; i < 50000; i++)
		len += (size_t)sprintf(big + len, "%lx-%lx rw-p 0 00:00 0 \n",
		                       (unsigned long)(i * 0x2000 + 0x1000),
		                       (unsigned long)(i * 0x2000 + 0x2000));
	assert_null(maps_parse(big, len, &m));
	assert_int_equal(m.n, 50000);
	assert_int_equal(m.items[49999].start, 49999ull * 0x2000 + 0x1000);
	maps_release(&m);
	assert_int_equal(maps_page_state(1ull << 63), 1);
	assert_int_equal(maps_page_state(1ull << 62 | 5), 2);
	assert_int_equal(maps_page_state(1ull << 61 | 5), 0);
}

static void test_status(void **state)
{
	char text[] =
		"Name:\tx) Z 1 State: Z and more\nState:\tT (stopped)\nTgid:\t12\nPid:\t13\n"
		"TracerPid:\t14\nUid:\t1\t2\t3\t4\nVmSize:\t 9 kB\nVmRSS:\t   77 kB\nSeccomp:\t2\n"
		"x86_Thread_features:\tshstk \n";
	uint64_t auxv[] = { AT_PHDR,   0x400040, AT_PAGESZ, 3, AT_RANDOM, 0x7ff0,
		            AT_PAGESZ, 16384,    AT_NULL,   0, AT_BASE,   9 };
	struct procfs_auxv av = { .base = 5 };
	struct procfs_status st;

	procfs_parse_status(text, &st);
	assert_string_equal(st.name, "x) Z 1 State: Z");
	assert_int_equal(st.state, 'T');
	assert_int_equal(st.tgid, 12);
	assert_int_equal(st.pid, 13);
	assert_int_equal(st.tracer, 14);
	assert_int_equal(st.uid, 2);
	assert_int_equal(st.rss, 77 * 1024);
	assert_int_equal(st.seccomp, 2);
	assert_true(st.shstk && st.has_size && !st.kthread);
	procfs_parse_auxv(auxv, sizeof(auxv), &av);
	assert_int_equal(av.phdr, 0x400040);
	assert_int_equal(av.random, 0x7ff0);
	assert_int_equal(av.page_size, 16384);
	assert_int_equal(av.base, 5); /* after the end does not count */
}

/* A module of two segments as a loader maps it; `at` is where. */
static uint8_t *fake_elf(struct image *img, uint64_t at, const char *path)
{
	uint8_t *head = image_fake_map(img, at, 0x1000, IMAGE_READ, path);
	Elf64_Ehdr eh = { .e_type = ET_DYN,
		          .e_machine = EM_X86_64,
		          .e_phoff = 64,
		          .e_phentsize = sizeof(Elf64_Phdr),
		          .e_phnum = 5 };
	Elf64_Phdr ph[5] = {
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R,
		  .p_vaddr = 0x10000,
		  .p_filesz = 0x800,
		  .p_memsz = 0x800 },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_X,
		  .p_offset = 0x1000,
		  .p_vaddr = 0x11000,
		  .p_filesz = 0x1000,
		  .p_memsz = 0x1000 },
		{ .p_type = PT_TLS, .p_vaddr = 0x11100, .p_memsz = 0x48 },
		{ .p_type = PT_GNU_EH_FRAME, .p_vaddr = 0x10400 },
		{ .p_type = PT_NOTE, .p_vaddr = 0x10700, .p_filesz = 36, .p_align = 4 },
	};
	static const uint32_t note[] = { 4, 20, NT_GNU_BUILD_ID, 0x554e47 };

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(head, &eh, sizeof(eh));
	memcpy(head + 64, ph, sizeof(ph));
	memcpy(head + 0x700, note, sizeof(note));
	for (uint8_t i = 0; i < 20; i++)
		head[0x710 + i] = i;
	return head;
}

static void test_modules(void **state)
{
	struct image *img = image_fake_new();
	uint8_t *head = fake_elf(img, 0x7f0000000000, "/memfd:jit (deleted)");
	const struct image_module *m;

	image_fake_map(img, 0x7f0000001000, 0x1000, IMAGE_READ | IMAGE_EXEC, "/memfd:jit (deleted)");
	/* The same bytes mapped to be read: no code of theirs is executable. */
	fake_elf(img, 0x7e0000000000, "/lib/read.so");
	image_fake_map(img, 0x7e0000001000, 0x1000, IMAGE_READ, "/lib/read.so");
	/* Headers without anything behind them. */
	fake_elf(img, 0x7d0000000000, "/lib/only.so");
	/* Headers that lead out of the address space. */
	memset(fake_elf(img, 0x7c0000000000, "/lib/wild.so") + 64 + 16, 0xff, 8);
	fake_elf(img, 0x7b0000000000, "/lib/phoff.so")[39] = 0xff;
	assert_null(modules_find(img));
	assert_int_equal(img->nmodules, 1);
	m = image_module_of(img, 0x7f0000001fff);
	assert_non_null(m);
	assert_string_equal(m->path, "/memfd:jit");
	assert_true(m->start == 0x7f0000000000 && m->end == 0x7f0000002000);
	assert_true(m->bias == 0x7f0000000000 - 0x10000);
	assert_int_equal(m->tls_offset_vaddr, 0x11100);
	assert_int_equal(m->tls_memsz, 0x48);
	assert_true(m->eh_frame_hdr == 0x7f0000000400);
	assert_int_equal(m->build_id_len, 20);
	assert_int_equal(m->build_id[19], 19);

	/* Every byte of the headers in turn, wrong: nothing may be read that is not there. */
	for (size_t i = 0; i < 64 + 5 * 56 + 40; i++) {
		size_t at = i < 64 + 5 * 56 ? i : 0x700 + i - (64 + 5 * 56);
		uint8_t was = head[at];

		for (unsigned int v = 0; v < 3; v++) {
			modules_free(img->modules, img->nmodules);
			img->modules = NULL;
			img->nmodules = 0;
			head[at] = v == 0 ? 0xff : v == 1 ? 0x80 : (uint8_t)(was ^ 1);
			assert_null(modules_find(img));
			assert_true(img->nmodules <= 1);
		}
		head[at] = was;
	}
	image_free(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookups),      cmocka_unit_test(test_maps),
		cmocka_unit_test(test_maps_hostile), cmocka_unit_test(test_status),
		cmocka_unit_test(test_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
