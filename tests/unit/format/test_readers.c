/* SPDX-License-Identifier: Apache-2.0 */
/* Hand-made files of every format that is read: the numbers and names that stand in them come out. */
#include "helpers.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define assert_value(v, nblocks, nbytes)                 \
	do {                                             \
		assert_int_equal((v).blocks, (nblocks)); \
		assert_int_equal((v).bytes, (nbytes));   \
	} while (0)

static void assert_near(double a, double b, double relative)
{
	if (a < b * (1 - relative) || a > b * (1 + relative))
		fail_msg("%f is not %f", a, b);
}

/* Of the site's stack, leaf first. */
static uint32_t frame_at(const struct profile *p, const struct prof_site *s, unsigned int depth)
{
	uint32_t f = s->stack;

	while (depth--)
		f = p->frames[f].parent;
	return f;
}

static void jemalloc(void **state)
{
	struct profile *p = read_sample("jemalloc.heap", NULL);
	const struct prof_site *s = &p->sites[0];
	const struct prof_frame *f;

	assert_true(p->sampled);
	assert_int_equal(p->period, 524288);
	assert_int_equal(p->nsites, 2);
	/* 5 blocks of 20 bytes at 1 / (1 - exp(-20 / 524288)) = 26214.9 each, by bc */
	assert_value(s->inuse, 131075, 2621490);
	assert_value(s->alloc, 262149, 5242980);
	assert_int_equal(s->inuse_samples, 5);
	assert_int_equal(s->samples, 10);
	/* 10 of 40000: 1 / (1 - exp(-40000 / 524288)) = 13.613557 */
	s = &p->sites[1];
	assert_value(s->inuse, 136, 5445423);
	/* var = n (1 - p) / p² with p = 0.073456 and n = 10 samples */
	assert_near(s->inuse.var_blocks, 10 * 12.613557 * 13.613557, 0.01);
	/* addresses are one less than in the file; the leaf's module is the program, unmoved */
	f = &p->frames[s->stack];
	assert_int_equal(f->pc, 0x401021);
	assert_string_equal(p->modules[f->module].path, "/no/such/program");
	assert_int_equal(p->modules[f->module].bias, 0);
	f = &p->frames[frame_at(p, s, 2)];
	assert_int_equal(f->pc, 0x7f0000001234);
	assert_int_equal(p->modules[f->module].bias, 0x7f0000000000);
	assert_int_equal(p->modules[f->module].end, 0x7f0000003000);
	assert_int_equal(f->parent, 0);
	/* threads: [0] unknown, main, a worker */
	assert_int_equal(p->nthreads, 3);
	assert_string_equal(p->threads[2].name, "a worker");
	assert_int_equal(p->threads[2].tid, 7);
	assert_int_equal(p->ncells, 2);
	assert_int_equal(p->cells[1].thread, 2);
	assert_value(p->cells[1].inuse, 136, 5445423);
	profile_free(p);
}

static void gperftools_exact(void **state)
{
	struct profile *p = read_sample("gperftools.heap", NULL);

	assert_false(p->sampled);
	assert_int_equal(p->nsites, 2);
	assert_value(p->sites[0].inuse, 10, 10000);
	assert_value(p->sites[1].inuse, 50, 25600);
	assert_value(p->sites[1].alloc, 100, 51200);
	assert_value(p->sites[1].freed, 50, 25600);
	assert_int_equal(p->frames[p->sites[1].stack].pc, 0x401177);
	profile_free(p);
}

static void gperftools_sampled(void **state)
{
	struct profile *p = read_sample("gperftools-sampled.heap", NULL);

	assert_true(p->sampled);
	/* one of 64 bytes: 1 / (1 - exp(-64 / 524288)) = 8192.5 */
	assert_value(p->sites[0].inuse, 8193, 524320);
	/* one of 599936: 1 / (1 - exp(-1.144287)) = 1.4672456 */
	assert_int_equal(p->sites[1].inuse.blocks, 1);
	assert_near((double)p->sites[1].inuse.bytes, 599936 * 1.4672456, 0.0001);
	profile_free(p);
}

static void gperftools_growth(void **state)
{
	struct profile *p = read_sample("gperftools-growth.heap", NULL);

	assert_int_equal(p->nsites, 1);
	assert_int_equal(p->sites[0].kind, PROF_MMAP);
	assert_value(p->sites[0].inuse, 2, 2097152);
	assert_value(p->sites[0].alloc, 0, 0);
	profile_free(p);
}

static void massif(void **state)
{
	struct profile *p = read_sample("massif.out", NULL);
	const struct prof_site *s = find_site(p, "leaky<main");
	const struct prof_symbol *leaf = &p->symbols[p->frames[s->stack].symbol];

	assert_string_equal(p->command, "./service --port 8080");
	assert_int_equal(p->npoints, 3);
	assert_int_equal(p->points[1].time, 40000000);
	assert_int_equal(p->points[1].inuse, 20000);
	assert_int_equal(p->peak_bytes, 20000);
	assert_int_equal(p->peak_time, 40000000);
	assert_int_equal(p->peak_copy_bytes, 20000);
	assert_value(s->inuse, 0, 10000);
	assert_value(s->peak, 0, 15000);
	assert_string_equal(leaf->lines[0].file, "t.c");
	assert_int_equal(leaf->lines[0].line, 4);
	assert_int_equal(p->frames[s->stack].pc, 0x109161);
	s = find_site(p, "operator new(unsigned long)<Shop::keep(int) const<main");
	assert_value(s->inuse, 0, 0);
	assert_value(s->peak, 0, 4000);
	assert_string_equal(p->modules[p->frames[s->stack].module].path, "/usr/lib/libstdc++.so.6");
	assert_value(find_site(p, "operator new(unsigned long)<Shop::keep(int) const<?")->peak, 0,
	             900);
	assert_value(find_site(p, "")->peak, 0, 100);
	assert_true(find_site(p, "")->cut_depth);
	assert_value(find_site(p, "kept<main")->inuse, 0, 600);
	assert_value(find_site(p, "kept<main")->peak, 0, 0);
	profile_free(p);
}

static void folded(void **state)
{
	struct profile *p = read_sample("stacks.folded", NULL);

	assert_int_equal(p->nsites, 4);
	assert_value(find_site(p, "handle_leak<serve<main")->inuse, 0, 25165824);
	assert_int_equal(p->sites[1].inuse.bytes, 4096);
	assert_string_equal(p->symbols[p->frames[p->sites[1].stack].symbol].lines[0].function,
	                    "<[u8; 16] as Keep>::keep");
	assert_value(find_site(p, "main")->inuse, 0, 100);
	assert_value(find_site(p, "")->inuse, 0, 7);
	profile_free(p);
}

static void lsan(void **state)
{
	struct profile *p = read_sample("lsan.txt", NULL);
	const struct prof_site *s =
		find_site(p, "__interceptor_malloc<leaky(unsigned long, char*)<main<[direct leak]");
	const struct prof_frame *f = &p->frames[frame_at(p, s, 1)];
	const struct prof_line *l = &p->symbols[f->symbol].lines[0];

	assert_int_equal(p->nsites, 2);
	assert_int_equal(p->pid, 20671);
	assert_value(s->inuse, 10, 10000);
	assert_int_equal(f->pc, 0x564600454201);
	assert_string_equal(l->file, "/src/t.cc");
	assert_int_equal(l->line, 4);
	s = find_site(p, "operator new(unsigned long)<?<[indirect leak]");
	assert_value(s->inuse, 2, 48);
	/* a module with an offset has what src/sym needs */
	f = &p->frames[frame_at(p, s, 1)];
	assert_string_equal(p->modules[f->module].path, "/src/t");
	assert_int_equal(f->pc - p->modules[f->module].bias, 0x1310);
	assert_int_equal(f->symbol, 0);
	profile_free(p);
}

static void memcheck(void **state)
{
	struct profile *p = read_sample("memcheck.txt", NULL);
	const struct prof_site *s = find_site(p, "malloc<leaky<main<[definitely lost]");
	struct prof_totals t = profile_totals(p, -1);

	assert_int_equal(p->nsites, 3);
	assert_string_equal(p->command, "./t --leak");
	assert_int_equal(p->pid, 20675);
	assert_value(s->inuse, 1, 1040);
	assert_value(find_site(p, "malloc<inner<main<[indirectly lost]")->inuse, 3, 48);
	s = find_site(p, "calloc<?<[still reachable]");
	assert_value(s->inuse, 60, 35600);
	/* "in use at exit" */
	assert_value(t.inuse, 64, 36688);
	profile_free(p);
}

/* Of one process the last check counts; of several in one log all do. */
static void memcheck_several(void **state)
{
	static const char again[] =
		"==7== 10 bytes in 1 blocks are definitely lost in loss record 1 of 1\n"
		"==7==    at 0x1: malloc (in /m.so)\n==7==    by 0x2: first (a.c:1)\n==7== \n"
		"==7== LEAK SUMMARY:\n==7==    definitely lost: 10 bytes in 1 blocks\n"
		"==7== 30 bytes in 3 blocks are definitely lost in loss record 1 of 1\n"
		"==7==    at 0x1: malloc (in /m.so)\n==7==    by 0x2: second (a.c:2)\n==7== \n"
		"==7== LEAK SUMMARY:\n==7== ERROR SUMMARY: 1 errors from 1 contexts\n";
	static const char two[] =
		"==7== 10 bytes in 1 blocks are definitely lost in loss record 1 of 1\n"
		"==7==    at 0x1: malloc (in /m.so)\n==7==    by 0x2: first (a.c:1)\n==7== \n"
		"==7== LEAK SUMMARY:\n==7== ERROR SUMMARY: 1 errors from 1 contexts\n"
		"==8== 30 bytes in 3 blocks are definitely lost in loss record 1 of 1\n"
		"==8==    at 0x1: malloc (in /m.so)\n==8==    by 0x2: second (a.c:2)\n==8== \n";
	static const char head[] =
		"<?xml version=\"1.0\"?>\n<valgrindoutput>\n<tool>memcheck</tool>\n<pid>7</pid>\n";
	static const char record[] =
		"<error><kind>Leak_DefinitelyLost</kind><xwhat><text>%d bytes in 1 blocks are definitely "
		"lost in loss record %d of 2</text></xwhat><stack><frame><ip>0x2</ip><fn>f%d</fn>"
		"</frame></stack></error>\n";
	struct profile *p;
	struct buf xml = { 0 };
	size_t warnings;

	p = read_bytes(again, sizeof(again) - 1, "again", &warnings);
	assert_int_equal(warnings, 1);
	assert_value(profile_totals(p, -1).inuse, 3, 30);
	find_site(p, "malloc<second<[definitely lost]");
	profile_free(p);
	p = read_bytes(two, sizeof(two) - 1, "two", &warnings);
	assert_int_equal(warnings, 1); /* the second's summary is missing */
	assert_value(profile_totals(p, -1).inuse, 4, 40);
	profile_free(p);
	buf_puts(&xml, head);
	for (int check = 0; check < 2; check++)
		for (int i = 1; i <= 2; i++)
			buf_printf(&xml, record, check ? 100 : 7, i, i);
	buf_puts(&xml, "</valgrindoutput>\n");
	p = read_bytes(xml.data, xml.len, "xml", &warnings);
	assert_int_equal(warnings, 1);
	assert_value(profile_totals(p, -1).inuse, 2, 200);
	profile_free(p);
	buf_release(&xml);
}

static void memcheck_xml(void **state)
{
	struct profile *p = read_sample("memcheck.xml", NULL);
	const struct prof_site *s = find_site(p, "malloc<leaky<int>(int)<[definitely lost]");
	const struct prof_line *l = &p->symbols[p->frames[frame_at(p, s, 1)].symbol].lines[0];

	assert_int_equal(p->nsites, 2);
	assert_string_equal(p->command, "./t --leak");
	assert_int_equal(p->pid, 20674);
	assert_value(s->inuse, 1, 1040);
	assert_string_equal(l->file, "/src/t.c");
	assert_int_equal(l->line, 4);
	assert_value(find_site(p, "?<[still reachable]")->inuse, 50, 25600);
	profile_free(p);
}

static void memleak(void **state)
{
	struct profile *p = read_sample("memleak.txt", NULL);
	const struct prof_site *s = find_site(p, "Shop::keep(int)<?");

	/* the second report, not the sum of both */
	assert_int_equal(p->nsites, 2);
	assert_int_equal(p->pid, 5193);
	assert_value(find_site(p, "main<__libc_start_main")->inuse, 5, 80);
	assert_value(s->inuse, 1, 4096);
	assert_int_equal(p->frames[s->stack].pc, 0x55d1c0de1234);
	assert_string_equal(p->modules[p->frames[s->stack].module].path, "allocs");
	profile_free(p);
}

static void heaptrack(void **state)
{
	struct profile *p = read_sample("heaptrack.txt", NULL);
	const struct prof_site *s = find_site(p, "leaky<helper<main");
	const struct prof_symbol *leaf = &p->symbols[p->frames[s->stack].symbol];

	assert_string_equal(p->command, "./t --leak");
	assert_int_equal(p->nsites, 2);
	assert_value(s->alloc, 3, 3000);
	assert_value(s->freed, 1, 1000);
	assert_value(s->inuse, 2, 2000);
	/* highest after 3 x 1000 + 2 x 512 */
	assert_int_equal(p->peak_bytes, 4024);
	assert_int_equal(p->peak_time, 1000000);
	assert_int_equal(p->peak_copy_bytes, 4024);
	assert_value(s->peak, 3, 3000);
	assert_int_equal(leaf->nlines, 2);
	assert_true(leaf->lines[0].inlined);
	assert_int_equal(leaf->lines[0].line, 4);
	assert_int_equal(leaf->lines[1].line, 20);
	assert_string_equal(leaf->lines[1].file, "t.c");
	s = find_site(p, "?<main");
	assert_value(s->alloc, 3, 1536);
	assert_value(s->inuse, 2, 1024);
	assert_value(s->peak, 2, 1024);
	assert_int_equal(p->duration_ns, 10000000);
	assert_int_equal(p->points[p->npoints - 1].inuse, 3024);
	profile_free(p);
}

static void heaptrack_raw(void **state)
{
	size_t warnings;
	struct profile *p = read_sample("heaptrack-raw.txt", &warnings);
	const struct prof_site *s = &p->sites[0];

	assert_int_equal(warnings, 1); /* a block that was never allocated is freed */
	assert_string_equal(p->exe, "/src/t");
	assert_value(s->alloc, 2, 2000);
	assert_value(s->inuse, 1, 1000);
	assert_value(s->peak, 2, 2000);
	assert_int_equal(p->peak_bytes, 2000);
	assert_int_equal(p->frames[s->stack].pc, 0x401161);
	assert_string_equal(p->modules[p->frames[s->stack].module].path, "/src/t");
	assert_int_equal(p->modules[p->frames[s->stack].module].bias, 0x400000);
	assert_value(p->sites[1].inuse, 1, 32);
	profile_free(p);
}

/* Every sample is recognised as what it is, and as nothing else with more confidence. */
static void probes(void **state)
{
	static const struct {
		const char *file, *format;
	} samples[] = {
		{ "jemalloc.heap", "jemalloc" },
		{ "gperftools.heap", "gperftools" },
		{ "gperftools-sampled.heap", "gperftools" },
		{ "gperftools-growth.heap", "gperftools" },
		{ "massif.out", "massif" },
		{ "stacks.folded", "folded" },
		{ "lsan.txt", "lsan" },
		{ "memcheck.txt", "memcheck" },
		{ "memcheck.xml", "memcheck-xml" },
		{ "memleak.txt", "memleak" },
		{ "heaptrack.txt", "heaptrack" },
		{ "heaptrack-raw.txt", "heaptrack" },
		{ "pprof.pb", "pprof" },
		{ "pprof.pb.gz", "pprof" },
	};
	static const char *const others[] = { "",
		                              "\n",
		                              "hello world\n",
		                              "\xff"
		                              "SEEPSNP",
		                              "SEEPLEDG",
		                              "#!/bin/sh\necho 1\n",
		                              "\x7f"
		                              "ELF",
		                              "{}",
		                              "a b 1\n",
		                              "1234\n" };

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct file f = sample(samples[i].file);
		const struct format *found = format_probe(f.data, f.len);
		size_t claims = 0;

		if (!found)
			fail_msg("%s is not recognised", samples[i].file);
		assert_string_equal(found->name, samples[i].format);
		for (size_t k = 0; formats[k] && strcmp(samples[i].file, "pprof.pb.gz") != 0; k++)
			claims += formats[k]->read &&
			          formats[k]->probe((const uint8_t *)f.data, f.len) > 0;
		if (strcmp(samples[i].file, "pprof.pb.gz") != 0)
			assert_int_equal(claims, 1);
		file_free(&f);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_null(format_probe(others[i], strlen(others[i])));
}

static void suffixes(void **state)
{
	static const struct {
		const char *path, *format;
	} paths[] = {
		{ "a.pb.gz", "pprof" },     { "/x/a.pprof", "pprof" },
		{ "a.heap", "gperftools" }, { "a.jeheap", "jemalloc" },
		{ "a.massif", "massif" },   { "a.folded", "folded" },
		{ "a.dhat", "dhat" },       { "a.speedscope.json", "speedscope" },
		{ "a.dhat.json", "dhat" },  { "a.growth", "growth" },
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_string_equal(format_by_suffix(paths[i].path)->name, paths[i].format);
	assert_null(format_by_suffix("a.txt"));
	assert_null(format_by_suffix(".heap"));
	assert_null(format_by_suffix(""));
	assert_null(format_by_name("nothing"));
	for (size_t i = 0; formats[i]; i++)
		assert_ptr_equal(format_by_name(formats[i]->name), formats[i]);
}

static void not_memory(void **state)
{
	/* a CPU profile: sample type samples/count, one sample, strings "", "samples", "count" */
	static const char cpu[] =
		"\x0a\x04\x08\x01\x10\x02\x12\x03\x12\x01\x05\x32\x00\x32\x07samples"
		"\x32\x05"
		"count";
	struct profile *p = NULL;
	struct seep_error *err = format_read_memory(cpu, sizeof(cpu) - 1, "cpu.pb", NULL, &p, NULL);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "not one of memory: it holds samples/count"));
	seep_error_free(err);
	err = format_read_memory("nothing at all", 14, "x.txt", NULL, &p, NULL);
	assert_non_null(err);
	assert_string_equal(err->message, "x.txt is in no format that seep reads");
	seep_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jemalloc),
		cmocka_unit_test(gperftools_exact),
		cmocka_unit_test(gperftools_sampled),
		cmocka_unit_test(gperftools_growth),
		cmocka_unit_test(massif),
		cmocka_unit_test(folded),
		cmocka_unit_test(lsan),
		cmocka_unit_test(memcheck),
		cmocka_unit_test(memcheck_several),
		cmocka_unit_test(memcheck_xml),
		cmocka_unit_test(memleak),
		cmocka_unit_test(heaptrack),
		cmocka_unit_test(heaptrack_raw),
		cmocka_unit_test(probes),
		cmocka_unit_test(suffixes),
		cmocka_unit_test(not_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
