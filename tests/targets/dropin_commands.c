/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dropin_commands: a program that speaks to its heap profiler, as programs written for gperftools or jemalloc do, but is
 * linked against neither.  Each argument is a command, in this order; sizes are size classes of jemalloc.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "truth.h"

extern void HeapProfilerStart(const char *) __attribute__((weak));
extern void HeapProfilerStop(void) __attribute__((weak));
extern void HeapProfilerDump(const char *) __attribute__((weak));
extern char *GetHeapProfile(void) __attribute__((weak));
extern int IsHeapProfilerRunning(void) __attribute__((weak));
extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));
extern int MallocExtension_GetNumericProperty(const char *, size_t *) __attribute__((weak));
extern void MallocExtension_ReleaseFreeMemory(void) __attribute__((weak));
extern void MallocExtension_GetStats(char *, int) __attribute__((weak));

TRUTH(keep_small);
TRUTH(keep_large);
TRUTH(churn);
TRUTH(keep_big);
TRUTH(keep_mapped);

static void *small[1000];
static int command_count;

NOINLINE static void *keep_small(void)
{
	return BORN(keep_small, malloc(64), 64);
}

NOINLINE static void *keep_large(void)
{
	return BORN(keep_large, calloc(2, 40960), 81920);
}

NOINLINE static void *churn(void)
{
	return BORN(churn, malloc(1024), 1024);
}

NOINLINE static void *keep_big(size_t size)
{
	return BORN(keep_big, malloc(size), size);
}

NOINLINE static void *keep_mapped(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return BORN(keep_mapped, p == MAP_FAILED ? NULL : p, size);
}

NOINLINE static void allocate(void)
{
	for (int i = 0; i < 1000; i++)
		small[i] = keep_small();
	for (int i = 0; i < 40; i++)
		ESCAPE(keep_large());
	for (int i = 0; i < 5000; i++) {
		void *p = churn();

		if (i % 50)
			DIED(churn, 1024), free(p);
	}
}

static void drop(void)
{
	for (int i = 0; i < 1000; i += 2) {
		DIED(keep_small, 64);
		free(small[i]);
		small[i] = NULL;
	}
}

static int control(const char *name, void *value, size_t size)
{
	return mallctl(name, NULL, NULL, value, size);
}

static void save(const char *profile, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, profile, strlen(profile)) == (ssize_t)strlen(profile));
	close(fd);
}

static bool is(const char *command, const char *name, const char **ret_value)
{
	size_t n = strlen(name);

	*ret_value = command + n + 1;
	return !strncmp(command, name, n) && (command[n] == '=' || !command[n]);
}

static void tcmalloc(const char *command)
{
	char line[4096] = "";
	const char *v;
	size_t n = 0;

	if (is(command, "property", &v)) {
		int r = MallocExtension_GetNumericProperty(v, &n);

		snprintf(line, sizeof(line), "property %d %zu\n", r, n);
	} else if (is(command, "release", &v)) {
		MallocExtension_ReleaseFreeMemory();
	} else if (is(command, "stats", &v)) {
		MallocExtension_GetStats(line, atoi(v));
		CHECK(strlen(line) < (size_t)atoi(v));
	} else {
		CHECK(!"a known command");
	}
	truth_write(line, strlen(line));
}

static void gperftools(const char *command)
{
	const char *v;

	if (is(command, "start", &v)) {
		HeapProfilerStart(v);
	} else if (is(command, "stop", &v)) {
		HeapProfilerStop();
	} else if (is(command, "dump", &v)) {
		HeapProfilerDump(v);
	} else if (is(command, "running", &v)) {
		CHECK(IsHeapProfilerRunning() == atoi(v));
	} else if (is(command, "get", &v)) {
		char *text = GetHeapProfile();

		save(text, v);
		free(text);
	} else {
		tcmalloc(command);
	}
}

static void jemalloc(const char *command)
{
	const char *v;
	bool flag;
	size_t lg;

	if (is(command, "mdump", &v)) {
		CHECK(control("prof.dump", command[5] ? &v : NULL, command[5] ? sizeof(v) : 0) == 0);
	} else if (is(command, "active", &v) || is(command, "tactive", &v)) {
		flag = atoi(v);
		CHECK(control(command[0] == 't' ? "thread.prof.active" : "prof.active", &flag, 1) ==
		      0);
	} else if (is(command, "gdump", &v)) {
		flag = atoi(v);
		CHECK(control("prof.gdump", &flag, 1) == 0);
	} else if (is(command, "prefix", &v)) {
		CHECK(control("prof.prefix", &v, sizeof(v)) == 0);
	} else if (is(command, "reset", &v)) {
		lg = command[5] ? (size_t)atoi(v) : 0;
		CHECK(control("prof.reset", command[5] ? &lg : NULL, command[5] ? 8 : 0) == 0);
	} else {
		gperftools(command);
	}
}

/* The child goes on; the parent ends with its status. */
static void fork_here(void)
{
	int status, pid = fork();

	if (!pid)
		return;
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	truth_print("dropin_commands", "parent");
	exit(WEXITSTATUS(status));
}

static void obey(char **commands)
{
	const char *command = *commands, *v;
	char c;

	errno = 7;
	if (is(command, "alloc", &v)) {
		allocate();
	} else if (is(command, "drop", &v)) {
		drop();
	} else if (is(command, "big", &v)) { /* big=MiB */
		for (int i = 0; i < atoi(v); i++)
			ESCAPE(keep_big(1 << 20));
	} else if (is(command, "pass", &v)) { /* pass=MiB: allocated and freed */
		for (int i = 0; i < atoi(v); i++) {
			free(keep_big(1 << 20));
			DIED(keep_big, 1 << 20);
		}
	} else if (is(command, "map", &v)) { /* map=MiB */
		ESCAPE(keep_mapped((size_t)atoi(v) << 20));
	} else if (is(command, "fork", &v)) {
		fork_here();
	} else if (is(command, "exec", &v)) {
		truth_print("dropin_commands", "before");
		commands[0] = (char *)"dropin_commands";
		execv("/proc/self/exe", commands);
		CHECK(!"exec");
	} else if (is(command, "raise", &v)) {
		raise(atoi(v));
	} else if (is(command, "hold", &v)) {
		truth_write("held\n", 5);
		CHECK(read(STDIN_FILENO, &c, 1) >= 0);
	} else if (is(command, "close", &v)) {
		close(atoi(v));
	} else if (is(command, "_exit", &v)) {
		truth_print("dropin_commands", "main");
		_exit(0);
	} else {
		jemalloc(command);
		/* The real ones do not promise it. */
		CHECK(errno == 7 || !getenv("ERRNO_STAYS"));
	}
	command_count++;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		obey(&argv[i]);
	truth_print("dropin_commands", "main");
	return 0;
}
