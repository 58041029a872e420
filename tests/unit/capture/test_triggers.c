/* SPDX-License-Identifier: Apache-2.0 */
/* When triggers fire, by a clock and facts of our own making. */
#include "capture/triggers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000000ull
#define MB (1ull << 20)
#define START (5 * SECOND)

struct bench {
	struct triggers t;
	struct trigger_facts f;
	struct trigger_fired fired;
};

static void begin(struct bench *b, const struct trigger_options *o)
{
	memset(b, 0, sizeof(*b));
	b->f.now_ns = START;
	triggers_begin(&b->t, o, &b->f);
}

static uint32_t step(struct bench *b, uint64_t ns)
{
	b->f.now_ns += ns;
	triggers_step(&b->t, &b->f, &b->fired);
	return b->fired.kinds;
}

static void nothing_fires_unasked(void **state)
{
	const struct trigger_options none = { 0 };
	struct bench b;

	(void)state;
	assert_false(trigger_options_any(&none));
	begin(&b, &none);
	b.f.inuse = b.f.alloc = b.f.rss = 1 << 30;
	b.f.used = b.f.limit = 1 << 30;
	b.f.requests = 7;
	for (int i = 0; i < 100; i++)
		assert_int_equal(step(&b, SECOND), 0);
	/* Nor at the end, when there was none before. */
	b.f.ended = true;
	assert_int_equal(step(&b, SECOND), 0);
	assert_int_equal(triggers_wait(&b.t), TRIGGER_LONGEST_WAIT);
}

static void every_so_often(void **state)
{
	const struct trigger_options o = { .every_ns = 10 * SECOND };
	struct bench b;
	unsigned int fired = 0;

	(void)state;
	begin(&b, &o);
	for (int i = 0; i < 1000; i++)
		fired += step(&b, SECOND / 10) == TRIGGER_BIT(TRIGGER_EVERY);
	assert_int_equal(fired, 10); /* 100 seconds */
	assert_string_equal(b.fired.reason, "every 10 s");
	/* A gap of 35 s: once for all that was missed, then at the old beat. */
	assert_int_equal(step(&b, 35 * SECOND), TRIGGER_BIT(TRIGGER_EVERY));
	assert_int_equal(step(&b, 5 * SECOND - 1), 0);
	assert_int_equal(step(&b, 1), TRIGGER_BIT(TRIGGER_EVERY));
	/* The wait ends when it is due. */
	assert_int_equal(step(&b, 10 * SECOND - 50000000), 0);
	assert_int_equal(triggers_wait(&b.t), 50000000);
}

static void every_n_bytes(void **state)
{
	const struct trigger_options o = { .alloc_bytes = 100 * MB };
	struct bench b;

	(void)state;
	begin(&b, &o);
	b.f.alloc = 100 * MB - 1;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.alloc = 100 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_ALLOC));
	assert_string_equal(b.fired.reason, "allocated 100 MiB");
	b.f.alloc = 470 * MB; /* three at once are one */
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_ALLOC));
	assert_string_equal(b.fired.reason, "allocated 400 MiB");
	b.f.alloc = 499 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.alloc = 500 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_ALLOC));
}

static void new_highs(void **state)
{
	const struct trigger_options share = { .high_share = 0.1 }, bytes = { .high_bytes = 5 * MB };
	struct bench b;
	unsigned int fired = 0;

	(void)state;
	begin(&b, &share);
	b.f.inuse = MB - 1; /* ten per cent of nothing is not a step */
	assert_int_equal(step(&b, SECOND), 0);
	b.f.inuse = 100 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_HIGH));
	assert_string_equal(b.fired.reason, "new high");
	b.f.inuse = 20 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.inuse = 109 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.inuse = 111 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_HIGH));
	/* From 111 MB to 100 times that, a megabyte at a time: log(100) / log(1.1) of them. */
	for (; b.f.inuse < 11100 * MB; b.f.inuse += MB)
		fired += step(&b, 1000000) == TRIGGER_BIT(TRIGGER_HIGH);
	assert_in_range(fired, 46, 48);

	begin(&b, &bytes);
	b.f.inuse = 12 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_HIGH));
	/* A snapshot taken for another reason shows its high too. */
	triggers_taken(&b.t, b.f.now_ns, b.f.now_ns, 40 * MB);
	b.f.inuse = 44 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.inuse = 45 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_HIGH));
}

static void cgroup_shares(void **state)
{
	const struct trigger_options o = { .cgroup = { 0.8, 0.9, 0.95 } };
	struct bench b;

	(void)state;
	begin(&b, &o);
	b.f.limit = 100 * MB;
	b.f.used = 79 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.used = 80 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_CGROUP));
	assert_string_equal(b.fired.reason, "cgroup 80 %");
	b.f.used = 84 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	/* A little below and up again: it does not chatter. */
	b.f.used = 76 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.used = 81 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	/* Far below arms it again; a jump over several is one snapshot, named after the highest. */
	b.f.used = 70 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.used = 96 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_CGROUP));
	assert_string_equal(b.fired.reason, "cgroup 95 %");
	/* The limit goes away, and comes back. */
	b.f.limit = 0;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.limit = 100 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_CGROUP));
}

/* A program that allocates `rate` bytes/ns from nothing, seen only when triggers_wait() says so. */
static void race(uint64_t limit, double rate, double *ret_shares, unsigned int *ret_looks)
{
	const struct trigger_options o = { .cgroup = { 0.8, 0.9, 0.95 } };
	unsigned int n = 0;
	struct bench b;

	begin(&b, &o);
	b.f.limit = limit;
	step(&b, 0); /* the first look comes at once */
	for (uint64_t t = 0; (double)t * rate < (double)limit;) {
		uint64_t wait = triggers_wait(&b.t) +
		                200000; /* the look itself, a scheduler's delay */

		t += wait;
		b.f.used = (uint64_t)((double)t * rate);
		if (b.f.used >= limit)
			break;
		++*ret_looks;
		if (step(&b, wait) & TRIGGER_BIT(TRIGGER_CGROUP) && n < 3)
			ret_shares[n++] = (double)b.f.used / (double)limit;
	}
}

static void in_time_before_the_limit(void **state)
{
	static const uint64_t limits[] = { 64 * MB, 256 * MB, 1024 * MB, 16384 * MB };

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		double shares[3] = { 0 };
		unsigned int looks = 0;

		race(limits[i], 1.0, shares, &looks); /* 1 GB/s */
		assert_true(shares[0] >= 0.8 && shares[0] < 0.9);
		assert_true(shares[1] >= 0.9 && shares[1] < 0.95);
		assert_true(shares[2] >= 0.95 && shares[2] < 1);
		assert_in_range(looks, 8, 400);
	}
}

static void quiet_processes_are_left_alone(void **state)
{
	const struct trigger_options o = { .every_ns = 60 * SECOND,
		                           .high_share = 0.1,
		                           .alloc_bytes = 1024 * MB,
		                           .growth = 64 * MB,
		                           .cgroup = { 0.8, 0.9, 0.95 } };
	struct bench b;

	(void)state;
	begin(&b, &o);
	b.f.limit = 8192 * MB;
	b.f.used = 3000 * MB;
	b.f.inuse = 10;
	step(&b, SECOND);
	for (int i = 0; i < 10; i++) /* what it did before is forgotten */
		step(&b, SECOND);
	assert_int_equal(triggers_wait(&b.t), TRIGGER_LONGEST_WAIT);
	/* All shares reached, nothing left to be in time for. */
	b.f.used = 8000 * MB;
	step(&b, SECOND);
	for (int i = 0; i < 30; i++)
		step(&b, SECOND);
	assert_int_equal(triggers_wait(&b.t), TRIGGER_LONGEST_WAIT);
}

static void growth_in_a_minute(void **state)
{
	const struct trigger_options o = { .growth = 60 * MB, .growth_rss = 600 * MB };
	struct bench b;
	unsigned int fired = 0;

	(void)state;
	begin(&b, &o);
	/* Just below the rate, for an hour. */
	for (int i = 0; i < 3600; i++) {
		b.f.inuse += MB - MB / 10;
		b.f.rss += MB;
		assert_int_equal(step(&b, SECOND), 0);
	}
	/* Above it: once a minute's growth. */
	for (int i = 0; i < 600; i++) {
		b.f.inuse += 2 * MB;
		b.f.rss += 2 * MB;
		fired += step(&b, SECOND) == TRIGGER_BIT(TRIGGER_GROWTH);
	}
	assert_in_range(fired, 19, 21); /* 1200 MB in steps of 60 */
	/* A jump of resident memory alone; an old high is no growth. */
	for (int i = 0; i < 120; i++)
		assert_int_equal(step(&b, SECOND), 0);
	b.f.rss += 700 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_GROWTH_RSS));
	assert_string_equal(b.fired.reason, "RSS grew 600 MiB in a minute");
	b.f.inuse -= 500 * MB;
	assert_int_equal(step(&b, SECOND), 0);
	b.f.inuse += 61 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_GROWTH));
}

static void requests_and_the_end(void **state)
{
	const struct trigger_options o = { .request = "SIGUSR2" };
	struct bench b;

	(void)state;
	begin(&b, &o);
	b.f.requests = 3;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_REQUEST));
	assert_string_equal(b.fired.reason, "signal SIGUSR2");
	assert_int_equal(step(&b, SECOND), 0);
	b.f.ended = true;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_END));
	assert_string_equal(b.fired.reason, "end");
	/* Once. */
	assert_int_equal(step(&b, SECOND), 0);
}

static void one_snapshot_answers_all(void **state)
{
	const struct trigger_options o = { .every_ns = SECOND, .high_bytes = MB, .alloc_bytes = MB };
	struct bench b;

	(void)state;
	begin(&b, &o);
	b.f.inuse = b.f.alloc = 3 * MB;
	assert_int_equal(step(&b, SECOND), TRIGGER_BIT(TRIGGER_EVERY) | TRIGGER_BIT(TRIGGER_HIGH) |
	                                           TRIGGER_BIT(TRIGGER_ALLOC));
	assert_string_equal(b.fired.reason, "new high, allocated 3 MiB, every 1 s");
	assert_int_equal(step(&b, 1), 0);
}

static void costly_snapshots_are_rare(void **state)
{
	const struct trigger_options o = { .high_bytes = MB, .cgroup = { 0.8 } };
	unsigned int fired = 0;
	struct bench b;

	(void)state;
	begin(&b, &o);
	b.f.limit = 10000 * MB;
	/* Each takes 100 ms and something is always due: one a second. */
	for (int i = 0; i < 10000; i++) {
		b.f.inuse += 2 * MB;
		if (step(&b, 1000000)) {
			fired++;
			triggers_taken(&b.t, b.f.now_ns, b.f.now_ns + SECOND / 10, b.f.inuse);
		}
	}
	assert_in_range(fired, 9, 11);
	/* The limit does not wait. */
	while (!step(&b, 1000000))
		b.f.inuse += 2 * MB;
	triggers_taken(&b.t, b.f.now_ns, b.f.now_ns + SECOND / 10, b.f.inuse);
	b.f.used = 8500 * MB;
	assert_int_equal(step(&b, 1000000), TRIGGER_BIT(TRIGGER_CGROUP));
}

static void facts_that_cannot_be(void **state)
{
	const struct trigger_options o = { .every_ns = SECOND,
		                           .alloc_bytes = 1,
		                           .high_share = 1,
		                           .growth = 1,
		                           .growth_rss = 1,
		                           .cgroup = { 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8 } };
	const uint64_t odd[] = { 0, 1, UINT64_MAX, UINT64_MAX - 1, 1ull << 63, START };
	uint64_t rng = 1;
	struct bench b;

	(void)state;
	begin(&b, &o);
	for (int i = 0; i < 100000; i++) {
		uint64_t *fields[] = { &b.f.now_ns, &b.f.inuse, &b.f.alloc,   &b.f.rss,
			               &b.f.used,   &b.f.limit, &b.f.requests };

		for (size_t k = 0; k < sizeof(fields) / sizeof(fields[0]); k++) {
			rng = rng * 6364136223846793005ull + 1442695040888963407ull;
			*fields[k] = odd[(rng >> 40) % (sizeof(odd) / sizeof(odd[0]))];
		}
		triggers_step(&b.t, &b.f, &b.fired);
		assert_in_range(triggers_wait(&b.t), TRIGGER_SHORTEST_WAIT, TRIGGER_LONGEST_WAIT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_fires_unasked),
		cmocka_unit_test(every_so_often),
		cmocka_unit_test(every_n_bytes),
		cmocka_unit_test(new_highs),
		cmocka_unit_test(cgroup_shares),
		cmocka_unit_test(in_time_before_the_limit),
		cmocka_unit_test(quiet_processes_are_left_alone),
		cmocka_unit_test(growth_in_a_minute),
		cmocka_unit_test(requests_and_the_end),
		cmocka_unit_test(one_snapshot_answers_all),
		cmocka_unit_test(costly_snapshots_are_rare),
		cmocka_unit_test(facts_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
