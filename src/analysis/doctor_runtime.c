/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which runtime a process is, by what it cannot do without: a virtual machine has its library or its executable, and a Go
 * program, which has neither, what Go's linker left in its data.  Executable anonymous memory would be another sign; but an interpreter,
 * and Go, have none, and the code that a virtual machine makes is little beside its heap.
 *
 * A program that only embeds a runtime is named by it as well: who maps what, only the runtime's own tool can say then.
 */
#include "analysis/doctor_runtime.h"

#include <stdbool.h>
#include <string.h>

#include "analysis/names.h"
#include "base/cleanup.h"
#include "heap/heap.h"
#include "proc/image.h"

static const struct doctor_runtime java = {
	"Java", "jcmd PID GC.heap_info",
	"says what of Java's heap is used; PID VM.native_memory the rest", "-Xmx256m",
	"for the next start, or -XX:MaxRAMPercentage: the most that the heap may have"
};
static const struct doctor_runtime go = {
	"Go", NULL,
	"the program's own heap profile (net/http/pprof, runtime/pprof) says who holds it",
	"GOMEMLIMIT=256MiB", "in the environment of the next start: collect before it has more"
};
static const struct doctor_runtime node = {
	"Node", NULL,
	"a heap snapshot of its own (--heapsnapshot-signal, --inspect) says who holds it",
	"NODE_OPTIONS=--max-old-space-size=256",
	"in the environment of the next start: the most that the old space may have, in MiB"
};
static const struct doctor_runtime dotnet = {
	".NET", "dotnet-gcdump collect -p PID", "says who holds .NET's heap",
	"DOTNET_GCHeapHardLimit=0x10000000",
	"in the environment of the next start: the most that the heap may have"
};
static const struct doctor_runtime python = {
	"Python", NULL, "tracemalloc, in the program, says which lines hold its objects",
	"PYTHONMALLOC=malloc",
	"in the environment of the next start: its objects are malloc's, which seep sees one by one"
};
static const struct doctor_runtime erlang = {
	"Erlang", NULL, "erlang:memory() and recon_alloc, in the program, say who holds it", NULL,
	NULL
};

/* The beginning of a file's name, without its folders. */
static const struct {
	const char *prefix;
	const struct doctor_runtime *is;
} signs[] = {
	{ "libjvm.so", &java },    { "libcoreclr.so", &dotnet }, { "libnode.so", &node },
	{ "node", &node },         { "nodejs", &node },          { "beam.smp", &erlang },
	{ "libpython3", &python }, { "libpypy", &python },       { "python3", &python },
	{ "pypy3", &python },
};

static const struct doctor_runtime *const all[] = { &java, &go, &node, &dotnet, &python, &erlang };

/* A library's version may follow, and python3's: "libjvm.so.1", "python3.11".  "nodemon" is not node. */
static bool begins(const char *path, const char *prefix)
{
	const char *name = path_base(path);
	size_t n = strlen(prefix);

	return !strncmp(name, prefix, n) && strcspn(name + n, ".-0123456789 ") == 0;
}

const struct doctor_runtime *doctor_runtime_in(const struct image *img)
{
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
		for (size_t k = 0; k < img->nmodules; k++)
			if (begins(img->modules[k].path, signs[i].prefix))
				return signs[i].is;
	for (size_t k = 0; k < img->nmodules; k++)
		if (heap_module_is_go(img, &img->modules[k]))
			return &go;
	return NULL;
}

const struct doctor_runtime *doctor_runtime_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i]->name, name))
			return all[i];
	return NULL;
}
