/* SPDX-License-Identifier: Apache-2.0 */
/* Suppression files of any content: read, matched against two stacks, and a rule written from each read again. */
#include <stdint.h>
#include <stdlib.h>

#include "analysis/suppress.h"
#include "base/buf.h"
#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct suppress_frame frames[] = {
		{ .function = "malloc", .family = SUPPRESS_MALLOC },
		{ .function = "std::vector<int>::grow(int)",
		  .linkage = "_ZN3vec4growEi",
		  .inlined = true },
		{ .function = "keep", .object = "/lib/libkeep.so", .file = "/src/keep.c", .line = 7 },
		{ .object = "/bin/app" },
		{ 0 },
	};
	struct suppressions *s = suppressions_new();
	struct buf text = { 0 };

	if (!s)
		return 0;
	seep_error_free(suppressions_add_text(s, (const char *)data, size, "fuzz"));
	for (int c = 0; c < REACH_NCLASSES; c++)
		suppressions_match(s, (enum reach_class)c, frames,
		                   sizeof(frames) / sizeof(frames[0]));
	suppressions_free(s);

	/* a rule made of hostile names must be read back, and match */
	s = suppressions_new();
	buf_add(&text, data, size);
	if (s && text.data && size < 4096) {
		struct suppress_frame hostile[] = {
			{ .function = "malloc", .family = SUPPRESS_MALLOC },
			{ .function = text.data },
			{ .object = text.data },
		};
		struct buf rule = { 0 };

		suppress_generate(&rule, REACH_DEFINITE, hostile, 3);
		seep_error_free(suppressions_add_text(s, rule.data, rule.len, "generated"));
		suppressions_match(s, REACH_DEFINITE, hostile, 3);
		buf_release(&rule);
	}
	suppressions_free(s);
	buf_release(&text);
	return 0;
}
