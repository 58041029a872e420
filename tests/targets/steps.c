/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps: does what each line of standard input says and answers with a line of JSON, for whoever looks on meanwhile.
 *
 *     leak N SIZE   N blocks more under step_leak(), never freed
 *     keep N SIZE   N blocks under step_keep(); a new call frees those of the last
 *     churn N SIZE  N blocks allocated and freed again under step_churn()
 *     auto          until the next line, every 5 ms: leak 10 64, keep 50 (100 to 1000), churn 200 512
 *     exec          goes on as a new program
 *
 * The answer has all blocks alive under step_leak and step_keep: [address, size].
 */
#include "truth.h"

#include <poll.h>

#define MOST 4096

struct block {
	void *p;
	size_t size;
};

static struct block leaked[MOST], kept[MOST];
static size_t nleaked, nkept;

NOINLINE static void *step_leak(size_t size)
{
	void *p = malloc(size);

	ESCAPE(p);
	return p;
}

NOINLINE static void *step_keep(size_t size)
{
	void *p = malloc(size);

	ESCAPE(p);
	__asm__ volatile("# not the same as step_leak" : : : "memory");
	return p;
}

NOINLINE static void step_churn(size_t size)
{
	void *p = malloc(size);

	ESCAPE(p);
	free(p);
}

static void leak(size_t n, size_t size)
{
	while (n--) {
		void *p = step_leak(size);

		CHECK(p);
		if (nleaked < MOST)
			leaked[nleaked] = (struct block){ p, size };
		nleaked++;
	}
}

static void keep(size_t n, size_t size)
{
	while (nkept)
		free(kept[--nkept].p);
	CHECK(n <= MOST);
	for (size_t i = 0; i < n; i++) {
		kept[nkept++] = (struct block){ step_keep(size), size };
		CHECK(kept[i].p);
	}
}

static void churn(size_t n, size_t size)
{
	while (n--)
		step_churn(size);
}

static void by_itself(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	for (size_t i = 0; poll(&input, 1, 5) == 0; i++) {
		leak(10, 64);
		keep(50, 100 + i * 37 % 900);
		churn(200, 512);
	}
}

static void put_blocks(const char *what, const struct block *blocks, size_t n)
{
	char text[64];

	truth_write(text, (size_t)snprintf(text, sizeof(text), ", \"%s\": [", what));
	for (size_t i = 0; i < n && i < MOST; i++)
		truth_write(text, (size_t)snprintf(text, sizeof(text), "%s[%zu, %zu]", i ? ", " : "",
		                                   (size_t)blocks[i].p, blocks[i].size));
	truth_write("]", 1);
}

static void answer(void)
{
	char text[64];

	truth_write(text, (size_t)snprintf(text, sizeof(text), "{\"pid\": %d, \"leaks\": %zu",
	                                   (int)getpid(), nleaked));
	put_blocks("leaked", leaked, nleaked);
	put_blocks("kept", kept, nkept);
	truth_write("}\n", 2);
}

/* A line into a buffer of our own: stdio's would be one more block. */
static int read_line(char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && read(STDIN_FILENO, line + n, 1) == 1) {
		if (line[n] == '\n') {
			line[n] = '\0';
			return 1;
		}
		n++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char line[256];

	answer();
	while (read_line(line, sizeof(line))) {
		size_t n = 0, size = 0;

		if (!strcmp(line, "auto"))
			by_itself();
		else if (sscanf(line, "leak %zu %zu", &n, &size) == 2)
			leak(n, size);
		else if (sscanf(line, "keep %zu %zu", &n, &size) == 2)
			keep(n, size);
		else if (sscanf(line, "churn %zu %zu", &n, &size) == 2)
			churn(n, size);
		else if (!strcmp(line, "exec"))
			execl("/proc/self/exe", argv[0], (char *)NULL);
		else
			CHECK(!"a command that is known");
		answer();
	}
	return 0;
}
