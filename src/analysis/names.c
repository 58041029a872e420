/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of allocator and runtime code: names.h.
 *
 * A person who looks for a leak wants the first line of his own.  Between it and
 * the block lie two layers: the allocator's entry points and wrappers of them
 * made by the language (folded away, they carry no information), and runtime
 * library code such as strdup or std::string (kept, but not the line to look at).
 * Both are told by name, since names are all that is left after inlining.  C++
 * names are compared without template arguments, so one row covers them all.
 */
#include "analysis/names.h"
#include "analysis/names_known.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/tracker_name.h"

/* Namespaces of the languages' own libraries. */
static const char *const runtime_prefixes[] = {
	"std::",   "__gnu_cxx::", "__cxxabiv1::", "__cxa_", "core::",
	"alloc::", "<alloc::",    "<core::",      "<std::",
};

/* Beginnings of module file names, each followed by '.', '-', '_' or a digit in the wild. */
static const char *const allocator_modules[] = {
	"libjemalloc.so", "libtcmalloc", "libmimalloc", "libhoard", "libsnmalloc",
};
static const char *const runtime_modules[] = {
	"libc.so",     "libc-2.",    "libc.musl", "libstdc++.so", "libc++.so", "libc++abi.so",
	"libgcc_s.so", "libpthread", "ld-linux",  "ld-musl",      "ld-2.",     "libdl.so",
	"libdl-2.",    "libm.so",    "librt.so",  "linux-vdso",
};

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_name_byte(char c)
{
	return c == '_' || c == '$' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

/* `s` is at "operator" as a word of its own: the length of the whole operator's name ("operator<<"). */
static size_t operator_length(const char *s, const char *start)
{
	size_t n = 8;

	if (strncmp(s, "operator", 8) || is_name_byte(s[8]) || (s > start && is_name_byte(s[-1])))
		return 0;
	if (!strncmp(s + n, " new", 4) && !is_name_byte(s[n + 4]))
		n += 4;
	else if (!strncmp(s + n, " delete", 7) && !is_name_byte(s[n + 7]))
		n += 7;
	else if (!strncmp(s + n, "()", 2))
		return n + 2;
	else
		return n + strspn(s + n, "<>=!+-*/%^&|~,");
	return n + (!strncmp(s + n, "[]", 2) ? 2 : 0);
}

char *name_plain(const char *function, char *buf, size_t size)
{
	size_t n = 0, depth = 0;

	for (const char *s = function; *s; s++) {
		size_t op = depth ? 0 : operator_length(s, function);

		if (op) {
			for (size_t i = 0; i < op && n + 1 < size; i++)
				buf[n++] = s[i];
			s += op - 1;
			continue;
		}
		if (!depth && *s == '<' && s == function) {
			/* "<alloc::vec::Vec<T> as Trait>::f" (Rust): keep the bracket, it is no argument list */
			buf[n++] = *s;
			continue;
		}
		if (!depth && *s == '(' && !strncmp(s, "(anonymous namespace)", 21)) {
			for (size_t i = 0; i < 21 && n + 1 < size; i++)
				buf[n++] = s[i];
			s += 20;
			continue;
		}
		if (!depth && *s == '(')
			break;
		if (*s == '<' || *s == '(')
			depth++;
		else if ((*s == '>' || *s == ')') && depth)
			depth--;
		else if (!depth && *s == ' ' && s[1] == '<')
			continue; /* "operator< <int>" */
		else if (!depth && *s == ' ' && *function != '<')
			n = 0; /* what came before was the return type */
		else if (!depth && n + 1 < size)
			buf[n++] = *s;
	}
	buf[n] = '\0';
	return buf;
}

static int compare(const void *key, const void *element)
{
	return strcmp(key, *(const char *const *)element);
}

static bool listed(const char *name, const char *const *list, size_t n)
{
	return bsearch(name, list, n, sizeof(*list), compare);
}

static bool begins(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strncmp(name, list[i], strlen(list[i])))
			return true;
	return false;
}

bool name_is_allocator(const char *function)
{
	char plain[256];

	return function && listed(name_plain(function, plain, sizeof(plain)), allocator_functions,
	                          ARRAY_SIZE(allocator_functions));
}

bool module_is_allocator(const char *path)
{
	return module_is_tracker(path) ||
	       begins(path_base(path), allocator_modules, ARRAY_SIZE(allocator_modules));
}

bool name_is_runtime(const char *function)
{
	char plain[256];

	if (!function)
		return false;
	name_plain(function, plain, sizeof(plain));
	return listed(plain, runtime_functions, ARRAY_SIZE(runtime_functions)) ||
	       begins(plain, runtime_prefixes, ARRAY_SIZE(runtime_prefixes));
}

bool module_is_runtime(const char *path)
{
	return begins(path_base(path), runtime_modules, ARRAY_SIZE(runtime_modules));
}

bool file_is_runtime(const char *path)
{
	static const char *const directories[] = { "/usr/include/", "/usr/lib/gcc/",
		                                   "/usr/lib/llvm", "/rustc/" };

	static const char *const files[] = { "/Objects/obmalloc.c", "/Modules/gcmodule.c" };

	for (size_t i = 0; path && i < ARRAY_SIZE(files); i++) {
		size_t n = strlen(path), m = strlen(files[i]);

		if (n >= m && !strcmp(path + n - m, files[i]))
			return true; /* CPython's own allocator */
	}
	return path && begins(path, directories, ARRAY_SIZE(directories));
}
