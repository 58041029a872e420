/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks to sites: one stack is one site, however often and in whatever order it comes; two are two.  The
 * trie in the ledger spells every stack out again.  Modules that go leave the sites of the others alone.
 */
#include "tracker.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <unistd.h>

#include "profile/profile.h"

#define STACKS 20000u

static const char *plugin_path;

struct stack {
	uint32_t n;
	uint64_t pc[MAX_FRAMES];
};

/* Stack i, the same each time: a walk through a tree, so that outer frames are shared; the leaf is its own. */
static void make_stack(uint32_t i, struct stack *s)
{
	uint64_t seed = 1 + i / 50; /* 50 stacks share all but their innermost frames */

	s->n = 1 + i % 64;
	if (i % 997 == 0)
		s->n = MAX_FRAMES;
	for (uint32_t k = s->n; k-- > 0;)
		s->pc[k] = 0x400000 + (random_next(&seed) >> 40) % 64 * 4;
	s->pc[0] = 0x10000000 + 8ull * i;
}

static uint32_t intern(const struct stack *s, unsigned int kind, bool *ret_new)
{
	return site_intern(t_self, s->pc, s->n, kind, 0, ret_new);
}

static void one_stack_is_one_site(void **state)
{
	static uint32_t site[STACKS];
	static struct stack s;
	struct profile *p;
	bool is_new;

	(void)state;
	/* All tables double several times on the way: 1024 stacks, 4096 nodes, 1024 sites at first. */
	for (uint32_t i = 0; i < STACKS; i++) {
		make_stack(i, &s);
		site[i] = intern(&s, LEDGER_HEAP, &is_new);
		assert_int_equal(site[i], i + 1);
		assert_true(is_new);
		make_stack(i / 2, &s);
		assert_int_equal(intern(&s, LEDGER_HEAP, &is_new), site[i / 2]);
		assert_false(is_new);
	}
	assert_int_equal(g.hdr->nsites, STACKS + 1);
	for (uint32_t i = STACKS; i-- > 0;) {
		make_stack(i, &s);
		assert_int_equal(intern(&s, LEDGER_HEAP, &is_new), site[i]);
		assert_false(is_new);
	}
	assert_int_equal(tracker_losses(), 0);
	p = tracker_read();
	for (uint32_t i = 0, k = 0; i < STACKS; i++) {
		const struct prof_site *ps;
		uint32_t frame;

		make_stack(i, &s);
		while (k < p->nsites && p->frames[p->sites[k].stack].pc != s.pc[0] - 1)
			k++;
		assert_true(k < p->nsites);
		ps = &p->sites[k];
		frame = ps->stack;
		for (uint32_t j = 0; j < s.n; j++, frame = p->frames[frame].parent)
			assert_int_equal(p->frames[frame].pc, s.pc[j] - 1);
		assert_int_equal(frame, 0);
	}
	profile_free(p);
}

static void shared_frames_are_stored_once(void **state)
{
	struct stack s = { .n = 100 };
	bool is_new;

	(void)state;
	for (uint32_t k = 0; k < 100; k++)
		s.pc[k] = 0x5000 + 16 * k;
	for (uint32_t i = 0; i < 1000; i++) {
		s.pc[0] = 0x900000 + i;
		assert_true(intern(&s, LEDGER_HEAP, &is_new) && is_new);
	}
	assert_int_equal(g.hdr->nnodes, 1 + 99 + 1000);
	for (uint64_t i = 1; i < g.hdr->nnodes; i++) {
		assert_true(g.nodes[i].parent < i);
		assert_int_equal(g.nodes[i].depth, g.nodes[g.nodes[i].parent].depth + 1);
	}
}

static void kinds_have_sites_of_their_own(void **state)
{
	struct stack s = { .n = 3, .pc = { 0x1000, 0x2000, 0x3000 } };
	uint32_t site[LEDGER_NKINDS];
	bool is_new;

	(void)state;
	for (unsigned int kind = 0; kind < LEDGER_NKINDS; kind++) {
		site[kind] = intern(&s, kind, &is_new);
		assert_true(is_new);
		assert_int_equal(g.sites[site[kind]].kind, kind);
		assert_int_equal(g.sites[site[kind]].node, g.sites[site[0]].node);
	}
	assert_true(site[0] != site[1] && site[1] != site[2] && site[0] != site[2]);
	for (unsigned int kind = 0; kind < LEDGER_NKINDS; kind++)
		assert_int_equal(intern(&s, kind, &is_new), site[kind]);
}

/* Prefixes, suffixes, permutations and repetitions of one stack are other stacks. */
static void similar_stacks_are_different(void **state)
{
	uint64_t pc[8] = { 1 << 12, 2 << 12, 3 << 12, 4 << 12, 1 << 12, 2 << 12, 3 << 12, 4 << 12 };
	bool seen[200] = { false }, is_new;

	(void)state;
	for (uint32_t at = 0; at < 4; at++) {
		for (uint32_t n = 1; n <= 4; n++) {
			uint32_t s = site_intern(t_self, pc + at, n, LEDGER_HEAP, 0, &is_new);

			assert_true(is_new && s < 200 && !seen[s]);
			seen[s] = true;
		}
	}
	for (uint32_t n = 5; n <= 8; n++)
		assert_true(site_intern(t_self, pc, n, LEDGER_HEAP, 0, &is_new) && is_new);
}

static void cut_stacks_are_counted_once(void **state)
{
	struct stack s = { .n = MAX_FRAMES };
	uint32_t site;
	bool is_new;

	(void)state;
	for (uint32_t k = 0; k < MAX_FRAMES; k++)
		s.pc[k] = 0x5000 + k;
	site = site_intern(t_self, s.pc, s.n, LEDGER_HEAP, LEDGER_SITE_CUT_DEPTH, &is_new);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(site_intern(t_self, s.pc, s.n, LEDGER_HEAP, LEDGER_SITE_CUT_DEPTH,
		                             &is_new),
		                 site);
	assert_int_equal(g.sites[site].flags, LEDGER_SITE_CUT_DEPTH);
	assert_int_equal(g.hdr->losses[LOSS_DEPTH], 1);
	s.n = 7;
	assert_int_not_equal(
		site_intern(t_self, s.pc, s.n, LEDGER_HEAP, LEDGER_SITE_CUT_NO_CFI, &is_new), 0);
	assert_int_equal(g.hdr->losses[LOSS_NO_CFI], 1);
	assert_int_equal(tracker_losses(), 2);
}

/* ---- full tables -------------------------------------------------------------------------------- */

static void full_tables_say_so(void **state)
{
	uint64_t sites = g.max_sites, nodes = g.max_nodes;
	struct stack s = { .n = 2, .pc = { 0, 0x700000 } };
	bool is_new;

	(void)state;
	g.max_sites = 11;
	for (uint32_t i = 1; i <= 20; i++) {
		s.pc[0] = 0x1000 * i;
		assert_int_equal(intern(&s, LEDGER_HEAP, &is_new), i <= 10 ? i : 0);
	}
	assert_int_equal(g.hdr->losses[LOSS_STACKS_FULL], 10);
	/* What is known stays known. */
	s.pc[0] = 0x1000;
	assert_int_equal(intern(&s, LEDGER_HEAP, &is_new), 1);
	assert_int_equal(g.hdr->losses[LOSS_STACKS_FULL], 10);
	g.max_sites = sites;
	g.max_nodes = g.hdr->nnodes + 1;
	s.pc[1] = 0x800000;
	s.pc[0] = 0x900000;
	assert_int_equal(intern(&s, LEDGER_HEAP, &is_new), 0); /* two nodes, room for one */
	assert_int_equal(g.hdr->losses[LOSS_STACKS_FULL], 11);
	g.max_nodes = nodes;
	assert_int_not_equal(intern(&s, LEDGER_HEAP, &is_new), 0);
	assert_true(is_new);
}

/* ---- modules -------------------------------------------------------------------------------------- */

static uint64_t in_libc, in_program;

struct plugin {
	void *handle;
	uint64_t pc;
};

static struct plugin plugin_load(const char *path)
{
	struct plugin p = { dlopen(path, RTLD_NOW | RTLD_LOCAL), 0 };

	if (!p.handle)
		fail_msg("%s", dlerror());
	p.pc = (uint64_t)dlsym(p.handle, "track_plugin_function") + 1;
	return p;
}

static void modules_that_go_leave_the_others_sites(void **state)
{
	struct stack outer = { .n = 40 }, inner, again;
	struct plugin a, b;
	uint32_t kept[200], gone, other;
	bool is_new;

	(void)state;
	in_libc = (uint64_t)&gnu_get_libc_version + 1;
	in_program = (uint64_t)&modules_that_go_leave_the_others_sites + 1;
	for (uint32_t k = 0; k < outer.n; k++)
		outer.pc[k] = (k % 2 ? in_libc : in_program) + k;
	for (uint32_t i = 0; i < 200; i++) {
		outer.pc[0] = in_libc + i;
		kept[i] = intern(&outer, LEDGER_HEAP, &is_new);
		assert_true(is_new);
	}
	a = plugin_load(plugin_path);
	inner = outer;
	inner.pc[0] = a.pc;
	gone = intern(&inner, LEDGER_HEAP, &is_new);
	assert_true(is_new);
	assert_int_equal(intern(&inner, LEDGER_HEAP, &is_new), gone);
	modules_changed(); /* nothing has */
	assert_int_equal(intern(&inner, LEDGER_HEAP, &is_new), gone);
	assert_false(is_new);

	assert_int_equal(dlclose(a.handle), 0);
	modules_changed();
	for (uint32_t i = 0; i < 200; i++) {
		outer.pc[0] = in_libc + i;
		assert_int_equal(intern(&outer, LEDGER_HEAP, &is_new), kept[i]);
		assert_false(is_new);
	}
	/* The same address, no module there: another stack. */
	again = inner;
	other = intern(&again, LEDGER_HEAP, &is_new);
	assert_true(is_new && other != gone);

	/* The same file at the same place is what it was; at another place it is another module. */
	b = plugin_load(plugin_path);
	inner.pc[0] = b.pc;
	unwind_flush(); /* no hook on dlopen: an address seen without a module may stay so until something goes */
	other = intern(&inner, LEDGER_HEAP, &is_new);
	assert_int_equal(other == gone, b.pc == a.pc);
	assert_int_equal(is_new, b.pc != a.pc);
	assert_int_equal(dlclose(b.handle), 0);
	modules_changed();
	assert_int_equal(tracker_losses(), 0);
}

static void copy_file(const char *from, char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = mkstemp(to);
	char b[4096];
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, b, sizeof(b))) > 0)
		assert_int_equal(write(out, b, (size_t)n), n);
	close(in);
	close(out);
}

/* Another file in the place of the first, even one with the same content and build-id. */
static void another_file_at_the_same_place_is_another_module(void **state)
{
	char path[] = "/tmp/seep-plugin-XXXXXX";
	struct stack s = { .n = 2 };
	uint32_t first = 0, second = 0;
	bool is_new;

	(void)state;
	copy_file(plugin_path, path);
	for (unsigned int i = 0; i < 100 && !second; i++) { /* mostly the first time */
		struct plugin a = plugin_load(plugin_path), b;

		s.pc[0] = a.pc;
		s.pc[1] = (uint64_t)&gnu_get_libc_version + 1;
		first = intern(&s, LEDGER_HEAP, &is_new);
		assert_int_equal(dlclose(a.handle), 0);
		modules_changed();
		b = plugin_load(path);
		if (b.pc == a.pc)
			second = intern(&s, LEDGER_HEAP, &is_new);
		assert_int_equal(dlclose(b.handle), 0);
		modules_changed();
	}
	unlink(path);
	assert_int_not_equal(second, 0);
	assert_int_not_equal(second, first);
}

/* A program that loads and unloads something all day. */
static void modules_that_come_again_cost_nothing(void **state)
{
	uint64_t memory = 0, modules = 0, sites = 0;
	struct stack s = { .n = 2 };
	bool is_new;

	(void)state;
	for (unsigned int i = 0; i < 10000; i++) { /* more than there is room for modules */
		struct plugin a = plugin_load(plugin_path);

		s.pc[0] = a.pc;
		s.pc[1] = (uint64_t)&gnu_get_libc_version + 1;
		assert_int_not_equal(intern(&s, LEDGER_HEAP, &is_new), 0);
		assert_int_not_equal(cfi_row(a.pc), 0);
		assert_int_equal(dlclose(a.handle), 0);
		modules_changed();
		if (i == 100) {
			memory = g.private_bytes;
			modules = g.hdr->nmodules;
			sites = g.hdr->nsites;
		}
	}
	assert_int_equal(g.private_bytes, memory);
	assert_true(g.hdr->nmodules < modules + 100 && g.hdr->nsites < sites + 100);
	assert_int_equal(tracker_losses(), 0);
}

/* In the ledger: what was where, when it came and went, and which file it was. */
static void modules_are_described(void **state)
{
	struct stack s = { .n = 2 };
	struct plugin a;
	struct profile *p;
	size_t found = 0;
	bool is_new;

	(void)state;
	in_libc = (uint64_t)&gnu_get_libc_version + 1;
	a = plugin_load(plugin_path);
	s.pc[0] = a.pc;
	s.pc[1] = in_libc;
	assert_int_not_equal(intern(&s, LEDGER_HEAP, &is_new), 0);
	assert_int_equal(dlclose(a.handle), 0);
	modules_changed();
	p = tracker_read();
	assert_int_equal(p->nmodules, 2);
	for (size_t i = 0; i < p->nmodules; i++) {
		const struct prof_module *m = &p->modules[i];

		assert_true(m->start < m->end && m->inode != 0);
		if (strstr(m->path, "track_plugin")) {
			assert_true(a.pc >= m->start && a.pc < m->end);
			assert_true(m->unload_seq > m->load_seq);
			assert_int_equal(m->bias, m->start);
			found++;
		} else {
			assert_non_null(strstr(m->path, "libc.so.6"));
			assert_true(in_libc >= m->start && in_libc < m->end);
			assert_int_equal(m->unload_seq, 0);
			assert_int_equal(m->build_id_len, 20);
			found++;
		}
	}
	assert_int_equal(found, 2);
	profile_free(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, tracker_setup, tracker_teardown)
		T(one_stack_is_one_site),
		T(shared_frames_are_stored_once),
		T(kinds_have_sites_of_their_own),
		T(similar_stacks_are_different),
		T(cut_stacks_are_counted_once),
		T(full_tables_say_so),
		T(modules_that_go_leave_the_others_sites),
		T(another_file_at_the_same_place_is_another_module),
		T(modules_that_come_again_cost_nothing),
		T(modules_are_described),
	};

	if (argc < 2)
		return 2;
	plugin_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
