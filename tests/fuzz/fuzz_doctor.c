/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the doctor reads: status, smaps, meminfo, and its own JSON, which is judged against itself and must then hold
 * together: shares are shares, every verdict has a title.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor.h"
#include "base/error.h"
#include "proc/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static void kernel(const char *text, size_t size)
{
	struct memory_status status;
	struct memory_maps maps;
	struct memory_map sum;
	char *copy = strdup(text);

	(void)size;
	memory_status_parse(text, &status);
	memory_available_parse(text);
	if (!copy)
		return;
	must(!memory_maps_parse(copy, &maps));
	for (size_t i = 0; i < maps.n; i++)
		must(maps.items[i].start < maps.items[i].end && maps.items[i].path &&
		     (!i || maps.items[i - 1].end <= maps.items[i].start));
	memory_maps_sum(&maps, &sum);
	memory_map_of(&maps, UINT64_MAX / 2);
	memory_maps_release(&maps);
}

static void json(const char *text, size_t size)
{
	struct doctor *a = NULL, *b = NULL;
	struct seep_error *err = doctor_read(text, size, &a);

	must(!err == (a != NULL));
	seep_error_free(err);
	if (!a)
		return;
	seep_error_free(doctor_read(text, size, &b));
	if (b)
		for (int i = 0; i < DOCTOR_NCLASSES; i++)
			b->classes[i] /= 2;
	seep_error_free(doctor_judge(a, NULL));
	seep_error_free(doctor_judge(a, b));
	for (size_t i = 0; i < a->nverdicts; i++)
		must(a->verdicts[i].title && a->verdicts[i].cause && a->verdicts[i].share >= 0);
	doctor_free(a);
	doctor_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (size && *data == '{')
		json(text, size);
	else
		kernel(text, size);
	free(text);
	return 0;
}
