/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of tables: groups of a look, of one profile or of a difference, as one kind of thing. */
#ifndef SEEP_SERVER_ROWS_H
#define SEEP_SERVER_ROWS_H

#include "analysis/group.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frames;
struct jsonw;
struct look;
struct seep_error;

struct row {
	struct group group; /* of the last side; what group_name() wants */
	uint64_t self, total, self_base, total_base;
	uint64_t blocks, blocks_base;
	int64_t low, high; /* of self, or of its change; STORE_NONE: exact */
	bool noise;
};

struct rows {
	struct row *items;
	size_t n;
	enum group_by by;
	uint64_t sum;
};

/* Without those that may be chance, unless the look asks for them, and without those that hold nothing. */
struct seep_error *rows_make(const struct look *l, enum group_by by, struct rows *ret);
void rows_release(struct rows *r);
#define _cleanup_rows_ __attribute__((cleanup(rows_release)))

enum rows_order {
	ROWS_VALUE,
	ROWS_SELF,
	ROWS_TOTAL,
	ROWS_GROWTH,
	ROWS_BLOCKS,
	ROWS_NAME,
	ROWS_AGE,
	ROWS_ALLOC
};
/* `growth`: by group.id's place in it, or NULL: by the change. */
void rows_sort(const struct look *l, struct rows *r, enum rows_order order);
/* Leaves those whose name, or of a site any function of its stack, has the text in it. */
void rows_filter(const struct look *l, struct rows *r, const char *text);

/* "stack" and "look_here" of a node of the view. */
void rows_put_stack(const struct look *l, struct frames *f, uint32_t node, struct jsonw *j);
/* In ns; STORE_NONE: none. */
int64_t rows_age(const struct look *l, const struct row *row);
const char *rows_kind(uint8_t kind);

#endif
