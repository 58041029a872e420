/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which module an address lies in: by the loader's list, as before glibc 2.35 and in musl, and by _dl_find_object, against
 * what dl_iterate_phdr() says; while modules come and go, too.
 */
#include "tracker.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "track/loader.h"

static const char *plugin_path;

struct wanted {
	uint64_t pc;
	struct loaded module;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wanted *w = arg;
	uint64_t lo = UINT64_MAX, hi = 0;
	const uint8_t *eh_hdr = NULL;

	(void)size;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t a = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD) {
			lo = a < lo ? a : lo;
			hi = a + ph->p_memsz > hi ? a + ph->p_memsz : hi;
		} else if (ph->p_type == PT_GNU_EH_FRAME) {
			eh_hdr = (const uint8_t *)a;
		}
	}
	if (w->pc < lo || w->pc >= hi)
		return 0;
	w->module = (struct loaded){ lo & ~4095ull, (hi + 4095) & ~4095ull, info->dlpi_addr, eh_hdr,
		                     info->dlpi_name };
	return 1;
}

static void check_one(uint64_t pc)
{
	struct wanted w = { .pc = pc };
	struct loaded found;

	assert_int_equal(dl_iterate_phdr(look, &w), 1);
	assert_true(loader_find(pc, &found));
	assert_int_equal(found.start, w.module.start);
	assert_true(found.end >= w.module.end - 4096 &&
	            found.end <= w.module.end); /* the last page may be counted or not */
	assert_int_equal(found.bias, w.module.bias);
	assert_ptr_equal(found.eh_hdr, w.module.eh_hdr);
	if (found.name[0] && w.module.name[0])
		assert_string_equal(found.name, w.module.name);
}

static void *plugin_open(uint64_t *ret_pc)
{
	void *h = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);

	assert_non_null(h);
	*ret_pc = (uint64_t)dlsym(h, "track_plugin_function");
	assert_int_not_equal(*ret_pc, 0);
	return h;
}

static void modules_are_found(void **state)
{
	struct loaded found;
	uint64_t pc;
	void *h, *nobody = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	check_one((uint64_t)modules_are_found);
	check_one((uint64_t)&gnu_get_libc_version);
	check_one((uint64_t)&_r_debug); /* the loader */
	assert_false(loader_find((uint64_t)nobody, &found));
	assert_false(loader_find(0, &found));
	assert_false(loader_find(UINT64_MAX, &found));
	/* Nobody says that there is another. */
	h = plugin_open(&pc);
	check_one(pc);
	assert_false(loader_find((uint64_t)nobody, &found));
	/* Nobody says that it is gone. */
	assert_int_equal(dlclose(h), 0);
	assert_false(loader_find(pc, &found));
	check_one((uint64_t)&gnu_get_libc_version);
	h = plugin_open(&pc);
	check_one(pc);
	assert_int_equal(dlclose(h), 0);
	loader_changed();
	assert_false(loader_find(pc, &found));
	check_one((uint64_t)modules_are_found);
	munmap(nobody, 4096);
}

static void a_forked_child_finds_them(void **state)
{
	(void)state;
	loader_forked();
	check_one((uint64_t)&gnu_get_libc_version);
	check_one((uint64_t)a_forked_child_finds_them);
}

/* A filter of system calls that does not know this one, in a child of its own. */
static void forbid(long call)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(3);
}

static void under_a_filter(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct loaded found;
		uint64_t libc = (uint64_t)&gnu_get_libc_version;

		forbid(SYS_process_vm_readv);
		loader_changed();
		_exit(loader_find(libc, &found) && libc - found.start < found.end - found.start ? 0
		                                                                                : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool stop;

static void *come_and_go(void *unused)
{
	(void)unused;
	while (!load_acquire(&stop)) {
		uint64_t pc;

		dlclose(plugin_open(&pc));
	}
	return NULL;
}

/* What is asked for stays, as whoever asks runs in it; what does not stay is on the way to it. */
static void others_come_and_go(void **state)
{
	void *nobody = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, come_and_go, NULL), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		struct loaded found;

		assert_true(loader_find((uint64_t)&gnu_get_libc_version, &found));
		assert_true((uint64_t)&gnu_get_libc_version - found.start < found.end - found.start);
		assert_false(loader_find((uint64_t)nobody, &found));
		if (i % 16 == 0)
			loader_changed();
	}
	store_release(&stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	store_release(&stop, false);
	munmap(nobody, 4096);
}

static int by_find_object(void **state)
{
	(void)state;
	loader_init();
	return 0;
}

int main(int argc, char **argv)
{
	/* First by the list: what has not been looked up is not there. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modules_are_found),
		cmocka_unit_test(a_forked_child_finds_them),
		cmocka_unit_test(under_a_filter),
		cmocka_unit_test(others_come_and_go),
	};

	if (argc != 2)
		return 2;
	plugin_path = argv[1];
	return cmocka_run_group_tests_name("by the list", tests, NULL, NULL) ||
	       cmocka_run_group_tests_name("by _dl_find_object", tests, by_find_object, NULL);
}
