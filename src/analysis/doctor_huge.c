/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a huge page holds beside what the program asked for.
 *
 * Whoever touches one byte of memory that may be in huge pages gets 2 MiB, of which 511 pages are zeros.  Nobody counts
 * which of them were ever used; but one that was not has only zeros in it, and the kernel itself goes by that when it splits
 * huge pages that are hardly used.  So the pages of zeros are counted: a table that is really full of zeros is
 * waste as well, as the page of zeros would do for it.
 *
 * That is reading all of it, at the speed of memory.  Above SAMPLE only each n-th huge page is read, and stands for n.
 */
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "base/bytes.h"

#define HUGE_BYTES (UINT64_C(2) << 20)
#define SAMPLE (UINT64_C(512) << 20)

/* Of [from, to), which lies in one huge page. */
static uint64_t zeros_of(const struct doctor_look *l, uint64_t from, uint64_t to,
                         unsigned char *bytes, uint8_t *kinds)
{
	uint64_t page = l->img->page_size, n = (to - from) / page, zeros = 0;
	bool huge = false;

	doctor_pages_get(l->pages, from, n, kinds);
	for (uint64_t i = 0; i < n && !huge; i++)
		huge = kinds[i] & IMAGE_PAGE_HUGE;
	if (!huge || image_read(l->img, from, bytes, to - from) != to - from)
		return 0;
	for (uint64_t i = 0; i < n; i++)
		if (kinds[i] & IMAGE_PAGE_HUGE && bytes_are_zero(bytes + i * page, page))
			zeros += page;
	return zeros;
}

uint64_t doctor_zeros_in_huge(struct doctor_look *l, uint64_t from, uint64_t to)
{
	uint64_t huge = doctor_fact(l->d, FACT_ANON_HUGE), stride = 1 + huge / SAMPLE, zeros = 0;
	uint64_t most = HUGE_BYTES / l->img->page_size;
	unsigned char *bytes;
	uint8_t *kinds;

	if (!huge)
		return 0;
	bytes = malloc(HUGE_BYTES);
	kinds = malloc(most);
	if (!bytes || !kinds)
		l->failed = true;
	while (!l->failed && (from = doctor_pages_next(l->pages, from)) < to) {
		uint64_t next = (from / HUGE_BYTES + 1) * HUGE_BYTES;
		uint64_t end = next < to ? next : to;

		if (from / HUGE_BYTES % stride == 0)
			zeros += stride * zeros_of(l, from, end, bytes, kinds);
		from = end;
	}
	free(bytes);
	free(kinds);
	return zeros < huge ? zeros : huge;
}
