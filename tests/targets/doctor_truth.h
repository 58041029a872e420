/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the targets doctor_*.c share: each brings about one cause of resident memory and says on stdout, as a line of
 * JSON, what it knows of it:
 *
 *     {"pid": 17, "cause": "leak", "classes": {"leaked": 67108864}}
 *
 * Then it waits for a line on stdin; those that grow do so at each, and say so again.  The end of stdin is theirs.
 */
#ifndef TARGETS_DOCTOR_TRUTH_H
#define TARGETS_DOCTOR_TRUTH_H

#include <inttypes.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024u * 1024u)
#define PAGE 4096u

struct doctor_truth {
	const char *class;
	uint64_t bytes;
};

/* truths: ended by a NULL class.  Nothing here allocates. */
__attribute__((unused)) static void doctor_say(const char *cause, const struct doctor_truth *truths)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "{\"pid\": %d, \"cause\": \"%s\", \"classes\": {",
	                 (int)getpid(), cause);

	for (int i = 0; truths[i].class; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%s\"%s\": %" PRIu64,
		              i ? ", " : "", truths[i].class, truths[i].bytes);
	n += snprintf(line + n, sizeof(line) - (size_t)n, "}}\n");
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(1);
}

/* false: stdin has ended. */
__attribute__((unused)) static int doctor_wait(void)
{
	char c;

	for (;;) {
		if (read(STDIN_FILENO, &c, 1) != 1)
			return 0;
		if (c == '\n')
			return 1;
	}
}

/* A block with something in it, so that it is resident. */
__attribute__((unused)) static void *doctor_block(size_t size)
{
	char *p = malloc(size);

	if (!p)
		_exit(1);
	memset(p, 0x5a, size);
	return p;
}

/* Of a free chunk that begins 16 bytes before `from` and ends where the chunk of `to` begins: its whole pages. */
__attribute__((unused)) static uint64_t doctor_pages_between(const void *from, const void *to)
{
	uint64_t start = ((uint64_t)(uintptr_t)from - 16 + 48 + PAGE - 1) / PAGE;
	uint64_t end = ((uint64_t)(uintptr_t)to - 16) / PAGE;

	return end > start ? (end - start) * PAGE : 0;
}

/* RssAnon as the kernel says it. */
__attribute__((unused)) static uint64_t doctor_anonymous(void)
{
	static char text[8192];
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kb = 0;

	if (!f)
		_exit(1);
	while (fgets(text, sizeof(text), f))
		if (sscanf(text, "RssAnon: %llu", &kb) == 1)
			break;
	fclose(f);
	return kb * 1024;
}

#endif
