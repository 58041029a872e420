/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory without a name. */
#include "doctor_truth.h"

#include <sys/mman.h>

int main(void)
{
	char *p = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	memset(p, 1, 32 * MIB);
	doctor_say("shared-memory", (struct doctor_truth[]){ { "shmem", 32 * MIB }, { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
