/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tracker says of memory for leak checks: its own arenas, what the program marked, the sites of blocks
 * allocated while reports are disabled; and the conversation with a seep that checks.
 */
#include "tracker.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "capture/blocks.h"
#include "capture/marks.h"
#include "profile/profile.h"
#include "track/check.h"
#include "track/event.h"

#define WHOLE __attribute__((noinline))
#define NOTAIL() __asm__ volatile("" : : : "memory")

static struct ledger_marks must_read(void)
{
	struct ledger_marks marks;
	struct seep_error *err = ledger_marks_read(g.ledger_path, &marks);

	if (err)
		fail_msg("%s", err->message);
	return marks;
}

static bool covers(const struct ledger_marks *m, const void *p, uint64_t size)
{
	for (size_t i = 0; i < m->ntracker; i++)
		if ((uint64_t)p >= m->tracker[i].start && (uint64_t)p + size <= m->tracker[i].end)
			return true;
	return false;
}

/* ---- marks ------------------------------------------------------------------------------------ */

static void the_trackers_memory_is_marked(void **state)
{
	struct ledger_marks marks;
	char *small = mem_alloc(100), *large = mem_alloc(300000), *pages = mem_map(5000),
	     *reserved = mem_reserve(1 << 20), *gone = mem_map(8192), *open = mem_map_roots(4096);

	(void)state;
	assert_true(small && large && pages && reserved && gone && open);
	mem_unmap(gone, 8192);
	marks = must_read();
	assert_true(covers(&marks, small, 100));
	assert_true(covers(&marks, large, 300000));
	assert_true(covers(&marks, pages, 8192));
	assert_true(covers(&marks, reserved, 1 << 20));
	assert_true(covers(&marks, g.ledger, g.ledger_size));
	assert_true(covers(&marks, t_self, sizeof(*t_self)));
	assert_false(covers(&marks, gone, 1));
	assert_false(covers(&marks, open, 1));
	assert_int_equal(marks.nignored + marks.nregions, 0);
	assert_int_equal(tracker_losses(), 0);
	ledger_marks_release(&marks);
}

static void marks_come_out(void **state)
{
	struct ledger_marks marks;

	(void)state;
	/* More than a page of them, so that some lie across two. */
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(mark_add(MARK_IGNORE, 0x1000 + i * 32, 0));
	assert_true(mark_add(MARK_ROOT, 0x9000, 16));
	assert_true(mark_add(MARK_UNIGNORE, 0x1000, 0));
	marks = must_read();
	assert_int_equal(marks.nignored, 999);
	for (uint64_t i = 0; i < 999; i++)
		assert_int_equal(marks.ignored[i], 0x1000 + (i + 1) * 32);
	assert_int_equal(marks.nregions, 1);
	ledger_marks_release(&marks);
}

#define THREADS 4u
#define EACH 5000u

static void *add_many(void *arg)
{
	uint64_t base = (uint64_t)arg;

	for (uint64_t i = 0; i < EACH; i++)
		mark_add(MARK_IGNORE, base + i * 8, 0);
	return NULL;
}

static void threads_add_at_once(void **state)
{
	struct ledger_marks marks;
	pthread_t th[THREADS];

	(void)state;
	for (uint64_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&th[i], NULL, add_many, (void *)((i + 1) << 32)), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(th[i], NULL);
	marks = must_read();
	assert_int_equal(marks.nignored, THREADS * EACH);
	for (uint64_t i = 0; i < THREADS * EACH; i++)
		assert_int_equal(marks.ignored[i], ((i / EACH + 1) << 32) + i % EACH * 8);
	ledger_marks_release(&marks);
	assert_int_equal(tracker_losses(), 0);
}

static void a_full_section_is_a_loss(void **state)
{
	uint64_t before = g.hdr->nmarks, room;
	struct ledger_marks marks;

	(void)state;
	g.hdr->marks.size = 200 * sizeof(struct ledger_mark) + 5;
	room = 200 - before;
	for (uint64_t i = 0; i < 300; i++)
		assert_int_equal(mark_add(MARK_IGNORE, 8 + 8 * i, 0), i < room);
	assert_int_equal(g.hdr->losses[LOSS_MARKS_FULL], 300 - room);
	assert_int_equal(g.hdr->nmarks, 200);
	marks = must_read();
	assert_int_equal(marks.nignored, room);
	ledger_marks_release(&marks);
}

/* A second ledger in one process is what a forked child has: it takes over what held at the fork. */
static void a_child_takes_over_what_held(void **state)
{
	uint64_t size = g.ledger_size;
	uint8_t *parent = g.ledger;
	char parent_path[sizeof(g.ledger_path)];
	struct ledger_marks marks;
	char *arena = mem_map(4096);

	(void)state;
	mark_add(MARK_IGNORE, 0x100, 0);
	mark_add(MARK_IGNORE, 0x200, 0);
	mark_add(MARK_UNIGNORE, 0x100, 0);
	mark_add(MARK_ROOT, 0x4000, 64);
	strcpy(parent_path, g.ledger_path);
	assert_true(ledger_create(true));
	store_release(&g.hdr->state, (uint32_t)LEDGER_LIVE);
	/* What the parent says after the fork is its own business. */
	{
		struct ledger_header *h = (struct ledger_header *)parent;
		struct ledger_mark *m = (struct ledger_mark *)(parent + h->marks.offset);

		m[h->nmarks++] = (struct ledger_mark){ 0x300, 0, MARK_IGNORE, 0 };
	}
	marks_forked(parent);
	marks = must_read();
	assert_int_equal(marks.nignored, 1);
	assert_int_equal(marks.ignored[0], 0x200);
	assert_int_equal(marks.nregions, 1);
	assert_true(covers(&marks, arena, 4096));
	assert_true(covers(&marks, g.ledger, g.ledger_size));
	assert_false(covers(&marks, parent, 1));
	ledger_marks_release(&marks);
	sys_munmap(parent, size);
	assert_int_equal(unlink(parent_path), 0);
}

/* ---- disabled scopes ------------------------------------------------------------------------------ */

static WHOLE void make(uint64_t addr)
{
	struct origin o = ORIGIN_HERE();

	t_self->state = T_TRACKER;
	event_heap(t_self, addr, 16, &o, unwind_guess(t_self, &o));
	t_self->state = T_READY;
	NOTAIL();
}

static WHOLE void make_deep(unsigned int depth, uint64_t addr)
{
	if (depth)
		make_deep(depth - 1, addr);
	else
		make(addr);
	NOTAIL();
}

struct seen {
	uint64_t ignored, plain;
	uint32_t ignored_site, plain_site;
	bool mixed; /* one site has both, or blocks of one way have several */
};

static int see(void *arg, const struct ledger_live_block *b)
{
	struct seen *s = arg;
	bool wanted = b->address >> 32 == 2; /* allocated while disabled */

	s->mixed |= wanted != b->ignored;
	if (b->ignored) {
		s->mixed |= s->ignored_site && s->ignored_site != b->site;
		s->ignored_site = b->site;
		s->ignored++;
	} else {
		s->mixed |= s->plain_site && s->plain_site != b->site;
		s->plain_site = b->site;
		s->plain++;
	}
	return 0;
}

static void must_see(uint64_t ignored, uint64_t plain)
{
	struct seen s = { 0 };

	assert_null(ledger_blocks_read(g.ledger_path, see, &s, NULL, NULL, NULL));
	assert_int_equal(s.ignored, ignored);
	assert_int_equal(s.plain, plain);
	assert_false(s.mixed);
	assert_true(s.ignored_site != s.plain_site);
}

/* One place in the code, so that stacks are the same and every short cut leads to the wrong site. */
static void blocks_of_a_disabled_scope_have_sites_of_their_own(void **state)
{
	uint64_t n[2] = { 0, 0 };
	uint64_t fast;

	(void)state;
	for (unsigned int round = 0; round < 400; round++) {
		unsigned int off = round / 4 % 2;

		if (off)
			scope_disable();
		if (round % 16 == 7)
			scope_disable(); /* nests, or is a scope by itself */
		if (round % 16 == 7)
			scope_enable();
		make_deep(5, ((uint64_t)off + 1) << 32 | n[off]++ * 64);
		if (off)
			scope_enable();
		if (round == 200)
			unwind_flush();
	}
	must_see(n[1], n[0]);
	assert_int_equal(tracker_losses(), 0);
	/*
	 * Afterwards recall works as before; but not for code that TSan rewrote, which keeps the loop's
	 * variables in frames.
	 */
	fast = t_self->unwinds_fast;
	for (unsigned int i = 0; i < 100; i++)
		make_deep(5, 1ull << 32 | n[0]++ * 64);
#ifndef __SANITIZE_THREAD__
	assert_true(t_self->unwinds_fast - fast >= 90);
#else
	(void)fast;
#endif
}

static void scopes_nest(void **state)
{
	(void)state;
	scope_enable(); /* without a disable: nothing */
	make_deep(2, 1ull << 32);
	scope_disable();
	scope_disable();
	make_deep(2, 2ull << 32);
	scope_enable();
	make_deep(2, (2ull << 32) + 64);
	scope_enable();
	make_deep(2, (1ull << 32) + 64);
	scope_enable();
	make_deep(2, (1ull << 32) + 128);
	assert_int_equal(t_disabled, 0);
	{
		struct seen s = { 0 };

		assert_null(ledger_blocks_read(g.ledger_path, see, &s, NULL, NULL, NULL));
		assert_int_equal(s.ignored, 2);
		assert_int_equal(s.plain, 3);
	}
}

static void one_stack_has_a_site_for_each_way(void **state)
{
	const uint64_t pcs[] = { 0x1000, 0x2000, 0x3000 };
	bool is_new;
	uint32_t plain, quiet;

	(void)state;
	plain = site_intern(t_self, pcs, 3, LEDGER_HEAP, 0, &is_new);
	quiet = site_intern(t_self, pcs, 3, LEDGER_HEAP, LEDGER_SITE_IGNORED, &is_new);
	assert_true(is_new && plain && quiet && plain != quiet);
	assert_int_equal(g.sites[plain].flags, 0);
	assert_int_equal(g.sites[quiet].flags, LEDGER_SITE_IGNORED);
	assert_int_equal(g.sites[plain].node, g.sites[quiet].node);
	/* Also when the stack table is empty and the trie is asked. */
	site_flush();
	assert_int_equal(site_intern(t_self, pcs, 3, LEDGER_HEAP, LEDGER_SITE_IGNORED, &is_new),
	                 quiet);
	assert_int_equal(site_intern(t_self, pcs, 3, LEDGER_HEAP, 0, &is_new), plain);
	assert_false(is_new);
}

static void *scope_of_a_thread(void *arg)
{
	uint64_t i;

	(void)arg;
	tracker_thread_begin();
	scope_disable();
	for (i = 0; i < 100; i++)
		make_deep(3, 2ull << 32 | i * 64);
	scope_enable();
	return NULL;
}

static void other_threads_are_not_concerned(void **state)
{
	struct seen s = { 0 };
	pthread_t th;

	(void)state;
	scope_disable();
	scope_enable();
	assert_int_equal(pthread_create(&th, NULL, scope_of_a_thread, NULL), 0);
	for (uint64_t i = 0; i < 100; i++)
		make_deep(3, 1ull << 32 | i * 64);
	pthread_join(th, NULL);
	assert_null(ledger_blocks_read(g.ledger_path, see, &s, NULL, NULL, NULL));
	assert_int_equal(s.ignored, 100);
	assert_int_equal(s.plain, 100);
}

/* ---- asking ------------------------------------------------------------------------------------------- */

static int listener;
static struct check_request asked;
static char answered[CHECK_STRING_MAX + 1];
static uint32_t answered_length;
static uint64_t string_address;
static enum { ANSWER, STRING, HANG_UP, NONSENSE } behaviour;

static bool all(int fd, void *buf, size_t n)
{
	return recv(fd, buf, n, MSG_WAITALL) == (ssize_t)n;
}

/* Stands in for seep: one conversation. */
static void *serve(void *arg)
{
	struct check_reply go = { .magic = CHECK_MAGIC,
		                  .kind = CHECK_REPLY_GO,
		                  .leaked_bytes = 123,
		                  .leaked_blocks = 4,
		                  .status = -1 };
	struct check_string head;
	int fd = accept(listener, NULL, NULL);

	(void)arg;
	if (fd < 0 || !all(fd, &asked, sizeof(asked)))
		abort();
	if (behaviour == NONSENSE)
		go.magic = 7;
	if (behaviour == STRING) {
		struct check_reply s = { .magic = CHECK_MAGIC,
			                 .kind = CHECK_REPLY_STRING,
			                 .address = string_address };

		if (send(fd, &s, sizeof(s), MSG_NOSIGNAL) != sizeof(s) ||
		    !all(fd, &head, sizeof(head)) || head.magic != CHECK_MAGIC ||
		    head.length > CHECK_STRING_MAX ||
		    (head.length && !all(fd, answered, head.length)))
			abort();
		answered[head.length] = '\0';
		answered_length = head.length;
	}
	/* A reply may come in pieces. */
	if (behaviour != HANG_UP && (send(fd, &go, 5, MSG_NOSIGNAL) != 5 ||
	                             send(fd, (char *)&go + 5, sizeof(go) - 5, MSG_NOSIGNAL) < 0))
		abort();
	close(fd);
	return NULL;
}

static void listen_in(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char here[4096];

	/* By a relative name, because the directory's may be too long. */
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(dir), 0);
	strcpy(sa.sun_path, CHECK_SOCKET);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(chdir(here), 0);
}

static void stop_listening(const char *dir)
{
	char name[300];

	close(listener);
	snprintf(name, sizeof(name), "%s/%s", dir, CHECK_SOCKET);
	assert_int_equal(unlink(name), 0);
}

static const struct arch_entry entry = { .saved = { 11, 12, 13, 14, 15, 16 }, .sp = 0x7ffff000 };

static bool ask(struct check_reply *ret_reply)
{
	pthread_t th;
	bool ok;

	assert_int_equal(pthread_create(&th, NULL, serve, NULL), 0);
	ok = check_ask(CHECK_REQ_LOCAL_END, &entry, 42, "a name", ret_reply);
	pthread_join(th, NULL);
	return ok;
}

static void a_request_says_what_was_known(void **state)
{
	struct check_reply reply;

	(void)state;
	behaviour = ANSWER;
	listen_in(opt.dir);
	assert_true(ask(&reply));
	stop_listening(opt.dir);
	assert_int_equal(asked.magic, CHECK_MAGIC);
	assert_int_equal(asked.protocol, CHECK_PROTOCOL);
	assert_int_equal(asked.kind, CHECK_REQ_LOCAL_END);
	assert_int_equal(asked.pid, getpid());
	assert_int_equal(asked.tid, gettid());
	assert_int_equal(asked.status, 42);
	assert_int_equal(asked.sp, 0x7ffff000);
	assert_int_equal(asked.nwords, 6);
	for (unsigned int i = 0; i < CHECK_WORDS; i++)
		assert_int_equal(asked.words[i], i < 6 ? 11 + i : 0);
	assert_string_equal(asked.name, "a name");
	assert_int_equal(reply.leaked_bytes, 123);
	assert_int_equal(reply.leaked_blocks, 4);
	assert_int_equal(reply.status, -1);
	assert_int_equal(g.hdr->losses[LOSS_UNCHECKED], 0);
	assert_int_equal(t_self->state, T_READY);
}

static void nobody_there_is_a_loss(void **state)
{
	struct check_reply reply;

	(void)state;
	assert_false(check_ask(CHECK_REQ_NOW, &entry, 0, NULL, &reply)); /* no socket */
	assert_int_equal(g.hdr->losses[LOSS_UNCHECKED], 1);
	listen_in(opt.dir);
	close(listener); /* a socket nobody listens on */
	assert_false(check_ask(CHECK_REQ_NOW, &entry, 0, NULL, &reply));
	assert_int_equal(g.hdr->losses[LOSS_UNCHECKED], 2);
	listener = -1;
	stop_listening(opt.dir);
	behaviour = HANG_UP;
	listen_in(opt.dir);
	assert_false(ask(&reply));
	behaviour = NONSENSE;
	assert_false(ask(&reply));
	stop_listening(opt.dir);
	assert_int_equal(g.hdr->losses[LOSS_UNCHECKED], 4);
}

static const char *suppressions(void)
{
	return "leak:fine\nleak:too\n";
}

static const char *endless(void)
{
	static char text[CHECK_STRING_MAX + 500];

	memset(text, 'x', sizeof(text) - 1);
	return text;
}

static const char *none(void)
{
	return NULL;
}

static void strings_are_fetched_from_code_alone(void **state)
{
	static const uint8_t data[64] = { 0xc3 };
	const struct {
		uint64_t address;
		uint32_t length;
	} cases[] = {
		{ (uint64_t)suppressions, 19 },
		{ (uint64_t)endless, CHECK_STRING_MAX },
		{ (uint64_t)none, 0 },
		{ (uint64_t)data, 0 },
		{ (uint64_t)&listener, 0 },
		{ (uint64_t)g.ledger, 0 },
		{ (uint64_t)&cases, 0 },
		{ 0, 0 },
		{ 4096, 0 },
		{ UINT64_MAX, 0 },
		{ 0xdeadbeefdeadbeef, 0 },
	};
	struct check_reply reply;

	(void)state;
	behaviour = STRING;
	listen_in(opt.dir);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		string_address = cases[i].address;
		assert_true(ask(&reply));
		assert_int_equal(answered_length, cases[i].length);
		if (!i)
			assert_string_equal(answered, "leak:fine\nleak:too\n");
		assert_int_equal(reply.leaked_blocks, 4);
	}
	stop_listening(opt.dir);
}

/* sun_path has 108 bytes; a ledger directory's name may be longer. */
static void a_long_directory_is_reached(void **state)
{
	char dir[sizeof(opt.dir)], parent[64];
	struct check_reply reply;

	(void)state;
	strcpy(parent, opt.dir);
	snprintf(dir, sizeof(dir), "%s/%0130d", parent, 1);
	assert_int_equal(mkdir(dir, 0700), 0);
	strcpy(opt.dir, dir);
	behaviour = ANSWER;
	listen_in(dir);
	assert_true(ask(&reply));
	stop_listening(dir);
	strcpy(opt.dir, parent);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tracker_setup, tracker_teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_trackers_memory_is_marked),
		TEST(marks_come_out),
		TEST(threads_add_at_once),
		TEST(a_full_section_is_a_loss),
		TEST(a_child_takes_over_what_held),
		TEST(blocks_of_a_disabled_scope_have_sites_of_their_own),
		TEST(scopes_nest),
		TEST(one_stack_has_a_site_for_each_way),
		TEST(other_threads_are_not_concerned),
		TEST(a_request_says_what_was_known),
		TEST(nobody_there_is_a_loss),
		TEST(strings_are_fetched_from_code_alone),
		TEST(a_long_directory_is_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
