/* SPDX-License-Identifier: Apache-2.0 */
/* Memory mapped by the program itself: 32 MiB more of it at each line. */
#include "doctor_truth.h"

#include <sys/mman.h>

int main(void)
{
	uint64_t sum = 0;

	do {
		for (int i = 0; i < 8; i++) {
			char *p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
			               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (p == MAP_FAILED)
				return 1;
			memset(p, 1, 4 * MIB);
			sum += 4 * MIB;
		}
		doctor_say("mmap-growth",
		           (struct doctor_truth[]){ { "anonymous", sum }, { NULL, 0 } });
	} while (doctor_wait());
	return 0;
}
