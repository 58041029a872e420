/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers that lie across words, as packed structures have them: seen only when asked for (--unaligned). */
#include "leaktruth.h"

static struct __attribute__((packed)) {
	char tag;
	struct __attribute__((packed)) {
		char kind[3];
		void *p;
		char rest[5];
	} item[8];
} table;

NOINLINE static void make_lost(int i)
{
	void *p = leak_new(104);

	table.item[i].p = p;
	LEAK(p, 104, DEFINITE);
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 8; i++)
		make_lost(i);
	ESCAPE(&table);
	leak_ready("check_unaligned_pointer", argc, argv);
}
