/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leak_stages: a service in two stages, each said on standard output and ended by a line on standard input.
 * First it loads a table, which stays; then it serves: sessions leak from two kinds of requests, log lines from one, a part of
 * the table goes, and a burst comes and is freed.
 *
 *     leak_stages [PREFIX]
 *
 * With a PREFIX, and where the allocator can, it has the allocator write its own profile after each stage:
 * jemalloc to PREFIX.STAGE.heap, gperftools to where HEAPPROFILE says.  All sizes are size classes of jemalloc's, which
 * counts those.
 */
#include "truth.h"

#include <dlfcn.h>

TRUTH(load_table);
TRUTH(session_buffer);
TRUTH(log_line);
TRUTH(burst);

#define TABLE 8192
#define TABLE_SIZE 4096
#define TRIMMED 512

static void *volatile table[TABLE];

NOINLINE static void load_table(void)
{
	for (int i = 0; i < TABLE; i++)
		table[i] = BORN(load_table, malloc(TABLE_SIZE), TABLE_SIZE);
}

NOINLINE static void trim_table(void)
{
	for (int i = 0; i < TRIMMED; i++) {
		DIED(load_table, TABLE_SIZE);
		free(table[i]);
	}
}

NOINLINE static void session_buffer(void)
{
	ESCAPE(BORN(session_buffer, malloc(20480), 20480));
	NOTAIL();
}

NOINLINE static void session_open(void)
{
	session_buffer();
	NOTAIL();
}

NOINLINE static void log_line(void)
{
	ESCAPE(BORN(log_line, malloc(96), 96));
	NOTAIL();
}

NOINLINE static void handle_request(void)
{
	session_open();
	for (int i = 0; i < 60; i++)
		log_line();
	NOTAIL();
}

NOINLINE static void handle_upload(void)
{
	session_open();
	NOTAIL();
}

NOINLINE static void burst(void)
{
	void *blocks[100];

	for (size_t i = 0; i < 100; i++)
		blocks[i] = BORN(burst, malloc(81920), 81920);
	for (size_t i = 0; i < 100; i++) {
		DIED(burst, 81920);
		free(blocks[i]);
	}
}

NOINLINE static void serve(void)
{
	for (int i = 0; i < 2000; i++) {
		handle_request();
		if (i % 2)
			handle_upload();
	}
	burst();
	trim_table();
}

static void dump(const char *prefix, int stage)
{
	int (*mallctl)(const char *, void *, size_t *, void *, size_t) = NULL;
	void (*heap_profiler_dump)(const char *) = NULL;
	char path[512];
	const char *name = path;

	*(void **)&mallctl = dlsym(RTLD_DEFAULT, "mallctl");
	*(void **)&heap_profiler_dump = dlsym(RTLD_DEFAULT, "HeapProfilerDump");
	snprintf(path, sizeof(path), "%s.%d.heap", prefix, stage);
	if (mallctl)
		mallctl("prof.dump", NULL, NULL, &name, sizeof(name));
	if (heap_profiler_dump)
		heap_profiler_dump("stage");
}

static void end_stage(const char *prefix, int stage)
{
	char role[16], c;

	if (prefix)
		dump(prefix, stage);
	snprintf(role, sizeof(role), "stage%d", stage);
	truth_print("leak_stages", role);
	while (read(STDIN_FILENO, &c, 1) > 0 && c != '\n')
		;
}

int main(int argc, char **argv)
{
	const char *prefix = argc > 1 ? argv[1] : NULL;

	load_table();
	end_stage(prefix, 1);
	serve();
	end_stage(prefix, 2);
	return 0;
}
