/* SPDX-License-Identifier: Apache-2.0 */
/* Names, views (folding, filters, inlines), groups, trees, lifetimes: exact numbers on a hand-made service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/group.h"
#include "analysis/names.h"
#include "analysis/tree.h"
#include "analysis/view.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/tracker_name.h"
#include "synth.h"

static const struct measure inuse_bytes = { MEASURE_INUSE, false };

static struct view *make_view(const struct profile *p, const struct view_options *o)
{
	struct view_options none = { 0 };
	struct view *v = NULL;
	struct seep_error *err = profile_check(p);

	if (!err)
		err = view_new(p, o ? o : &none, &v);
	if (err)
		fail_msg("%s", err->message);
	return v;
}

/* "leaf<caller<…<root" of a node. */
static const char *stack_text(const struct view *v, uint32_t node)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (; node; node = v->nodes[node].parent) {
		const char *f = v->locations[v->nodes[node].location].function;

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "<" : "", f ? f : "?");
		assert_true(n < sizeof(text));
	}
	return text;
}

static const struct group *find_group(const struct view *v, enum group_by by,
                                      const struct groups *g, const char *name)
{
	for (size_t i = 0; i < g->n; i++) {
		const char *have = group_name(v, by, &g->items[i]);

		if (have == name || (have && name && !strcmp(have, name)))
			return &g->items[i];
	}
	fail_msg("no group %s", name ? name : "(none)");
	return NULL;
}

/* ---- names -------------------------------------------------------------------- */

static void plain_names(void **state)
{
	static const char *const pairs[][2] = {
		{ "main", "main" },
		{ "operator new(unsigned long)", "operator new" },
		{ "operator new[](unsigned long, std::align_val_t)", "operator new[]" },
		{ "void std::vector<int, std::allocator<int> >::push_back(int&&)",
		  "std::vector::push_back" },
		{ "std::vector<std::pair<int, char>, x<y<z>>>::f<int>(std::string)",
		  "std::vector::f" },
		{ "Foo::operator()(int) const", "Foo::operator()" },
		{ "bool operator< <int>(A const&, B)", "operator<" },
		{ "Foo::operator<<(int)", "Foo::operator<<" },
		{ "(anonymous namespace)::Foo::bar(int)", "(anonymous namespace)::Foo::bar" },
		{ "std::unique_ptr<X> make<X>(int)", "make" },
		{ "<alloc::vec::Vec<T> as core::clone::Clone>::clone",
		  "<alloc::vec::Vec as core::clone::Clone>::clone" },
		{ "my_operator(int)", "my_operator" },
		{ "", "" },
		{ "a<b", "a" },
		{ ">>", ">>" },
	};
	char buf[256], small[8];

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		assert_string_equal(name_plain(pairs[i][0], buf, sizeof(buf)), pairs[i][1]);
	assert_string_equal(name_plain("operator new[](unsigned long)", small, sizeof(small)),
	                    "operato");
	assert_string_equal(name_plain("(anonymous namespace)::x", small, sizeof(small)), "(anonym");
	assert_string_equal(name_plain("abcdefghijkl", small, sizeof(small)), "abcdefg");
}

static void names_are_told_apart(void **state)
{
	static const char *const allocators[] = {
		"malloc",
		"operator new(unsigned long)",
		"__libc_malloc",
		"_int_malloc",
		"std::_Vector_base<int, std::allocator<int> >::_M_allocate(unsigned long)",
		"std::allocator_traits<std::allocator<int> >::allocate(std::allocator<int>&, unsigned long)",
		"__rust_alloc",
		"valloc",
		"__GI___libc_calloc",
		"aligned_alloc"
	};
	static const char *const runtimes[] = { "xmalloc",
		                                "PyObject_Malloc",
		                                "std::string::append(char const*)",
		                                "void std::vector<A>::emplace_back<A>(A&&)",
		                                "ztryrealloc",
		                                "MemoryContextAllocZero",
		                                "my_malloc",
		                                "_emalloc",
		                                "luaM_realloc_",
		                                "_start",
		                                "BUF_MEM_grow",
		                                "alloc::raw_vec::finish_grow" };
	static const char *const own[] = { "main", "my_malloc_all", "malloc_stats", "stdlib::f",
		                           "Foo::operator new_thing()" };

	for (size_t i = 0; i < ARRAY_SIZE(allocators); i++)
		if (!name_is_allocator(allocators[i]))
			fail_msg("%s is an allocator", allocators[i]);
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++)
		if (!name_is_runtime(runtimes[i]) || name_is_allocator(runtimes[i]))
			fail_msg("%s is runtime", runtimes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (name_is_runtime(own[i]) || name_is_allocator(own[i]))
			fail_msg("%s is the program's own", own[i]);
	assert_false(name_is_allocator(NULL));
	assert_false(name_is_runtime(NULL));
	assert_true(module_is_allocator("/usr/lib/libjemalloc.so.2"));
	assert_true(module_is_allocator("libseep.so"));
	assert_true(module_is_tracker("/usr/lib/x86_64-linux-gnu/seep/libseep.so"));
	assert_true(module_is_tracker("/opt/libseep-musl.so"));
	assert_true(module_is_tracker("/memfd:libseep.so"));
	assert_true(module_is_tracker("/memfd:libseep.so (deleted)"));
	assert_false(module_is_tracker("/proc/self/fd/46"));
	assert_false(module_is_tracker("/usr/lib/libseepage.so"));
	assert_false(module_is_tracker(""));
	assert_false(module_is_allocator("/usr/lib/libc.so.6"));
	assert_true(module_is_runtime("/lib/x86_64-linux-gnu/libc.so.6"));
	assert_true(module_is_runtime("/lib64/ld-linux-x86-64.so.2"));
	assert_false(module_is_runtime("/usr/lib/libcurl.so.4"));
	assert_false(module_is_runtime(""));
	assert_true(file_is_runtime("/usr/include/c++/12/bits/stl_vector.h"));
	assert_false(file_is_runtime("/usr/src/app/main.c"));
	assert_false(file_is_runtime(NULL));
}

/* ---- views ---------------------------------------------------------------------- */

static void folding_hides_the_allocator(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *folded = make_view(p, NULL);
	_cleanup_view_ struct view *whole = make_view(p, &(struct view_options){ .no_fold = true });

	assert_string_equal(
		stack_text(folded, folded->site_node[1]),
		"std::vector<int, std::allocator<int> >::push_back(int&&)<Session::keep(int)<serve<main<"
		"__libc_start_main<_start");
	assert_string_equal(
		stack_text(whole, whole->site_node[1]),
		"operator new(unsigned long)<std::vector<int, std::allocator<int> >::push_back(int&&)<"
		"Session::keep(int)<serve<main<__libc_start_main<_start");
	assert_int_equal(folded->site_node[4], 0);
	assert_string_equal(stack_text(folded, folded->site_node[3]),
	                    "?<main<__libc_start_main<_start");
}

static void the_own_line_is_found(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = make_view(p, NULL);
	static const char *const want[] = { "handle_leak", "Session::keep(int)", "cache_put" };

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		uint32_t n = view_culprit(v, v->site_node[i]);

		assert_string_equal(v->locations[v->nodes[n].location].function, want[i]);
	}
	assert_int_equal(view_culprit(v, 0), 0);
}

static void inlined_allocator_lines_fold_inside_a_frame(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("x");
	uint32_t app = synth_module(p, "/bin/x", 0, 1);
	uint32_t f = synth_frame_lines(
		p, 0, app, 0x10,
		(struct synth_line[]){
			{ "std::__new_allocator<int>::allocate(unsigned long, void const*)", "a.h",
	                  1 },
			{ "grow", "x.cc", 2 },
			{ "caller", "x.cc", 3 } },
		3);
	uint32_t only = synth_frame(p, 0, app, 0x20, "malloc", NULL, 0);
	struct view *v;

	synth_site(p, synth_frame(p, f, app, 0x30, "operator new(unsigned long)", NULL, 0),
	           PROF_HEAP, 8, 1, 0);
	synth_site(p, only, PROF_HEAP, 8, 1, 0);
	v = make_view(p, NULL);
	assert_string_equal(stack_text(v, v->site_node[0]), "grow<caller");
	assert_true(v->locations[v->nodes[v->site_node[0]].location].flags & VIEW_INLINED);
	assert_string_equal(stack_text(v, v->site_node[1]),
	                    "malloc"); /* better than no stack at all */
	view_free(v);
}

static void stacks_that_look_alike_fall_together(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("x");
	uint32_t app = synth_module(p, "/bin/x", 0, 1);
	uint32_t f = synth_frame(p, 0, app, 0x10, "f", "x.c", 5);
	_cleanup_groups_ struct groups g = { 0 };
	_cleanup_view_ struct view *v = NULL;

	synth_site(p, synth_frame(p, f, app, 0x30, "malloc", NULL, 0), PROF_HEAP, 8, 3, 1);
	synth_site(p, synth_frame(p, f, app, 0x40, "calloc", NULL, 0), PROF_HEAP, 8, 5, 0);
	synth_site(p, f, PROF_MMAP, 4096, 1, 0);
	v = make_view(p, NULL);
	assert_null(groups_make(v, GROUP_SITE, inuse_bytes, &g));
	assert_int_equal(g.n, 2);
	assert_int_equal(g.items[0].kind, PROF_MMAP);
	assert_int_equal(g.items[1].self.sites, 2);
	assert_int_equal(g.items[1].self.value[MEASURE_INUSE].blocks, 7);
	assert_int_equal(g.items[1].self.value[MEASURE_ALLOC].bytes, 64);
}

static uint64_t filtered_sum(const struct profile *p, const struct view_options *o,
                             size_t *ret_sites)
{
	_cleanup_view_ struct view *v = make_view(p, o);
	_cleanup_groups_ struct groups g = { 0 };

	assert_null(groups_make(v, GROUP_SITE, inuse_bytes, &g));
	*ret_sites = g.n;
	assert_int_equal(v->dropped + g.n, p->nsites);
	return g.sum.value[MEASURE_INUSE].bytes;
}

static void filters_keep_and_drop(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	const char *leak[] = { "^handle_" }, *either[] = { "handle_leak", "cache_put" },
		   *file[] = { "session\\.cc$" };
	const char *module[] = { "libstdc\\+\\+" }, *serve[] = { "^serve$" },
		   *nothing[] = { "no such thing" };
	const struct {
		struct view_options o;
		uint64_t bytes;
		size_t sites;
	} cases[] = {
		{ { .focus = leak, .nfocus = 1 }, 24 * 1048576, 1 },
		{ { .focus = either, .nfocus = 2 }, 24 * 1048576 + 48000, 2 },
		{ { .focus = file, .nfocus = 1 }, 990 * 4096, 1 },
		{ { .focus = module, .nfocus = 1 }, 990 * 4096, 1 }, /* a folded frame still matches */
		{ { .ignore = serve, .nignore = 1 }, 65536, 2 },
		{ { .focus = serve, .nfocus = 1, .ignore = leak, .nignore = 1 },
		  990 * 4096 + 48000,
		  2 },
		{ { .focus = nothing, .nfocus = 1 }, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t sites;

		assert_int_equal(filtered_sum(p, &cases[i].o, &sites), cases[i].bytes);
		assert_int_equal(sites, cases[i].sites);
	}
}

static void hidden_frames_vanish(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	const char *hide[] = { "libc\\.so", "^serve$", "push_back" };
	_cleanup_view_ struct view *v =
		make_view(p, &(struct view_options){ .hide = hide, .nhide = 3 });

	assert_string_equal(stack_text(v, v->site_node[0]), "handle_leak<main<_start");
	assert_string_equal(stack_text(v, v->site_node[1]), "Session::keep(int)<main<_start");
	assert_string_equal(stack_text(v, v->site_node[2]), "cache_put<main<_start");
	assert_int_equal(v->dropped, 0);
}

static void the_tracker_is_not_shown(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("x");
	uint32_t app = synth_module(p, "/bin/x", 0, 1),
		 seep = synth_module(p, "/usr/lib/libseep.so", 0x1000000, 2);
	uint32_t wrap = synth_frame(p, 0, seep, 0x10, "child_main", NULL, 0);
	uint32_t work = synth_frame(p, wrap, app, 0x10, "work", NULL, 0);
	struct view *v;

	synth_site(p, synth_frame(p, work, seep, 0x20, "malloc", NULL, 0), PROF_HEAP, 8, 1, 0);
	synth_site(p, wrap, PROF_HEAP, 8, 1, 0);
	v = make_view(p, NULL);
	assert_string_equal(stack_text(v, v->site_node[0]), "work");
	assert_int_equal(v->site_node[1], 0);
	view_free(v);
	v = make_view(p, &(struct view_options){ .no_fold = true });
	assert_string_equal(stack_text(v, v->site_node[0]), "malloc<work<child_main");
	view_free(v);
}

static void a_bad_regex_is_an_error(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	const char *bad[] = { "(" };
	struct view *v = NULL;
	struct seep_error *err = view_new(p, &(struct view_options){ .hide = bad, .nhide = 1 }, &v);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "'('"));
	assert_non_null(err->hint);
	assert_null(v);
	seep_error_free(err);
}

/* ---- groups -------------------------------------------------------------------- */

static void functions_count_once_per_stack(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("x");
	uint32_t app = synth_module(p, "/bin/x", 0, 1);
	uint32_t m = synth_frame(p, 0, app, 0x10, "main", NULL, 0);
	uint32_t a = synth_frame(p, m, app, 0x20, "walk", "w.c", 1);
	uint32_t b = synth_frame(p, a, app, 0x28, "walk", "w.c", 2);
	uint32_t c = synth_frame(p, b, app, 0x28, "walk", "w.c", 2);
	_cleanup_groups_ struct groups g = { 0 };
	_cleanup_view_ struct view *v = NULL;
	const struct group *walk, *top;

	synth_site(p, c, PROF_HEAP, 100, 1, 0);
	synth_site(p, a, PROF_HEAP, 10, 1, 0);
	synth_site(p, m, PROF_HEAP, 1, 1, 0);
	v = make_view(p, NULL);
	assert_null(groups_make(v, GROUP_FUNCTION, inuse_bytes, &g));
	assert_int_equal(g.n, 2);
	walk = find_group(v, GROUP_FUNCTION, &g, "walk");
	top = find_group(v, GROUP_FUNCTION, &g, "main");
	assert_int_equal(walk->total.value[MEASURE_INUSE].bytes, 110);
	assert_int_equal(walk->self.value[MEASURE_INUSE].bytes, 110);
	assert_int_equal(top->total.value[MEASURE_INUSE].bytes, 111);
	assert_int_equal(top->self.value[MEASURE_INUSE].bytes, 1);
	assert_ptr_equal(top, &g.items[0]);
}

static void functions_modules_threads_kinds(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = make_view(p, NULL);
	struct groups g = { 0 };
	const struct group *i;

	assert_null(groups_make(v, GROUP_FUNCTION, inuse_bytes, &g));
	i = find_group(v, GROUP_FUNCTION, &g, "serve");
	assert_int_equal(i->total.value[MEASURE_INUSE].bytes, 24 * 1048576 + 990 * 4096 + 48000);
	assert_int_equal(i->self.value[MEASURE_INUSE].bytes, 0);
	assert_int_equal(i->total.sites, 3);
	groups_release(&g);

	assert_null(groups_make(v, GROUP_MODULE, inuse_bytes, &g));
	i = find_group(v, GROUP_MODULE, &g, "/lib/x86_64-linux-gnu/libc.so.6");
	assert_int_equal(i->self.value[MEASURE_INUSE].bytes, 48000);
	i = find_group(v, GROUP_MODULE, &g,
	               NULL); /* no module: the anonymous code and the unknown stack */
	assert_int_equal(i->self.value[MEASURE_ALLOC].bytes, 2 * 65536 + 1600);
	groups_release(&g);

	assert_null(groups_make(v, GROUP_THREAD, inuse_bytes, &g));
	assert_int_equal(g.n, 2);
	assert_string_equal(group_name(v, GROUP_THREAD, &g.items[0]), "worker");
	assert_int_equal(g.items[0].self.value[MEASURE_INUSE].bytes, 24 * 1048576 + 990 * 4096);
	assert_int_equal(g.items[1].self.value[MEASURE_INUSE].blocks, 1001);
	groups_release(&g);

	assert_null(groups_make(v, GROUP_KIND, inuse_bytes, &g));
	assert_int_equal(g.n, 2);
	assert_string_equal(group_name(v, GROUP_KIND, &g.items[1]), "mmap");
	assert_int_equal(g.items[1].self.value[MEASURE_INUSE].bytes, 65536);
	groups_release(&g);
}

static void orders(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = NULL;
	_cleanup_groups_ struct groups g = { 0 };

	p->sites[2].oldest = 1;
	v = make_view(p, NULL);
	assert_null(groups_make(v, GROUP_SITE, inuse_bytes, &g));
	assert_int_equal(g.n, 5);
	assert_string_equal(group_name(v, GROUP_SITE, &g.items[0]), "handle_leak");
	groups_sort(v, GROUP_SITE, inuse_bytes, ORDER_BLOCKS, &g);
	assert_string_equal(group_name(v, GROUP_SITE, &g.items[0]), "cache_put");
	groups_sort(v, GROUP_SITE, inuse_bytes, ORDER_AVERAGE, &g);
	assert_string_equal(group_name(v, GROUP_SITE, &g.items[0]), "handle_leak");
	groups_sort(v, GROUP_SITE, inuse_bytes, ORDER_AGE, &g);
	assert_string_equal(group_name(v, GROUP_SITE, &g.items[0]), "cache_put");
	assert_null(group_name(v, GROUP_SITE, &g.items[4])); /* nothing in use: no age */
	groups_sort(v, GROUP_SITE, inuse_bytes, ORDER_NAME, &g);
	assert_string_equal(group_name(v, GROUP_SITE, &g.items[0]), "Session::keep(int)");
	assert_null(group_name(v, GROUP_SITE, &g.items[4]));
}

static void measures(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = make_view(p, NULL);
	_cleanup_groups_ struct groups g = { 0 };

	assert_null(groups_make(v, GROUP_SITE, (struct measure){ MEASURE_ALLOC, true }, &g));
	assert_string_equal(group_name(v, GROUP_SITE, &g.items[0]), "cache_put");
	assert_int_equal(group_measure(&g.sum, (struct measure){ MEASURE_ALLOC, true }), 51126);
	assert_int_equal(group_measure(&g.sum, (struct measure){ MEASURE_FREED, false }),
	                 40960 + 49000 * 48 + 65536 + 1600);
}

/* ---- trees ---------------------------------------------------------------------- */

static const struct tree_node *find_node(const struct view *v, const struct tree *t,
                                         const char *function, uint32_t depth)
{
	for (size_t i = 1; i < t->n; i++) {
		const char *f = t->nodes[i].location == UINT32_MAX
		                        ? ""
		                        : v->locations[t->nodes[i].location].function;

		if (t->nodes[i].depth == depth && f && !strcmp(f, function))
			return &t->nodes[i];
	}
	fail_msg("no node %s at depth %u", function, depth);
	return NULL;
}

/* Every node is the sum of its children, shown or cut, and of what ends there. */
static void assert_tree_adds_up(const struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		uint64_t sum = t->nodes[i].self.bytes + t->nodes[i].cut_value, last = UINT64_MAX;

		for (size_t j = i + 1; j < t->n && t->nodes[j].depth > t->nodes[i].depth; j++) {
			if (t->nodes[j].depth != t->nodes[i].depth + 1)
				continue;
			sum += t->nodes[j].value.bytes;
			assert_true(t->nodes[j].value.bytes <= last);
			last = t->nodes[j].value.bytes;
		}
		assert_int_equal(sum, t->nodes[i].value.bytes);
	}
}

static void trees_add_up(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = make_view(p, NULL);
	const uint64_t all = 24 * 1048576 + 990 * 4096 + 48000 + 65536;
	struct tree t = { 0 };

	assert_null(tree_make(v, TREE_ROOT_FIRST, inuse_bytes, (struct tree_cut){ 0 }, &t));
	assert_int_equal(t.n, 11);
	assert_tree_adds_up(&t);
	assert_int_equal(t.nodes[0].value.bytes, all);
	assert_int_equal(find_node(v, &t, "serve", 4)->value.bytes, all - 65536);
	assert_int_equal(find_node(v, &t, "handle_leak", 5)->self.bytes, 24 * 1048576);
	tree_release(&t);

	assert_null(tree_make(v, TREE_LEAF_FIRST, inuse_bytes, (struct tree_cut){ 0 }, &t));
	assert_tree_adds_up(&t);
	assert_int_equal(t.nodes[0].value.bytes, all);
	assert_string_equal(v->locations[t.nodes[1].location].function, "handle_leak");
	assert_int_equal(find_node(v, &t, "strdup", 1)->value.bytes, 48000);
	assert_int_equal(find_node(v, &t, "cache_put", 2)->value.bytes, 48000);
	tree_release(&t);
}

static void trees_are_cut(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = make_view(p, NULL);
	struct tree t = { 0 };

	assert_null(
		tree_make(v, TREE_LEAF_FIRST, inuse_bytes, (struct tree_cut){ .min = 100000 }, &t));
	assert_tree_adds_up(&t);
	assert_int_equal(t.nodes[0].cut_children, 2);
	assert_int_equal(t.nodes[0].cut_value, 48000 + 65536);
	tree_release(&t);

	assert_null(tree_make(v, TREE_LEAF_FIRST, inuse_bytes,
	                      (struct tree_cut){ .max_children = 1 }, &t));
	assert_tree_adds_up(&t);
	assert_int_equal(t.nodes[0].cut_children, 3);
	tree_release(&t);
}

static void unknown_stacks_hang_from_the_top(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	_cleanup_view_ struct view *v = make_view(p, NULL);
	_cleanup_tree_ struct tree t = { 0 };

	assert_null(tree_make(v, TREE_ROOT_FIRST, (struct measure){ MEASURE_ALLOC, false },
	                      (struct tree_cut){ 0 }, &t));
	assert_tree_adds_up(&t);
	assert_int_equal(t.nodes[t.n - 1].location, UINT32_MAX);
	assert_int_equal(t.nodes[t.n - 1].depth, 1);
	assert_int_equal(t.nodes[t.n - 1].value.bytes, 1600);
}

static void deep_stacks_need_no_recursion(void **state)
{
	_cleanup_profile_ struct profile *p = synth_new("x");
	uint32_t f = 0;
	_cleanup_view_ struct view *v = NULL;
	struct tree t = { 0 };

	for (uint32_t i = 0; i < 5000; i++)
		f = synth_frame_lines(p, f, PROF_NO_MODULE, 0x1000 + i, NULL, 0);
	synth_site(p, f, PROF_HEAP, 10, 1, 0);
	v = make_view(p, NULL);
	assert_null(tree_make(v, TREE_LEAF_FIRST, inuse_bytes, (struct tree_cut){ 0 }, &t));
	assert_int_equal(t.n, 5001);
	assert_int_equal(t.nodes[5000].depth, 5000);
	tree_release(&t);
}

static void lifetimes(void **state)
{
	_cleanup_profile_ struct profile *p = synth_service();
	const char *cache[] = { "cache_put" };
	_cleanup_view_ struct view *v =
		make_view(p, &(struct view_options){ .focus = cache, .nfocus = 1 });
	struct lifetimes l = lifetimes_make(v);

	assert_int_equal(l.total, 49000);
	assert_int_equal(l.blocks[4], 49000);
	assert_int_equal(lifetime_bucket_ns(0), 0);
	assert_int_equal(lifetime_bucket_ns(1), 2ull << 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_names),
		cmocka_unit_test(names_are_told_apart),
		cmocka_unit_test(folding_hides_the_allocator),
		cmocka_unit_test(the_own_line_is_found),
		cmocka_unit_test(inlined_allocator_lines_fold_inside_a_frame),
		cmocka_unit_test(stacks_that_look_alike_fall_together),
		cmocka_unit_test(filters_keep_and_drop),
		cmocka_unit_test(hidden_frames_vanish),
		cmocka_unit_test(the_tracker_is_not_shown),
		cmocka_unit_test(a_bad_regex_is_an_error),
		cmocka_unit_test(functions_count_once_per_stack),
		cmocka_unit_test(functions_modules_threads_kinds),
		cmocka_unit_test(orders),
		cmocka_unit_test(measures),
		cmocka_unit_test(trees_add_up),
		cmocka_unit_test(trees_are_cut),
		cmocka_unit_test(unknown_stacks_hang_from_the_top),
		cmocka_unit_test(deep_stacks_need_no_recursion),
		cmocka_unit_test(lifetimes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
