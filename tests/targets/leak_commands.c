/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leak_commands: does what standard input says, a letter each, and answers with the letter: l loses a block of 1000 bytes
 * for good; h hides the only pointer to a block of 2000 bytes, s shows it again.
 */
#include "leaktruth.h"

static void *volatile shown;
static volatile uintptr_t hidden;

NOINLINE static void lose(void)
{
	ESCAPE(leak_new(1000));
}

NOINLINE static void make_shown(void)
{
	shown = leak_new(2000);
}

NOINLINE static void obey(char c)
{
	if (c == 'l')
		lose();
	if (c == 'h') {
		hidden = hide(shown);
		shown = NULL;
	}
	if (c == 's') {
		shown = (void *)~hidden;
		hidden = 0;
	}
}

int main(void)
{
	char c;

	make_shown();
	leak_scrub();
	while (read(STDIN_FILENO, &c, 1) > 0) {
		obey(c);
		leak_scrub();
		truth_write(&c, 1);
	}
	return 0;
}
