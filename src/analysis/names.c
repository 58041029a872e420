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

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proc/modules.h"

/* Sorted (strcmp order), for bsearch. */
static const char *const allocator_functions[] = {
	"__GI___libc_calloc",
	"__GI___libc_malloc",
	"__GI___libc_memalign",
	"__GI___libc_realloc",
	"__GI___mmap64",
	"__gnu_cxx::__aligned_membuf::allocate",
	"__gnu_cxx::__alloc_traits::allocate",
	"__gnu_cxx::__default_alloc::allocate",
	"__gnu_cxx::malloc_allocator::allocate",
	"__gnu_cxx::new_allocator::allocate",
	"__libc_calloc",
	"__libc_malloc",
	"__libc_memalign",
	"__libc_pvalloc",
	"__libc_realloc",
	"__libc_reallocarray",
	"__libc_valloc",
	"__mmap",
	"__mmap64",
	"__posix_memalign",
	"__rdl_alloc",
	"__rdl_alloc_zeroed",
	"__rdl_realloc",
	"__rg_alloc",
	"__rust_alloc",
	"__rust_alloc_zeroed",
	"__rust_realloc",
	"_int_malloc",
	"_int_memalign",
	"_int_realloc",
	"_mid_memalign",
	"aligned_alloc",
	"alloc::alloc::Global::alloc_impl",
	"alloc::alloc::alloc",
	"alloc::alloc::alloc_zeroed",
	"alloc::alloc::exchange_malloc",
	"alloc::alloc::realloc",
	"calloc",
	"je_calloc",
	"je_malloc",
	"je_mallocx",
	"je_realloc",
	"malloc",
	"mallocx",
	"memalign",
	"mi_calloc",
	"mi_malloc",
	"mi_realloc",
	"mmap",
	"mmap64",
	"mremap",
	"operator new",
	"operator new[]",
	"posix_memalign",
	"pvalloc",
	"rallocx",
	"realloc",
	"reallocarray",
	"std::_Deque_base::_M_allocate_map",
	"std::_Deque_base::_M_allocate_node",
	"std::_Fwd_list_base::_M_get_node",
	"std::_List_base::_M_get_node",
	"std::_Rb_tree::_M_get_node",
	"std::_Vector_base::_M_allocate",
	"std::_Vector_base::_M_create_storage",
	"std::__1::__libcpp_allocate",
	"std::__1::allocator::allocate",
	"std::__1::allocator_traits::allocate",
	"std::__allocate_guarded",
	"std::__cxx11::_List_base::_M_get_node",
	"std::__detail::_Hashtable_alloc::_M_allocate_buckets",
	"std::__detail::_Hashtable_alloc::_M_allocate_node",
	"std::__new_allocator::allocate",
	"std::allocator::allocate",
	"std::allocator_traits::allocate",
	"sysmalloc",
	"tc_calloc",
	"tc_malloc",
	"tc_new",
	"tc_newarray",
	"tc_realloc",
	"valloc",
};

/* Wrappers of the allocator, by the projects that call them most; sorted. */
static const char *const runtime_functions[] = {
	"BUF_MEM_grow",
	"CRYPTO_calloc",
	"CRYPTO_malloc",
	"CRYPTO_realloc",
	"CRYPTO_strdup",
	"CRYPTO_zalloc",
	"PyMem_Calloc",
	"PyMem_Malloc",
	"PyMem_RawCalloc",
	"PyMem_RawMalloc",
	"PyMem_RawRealloc",
	"PyMem_Realloc",
	"PyObject_Calloc",
	"PyObject_Malloc",
	"PyObject_Realloc",
	"_PyMem_DebugCalloc",
	"_PyMem_DebugMalloc",
	"_PyMem_DebugRawAlloc",
	"_PyMem_DebugRawCalloc",
	"_PyMem_DebugRawMalloc",
	"_PyMem_DebugRawRealloc",
	"_PyMem_DebugRealloc",
	"_PyMem_RawCalloc",
	"_PyMem_RawMalloc",
	"_PyMem_RawRealloc",
	"_PyMem_RawStrdup",
	"_PyMem_Strdup",
	"_PyObject_Calloc",
	"_PyObject_Malloc",
	"_PyObject_Realloc",
	"__libc_start_call_main",
	"__libc_start_main",
	"_dl_start_user",
	"_start",
	"apr_palloc",
	"apr_pcalloc",
	"av_calloc",
	"av_malloc",
	"av_mallocz",
	"clone",
	"clone3",
	"g_malloc",
	"g_malloc0",
	"g_malloc0_n",
	"g_malloc_n",
	"g_realloc",
	"g_realloc_n",
	"g_slice_alloc",
	"g_slice_alloc0",
	"g_strdup",
	"g_strdup_printf",
	"g_strndup",
	"g_try_malloc",
	"g_try_malloc0",
	"g_try_realloc",
	"mallocWithAlarm",
	"ngx_alloc",
	"ngx_calloc",
	"ngx_palloc",
	"ngx_palloc_large",
	"ngx_pcalloc",
	"ngx_pnalloc",
	"sdsnewlen",
	"sqlite3DbMallocRaw",
	"sqlite3DbMallocRawNN",
	"sqlite3DbMallocZero",
	"sqlite3DbRealloc",
	"sqlite3Malloc",
	"sqlite3MallocZero",
	"sqlite3MemMalloc",
	"sqlite3MemRealloc",
	"sqlite3Realloc",
	"sqlite3_malloc",
	"sqlite3_malloc64",
	"start_thread",
	"talloc_named_const",
	"xcalloc",
	"xmalloc",
	"xmemdup",
	"xrealloc",
	"xstrdup",
	"xstrndup",
	"xzalloc",
	"zcalloc",
	"zmalloc",
	"zrealloc",
	"zstrdup",
	"ztrycalloc",
	"ztrymalloc",
	"ztrymalloc_usable",
	"ztrymalloc_usable_internal",
	"ztryrealloc",
};

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
