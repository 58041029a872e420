/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that was given back with MADV_FREE: resident until somebody needs it. */
#include "doctor_truth.h"

#include <sys/mman.h>

int main(void)
{
	char *p = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	madvise(p, 32 * MIB, MADV_NOHUGEPAGE);
	memset(p, 1, 32 * MIB);
	if (madvise(p, 32 * MIB, MADV_FREE))
		return 1;
	doctor_say("lazy-free", (struct doctor_truth[]){ { "anonymous", 32 * MIB }, { NULL, 0 } });
	while (doctor_wait())
		;
	return 0;
}
