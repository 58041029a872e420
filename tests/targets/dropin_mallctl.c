/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dropin_mallctl: what mallctl() says to right and wrong questions about profiling, a line each, so that the answers of two
 * implementations can be compared.  To be started with MALLOC_CONF=prof:true,lg_prof_sample:16 and a writable directory.
 */
#include <stdbool.h>

#include "truth.h"

extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));
extern int mallctlnametomib(const char *, size_t *, size_t *) __attribute__((weak));
extern int mallctlbymib(const size_t *, size_t, void *, size_t *, void *, size_t)
	__attribute__((weak));

static const char *directory;

static void get(const char *name, size_t size)
{
	uint64_t value = 0;
	size_t len = size;
	int r = mallctl(name, &value, &len, NULL, 0);

	printf("read %s %zu: %d %zu", name, size, r, len);
	if (strcmp(name, "thread.prof.name") && strcmp(name, "opt.prof_prefix"))
		printf(" %#llx", (unsigned long long)value);
	printf("\n");
}

static void set(const char *name, void *value, size_t size)
{
	printf("write %s %zu: %d\n", name, size, mallctl(name, NULL, NULL, value, size));
}

static void both(const char *name)
{
	bool new = false, old = true;
	size_t len = sizeof(old);
	int r = mallctl(name, &old, &len, &new, sizeof(new));

	printf("swap %s: %d %d\n", name, r, old);
}

static void by_mib(const char *name)
{
	size_t mib[8], depth = 8, len = 1;
	uint64_t value = 0;
	int r = mallctlnametomib(name, mib, &depth);

	printf("mib %s: %d %zu", name, r, depth);
	if (!r) {
		r = mallctlbymib(mib, depth, &value, &len, NULL, 0);
		printf(" %d %zu %#llx", r, len, (unsigned long long)value);
	}
	depth = 1;
	r = mallctlnametomib(name, mib, &depth);
	printf(" cut %d %zu\n", r, depth);
}

static void dump_to(const char *name)
{
	char path[4096];
	const char *p = path;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	set("prof.dump", &p, sizeof(p));
}

int main(int argc, char **argv)
{
	static const char *const flags[] = { "prof.active",
		                             "prof.gdump",
		                             "prof.thread_active_init",
		                             "thread.prof.active",
		                             "config.prof",
		                             "opt.prof",
		                             "opt.prof_active",
		                             "opt.prof_accum",
		                             "opt.prof_final",
		                             "opt.prof_gdump",
		                             "opt.prof_leak",
		                             "opt.prof_leak_error",
		                             "opt.prof_thread_active_init" };
	static const char *const words[] = { "prof.lg_sample",     "prof.interval",
		                             "opt.lg_prof_sample", "opt.lg_prof_interval",
		                             "opt.prof_prefix",    "thread.prof.name" };
	static const char *const bad[] = { "prof",          "prof.", "prof.nosuch",
		                           "prof.active.x", "",      "opt" };
	const char *name = "worker", *wrong = "a\nb", *read_back = NULL;
	size_t len = sizeof(read_back), lg = 70;
	bool on = true;

	CHECK(argc == 2 && mallctl && mallctlnametomib && mallctlbymib);
	directory = argv[1];
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		get(flags[i], 1);
		get(flags[i], 8);
		get(flags[i], 0);
		by_mib(flags[i]);
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		get(words[i], 8);
		set(words[i], &lg, 1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		get(bad[i], 8);
	get("prof.dump", 8);
	get("prof.reset", 8);
	get("prof.prefix", 8);
	set("config.prof", &on, 1);
	set("opt.prof", &on, 1);
	set("prof.active", &on, 2);
	set("prof.gdump", &on, 2);
	set("prof.dump", &name, 3);
	set("prof.reset", &lg, 1);
	dump_to("named");
	dump_to("no/such/folder");
	set("prof.dump", NULL, 0);
	set("thread.prof.name", &name, sizeof(name));
	set("thread.prof.name", &wrong, sizeof(wrong));
	set("thread.prof.name", &name, 3);
	printf("name %d %s\n", mallctl("thread.prof.name", &read_back, &len, NULL, 0), read_back);
	both("prof.active");
	both("prof.active");
	both("thread.prof.active");
	both("prof.thread_active_init");
	set("prof.reset", NULL, 0);
	get("prof.lg_sample", 8);
	set("prof.reset", &lg, sizeof(lg));
	get("prof.lg_sample", 8);
	return 0;
}
