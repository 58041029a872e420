/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints how long processes of several sizes stand still for an image: the table of docs/IMAGES.md.
 */
#include "base/error.h"
#include "proc/image.h"
#include "subject.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGES 15

static size_t megabytes;
static unsigned int threads;
static int advice;

static void *idle(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

/* Writes to a part of its memory all the time, as a busy program does. */
static void run(struct subject_shared *s)
{
	size_t len = megabytes << 20;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	if (p == MAP_FAILED)
		_exit(1);
	madvise(p, len, advice);
	memset(p, 1, len);
	for (unsigned int i = 0; i < threads; i++)
		if (pthread_create(&t, NULL, idle, NULL))
			_exit(1);
	atomic_store(&s->ready, 1);
	for (;;) {
		for (size_t i = 0; i < len; i += 1 << 20)
			p[i]++;
		usleep(1000);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(pid_t pid, bool clone)
{
	double stop[IMAGES], open[IMAGES], release[IMAGES];

	for (unsigned int i = 0; i < IMAGES; i++) {
		struct image_options opts = { .clone = clone };
		struct image *img = NULL;
		uint64_t t0 = subject_now(), t1;
		struct seep_error *err = image_open_process(pid, &opts, &img);

		if (err) {
			fprintf(stderr, "%s\n", err->message);
			exit(1);
		}
		t1 = subject_now();
		stop[i] = (double)img->stopped_ns / 1e6;
		open[i] = (double)(t1 - t0) / 1e6;
		t1 = subject_now();
		image_free(img);
		release[i] = (double)(subject_now() - t1) / 1e6;
	}
	qsort(stop, IMAGES, sizeof(*stop), by_value);
	qsort(open, IMAGES, sizeof(*open), by_value);
	qsort(release, IMAGES, sizeof(*release), by_value);
	printf("  %-5s stopped %.2f ms (highest %.2f), open %.2f ms, free %.2f ms\n",
	       clone ? "clone" : "live", stop[IMAGES / 2], stop[IMAGES - 1], open[IMAGES / 2],
	       release[IMAGES / 2]);
}

int main(void)
{
	static const struct {
		size_t megabytes;
		unsigned int threads;
		int advice;
		const char *name;
	} rows[] = {
		{ 1, 0, MADV_NOHUGEPAGE, "2 MB" },
		{ 100, 0, MADV_NOHUGEPAGE, "100 MB" },
		{ 1024, 0, MADV_NOHUGEPAGE, "1 GB" },
		{ 1024, 0, MADV_HUGEPAGE, "1 GB, huge pages" },
		{ 100, 500, MADV_NOHUGEPAGE, "100 MB, 501 threads" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct subject sub;

		megabytes = rows[i].megabytes;
		threads = rows[i].threads;
		advice = rows[i].advice;
		sub = subject_start(run);
		printf("%s\n", rows[i].name);
		fflush(stdout);
		measure(sub.pid, false);
		measure(sub.pid, true);
		subject_end(&sub);
	}
	return 0;
}
